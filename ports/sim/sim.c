/* sim.c - the deterministic port (sim.h).
 *
 * Every block remembers its size in front of it, so that a free with another size is found; freed memory is
 * overwritten, so that a use after free shows even without a sanitizer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/sim/sim.h"

#define HEADER 64

static void *sim_alloc(void *self, size_t bytes)
{
	struct sim *sim = self;
	unsigned char *block;

	sim->allocations++;
	if ((sim->fail_at && --sim->fail_at == 0) || (sim->fail_all_after && sim->failures)) {
		sim->failures++;
		return NULL;
	}
	block = aligned_alloc(64, HEADER + ((bytes + 63) & ~(size_t)63));
	if (!block)
		return NULL;
	memcpy(block, &bytes, sizeof(bytes));
	memset(block + HEADER, 0xa5, bytes);
	sim->live_blocks++;
	sim->live_bytes += (int64_t)bytes;
	return block + HEADER;
}

static void sim_free(void *self, void *memory, size_t bytes)
{
	struct sim *sim = self;
	unsigned char *block = (unsigned char *)memory - HEADER;
	size_t was;

	memcpy(&was, block, sizeof(was));
	if (was != bytes) {
		fprintf(stderr, "sim: a block of %zu bytes is freed as %zu\n", was, bytes);
		abort();
	}
	memset(memory, 0x5a, bytes);
	sim->live_blocks--;
	sim->live_bytes -= (int64_t)bytes;
	free(block);
}

static void sim_read_lock(void *self)
{
	(void)self;
}

static void sim_read_unlock(void *self)
{
	(void)self;
}

static void sim_defer(void *self, struct samara_rcu_head *head, void (*reclaim)(struct samara_rcu_head *head))
{
	struct sim *sim = self;

	head->reclaim = reclaim;
	head->next = sim->deferred;
	sim->deferred = head;
}

void sim_quiesce(struct sim *sim)
{
	while (sim->deferred) {
		struct samara_rcu_head *head = sim->deferred;

		sim->deferred = head->next;
		head->reclaim(head);
	}
}

static void sim_barrier(void *self)
{
	sim_quiesce(self);
}

static uint64_t sim_random(void *self)
{
	struct sim *sim = self;

	/* xorshift: the same bits in every run */
	sim->random_state ^= sim->random_state << 13;
	sim->random_state ^= sim->random_state >> 7;
	sim->random_state ^= sim->random_state << 17;
	return sim->random_state;
}

static int sim_fatal_signal_pending(void *self)
{
	struct sim *sim = self;

	if (!sim->kill_at)
		return 0;
	if (sim->kill_at > 1) {
		sim->kill_at--;
		return 0;
	}
	sim->kills++;
	return 1;
}

static void sim_panic(void *self, const char *file, int line, const char *what)
{
	(void)self;
	fprintf(stderr, "sim: panic at %s:%d: %s\n", file, line, what);
	abort();
}

void sim_init(struct sim *sim)
{
	memset(sim, 0, sizeof(*sim));
	sim->random_state = 0x9e3779b97f4a7c15ull;
	sim->port = (struct samara_port){ .size = sizeof(sim->port), .self = sim, .alloc = sim_alloc, .free = sim_free,
		.read_lock = sim_read_lock, .read_unlock = sim_read_unlock, .defer = sim_defer, .barrier = sim_barrier,
		.random = sim_random, .panic = sim_panic, .fatal_signal_pending = sim_fatal_signal_pending };
}
