/* guard.c - guard pages, and a handler that repairs: memory that comes when it is asked for,
 * barriers of a collector. */
#include "user.h"

/* What was forbidden is allowed; what was missing is mapped. */
static int give(const struct fault *fault)
{
	unsigned long page = fault->addr & ~(PAGE - 1);

	if (fault->signo != SIGSEGV)
		return 0;
	if (fault->code == 2)
		return !sys_mprotect(page, PAGE, RW);
	return sys_mmap(page, PAGE, RW, FIXED, -1, 0) == (long)page;
}

int program(void)
{
	unsigned long sum = 0;

	sys_mmap(BASE, 8 * PAGE, RW, FIXED, -1, 0);
	*bytes_at(BASE + 3 * PAGE) = 3;
	say("guard", sys_madvise(BASE + 3 * PAGE, PAGE, MADV_GUARD_INSTALL));
	say_peek("load", BASE + 3 * PAGE);
	say_poke("store", BASE + 3 * PAGE + 1, 1);
	say_poke("before it", BASE + 3 * PAGE - 1, 1);
	say_poke("behind it", BASE + 4 * PAGE, 1);
	say("mprotect does not matter", sys_mprotect(BASE, 8 * PAGE, PROT_READ) + sys_mprotect(BASE, 8 * PAGE, RW));
	say_peek("load", BASE + 3 * PAGE);
	if (!sys_fork()) {
		say_peek("child: load", BASE + 3 * PAGE);
		sys_exit(0);
	}
	say_wait("child");
	say("remove", sys_madvise(BASE + 3 * PAGE, PAGE, MADV_GUARD_REMOVE));
	say_peek("load: what was there is gone", BASE + 3 * PAGE);
	say_peek("null", 0);
	say_poke("null", 8, 1);
	say_run("null", 0);

	repair = give;
	faults_taken = 0;
	for (unsigned i = 0; i < 64; i++)
		*words_at(BASE + 0x1000000 + i * PAGE) = i;
	for (unsigned i = 0; i < 64; i++)
		sum += *words_at(BASE + 0x1000000 + i * PAGE);
	say("sum of what came by asking", (long)sum);
	say("faults", faults_taken);
	say("protect", sys_mprotect(BASE + 0x1000000, 64 * PAGE, PROT_NONE));
	for (unsigned i = 0; i < 64; i += 2)
		*words_at(BASE + 0x1000000 + i * PAGE) += 1;
	say("faults", faults_taken);
	repair = NULL;
	say_peek("still protected", BASE + 0x1000000 + PAGE);
	say_peek("given", BASE + 0x1000000 + 2 * PAGE);
	return 0;
}
