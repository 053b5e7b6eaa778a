/* fuzz_memory_generate.c - the next operation of a program with memory, drawn from the state that the kernel shows.
 *
 * A few dozen pages of arena, small mappings, files of a few pages: so that accesses meet what was mapped, copied,
 * cut off and forked before.  Accesses come in groups of addresses: inside a mapping, at the edges of pages and
 * mappings, below growing stacks, and anywhere.  Everything is a function of the random state and the session, so a
 * seed is a program.
 */
#include <string.h>
#include "fuzz_memory.h"
#include "fuzz_random.h"

#define PAGE 4096ull
#define STACKS (FUZZ_ARENA + 0x10000000ull) /* growing mappings with room below them */
enum { ARENA_PAGES = 72, CROWDED = 36, STACK_STEP = 700, STACK_COUNT = 3 };

static const unsigned weights[FUZZ_KINDS] = {
	[FUZZ_MMAP] = 90, [FUZZ_MUNMAP] = 22, [FUZZ_MPROTECT] = 42, [FUZZ_MREMAP] = 34, [FUZZ_BRK] = 14, [FUZZ_MADVISE] = 90,
	[FUZZ_PKEY_MPROTECT] = 8, [FUZZ_PKEY_ALLOC] = 4, [FUZZ_PKEY_FREE] = 2, [FUZZ_WRPKRU] = 10, [FUZZ_PROCESS_MADVISE] = 6,
	[FUZZ_MLOCK] = 6, [FUZZ_MLOCK2] = 5, [FUZZ_MUNLOCK] = 6, [FUZZ_MLOCKALL] = 2,
	[FUZZ_MUNLOCKALL] = 2, [FUZZ_MSYNC] = 8, [FUZZ_MINCORE] = 20, [FUZZ_MSEAL] = 1, [FUZZ_REMAP_FILE_PAGES] = 4,
	[FUZZ_PRCTL] = 3, [FUZZ_SHMAT] = 6, [FUZZ_SHMDT] = 3, [FUZZ_SETRLIMIT] = 2, [FUZZ_ADD_SEALS] = 1, [FUZZ_FORK] = 14,
	[FUZZ_EXIT] = 8, [FUZZ_READ_WORD] = 110, [FUZZ_WRITE_WORD] = 120, [FUZZ_EXCHANGE] = 20, [FUZZ_FETCH_ADD] = 20,
	[FUZZ_COMPARE_EXCHANGE] = 20, [FUZZ_READ_RUN] = 60, [FUZZ_WRITE_RUN] = 70, [FUZZ_PREAD] = 18, [FUZZ_PWRITE] = 28,
	[FUZZ_FTRUNCATE] = 16, [FUZZ_FALLOCATE] = 24, [FUZZ_LSEEK] = 8,
	[FUZZ_VM_READ] = 14, [FUZZ_VM_WRITE] = 14, [FUZZ_MEM_READ] = 14, [FUZZ_MEM_WRITE] = 18,
};

bool fuzz_memory_kind(unsigned kind)
{
	return weights[kind] != 0;
}

static unsigned pick_kind(uint64_t *r)
{
	unsigned sum = 0, kind = 0;
	for (unsigned k = 0; k < FUZZ_KINDS; k++)
		sum += weights[k];
	for (uint64_t at = below(r, sum); at >= weights[kind]; kind++)
		at -= weights[kind];
	return kind;
}

/* ---- processes and mappings ---- */

static unsigned pick_process(const struct fuzz_session *s, uint64_t *r)
{
	unsigned alive[FUZZ_MAX_PROCS], n = 0;
	for (unsigned i = 0; i < FUZZ_MAX_PROCS; i++)
		if (s->proc[i].alive)
			alive[n++] = i;
	return n ? alive[below(r, n)] : 0;
}

static unsigned free_slot(const struct fuzz_session *s)
{
	for (unsigned i = 0; i < FUZZ_MAX_PROCS; i++)
		if (!s->proc[i].alive && !s->proc[i].mm)
			return i;
	return FUZZ_MAX_PROCS;
}

static const struct fuzz_vma *pick_vma(const struct fuzz_process *p, uint64_t *r)
{
	for (int tries = 0; p->vmas && tries < 6; tries++) {
		const struct fuzz_vma *v = &p->vma[below(r, (uint64_t)p->vmas)];
		if (!v->foreign)
			return v;
	}
	return NULL;
}

static uint64_t stack_top(uint64_t *r)
{
	return STACKS + (1 + below(r, STACK_COUNT)) * STACK_STEP * PAGE;
}

static uint64_t arena(uint64_t *r)
{
	return FUZZ_ARENA + below(r, ARENA_PAGES) * PAGE;
}

static uint64_t page_in(const struct fuzz_vma *v, uint64_t *r)
{
	uint64_t pages = (v->end - v->start) / PAGE;
	return v->start + below(r, pages < 32 ? pages : 32) * PAGE;
}

static uint64_t address(const struct fuzz_process *p, uint64_t *r)
{
	const struct fuzz_vma *v = pick_vma(p, r);
	uint64_t kind = below(r, 100);
	if (!v || kind < 15)
		return arena(r);
	if (kind < 60)
		return chance(r, 50) ? v->start : page_in(v, r);
	if (kind < 80)
		return v->start + (below(r, 5) - 2) * PAGE;
	return v->end + (below(r, 5) - 2) * PAGE;
}

static uint64_t length(uint64_t *r)
{
	static const uint64_t rare[] = { 0, 1, 4095, 4097, ~0ull, ~0ull - 4095, 64 * PAGE, 600 * PAGE, 1ull << 30,
		1ull << 47 };
	uint64_t kind = below(r, 100);
	if (kind < 60)
		return (1 + below(r, 5)) * PAGE;
	if (kind < 90)
		return (1 + below(r, 16)) * PAGE;
	return kind < 97 ? below(r, 16) * PAGE + below(r, PAGE) : PICK(r, rare);
}

static void range(const struct fuzz_process *p, uint64_t *r, uint64_t *addr, uint64_t *bytes)
{
	const struct fuzz_vma *v = chance(r, 40) ? pick_vma(p, r) : NULL;
	*addr = address(p, r) + (chance(r, 2) ? below(r, PAGE) : 0);
	*bytes = length(r);
	if (!v)
		return;
	*addr = v->start;
	*bytes = v->end - v->start;
	if (chance(r, 30))
		*bytes += (1 + below(r, 4)) * PAGE;
	else if (chance(r, 30) && *bytes > PAGE)
		*bytes -= PAGE;
}

static uint64_t protection(uint64_t *r)
{
	static const uint64_t prots[] = { 0, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 2, 5, 7, 4 };
	return PICK(r, prots);
}

/* ---- requests ---- */

static void generate_mmap(const struct fuzz_session *s, uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	static const uint64_t often[] = { SAMARA_MAP_NORESERVE, SAMARA_MAP_POPULATE, SAMARA_MAP_POPULATE, SAMARA_MAP_LOCKED,
		SAMARA_MAP_STACK, SAMARA_MAP_FIXED_NOREPLACE, SAMARA_MAP_POPULATE | SAMARA_MAP_NONBLOCK };
	uint64_t *a = op->a;
	bool file = chance(r, 45);

	a[1] = length(r);
	a[2] = chance(r, 20) ? protection(r) : 3;
	a[3] = chance(r, 55) ? SAMARA_MAP_PRIVATE : chance(r, 90) ? SAMARA_MAP_SHARED :
		chance(r, 50) ? SAMARA_MAP_SHARED_VALIDATE : SAMARA_MAP_DROPPABLE;
	if (chance(r, 25))
		a[3] |= PICK(r, often);
	if (!file && chance(r, 10)) {
		a[0] = chance(r, 80) ? stack_top(r) - a[1] : arena(r);
		a[1] = (1 + below(r, 3)) * PAGE;
		a[3] = SAMARA_MAP_PRIVATE | SAMARA_MAP_GROWSDOWN | SAMARA_MAP_FIXED | (chance(r, 10) ? SAMARA_MAP_LOCKED : 0);
	} else if (chance(r, 75)) {
		a[0] = arena(r);
		a[3] |= SAMARA_MAP_FIXED;
	} else {
		a[0] = chance(r, 60) ? 0 : address(p, r);
	}
	a[4] = file ? below(r, (uint64_t)s->files->count) : (uint64_t)-1;
	a[3] |= file ? 0 : SAMARA_MAP_ANONYMOUS;
	if (file)
		a[5] = chance(r, 50) ? 0 : chance(r, 50) ? (a[0] & 0x7000) : below(r, 20) * PAGE;
}

static void generate_mremap(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	uint64_t *a = op->a;
	range(p, r, &a[0], &a[1]);
	a[2] = chance(r, 40) ? a[1] : length(r);
	a[3] = chance(r, 20) ? 0 : chance(r, 45) ? 1 : chance(r, 65) ? 3 : 5 + (chance(r, 30) ? 2 : 0);
	if (a[3] & 4)
		a[2] = a[1];
	a[4] = a[3] & 2 ? arena(r) : 0;
	if (chance(r, 4))
		a[1] = 0;
}

static uint64_t any_advice(uint64_t *r)
{
	static const uint64_t advice[] = { SAMARA_MADV_DONTNEED, SAMARA_MADV_DONTNEED, SAMARA_MADV_DONTNEED,
		SAMARA_MADV_DONTNEED, SAMARA_MADV_FREE, SAMARA_MADV_FREE, SAMARA_MADV_FREE, SAMARA_MADV_REMOVE,
		SAMARA_MADV_REMOVE, SAMARA_MADV_COLD, SAMARA_MADV_POPULATE_READ, SAMARA_MADV_POPULATE_READ,
		SAMARA_MADV_POPULATE_READ, SAMARA_MADV_POPULATE_WRITE, SAMARA_MADV_POPULATE_WRITE,
		SAMARA_MADV_GUARD_INSTALL, SAMARA_MADV_GUARD_INSTALL, SAMARA_MADV_GUARD_REMOVE, SAMARA_MADV_GUARD_REMOVE,
		SAMARA_MADV_WIPEONFORK, SAMARA_MADV_WIPEONFORK, SAMARA_MADV_KEEPONFORK, SAMARA_MADV_DONTFORK,
		SAMARA_MADV_DOFORK, SAMARA_MADV_DOFORK, SAMARA_MADV_DONTNEED_LOCKED, SAMARA_MADV_WILLNEED,
		SAMARA_MADV_NORMAL, SAMARA_MADV_RANDOM, SAMARA_MADV_SEQUENTIAL, SAMARA_MADV_DONTDUMP, SAMARA_MADV_DODUMP,
		SAMARA_MADV_NOHUGEPAGE, 5 };
	return PICK(r, advice);
}

static void generate_setrlimit(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	static const int which[] = { SAMARA_RLIMIT_DATA, SAMARA_RLIMIT_STACK, SAMARA_RLIMIT_MEMLOCK, SAMARA_RLIMIT_AS };
	uint64_t mapped = 0;
	for (int i = 0; i < p->vmas; i++)
		mapped += p->vma[i].end - p->vma[i].start;
	op->a[0] = (uint64_t)PICK(r, which);
	op->a[1] = op->a[0] == SAMARA_RLIMIT_STACK ? (chance(r, 50) ? 8ull << 20 : below(r, 32) * PAGE) :
		op->a[0] == SAMARA_RLIMIT_MEMLOCK ? below(r, 512) * PAGE : chance(r, 60) ? ~0ull : mapped + below(r, 64) * PAGE;
}

/* ---- accesses ---- */

/* The first byte of an access of `bytes` bytes. */
static uint64_t access_address(const struct fuzz_process *p, uint64_t *r, uint64_t bytes)
{
	static const uint64_t far_off[] = { 0, 8, 4095, 0x10000, FUZZ_TASK_SIZE - 8, FUZZ_TASK_SIZE - 4, FUZZ_TASK_SIZE,
		0x800000000000, 0xffff800000000000, 0xffffffffff600000, 1ull << 62 };
	const struct fuzz_vma *v = pick_vma(p, r);
	uint64_t kind = below(r, 100);
	if (kind < 2)
		return PICK(r, far_off);
	if (!v || kind < 8)
		return arena(r) + below(r, PAGE);
	if (kind < 14)
		return (chance(r, 50) ? stack_top(r) : v->start) - below(r, 40) * PAGE - below(r, PAGE);
	if (kind < 24) /* over or at the edge of a mapping */
		return (chance(r, 30) ? v->start : v->end) - 1 - below(r, bytes + 8);
	if (kind < 34)
		return page_in(v, r) + PAGE - 1 - below(r, bytes + 1);
	if (kind < 60) /* few places: what one writes another reads */
		return page_in(v, r) + below(r, 4) * 8;
	return page_in(v, r) + below(r, PAGE);
}

static void generate_word(const struct fuzz_process *p, uint64_t *r, struct fuzz_op *op)
{
	uint64_t *a = op->a;
	bool atomic = op->kind != FUZZ_READ_WORD && op->kind != FUZZ_WRITE_WORD;
	a[1] = below(r, 4);
	a[0] = access_address(p, r, 1ull << a[1]);
	if (atomic)
		a[0] &= ~((1ull << a[1]) - 1);
	a[2] = chance(r, 40) ? below(r, 3) : fuzz_random(r);
	a[3] = fuzz_random(r);
	if ((a[0] & (PAGE - 1)) + (1ull << a[1]) > PAGE) {
		op->kind = op->kind == FUZZ_READ_WORD ? FUZZ_READ_RUN : FUZZ_WRITE_RUN;
		a[1] = 1ull << a[1];
	}
}

static void generate_run(const struct fuzz_process *p, uint64_t *r, struct fuzz_op *op)
{
	uint64_t *a = op->a;
	a[1] = chance(r, 50) ? 1 + below(r, 64) : 1 + below(r, FUZZ_RUN_BYTES);
	a[0] = access_address(p, r, a[1]);
	a[2] = below(r, 1 << 16);
}

/* ---- files ---- */

static uint64_t any_file(const struct fuzz_session *s, uint64_t *r)
{
	for (int tries = 0; tries < 8; tries++) {
		uint64_t i = below(r, (uint64_t)s->files->count);
		if (s->files->file[i].fd >= 0 && s->files->file[i].kind == SAMARA_INODE_SHMEM)
			return i;
	}
	return 0;
}

static uint64_t file_place(uint64_t *r)
{
	uint64_t page = below(r, FUZZ_FILE_PAGES) * PAGE;
	return chance(r, 1) ? ~0ull - below(r, 2) * PAGE : chance(r, 50) ? page : page + below(r, PAGE);
}

static void generate_file_call(const struct fuzz_session *s, uint64_t *r, struct fuzz_op *op)
{
	static const uint64_t modes[] = { 0, 1, 3, 3, 3, 3, 16, 17, 2, 64 };
	uint64_t *a = op->a;
	a[0] = any_file(s, r);
	a[1] = file_place(r);
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_PREAD:
	case FUZZ_PWRITE:
		a[2] = chance(r, 50) ? 1 + below(r, 200) : below(r, FUZZ_RUN_BYTES + 1);
		a[3] = below(r, 1 << 16);
		break;
	case FUZZ_FALLOCATE:
		a[1] = PICK(r, modes);
		a[2] = file_place(r);
		a[3] = chance(r, 60) ? (1 + below(r, 4)) * PAGE : below(r, 4 * PAGE);
		break;
	case FUZZ_LSEEK:
		a[2] = 3 + below(r, 2);
		break;
	default:
		break;
	}
}

/* ---- all ---- */

static void generate_others(const struct fuzz_session *s, uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	uint64_t *a = op->a;
	range(p, r, &a[0], &a[1]);
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MPROTECT:
		a[2] = protection(r);
		break;
	case FUZZ_PKEY_MPROTECT:
		a[2] = protection(r);
		a[3] = below(r, 4);
		break;
	case FUZZ_PKEY_ALLOC:
		a[0] = 0;
		a[1] = below(r, 4);
		break;
	case FUZZ_PKEY_FREE:
		a[0] = 1 + below(r, 3);
		break;
	case FUZZ_WRPKRU: /* mostly open, or most accesses would end there */
		a[0] = chance(r, 60) ? 0 : chance(r, 30) ? 0x55555554 : (uint32_t)fuzz_random(r) & (uint32_t)fuzz_random(r) & ~3u;
		break;
	case FUZZ_BRK:
		a[0] = p->brk + (below(r, 12) - 5) * PAGE + (chance(r, 30) ? below(r, PAGE) : 0);
		a[1] = 0;
		break;
	case FUZZ_MADVISE:
		a[2] = any_advice(r);
		break;
	case FUZZ_PROCESS_MADVISE:
		range(p, r, &a[2], &a[3]);
		op->extra = (uint8_t)(1 + below(r, 2));
		a[4] = any_advice(r);
		break;
	case FUZZ_MLOCK2:
		a[2] = below(r, 2);
		break;
	case FUZZ_MLOCKALL:
		a[0] = 1 + below(r, 7);
		break;
	case FUZZ_MSYNC:
		a[2] = chance(r, 80) ? 1 + below(r, 4) : below(r, 8);
		break;
	case FUZZ_REMAP_FILE_PAGES:
		a[2] = 0;
		a[3] = below(r, 16);
		break;
	case FUZZ_PRCTL:
		a[2] = a[0];
		a[3] = a[1];
		a[0] = SAMARA_PR_SET_VMA;
		a[1] = 0;
		op->extra = (uint8_t)below(r, 4);
		break;
	case FUZZ_SHMAT:
		a[1] = chance(r, 40) ? 0 : arena(r);
		a[0] = below(r, FUZZ_SEGMENTS);
		a[2] = chance(r, 60) ? 0 : chance(r, 50) ? SAMARA_SHM_RDONLY : SAMARA_SHM_REMAP;
		break;
	case FUZZ_ADD_SEALS:
		a[0] = any_file(s, r);
		a[1] = 2ull << below(r, 4);
		break;
	default:
		break;
	}
}

void fuzz_memory_generate(struct fuzz_session *s, uint64_t *r, struct fuzz_op *op)
{
	*op = (struct fuzz_op){ .kind = (uint8_t)pick_kind(r), .proc = (uint8_t)pick_process(s, r) };
	const struct fuzz_process *p = &s->proc[op->proc];

	if (p->vmas < 6 && chance(r, 50))
		op->kind = FUZZ_MMAP;
	if (p->vmas > CROWDED && op->kind == FUZZ_MMAP && chance(r, 60))
		op->kind = FUZZ_MUNMAP;
	if (fuzz_is_file_call(op->kind))
		generate_file_call(s, r, op);
	else if (op->kind == FUZZ_READ_RUN || op->kind == FUZZ_WRITE_RUN || fuzz_is_remote(op->kind))
		generate_run(p, r, op);
	else if (fuzz_is_access(op->kind))
		generate_word(p, r, op);
	else if (op->kind == FUZZ_MMAP)
		generate_mmap(s, r, p, op);
	else if (op->kind == FUZZ_MREMAP)
		generate_mremap(r, p, op);
	else if (op->kind == FUZZ_SETRLIMIT)
		generate_setrlimit(r, p, op);
	else if (op->kind == FUZZ_FORK)
		op->extra = (uint8_t)free_slot(s);
	else if (op->kind != FUZZ_EXIT && op->kind != FUZZ_MUNLOCKALL)
		generate_others(s, r, p, op);
}
