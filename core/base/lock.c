/* lock.c - the contended side of mmap_lock (lock.h).
 *
 * A waiter counts itself in `waiters` before it looks at `state` for the last time and sleeps on the value that it saw;
 * the release looks at `waiters` after it changed `state`.  Both are sequentially consistent, so one of the two sees
 * the other and no wake-up is lost.
 */
#include "core/base/lock.h"

/* How long a waiter watches the lock before it sleeps: looks that are ever further apart.  The thread that has the lock
 * does several requests between two looks, with all that they touch in its own cache; handing the lock over after each
 * request would move those lines to and fro. */
#define LOCK_FIRST_PAUSE 8u
#define LOCK_LAST_PAUSE 256u

static inline void lock_relax(unsigned pauses)
{
	while (pauses--) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ volatile("yield");
#else
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
	}
}

/* Watch the lock for a while: take `hold` of it when nothing of `busy` is held.  Nobody is passed by who already
 * sleeps. */
static bool lock_spin(struct rwlock *lock, uint32_t busy, uint32_t hold)
{
	for (unsigned pauses = LOCK_FIRST_PAUSE; pauses <= LOCK_LAST_PAUSE; pauses *= 2) {
		uint32_t seen;

		lock_relax(pauses);
		seen = LOAD(lock->state);
		if (!(seen & busy) && LOAD(lock->turn) == 0 &&
		    __atomic_compare_exchange_n(&lock->state, &seen, seen + hold, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

SAMARA_INTERNAL int lock_read_slow(struct rwlock *lock, const struct samara_port *port, int killable)
{
	int err = 0;

	if (lock_spin(lock, LOCK_WRITER, 1))
		return 0;
	__atomic_add_fetch(&lock->waiters, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		uint32_t seen = __atomic_load_n(&lock->state, __ATOMIC_SEQ_CST);
		bool queue = (seen & LOCK_WRITER) || (LOAD(lock->turn) && seen != 0);

		if (!queue) {
			if (__atomic_compare_exchange_n(&lock->state, &seen, seen + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				break;
			continue;
		}
		err = port->wait(port->self, &lock->state, seen, killable);
		if (err && killable)
			break;
		err = 0;
	}
	__atomic_sub_fetch(&lock->waiters, 1, __ATOMIC_SEQ_CST);
	return err;
}

SAMARA_INTERNAL int lock_write_slow(struct rwlock *lock, const struct samara_port *port, int killable)
{
	int err = 0;

	if (lock_spin(lock, UINT32_MAX, LOCK_WRITER))
		return 0;
	__atomic_add_fetch(&lock->turn, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&lock->waiters, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		uint32_t seen = __atomic_load_n(&lock->state, __ATOMIC_SEQ_CST);

		if (seen == 0) {
			if (__atomic_compare_exchange_n(&lock->state, &seen, LOCK_WRITER, false, __ATOMIC_ACQUIRE,
							__ATOMIC_RELAXED))
				break;
			continue;
		}
		err = port->wait(port->self, &lock->state, seen, killable);
		if (err && killable)
			break;
		err = 0;
	}
	__atomic_sub_fetch(&lock->waiters, 1, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&lock->turn, 1, __ATOMIC_SEQ_CST);
	/* a writer that gives up may leave readers that queued behind its turn */
	if (err && __atomic_load_n(&lock->waiters, __ATOMIC_SEQ_CST))
		lock_wake_slow(lock, port);
	return err;
}

SAMARA_INTERNAL void lock_wake_slow(struct rwlock *lock, const struct samara_port *port)
{
	port->wake(port->self, &lock->state, INT_MAX);
}
