/* switch.c - four spaces with different data at the same addresses, switched by the timer alone: nobody yields, and
 * each waits for all the others. */
#include "user.h"

#define SPACES 4
#define SHARED (BASE + 64 * PAGE)

static int life(unsigned me)
{
	unsigned long bad = 0;

	for (unsigned i = 0; i < 32; i++)
		*words_at(BASE + i * PAGE) = me * 1000 + i;
	for (unsigned round = 1; round <= 50; round++) {
		__atomic_store_n(words_at(SHARED + me * 64), round, __ATOMIC_RELEASE);
		for (unsigned other = 0; other < SPACES; other++)
			while (__atomic_load_n(words_at(SHARED + other * 64), __ATOMIC_ACQUIRE) < round)
				;
		for (unsigned i = 0; i < 32; i++)
			bad += *words_at(BASE + i * PAGE) != me * 1000 + i + (round - 1) * 7;
		for (unsigned i = 0; i < 32; i++)
			*words_at(BASE + i * PAGE) += 7;
	}
	return bad != 0;
}

int program(void)
{
	sys_mmap(BASE, 32 * PAGE, RW, FIXED, -1, 0);
	sys_mmap(SHARED, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	*words_at(BASE) = 1;
	for (unsigned me = 0; me < SPACES; me++)
		if (!sys_fork())
			sys_exit(life(me));
	for (unsigned me = 0; me < SPACES; me++)
		say_wait("space");
	for (unsigned me = 0; me < SPACES; me++)
		say("rounds", (long)*words_at(SHARED + me * 64));
	say("the parent's", (long)*words_at(BASE));
	return 0;
}
