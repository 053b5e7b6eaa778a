/* worlds.c - the three processes of a benchmark: they take turns, step by step, on one processor.
 *
 * What slows the machine down for a while slows all three.  Neighbours slow one processor of a virtual machine and not
 * another, so rows of one thread are measured on the one that was fastest when the benchmark began, rows of two on all.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/map.h"
#include "ports/posix/posix.h"

#define TRIALS 20
#define TRIAL_BYTES 65536

static cpu_set_t all, fastest;

void worlds_all_cpus(void)
{
	(void)sched_setaffinity(0, sizeof(all), &all);
}

void worlds_one_cpu(void)
{
	(void)sched_setaffinity(0, sizeof(fastest), &fastest);
}

/* The least that it took this processor to fill a little memory. */
static double cpu_cost(int cpu)
{
	static char room[TRIAL_BYTES];
	cpu_set_t one;
	double best = 1e18;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return best;
	for (int trial = 0; trial < TRIALS; trial++) {
		double from = now_ns(), cost;

		for (int i = 0; i < 40; i++) {
			memset(room, i, sizeof(room));
			__asm__ volatile("" : : "r"(room) : "memory");
		}
		cost = now_ns() - from;
		best = cost < best ? cost : best;
	}
	return best;
}

static void choose_cpu(void)
{
	double best = 1e18;

	(void)sched_getaffinity(0, sizeof(all), &all);
	fastest = all;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		double cost = CPU_ISSET(cpu, &all) ? cpu_cost(cpu) : 1e18;

		if (cost < best) {
			best = cost;
			CPU_ZERO(&fastest);
			CPU_SET(cpu, &fastest);
		}
	}
	worlds_all_cpus();
}

static void reclaim_nothing(struct samara_rcu_head *head)
{
	(void)head;
}

/* liburcu's thread comes with the first thing that is deferred, and stays on the processors of who deferred it. */
static void start_helper(void)
{
	static struct samara_rcu_head head;
	const struct samara_port *port = samara_posix_port();

	port->defer(port->self, &head, reclaim_nothing);
	port->barrier(port->self);
}

static void run_world(const struct bench *bench, enum world_kind kind, int only)
{
	struct world w = { .kind = kind, .maps = -1 };

	if (kind == WORLD_POSIX)
		start_helper();
	worlds_one_cpu();
	bench->make(&w);
	for (int i = 0; i < bench->steps; i++) {
		while (__atomic_load_n(&results->turn, __ATOMIC_ACQUIRE) != i * WORLDS + (int)kind)
			usleep(500);
		if (only < 0 || i == only)
			bench->step(&w, i);
		__atomic_add_fetch(&results->turn, 1, __ATOMIC_RELEASE);
	}
}

int worlds_main(int argc, char **argv, const struct bench *bench)
{
	int only = argc > 1 && *argv[1] != '-' ? atoi(argv[1]) : -1, status;
	pid_t children[WORLDS];

	results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		return 1;
	choose_cpu();
	for (enum world_kind kind = 0; kind < WORLDS; kind++) {
		children[kind] = fork();
		if (!children[kind]) {
			run_world(bench, kind, only);
			_exit(0);
		}
		if (children[kind] < 0)
			return 1;
	}
	for (int i = 0; i < WORLDS; i++)
		if (wait(&status) < 0 || status) {
			for (int k = 0; k < WORLDS; k++)
				kill(children[k], SIGTERM); /* they would wait for their turn */
			return 1;
		}
	if (argc > 1 && !strcmp(argv[1], "--json"))
		print_json(bench->name);
	else
		print_table();
	return 0;
}
