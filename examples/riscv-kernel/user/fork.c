/* fork.c - fork: copies on write both ways, three generations, what is shared, advice about children,
 * how children end. */
#include "user.h"

#define SHARED (BASE + 64 * PAGE)

/* The other side writes a step down; we look. */
static void await(unsigned long step)
{
	while (*words_at(SHARED) < step)
		sys_yield();
}

static void copies(void)
{
	long child;

	sys_mmap(BASE, 16 * PAGE, RW, FIXED, -1, 0);
	for (unsigned i = 0; i < 16; i++)
		*words_at(BASE + i * PAGE) = 100 + i;
	child = sys_fork();
	if (!child) {
		unsigned long sum = 0;

		for (unsigned i = 0; i < 8; i++)
			*words_at(BASE + i * PAGE) = 200 + i;
		*words_at(SHARED) = 1;
		await(2);
		for (unsigned i = 0; i < 16; i++)
			sum += *words_at(BASE + i * PAGE);
		say("child: sum", (long)sum);
		sys_exit(3);
	}
	await(1);
	say("parent: first page", (long)*words_at(BASE));
	for (unsigned i = 4; i < 16; i++)
		*words_at(BASE + i * PAGE) = 300 + i;
	*words_at(SHARED) = 2;
	say_wait("child");
	for (unsigned i = 0; i < 16; i += 5)
		say("parent: page", (long)*words_at(BASE + i * PAGE));
}

static void generations(void)
{
	*words_at(BASE) = 1;
	if (!sys_fork()) {
		*words_at(BASE) += 10;
		if (!sys_fork()) {
			*words_at(BASE) += 100;
			*words_at(SHARED + 8) = *words_at(BASE);
			say("grandchild", (long)*words_at(BASE));
			sys_exit(1);
		}
		say_wait("grandchild");
		say("child", (long)*words_at(BASE));
		sys_exit(2);
	}
	say_wait("child");
	say("parent", (long)*words_at(BASE));
	say("all see", (long)*words_at(SHARED + 8));
}

static void advised(void)
{
	say("wipe", sys_madvise(BASE, PAGE, MADV_WIPEONFORK));
	say("not the child's", sys_madvise(BASE + PAGE, PAGE, MADV_DONTFORK));
	say("wipe what is shared", sys_madvise(SHARED, PAGE, MADV_WIPEONFORK));
	*words_at(BASE) = 77;
	if (!sys_fork()) {
		say("child: wiped", (long)*words_at(BASE));
		say_peek("child: not there", BASE + PAGE);
		say("child: the rest is", (long)*words_at(BASE + 2 * PAGE));
		sys_exit(0);
	}
	say_wait("child");
	say("parent: kept", (long)*words_at(BASE));
}

static void ends(void)
{
	if (!sys_fork()) {
		default_signals();
		*bytes_at(BASE + 4096 * PAGE) = 1;
		sys_exit(0);
	}
	say_wait("a wild store");
	if (!sys_fork()) {
		sys_munmap(BASE, 16 * PAGE);
		sys_exit(255);
	}
	say_wait("unmapped by the child");
	say("there in the parent", (long)*words_at(BASE + 5 * PAGE));
	say_wait("no child left");
}

/* Stores of a parent whose pages were all shared by a child that has gone: no copy is needed, and none may be seen. */
static void again(void)
{
	for (unsigned round = 0; round < 20; round++) {
		if (!sys_fork()) {
			int bad = 0;

			for (unsigned i = 0; i < 16; i++)
				bad |= *words_at(BASE + i * PAGE + 16) != round;
			for (unsigned i = 0; i < 16; i++)
				*words_at(BASE + i * PAGE + 16) = 99;
			sys_exit(bad);
		}
		if (round % 2) {
			int status;

			sys_wait(&status);
			faults_taken += status != 0;
		}
		for (unsigned i = 0; i < 16; i++)
			*words_at(BASE + i * PAGE + 16) = round + 1;
		if (!(round % 2)) {
			int status;

			sys_wait(&status);
			faults_taken += status != 0;
		}
	}
	say("rounds that went wrong", faults_taken);
	say("at last", (long)*words_at(BASE + 16));
}

int program(void)
{
	sys_mmap(SHARED, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	copies();
	generations();
	advised();
	sys_mmap(BASE, 16 * PAGE, RW, FIXED, -1, 0);
	*words_at(BASE + 5 * PAGE) = 55;
	ends();
	faults_taken = 0;
	again();
	return 0;
}
