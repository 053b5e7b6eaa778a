/* lock.h - many readers or one writer, killable waits: mmap_lock, reverse maps, a file's size_lock.
 *
 * The uncontended paths are one atomic operation, inline, and never call the port.  Waiting goes through the port's
 * wait and wake.  A port without them promises one thread at a time: then the lock is plain memory, and finding it
 * taken is a deadlock with oneself, which traps.
 *
 * state: 0 free, n > 0 readers, LOCK_WRITER one writer.  `waiters` counts threads that sleep or are about to;
 * whoever frees the lock wakes them all when it is not zero (mmap_lock is mostly held for less than a microsecond, so
 * fairness comes from `turn`: a waiting writer sets it and new readers then queue behind).
 */
#ifndef SAMARA_CORE_LOCK_H
#define SAMARA_CORE_LOCK_H

#include "core/base/base.h"
#include "samara/abi.h"
#include "samara/port.h"

#define LOCK_WRITER 0x80000000u

struct rwlock {
	uint32_t state;
	uint32_t waiters;
	uint32_t turn; /* writers that wait */
};

SAMARA_INTERNAL int lock_read_slow(struct rwlock *lock, const struct samara_port *port, int killable);
SAMARA_INTERNAL int lock_write_slow(struct rwlock *lock, const struct samara_port *port, int killable);
SAMARA_INTERNAL void lock_wake_slow(struct rwlock *lock, const struct samara_port *port);

static inline int lock_write(struct rwlock *lock, const struct samara_port *port, int killable)
{
	uint32_t seen = 0;

	if (!port->wait) {
		ASSERT(lock->state == 0);
		lock->state = LOCK_WRITER;
		return 0;
	}
	if (LIKELY(__atomic_compare_exchange_n(&lock->state, &seen, LOCK_WRITER, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		return 0;
	return lock_write_slow(lock, port, killable);
}

static inline int lock_read(struct rwlock *lock, const struct samara_port *port, int killable)
{
	uint32_t seen = LOAD(lock->state);

	if (!port->wait) {
		ASSERT(!(lock->state & LOCK_WRITER));
		lock->state++;
		return 0;
	}
	if (LIKELY(!(seen & LOCK_WRITER) && LOAD(lock->turn) == 0 &&
		   __atomic_compare_exchange_n(&lock->state, &seen, seen + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		return 0;
	return lock_read_slow(lock, port, killable);
}

/* Frees one hold of either kind. */
static inline void lock_release(struct rwlock *lock, const struct samara_port *port, uint32_t hold)
{
	if (!port->wait) {
		ASSERT(lock->state >= hold);
		lock->state -= hold;
		return;
	}
	/* sequentially consistent against a waiter's increment of `waiters` followed by its look at state */
	if (UNLIKELY(__atomic_sub_fetch(&lock->state, hold, __ATOMIC_SEQ_CST) == 0 &&
		     __atomic_load_n(&lock->waiters, __ATOMIC_SEQ_CST)))
		lock_wake_slow(lock, port);
	OTHERS_MAY_COME();
}

static inline void lock_write_unlock(struct rwlock *lock, const struct samara_port *port)
{
	lock_release(lock, port, LOCK_WRITER);
}

static inline void lock_read_unlock(struct rwlock *lock, const struct samara_port *port)
{
	lock_release(lock, port, 1);
}

static inline void lock_downgrade(struct rwlock *lock, const struct samara_port *port)
{
	if (!port->wait) {
		ASSERT(lock->state == LOCK_WRITER);
		lock->state = 1;
		return;
	}
	__atomic_store_n(&lock->state, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&lock->waiters, __ATOMIC_SEQ_CST))
		lock_wake_slow(lock, port);
	OTHERS_MAY_COME();
}

#endif
