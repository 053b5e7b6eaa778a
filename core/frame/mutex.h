/* mutex.h - a lock of one word, for the buddy lists, a page of a page table, the index of a file, which are held for
 * less than a microsecond; and a page of a file, which is held while it is read or written.
 *
 * The word is 0 (free), 1 (held) or 2 (held, and somebody may sleep on it).  Nobody waiting: one atomic operation to
 * take it and one to give it back, inline, without the port.  A port without `wait` promises one thread: then the
 * word is plain memory, and finding it held is a deadlock with oneself, which traps.
 */
#ifndef SAMARA_CORE_MUTEX_H
#define SAMARA_CORE_MUTEX_H

#include "core/base/base.h"
#include "samara/port.h"

SAMARA_INTERNAL int mutex_lock_slow(uint32_t *word, const struct samara_port *port, int killable);

/* 0; when killable also -EINTR: the port gave the wait up, and the lock is not held. */
static inline int mutex_lock_killable(uint32_t *word, const struct samara_port *port, int killable)
{
	uint32_t seen = 0;

	if (!port->wait) {
		ASSERT(*word == 0);
		*word = 1;
		return 0;
	}
	if (UNLIKELY(!__atomic_compare_exchange_n(word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		return mutex_lock_slow(word, port, killable);
	return 0;
}

static inline void mutex_lock(uint32_t *word, const struct samara_port *port)
{
	(void)mutex_lock_killable(word, port, 0);
}

static inline void mutex_unlock(uint32_t *word, const struct samara_port *port)
{
	if (!port->wait) {
		ASSERT(*word == 1);
		*word = 0;
		return;
	}
	if (UNLIKELY(__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2))
		port->wake(port->self, word, 1);
	OTHERS_MAY_COME();
}

#endif
