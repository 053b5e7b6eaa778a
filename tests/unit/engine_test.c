/* engine_test.c - what an engine is told that keeps translations of its own: invalidate, the journal, the generation.
 *
 * The engine here walks the hardware's format itself, from samara_table_root, and keeps what it finds in three places,
 * each emptied by one of the three tellers alone: `tlb` by invalidate, `shadow` by changed, `dated` by nothing: it holds
 * as long as samara_generation stays.  After each of many random requests nothing that is kept may allow what the table
 * does not: another frame, write, user, execute, or a store that leaves no dirty bit.
 */
#include "tests/unit/support.h"

#define FRAMES 4096
#define FIRST_PFN 0x100ull
#define BASE 0x10000000ull
#define PAGES 256
#define SPACES 3 /* the last comes and goes: a child */
#define OPERATIONS 30000
#define must(call) assert_true((int64_t)(call) >= 0)

/* an entry of x86-64 */
#define PRESENT 1ull
#define WRITE 2ull
#define USER 4ull
#define DIRTY 0x40ull
#define HUGE 0x80ull
#define NO_EXEC (1ull << 63)
#define PFN 0x000ffffffffff000ull

struct engine {
	struct sim sim; /* the first member: the port's self */
	struct samara *vm;
	struct samara_mm *mm[SPACES];
	struct samara_inode *inode[2]; /* shared memory, and a file that is written back */
	struct samara_file *file[2];
	char *memory;
	char disk[PAGES][4096];
	uint64_t tlb[SPACES][PAGES], shadow[SPACES][PAGES], dated[SPACES][PAGES], date[SPACES][PAGES];
	uint64_t random;
	unsigned long invalidated, journal[3]; /* what was told, of what was kept: gone, kept, moved */
};

static uint64_t *table_at(const struct engine *e, uint64_t pfn)
{
	return (uint64_t *)(void *)(e->memory + (pfn - FIRST_PFN) * PAGE);
}

static uint64_t walk(const struct engine *e, const struct samara_mm *mm, uint64_t addr)
{
	const uint64_t *table = table_at(e, samara_table_root(mm));
	uint64_t entry = 0;

	for (int level = 3; level >= 0; level--) {
		entry = table[addr >> (12 + 9 * level) & 511];
		if (!(entry & PRESENT))
			return 0;
		assert_true(!level || !(entry & HUGE));
		if (level)
			table = table_at(e, (entry & PFN) >> 12);
	}
	return entry;
}

static bool allows_no_more(uint64_t kept, uint64_t real)
{
	return !kept || ((real & PRESENT) && (kept & PFN) == (real & PFN) && !(kept & (WRITE | USER | DIRTY) & ~real) &&
		!(real & ~kept & NO_EXEC));
}

static int space_number(const struct engine *e, const struct samara_mm *mm)
{
	for (int s = 0; s < SPACES; s++)
		if (mm && e->mm[s] == mm)
			return s;
	return -1;
}

static void engine_invalidate(void *self, struct samara_mm *mm, uint64_t start, uint64_t end)
{
	struct engine *e = self;
	int s = space_number(e, mm);

	assert_true(start < end && !((start | end) & (PAGE - 1)));
	for (uint64_t page = 0; s >= 0 && page < PAGES; page++) {
		uint64_t addr = BASE + page * PAGE;

		if (addr < start || addr >= end)
			continue;
		e->invalidated += e->tlb[s][page] != 0;
		e->tlb[s][page] = 0;
	}
}

static void engine_changed(void *self, struct samara_mm *mm, const struct samara_entry_change *changes, unsigned count)
{
	struct engine *e = self;
	int s = space_number(e, mm);

	for (unsigned i = 0; s >= 0 && i < count; i++) {
		uint64_t page = ((changes[i].addr & ~(PAGE - 1)) - BASE) / PAGE, kept;

		assert_int_equal(changes[i].addr & SAMARA_CHANGE_LEVEL, 0);
		if (page >= PAGES)
			continue;
		kept = e->shadow[s][page];
		/* the journal tells what stood there: it can be followed in the shadow */
		if (kept && (!(changes[i].old & PRESENT) || (changes[i].old & PFN) != (kept & PFN)))
			fail_msg("the journal names %llx where %llx is kept", (unsigned long long)changes[i].old, (unsigned long long)kept);
		e->journal[changes[i].addr & SAMARA_CHANGE_KEPT ? 1 : changes[i].addr & SAMARA_CHANGE_MOVED ? 2 : 0] += kept != 0;
		e->shadow[s][page] = 0;
	}
}

static int disk_read(void *self, uint64_t index, void *page)
{
	memcpy(page, ((struct engine *)self)->disk[index % PAGES], 4096);
	return 0;
}

static int disk_write(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	memcpy(((struct engine *)self)->disk[index % PAGES], page, bytes);
	return 0;
}

static int disk_punch(void *self, uint64_t start, uint64_t end)
{
	(void)self;
	(void)start;
	(void)end;
	return 0;
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops), .read_page = disk_read, .write_page = disk_write,
	.punch = disk_punch };

static void engine_open(struct engine *e)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES, .first_pfn = FIRST_PFN };
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull };
	const struct samara_inode_desc desc[2] = {
		{ .kind = SAMARA_INODE_SHMEM, .ino = 7, .size_bytes = PAGES * PAGE },
		{ .kind = SAMARA_INODE_REGULAR, .ino = 8, .size_bytes = PAGES * PAGE, .ops = &disk_ops, .self = e },
	};

	memset(e, 0, sizeof(*e));
	e->random = 0x9e3779b97f4a7c15ull;
	sim_init(&e->sim);
	e->sim.port.invalidate = engine_invalidate;
	e->sim.port.changed = engine_changed;
	config.memory = e->memory = aligned_alloc(4096, FRAMES * PAGE);
	must(samara_create(&e->sim.port, &config, &e->vm));
	must(samara_mm_create(e->vm, &params, &e->mm[0]));
	for (int i = 0; i < 2; i++) {
		must(samara_inode_create(e->vm, &desc[i], &e->inode[i]));
		must(samara_file_open(e->inode[i], SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/file", &e->file[i]));
	}
	must(samara_mmap(e->mm[0], BASE, PAGES * PAGE, RW, FIXED, NULL, 0));
	must(samara_fork(e->mm[0], &e->mm[1]));
}

static void engine_close(struct engine *e)
{
	for (int s = 0; s < SPACES; s++)
		if (e->mm[s])
			samara_mm_put(e->mm[s]);
	for (int i = 0; i < 2; i++) {
		samara_file_put(e->file[i]);
		samara_inode_put(e->inode[i]);
	}
	samara_check_machine(e->vm);
	samara_destroy(e->vm);
	assert_int_equal(e->sim.live_blocks, 0);
	free(e->memory);
}

static uint64_t roll(struct engine *e, uint64_t below)
{
	e->random ^= e->random << 13;
	e->random ^= e->random >> 7;
	e->random ^= e->random << 17;
	return (e->random >> 16) % below;
}

/* A guest's access: what it misses faults, and then the engine keeps what it finds. */
static void access(struct engine *e, int s, uint64_t page, bool write)
{
	uint64_t addr = BASE + page * PAGE, entry;
	char byte = (char)page;

	if (write)
		(void)samara_store(e->mm[s], addr, &byte, 1, NULL);
	else
		(void)samara_load(e->mm[s], addr, &byte, 1, NULL);
	e->date[s][page] = samara_generation(e->mm[s]);
	entry = walk(e, e->mm[s], addr);
	e->tlb[s][page] = e->shadow[s][page] = e->dated[s][page] = entry;
}

static void replace_child(struct engine *e)
{
	if (e->mm[2]) {
		struct samara_mm *old = e->mm[2];

		e->mm[2] = NULL; /* nothing is kept of a space that ends */
		samara_mm_put(old);
	} else {
		must(samara_fork(e->mm[roll(e, 2)], &e->mm[2]));
	}
	memset(e->tlb[2], 0, sizeof(e->tlb[2]));
	memset(e->shadow[2], 0, sizeof(e->shadow[2]));
	memset(e->dated[2], 0, sizeof(e->dated[2]));
}

static void request(struct engine *e)
{
	static const int advice[] = { SAMARA_MADV_DONTNEED, SAMARA_MADV_FREE, SAMARA_MADV_GUARD_INSTALL, SAMARA_MADV_GUARD_REMOVE,
		SAMARA_MADV_COLD, SAMARA_MADV_PAGEOUT, SAMARA_MADV_REMOVE, SAMARA_MADV_POPULATE_WRITE, SAMARA_MADV_POPULATE_READ };
	struct samara_mm *mm = e->mm[roll(e, e->mm[2] ? 3 : 2)];
	uint64_t page = roll(e, PAGES - 16), at = BASE + page * PAGE, length = (1 + roll(e, 16)) * PAGE, to = BASE + roll(e, PAGES - 16) * PAGE;
	uint64_t file = roll(e, 2), prot = roll(e, 8), offset = roll(e, PAGES - 16) * PAGE;
	struct samara_page pin;
	char byte = 1;

	switch (roll(e, 14)) {
	case 0: (void)samara_mmap(mm, at, length, RW, FIXED, NULL, 0); break;
	case 1: (void)samara_mmap(mm, at, length, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, e->file[file], offset); break;
	case 2: (void)samara_mmap(mm, at, length, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, e->file[file], offset); break;
	case 3: (void)samara_munmap(mm, at, length); break;
	case 4: case 5: (void)samara_mprotect(mm, at, length, prot); break;
	case 6: (void)samara_mremap(mm, at, length, length, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, to); break;
	case 7: case 8: (void)samara_madvise(mm, at, length, advice[roll(e, sizeof(advice) / sizeof(advice[0]))]); break;
	case 9: replace_child(e); break;
	case 10: (void)samara_file_truncate(e->file[file], offset); (void)samara_file_truncate(e->file[file], PAGES * PAGE); break;
	case 11: (void)samara_write_back(e->vm, 0); break;
	case 12: (void)samara_msync(mm, at, length, SAMARA_MS_SYNC); break;
	case 13:
		if (samara_pin(mm, at, 1, roll(e, 2) ? SAMARA_WRITE : SAMARA_READ, &pin) == 1)
			samara_unpin(e->vm, &pin, 1, (int)roll(e, 2));
		(void)samara_copy_to(mm, at, &byte, 1, SAMARA_FORCE, NULL);
	}
}

static void check_kept(const struct engine *e)
{
	for (int s = 0; s < SPACES; s++)
		for (uint64_t page = 0; e->mm[s] && page < PAGES; page++) {
			uint64_t real = walk(e, e->mm[s], BASE + page * PAGE);

			if (!allows_no_more(e->tlb[s][page], real))
				fail_msg("invalidate was not called: %llx is kept, %llx stands", (unsigned long long)e->tlb[s][page], (unsigned long long)real);
			if (!allows_no_more(e->shadow[s][page], real))
				fail_msg("the journal lacks %llx, now %llx", (unsigned long long)e->shadow[s][page], (unsigned long long)real);
			if (e->date[s][page] == samara_generation(e->mm[s]) && !allows_no_more(e->dated[s][page], real))
				fail_msg("the generation stayed: %llx is kept, %llx stands", (unsigned long long)e->dated[s][page], (unsigned long long)real);
		}
}

static void test_what_is_kept_allows_no_more(void **state)
{
	static struct engine e;

	(void)state;
	engine_open(&e);
	for (int i = 0; i < OPERATIONS; i++) {
		for (int n = 0; n < 6; n++)
			access(&e, (int)roll(&e, e.mm[2] ? 3 : 2), roll(&e, PAGES), roll(&e, 2));
		check_kept(&e);
		request(&e);
		check_kept(&e);
		if (i % 1000 == 0)
			samara_check_machine(e.vm);
	}
	/* each of the tellers had something to tell */
	assert_true(e.invalidated > 1000 && e.journal[0] > 1000 && e.journal[1] > 1000 && e.journal[2] > 100);
	engine_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_kept_allows_no_more) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
