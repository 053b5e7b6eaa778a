/* guards_test.c - looking at the map under a guard, and changing it under one: each answer beside what the map was made
 * of, each ..._with call beside the plain call on a second space; and what a driver hears of its mappings. */
#include "tests/unit/support.h"
#include "core/mm.h"

#define AT 0x100000ull

static void *driver_data = &driver_data;

static int driver_mmap(void *self, struct samara_mapping *mapping)
{
	(void)self;
	mapping->private_data = driver_data;
	return 0;
}

/* Three mappings with holes before, between and behind them; the last is a driver's. */
static void test_lookups(void **state)
{
	const struct samara_inode_ops ops = { .size = sizeof(ops), .mmap = driver_mmap };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_DEVICE, .size_bytes = 1 << 20, .ops = &ops };
	const struct samara_vma *vma[3], *prev;
	struct samara_inode *inode;
	struct samara_read_guard g;
	struct samara_file *file;
	struct world w;

	(void)state;
	world_open(&w);
	assert_ptr_equal(samara_mm_machine(w.mm), w.vm);
	assert_int_equal(samara_inode_create(w.vm, &desc, &inode), 0);
	assert_int_equal(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/dev/driver", &file), 0);
	assert_ptr_equal(samara_file_inode(file), inode);
	samara_read_lock(w.mm, &g);
	assert_null(samara_find_vma(&g, 0));
	assert_null(samara_find_vma_intersection(&g, 0, AT));
	assert_null(samara_find_vma_prev(&g, AT, &prev));
	assert_null(prev);
	samara_read_unlock(&g);
	for (uint64_t i = 0; i < 2; i++)
		assert_int_equal(samara_mmap(w.mm, AT + i * 4 * PAGE, 2 * PAGE, RW, FIXED, NULL, 0), AT + i * 4 * PAGE);
	assert_int_equal(samara_mmap(w.mm, AT + 8 * PAGE, 2 * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, file, 3 * PAGE), AT + 8 * PAGE);
	samara_read_lock(w.mm, &g);
	for (uint64_t i = 0; i < 3; i++) {
		vma[i] = samara_find_vma(&g, AT + (4 * i + 1) * PAGE);
		assert_int_equal(samara_vma_start(vma[i]), AT + 4 * i * PAGE);
		assert_int_equal(samara_vma_end(vma[i]), AT + (4 * i + 2) * PAGE);
	}
	/* find_vma: the first that ends behind the address */
	assert_ptr_equal(samara_find_vma(&g, 0), vma[0]);
	assert_ptr_equal(samara_find_vma(&g, AT + 2 * PAGE - 1), vma[0]);
	assert_ptr_equal(samara_find_vma(&g, AT + 2 * PAGE), vma[1]);
	assert_null(samara_find_vma(&g, AT + 10 * PAGE));
	assert_null(samara_find_vma(&g, UINT64_MAX));
	assert_ptr_equal(samara_find_vma_intersection(&g, 0, UINT64_MAX), vma[0]);
	assert_ptr_equal(samara_find_vma_intersection(&g, AT + 2 * PAGE, AT + 4 * PAGE + 1), vma[1]);
	assert_null(samara_find_vma_intersection(&g, AT + 2 * PAGE, AT + 4 * PAGE));
	assert_null(samara_find_vma_intersection(&g, AT + 4 * PAGE, AT + 4 * PAGE)); /* nothing overlaps an empty range */
	assert_null(samara_find_vma_intersection(&g, AT + 5 * PAGE, AT));
	assert_ptr_equal(samara_find_vma_prev(&g, AT + 5 * PAGE, &prev), vma[1]);
	assert_ptr_equal(prev, vma[0]);
	assert_ptr_equal(samara_find_vma_prev(&g, AT + 6 * PAGE, &prev), vma[2]);
	assert_ptr_equal(prev, vma[1]);
	assert_ptr_equal(samara_find_vma_prev(&g, 0, &prev), vma[0]);
	assert_null(prev);
	assert_null(samara_find_vma_prev(&g, UINT64_MAX, &prev));
	assert_ptr_equal(prev, vma[2]);
	assert_ptr_equal(samara_next_vma(&g, vma[1]), vma[2]);
	assert_null(samara_next_vma(&g, vma[2]));
	assert_ptr_equal(samara_prev_vma(&g, vma[1]), vma[0]);
	assert_null(samara_prev_vma(&g, vma[0]));
	assert_int_equal(samara_vma_pgoff(vma[2]), 3);
	assert_ptr_equal(samara_vma_file(vma[2]), file);
	assert_ptr_equal(samara_vma_private(vma[2]), driver_data);
	assert_null(samara_vma_file(vma[1]));
	assert_null(samara_vma_private(vma[1]));
	assert_true(samara_vma_flags(vma[2]) & SAMARA_VM_SHARED);
	assert_false(samara_vma_faulted(vma[1]));
	samara_read_unlock(&g);
	assert_int_equal(samara_file_set_path(file, "/dev/another"), 0);
	static struct text_buffer b;
	assert_non_null(strstr(maps_text(w.mm, &b), " /dev/another\n"));
	samara_file_put(file);
	samara_inode_put(inode);
	world_close(&w);
}

/* One request under the guard, and its plain form without: the same result, and in the end the same map. */
static void test_calls_under_a_guard(void **state)
{
	static struct text_buffer one, other;
	struct samara_mm *plain, *child[2];
	struct samara_write_guard g;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_fork(w.mm, &plain), 0);
#define BOTH(with, without) assert_int_equal(with, without)
	samara_write_lock(w.mm, &g);
	BOTH(samara_mmap_with(&g, AT, 16 * PAGE, RW, FIXED, NULL, 0), samara_mmap(plain, AT, 16 * PAGE, RW, FIXED, NULL, 0));
	BOTH(samara_mmap_with(&g, AT, PAGE, RW, FIXED, NULL, 1), samara_mmap(plain, AT, PAGE, RW, FIXED, NULL, 1));
	BOTH(samara_mmap_with(&g, 0, 3 * PAGE, RW, ANON, NULL, 0), samara_mmap(plain, 0, 3 * PAGE, RW, ANON, NULL, 0));
	BOTH(samara_mprotect_with(&g, AT + PAGE, PAGE, SAMARA_PROT_READ), samara_mprotect(plain, AT + PAGE, PAGE, SAMARA_PROT_READ));
	BOTH(samara_mprotect_with(&g, 0, PAGE, SAMARA_PROT_READ), samara_mprotect(plain, 0, PAGE, SAMARA_PROT_READ));
	BOTH(samara_munmap_with(&g, AT + 4 * PAGE, PAGE), samara_munmap(plain, AT + 4 * PAGE, PAGE));
	BOTH(samara_munmap_with(&g, AT + 1, PAGE), samara_munmap(plain, AT + 1, PAGE));
	BOTH(samara_mremap_with(&g, AT + 8 * PAGE, 2 * PAGE, 9 * PAGE, SAMARA_MREMAP_MAYMOVE, 0),
		samara_mremap(plain, AT + 8 * PAGE, 2 * PAGE, 9 * PAGE, SAMARA_MREMAP_MAYMOVE, 0));
	BOTH(samara_mremap_with(&g, 0, PAGE, 2 * PAGE, 0, 0), samara_mremap(plain, 0, PAGE, 2 * PAGE, 0, 0));
	BOTH(samara_madvise_with(&g, AT + 10 * PAGE, 3 * PAGE, SAMARA_MADV_DONTFORK), samara_madvise(plain, AT + 10 * PAGE, 3 * PAGE, SAMARA_MADV_DONTFORK));
	BOTH(samara_madvise_with(&g, AT, 64 * PAGE, SAMARA_MADV_DONTDUMP), samara_madvise(plain, AT, 64 * PAGE, SAMARA_MADV_DONTDUMP));
	BOTH(samara_fork_with(&g, &child[0]), samara_fork(plain, &child[1]));
	samara_write_unlock(&g);
#undef BOTH
	assert_string_equal(maps_text(w.mm, &one), maps_text(plain, &other));
	assert_string_equal(maps_text(child[0], &one), maps_text(child[1], &other));
	assert_null(strstr(one.text, "0010a000"));
	samara_check(w.mm);
	samara_mm_put(child[0]);
	samara_mm_put(child[1]);
	samara_mm_put(plain);
	world_close(&w);
}

/* A VMA that is being changed all the time: the lookup gives up and takes the lock, which waits for who changes it. */
static void test_lookup_takes_the_lock_in_the_end(void **state)
{
	struct samara_vma_view view;
	struct samara_read_guard g;
	struct samara_vma *vma;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_mmap(w.mm, AT, 4 * PAGE, RW, FIXED, NULL, 0), AT);
	samara_read_lock(w.mm, &g);
	vma = (struct samara_vma *)(uintptr_t)samara_find_vma(&g, AT);
	samara_read_unlock(&g);
	vma->seq++; /* odd: open for writing */
	assert_int_equal(samara_lookup(w.mm, AT + PAGE, &view), 1);
	assert_int_equal(view.start, AT);
	assert_int_equal(view.end, AT + 4 * PAGE);
	assert_int_equal(samara_lookup(w.mm, AT + 4 * PAGE, &view), 0);
	vma->seq++;
	world_close(&w);
}

struct driver {
	int64_t pages; /* mapped, as far as it was told */
	unsigned opens, closes;
};

static int count_mmap(void *self, struct samara_mapping *mapping)
{
	((struct driver *)self)->pages += (int64_t)((mapping->end - mapping->start) / PAGE);
	return 0;
}

static void count_open(void *self, uint64_t start, uint64_t end)
{
	((struct driver *)self)->pages += (int64_t)((end - start) / PAGE);
	((struct driver *)self)->opens++;
}

static void count_close(void *self, uint64_t start, uint64_t end)
{
	((struct driver *)self)->pages -= (int64_t)((end - start) / PAGE);
	((struct driver *)self)->closes++;
}

static const struct samara_inode_ops counting = { .size = sizeof(counting), .mmap = count_mmap, .open = count_open, .close = count_close };

static int64_t mapped_pages(struct samara_mm *mm)
{
	struct samara_read_guard g;
	int64_t pages = 0;

	samara_read_lock(mm, &g);
	for (const struct samara_vma *v = samara_find_vma(&g, 0); v; v = samara_next_vma(&g, v))
		if (samara_vma_file(v))
			pages += (int64_t)((samara_vma_end(v) - samara_vma_start(v)) / PAGE);
	samara_read_unlock(&g);
	return pages;
}

static void test_a_driver_knows_what_is_mapped(void **state)
{
	struct driver d = { 0 };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_DEVICE, .size_bytes = 1 << 20, .ops = &counting, .self = &d };
	struct samara_mm *mm[2] = { NULL, NULL };
	struct samara_inode *inode;
	struct samara_file *file;
	uint64_t random = 12345;
	struct world w;

	(void)state;
	world_open(&w);
	mm[0] = w.mm;
	assert_int_equal(samara_inode_create(w.vm, &desc, &inode), 0);
	assert_int_equal(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/dev/driver", &file), 0);
	for (int i = 0; i < 20000; i++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		struct samara_mm *at = mm[mm[1] && (random >> 20 & 1)];
		uint64_t addr = AT + (random >> 30) % 64 * PAGE, length = (1 + (random >> 40) % 8) * PAGE, to = AT + (random >> 45) % 64 * PAGE;
		const uint64_t type = random >> 25 & 1 ? SAMARA_MAP_SHARED : SAMARA_MAP_PRIVATE;

		switch ((random >> 50) % 10) {
		case 0: case 1: (void)samara_mmap(at, addr, length, RW, type | SAMARA_MAP_FIXED, file, (random >> 55) % 8 * PAGE); break;
		case 2: (void)samara_munmap(at, addr, length); break;
		case 3: (void)samara_mprotect(at, addr, length, random >> 60 & 3); break;
		case 4: (void)samara_mremap(at, addr, length, length, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, to); break;
		case 5: (void)samara_mremap(at, addr, PAGE, length, SAMARA_MREMAP_MAYMOVE, 0); break;
		case 6: (void)samara_mremap(at, addr, length, PAGE, random >> 26 & 1, 0); break;
		case 7: (void)samara_mmap(at, addr, length, RW, FIXED, NULL, 0); break;
		case 8: (void)samara_madvise(at, addr, length, random >> 61 & 1 ? SAMARA_MADV_DONTFORK : SAMARA_MADV_DOFORK); break;
		default:
			if (mm[1])
				samara_mm_put(mm[1]);
			w.sim.fail_at = random >> 62 ? 1 + (random >> 27) % 8 : 0;
			mm[1] = NULL;
			(void)samara_fork(mm[0], &mm[1]); /* a child that could not be made was not told of */
			w.sim.fail_at = 0;
		}
		assert_int_equal(d.pages, mapped_pages(mm[0]) + (mm[1] ? mapped_pages(mm[1]) : 0));
	}
	assert_true(d.opens > 1000 && d.closes > 1000);
	if (mm[1])
		samara_mm_put(mm[1]);
	assert_int_equal(samara_exec(mm[0], NULL), 0);
	assert_int_equal(d.pages, 0);
	samara_file_put(file);
	samara_inode_put(inode);
	world_close(&w);
}

/* A merge may make such a mapping larger, but take none away: as SysV segments in Linux (tests/linux, samara fuzz). */
static void test_mappings_with_close_stay(void **state)
{
	struct driver d = { 0 };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_DEVICE, .size_bytes = 1 << 20, .ops = &counting, .self = &d };
	struct samara_inode *inode;
	struct samara_file *file;
	struct samara_mm_stat s;
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(samara_inode_create(w.vm, &desc, &inode), 0);
	assert_int_equal(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/dev/driver", &file), 0);
	assert_int_equal(samara_mmap(w.mm, AT, 4 * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, file, 0), AT);
	assert_int_equal(samara_mprotect(w.mm, AT + 2 * PAGE, 2 * PAGE, SAMARA_PROT_READ), 0);
	assert_int_equal(samara_mprotect(w.mm, AT + 2 * PAGE, 2 * PAGE, RW), 0);
	samara_mm_stat(w.mm, &s);
	assert_int_equal(s.map_count, 2);
	samara_file_put(file);
	samara_inode_put(inode);
	world_close(&w);
	assert_int_equal(d.pages, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lookups), cmocka_unit_test(test_calls_under_a_guard),
		cmocka_unit_test(test_lookup_takes_the_lock_in_the_end),
		cmocka_unit_test(test_a_driver_knows_what_is_mapped), cmocka_unit_test(test_mappings_with_close_stay) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
