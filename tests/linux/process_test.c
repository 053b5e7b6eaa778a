/* process_test.c - what one process is asked about another: the line of /proc/PID/status that samara fuzz cannot compare to
 * the page (the kernel notes VmHWM from counters that are exact only when they are summed: here in units of UNIT), and
 * process_madvise(2) of another process, where samara fuzz advises only its own. */
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/linux/both_sides.h"

#define UNIT_PAGES 200
#define UNIT (UNIT_PAGES * 4) /* kB */

static int64_t units(struct run *r, const char *what, int64_t kb)
{
	return note(r, what, (kb + UNIT / 2) / UNIT);
}

static void peak(struct run *r)
{
	int64_t before;

	space_new(r, 0);
	/* what the process itself needs for such steps */
	same(map(r, 0, AT - PAGE, 1, RW, SAMARA_MAP_PRIVATE, -1, 0), 0);
	same(advise(r, 0, AT - PAGE, 1, SAMARA_MADV_POPULATE_WRITE), 0);
	same(unmap(r, 0, AT - PAGE, 1), 0);
	before = from_status(r, 0, "VmRSS:");
	same(map(r, 0, AT, 4 * UNIT_PAGES, RW, SAMARA_MAP_PRIVATE, -1, 0), 0);
	same(units(r, "peak", from_status(r, 0, "VmHWM:") - before), 0); /* mapped is not resident */
	same(advise(r, 0, AT, 3 * UNIT_PAGES, SAMARA_MADV_POPULATE_WRITE), 0);
	same(units(r, "resident", from_status(r, 0, "VmRSS:") - before), 3);
	same(units(r, "peak", from_status(r, 0, "VmHWM:") - before), 3);
	same(unmap(r, 0, AT, 2 * UNIT_PAGES), 0);
	same(units(r, "resident", from_status(r, 0, "VmRSS:") - before), 1);
	same(units(r, "peak", from_status(r, 0, "VmHWM:") - before), 3);
	same(advise(r, 0, AT + 3 * UNIT_PAGES * PAGE, UNIT_PAGES, SAMARA_MADV_POPULATE_WRITE), 0);
	same(units(r, "peak", from_status(r, 0, "VmHWM:") - before), 3);
	same(advise(r, 0, AT + 2 * UNIT_PAGES * PAGE, 2 * UNIT_PAGES, SAMARA_MADV_DONTNEED), 0);
	same(units(r, "resident", from_status(r, 0, "VmRSS:") - before), 0);
	same(units(r, "peak", from_status(r, 0, "VmHWM:") - before), 3);
	/* a child begins with what it has */
	space_fork(r, 0, 1);
	same(units(r, "the child's", from_status(r, 1, "VmHWM:") - from_status(r, 1, "VmRSS:")), 0);
}

static void VmHWM_is_the_most_that_was_resident(void **state)
{
	(void)state;
	assert_true(on_both(MEMFD, peak));
}

static int64_t advise_other(struct run *r, int space, const struct samara_iovec *ranges, size_t count, int advice, uint64_t flags)
{
	int64_t result;
	int pidfd;

	if (r->side == SAMARA)
		return note(r, "process_madvise", samara_process_madvise(r->mm[space], ranges, count, advice, flags, 0));
	pidfd = (int)syscall(SYS_pidfd_open, r->pid[space], 0);
	assert_true(pidfd >= 0);
	result = or_errno(syscall(SYS_process_madvise, pidfd, ranges, count, advice, flags));
	close(pidfd);
	return note(r, "process_madvise", result);
}

static void advised(struct run *r)
{
	static const int all[] = { 0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 100, 101, 102, 103, 7, -1 };
	static struct samara_iovec many[1025];
	const struct samara_iovec whole = { AT, 4 * PAGE }, none = { AT, 0 };
	const struct samara_iovec hole[] = { { AT, 2 * PAGE }, { AT + 3 * PAGE, 4 * PAGE }, { AT, PAGE } };
	const struct samara_iovec odd[] = { { AT, PAGE }, { AT + 1, PAGE } };
	const struct samara_iovec wide[] = { { AT, PAGE }, { AT, 1ull << 63 } };

	space_new(r, 0);
	same(map(r, 0, AT, 4, RW, SAMARA_MAP_PRIVATE, -1, 0), 0);
	same(advise(r, 0, AT, 4, SAMARA_MADV_POPULATE_WRITE), 0);
	/* what changes nothing but speed */
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		same(advise_other(r, 0, &whole, 1, all[i], 0), all[i] == 3 || all[i] == 20 || all[i] == 21 ? (int64_t)(4 * PAGE) : -SAMARA_EINVAL);
	same(advise_other(r, 0, &whole, 1, SAMARA_MADV_COLD, 1), -SAMARA_EINVAL);
	same(advise_other(r, 0, &none, 1, SAMARA_MADV_COLD, 0), 0);
	same(advise_other(r, 0, &whole, 0, SAMARA_MADV_COLD, 0), 0);
	/* a hole ends it; the ranges before it were advised */
	same(advise_other(r, 0, hole, 3, SAMARA_MADV_COLD, 0), 2 * PAGE);
	same(advise_other(r, 0, hole + 1, 2, SAMARA_MADV_COLD, 0), -SAMARA_ENOMEM);
	same(advise_other(r, 0, odd, 2, SAMARA_MADV_COLD, 0), PAGE);
	same(advise_other(r, 0, odd + 1, 1, SAMARA_MADV_COLD, 0), -SAMARA_EINVAL);
	/* a length that no read could have is refused before anything is done */
	same(advise_other(r, 0, wide, 2, SAMARA_MADV_COLD, 0), -SAMARA_EINVAL);
	for (size_t i = 0; i < 1025; i++)
		many[i] = (struct samara_iovec){ AT, PAGE };
	same(advise_other(r, 0, many, 1024, SAMARA_MADV_COLD, 0), 1024 * PAGE);
	same(advise_other(r, 0, many, 1025, SAMARA_MADV_COLD, 0), -SAMARA_EINVAL);
}

/* CAP_SYS_NICE, which the kernel asks for before it looks at ranges. */
static bool may_advise_others(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	bool may = pidfd >= 0 && syscall(SYS_process_madvise, pidfd, NULL, 0, SAMARA_MADV_COLD, 0) == 0;

	if (pidfd >= 0)
		close(pidfd);
	return may;
}

static void another_process_is_advised_what_changes_nothing_but_speed(void **state)
{
	(void)state;
	if (!may_advise_others()) {
		print_message("the kernel was not asked: process_madvise of another process needs CAP_SYS_NICE\n");
		skip();
	}
	assert_true(on_both(MEMFD, advised));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(VmHWM_is_the_most_that_was_resident),
		cmocka_unit_test(another_process_is_advised_what_changes_nothing_but_speed) };

	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
