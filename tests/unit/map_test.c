/* map_test.c - what a newcomer would ask of the map, one question a test.  (Equality with the kernel is asked in
 * tests/linux.) */
#include "tests/unit/support.h"

static uint32_t vmas(struct samara_mm *mm)
{
	struct samara_mm_stat s;

	samara_mm_stat(mm, &s);
	return s.map_count;
}

static void test_neighbours_merge(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_mmap(w.mm, 0x100000, PAGE, RW, FIXED, NULL, 0), 0x100000);
	assert_int_equal(samara_mmap(w.mm, 0x102000, PAGE, RW, FIXED, NULL, 0), 0x102000);
	assert_int_equal(vmas(w.mm), 2);
	assert_int_equal(samara_mmap(w.mm, 0x101000, PAGE, RW, FIXED, NULL, 0), 0x101000);
	assert_int_equal(vmas(w.mm), 1);
	world_close(&w);
}

static void test_history_keeps_mappings_apart(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	/* two mappings, each written to before they touch: their histories differ */
	samara_mmap(w.mm, 0x100000, PAGE, RW, FIXED, NULL, 0);
	samara_mmap(w.mm, 0x102000, PAGE, RW, FIXED, NULL, 0);
	assert_int_equal(samara_touch(w.mm, 0x100000, 1), 0);
	assert_int_equal(samara_touch(w.mm, 0x102000, 1), 0);
	samara_mmap(w.mm, 0x101000, PAGE, RW, FIXED, NULL, 0);
	assert_int_equal(vmas(w.mm), 2); /* only the left merge */
	world_close(&w);
}

static void test_protect_splits_and_joins(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	samara_mmap(w.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	assert_int_equal(samara_mprotect(w.mm, 0x103000, PAGE, SAMARA_PROT_READ), 0);
	assert_int_equal(vmas(w.mm), 3);
	assert_int_equal(samara_mprotect(w.mm, 0x103000, PAGE, RW), 0);
	assert_int_equal(vmas(w.mm), 1);
	world_close(&w);
}

static void test_accounting_is_exact(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	samara_mmap(w.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	assert_int_equal(samara_committed_as(w.vm), 8);
	samara_mmap(w.mm, 0x100000, 4 * PAGE, SAMARA_PROT_READ, FIXED, NULL, 0);
	assert_int_equal(samara_committed_as(w.vm), 4);
	samara_mmap(w.mm, 0x200000, 4 * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, NULL, 0);
	assert_int_equal(samara_committed_as(w.vm), 8);
	assert_int_equal(samara_munmap(w.mm, 0x104000, PAGE), 0);
	assert_int_equal(samara_committed_as(w.vm), 7);
	assert_int_equal(samara_mremap(w.mm, 0x105000, 3 * PAGE, 30 * PAGE, SAMARA_MREMAP_MAYMOVE, 0), 0x105000);
	assert_int_equal(samara_committed_as(w.vm), 34);
	world_close(&w);
}

static void test_fork_of_fork(void **state)
{
	struct world w;
	struct samara_mm *child, *grandchild;
	struct text_buffer a, b;

	(void)state;
	world_open(&w);
	samara_mmap(w.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	samara_touch(w.mm, 0x100000, 1);
	samara_mlock(w.mm, 0x100000, PAGE);
	samara_mmap(w.mm, 0x200000, PAGE, RW, FIXED, NULL, 0);
	samara_madvise(w.mm, 0x200000, PAGE, SAMARA_MADV_DONTFORK);
	assert_int_equal(samara_fork(w.mm, &child), 0);
	assert_int_equal(samara_fork(child, &grandchild), 0);
	samara_check(child);
	samara_check(grandchild);
	assert_string_equal(maps_text(child, &a), maps_text(grandchild, &b));
	assert_int_equal(vmas(child), 2); /* the split by mlock stays: each piece has a history of its own now */
	assert_int_equal(samara_committed_as(w.vm), 9 + 8 + 8);
	samara_mm_put(child);
	samara_mm_put(grandchild);
	world_close(&w);
}

static void test_errors_change_nothing(void **state)
{
	static const struct {
		uint64_t addr, length, prot, flags, offset;
		int expect;
	} calls[] = {
		{ 0x100000, 0, RW, FIXED, 0, -SAMARA_EINVAL },
		{ 0x100001, PAGE, RW, FIXED, 0, -SAMARA_EINVAL },
		{ 0x100000, PAGE, RW, FIXED, 1, -SAMARA_EINVAL },
		{ 0x100000, ~0ull, RW, FIXED, 0, -SAMARA_ENOMEM },
		{ 0x100000, PAGE, RW, SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, 0, -SAMARA_EINVAL },
		{ 0x100000, PAGE, RW, ANON | SAMARA_MAP_FIXED_NOREPLACE, 0, -SAMARA_EEXIST },
		{ 0x100000, PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, 0, -SAMARA_EBADF },
		{ 0x7ffffffff000, PAGE, RW, FIXED, 0, -SAMARA_ENOMEM },
	};
	struct text_buffer before, after;
	struct world w;

	(void)state;
	world_open(&w);
	samara_mmap(w.mm, 0x100000, 4 * PAGE, SAMARA_PROT_READ, FIXED, NULL, 0);
	maps_text(w.mm, &before);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		assert_int_equal(samara_mmap(w.mm, calls[i].addr, calls[i].length, calls[i].prot, calls[i].flags, NULL, calls[i].offset),
			calls[i].expect);
		assert_string_equal(maps_text(w.mm, &after), before.text);
	}
	world_close(&w);
}

/* Names of anonymous memory: the host's kernel may lack them (CONFIG_ANON_VMA_NAME); proc(5) and prctl(2) are the
 * reference. */
static void test_anonymous_names(void **state)
{
	const struct samara_config config = { .size = sizeof(config), .anon_vma_name = 1, .no_vsyscall = 1 };
	struct samara_mm *mm;
	struct samara *vm;
	struct text_buffer b;
	struct sim sim;

	(void)state;
	sim_init(&sim);
	assert_int_equal(samara_create(&sim.port, &config, &vm), 0);
	assert_int_equal(samara_mm_create(vm, NULL, &mm), 0);
	samara_mmap(mm, 0x100000, 4 * PAGE, RW, FIXED, NULL, 0);
	assert_int_equal(samara_prctl(mm, SAMARA_PR_SET_VMA, 0, 0x101000, PAGE, 0, "heap of x"), 0);
	assert_int_equal(samara_prctl(mm, SAMARA_PR_SET_VMA, 0, 0x101000, PAGE, 0, "bad[name]"), -SAMARA_EINVAL);
	assert_non_null(strstr(maps_text(mm, &b), "00101000-00102000 rw-p 00000000 00:00 0                                  [anon:heap of x]\n"));
	assert_int_equal(samara_prctl(mm, SAMARA_PR_SET_VMA, 0, 0x101000, PAGE, 0, NULL), 0);
	assert_string_equal(maps_text(mm, &b), "00100000-00104000 rw-p 00000000 00:00 0 \n");
	samara_mm_put(mm);
	samara_destroy(vm);
	assert_int_equal(sim.live_blocks, 0);
}

static void test_lookup_sees_what_is_there(void **state)
{
	struct samara_vma_view view;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_lookup(w.mm, 0x100000, &view), 0);
	samara_mmap(w.mm, 0x100000, 4 * PAGE, RW, FIXED, NULL, 0);
	assert_int_equal(samara_lookup(w.mm, 0x103fff, &view), 1);
	assert_int_equal(view.start, 0x100000);
	assert_int_equal(view.end, 0x104000);
	assert_int_equal(samara_lookup(w.mm, 0x104000, &view), 0);
	world_close(&w);
}

static void test_forms_of_the_call(void **state)
{
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .size_bytes = 1 << 20 };
	struct samara_old_mmap_args args = { 0x100000, 0x1000, 1, 0x12, 3, 0x5000 };
	struct samara_inode *inode;
	struct samara_file *file;
	struct world w;
	struct samara_read_guard g;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_inode_create(w.vm, &desc, &inode), 0);
	assert_int_equal(samara_file_open(inode, SAMARA_FMODE_READ, "/x", &file), 0);
	assert_int_equal(samara_old_mmap(w.mm, &args, file), 0x100000);
	assert_int_equal(samara_mmap_pgoff(w.mm, 0x101000, PAGE, 1, 0x12, file, 6), 0x101000);
	samara_read_lock(w.mm, &g);
	assert_int_equal(samara_vma_end(samara_find_vma(&g, 0x100000)), 0x102000); /* pages 5 and 6: one mapping */
	samara_read_unlock(&g);
	args.offset = 0x5001;
	assert_int_equal(samara_old_mmap(w.mm, &args, file), -SAMARA_EINVAL);
	assert_int_equal(samara_old_mmap(w.mm, &args, NULL), -SAMARA_EINVAL);
	args.offset = 0;
	assert_int_equal(samara_old_mmap(w.mm, &args, NULL), -SAMARA_EBADF);
	samara_file_put(file);
	samara_inode_put(inode);
	world_close(&w);
}

/* What stands at AT afterwards: how many mappings, when [0, 3) and [4, 8) with these histories (0 none, 1 own, 2
 * through fork) are joined by the page between them, which mremap adds to the first or mmap maps. */
static unsigned joined(unsigned low, unsigned high, bool grows)
{
	const struct { unsigned history; uint64_t start, pages; } part[2] = { { low, 0x100000, 3 }, { high, 0x104000, 4 } };
	struct samara_read_guard g;
	const struct samara_vma *vma;
	struct samara_mm *child;
	unsigned count = 0;
	struct world w;

	world_open(&w);
	for (int i = 0; i < 2; i++)
		if (part[i].history == 2) {
			samara_mmap(w.mm, part[i].start, part[i].pages * PAGE, RW, FIXED, NULL, 0);
			assert_int_equal(samara_touch(w.mm, part[i].start, 1), 0);
		}
	assert_int_equal(samara_fork(w.mm, &child), 0);
	for (int i = 0; i < 2; i++)
		if (part[i].history < 2) {
			samara_mmap(child, part[i].start, part[i].pages * PAGE, RW, FIXED, NULL, 0);
			if (part[i].history)
				assert_int_equal(samara_touch(child, part[i].start, 1), 0);
		}
	if (grows)
		assert_int_equal(samara_mremap(child, 0x100000, 3 * PAGE, 4 * PAGE, 0, 0), 0x100000);
	else
		assert_int_equal(samara_mmap(child, 0x103000, PAGE, RW, FIXED, NULL, 0), 0x103000);
	samara_read_lock(child, &g);
	for (uint64_t at = 0x100000; at < 0x108000; at = samara_vma_end(vma), count++) {
		vma = samara_find_vma(&g, at);
		assert_non_null(vma);
	}
	samara_read_unlock(&g);
	samara_check(child);
	samara_mm_put(child);
	world_close(&w);
	return count;
}

static void test_growth_joins_an_untouched_neighbour(void **state)
{
	/* as the kernel does (6.18): [history of the low part][of the high one] */
	static const unsigned grown[3][3] = { { 1, 1, 2 }, { 1, 2, 2 }, { 1, 2, 2 } };
	static const unsigned mapped[3][3] = { { 1, 1, 2 }, { 1, 2, 2 }, { 2, 2, 3 } };

	(void)state;
	for (unsigned low = 0; low < 3; low++)
		for (unsigned high = 0; high < 3; high++) {
			assert_int_equal(joined(low, high, true), grown[low][high]);
			assert_int_equal(joined(low, high, false), mapped[low][high]);
		}
}

/* MADV_COLLAPSE of a file: its huge pages must be the mapping's, and one must lie in it. */
static void test_collapse_of_a_file(void **state)
{
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .size_bytes = 16 << 20 };
	const uint64_t huge = 2 << 20;
	struct samara_inode *inode;
	struct samara_file *file;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_inode_create(w.vm, &desc, &inode), 0);
	assert_int_equal(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/x", &file), 0);
	for (unsigned page = 0; page < 2; page++) {
		const uint64_t flags = SAMARA_MAP_SHARED | SAMARA_MAP_FIXED;

		assert_int_equal(samara_mmap(w.mm, 2 * huge, 2 * huge, RW, flags, file, page * PAGE), 2 * huge);
		assert_int_equal(samara_madvise(w.mm, 2 * huge, 2 * huge, SAMARA_MADV_COLLAPSE), page ? -SAMARA_EINVAL : 0);
	}
	assert_int_equal(samara_mmap(w.mm, 2 * huge + PAGE, huge, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, file, PAGE), 2 * huge + PAGE);
	assert_int_equal(samara_munmap(w.mm, 3 * huge + PAGE, huge), 0);
	assert_int_equal(samara_madvise(w.mm, 2 * huge + PAGE, huge, SAMARA_MADV_COLLAPSE), -SAMARA_EINVAL);
	samara_file_put(file);
	samara_inode_put(inode);
	world_close(&w);
}

static int given_up(void *self, uint32_t *word, uint32_t seen, int killable)
{
	(void)self;
	(void)word;
	(void)seen;
	return killable ? -SAMARA_EINTR : 0;
}

static void nobody_sleeps(void *self, uint32_t *word, int count)
{
	(void)self;
	(void)word;
	(void)count;
}

static void test_killable_waits(void **state)
{
	struct samara_read_guard reader, second;
	struct samara_write_guard writer;
	struct samara_mm *mm;
	struct samara *vm;
	struct sim sim;

	(void)state;
	sim_init(&sim);
	sim.port.wait = given_up;
	sim.port.wake = nobody_sleeps;
	assert_int_equal(samara_create(&sim.port, NULL, &vm), 0);
	assert_int_equal(samara_mm_create(vm, NULL, &mm), 0);
	samara_write_lock(mm, &writer);
	assert_int_equal(samara_read_lock_killable(mm, &reader), -SAMARA_EINTR);
	samara_write_downgrade(&writer, &reader);
	assert_int_equal(samara_read_lock_killable(mm, &second), 0);
	samara_read_unlock(&second);
	assert_int_equal(samara_write_lock_killable(mm, &writer), -SAMARA_EINTR);
	samara_read_unlock(&reader);
	assert_int_equal(samara_write_lock_killable(mm, &writer), 0);
	samara_write_unlock(&writer);
	samara_mm_put(mm);
	samara_destroy(vm);
	assert_int_equal(sim.live_blocks, 0);
}

static void test_iterator_survives_changes(void **state)
{
	struct samara_write_guard g;
	struct samara_vma_iter it;
	const struct samara_vma *vma;
	struct world w;
	unsigned seen = 0;

	(void)state;
	world_open(&w);
	for (uint64_t i = 0; i < 100; i++)
		samara_mmap(w.mm, 0x100000 + i * 4 * PAGE, 3 * PAGE, RW, FIXED, NULL, 0);
	samara_write_lock(w.mm, &g);
	samara_vma_iter_init(&it, &g.read, 0);
	/* cut each VMA in the middle as it comes by: the walk goes on behind what it has yielded */
	while ((vma = samara_vma_iter_next(&it))) {
		uint64_t at = samara_vma_start(vma);

		assert_true(at >= 0x100000);
		if (samara_vma_end(vma) - at == 3 * PAGE)
			assert_int_equal(samara_munmap_with(&g, at + PAGE, PAGE), 0);
		seen++;
	}
	assert_int_equal(seen, 100);
	for (seen = 0; samara_vma_iter_prev(&it); seen++)
		;
	assert_in_range(seen, 199, 200);
	samara_write_unlock(&g);
	world_close(&w);
}

static void test_strict_overcommit(void **state)
{
	struct samara_config config;
	struct world w;

	(void)state;
	world_open(&w);
	samara_get_config(w.vm, &config);
	config.overcommit_memory = 2;
	config.overcommit_kbytes = 400;
	config.user_reserve_kbytes = 4;
	assert_int_equal(samara_set_config(w.vm, &config), 0);
	assert_int_equal(samara_commit_limit(w.vm), 100);
	assert_int_equal(samara_mmap(w.mm, 0x100000, 100 * PAGE, RW, FIXED, NULL, 0), -SAMARA_ENOMEM);
	assert_int_equal(samara_mmap(w.mm, 0x100000, 90 * PAGE, RW, FIXED | SAMARA_MAP_NORESERVE, NULL, 0), 0x100000);
	assert_int_equal(samara_committed_as(w.vm), 90); /* mode 2 does not listen to NORESERVE */
	world_close(&w);
}

/* prctl(2), PR_SET_MM: by the man page and its errors; where CAP_SYS_RESOURCE is missing, samara fuzz meets EPERM alone. */
static void test_prctl_set_mm(void **state)
{
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull, .start_code = 0x400000, .end_code = 0x401000,
		.start_data = 0x500000, .end_data = 0x501000, .start_brk = 0x600000, .brk = 0x600000, .start_stack = 0x7ff000,
		.arg_start = 0x7fe000, .arg_end = 0x7fe100, .env_start = 0x7fe100, .env_end = 0x7fe200 };
	const uint64_t stack = SAMARA_PR_SET_MM_START_STACK, brk = SAMARA_PR_SET_MM_BRK;
	struct samara_mm_stat s;
	struct samara_mm *mm;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_mm_create(w.vm, &params, &mm), 0);
#define SET(what, addr) samara_prctl(mm, SAMARA_PR_SET_MM, what, addr, 0, 0, NULL)
	assert_int_equal(SET(stack, 0x7fd000), -SAMARA_EINVAL); /* nothing is mapped there */
	assert_int_equal(samara_mmap(mm, 0x7f0000, 0x10000, RW, FIXED, NULL, 0), 0x7f0000);
	assert_int_equal(SET(stack, 0x7fd000), 0);
	samara_mm_stat(mm, &s);
	assert_int_equal(s.start_stack, 0x7fd000);
	/* the order of the parts, and the ends of the space */
	assert_int_equal(SET(SAMARA_PR_SET_MM_END_CODE, 0x400000), -SAMARA_EINVAL);
	assert_int_equal(SET(SAMARA_PR_SET_MM_START_DATA, 0x7fd000), -SAMARA_EINVAL); /* behind its end */
	assert_int_equal(SET(SAMARA_PR_SET_MM_ARG_START, 0x7fe180), -SAMARA_EINVAL);
	assert_int_equal(SET(SAMARA_PR_SET_MM_ENV_END, 0x7fe280), 0);
	assert_int_equal(SET(brk, 0x5ff000), -SAMARA_EINVAL);
	assert_int_equal(SET(brk, 0x610000), 0);
	assert_int_equal(SET(brk, 1ull << 60), -SAMARA_EINVAL);
	assert_int_equal(SET(brk, 0x1000), -SAMARA_EINVAL);
	assert_int_equal(SET(99, 0x610000), -SAMARA_EINVAL);
	assert_int_equal(samara_prctl(mm, SAMARA_PR_SET_MM, brk, 0x610000, 1, 0, NULL), -SAMARA_EINVAL);
	assert_int_equal(SET(SAMARA_PR_SET_MM_AUXV, 0x610000), -SAMARA_EOPNOTSUPP);
	/* the data limit counts the heap and the data */
	assert_int_equal(samara_set_rlimit(mm, SAMARA_RLIMIT_DATA, (struct samara_rlimit){ 0x12000, 0x12000 }), 0);
	assert_int_equal(SET(brk, 0x611000), 0);
	assert_int_equal(SET(brk, 0x611001), -SAMARA_EINVAL);
	samara_mm_stat(mm, &s);
	assert_int_equal(s.brk, 0x611000);
	samara_set_credentials(mm, 0, 1000);
	assert_int_equal(SET(brk, 0x610000), -SAMARA_EPERM);
	samara_mm_stat(mm, &s);
	assert_int_equal(s.brk, 0x611000);
#undef SET
	samara_mm_put(mm);
	world_close(&w);
}

/* What this machine cannot do says so. */
static void test_errno_of_what_is_not_there(void **state)
{
	const struct samara_config config = { .size = sizeof(config), .memory_failure = 1 };
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull };
	struct samara_iovec range = { 0x100000, PAGE };
	struct samara_mm *mm;
	struct samara *vm;
	struct samara_signal why;
	unsigned char vec;
	struct world w;
	char byte;

	(void)state;
	world_open(&w); /* a map only, without protection keys */
	assert_int_equal(samara_mmap(w.mm, 0x100000, PAGE, RW, FIXED, NULL, 0), 0x100000);
	/* the kernel gives key 0 out once, and only then finds that it cannot be set */
	assert_int_equal(samara_pkey_alloc(w.mm, 0, 0), -SAMARA_EINVAL);
	assert_int_equal(samara_pkey_alloc(w.mm, 0, 0), -SAMARA_ENOSPC);
	assert_int_equal(samara_pkey_free(w.mm, 0), -SAMARA_EINVAL);
	assert_int_equal(samara_fault(w.mm, 0x100000, SAMARA_READ, NULL), -SAMARA_ENOSYS);
	assert_int_equal(samara_load(w.mm, 0x100000, &byte, 1, &why), 0);
	assert_int_equal(why.error, -SAMARA_ENOSYS);
	assert_int_equal(samara_copy_from(w.mm, 0x100000, &byte, 1, 0, &why), 0);
	assert_int_equal(why.error, -SAMARA_ENOSYS);
	assert_int_equal(samara_mincore(w.mm, 0x100000, PAGE, &vec), -SAMARA_ENOSYS);
	assert_int_equal(samara_pagemap(w.mm, 0x100000, &(uint64_t){ 0 }, 1), 0);
	assert_int_equal(samara_view_smaps(w.mm, NULL, NULL), -SAMARA_ENOSYS);
	assert_int_equal(samara_view_smaps_rollup(w.mm, NULL, NULL), -SAMARA_ENOSYS);
	/* a kernel that does not know of failing memory, and one that does (madvise(2)) */
	assert_int_equal(samara_madvise(w.mm, 0x100000, PAGE, SAMARA_MADV_HWPOISON), -SAMARA_EINVAL);
	assert_int_equal(samara_create(&w.sim.port, &config, &vm), 0);
	assert_int_equal(samara_mm_create(vm, &params, &mm), 0);
	assert_int_equal(samara_mmap(mm, 0x100000, PAGE, RW, FIXED, NULL, 0), 0x100000);
	assert_int_equal(samara_madvise(mm, 0x100000, PAGE, SAMARA_MADV_HWPOISON), -SAMARA_EOPNOTSUPP);
	samara_set_credentials(mm, 0, 0);
	assert_int_equal(samara_madvise(mm, 0x100000, PAGE, SAMARA_MADV_SOFT_OFFLINE), -SAMARA_EPERM);
	samara_mm_put(mm);
	samara_destroy(vm);
	/* another's space: what changes nothing but speed */
	assert_int_equal(samara_process_madvise(w.mm, &range, 1, SAMARA_MADV_COLD, 0, 0), PAGE);
	assert_int_equal(samara_process_madvise(w.mm, &range, 1, SAMARA_MADV_DONTNEED, 0, 0), -SAMARA_EINVAL);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbours_merge),
		cmocka_unit_test(test_history_keeps_mappings_apart),
		cmocka_unit_test(test_protect_splits_and_joins),
		cmocka_unit_test(test_accounting_is_exact),
		cmocka_unit_test(test_fork_of_fork),
		cmocka_unit_test(test_errors_change_nothing),
		cmocka_unit_test(test_anonymous_names),
		cmocka_unit_test(test_lookup_sees_what_is_there),
		cmocka_unit_test(test_forms_of_the_call),
		cmocka_unit_test(test_growth_joins_an_untouched_neighbour),
		cmocka_unit_test(test_collapse_of_a_file),
		cmocka_unit_test(test_killable_waits),
		cmocka_unit_test(test_iterator_survives_changes),
		cmocka_unit_test(test_strict_overcommit),
		cmocka_unit_test(test_prctl_set_mm),
		cmocka_unit_test(test_errno_of_what_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
