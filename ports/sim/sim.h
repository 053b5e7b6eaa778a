/* sim.h - the deterministic port: one thread, no host but malloc, fails the n-th allocation on demand, counts
 * everything.
 *
 *      struct sim sim;
 *      sim_init(&sim);
 *      sim.fail_at = 3;                  // the third allocation from now gives NULL
 *      samara_create(&sim.port, NULL, &vm);
 *
 * With fail_at counted up from 1 until a run has no failure, every allocation of a request is failed in turn.
 */
#ifndef SAMARA_PORTS_SIM_H
#define SAMARA_PORTS_SIM_H

#include "samara/port.h"

struct sim {
	struct samara_port port;
	uint64_t fail_at;       /* 0: never; counts down at each allocation, fails at 1 */
	int fail_all_after;     /* once failed, go on failing */
	uint64_t failures;      /* allocations that were failed */
	uint64_t allocations;   /* calls of alloc */
	int64_t live_blocks, live_bytes;
	uint64_t kill_at;       /* 0: never; counts down when samara asks for a fatal signal, there is one from 1 on */
	uint64_t kills;         /* how often the answer was yes */
	uint64_t random_state;
	struct samara_rcu_head *deferred; /* reclaimed by sim_quiesce or barrier */
};

void sim_init(struct sim *sim);
/* A moment without readers: everything deferred is reclaimed. */
void sim_quiesce(struct sim *sim);

#endif
