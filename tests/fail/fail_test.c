/* fail_test.c - every allocation of every request, failed in turn.
 *
 * For each request: build a fixed scene, fail the n-th allocation from there on, and ask that the request either
 * succeeds (the failure was not on its path) or returns -ENOMEM (-EAGAIN where madvise(2) says so; brk its old value)
 * with the map, the counts and Committed_AS as they were.  n counts up until a run has no failure.  Each run ends with
 * nothing allocated.
 *
 * Two requests change the map before a later step of theirs can fail, in Linux too; they are marked `partial`:
 * mprotect-like walks over several mappings, and mremap with MREMAP_FIXED, which unmaps its target first.  For them the
 * whole-structure check and the exact return of every count are asked, not the unchanged text.
 */
#include "tests/unit/support.h"

struct scene {
	struct world w;
	struct samara_inode *inode, *segment;
	struct samara_file *file;
	struct samara_mm *child;
};

static void must(int64_t result)
{
	if (result < 0 && result > -4096)
		fail_msg("the scene could not be built: %lld", (long long)result);
}

/* A busy map: many neighbours, so that nodes fill and split; files, locked parts, histories. */
static void scene_open(struct scene *s)
{
	const struct samara_inode_desc regular = { .kind = SAMARA_INODE_REGULAR, .ino = 7, .size_bytes = 1 << 20, .huge_align = 1 };
	const struct samara_inode_desc shm = { .kind = SAMARA_INODE_SHMEM, .ino = 8, .size_bytes = 16 * PAGE };

	memset(s, 0, sizeof(*s));
	world_open(&s->w);
	must(samara_inode_create(s->w.vm, &regular, &s->inode));
	must(samara_inode_create(s->w.vm, &shm, &s->segment));
	must(samara_file_open(s->inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/tmp/file", &s->file));
	for (uint64_t i = 0; i < 41; i++)
		must(samara_mmap(s->w.mm, 0x1000000 + i * 4 * PAGE, 3 * PAGE, RW, FIXED, NULL, 0));
	must(samara_mmap(s->w.mm, 0x2000000, 16 * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, s->file, 0));
	must(samara_mmap(s->w.mm, 0x3000000, 16 * PAGE, RW, FIXED, NULL, 0));
	must(samara_touch(s->w.mm, 0x3000000, 1));
	must(samara_mlock(s->w.mm, 0x3004000, 2 * PAGE));
	must(samara_mmap(s->w.mm, 0x4000000, 16 * PAGE, SAMARA_PROT_READ, FIXED, NULL, 0));
	must(samara_shmat(s->w.mm, s->segment, "/SYSV00000000 (deleted)", 0x5000000, 0));
}

static void scene_close(struct scene *s)
{
	if (s->child)
		samara_mm_put(s->child);
	s->child = NULL;
	samara_file_put(s->file);
	samara_check(s->w.mm);
	samara_mm_put(s->w.mm);
	samara_inode_put(s->inode);
	samara_inode_put(s->segment);
	assert_int_equal(samara_committed_as(s->w.vm), 0);
	samara_destroy(s->w.vm);
	assert_int_equal(s->w.sim.live_blocks, 0);
}

static int64_t do_mmap(struct scene *s) { return samara_mmap(s->w.mm, 0, 5 * PAGE, RW, ANON, NULL, 0); }
static int64_t do_mmap_middle(struct scene *s) { return samara_mmap(s->w.mm, 0x3002000, PAGE, SAMARA_PROT_READ, FIXED, NULL, 0); }
static int64_t do_mmap_wide(struct scene *s) { return samara_mmap(s->w.mm, 0x1002000, 100 * PAGE, RW, FIXED, NULL, 0); }
static int64_t do_mmap_file(struct scene *s) { return samara_mmap(s->w.mm, 0, 4 << 20, RW, SAMARA_MAP_SHARED, s->file, 0); }
static int64_t do_mmap_shared(struct scene *s) { return samara_mmap(s->w.mm, 0, PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_ANONYMOUS, NULL, 0); }
static int64_t do_munmap(struct scene *s) { return samara_munmap(s->w.mm, 0x3002000, PAGE); }
static int64_t do_munmap_wide(struct scene *s) { return samara_munmap(s->w.mm, 0x1001000, 0x3000000); }
static int64_t do_mprotect(struct scene *s) { return samara_mprotect(s->w.mm, 0x3001000, PAGE, SAMARA_PROT_READ); }
static int64_t do_mprotect_walk(struct scene *s) { return samara_mprotect(s->w.mm, 0x3001000, 10 * PAGE, SAMARA_PROT_READ); }
static int64_t do_mprotect_charge(struct scene *s) { return samara_mprotect(s->w.mm, 0x4001000, PAGE, RW); }
static int64_t do_mremap_grow(struct scene *s) { return samara_mremap(s->w.mm, 0x3000000 + 15 * PAGE, PAGE, 9 * PAGE, 0, 0); }
static int64_t do_mremap_move(struct scene *s) { return samara_mremap(s->w.mm, 0x3001000, PAGE, 9 * PAGE, SAMARA_MREMAP_MAYMOVE, 0); }
static int64_t do_mremap_fixed(struct scene *s)
{
	return samara_mremap(s->w.mm, 0x3001000, 2 * PAGE, 2 * PAGE, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, 0x4002000);
}
static int64_t do_mremap_dontunmap(struct scene *s)
{
	return samara_mremap(s->w.mm, 0x3001000, 2 * PAGE, 2 * PAGE, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_DONTUNMAP, 0);
}
static int64_t do_brk(struct scene *s) { return samara_brk(s->w.mm, 0x555555610000) == 0x555555610000 ? 0 : -SAMARA_ENOMEM; }
static int64_t do_madvise(struct scene *s) { return samara_madvise(s->w.mm, 0x3001000, PAGE, SAMARA_MADV_DONTFORK); }
static int64_t do_mlock(struct scene *s) { return samara_mlock(s->w.mm, 0x3008000, PAGE); }
static int64_t do_munlock(struct scene *s) { return samara_munlock(s->w.mm, 0x3004000, PAGE); }
static int64_t do_mseal(struct scene *s) { return samara_mseal(s->w.mm, 0x3001000, PAGE, 0); }
static int64_t do_shmat(struct scene *s) { return samara_shmat(s->w.mm, s->segment, "/SYSV00000000 (deleted)", 0, 0); }
static int64_t do_remap_file_pages(struct scene *s) { return samara_remap_file_pages(s->w.mm, 0x2001000, PAGE, 0, 9, 0); }
static int64_t do_mbind(struct scene *s)
{
	uint64_t node = 1;

	return samara_mbind(s->w.mm, 0x3001000, PAGE, SAMARA_MPOL_BIND, &node, 64, 0);
}
static int64_t do_uffd(struct scene *s) { return samara_uffd_register(s->w.mm, s, 0x3001000, PAGE, 1); }
static int64_t do_fork(struct scene *s) { return samara_fork(s->w.mm, &s->child); }

static const struct request {
	const char *name;
	int64_t (*run)(struct scene *s);
	bool partial;
} requests[] = {
	{ "mmap", do_mmap, false }, { "mmap in the middle", do_mmap_middle, false }, { "mmap over many", do_mmap_wide, false },
	{ "mmap of a file", do_mmap_file, false }, { "mmap shared", do_mmap_shared, true }, { "munmap", do_munmap, false },
	{ "munmap of many", do_munmap_wide, false }, { "mprotect", do_mprotect, false }, { "mprotect of several", do_mprotect_walk, true },
	{ "mprotect to writable", do_mprotect_charge, false }, { "mremap in place", do_mremap_grow, false },
	{ "mremap away", do_mremap_move, false }, { "mremap fixed", do_mremap_fixed, true },
	{ "mremap dontunmap", do_mremap_dontunmap, false }, { "brk", do_brk, false }, { "madvise", do_madvise, false },
	{ "mlock", do_mlock, false }, { "munlock", do_munlock, false }, { "mseal", do_mseal, false }, { "shmat", do_shmat, false },
	{ "remap_file_pages", do_remap_file_pages, false }, { "mbind", do_mbind, false }, { "userfaultfd", do_uffd, false },
	{ "fork", do_fork, false },
};

static void fail_each(const struct request *r)
{
	static struct text_buffer before, after;
	uint64_t failures = 1;

	for (uint64_t n = 1; failures; n++) {
		struct scene s;
		int64_t committed, result;

		scene_open(&s);
		/* the slabs of VMAs that are free now would hide allocations: one step of filling them is part of the
		 * scene */
		for (uint64_t i = 0; i < n % 7; i++)
			must(samara_mmap(s.w.mm, 0x6000000 + i * 2 * PAGE, PAGE, RW, FIXED, NULL, 0));
		maps_text(s.w.mm, &before);
		committed = samara_committed_as(s.w.vm);
		s.w.sim.failures = 0;
		s.w.sim.fail_at = (n + 6) / 7;
		s.w.sim.fail_all_after = n % 2 == 0;
		result = r->run(&s);
		failures = s.w.sim.failures;
		s.w.sim.fail_at = 0;
		s.w.sim.fail_all_after = 0;
		samara_check(s.w.mm);
		if (result < 0 && result > -4096) {
			if (!failures || (result != -SAMARA_ENOMEM && result != -SAMARA_EAGAIN))
				fail_msg("%s, allocation %llu: result %lld", r->name, (unsigned long long)n, (long long)result);
			if (!r->partial) {
				if (strcmp(maps_text(s.w.mm, &after), before.text))
					fail_msg("%s, allocation %llu: the map changed", r->name, (unsigned long long)n);
				assert_int_equal(samara_committed_as(s.w.vm), committed);
			}
		}
		scene_close(&s);
		if (n < 14 && !failures)
			failures = 1; /* every fill of the slabs once, at least */
	}
}

static void test_every_allocation(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		fail_each(&requests[i]);
}

/* The constructors themselves. */
static void test_creation(void **state)
{
	(void)state;
	for (uint64_t n = 1; n < 12; n++) {
		const struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR };
		struct samara_inode *inode = NULL;
		struct samara_file *file = NULL;
		struct samara_mm *mm = NULL;
		struct samara *vm = NULL;
		struct sim sim;

		sim_init(&sim);
		sim.fail_at = n;
		if (samara_create(&sim.port, NULL, &vm) == 0) {
			if (samara_mm_create(vm, NULL, &mm) == 0)
				samara_mm_put(mm);
			if (samara_inode_create(vm, &desc, &inode) == 0) {
				if (samara_file_open(inode, SAMARA_FMODE_READ, "/x", &file) == 0)
					samara_file_put(file);
				samara_inode_put(inode);
			}
			samara_destroy(vm);
		}
		assert_int_equal(sim.live_blocks, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation),
		cmocka_unit_test(test_creation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
