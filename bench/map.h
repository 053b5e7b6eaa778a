/* map.h - what the files of bench-map and bench-memory share: worlds, their calls, the table of rows. */
#ifndef SAMARA_BENCH_MAP_H
#define SAMARA_BENCH_MAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "samara/samara.h"

#define PAGE 4096ul
#define AREA 0x100000000000ul /* where the other VMAs stand: far from what the kernel chooses */
#define STRIDE (4 * PAGE)     /* one page mapped, three free */
#define REPEATS 15
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

enum world_kind { WORLD_POSIX, WORLD_SINGLE, WORLD_KERNEL, WORLDS };

struct world {
	enum world_kind kind;
	struct samara *vm;
	struct samara_mm *mm;
	int maps; /* the kernel's: /proc/self/maps */
};

/* -- map_report.c: one table, filled by three processes in shared memory -- */

struct row {
	char name[48];
	const char *unit; /* literals: the same address in every process */
	long n;
	double ship, stretch, kernel_then;
	double floor;      /* what no library can go below, measured in the same run; 0: none */
	bool of_floor;     /* ship and stretch are multiples of it */
	bool more_is_better;
	double value[WORLDS]; /* 0: not measured there */
};

struct results {
	struct row rows[64];
	int count;
	int turn; /* step * WORLDS + world */
};
extern struct results *results;

/* Rows are added by every world in the same order; a value of 0 was not measured there. */
void add(const struct world *w, const char *name, long n, double value, double ship, double stretch, double then,
	const char *unit);
/* The row added last: its floor. */
void add_floor(double floor, bool targets_are_multiples);
void print_table(void);
void print_json(const char *bench);
double median(double *values, int count);
extern volatile uint64_t sink; /* what was computed counts as used */

/* -- worlds.c: the three processes -- */

struct bench {
	const char *name;
	int steps;
	void (*make)(struct world *w); /* whatever its steps need */
	void (*step)(const struct world *w, int which);
};
int worlds_main(int argc, char **argv, const struct bench *bench); /* --json: one object; a number: that step only */
void worlds_one_cpu(void);  /* the usual */
void worlds_all_cpus(void); /* rows of two threads */

/* -- map_threads.c -- */

struct lane {
	const struct world *w;
	struct samara_mm *mm;
	void (*work)(struct lane *lane, const struct world *w);
	void *gate;
	uint64_t at;
	int count;
	double from, until;
};

void bench_threads(const struct world *w);
/* Medians of the rate of two lanes over that of one: in one address space, and each in a space of its own when `own` is
 * not NULL. */
void threads_ratios(const struct world *w, void (*work)(struct lane *lane, const struct world *w), int count, double *same, double *own);
void lane_map_touch_unmap(struct lane *lane, const struct world *w);
void lane_arithmetic(struct lane *lane, const struct world *w);

/* -- clocks, numbers -- */

static inline double clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static inline double now_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static inline uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed * 0x2545f4914f6cdd1dull) >> 16;
}

static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	_exit(1);
}

/* -- the calls of a world -- */

static inline uint64_t w_map(const struct world *w, uint64_t addr, uint64_t length, int prot, int flags)
{
	int64_t at = w->kind == WORLD_KERNEL ? syscall(SYS_mmap, addr, length, prot, flags, -1, 0) :
		     samara_mmap(w->mm, addr, length, (uint64_t)prot, (uint64_t)flags, NULL, 0);

	if (at < 0)
		die("mmap failed");
	return (uint64_t)at;
}

static inline void w_unmap(const struct world *w, uint64_t addr, uint64_t length)
{
	if (w->kind == WORLD_KERNEL ? syscall(SYS_munmap, addr, length) : samara_munmap(w->mm, addr, length))
		die("munmap failed");
}

static inline void w_protect(const struct world *w, uint64_t addr, uint64_t length, int prot)
{
	if (w->kind == WORLD_KERNEL ? syscall(SYS_mprotect, addr, length, prot) :
	    samara_mprotect(w->mm, addr, length, (uint64_t)prot))
		die("mprotect failed");
}

static inline void w_touch(const struct world *w, uint64_t addr)
{
	if (w->kind == WORLD_KERNEL)
		*(volatile char *)(uintptr_t)addr = 1;
	else if (samara_touch(w->mm, addr, 1))
		die("touch failed");
}

#endif
