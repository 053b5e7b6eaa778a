/* remap.c - mremap: larger, smaller, elsewhere, onto others; what was there goes along. */
#include "user.h"

static void fill(unsigned long addr, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		*words_at(addr + i * PAGE) = 1000 + i;
}

static void check(const char *what, unsigned long addr, unsigned pages)
{
	unsigned good = 0;

	for (unsigned i = 0; i < pages; i++)
		good += *words_at(addr + i * PAGE) == 1000 + i;
	say(what, good);
}

int program(void)
{
	unsigned long large = 512 * PAGE, moved;
	long at;
	int fd;

	sys_mmap(BASE, 4 * PAGE, RW, FIXED, -1, 0);
	fill(BASE, 4);
	say("larger, in place", sys_mremap(BASE, 4 * PAGE, 8 * PAGE, 0, 0) == (long)BASE);
	check("contents", BASE, 4);
	say_peek("new part", BASE + 6 * PAGE);
	sys_mmap(BASE + 8 * PAGE, PAGE, RW, FIXED, -1, 0);
	sys_mprotect(BASE + 8 * PAGE, PAGE, PROT_READ);
	say("no room", sys_mremap(BASE, 8 * PAGE, 16 * PAGE, 0, 0));
	at = sys_mremap(BASE, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE, 0);
	say("may move", at > 0 && at != (long)BASE);
	check("contents", (unsigned long)at, 4);
	say_peek("gone from here", BASE);
	say("back, fixed",
		sys_mremap((unsigned long)at, 16 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + 32 * PAGE) ==
			(long)(BASE + 32 * PAGE));
	check("contents", BASE + 32 * PAGE, 4);
	say_peek("shorter", BASE + 38 * PAGE);
	say("smaller", sys_mremap(BASE + 32 * PAGE, 6 * PAGE, 2 * PAGE, 0, 0) == (long)(BASE + 32 * PAGE));
	say_peek("its end", BASE + 34 * PAGE);
	say("leave the old one",
		sys_mremap(BASE + 32 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED,
			BASE + 48 * PAGE) == (long)(BASE + 48 * PAGE));
	check("contents", BASE + 48 * PAGE, 2);
	say_peek("the old one is empty", BASE + 32 * PAGE);
	say("onto another",
		sys_mremap(BASE + 48 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + 8 * PAGE) ==
			(long)(BASE + 8 * PAGE));
	check("contents", BASE + 8 * PAGE, 2);

	say("overlapping",
		sys_mremap(BASE + 8 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + 9 * PAGE));
	say("odd place", sys_mremap(BASE + 8 * PAGE + 1, PAGE, PAGE, 0, 0));
	say("odd flags", sys_mremap(BASE + 8 * PAGE, PAGE, PAGE, 64, 0));
	say("fixed without may move", sys_mremap(BASE + 8 * PAGE, PAGE, PAGE, MREMAP_FIXED, BASE));
	say("to nothing", sys_mremap(BASE + 8 * PAGE, PAGE, 0, 0, 0));
	say("of nothing", sys_mremap(BASE, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0));
	say("too long", sys_mremap(BASE + 8 * PAGE, 64 * PAGE, 128 * PAGE, MREMAP_MAYMOVE, 0));

	/* whole pages of the page table move: four megabytes, aligned */
	moved = BASE + 0x40000000;
	sys_mmap(BASE + 0x10000000, 2 * large, RW, FIXED, -1, 0);
	fill(BASE + 0x10000000, 1024);
	say("large",
		sys_mremap(BASE + 0x10000000, 2 * large, 2 * large, MREMAP_MAYMOVE | MREMAP_FIXED, moved) ==
			(long)moved);
	check("contents", moved, 1024);
	say_peek("gone", BASE + 0x10000000 + large);
	if (!sys_fork()) {
		say("child moves it",
			sys_mremap(moved, 2 * large, 2 * large, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + 0x20000000) ==
				(long)(BASE + 0x20000000));
		*words_at(BASE + 0x20000000) = 5;
		check("child: contents but one", BASE + 0x20000000, 1024);
		sys_exit(0);
	}
	say_wait("child");
	check("parent: contents", moved, 1024);

	fd = (int)sys_open("disk.txt", O_RDONLY);
	sys_mmap(BASE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	say("a file's mapping, larger", sys_mremap(BASE, PAGE, 2 * PAGE, 0, 0) == (long)BASE);
	say_peek("its second page", BASE + PAGE + 4);
	say("a copy of what is shared",
		sys_mremap(BASE, 0, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + 64 * PAGE) ==
			(long)(BASE + 64 * PAGE));
	say("both there", peek(BASE + 3) >= 0 && peek(BASE + 3) == peek(BASE + 64 * PAGE + 3));
	return 0;
}
