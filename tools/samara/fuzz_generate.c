/* fuzz_generate.c - the next operation, drawn from the state that the kernel shows.
 *
 * Addresses are drawn from what exists (starts, ends and insides of mappings, guard gaps) and from a small arena
 * where mappings crowd, so that merging, splitting and overlapping happen all the time; the rest are edges of the
 * address space and hostile numbers.  Everything is a function of the random state and the session, so a seed is a
 * program.
 */
#include <string.h>
#include "fuzz_random.h"

#define PAGE 4096ull
enum { ARENA_PAGES = 96, CROWDED = 70 };

uint64_t fuzz_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

unsigned fuzz_variant(uint64_t seed)
{
	static const unsigned variants[] = { 0, 0, 0, FUZZ_WITHOUT_IPC_LOCK, FUZZ_WITHOUT_IPC_LOCK, FUZZ_WITHOUT_CAPS };
	uint64_t state = seed ^ 0x766172;
	return PICK(&state, variants);
}

/* ---- addresses and lengths ---- */

static const uint64_t edges[] = { 0, 1, PAGE, 0x8000, 0xf000, 0x10000, 0x11000, 0x40000000, 0x7ffff000, 0x80000000,
	0xfffff000, 0x100000000, 0x2aaaaaaaa000, FUZZ_TASK_SIZE - PAGE, FUZZ_TASK_SIZE - 2 * PAGE, FUZZ_TASK_SIZE,
	0x800000000000, 0x7fffffffffff, 0x8000000000000000, 0xffff800000000000, 0xffffffffff600000, ~0ull, ~0ull - 4095,
	~0ull - 4096, ~0ull - 100, 0xfffffffffffff9ac, 0xffffffffffff0000 };

static const struct fuzz_vma *any_vma(const struct fuzz_process *p, uint64_t *r)
{
	if (!p->vmas)
		return NULL;
	for (int tries = 0; tries < 4; tries++) {
		const struct fuzz_vma *v = &p->vma[below(r, (uint64_t)p->vmas)];
		if (!v->special || chance(r, 8))
			return v;
	}
	return NULL;
}

static uint64_t arena(uint64_t *r)
{
	return FUZZ_ARENA + below(r, ARENA_PAGES) * PAGE;
}

static uint64_t near_vma(const struct fuzz_process *p, uint64_t *r)
{
	static const int64_t offsets[] = { 0, 0, 0, 0, 1, -1, 2, -2, 3, -3, 255, 256, 257, -255, -256, -257, -258, -512, 512 };
	const struct fuzz_vma *v = any_vma(p, r);
	if (!v)
		return arena(r);
	return (chance(r, 50) ? v->start : v->end) + (uint64_t)(PICK(r, offsets) * (int64_t)PAGE);
}

static uint64_t inside_vma(const struct fuzz_process *p, uint64_t *r)
{
	const struct fuzz_vma *v = any_vma(p, r);
	if (!v)
		return arena(r);
	uint64_t pages = (v->end - v->start) / PAGE;
	return v->start + (chance(r, 50) ? 0 : below(r, pages < 64 ? pages : 64) * PAGE);
}

static uint64_t address(const struct fuzz_process *p, uint64_t *r)
{
	uint64_t kind = below(r, 100), value;
	if (kind < 45)
		value = inside_vma(p, r);
	else if (kind < 65)
		value = near_vma(p, r);
	else if (kind < 96)
		value = arena(r);
	else
		return PICK(r, edges);
	return chance(r, 3) ? value + below(r, PAGE) : value;
}

static uint64_t length(uint64_t *r)
{
	static const uint64_t hostile[] = { 0, 1, 4095, 4097, FUZZ_TASK_SIZE, FUZZ_TASK_SIZE + PAGE, 1ull << 30, 1ull << 33,
		1ull << 40, 1ull << 46, 1ull << 47, 1ull << 63, ~0ull, ~0ull - 4094, ~0ull - 4095, ~0ull - 8191 };
	uint64_t kind = below(r, 100);
	if (kind < 80)
		return (1 + below(r, 8)) * PAGE;
	if (kind < 90)
		return (1 + below(r, 40)) * PAGE;
	if (kind < 92)
		return (1 + below(r, 3)) * (2ull << 20) + (chance(r, 40) ? (below(r, 3) - 1) * PAGE : 0);
	if (kind < 96)
		return below(r, 16) * PAGE + below(r, PAGE);
	return PICK(r, hostile);
}

/* A range that often is one mapping, a part of it, or it and its neighbours. */
static void range(const struct fuzz_process *p, uint64_t *r, uint64_t *addr, uint64_t *bytes)
{
	const struct fuzz_vma *v = chance(r, 35) ? any_vma(p, r) : NULL;
	*addr = address(p, r);
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
	static const uint64_t usual[] = { 0, 1, 1, 3, 3, 3, 3, 5, 7, 2, 4 };
	static const uint64_t rare[] = { 8, 11, SAMARA_PROT_GROWSDOWN | 3, SAMARA_PROT_GROWSUP | 1,
		SAMARA_PROT_GROWSDOWN | SAMARA_PROT_GROWSUP, 0x10, 0x100, 1ull << 32, ~0ull, SAMARA_PROT_GROWSDOWN | 1 };
	return chance(r, 95) ? PICK(r, usual) : PICK(r, rare);
}

/* ---- mmap ---- */

static uint64_t any_file(const struct fuzz_session *s, uint64_t *r)
{
	for (int tries = 0; tries < 8; tries++) {
		uint64_t i = below(r, (uint64_t)s->files->count);
		if (s->files->file[i].fd >= 0)
			return i;
	}
	return (uint64_t)-1;
}

static uint64_t file_offset(uint64_t *r, uint64_t addr, uint64_t flags)
{
	static const uint64_t hostile[] = { 1, 4095, 0x7ffffffffffff000, 0x8000000000000000, 0xfffffffffffff000, ~0ull,
		0x7fffffffff000, 1ull << 44, 0x7fffffffffffe000 };
	if (chance(r, 3))
		return PICK(r, hostile);
	if (chance(r, 60) && (flags & SAMARA_MAP_FIXED) && addr >= FUZZ_ARENA && addr < FUZZ_ARENA + ARENA_PAGES * PAGE)
		return addr & ~(PAGE - 1) & 0x7ffff; /* neighbours in the arena follow each other in the file */
	return below(r, 8) * PAGE;
}

static void generate_mmap(struct fuzz_session *s, uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	static const uint64_t often[] = { SAMARA_MAP_NORESERVE, SAMARA_MAP_GROWSDOWN, SAMARA_MAP_STACK, SAMARA_MAP_POPULATE,
		SAMARA_MAP_LOCKED, SAMARA_MAP_32BIT, SAMARA_MAP_FIXED_NOREPLACE };
	static const uint64_t rarely[] = { SAMARA_MAP_ABOVE4G, SAMARA_MAP_DENYWRITE, SAMARA_MAP_EXECUTABLE,
		SAMARA_MAP_NONBLOCK,
		SAMARA_MAP_HUGETLB, SAMARA_MAP_HUGETLB | 21ul << 26, SAMARA_MAP_HUGETLB | 30ul << 26,
		SAMARA_MAP_HUGETLB | 16ul << 26, SAMARA_MAP_SYNC, SAMARA_MAP_UNINITIALIZED, 0x200, 0x200000, 1ul << 31,
		1ull << 40, SAMARA_MAP_POPULATE | SAMARA_MAP_NONBLOCK, 0x400, 0x80000000000 };
	uint64_t *a = op->a, flags;
	bool file = chance(r, 38);
	flags = chance(r, 72) ? SAMARA_MAP_PRIVATE : chance(r, 70) ? SAMARA_MAP_SHARED : chance(r, 75) ?
		SAMARA_MAP_SHARED_VALIDATE : chance(r, 75) ? SAMARA_MAP_DROPPABLE : below(r, 16);
	flags |= file ? 0 : SAMARA_MAP_ANONYMOUS;
	flags |= chance(r, 55) ? SAMARA_MAP_FIXED : 0;
	while (chance(r, 22))
		flags |= PICK(r, often);
	while (chance(r, 6))
		flags |= PICK(r, rarely);
	if (flags & SAMARA_MAP_FIXED)
		a[0] = chance(r, 80) ? arena(r) : address(p, r);
	else
		a[0] = chance(r, 40) ? 0 : chance(r, 50) ? near_vma(p, r) : address(p, r);
	a[1] = length(r);
	a[2] = protection(r);
	a[3] = flags;
	a[4] = file && !chance(r, 2) ? any_file(s, r) : (uint64_t)-1;
	a[5] = file ? file_offset(r, a[0], flags) : chance(r, 90) ? 0 : file_offset(r, a[0], flags);
	if (!(flags & SAMARA_MAP_FIXED) && chance(r, 70) && a[1] > PAGE * 16 && a[1] < 1 << 20)
		a[1] = PAGE * 4;
}

/* ---- the others ---- */

static uint64_t any_advice(uint64_t *r)
{
	static const uint64_t advice[] = { 0, 1, 2, 3, 4, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
		25, 100, 101, 102, 103, 5, 26, ~0ull, 6, 7, 99, 104 };
	return PICK(r, advice);
}

static void generate_mremap(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	uint64_t *a = op->a;
	range(p, r, &a[0], &a[1]);
	a[2] = chance(r, 40) ? a[1] : length(r);
	a[3] = chance(r, 25) ? 0 : chance(r, 45) ? 1 : chance(r, 60) ? 3 : chance(r, 60) ? 5 : below(r, 9);
	if (a[3] & 4 && chance(r, 90))
		a[2] = a[1];
	a[4] = a[3] & 2 ? (chance(r, 70) ? arena(r) : address(p, r)) : chance(r, 80) ? 0 : address(p, r);
	if (chance(r, 4))
		a[1] = 0;
}

static void generate_brk(const struct fuzz_session *s, uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	uint64_t kind = below(r, 100);
	if (kind < 60)
		op->a[0] = p->brk + (below(r, 24) - 8) * PAGE + (chance(r, 30) ? below(r, PAGE) : 0);
	else if (kind < 80)
		op->a[0] = s->host->start_brk + below(r, 64) * PAGE;
	else if (kind < 85)
		op->a[0] = s->host->start_brk - below(r, 3) * PAGE;
	else if (kind < 95)
		op->a[0] = near_vma(p, r);
	else
		op->a[0] = PICK(r, edges);
}

static void generate_process_madvise(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	range(p, r, &op->a[0], &op->a[1]);
	range(p, r, &op->a[2], &op->a[3]);
	op->extra = (uint8_t)(chance(r, 4) ? 0 : 1 + below(r, 2));
	op->a[4] = any_advice(r);
	op->a[5] = chance(r, 95) ? 0 : 1 + below(r, 4);
}

static void generate_prctl(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	uint64_t kind = below(r, 100);
	memset(op->a, 0, sizeof(op->a));
	if (kind < 45) {
		op->a[0] = SAMARA_PR_SET_VMA;
		op->a[1] = chance(r, 90) ? 0 : below(r, 3);
		range(p, r, &op->a[2], &op->a[3]);
		op->extra = (uint8_t)below(r, 4);
	} else if (kind < 60) {
		op->a[0] = SAMARA_PR_SET_THP_DISABLE;
		op->a[1] = below(r, 3);
		op->a[2] = chance(r, 70) ? 0 : below(r, 4);
		op->a[3] = chance(r, 90) ? 0 : 1;
	} else if (kind < 75) {
		op->a[0] = SAMARA_PR_GET_THP_DISABLE;
		op->a[1] = chance(r, 90) ? 0 : 1;
	} else if (kind < 78) {
		op->a[0] = SAMARA_PR_SET_MDWE;
		op->a[1] = below(r, 5);
		op->a[2] = chance(r, 90) ? 0 : 1;
	} else if (kind < 90) {
		op->a[0] = SAMARA_PR_GET_MDWE;
		op->a[1] = chance(r, 90) ? 0 : 1;
	} else {
		op->a[0] = SAMARA_PR_SET_MM;
		op->a[1] = below(r, 14);
		op->a[2] = address(p, r);
	}
}

static void generate_mbind(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	static const uint64_t modes[] = { 0, 1, 2, 3, 4, 5, 6, 7, 9, SAMARA_MPOL_F_STATIC_NODES | 2,
		SAMARA_MPOL_F_RELATIVE_NODES | 3, SAMARA_MPOL_F_NUMA_BALANCING | 2, 0xc001, 1u << 12 };
	static const uint64_t maxnodes[] = { 0, 1, 2, 8, 64, 65, 1024, 2, 2, 8, 32768, 32769, 32770, 1ull << 20, ~0ull };
	range(p, r, &op->a[0], &op->a[1]);
	op->a[2] = PICK(r, modes);
	op->a[3] = chance(r, 60) ? 1 : chance(r, 60) ? 0 : chance(r, 50) ? 2 : fuzz_random(r);
	op->a[4] = PICK(r, maxnodes);
	op->a[5] = chance(r, 80) ? 0 : below(r, 16);
}

static void generate_setrlimit(uint64_t *r, const struct fuzz_process *p, struct fuzz_op *op)
{
	static const int which[] = { SAMARA_RLIMIT_DATA, SAMARA_RLIMIT_STACK, SAMARA_RLIMIT_MEMLOCK, SAMARA_RLIMIT_AS };
	uint64_t mapped = 0;
	for (int i = 0; i < p->vmas; i++)
		mapped += p->vma[i].end - p->vma[i].start;
	op->a[0] = (uint64_t)PICK(r, which);
	if (chance(r, 55))
		op->a[1] = ~0ull;
	else if (op->a[0] == SAMARA_RLIMIT_AS && chance(r, 80))
		op->a[1] = mapped + (below(r, 64) - 8) * PAGE + below(r, 2) * 100;
	else
		op->a[1] = chance(r, 20) ? below(r, 3) * 1000 : below(r, 400) * PAGE;
	if (op->a[0] == SAMARA_RLIMIT_MEMLOCK && op->a[1] == ~0ull)
		op->a[1] = below(r, 2048) * PAGE;
	if (op->a[0] == SAMARA_RLIMIT_STACK && op->a[1] == ~0ull)
		op->a[1] = 8 << 20;
}

static void generate_personality(uint64_t *r, struct fuzz_op *op)
{
	op->a[0] = SAMARA_ADDR_NO_RANDOMIZE | (chance(r, 35) ? SAMARA_READ_IMPLIES_EXEC : 0);
}

/* How often each kind comes, out of their sum. */
static const unsigned weights[FUZZ_KINDS] = {
	[FUZZ_MMAP] = 250, [FUZZ_MUNMAP] = 60, [FUZZ_MPROTECT] = 100, [FUZZ_PKEY_MPROTECT] = 12, [FUZZ_PKEY_ALLOC] = 3,
	[FUZZ_PKEY_FREE] = 2, [FUZZ_WRPKRU] = 4, [FUZZ_MREMAP] = 90, [FUZZ_BRK] = 40, [FUZZ_MADVISE] = 110, [FUZZ_PROCESS_MADVISE] = 20,
	[FUZZ_MLOCK] = 16, [FUZZ_MLOCK2] = 14, [FUZZ_MUNLOCK] = 16, [FUZZ_MLOCKALL] = 5, [FUZZ_MUNLOCKALL] = 5,
	[FUZZ_MSYNC] = 8, [FUZZ_MINCORE] = 8, [FUZZ_MSEAL] = 2, [FUZZ_REMAP_FILE_PAGES] = 8, [FUZZ_PRCTL] = 12,
	[FUZZ_MBIND] = 16, [FUZZ_SHMAT] = 14, [FUZZ_SHMDT] = 10, [FUZZ_SETRLIMIT] = 10, [FUZZ_PERSONALITY] = 4,
	[FUZZ_UFFD_REGISTER] = 10, [FUZZ_UFFD_UNREGISTER] = 8, [FUZZ_UFFD_CLOSE] = 1, [FUZZ_ADD_SEALS] = 3,
	[FUZZ_FORK] = 4, [FUZZ_EXIT] = 2, [FUZZ_WRITE] = 150, [FUZZ_READ] = 12,
};

static unsigned pick_kind(uint64_t *r)
{
	unsigned sum = 0;
	for (unsigned k = 0; k < FUZZ_KINDS; k++)
		sum += weights[k];
	uint64_t at = below(r, sum);
	for (unsigned k = 0; k < FUZZ_KINDS; k++) {
		if (at < weights[k])
			return k;
		at -= weights[k];
	}
	return FUZZ_MMAP;
}

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

void fuzz_generate(struct fuzz_session *s, uint64_t *r, struct fuzz_op *op)
{
	*op = (struct fuzz_op){ .kind = (uint8_t)pick_kind(r), .proc = (uint8_t)pick_process(s, r) };
	const struct fuzz_process *p = &s->proc[op->proc];
	uint64_t *a = op->a;
	/* A crowded space is thinned out, so that a step stays cheap. */
	if (p->vmas > CROWDED && op->kind == FUZZ_MMAP && chance(r, 60))
		op->kind = FUZZ_MUNMAP;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		generate_mmap(s, r, p, op);
		break;
	case FUZZ_MUNMAP:
		range(p, r, &a[0], &a[1]);
		if (chance(r, p->vmas > CROWDED ? 40 : 3)) {
			a[0] = inside_vma(p, r);
			a[1] = 1ull << (13 + below(r, 34));
		}
		break;
	case FUZZ_MPROTECT:
		range(p, r, &a[0], &a[1]);
		a[2] = protection(r);
		break;
	case FUZZ_PKEY_MPROTECT:
		range(p, r, &a[0], &a[1]);
		a[2] = protection(r);
		a[3] = chance(r, 30) ? ~0ull : chance(r, 90) ? below(r, 4) : 15 + below(r, 2);
		break;
	case FUZZ_PKEY_ALLOC:
		a[0] = chance(r, 95) ? 0 : 1;
		a[1] = chance(r, 95) ? below(r, 4) : 4 + below(r, 2);
		break;
	case FUZZ_PKEY_FREE:
		a[0] = chance(r, 80) ? below(r, 4) : chance(r, 50) ? 16 : ~0ull;
		break;
	case FUZZ_WRPKRU:
		a[0] = chance(r, 40) ? 0 : chance(r, 50) ? 0x55555554 : (uint32_t)fuzz_random(r) & ~3u;
		break;
	case FUZZ_MREMAP:
		generate_mremap(r, p, op);
		break;
	case FUZZ_BRK:
		generate_brk(s, r, p, op);
		break;
	case FUZZ_MADVISE:
		range(p, r, &a[0], &a[1]);
		a[2] = any_advice(r);
		break;
	case FUZZ_PROCESS_MADVISE:
		generate_process_madvise(r, p, op);
		break;
	case FUZZ_MLOCK2:
		range(p, r, &a[0], &a[1]);
		a[2] = chance(r, 90) ? below(r, 2) : below(r, 4);
		break;
	case FUZZ_MLOCKALL:
		a[0] = chance(r, 95) ? below(r, 8) : below(r, 16);
		break;
	case FUZZ_MSYNC:
		range(p, r, &a[0], &a[1]);
		a[2] = chance(r, 60) ? 1 + below(r, 3) : chance(r, 80) ? below(r, 8) : below(r, 16);
		break;
	case FUZZ_MSEAL:
		range(p, r, &a[0], &a[1]);
		a[2] = chance(r, 90) ? 0 : 1;
		break;
	case FUZZ_REMAP_FILE_PAGES:
		range(p, r, &a[0], &a[1]);
		a[2] = chance(r, 90) ? 0 : 3;
		a[3] = chance(r, 95) ? below(r, 12) : ~0ull >> below(r, 20);
		a[4] = chance(r, 85) ? 0 : SAMARA_MAP_NONBLOCK;
		break;
	case FUZZ_PRCTL:
		generate_prctl(r, p, op);
		break;
	case FUZZ_MBIND:
		generate_mbind(r, p, op);
		break;
	case FUZZ_SHMAT:
		a[0] = below(r, FUZZ_SEGMENTS);
		a[1] = chance(r, 40) ? 0 : address(p, r);
		a[2] = chance(r, 50) ? 0 : (below(r, 4) * SAMARA_SHM_RDONLY) | (chance(r, 40) ? SAMARA_SHM_REMAP : 0) |
			(chance(r, 20) ? SAMARA_SHM_EXEC : 0);
		break;
	case FUZZ_SETRLIMIT:
		generate_setrlimit(r, p, op);
		break;
	case FUZZ_PERSONALITY:
		generate_personality(r, op);
		break;
	case FUZZ_UFFD_REGISTER:
	case FUZZ_UFFD_UNREGISTER:
		a[0] = below(r, 2);
		range(p, r, &a[1], &a[2]);
		if (op->kind == FUZZ_UFFD_REGISTER)
			a[3] = chance(r, 95) ? 1 + below(r, 3) : below(r, 16);
		break;
	case FUZZ_UFFD_CLOSE:
		a[0] = below(r, 2);
		break;
	case FUZZ_ADD_SEALS:
		a[0] = any_file(s, r);
		a[1] = chance(r, 80) ? 2ull << below(r, 4) : below(r, 128);
		break;
	case FUZZ_FORK:
		op->extra = (uint8_t)free_slot(s);
		break;
	case FUZZ_WRITE:
	case FUZZ_READ:
		a[0] = chance(r, 70) ? inside_vma(p, r) : address(p, r);
		if (chance(r, 30))
			a[0] += below(r, PAGE);
		break;
	case FUZZ_MUNLOCKALL: case FUZZ_EXIT: case FUZZ_KINDS:
		break;
	case FUZZ_SHMDT:
		a[0] = inside_vma(p, r);
		break;
	case FUZZ_MLOCK: case FUZZ_MUNLOCK: case FUZZ_MINCORE:
		range(p, r, &a[0], &a[1]);
		break;
	default: /* of --memory: fuzz_memory_generate.c */
		break;
	}
}
