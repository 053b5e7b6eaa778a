/* fuzz_judge.c - which operations may run, which results must agree, and the comparison of the two maps.
 *
 * Leaving an operation out is a function of the session's state alone, so that a program stays repeatable.  The
 * reasons: the operation would reach the island (or free its protection key), fill more of the host's memory than
 * a fuzzer should, or fill pages where a guard region may stop it half way.  The one exception of the text
 * comparison: inode numbers of shared anonymous memory (and the device of anonymous huge pages), which each side
 * chooses freely, must agree by a one-to-one pairing that holds for the whole program.  Results that depend on the
 * state of pages, which a machine without memory does not know, are counted by reason as unjudged (without --memory).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz_memory.h"

#define PAGE 4096ull
#define MEGABYTE (1ull << 20)
enum { POPULATE_BYTES = 2 << 20, LOCK_ALL_BYTES = 24 << 20 };

struct span {
	uint64_t start, bytes;
};

/* The address ranges that an operation acts on. */
static int spans_of(const struct fuzz_session *s, const struct fuzz_op *op, struct span out[3])
{
	const uint64_t *a = op->a;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		if (!(a[3] & SAMARA_MAP_FIXED))
			return 0;
		out[0] = (struct span){ a[0], a[1] };
		return 1;
	case FUZZ_MREMAP:
		out[0] = (struct span){ a[0], a[1] };
		out[1] = (struct span){ a[0], a[2] };
		out[2] = (struct span){ a[4], a[2] };
		return a[3] & (SAMARA_MREMAP_FIXED | SAMARA_MREMAP_DONTUNMAP) ? 3 : 2;
	case FUZZ_PROCESS_MADVISE:
		out[0] = (struct span){ a[0], a[1] };
		out[1] = (struct span){ a[2], a[3] };
		return 2;
	case FUZZ_PRCTL:
		out[0] = (struct span){ a[2], a[3] };
		return a[0] == SAMARA_PR_SET_VMA ? 1 : 0;
	case FUZZ_SHMAT:
		out[0] = (struct span){ a[1], s->files->segment[a[0] % FUZZ_SEGMENTS].bytes };
		return 1;
	case FUZZ_UFFD_REGISTER:
	case FUZZ_UFFD_UNREGISTER:
		out[0] = (struct span){ a[1], a[2] };
		return 1;
	case FUZZ_READ_RUN:
	case FUZZ_WRITE_RUN:
		out[0] = (struct span){ a[0], a[1] };
		return 1;
	case FUZZ_READ_WORD: case FUZZ_WRITE_WORD: case FUZZ_EXCHANGE: case FUZZ_FETCH_ADD: case FUZZ_COMPARE_EXCHANGE:
		out[0] = (struct span){ a[0], 8 };
		return 1;
	case FUZZ_SHMDT:
	case FUZZ_WRITE:
	case FUZZ_READ:
		out[0] = (struct span){ a[0], 1 };
		return 1;
	case FUZZ_MUNMAP: case FUZZ_MPROTECT: case FUZZ_PKEY_MPROTECT: case FUZZ_MADVISE: case FUZZ_MLOCK: case FUZZ_MLOCK2:
	case FUZZ_MUNLOCK: case FUZZ_MSYNC: case FUZZ_MINCORE: case FUZZ_MSEAL: case FUZZ_REMAP_FILE_PAGES: case FUZZ_MBIND:
	case FUZZ_VM_READ: case FUZZ_VM_WRITE: case FUZZ_MEM_READ: case FUZZ_MEM_WRITE:
		out[0] = (struct span){ a[0], a[1] };
		return 1;
	default:
		return 0;
	}
}

static bool clean_end(struct span span, uint64_t *end)
{
	return !__builtin_add_overflow(span.start, span.bytes, end) && *end <= ~0ull - PAGE;
}

static bool meets_island(struct span span)
{
	uint64_t end;
	if (!clean_end(span, &end))
		return false; /* wraps: every call refuses it */
	/* One page more on each side: nothing merges with the island, nothing rounds into it. */
	return (span.start & ~(PAGE - 1)) < FUZZ_ISLAND_END + PAGE && end > FUZZ_ISLAND - PAGE;
}

static uint64_t mapped_bytes(const struct fuzz_process *p, struct span span)
{
	uint64_t sum = 0, end;
	if (!clean_end(span, &end))
		return 0;
	for (int i = 0; i < p->vmas; i++) {
		uint64_t from = p->vma[i].start > span.start ? p->vma[i].start : span.start;
		uint64_t to = p->vma[i].end < end ? p->vma[i].end : end;
		if (from < to && from < FUZZ_TASK_SIZE)
			sum += to - from;
	}
	return sum;
}

static bool populating_advice(uint64_t advice)
{
	return advice == SAMARA_MADV_POPULATE_READ || advice == SAMARA_MADV_POPULATE_WRITE ||
		advice == SAMARA_MADV_COLLAPSE || advice == SAMARA_MADV_WILLNEED || advice == SAMARA_MADV_PAGEOUT;
}

static bool too_much_memory(const struct fuzz_process *p, const struct fuzz_op *op)
{
	const uint64_t *a = op->a;
	struct span range = { a[0], a[1] };
	uint64_t filled = mapped_bytes(p, range);
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		return a[1] > POPULATE_BYTES && a[1] <= FUZZ_TASK_SIZE &&
			(p->lock_future || (a[3] & (SAMARA_MAP_LOCKED | SAMARA_MAP_POPULATE)));
	case FUZZ_BRK:
		return p->lock_future && a[0] > p->brk && a[0] - p->brk > POPULATE_BYTES && a[0] < FUZZ_TASK_SIZE;
	case FUZZ_MREMAP:
		return p->locked && a[2] > a[1] && a[2] - a[1] > POPULATE_BYTES && a[2] < FUZZ_TASK_SIZE;
	case FUZZ_MLOCK:
	case FUZZ_MLOCK2:
		return filled > POPULATE_BYTES;
	case FUZZ_MADVISE:
		/* Guard markers take page tables, not pages; still a page table for each two megabytes. */
		if (a[2] == SAMARA_MADV_GUARD_INSTALL)
			return filled > 64 * MEGABYTE;
		return populating_advice(a[2]) && filled > POPULATE_BYTES;
	case FUZZ_PROCESS_MADVISE:
		filled += mapped_bytes(p, (struct span){ a[2], a[3] });
		return filled > POPULATE_BYTES && (populating_advice(a[4]) || a[4] == SAMARA_MADV_GUARD_INSTALL);
	case FUZZ_MLOCKALL:
		return (a[0] & SAMARA_MCL_CURRENT) && mapped_bytes(p, (struct span){ 0, FUZZ_TASK_SIZE }) > LOCK_ALL_BYTES;
	case FUZZ_REMAP_FILE_PAGES:
		return filled > POPULATE_BYTES;
	case FUZZ_UFFD_REGISTER:
		return filled > 64 * MEGABYTE;
	default:
		return false;
	}
}

/* Would it fill pages where a guard region or a userfaultfd may stop it?  How far it came is then unknown to the
 * range side. */
static bool fills_a_trap(const struct fuzz_process *p, const struct fuzz_op *op)
{
	const uint64_t *a = op->a;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MLOCK:
	case FUZZ_MLOCK2:
		return fuzz_trapped(p, a[0], a[1]);
	case FUZZ_MPROTECT:
	case FUZZ_PKEY_MPROTECT:
		return p->locked && fuzz_trapped(p, a[0], a[1]);
	case FUZZ_MREMAP:
		return p->locked && fuzz_trapped(p, a[0], a[1] > a[2] ? a[1] : a[2]);
	case FUZZ_MLOCKALL:
		return (a[0] & SAMARA_MCL_CURRENT) && p->traps;
	case FUZZ_MADVISE:
		return populating_advice(a[2]) && fuzz_trapped(p, a[0], a[1]);
	case FUZZ_PROCESS_MADVISE:
		return populating_advice(a[4]) && (fuzz_trapped(p, a[0], a[1]) || fuzz_trapped(p, a[2], a[3]));
	case FUZZ_REMAP_FILE_PAGES:
		return p->locked && fuzz_trapped(p, a[0], a[1]);
	default:
		return false;
	}
}

bool fuzz_allowed(const struct fuzz_session *s, const struct fuzz_op *op)
{
	const struct fuzz_process *p = &s->proc[op->proc];
	struct span spans[3];
	if (!p->alive)
		return false;
	int n = spans_of(s, op, spans);
	for (int i = 0; i < n; i++)
		if (meets_island(spans[i]))
			return false;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_FORK:
		return op->extra < FUZZ_MAX_PROCS && !s->proc[op->extra].alive && !s->proc[op->extra].mm;
	case FUZZ_EXIT:
		for (int i = 0; i < FUZZ_MAX_PROCS; i++)
			if (i != op->proc && s->proc[i].alive)
				return true;
		return false;
	case FUZZ_UFFD_REGISTER:
	case FUZZ_UFFD_UNREGISTER:
	case FUZZ_UFFD_CLOSE: /* a descriptor acts on the space that opened it: the first process's */
		if (op->proc != 0 || s->uffd[op->a[0] & 1] < 0)
			return false;
		break;
	case FUZZ_WRPKRU:
		if (!p->worker.box->keys || (op->a[0] & 3))
			return false;
		break;
	case FUZZ_PKEY_FREE: /* key 0 is the key of the island: who gets it next may close it */
		if ((uint32_t)op->a[0] == 0)
			return false;
		break;
	case FUZZ_MINCORE: /* the vector has room for so many pages */
		if (op->a[1] > s->island->vector_bytes * PAGE && op->a[1] <= FUZZ_TASK_SIZE)
			return false;
		break;
	case FUZZ_ADD_SEALS:
		if (op->a[0] >= (uint64_t)s->files->count || s->files->file[op->a[0]].fd < 0 ||
		    !s->files->file[op->a[0]].fresh || !(s->files->file[op->a[0]].fmode & SAMARA_FMODE_WRITE))
			return false;
		break;
	default:
		break;
	}
	return !too_much_memory(p, op) && (s->memory ? fuzz_memory_allowed(s, op) : !fills_a_trap(p, op));
}

/* ---- results ---- */

static bool touches_agree(struct fuzz_session *s, const struct fuzz_op *op, const char **unjudged)
{
	struct fuzz_process *p = &s->proc[op->proc];
	struct samara_vma_view view;
	if (!samara_lookup(p->mm, op->a[0], &view))
		return false;
	if (s->kernel_result == -SAMARA_EIO && s->samara_result == 0) {
		*unjudged = "stores and loads that ended in SIGBUS (past the end of a file, userfaultfd)";
		return true;
	}
	if (s->kernel_result < 0 && s->samara_result == 0 && fuzz_trapped(p, op->a[0], 1)) {
		*unjudged = "stores and loads in guard regions";
		return true;
	}
	return false;
}

static bool collapses(const struct fuzz_op *op)
{
	return (op->kind == FUZZ_MADVISE && op->a[2] == SAMARA_MADV_COLLAPSE) ||
		(op->kind == FUZZ_PROCESS_MADVISE && op->a[4] == SAMARA_MADV_COLLAPSE);
}

static bool removes(const struct fuzz_op *op)
{
	return (op->kind == FUZZ_MADVISE && op->a[2] == SAMARA_MADV_REMOVE) ||
		(op->kind == FUZZ_PROCESS_MADVISE && op->a[4] == SAMARA_MADV_REMOVE);
}

bool fuzz_results_agree(struct fuzz_session *s, const struct fuzz_op *op, const char **unjudged)
{
	*unjudged = NULL;
	if (op->kind == FUZZ_MBIND && (op->a[5] & 7) && s->kernel_result == -SAMARA_EIO) {
		*unjudged = "mbind with MPOL_MF_STRICT or MPOL_MF_MOVE: depends on where pages are";
		return s->samara_result == 0 || s->samara_result == -SAMARA_EIO;
	}
	if (s->kernel_result == s->samara_result)
		return true;
	if (op->kind == FUZZ_WRITE || op->kind == FUZZ_READ)
		return touches_agree(s, op, unjudged);
	if (op->kind == FUZZ_FORK)
		return s->kernel_result > 0 && s->samara_result == 0;
	if (removes(op) && (s->kernel_result == -EFBIG || s->kernel_result == -ENOSPC)) {
		*unjudged = "MADV_REMOVE that the file system refused";
		return true;
	}
	if (collapses(op) && s->samara_result >= 0 && s->kernel_result < 0) {
		*unjudged = "MADV_COLLAPSE that found no pages to collapse";
		return true;
	}
	return false;
}

/* ---- maps ---- */

int fuzz_parse_maps(const char *text, struct fuzz_vma *vma, int room)
{
	int n = 0;
	for (const char *line = text; *line && n < room;) {
		char *rest;
		vma[n].start = strtoull(line, &rest, 16);
		vma[n].end = strtoull(rest + 1, &rest, 16);
		memcpy(vma[n].perms, rest + 1, 4);
		vma[n].perms[4] = 0;
		const char *end = strchr(line, '\n');
		if (!end)
			break;
		vma[n].special = end[-1] == ']' || vma[n].start == FUZZ_ISLAND;
		vma[n].foreign = vma[n].start == FUZZ_ISLAND || memmem(line, (size_t)(end - line), "[v", 2);
		n += vma[n].start < FUZZ_TASK_SIZE;
		line = end + 1;
	}
	return n;
}

static bool pair_inodes(struct fuzz_session *s, uint64_t kernel, uint64_t samara)
{
	for (size_t i = 0; i < s->inos; i++)
		if (s->ino[i].kernel == kernel || s->ino[i].samara == samara)
			return s->ino[i].kernel == kernel && s->ino[i].samara == samara;
	if (s->inos < FUZZ_ARRAY_SIZE(s->ino)) {
		s->ino[s->inos].kernel = kernel;
		s->ino[s->inos++].samara = samara;
	}
	return true;
}

static const char shared_name[] = "/dev/zero (deleted)", huge_name[] = "/anon_hugepage (deleted)";

static bool ends_with(const char *line, size_t bytes, const char *name)
{
	size_t n = strlen(name);
	return bytes > n && !memcmp(line + bytes - n, name, n);
}

/* Lines that differ in the inode number, and in the padding that follows from it; huge pages also in the device. */
static bool shared_lines_agree(struct fuzz_session *s, const char *k, size_t k_bytes, const char *g, size_t g_bytes)
{
	size_t same = 0;
	int device_at = ends_with(k, k_bytes, huge_name) ? 3 : 4;
	uint64_t kernel, samara;
	char kernel_line[256], samara_line[256], *kernel_rest, *samara_rest;
	if (k_bytes >= sizeof(kernel_line) || g_bytes >= sizeof(samara_line))
		return false;
	memcpy(kernel_line, k, k_bytes);
	memcpy(samara_line, g, g_bytes);
	kernel_line[k_bytes] = samara_line[g_bytes] = 0;
	for (int spaces = 0; spaces < device_at; same++) {
		if (kernel_line[same] != samara_line[same] || !kernel_line[same])
			return false;
		spaces += kernel_line[same] == ' ';
	}
	kernel_rest = kernel_line + same;
	samara_rest = samara_line + same;
	if (device_at == 3) { /* 00:0f, a number of this boot */
		kernel_rest += strcspn(kernel_rest, " ");
		samara_rest += strcspn(samara_rest, " ");
	}
	kernel = strtoull(kernel_rest, &kernel_rest, 10);
	samara = strtoull(samara_rest, &samara_rest, 10);
	kernel_rest += strspn(kernel_rest, " ");
	samara_rest += strspn(samara_rest, " ");
	return !strcmp(kernel_rest, samara_rest) && pair_inodes(s, kernel, samara);
}

bool fuzz_lines_agree(struct fuzz_session *s, const char *k, size_t k_bytes, const char *g, size_t g_bytes)
{
	if (ends_with(k, k_bytes, shared_name) || ends_with(k, k_bytes, huge_name))
		return shared_lines_agree(s, k, k_bytes, g, g_bytes);
	return k_bytes == g_bytes && !memcmp(k, g, k_bytes);
}

bool fuzz_maps_agree(struct fuzz_session *s, struct fuzz_process *p, char *detail, size_t room)
{
	const char *k = p->text, *k_end = k + p->bytes, *g = s->samara_text, *g_end = g + s->samara_bytes;
	while (k < k_end || g < g_end) {
		const char *k_line = memchr(k, '\n', (size_t)(k_end - k)), *g_line = memchr(g, '\n', (size_t)(g_end - g));
		size_t k_bytes = (size_t)((k_line ? k_line : k_end) - k), g_bytes = (size_t)((g_line ? g_line : g_end) - g);
		if (!fuzz_lines_agree(s, k, k_bytes, g, g_bytes)) {
			snprintf(detail, room, "kernel: %.*s\nsamara: %.*s", (int)k_bytes, k, (int)g_bytes, g);
			return false;
		}
		k += k_bytes + (k_line ? 1 : 0);
		g += g_bytes + (g_line ? 1 : 0);
	}
	return true;
}
