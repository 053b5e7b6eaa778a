/* stack.c - stacks grow by faults; the gap below them; an overflow. */
#include "user.h"

#define TOP (BASE + 1024 * PAGE)

static unsigned long deep(unsigned depth)
{
	volatile unsigned long room[128];

	room[0] = depth;
	room[127] = depth ? deep(depth - 1) + 1 : 0;
	return room[0] == depth ? room[127] : 0;
}

static void grows(void)
{
	say("map", sys_mmap(TOP - PAGE, PAGE, RW, FIXED | MAP_GROWSDOWN, -1, 0) == (long)(TOP - PAGE));
	say_poke("below it", TOP - 3 * PAGE + 7, 1);
	say_peek("between", TOP - 2 * PAGE);
	say_poke("far below", TOP - 200 * PAGE, 1);
	say("unmap the middle", sys_munmap(TOP - 100 * PAGE, 50 * PAGE));
	say_peek("the upper part grows into the hole", TOP - 51 * PAGE);
	/* a neighbour: the gap of 256 pages stays free */
	say("a neighbour", sys_mmap(TOP - 500 * PAGE, PAGE, RW, FIXED, -1, 0) == (long)(TOP - 500 * PAGE));
	say_poke("down to the gap", TOP - 243 * PAGE, 1);
	say_poke("into the gap", TOP - 244 * PAGE, 1);
	say_poke("the neighbour itself", TOP - 500 * PAGE, 1);
	say("a child has it, too", 1);
	if (!sys_fork()) {
		say_poke("child grows", TOP - 242 * PAGE, 1);
		say_peek("child sees", TOP - 200 * PAGE);
		sys_exit(0);
	}
	say_wait("child");
}

/* Eight megabytes is Linux's default. */
static void overflows(void)
{
	if (!sys_fork()) {
		say("child: six megabytes", (long)deep(6000));
		default_signals();
		sys_exit((int)deep(9000));
	}
	say_wait("nine are too many");
}

int program(void)
{
	say("a thousand frames of a kibibyte", (long)deep(1000));
	grows();
	overflows();
	return 0;
}
