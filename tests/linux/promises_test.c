/* promises_test.c - what the page cache and shared memory promise (mmap(2), msync(2), ftruncate(2), fallocate(2),
 * memfd_create(2), fcntl(2), shmat(2)): one test for each sentence, on the kernel and on samara.
 *
 * Each test is named after its promise.  Where a promise is about what happens by itself (the timer) both are asked to
 * do it now; where it is about little memory, samara alone has little.
 */
#include <stdio.h>

#include "tests/linux/both_sides.h"

#define SHARED SAMARA_MAP_SHARED
#define PRIVATE SAMARA_MAP_PRIVATE
#define R SAMARA_PROT_READ
#define FULL (-SAMARA_ENOSPC)
#define THERE(n) (AT + (n)*PAGE)

/* 64 times the byte. */
static void fill(struct run *r, uint64_t addr, int value)
{
	for (unsigned i = 0; i < 64; i++)
		same(put(r, 0, addr + i, value), 0);
}

/* One at a time: the folios of ext4 are then single pages, which are dirty, and are cut off, by themselves. */
static void write_pages(struct run *r, int value, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		same(file_put(r, 0, i * PAGE, value, PAGE), PAGE);
}

static void ask_both(enum kind kind, body *steps)
{
	if (!on_both(kind, steps))
		print_message("the kernel was not asked: nothing can be mounted here\n");
}

/* -- one cache per file object, shared by every mapping and by read and write: coherent -- */

static void mappings(struct run *r)
{
	file_open(r, 1, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE);
	space_new(r, 0);
	space_new(r, 1);
	same(file_cut(r, 0, 4 * PAGE), 0);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(map(r, 0, THERE(8), 2, RW, SHARED, 1, 2), 0);  /* another open, another offset */
	same(map(r, 1, THERE(16), 3, RW, SHARED, 1, 1), 0); /* another space */
	same(get(r, 1, THERE(17) + 5), 0);
	same(put(r, 0, THERE(2) + 5, 11), 0);
	same(get(r, 0, THERE(8) + 5), 11);
	same(get(r, 1, THERE(17) + 5), 11);
	same(put(r, 1, THERE(17) + 5, 12), 0);
	same(get(r, 0, THERE(2) + 5), 12);
	same(put(r, 0, THERE(9) + 4095, 13), 0);
	same(get(r, 1, THERE(18) + 4095), 13);
	same(get(r, 0, THERE(3) + 4095), 13);
}

static void every_mapping_of_a_file_shows_the_same_bytes(void **state)
{
	(void)state;
	ask_both(DISK, mappings);
	ask_both(MEMFD, mappings);
}

static void read_and_write(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, 2 * PAGE), 0);
	same(map(r, 0, THERE(0), 2, RW, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(1)), 0);
	same(file_put(r, 0, PAGE - 1, 21, 2), 2);
	same(get(r, 0, THERE(0) + 4095), 21);
	same(get(r, 0, THERE(1)), 21);
	same(put(r, 0, THERE(1) + 7, 22), 0);
	same(file_get(r, 0, PAGE + 7), 22); /* no msync in between */
	same(file_put(r, 0, 2 * PAGE, 23, 100), 100);
	same(map(r, 0, THERE(4), 1, R, SHARED, 0, 2), 0);
	same(get(r, 0, THERE(4) + 99), 23);
}

static void read_and_write_use_the_pages_that_are_mapped(void **state)
{
	(void)state;
	ask_both(DISK, read_and_write);
	ask_both(MEMFD, read_and_write);
}

static void private_copies(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 31, 2 * PAGE), 2 * PAGE);
	same(map(r, 0, THERE(0), 2, RW, PRIVATE, 0, 0), 0);
	same(get(r, 0, THERE(0)), 31);
	same(file_put(r, 0, 0, 32, 2 * PAGE), 2 * PAGE);
	same(get(r, 0, THERE(0)), 32); /* not written to: the file's page */
	same(put(r, 0, THERE(0) + 1, 33), 0);
	same(file_put(r, 0, 0, 34, 2 * PAGE), 2 * PAGE);
	same(get(r, 0, THERE(0)), 32);
	same(get(r, 0, THERE(0) + 1), 33);
	same(get(r, 0, THERE(1)), 34);
	same(file_get(r, 0, 1), 34);
	same(advise(r, 0, THERE(0), 2, SAMARA_MADV_DONTNEED), 0);
	same(get(r, 0, THERE(0) + 1), 34);
}

static void a_private_mapping_is_the_file_until_it_is_written_to(void **state)
{
	(void)state;
	ask_both(DISK, private_copies);
	ask_both(MEMFD, private_copies);
}

static void forks(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, 2 * PAGE), 0);
	same(map(r, 0, THERE(0), 2, RW, SHARED, 0, 0), 0);
	same(put(r, 0, THERE(0), 41), 0);
	space_fork(r, 0, 1);
	same(put(r, 1, THERE(0), 42), 0);
	same(put(r, 0, THERE(1), 43), 0);
	same(get(r, 0, THERE(0)), 42);
	same(get(r, 1, THERE(1)), 43);
	same(unmap(r, 0, THERE(0), 2), 0);
	same(put(r, 1, THERE(1), 44), 0);
	same(file_get(r, 0, PAGE), 44);
}

static void a_file_is_shared_across_fork(void **state)
{
	(void)state;
	ask_both(DISK, forks);
	ask_both(MEMFD, forks);
}

/* -- dirty tracking -- */

static void dirty(struct run *r)
{
	space_new(r, 0);
	write_pages(r, 1, 4);
	same(file_sync(r, 0), 0);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(0)), 1);
	same(get(r, 0, THERE(1)), 1);
	same(dirty_kb(r, 0, THERE(0)), 0);
	same(put(r, 0, THERE(1), 2), 0);
	same(dirty_kb(r, 0, THERE(0)), 4);
	same(put(r, 0, THERE(3), 2), 0);
	same(put(r, 0, THERE(3), 3), 0);
	same(dirty_kb(r, 0, THERE(0)), 8);
	same(flush(r, 0, THERE(0), 4, SAMARA_MS_SYNC), 0);
	same(dirty_kb(r, 0, THERE(0)), 0);
	same(put(r, 0, THERE(3), 4), 0); /* again, through an entry that could be written to before */
	same(dirty_kb(r, 0, THERE(0)), 4);
	same(file_sync(r, 0), 0);
	same(dirty_kb(r, 0, THERE(0)), 0);
}

static void stores_make_pages_dirty_and_writing_back_makes_them_clean(void **state)
{
	(void)state;
	ask_both(DISK, dirty);
}

static void dirty_written(struct run *r)
{
	space_new(r, 0);
	write_pages(r, 1, 2);
	same(file_sync(r, 0), 0);
	same(map(r, 0, THERE(0), 2, RW, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(0)), 1);
	same(get(r, 0, THERE(1)), 1);
	same(file_put(r, 0, PAGE, 2, 1), 1);
	same(dirty_kb(r, 0, THERE(0)), 4);
	same(file_sync(r, 0), 0);
	same(dirty_kb(r, 0, THERE(0)), 0);
}

static void write_makes_a_mapped_page_dirty(void **state)
{
	(void)state;
	ask_both(DISK, dirty_written);
}

/* -- write-back on msync, on memory pressure, on a timer -- */

static void sync_writes(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, 4 * PAGE), 0);
	same(file_put(r, 0, 0, 0xa0, 4 * PAGE), 4 * PAGE);
	same(file_sync(r, 0), 0);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	fill(r, THERE(0), 0xa1);
	fill(r, THERE(2), 0xa2);
	same(on_disk(r, 0xa1), 0);
	same(flush(r, 0, THERE(0), 4, SAMARA_MS_ASYNC), 0);
	same(on_disk(r, 0xa1), 0);
	same(flush(r, 0, THERE(0), 1, SAMARA_MS_SYNC), 0);
	same(on_disk(r, 0xa1), 1);
	same(flush(r, 0, THERE(1), 2, SAMARA_MS_SYNC), 0);
	same(on_disk(r, 0xa2), 1);
}

static void msync_writes_what_it_is_asked_for_before_it_returns(void **state)
{
	(void)state;
	ask_both(LOOP, sync_writes);
}

static void unmapped_dirty(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, PAGE), 0);
	same(map(r, 0, THERE(0), 1, RW, SHARED, 0, 0), 0);
	fill(r, THERE(0), 0xb1);
	same(unmap(r, 0, THERE(0), 1), 0);
	same(on_disk(r, 0xb1), 0);
	same(file_get(r, 0, 63), 0xb1);
	same(file_sync(r, 0), 0);
	same(on_disk(r, 0xb1), 1);
}

static void munmap_neither_writes_nor_forgets_a_dirty_page(void **state)
{
	(void)state;
	ask_both(LOOP, unmapped_dirty);
}

static void pressure(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, 60 * PAGE), 0);
	same(map(r, 0, THERE(0), 60, RW, SHARED, 0, 0), 0);
	for (unsigned i = 0; i < 60; i++) /* written and given back to make room: read again later */
		same(file_put(r, 0, i * PAGE, 100 + (int)i, 1), 1);
	for (unsigned i = 0; i < 60; i++)
		same(file_get(r, 0, i * PAGE), 100 + (int)i);
	for (unsigned i = 0; i < 60; i += 5) {
		same(put(r, 0, THERE(i) + 1, 200 + (int)i / 5), 0);
		same(advise(r, 0, THERE(i), 1, SAMARA_MADV_DONTNEED), 0);
	}
	for (unsigned i = 0; i < 60; i++)
		same(file_get(r, 0, i * PAGE), 100 + (int)i);
	for (unsigned i = 0; i < 60; i += 5)
		same(file_get(r, 0, i * PAGE + 1), 200 + (int)i / 5);
}

static void dirty_pages_are_written_when_memory_is_short_and_nothing_is_lost(void **state)
{
	(void)state;
	ask_both(TIGHT, pressure);
}

static void timer(struct run *r)
{
	space_new(r, 0);
	same(file_cut(r, 0, PAGE), 0);
	same(map(r, 0, THERE(0), 1, RW, SHARED, 0, 0), 0);
	fill(r, THERE(0), 0xc1);
	same(on_disk(r, 0xc1), 0);
	write_back(r);
	same(on_disk(r, 0xc1), 1);
	same(dirty_kb(r, 0, THERE(0)), 0);
	same(get(r, 0, THERE(0) + 63), 0xc1);
}

static void the_timer_writes_pages_that_are_mapped(void **state)
{
	(void)state;
	ask_both(LOOP, timer);
}

/* -- errors are reported once to each waiter -- */

static void errors(struct run *r)
{
	space_new(r, 0);
	write_pages(r, 0xd0, 40);
	same(file_sync(r, 0), 0);
	file_open(r, 1, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE);
	same(map(r, 0, THERE(0), 40, RW, SHARED, 0, 0), 0);
	disk_breaks(r, 0xd0);
	for (unsigned i = 0; i < 40; i++)
		same(put(r, 0, THERE(i), 0xd1), 0);
	same(flush(r, 0, THERE(0), 40, SAMARA_MS_SYNC), FULL);
	same(flush(r, 0, THERE(0), 40, SAMARA_MS_SYNC), 0); /* told already */
	same(file_sync(r, 0), 0);			    /* the same open */
	same(file_sync(r, 1), FULL);			    /* another waiter */
	same(file_sync(r, 1), 0);
	file_open(r, 2, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE);
	same(file_sync(r, 2), 0); /* opened when everybody had been told */
	disk_heals(r);
	same(file_sync(r, 0), 0);
}

static void a_write_error_is_told_once_to_each_open_file(void **state)
{
	(void)state;
	ask_both(LOOP, errors);
}

static void errors_untold(struct run *r)
{
	space_new(r, 0);
	write_pages(r, 0xd0, 40);
	same(file_sync(r, 0), 0);
	same(map(r, 0, THERE(0), 40, RW, SHARED, 0, 0), 0);
	disk_breaks(r, 0xd0);
	for (unsigned i = 0; i < 40; i++)
		same(put(r, 0, THERE(i), 0xd2), 0);
	write_back(r);
	disk_heals(r);
	file_open(r, 1, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE);
	same(file_sync(r, 1), FULL); /* nobody had been told: whoever asks first, though he came later */
	same(file_sync(r, 0), FULL);
	same(file_sync(r, 0), 0);
}

static void an_error_that_nobody_was_told_waits_for_the_next_open(void **state)
{
	(void)state;
	ask_both(LOOP, errors_untold);
}

/* -- the last page -- */

static void tail(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 51, PAGE + 100), PAGE + 100);
	same(map(r, 0, THERE(0), 2, RW, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(1) + 99), 51);
	for (unsigned at = 100; at < 4096; at += 37)
		same(get(r, 0, THERE(1) + at), 0);
	same(get(r, 0, THERE(1) + 4095), 0);
	same(map(r, 0, THERE(4), 2, RW, PRIVATE, 0, 0), 0);
	same(get(r, 0, THERE(5) + 100), 0);
	same(file_get(r, 0, PAGE + 100), -1);
}

static void bytes_behind_the_end_in_the_last_page_are_zero_when_mapped(void **state)
{
	(void)state;
	ask_both(DISK, tail);
	ask_both(MEMFD, tail);
}

static void tail_stored(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 0xe0, 100), 100);
	same(map(r, 0, THERE(0), 1, RW, SHARED, 0, 0), 0);
	fill(r, THERE(0), 0xe1);
	fill(r, THERE(0) + 1000, 0xe2);
	same(get(r, 0, THERE(0) + 1000), 0xe2);
	same(flush(r, 0, THERE(0), 1, SAMARA_MS_SYNC), 0);
	same(on_disk(r, 0xe1), 1);
	same(on_disk(r, 0xe2), 0);
	same(file_get(r, 0, 1000), -1);
	same(get(r, 0, THERE(0) + 1000), 0); /* writing it back has zeroed it */
	same(file_cut(r, 0, PAGE), 0);
	same(file_get(r, 0, 1000), 0);
}

static void bytes_behind_the_end_are_never_written(void **state)
{
	(void)state;
	ask_both(LOOP, tail_stored);
}

static void behind(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 61, PAGE + 1), PAGE + 1);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(map(r, 0, THERE(8), 4, RW, PRIVATE, 0, 0), 0);
	same(get(r, 0, THERE(1) + 4095), 0);
	same(get(r, 0, THERE(2)), BUS);
	same(put(r, 0, THERE(2) + 9, 1), BUS);
	same(get(r, 0, THERE(3) + 4095), BUS);
	same(get(r, 0, THERE(10)), BUS);
	same(put(r, 0, THERE(10) + 1, 1), BUS);
	same(get(r, 0, THERE(4)), SEGV_MAP);
	same(file_cut(r, 0, 3 * PAGE), 0);
	same(get(r, 0, THERE(2)), 0);
	same(put(r, 0, THERE(10) + 1, 1), 0);
	same(get(r, 0, THERE(3)), BUS);
	same(file_put(r, 0, 3 * PAGE, 62, 1), 1);
	same(get(r, 0, THERE(3)), 62);
}

static void an_access_past_the_last_page_is_SIGBUS(void **state)
{
	(void)state;
	ask_both(DISK, behind);
	ask_both(MEMFD, behind);
}

/* -- truncate unmaps; hole punch -- */

static void cut(struct run *r)
{
	space_new(r, 0);
	write_pages(r, 71, 4);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(map(r, 0, THERE(8), 4, RW, PRIVATE, 0, 0), 0);
	for (unsigned i = 0; i < 4; i++) {
		same(put(r, 0, THERE(i) + 200, 72), 0);
		same(put(r, 0, THERE(8 + i) + 201, 73), 0);
	}
	space_fork(r, 0, 1);
	same(file_cut(r, 0, PAGE + 200), 0);
	for (int space = 0; space < 2; space++) {
		same(get(r, space, THERE(1) + 199), 71);
		same(get(r, space, THERE(1) + 200), 0);	 /* the rest of the last page */
		same(get(r, space, THERE(9) + 201), 73); /* not that of a copy */
		same(get(r, space, THERE(2)), BUS);
		same(get(r, space, THERE(10) + 201), BUS); /* copies too */
		same(in_core(r, space, THERE(0), 4), 3);
	}
	same(file_cut(r, 0, 4 * PAGE), 0);
	for (int space = 0; space < 2; space++) {
		same(get(r, space, THERE(1) + 201), 0);
		same(get(r, space, THERE(2) + 200), 0);
		same(get(r, space, THERE(10) + 201), 0);
	}
}

static void truncate_unmaps_what_lies_behind_the_new_end(void **state)
{
	(void)state;
	ask_both(DISK, cut);
	ask_both(MEMFD, cut);
}

static void hole(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 81, 4 * PAGE), 4 * PAGE);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(map(r, 0, THERE(8), 4, RW, PRIVATE, 0, 0), 0);
	for (unsigned i = 0; i < 4; i++)
		same(get(r, 0, THERE(i)), 81);
	same(put(r, 0, THERE(9), 82), 0);
	same(file_hole(r, 0, 10, 2 * PAGE), 0); /* parts of the first and of the third page */
	same(get(r, 0, THERE(0) + 9), 81);
	same(get(r, 0, THERE(0) + 10), 0);
	same(get(r, 0, THERE(1) + 5), 0);
	same(get(r, 0, THERE(2) + 9), 0);
	same(get(r, 0, THERE(2) + 10), 81);
	same(get(r, 0, THERE(9)), 82); /* copies stay */
	same(get(r, 0, THERE(9) + 1), 81);
	same(get(r, 0, THERE(10) + 5), 0);
	same(file_get(r, 0, PAGE), 0);
	same(put(r, 0, THERE(1), 83), 0);
	same(file_get(r, 0, PAGE), 83);
	same(file_get(r, 0, 4 * PAGE - 1), 81); /* the size is what it was */
	same(file_get(r, 0, 4 * PAGE), -1);
}

static void a_hole_reads_as_zeroes_in_every_mapping_and_the_size_stays(void **state)
{
	(void)state;
	ask_both(DISK, hole);
	ask_both(MEMFD, hole);
}

static void removed(struct run *r)
{
	space_new(r, 0);
	same(file_put(r, 0, 0, 91, 4 * PAGE), 4 * PAGE);
	same(map(r, 0, THERE(0), 4, RW, SHARED, 0, 0), 0);
	same(map(r, 0, THERE(8), 4, R, SHARED, 0, 0), 0);
	same(get(r, 0, THERE(9)), 91);
	same(advise(r, 0, THERE(1), 2, SAMARA_MADV_REMOVE), 0);
	same(get(r, 0, THERE(1)), 0);
	same(get(r, 0, THERE(9)), 0);
	same(file_get(r, 0, 2 * PAGE), 0);
	same(get(r, 0, THERE(3)), 91);
	same(advise(r, 0, THERE(8), 4, SAMARA_MADV_REMOVE), 0); /* the descriptor may write: its mapping need not */
	same(protect(r, 0, THERE(0), 4, R), 0);
	same(get(r, 0, THERE(0)), 0);
}

static void MADV_REMOVE_is_a_hole(void **state)
{
	(void)state;
	ask_both(DISK, removed);
	ask_both(MEMFD, removed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mapping_of_a_file_shows_the_same_bytes),
		cmocka_unit_test(read_and_write_use_the_pages_that_are_mapped),
		cmocka_unit_test(a_private_mapping_is_the_file_until_it_is_written_to),
		cmocka_unit_test(a_file_is_shared_across_fork),
		cmocka_unit_test(stores_make_pages_dirty_and_writing_back_makes_them_clean),
		cmocka_unit_test(write_makes_a_mapped_page_dirty),
		cmocka_unit_test(msync_writes_what_it_is_asked_for_before_it_returns),
		cmocka_unit_test(munmap_neither_writes_nor_forgets_a_dirty_page),
		cmocka_unit_test(dirty_pages_are_written_when_memory_is_short_and_nothing_is_lost),
		cmocka_unit_test(the_timer_writes_pages_that_are_mapped),
		cmocka_unit_test(a_write_error_is_told_once_to_each_open_file),
		cmocka_unit_test(an_error_that_nobody_was_told_waits_for_the_next_open),
		cmocka_unit_test(bytes_behind_the_end_in_the_last_page_are_zero_when_mapped),
		cmocka_unit_test(bytes_behind_the_end_are_never_written),
		cmocka_unit_test(an_access_past_the_last_page_is_SIGBUS),
		cmocka_unit_test(truncate_unmaps_what_lies_behind_the_new_end),
		cmocka_unit_test(a_hole_reads_as_zeroes_in_every_mapping_and_the_size_stays),
		cmocka_unit_test(MADV_REMOVE_is_a_hole),
	};

	return cmocka_run_group_tests_name("promises", tests, NULL, NULL);
}
