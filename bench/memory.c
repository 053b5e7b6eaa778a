/* memory.c - memory beside the running kernel's own: faults, copies, ranges of touched pages.
 *
 * Built like bench-map (map.c): three worlds take turns, each in a process of its own; figures are thread CPU time in
 * ns a page unless the row says otherwise, medians of several repetitions; "scaled" and the verdicts are explained
 * there.  The kernel runs without huge pages.  A fault row times samara_fault, and for the kernel the access that
 * misses.
 *
 * "floor" is what the row cannot go below, measured in the same run by the first world: writing or copying the page's
 * bytes (4 KiB, hot or cold as the row), or copying an entry of 8 bytes in runs of 512, or a walk of a table of four
 * levels.  The host memory under the frames was written to before, and its bytes are not known to be zero.  malloc
 * keeps what it was given back (M_TRIM_THRESHOLD), as the kernel keeps its slabs: else a fork after an exit measures
 * the host's page faults.  Arguments as bench-map.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bench/memory.h"
#include "ports/posix/posix.h"

char *floor_room;
double clock_cost;

struct copy w_fork(const struct world *w, double *ns)
{
	struct copy copy = { 0 };
	double from = now_ns();

	if (w->kind == WORLD_KERNEL) {
		copy.pid = (pid_t)syscall(SYS_fork);
		if (!copy.pid)
			for (;;)
				pause();
		if (copy.pid < 0)
			die("fork failed");
	} else if (samara_fork(w->mm, &copy.mm)) {
		die("fork failed");
	}
	*ns = since(from);
	return copy;
}

void w_gone(const struct world *w, struct copy copy)
{
	if (w->kind != WORLD_KERNEL) {
		samara_mm_put(copy.mm);
	} else {
		kill(copy.pid, SIGKILL);
		waitpid(copy.pid, NULL, 0);
	}
}

uint64_t *random_order(long n)
{
	uint64_t *order = malloc((size_t)n * sizeof(*order)), seed = 88172645463325252ull;

	if (!order)
		die("no memory");
	for (long i = 0; i < n; i++)
		order[i] = (uint64_t)i;
	for (long i = n - 1; i > 0; i--) {
		long j = (long)(random_next(&seed) % (uint64_t)(i + 1));
		uint64_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
	return order;
}

static void (*const steps[])(const struct world *w) = {
	bench_fault_hot, bench_fault_cold, bench_fault_random, bench_fault_zero, bench_fault_file, bench_cow_reuse, bench_cow_hot,
	bench_cow_cold, bench_populate, bench_dontneed, bench_unmap, bench_mprotect, bench_mremap, bench_mincore, bench_fork_pages,
	bench_fork_vmas, bench_hits, bench_memory_threads,
};

static void *touched(size_t bytes)
{
	char *room = mmap(NULL, bytes + 2 * MIB, PROT_READ | PROT_WRITE, PRIVATE, -1, 0);

	if (room == MAP_FAILED)
		die("no memory");
	room = (char *)(((uintptr_t)room + 2 * MIB - 1) & ~(2 * MIB - 1));
	madvise(room, bytes, MADV_HUGEPAGE);
	memset(room, 0x5a, bytes);
	return room;
}

static void make_machine(struct world *w)
{
	struct samara_config config = { .size = sizeof(config), .total_pages = 4 * SPAN_PAGES, .max_map_count = 2000000,
		.memory_pages = SPAN_PAGES, .memory = touched(SPAN_PAGES * PAGE) };

	if (samara_create(w->kind == WORLD_POSIX ? samara_posix_port() : samara_posix_single_port(), &config, &w->vm) ||
	    samara_mm_create(w->vm, NULL, &w->mm))
		die("no machine");
}

static void clock_calibrate(void)
{
	double cost[101];

	for (int i = 0; i < 101; i++) {
		double from = now_ns();

		cost[i] = now_ns() - from;
	}
	clock_cost = median(cost, 101);
}

static void make(struct world *w)
{
	clock_calibrate();
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	if (w->kind == WORLD_KERNEL)
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	else
		make_machine(w);
	if (w->kind == WORLD_POSIX)
		floor_room = touched(2 * COLD_PAGES * PAGE);
}

static void step(const struct world *w, int which)
{
	steps[which](w);
}

int main(int argc, char **argv)
{
	const struct bench bench = { "memory", sizeof(steps) / sizeof(*steps), make, step };

	return worlds_main(argc, argv, &bench);
}
