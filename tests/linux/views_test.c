/* views_test.c - what /proc/PID/status says in ways that samara fuzz cannot compare to the page (proc(5)): the kernel
 * notes VmHWM from counters that are exact only when they are summed.  In units of UNIT the two must be equal. */
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(VmHWM_is_the_most_that_was_resident) };

	return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
