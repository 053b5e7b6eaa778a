/* shmem_test.c - what memory without a file below it promises: shared anonymous memory, memfd, tmpfs, System V segments
 * (mmap(2), memfd_create(2), fcntl(2), tmpfs(5), shmat(2), madvise(2)): one test for each sentence, on the kernel and
 * on samara. */
#include "tests/linux/both_sides.h"

#define SHARED SAMARA_MAP_SHARED
#define PRIVATE SAMARA_MAP_PRIVATE
#define R SAMARA_PROT_READ
#define THERE(n) (AT + (n)*PAGE)

static void ask_both(enum kind kind, body *steps)
{
	if (!on_both(kind, steps))
		print_message("the kernel was not asked: nothing can be mounted here\n");
}

/* -- shared anonymous memory -- */

static void shared_anonymous(struct run *r)
{
	space_new(r, 0);
	same(map(r, 0, THERE(0), 4, RW, SHARED, -1, 0), 0);
	same(get(r, 0, THERE(1)), 0);
	same(put(r, 0, THERE(0), 1), 0);
	space_fork(r, 0, 1);
	same(put(r, 1, THERE(0), 2), 0);
	same(put(r, 1, THERE(3), 3), 0); /* a page that the parent had not touched */
	same(get(r, 0, THERE(0)), 2);
	same(get(r, 0, THERE(3)), 3);
	same(map(r, 0, THERE(8), 4, RW, SHARED, -1, 0), 0); /* other memory */
	same(get(r, 0, THERE(8)), 0);
	same(get(r, 1, THERE(8)), SEGV_MAP);
	same(unmap(r, 0, THERE(0), 4), 0);
	same(get(r, 1, THERE(0)), 2);
}

static void shared_anonymous_memory_is_zero_and_shared_across_fork(void **state)
{
	(void)state;
	ask_both(MEMFD, shared_anonymous);
}

static void kept(struct run *r)
{
	space_new(r, 0);
	same(map(r, 0, THERE(0), 2, RW, SHARED, -1, 0), 0);
	same(put(r, 0, THERE(0), 5), 0);
	same(advise(r, 0, THERE(0), 2, SAMARA_MADV_DONTNEED), 0);
	same(get(r, 0, THERE(0)), 5); /* unmapped, not given up */
	same(file_cut(r, 0, 2 * PAGE), 0);
	same(map(r, 0, THERE(4), 2, RW, SHARED, 0, 0), 0);
	same(put(r, 0, THERE(5) + 9, 6), 0);
	same(flush(r, 0, THERE(4), 2, SAMARA_MS_SYNC), 0);
	same(unmap(r, 0, THERE(4), 2), 0);
	same(file_get(r, 0, PAGE + 9), 6);
	same(map(r, 0, THERE(8), 1, R, SHARED, 0, 1), 0);
	same(get(r, 0, THERE(8) + 9), 6);
}

static void pages_stay_when_no_mapping_has_them(void **state)
{
	(void)state;
	ask_both(MEMFD, kept);
}

static void punched(struct run *r)
{
	space_new(r, 0);
	same(map(r, 0, THERE(0), 4, RW, SHARED, -1, 0), 0);
	for (unsigned i = 0; i < 4; i++)
		same(put(r, 0, THERE(i), 7), 0);
	space_fork(r, 0, 1);
	same(advise(r, 0, THERE(1), 2, SAMARA_MADV_REMOVE), 0);
	same(in_core(r, 1, THERE(0), 4), 9);
	for (int space = 0; space < 2; space++)
		for (unsigned i = 0; i < 4; i++)
			same(get(r, space, THERE(i)), i == 1 || i == 2 ? 0 : 7);
}

static void a_hole_in_shared_anonymous_memory_is_zero_in_every_process(void **state)
{
	(void)state;
	ask_both(MEMFD, punched);
}

/* -- fault and map_pages -- */

static void around(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 1, 40 * PAGE), 40 * PAGE);
	same(map(r, 0, THERE(0), 40, RW, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(20)), 1);
	same(from_smaps(r, 0, THERE(0), "Rss:", NULL), 64); /* the sixteen around it */
	same(put(r, 0, THERE(39), 2), 0);
	same(from_smaps(r, 0, THERE(0), "Rss:", NULL), 68); /* a store comes alone */
	same(get(r, 0, THERE(1)), 1);
	same(from_smaps(r, 0, THERE(0), "Rss:", NULL), 68 + 64);
	same(protect(r, 0, THERE(0), 40, SAMARA_PROT_NONE), 0);
	same(get(r, 0, THERE(20)), SEGV_ACC);
}

static void a_read_fault_maps_cached_neighbours_and_a_write_fault_does_not(void **state)
{
	(void)state;
	ask_both(MEMFD, around);
}

/* -- seals -- */

static void seal_write(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 11, 2 * PAGE), 2 * PAGE);
	same(map(r, 0, THERE(0), 2, RW, SHARED, 0, 0), 0);
	same(file_seal(r, SAMARA_F_SEAL_WRITE), -SAMARA_EBUSY);
	same(protect(r, 0, THERE(0), 2, R), 0);
	same(file_seal(r, SAMARA_F_SEAL_WRITE), -SAMARA_EBUSY); /* it may become writable again */
	space_fork(r, 0, 1);
	same(unmap(r, 0, THERE(0), 2), 0);
	same(file_seal(r, SAMARA_F_SEAL_WRITE), -SAMARA_EBUSY); /* the child's */
	same(unmap(r, 1, THERE(0), 2), 0);
	same(map(r, 0, THERE(4), 2, RW, PRIVATE, 0, 0), 0);
	same(put(r, 0, THERE(4), 12), 0);
	same(file_seal(r, SAMARA_F_SEAL_WRITE), 0);
	same(file_put(r, 0, 0, 13, 1), -SAMARA_EPERM);
	same(file_hole(r, 0, 0, PAGE), -SAMARA_EPERM);
	same(map(r, 0, THERE(0), 2, RW, SHARED, 0, 0), -SAMARA_EPERM);
	same(map(r, 0, THERE(0), 2, R, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(0)), 11);
	same(protect(r, 0, THERE(0), 2, RW), -SAMARA_EACCES);
	same(advise(r, 0, THERE(0), 1, SAMARA_MADV_REMOVE), -SAMARA_EACCES);
	same(put(r, 0, THERE(5), 14), 0); /* copies are the process's own */
	same(get(r, 0, THERE(1)), 11);
}

static void F_SEAL_WRITE_waits_for_writable_mappings_and_then_refuses_every_write(void **state)
{
	(void)state;
	ask_both(MEMFD, seal_write);
}

static void seal_future(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 21, PAGE), PAGE);
	same(map(r, 0, THERE(0), 1, RW, SHARED, 0, 0), 0);
	same(file_seal(r, SAMARA_F_SEAL_FUTURE_WRITE), 0);
	same(put(r, 0, THERE(0), 22), 0);
	same(file_get(r, 0, 0), 22);
	same(file_put(r, 0, 0, 23, 1), -SAMARA_EPERM);
	same(map(r, 0, THERE(2), 1, RW, SHARED, 0, 0), -SAMARA_EPERM);
	same(map(r, 0, THERE(2), 1, R, SHARED, 0, 0), 0);
	same(protect(r, 0, THERE(2), 1, RW), -SAMARA_EACCES);
	space_fork(r, 0, 1);
	same(put(r, 1, THERE(0) + 1, 24), 0);
	same(get(r, 0, THERE(2) + 1), 24);
}

static void F_SEAL_FUTURE_WRITE_leaves_the_mappings_that_are_there(void **state)
{
	(void)state;
	ask_both(MEMFD, seal_future);
}

static void sealed_hole(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, 4 * PAGE), 0);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(put(r, 0, THERE(1), 7), 0);
	same(advise(r, 0, THERE(2), 1, SAMARA_MADV_REMOVE), 0);
	same(file_seal(r, SAMARA_F_SEAL_FUTURE_WRITE), 0);
	same(advise(r, 0, THERE(0), 4, SAMARA_MADV_REMOVE), -SAMARA_EPERM); /* though stores go on */
	same(get(r, 0, THERE(1)), 7);
	same(put(r, 0, THERE(1), 8), 0);
}

static void MADV_REMOVE_of_a_memfd_that_was_sealed_meanwhile_is_refused(void **state)
{
	(void)state;
	ask_both(MEMFD, sealed_hole);
}

static void seal_size(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 31, 2 * PAGE), 2 * PAGE);
	same(map(r, 0, THERE(0), 3, RW, SHARED, 0, 0), 0);
	same(file_seal(r, SAMARA_F_SEAL_GROW), 0);
	same(file_cut(r, 0, 3 * PAGE), -SAMARA_EPERM);
	same(file_put(r, 0, 2 * PAGE, 32, 1), -SAMARA_EPERM);
	same(file_allocate(r, 0, 2 * PAGE, PAGE), -SAMARA_EPERM);
	same(file_put(r, 0, PAGE, 33, PAGE), PAGE);
	same(put(r, 0, THERE(2), 34), BUS);
	same(file_cut(r, 0, PAGE), 0);
	same(file_seal(r, SAMARA_F_SEAL_SHRINK), 0);
	same(file_cut(r, 0, 10), -SAMARA_EPERM);
	same(file_cut(r, 0, PAGE), 0);
	same(file_hole(r, 0, 0, PAGE), 0); /* the size stays */
	same(get(r, 0, THERE(0)), 0);
}

static void F_SEAL_GROW_and_F_SEAL_SHRINK_hold_the_size(void **state)
{
	(void)state;
	ask_both(MEMFD, seal_size);
}

static void seal_seal(struct run *r)
{
	same(file_seal(r, SAMARA_F_SEAL_SHRINK), 0);
	same(file_seal(r, SAMARA_F_SEAL_SHRINK), 0);
	same(file_seal(r, 0x1000), -SAMARA_EINVAL);
	same(file_seal(r, SAMARA_F_SEAL_SEAL), 0);
	same(file_seal(r, SAMARA_F_SEAL_GROW), -SAMARA_EPERM);
	same(file_seal(r, SAMARA_F_SEAL_SHRINK), -SAMARA_EPERM);
	same(file_put(r, 0, 0, 1, 10), 10); /* nobody has sealed that */
}

static void F_SEAL_SEAL_is_the_last_one(void **state)
{
	(void)state;
	ask_both(MEMFD, seal_seal);
}

/* -- a size limit -- */

static void limit(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, 12 * PAGE), 0); /* holes cost nothing */
	same(map(r, 0, THERE(0), 12, RW, SHARED, 0, 0), 0);
	for (unsigned i = 0; i < SMALL_PAGES; i++)
		same(put(r, 0, THERE(i), 1), 0);
	same(put(r, 0, THERE(8), 1), BUS);
	same(get(r, 0, THERE(8)), BUS);	   /* a read makes the page too */
	same(file_get(r, 0, 8 * PAGE), 0); /* not with read(2) */
	same(file_put(r, 0, 8 * PAGE, 1, 1), -SAMARA_ENOSPC);
	same(file_put(r, 0, 7 * PAGE, 2, 2 * PAGE), PAGE);
	same(file_allocate(r, 0, 8 * PAGE, PAGE), -SAMARA_ENOSPC);
	same(file_hole(r, 0, 0, 2 * PAGE), 0);
	same(file_allocate(r, 0, 8 * PAGE, PAGE), 0);
	same(put(r, 0, THERE(9), 3), 0);
	same(put(r, 0, THERE(0), 4), BUS);
	same(file_cut(r, 0, 9 * PAGE), 0);
	same(put(r, 0, THERE(0), 4), 0);
	same(get(r, 0, THERE(7)), 2);
}

static void a_file_system_of_eight_pages_holds_eight_pages(void **state)
{
	(void)state;
	ask_both(TMPFS, limit);
}

static void copies_beyond_limit(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 5, 8 * PAGE), 8 * PAGE);
	same(map(r, 0, THERE(0), 8, RW, PRIVATE, 0, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		same(put(r, 0, THERE(i), 6), 0);
	same(file_get(r, 0, 0), 5);
	same(file_put(r, 0, 8 * PAGE, 5, 1), -SAMARA_ENOSPC);
}

static void private_copies_do_not_count_against_the_limit(void **state)
{
	(void)state;
	ask_both(TMPFS, copies_beyond_limit);
}

/* -- System V -- */

static void segment(struct run *r)
{
	space_new(r, 0);
	space_new(r, 1);
	same(attach(r, 0, THERE(0), 0), 0);
	same(attach(r, 0, THERE(16), SAMARA_SHM_RDONLY), 0);
	same(attach(r, 1, THERE(32), 0), 0);
	same(put(r, 0, THERE(1), 1), 0);
	same(get(r, 0, THERE(17)), 1);
	same(get(r, 1, THERE(33)), 1);
	same(put(r, 0, THERE(17), 2), SEGV_ACC);
	same(protect(r, 0, THERE(16), 5, RW), -SAMARA_EACCES);
	same(put(r, 1, THERE(36) + 4095, 3), 0); /* the rest of the last page */
	same(get(r, 0, THERE(4) + 4095), 3);
	same(get(r, 0, THERE(5)), SEGV_MAP);
}

static void attaches_of_a_segment_share_its_pages(void **state)
{
	(void)state;
	ask_both(SEGMENT, segment);
}

static void detached(struct run *r)
{
	space_new(r, 0);
	space_new(r, 1);
	same(detach(r, 0, THERE(0)), -SAMARA_EINVAL);
	same(attach(r, 0, THERE(0), 0), 0);
	same(attach(r, 0, THERE(2), 0), -SAMARA_EINVAL); /* in the way of itself */
	same(attach(r, 0, THERE(5), 0), 0);
	same(put(r, 0, THERE(1), 1), 0);
	same(detach(r, 0, THERE(1)), -SAMARA_EINVAL);
	same(unmap(r, 0, THERE(2), 1), 0);
	same(detach(r, 0, THERE(0)), 0); /* both pieces */
	same(get(r, 0, THERE(1)), SEGV_MAP);
	same(get(r, 0, THERE(3)), SEGV_MAP);
	same(get(r, 0, THERE(6)), 1); /* the other attach stays */
	space_fork(r, 0, 2);
	same(detach(r, 0, THERE(5)), 0);
	same(put(r, 2, THERE(6), 2), 0);
	same(detach(r, 2, THERE(5)), 0);
	same(attach(r, 1, THERE(0), 0), 0); /* nobody had it */
	same(get(r, 1, THERE(1)), 2);
}

static void a_segment_outlives_its_attaches(void **state)
{
	(void)state;
	ask_both(SEGMENT, detached);
}

static void placed(struct run *r)
{
	space_new(r, 0);
	same(map(r, 0, THERE(3), 1, RW, PRIVATE, -1, 0), 0);
	same(put(r, 0, THERE(3), 1), 0);
	same(attach(r, 0, THERE(0) + 5, 0), -SAMARA_EINVAL);
	same(attach(r, 0, THERE(0), 0), -SAMARA_EINVAL);
	same(get(r, 0, THERE(3)), 1);
	same(attach(r, 0, THERE(0), SAMARA_SHM_REMAP), 0);
	same(get(r, 0, THERE(3)), 0);
	same(put(r, 0, THERE(3), 2), 0);
	same(detach(r, 0, THERE(0)), 0);
	same(get(r, 0, THERE(3)), SEGV_MAP);
}

static void SHM_REMAP_replaces_what_is_there(void **state)
{
	(void)state;
	ask_both(SEGMENT, placed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_anonymous_memory_is_zero_and_shared_across_fork),
		cmocka_unit_test(pages_stay_when_no_mapping_has_them),
		cmocka_unit_test(a_hole_in_shared_anonymous_memory_is_zero_in_every_process),
		cmocka_unit_test(a_read_fault_maps_cached_neighbours_and_a_write_fault_does_not),
		cmocka_unit_test(F_SEAL_WRITE_waits_for_writable_mappings_and_then_refuses_every_write),
		cmocka_unit_test(F_SEAL_FUTURE_WRITE_leaves_the_mappings_that_are_there),
		cmocka_unit_test(MADV_REMOVE_of_a_memfd_that_was_sealed_meanwhile_is_refused),
		cmocka_unit_test(F_SEAL_GROW_and_F_SEAL_SHRINK_hold_the_size),
		cmocka_unit_test(F_SEAL_SEAL_is_the_last_one),
		cmocka_unit_test(a_file_system_of_eight_pages_holds_eight_pages),
		cmocka_unit_test(private_copies_do_not_count_against_the_limit),
		cmocka_unit_test(attaches_of_a_segment_share_its_pages),
		cmocka_unit_test(a_segment_outlives_its_attaches),
		cmocka_unit_test(SHM_REMAP_replaces_what_is_there),
	};

	return cmocka_run_group_tests_name("shmem", tests, NULL, NULL);
}
