/* anonymous.c - anonymous memory: every right, splits, merges, brk, advice, locks, and the errnos of wrong requests. */
#include "user.h"

static void rights(void)
{
	say("map 8 pages", sys_mmap(BASE, 8 * PAGE, RW, FIXED, -1, 0) == (long)BASE);
	say_peek("fresh memory", BASE + 5);
	for (unsigned i = 0; i < 8; i++)
		*words_at(BASE + i * PAGE) = 0x1111ul * i;
	say("read only", sys_mprotect(BASE + 2 * PAGE, 2 * PAGE, PROT_READ));
	say_peek("load from it", BASE + 2 * PAGE + 1);
	say_poke("store to it", BASE + 2 * PAGE + 1, 7);
	say("nothing allowed", sys_mprotect(BASE + 3 * PAGE, PAGE, PROT_NONE));
	say_peek("load from that", BASE + 3 * PAGE + 9);
	say_poke("store to that", BASE + 3 * PAGE + 10, 1);
	say("all again", sys_mprotect(BASE, 8 * PAGE, RW));
	say("contents stayed", (long)*words_at(BASE + 3 * PAGE));
	say("unmap one", sys_munmap(BASE + 4 * PAGE, PAGE));
	say_peek("load from the hole", BASE + 4 * PAGE);
	say("mprotect over the hole", sys_mprotect(BASE, 8 * PAGE, PROT_READ));
	say_poke("before the hole it happened", BASE + 3 * PAGE, 1);
	say_poke("behind it it did not", BASE + 5 * PAGE, 1);
	say("fill the hole, no replacing",
		sys_mmap(BASE + 4 * PAGE, PAGE, RW, FIXED | MAP_FIXED_NOREPLACE, -1, 0) == (long)(BASE + 4 * PAGE));
	say("a second time", sys_mmap(BASE + 4 * PAGE, PAGE, RW, FIXED | MAP_FIXED_NOREPLACE, -1, 0));
	say_peek("it is new", BASE + 4 * PAGE);
	for (unsigned i = 0; i < forty_two_bytes; i++)
		bytes_at(BASE + 4 * PAGE)[i] = forty_two[i];
	say_run("run data", BASE + 4 * PAGE);
	say("allow it", sys_mprotect(BASE + 4 * PAGE, PAGE, PROT_READ | PROT_EXEC));
	say_run("run code", BASE + 4 * PAGE);
	say("unmap all", sys_munmap(BASE, 8 * PAGE));
	say_run("run nothing", BASE + 4 * PAGE);
}

static void wrong(void)
{
	say("mmap of 0 bytes", sys_mmap(BASE, 0, RW, FIXED, -1, 0));
	say("mmap at an odd place", sys_mmap(BASE + 1, PAGE, RW, FIXED, -1, 0));
	say("mmap without a kind", sys_mmap(BASE, PAGE, RW, MAP_ANONYMOUS, -1, 0));
	say("mmap of no file", sys_mmap(BASE, PAGE, RW, MAP_PRIVATE, 77, 0));
	say("mmap of everything", sys_mmap(0, ~0ul << 13, RW, ANON, -1, 0));
	say("munmap at an odd place", sys_munmap(BASE + 1, PAGE));
	say("munmap of 0 bytes", sys_munmap(BASE, 0));
	say("munmap of nothing", sys_munmap(BASE, PAGE));
	say("mprotect of nothing", sys_mprotect(BASE, PAGE, RW));
	say("mprotect with odd rights", sys_mprotect(BASE, PAGE, 0x70));
	say("madvise of nothing", sys_madvise(BASE, PAGE, MADV_DONTNEED));
	say("madvise without sense", sys_madvise(BASE, PAGE, 999));
	say("msync of nothing", sys_msync(BASE, PAGE, MS_SYNC));
	say("msync both ways", sys_msync(BASE, PAGE, MS_SYNC | MS_ASYNC));
	say("mlock of nothing", sys_mlock(BASE, PAGE));
	say("open of nothing", sys_open("nothing-here", O_RDONLY));
}

static void heap(void)
{
	unsigned long start = sys_brk(0);

	say("brk moves", (long)(sys_brk(start + 5 * PAGE + 123) - start));
	say_poke("store at its end", start + 5 * PAGE + 100, 9);
	*bytes_at(start) = 5;
	say("brk moves back", (long)(sys_brk(start + PAGE) - start));
	say("what is below stays", *bytes_at(start));
	say("brk moves again", (long)(sys_brk(start + 6 * PAGE) - start));
	say("what went is zero", *bytes_at(start + 5 * PAGE + 100));
	say("brk to nowhere", (long)(sys_brk(~0ul) - start));
}

static void advice(void)
{
	unsigned char vec[4] = { 9, 9, 9, 9 };

	sys_mmap(BASE, 4 * PAGE, RW, FIXED, -1, 0);
	*bytes_at(BASE) = 1;
	*bytes_at(BASE + 2 * PAGE) = 3;
	say("mincore", sys_mincore(BASE, 4 * PAGE, vec));
	for (unsigned i = 0; i < 4; i++)
		say("  resident", vec[i] & 1);
	say("not needed", sys_madvise(BASE, PAGE, MADV_DONTNEED));
	say_peek("it is zero", BASE);
	say("the other stays", *bytes_at(BASE + 2 * PAGE));
	say("free", sys_madvise(BASE + 2 * PAGE, PAGE, MADV_FREE));
	say_poke("written again before it goes", BASE + 2 * PAGE + 1, 8);
	say("it is kept", *bytes_at(BASE + 2 * PAGE + 1));
	say("lock", sys_mlock(BASE, 4 * PAGE));
	say("mincore", sys_mincore(BASE, 4 * PAGE, vec));
	say("  resident", (vec[0] & 1) + (vec[1] & 1) + (vec[2] & 1) + (vec[3] & 1));
	say("locked is needed", sys_madvise(BASE, PAGE, MADV_DONTNEED));
	say("unlock", sys_munlock(BASE, 4 * PAGE));
	say("map and fill",
		sys_mmap(BASE + 16 * PAGE, 4 * PAGE, RW, FIXED | MAP_POPULATE, -1, 0) == (long)(BASE + 16 * PAGE));
	say("mincore", sys_mincore(BASE + 16 * PAGE, 4 * PAGE, vec));
	say("  resident", (vec[0] & 1) + (vec[1] & 1) + (vec[2] & 1) + (vec[3] & 1));
	say("populate what is read only",
		sys_mprotect(BASE, PAGE, PROT_READ) + sys_madvise(BASE, PAGE, MADV_POPULATE_WRITE));
}

int program(void)
{
	rights();
	wrong();
	heap();
	advice();
	return 0;
}
