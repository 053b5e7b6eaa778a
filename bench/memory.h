/* memory.h - what the files of bench-memory share: accesses of a world, their clock, the rows. */
#ifndef SAMARA_BENCH_MEMORY_H
#define SAMARA_BENCH_MEMORY_H

#include <stdlib.h>
#include <sys/types.h>

#include "bench/map.h"

#define MIB (1ul << 20)
#define COLD_PAGES 65536l  /* 256 MiB: more than any cache has */
#define WARM_PAGES 16384l  /* 64 MiB */
#define HOT_PAGES 64l      /* 256 KiB: the frames stay in a processor's own caches, and in samara's stack of them */
#define SPAN_PAGES (3 * COLD_PAGES) /* the machine's memory */
#define FEW 7              /* repetitions of what takes long */

/* -- memory.c -- */

extern char *floor_room;   /* as much host memory as the cold rows use, touched: where floors are measured */
extern double clock_cost;  /* of reading the clock once: a system call */

/* A copy of the space: samara's, or the kernel's in a process that waits. */
struct copy {
	struct samara_mm *mm;
	pid_t pid;
};
struct copy w_fork(const struct world *w, double *ns); /* *ns: what the call took the one who made it */
void w_gone(const struct world *w, struct copy copy);
uint64_t *random_order(long n); /* freed by the caller */

/* Thread CPU time since `from`, which now_ns() gave. */
static inline double since(double from)
{
	return now_ns() - from - clock_cost;
}

/* The access misses: what answering it takes.  The kernel cannot be asked without the access. */
static inline void w_fault(const struct world *w, uint64_t addr, unsigned access)
{
	if (w->kind != WORLD_KERNEL) {
		if (samara_fault(w->mm, addr, access, NULL))
			die("fault failed");
	} else if (access == SAMARA_WRITE) {
		*(volatile char *)(uintptr_t)addr = 1;
	} else {
		(void)*(volatile char *)(uintptr_t)addr;
	}
}

static inline void w_advise(const struct world *w, uint64_t addr, uint64_t length, int advice)
{
	if (w->kind == WORLD_KERNEL ? syscall(SYS_madvise, addr, length, advice) : samara_madvise(w->mm, addr, length, advice))
		die("madvise failed");
}

static inline void w_populate(const struct world *w, uint64_t addr, uint64_t length)
{
	w_advise(w, addr, length, SAMARA_MADV_POPULATE_WRITE);
}

/* Private anonymous memory at AREA. */
static inline void w_area(const struct world *w, uint64_t addr, long pages)
{
	w_map(w, addr, (uint64_t)pages * PAGE, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED | MAP_NORESERVE);
}

/* -- memory_faults.c -- */

void bench_fault_hot(const struct world *w);
void bench_fault_cold(const struct world *w);
void bench_fault_random(const struct world *w);
void bench_fault_zero(const struct world *w);
void bench_fault_file(const struct world *w);
void bench_cow_reuse(const struct world *w);
void bench_cow_hot(const struct world *w);
void bench_cow_cold(const struct world *w);
void bench_populate(const struct world *w);
void bench_hits(const struct world *w);

/* -- memory_ranges.c -- */

void bench_dontneed(const struct world *w);
void bench_unmap(const struct world *w);
void bench_mprotect(const struct world *w);
void bench_mremap(const struct world *w);
void bench_mincore(const struct world *w);
void bench_fork_pages(const struct world *w);
void bench_fork_vmas(const struct world *w);
void bench_memory_threads(const struct world *w);

#endif
