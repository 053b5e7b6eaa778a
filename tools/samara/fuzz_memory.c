/* fuzz_memory.c - the session's side of `samara fuzz --memory`: frames, what may run, when to look at what.
 *
 * Some programs run on a machine of few frames.  When such a machine is full, samara refuses what the kernel grants,
 * and the two go apart: from then on results are not judged, but samara goes on with every operation, its structure
 * is checked, and in the end everything must be given back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fuzz_memory.h"
#include "fuzz_random.h"

#define PAGE 4096ull
enum { FULL_BELOW = 64, LOCK_ALL_PAGES = 300, POPULATE_PAGES = 64, FILE_LIMIT_PAGES = 64, CHECK_STARVED_EVERY = 8 };

const char *fuzz_memory_missing(void)
{
	char text[128] = "";
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
	bool huge = f && fgets(text, sizeof(text), f) &&
		(strstr(text, "[always]") || strstr(text, "[within_size]") || strstr(text, "[force]"));
	if (f)
		fclose(f);
	return huge ? "huge pages of shmem are on (transparent_hugepage/shmem_enabled)" : NULL;
}

int fuzz_memory_open(struct fuzz_memory *m)
{
	size_t bytes = FUZZ_MACHINE_FRAMES * PAGE;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	m->kernel_text = malloc(FUZZ_MEMORY_TEXT_BYTES);
	m->samara_text = malloc(FUZZ_MEMORY_TEXT_BYTES);
	if (p == MAP_FAILED || !m->kernel_text || !m->samara_text)
		return -1;
	m->frames = p;
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return madvise(p, bytes, MADV_DONTFORK); /* workers need none of it */
}

unsigned fuzz_memory_variant(uint64_t seed)
{
	uint64_t state = seed ^ 0x6672616d6573;
	unsigned variant = fuzz_variant(seed);
	if (chance(&state, 12))
		variant += (unsigned)(20 + below(&state, 56)) * FUZZ_VARIANT_FRAMES;
	if (chance(&state, 40))
		variant |= FUZZ_DIRTY_FRAMES;
	return variant;
}

/* The worker keeps nothing but the island; pages of its own stack would count. */
static int unmap_rest(struct fuzz_worker *w, char *text)
{
	int64_t result;
	if (fuzz_read_text(w->maps_fd, text, FUZZ_MEMORY_TEXT_BYTES) < 0)
		return -1;
	for (char *line = text; *line;) {
		char *rest, *next = strchr(line, '\n');
		uint64_t start = strtoull(line, &rest, 16), end = strtoull(rest + 1, NULL, 16);
		if (start < FUZZ_TASK_SIZE && start != FUZZ_ISLAND &&
		    fuzz_worker_syscall(w, SYS_munmap, (uint64_t[6]){ start, end - start }, &result) < 0)
			return -1;
		if (!next)
			break;
		line = next + 1;
	}
	return 0;
}

int fuzz_memory_begin(struct fuzz_session *s, unsigned variant)
{
	struct fuzz_memory *m = s->memory;
	struct fuzz_worker *w = &s->proc[0].worker;
	int64_t result;

	m->starved = false;
	m->data_bytes = 0;
	m->count = variant / FUZZ_VARIANT_FRAMES * FUZZ_FEW_FRAMES_UNIT;
	m->few_frames = m->count != 0;
	if (!m->few_frames)
		m->count = FUZZ_MACHINE_FRAMES;
	if (madvise(m->frames, FUZZ_MACHINE_FRAMES * PAGE, MADV_DONTNEED) < 0)
		return -1;
	m->dirty_frames = variant & FUZZ_DIRTY_FRAMES;
	if (m->dirty_frames)
		memset(m->frames, 0xa5, m->count * PAGE);
	s->uffd[0] = s->uffd[1] = -1;
	uint64_t a[6] = { SAMARA_PR_SET_THP_DISABLE, 1, 0, 0, 0 };
	if (fuzz_worker_syscall(w, SYS_prctl, a, &result) < 0 || result < 0)
		return -1;
	return unmap_rest(w, m->kernel_text);
}

void fuzz_memory_configure(const struct fuzz_session *s, struct samara_config *config)
{
	config->memory = s->memory->frames;
	config->memory_pages = s->memory->count;
	config->first_pfn = 0x1000;
	config->memory_zeroed = !s->memory->dirty_frames;
}

/* ---- what may run ---- */

/* Advice whose effect the host decides, or that harms the host. */
static bool host_advice(uint64_t advice)
{
	return advice == SAMARA_MADV_PAGEOUT || advice == SAMARA_MADV_COLLAPSE || advice == SAMARA_MADV_HWPOISON ||
		advice == SAMARA_MADV_SOFT_OFFLINE || advice == SAMARA_MADV_HUGEPAGE || advice == SAMARA_MADV_MERGEABLE;
}

static bool access_allowed(const struct fuzz_op *op)
{
	uint64_t bytes = 1ull << (op->a[1] & 3), end;
	bool run = op->kind == FUZZ_READ_RUN || op->kind == FUZZ_WRITE_RUN;
	bool atomic = !run && op->kind != FUZZ_READ_WORD && op->kind != FUZZ_WRITE_WORD;

	if (run) {
		bytes = op->a[1];
		if (bytes < 1 || bytes > FUZZ_RUN_BYTES)
			return false;
	} else if ((op->a[0] & (PAGE - 1)) + bytes > PAGE) {
		return false; /* fuzz_memory_access.c says why */
	}
	/* An access that is not aligned is no atomic one, and one over the end of the address space wraps. */
	return !(atomic && (op->a[0] & (bytes - 1))) && !__builtin_add_overflow(op->a[0], bytes + PAGE, &end);
}

/* Small, so that the files stay small; or negative, which is refused. */
static bool file_place_allowed(uint64_t at)
{
	return at <= FILE_LIMIT_PAGES * PAGE || at >> 63;
}

static bool file_call_allowed(const struct fuzz_session *s, const struct fuzz_op *op)
{
	const uint64_t *a = op->a;
	const struct fuzz_file *file = a[0] < (uint64_t)s->files->count ? &s->files->file[a[0]] : NULL;
	if (!file || file->fd < 0 || file->kind != SAMARA_INODE_SHMEM)
		return false;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_FALLOCATE:
		return file_place_allowed(a[2]) && file_place_allowed(a[3]);
	case FUZZ_PREAD:
	case FUZZ_PWRITE:
		return file_place_allowed(a[1]) && a[2] <= FUZZ_RUN_BYTES;
	case FUZZ_LSEEK:
		return file_place_allowed(a[1]) && (a[2] == SEEK_DATA || a[2] == SEEK_HOLE);
	default:
		return file_place_allowed(a[1]);
	}
}

static uint64_t mapped_pages(const struct fuzz_process *p, uint64_t start, uint64_t bytes)
{
	uint64_t pages = 0, end = start + bytes < start ? ~0ull : start + bytes;
	for (int i = 0; i < p->vmas; i++) {
		uint64_t from = p->vma[i].start > start ? p->vma[i].start : start;
		uint64_t to = p->vma[i].end < end ? p->vma[i].end : end;
		if (from < to)
			pages += (to - from + PAGE - 1) / PAGE;
	}
	return pages;
}

/* MADV_FREE of a page that several map asks whether it was written to from outside.  When one of them writes to such a page
 * after the others have gone, the kernel keeps it, or copies it and forgets that, by whether another processor has it in
 * a batch. */
static bool free_allowed(const struct fuzz_session *s, uint64_t advice)
{
	return advice != SAMARA_MADV_FREE || !s->forked || !s->outside;
}

/* An offset of /proc/PID/mem is no negative number.  Pins for reading give what fork shared its own page: whether the host
 * copies, and the copy is clean, or keeps a page that nobody else has any more, depends on its batches.  A stack that
 * grows by /proc/PID/mem is asked the limits of who reads, in the kernel (docs/differences.md, 20). */
static bool remote_allowed(const struct fuzz_session *s, const struct fuzz_op *op)
{
	if (!op->a[1] || op->a[1] > FUZZ_RUN_BYTES || op->a[0] >= 1ull << 62)
		return false;
	return !(op->kind == FUZZ_VM_READ && s->forked) && !s->proc[op->proc].limited;
}

bool fuzz_memory_allowed(const struct fuzz_session *s, const struct fuzz_op *op)
{
	const struct fuzz_process *p = &s->proc[op->proc];
	const uint64_t *a = op->a;

	if (!fuzz_memory_kind(op->kind))
		return false;
	if (fuzz_is_access(op->kind))
		return access_allowed(op);
	if (fuzz_is_remote(op->kind))
		return remote_allowed(s, op);
	if (fuzz_is_file_call(op->kind))
		return file_call_allowed(s, op);
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		return !(a[3] & SAMARA_MAP_HUGETLB) && (a[1] <= POPULATE_PAGES * PAGE || a[1] > FUZZ_TASK_SIZE ||
			!(p->lock_future || (a[3] & (SAMARA_MAP_LOCKED | SAMARA_MAP_POPULATE))));
	case FUZZ_MREMAP:
		return !p->locked || a[2] <= POPULATE_PAGES * PAGE || a[2] > FUZZ_TASK_SIZE;
	case FUZZ_MADVISE:
		return !host_advice(a[2]) && free_allowed(s, a[2]) && mapped_pages(p, a[0], a[1]) <= POPULATE_PAGES;
	case FUZZ_PROCESS_MADVISE:
		return !host_advice(a[4]) && free_allowed(s, a[4]) && mapped_pages(p, a[0], a[1]) + mapped_pages(p, a[2], a[3]) <= 2 * POPULATE_PAGES;
	case FUZZ_MLOCK: case FUZZ_MLOCK2:
		return mapped_pages(p, a[0], a[1]) <= POPULATE_PAGES;
	case FUZZ_MLOCKALL:
		return mapped_pages(p, 0, FUZZ_TASK_SIZE) <= LOCK_ALL_PAGES;
	case FUZZ_PRCTL: /* the others would change what the host does with pages */
		return a[0] == SAMARA_PR_SET_VMA;
	default:
		return true;
	}
}

/* ---- a machine that is full ---- */

bool fuzz_memory_starved(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	struct samara_usage usage;

	if (!m->few_frames)
		return false;
	if (!m->starved) {
		bool refused = s->samara_result != s->kernel_result && (s->samara_result == -SAMARA_ENOMEM ||
			s->samara_result == -SAMARA_EAGAIN || s->samara_result == -SAMARA_ENOSPC);
		samara_usage(s->guest.vm, &usage);
		m->starved = refused || usage.free_pages < FULL_BELOW || (fuzz_is_access(op->kind) && m->samara.error);
	}
	if (m->starved && s->stats)
		fuzz_stats_unjudged(s->stats, "operations of programs on a machine of few frames, after it was full");
	return m->starved;
}

/* ---- looking ---- */

bool fuzz_memory_look(struct fuzz_session *s, size_t index, bool end, char what[static 64])
{
	struct fuzz_memory *m = s->memory;
	struct fuzz_difference *d = &s->difference;
	bool all = end || m->always;
	bool content = end || m->bytes || index % FUZZ_LOOK_AT_CONTENT_EVERY == FUZZ_LOOK_AT_CONTENT_EVERY - 1;

	if (m->starved) {
		if (end || m->check || index % CHECK_STARVED_EVERY == 0)
			samara_check_machine(s->guest.vm);
		return true;
	}
	if (!all && index % FUZZ_LOOK_EVERY != FUZZ_LOOK_EVERY - 1)
		return true;
	if (end || m->check || (!m->always && index % FUZZ_CHECK_EVERY == FUZZ_CHECK_EVERY - 1))
		samara_check_machine(s->guest.vm);
	for (unsigned i = 0; i < FUZZ_MAX_PROCS; i++) {
		if (!s->proc[i].alive || !s->proc[i].mm)
			continue;
		d->proc = i;
		if (!fuzz_pages_agree(s, i, content, what, d->detail, sizeof(d->detail), &d->addr))
			return false;
		d->addr = 0;
		if (!fuzz_smaps_agree(s, i, what, d->detail, sizeof(d->detail)) ||
			!fuzz_totals_agree(s, i, what, d->detail, sizeof(d->detail)))
			return false;
	}
	if (fuzz_files_agree(s, content, d->detail, sizeof(d->detail)))
		return true;
	snprintf(what, 64, "a file");
	return false;
}

/* ---- a host that pages out ---- */

/* Where pages are: a file's count of them, present or not in pagemap, sizes in smaps, mincore, holes. */
static bool of_residency(const struct fuzz_difference *d)
{
	static const char *const classes[] = { ": pagemap: ", ": smaps: ", ": smaps_rollup", ": status", ": statm", "mincore: ", "lseek: " };

	if (strstr(d->what, ": a file") && strstr(d->detail, " pages\n"))
		return true;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strstr(d->what, classes[i]))
			return true;
	return false;
}

bool fuzz_memory_paged_out(struct fuzz_session *s, const struct fuzz_program *p, const struct fuzz_difference *d)
{
	struct fuzz_stats *stats = s->stats;
	struct fuzz_difference again;
	bool came_again = false;

	if (!s->host->pages_out || !of_residency(d))
		return false;
	s->stats = NULL;
	for (int run = 0; run < FUZZ_RUNS_AGAIN && !came_again; run++)
		came_again = fuzz_session_run(s, p, &again) >= FUZZ_DIFFERENT;
	s->stats = stats;
	if (came_again)
		return false;
	fuzz_stats_unjudged(stats, "programs that lost a page to the host's DAMON: no difference when run again");
	return true;
}
