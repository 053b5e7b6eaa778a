/* posix.c - the POSIX port (posix.h): memory from malloc, sleep by futex, RCU by liburcu, random bits from the kernel.
 *
 * liburcu is used in its "memb" flavour: read sections are a few plain instructions, any thread may open one after it
 * was registered.  call_rcu reclaims on liburcu's own helper thread.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define RCU_MEMB
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

#include "ports/posix/posix.h"

_Static_assert(sizeof(struct rcu_head) <= sizeof(struct samara_rcu_head), "liburcu's head must fit");

static void *posix_alloc(void *self, size_t bytes)
{
	(void)self;
	return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
}

static void posix_free(void *self, void *memory, size_t bytes)
{
	(void)self;
	(void)bytes;
	free(memory);
}

static __thread volatile sig_atomic_t fatal_signal;

void samara_posix_set_fatal_signal(int pending)
{
	fatal_signal = pending != 0;
}

static int posix_fatal_signal_pending(void *self)
{
	(void)self;
	return fatal_signal;
}

static int posix_wait(void *self, uint32_t *word, uint32_t seen, int killable)
{
	/* a handler may run just before the system call, and then nothing would wake the thread: it looks again */
	const struct timespec while_killable = { .tv_nsec = 100000000 };

	(void)self;
	if (killable && fatal_signal)
		return -EINTR;
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, killable ? &while_killable : NULL, NULL, 0);
	return killable && fatal_signal ? -EINTR : 0;
}

static void posix_wake(void *self, uint32_t *word, int count)
{
	(void)self;
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Registration lives as long as the thread. */
static __thread int reader_registered;
static pthread_key_t reader_key;
static pthread_once_t reader_once = PTHREAD_ONCE_INIT;

static void reader_leaves(void *unused)
{
	(void)unused;
	reader_registered = 0;
	urcu_memb_unregister_thread();
}

static void reader_setup(void)
{
	pthread_key_create(&reader_key, reader_leaves);
}

static void posix_read_lock(void *self)
{
	(void)self;
	if (__builtin_expect(!reader_registered, 0)) {
		pthread_once(&reader_once, reader_setup);
		urcu_memb_register_thread();
		pthread_setspecific(reader_key, &reader_registered);
		reader_registered = 1;
	}
	urcu_memb_read_lock();
}

static void posix_read_unlock(void *self)
{
	(void)self;
	urcu_memb_read_unlock();
}

/* How often something was reclaimed: what a barrier waited for happened before it returns, in a way that sanitizers
 * see, too. */
static unsigned long reclaimed;

/* liburcu's head lies over ours; our reclaim is kept in the last word of the room. */
static void posix_reclaim(struct rcu_head *head)
{
	struct samara_rcu_head *ours = (struct samara_rcu_head *)(void *)head;
	void *reclaim = __atomic_load_n(&ours->room[1], __ATOMIC_ACQUIRE);

	((void (*)(struct samara_rcu_head *))reclaim)(ours);
	__atomic_add_fetch(&reclaimed, 1, __ATOMIC_RELEASE);
}

static void posix_defer(void *self, struct samara_rcu_head *head, void (*reclaim)(struct samara_rcu_head *head))
{
	(void)self;
	/* with the acquire in posix_reclaim: the order that liburcu's queue gives anyway, where sanitizers can see
	 * it */
	__atomic_store_n(&head->room[1], (void *)reclaim, __ATOMIC_RELEASE);
	urcu_memb_call_rcu((struct rcu_head *)(void *)head, posix_reclaim);
}

static void posix_barrier(void *self)
{
	(void)self;
	urcu_memb_barrier();
	(void)__atomic_load_n(&reclaimed, __ATOMIC_ACQUIRE);
}

static uint64_t posix_random(void *self)
{
	uint64_t bits = 0;

	(void)self;
	if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		return 0;
	return bits;
}

static void posix_log(void *self, const char *line)
{
	(void)self;
	fprintf(stderr, "samara: %s\n", line);
}

static void posix_panic(void *self, const char *file, int line, const char *what)
{
	(void)self;
	fprintf(stderr, "samara: panic at %s:%d: %s\n", file, line, what);
	abort();
}

/* Threads are numbered as they come. */
static unsigned posix_cpu(void *self)
{
	static unsigned last;
	static __thread unsigned mine;

	(void)self;
	if (__builtin_expect(!mine, 0))
		mine = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
	return mine - 1;
}

const struct samara_port *samara_posix_port(void)
{
	static const struct samara_port port = {
		.size = sizeof(port),
		.alloc = posix_alloc,
		.free = posix_free,
		.wait = posix_wait,
		.wake = posix_wake,
		.read_lock = posix_read_lock,
		.read_unlock = posix_read_unlock,
		.defer = posix_defer,
		.barrier = posix_barrier,
		.random = posix_random,
		.log = posix_log,
		.cpu = posix_cpu,
		.panic = posix_panic,
		.fatal_signal_pending = posix_fatal_signal_pending,
	};

	return &port;
}

const struct samara_port *samara_posix_single_port(void)
{
	static const struct samara_port port = {
		.size = sizeof(port),
		.alloc = posix_alloc,
		.free = posix_free,
		.random = posix_random,
		.log = posix_log,
		.panic = posix_panic,
		.fatal_signal_pending = posix_fatal_signal_pending,
	};

	return &port;
}
