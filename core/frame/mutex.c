/* mutex.c - the contended side of mutex.h.
 *
 * Whoever slept takes the lock as "somebody may sleep", because it cannot know that it was the last; the price is
 * one wake-up too many at the end, never one too few.
 */
#include "core/frame/mutex.h"

#define MUTEX_SPINS 100 /* a holder clears at most one page of a table; a sleep and a wake cost more */

static inline void mutex_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

SAMARA_INTERNAL int mutex_lock_slow(uint32_t *word, const struct samara_port *port, int killable)
{
	for (int i = 0; i < MUTEX_SPINS; i++) {
		uint32_t seen = LOAD(*word);

		if (seen == 0 && __atomic_compare_exchange_n(word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return 0;
		mutex_relax();
	}
	while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0) {
		int err = port->wait(port->self, word, 2, killable);

		if (err && killable)
			return err; /* the word stays 2: one wake-up too many, maybe */
	}
	return 0;
}
