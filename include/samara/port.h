/* port.h - everything that samara needs of its host, in one struct.
 *
 * An embedder fills one `struct samara_port` and hands it to samara_create(), which copies it.  `self` is passed
 * back as the first argument of every call.  The struct grows at its end only: `size` is what the embedder
 * was compiled with, and members beyond it count as absent.  An absent (NULL) optional member means
 * what its comment says.  Hot paths do not come here: an uncontended lock, a lookup, a recycled VMA or tree
 * node are plain memory operations inside the core.
 *
 * Ready-made ports: ports/posix (threads, liburcu), ports/sim (one thread, deterministic, fails the n-th
 * call on demand); ports/template is the empty form to fill in.
 */
#ifndef SAMARA_PORT_H
#define SAMARA_PORT_H

#include <stddef.h>
#include <stdint.h>

/* The link of an object that waits for a grace period; lives inside the object. */
struct samara_rcu_head {
	struct samara_rcu_head *next;
	void (*reclaim)(struct samara_rcu_head *head);
	void *room[2]; /* for the port: liburcu's own head fits over next and reclaim */
};

struct samara_mm;

/* One entry of a page table, as it was.  The low 12 bits of `addr`: the level (0: 4 KiB, 1: 2 MiB, 2: 1 GiB) and
 * SAMARA_CHANGE_ bits; neither bit: the entry is gone. */
struct samara_entry_change {
	uint64_t addr, old;
};
#define SAMARA_CHANGE_LEVEL 7u
#define SAMARA_CHANGE_KEPT 8u   /* it still stands, with fewer rights */
#define SAMARA_CHANGE_MOVED 16u /* it stands at another address now */

struct samara_port {
	size_t size; /* sizeof(struct samara_port) of the caller */
	void *self;

	/* Metadata memory: VMAs, tree nodes, names.  `bytes` is never 0, the result is aligned to 64 bytes, NULL is
	 * "no memory now" and becomes -ENOMEM (or a retry) before anything was changed.  Must not sleep on a lock
	 * that a samara call may hold.  Both required. */
	void *(*alloc)(void *self, size_t bytes);
	void (*free)(void *self, void *memory, size_t bytes);

	/* Sleeping and waking, the shape of futex(2).  wait: if *word still equals `seen`, sleep until a wake on the
	 * same word (or return early, for any reason: callers look again).  With `killable`, and when the thread is to
	 * end, it returns -EINTR: the wait is given up, and the call that waited returns -EINTR or what it has done so
	 * far.  Otherwise 0.  wake: wake up to `count` sleepers.
	 * Both absent: one thread at a time uses the machine, and a lock found taken is a panic. */
	int (*wait)(void *self, uint32_t *word, uint32_t seen, int killable);
	void (*wake)(void *self, uint32_t *word, int count);

	/* Readers without locks.  Between read_lock and read_unlock memory passed to `defer` later is not reclaimed.
	 * defer: call head->reclaim(head) once every reader that may see the object is gone; must not call it from
	 * within defer itself if a reader can be running on this thread.  All absent: defer reclaims at once, which is
	 * right for one thread only: a port with `wait` has them. */
	void (*read_lock)(void *self);
	void (*read_unlock)(void *self);
	void (*defer)(void *self, struct samara_rcu_head *head, void (*reclaim)(struct samara_rcu_head *head));
	/* Wait until everything deferred so far was reclaimed; called by samara_destroy(). */
	void (*barrier)(void *self);

	/* Random bits for placements that Linux randomises (MAP_32BIT, the base of mappings).  Absent: zero, which
	 * is what ADDR_NO_RANDOMIZE gives. */
	uint64_t (*random)(void *self);

	/* A line for the embedder's log, without a newline; absent: silent. */
	void (*log)(void *self, const char *line);

	/* An invariant is broken: say so and do not return.  Absent: the core executes a trap instruction. */
	void (*panic)(void *self, const char *file, int line, const char *what);

	/* A small number that differs between threads (or processors) that run at the same time: it chooses which of
	 * the machine's frame caches and counters a call uses, and any number is right.  Absent: 0. */
	unsigned (*cpu)(void *self);

	/* Translations of [start, end) in `mm` that were handed out or cached before (by a software TLB, a guest's
	 * processor) may not be used any more once this returned.  Called with locks held: it must not call samara.
	 * Absent: nobody caches any, or looks at samara_generation() before each use. */
	void (*invalidate)(void *self, struct samara_mm *mm, uint64_t start, uint64_t end);
	/* The journal for engines that keep a shadow of the page table: entries that went, lost rights or moved, before
	 * their frames are used for anything else.  Called after `invalidate`, under the same conditions.  Absent: no
	 * journal is kept. */
	void (*changed)(void *self, struct samara_mm *mm, const struct samara_entry_change *changes, unsigned count);

	/* PKRU of the thread that calls samara: its rights of protection keys (samara_pkru()).  Called with locks held,
	 * when a page has a key other than 0: must not call samara.  A thread that another creates begins with the
	 * other's; a program with 0x55555554.  Both absent: each space has one for all that run in it. */
	uint32_t (*pkru)(void *self);
	void (*set_pkru)(void *self, uint32_t pkru);

	/* Not 0: the thread that calls samara is to end (Linux: a fatal signal is pending).  What takes long asks at each
	 * page or mapping, and stops with -EINTR or with what it has done so far: populating, mlock, pins and copies,
	 * samara_file_read and _write, fork.  Called with locks held; must not call samara.  Absent: no thread is. */
	int (*fatal_signal_pending)(void *self);
};

#endif
