/* memory_ranges.c - rows of calls on ranges of touched pages, fork, and two threads. */
#define _GNU_SOURCE
#include <string.h>

#include "bench/memory.h"

#define WARM_BYTES (WARM_PAGES * PAGE)

/* Copying an entry: 512 words of 8 bytes at a time, from page to page of 32 that take turns. */
static double floor_entry(const struct world *w)
{
	double ns[FEW];

	if (w->kind != WORLD_POSIX)
		return 0;
	for (int r = 0; r < FEW; r++) {
		double from = now_ns();

		for (int i = 0; i < 2000; i++) {
			char *page = floor_room + (uint64_t)(i % 32) * PAGE;

			memcpy(page, page + 32 * PAGE, PAGE);
			__asm__ volatile("" : : "r"(page) : "memory");
		}
		ns[r] = since(from) / 2000 / 512;
	}
	return median(ns, FEW);
}

void bench_dontneed(const struct world *w)
{
	double ns[FEW];

	w_area(w, AREA, WARM_PAGES);
	for (int r = 0; r < FEW; r++) {
		double from;

		w_populate(w, AREA, WARM_BYTES);
		from = now_ns();
		w_advise(w, AREA, WARM_BYTES, MADV_DONTNEED);
		ns[r] = since(from) / WARM_PAGES;
	}
	w_unmap(w, AREA, WARM_BYTES);
	add(w, "MADV_DONTNEED, a touched page", WARM_PAGES, median(ns, FEW), 12, 6, 269, "ns");
	add_floor(floor_entry(w), false);
}

void bench_unmap(const struct world *w)
{
	double ns[FEW];

	for (int r = 0; r < FEW; r++) {
		double from;

		w_area(w, AREA, WARM_PAGES);
		w_populate(w, AREA, WARM_BYTES);
		from = now_ns();
		w_unmap(w, AREA, WARM_BYTES);
		ns[r] = since(from) / WARM_PAGES;
	}
	add(w, "munmap, a touched page", WARM_PAGES, median(ns, FEW), 12, 6, 251, "ns");
	add_floor(floor_entry(w), false);
}

/* Every page is written to before its right to be written to goes. */
void bench_mprotect(const struct world *w)
{
	double less[FEW], more[FEW];

	w_area(w, AREA, WARM_PAGES);
	w_populate(w, AREA, WARM_BYTES);
	for (int r = 0; r < FEW; r++) {
		double from = now_ns();

		w_protect(w, AREA, WARM_BYTES, PROT_READ);
		less[r] = since(from) / WARM_PAGES;
		from = now_ns();
		w_protect(w, AREA, WARM_BYTES, PROT_READ | PROT_WRITE);
		more[r] = since(from) / WARM_PAGES;
		for (long i = 0; i < WARM_PAGES; i++)
			w_fault(w, AREA + (uint64_t)i * PAGE, SAMARA_WRITE);
	}
	w_unmap(w, AREA, WARM_BYTES);
	add(w, "mprotect to read, a touched page", WARM_PAGES, median(less, FEW), 1.5, 0.5, 82, "ns");
	add_floor(floor_entry(w), false);
	add(w, "mprotect to write, a touched page", WARM_PAGES, median(more, FEW), 1.5, 0.5, 82, "ns");
	add_floor(floor_entry(w), false);
}

static double move_pages(const struct world *w, uint64_t to)
{
	double ns[FEW];

	w_area(w, AREA, WARM_PAGES);
	w_populate(w, AREA, WARM_BYTES);
	for (int r = 0; r < FEW; r++) {
		uint64_t ends[2] = { AREA, to };
		double from = now_ns();

		for (int i = 0; i < 2; i++) {
			uint64_t old = ends[i], new = ends[!i];
			int64_t at = w->kind == WORLD_KERNEL ?
				syscall(SYS_mremap, old, WARM_BYTES, WARM_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, new) :
				samara_mremap(w->mm, old, WARM_BYTES, WARM_BYTES, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, new);

			if ((uint64_t)at != new)
				die("mremap failed");
		}
		ns[r] = since(from) / WARM_PAGES / 2;
	}
	w_unmap(w, AREA, WARM_BYTES);
	return median(ns, FEW);
}

void bench_mremap(const struct world *w)
{
	add(w, "mremap, aligned alike, a touched page", WARM_PAGES, move_pages(w, AREA + 4 * WARM_BYTES), 2, 0.01, 13.1, "ns");
	add_floor(floor_entry(w), false);
	add(w, "mremap, not aligned, a touched page", WARM_PAGES, move_pages(w, AREA + 4 * WARM_BYTES + PAGE), 2, 0, 13.1, "ns");
	add_floor(floor_entry(w), false);
}

void bench_mincore(const struct world *w)
{
	static unsigned char vec[WARM_PAGES];
	double ns[FEW];

	w_area(w, AREA, WARM_PAGES);
	w_populate(w, AREA, WARM_BYTES);
	for (int r = 0; r < FEW; r++) {
		double from = now_ns();

		if (w->kind == WORLD_KERNEL ? syscall(SYS_mincore, AREA, WARM_BYTES, vec) : samara_mincore(w->mm, AREA, WARM_BYTES, vec))
			die("mincore failed");
		ns[r] = since(from) / WARM_PAGES;
		sink += vec[r];
	}
	w_unmap(w, AREA, WARM_BYTES);
	add(w, "mincore, a touched page", WARM_PAGES, median(ns, FEW), 1.0, 0.4, 0.9, "ns");
	add_floor(floor_entry(w), false);
}

void bench_fork_pages(const struct world *w)
{
	double ns[FEW];

	w_area(w, AREA, WARM_PAGES);
	for (int r = 0; r < FEW; r++) {
		w_populate(w, AREA, WARM_BYTES);
		for (long i = 0; i < WARM_PAGES; i++)
			w_fault(w, AREA + (uint64_t)i * PAGE, SAMARA_WRITE);
		w_gone(w, w_fork(w, &ns[r]));
		ns[r] /= WARM_PAGES;
	}
	w_unmap(w, AREA, WARM_BYTES);
	add(w, "fork, a touched page of one VMA", WARM_PAGES, median(ns, FEW), 8, 0.3, 80, "ns");
	add_floor(floor_entry(w), false);
}

void bench_fork_vmas(const struct world *w)
{
	enum { VMAS = 10000, WARM_UP = 8 };
	double us[FEW], ignored;

	for (long i = 0; i < VMAS; i++)
		w_area(w, AREA + (uint64_t)i * STRIDE, 1);
	/* the first ones find neither slabs (the kernel) nor a heap (malloc, fed by liburcu's thread) that has room for a child */
	for (int r = -WARM_UP; r < FEW; r++) {
		for (long i = 0; i < VMAS; i++)
			w_fault(w, AREA + (uint64_t)i * STRIDE, SAMARA_WRITE);
		w_gone(w, w_fork(w, r < 0 ? &ignored : &us[r]));
		if (r >= 0)
			us[r] /= 1000;
	}
	w_unmap(w, AREA, VMAS * STRIDE);
	add(w, "fork, VMAs with one touched page each", VMAS, median(us, FEW), 900, 50, 13700, "us");
}

/* Faults in an area of one's own; giving the pages back is part of it. */
static void lane_faults(struct lane *lane, const struct world *w)
{
	w_area(w, lane->at, HOT_PAGES);
	w_fault(w, lane->at, SAMARA_WRITE);
	lane->from = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < lane->count; i += HOT_PAGES) {
		for (long page = 0; page < HOT_PAGES; page++)
			w_fault(w, lane->at + (uint64_t)page * PAGE, SAMARA_WRITE);
		w_advise(w, lane->at, HOT_PAGES * PAGE, MADV_DONTNEED);
	}
	lane->until = clock_ns(CLOCK_MONOTONIC);
	w_unmap(w, lane->at, HOT_PAGES * PAGE);
}

void bench_memory_threads(const struct world *w)
{
	double faults = 0, own_faults = 0, same = 0, own = 0, idle = 0;
	int count = w->kind == WORLD_KERNEL ? 1920 : 64000;

	if (w->kind != WORLD_SINGLE) {
		threads_ratios(w, lane_faults, count, &faults, &own_faults);
		threads_ratios(w, lane_map_touch_unmap, count / 3, &same, &own);
		threads_ratios(w, lane_arithmetic, count, &idle, NULL);
	}
	add(w, "two threads, faults, one space, 2T/1T", 2, faults, 1.8, 1.95, 0, "x");
	add(w, "two threads, faults, own spaces, 2T/1T", 2, own_faults, 1.8, 1.95, 0, "x");
	add(w, "map+touch+unmap, one space, 2T/1T", 2, same, 1.1, 1.6, 0.56, "x");
	add(w, "map+touch+unmap, own spaces, 2T/1T", 2, own, 1.1, 1.6, 0, "x");
	add(w, "arithmetic only, 2T/1T", 2, idle, 0, 0, 0, "x");
}
