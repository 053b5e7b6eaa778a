/* memory_faults.c - rows of single accesses: what a miss costs, what a hit costs. */
#define _GNU_SOURCE
#include <string.h>

#include "bench/memory.h"

enum floor_kind { FLOOR_ZERO, FLOOR_COPY };

/* Writing, or copying, `pages` pages of host memory in this order (NULL: ascending), a page. */
static double floor_pages(const struct world *w, enum floor_kind kind, long pages, int rounds, const uint64_t *order)
{
	double ns[FEW];

	if (w->kind != WORLD_POSIX)
		return 0;
	for (int r = 0; r < FEW; r++) {
		double from = now_ns();

		for (int round = 0; round < rounds; round++)
			for (long i = 0; i < pages; i++) {
				char *page = floor_room + (order ? order[i] : (uint64_t)i) * PAGE;

				if (kind == FLOOR_ZERO)
					memset(page, 0, PAGE);
				else
					memcpy(page, page + (uint64_t)pages * PAGE, PAGE);
				__asm__ volatile("" : : "r"(page) : "memory");
			}
		ns[r] = since(from) / (double)(pages * rounds);
	}
	return median(ns, FEW);
}

/* A walk of four levels, here and there: a few hot pages of a table. */
static double floor_walk(const struct world *w)
{
	uint64_t *tables = (uint64_t *)(void *)floor_room;
	double ns[FEW];
	uint64_t sum = 0;

	if (w->kind != WORLD_POSIX)
		return 0;
	for (unsigned level = 0; level < 4; level++)
		for (unsigned i = 0; i < 512; i++)
			tables[level * 512 + i] = (uintptr_t)(tables + (level + 1) * 512);
	for (int r = 0; r < FEW; r++) {
		double from = now_ns();

		for (uint64_t i = 0; i < 100000; i++) {
			const volatile uint64_t *at = tables;

			/* the next walk waits for this one */
			for (unsigned level = 0; level < 4; level++)
				at = (const volatile uint64_t *)(uintptr_t)at[((i + (sum & 1)) >> (27 - 9 * level)) & 511];
			sum += (uintptr_t)at;
		}
		ns[r] = since(from) / 100000;
	}
	sink += sum;
	return median(ns, FEW);
}

static double fault_all(const struct world *w, uint64_t at, long pages, unsigned access, const uint64_t *order)
{
	double from = now_ns();

	for (long i = 0; i < pages; i++)
		w_fault(w, at + (order ? order[i] : (uint64_t)i) * PAGE, access);
	return since(from) / (double)pages;
}

void bench_fault_hot(const struct world *w)
{
	double ns[REPEATS];
	int rounds = 100;

	w_area(w, AREA, HOT_PAGES);
	for (int r = 0; r < REPEATS; r++) {
		ns[r] = 0;
		for (int round = 0; round < rounds; round++) {
			ns[r] += fault_all(w, AREA, HOT_PAGES, SAMARA_WRITE, NULL) / rounds;
			w_advise(w, AREA, HOT_PAGES * PAGE, MADV_DONTNEED);
		}
	}
	w_unmap(w, AREA, HOT_PAGES * PAGE);
	add(w, "write fault, anonymous, hot", HOT_PAGES, median(ns, REPEATS), 120, 80, 1320, "ns");
	add_floor(floor_pages(w, FLOOR_ZERO, HOT_PAGES, 100, NULL), false);
}

void bench_fault_cold(const struct world *w)
{
	double ns[FEW];

	w_area(w, AREA, COLD_PAGES);
	for (int r = 0; r < FEW; r++) {
		ns[r] = fault_all(w, AREA, COLD_PAGES, SAMARA_WRITE, NULL);
		w_advise(w, AREA, COLD_PAGES * PAGE, MADV_DONTNEED);
	}
	w_unmap(w, AREA, COLD_PAGES * PAGE);
	add(w, "write fault, anonymous, cold, in order", COLD_PAGES, median(ns, FEW), 1.3, 1.1, 1320, "ns");
	add_floor(floor_pages(w, FLOOR_ZERO, COLD_PAGES, 1, NULL), true);
}

/* Random addresses, and random frames too: every other frame of the machine is in use, and the free ones came back in
 * no order, so there are no blocks to deal in order. */
void bench_fault_random(const struct world *w)
{
	uint64_t *order = random_order(COLD_PAGES), crumbs = AREA + (4ul << 30);
	double ns[FEW];
	long all = 0;

	w_area(w, AREA, COLD_PAGES);
	if (w->kind != WORLD_KERNEL) {
		struct samara_usage usage;

		samara_usage(w->vm, &usage);
		all = (long)usage.free_pages - 1024; /* some for page tables */
		w_area(w, crumbs, all);
		w_populate(w, crumbs, (uint64_t)all * PAGE);
		for (long i = 0; i < COLD_PAGES; i++)
			w_advise(w, crumbs + 2 * order[i] * PAGE, PAGE, MADV_DONTNEED);
	}
	for (int r = 0; r < FEW; r++) {
		ns[r] = fault_all(w, AREA, COLD_PAGES, SAMARA_WRITE, order);
		w_advise(w, AREA, COLD_PAGES * PAGE, MADV_DONTNEED);
	}
	w_unmap(w, AREA, COLD_PAGES * PAGE);
	if (all)
		w_unmap(w, crumbs, (uint64_t)all * PAGE);
	add(w, "write fault, anonymous, cold, random", COLD_PAGES, median(ns, FEW), 1.3, 1.1, 1470, "ns");
	add_floor(floor_pages(w, FLOOR_ZERO, COLD_PAGES, 1, order), true);
	free(order);
}

void bench_fault_zero(const struct world *w)
{
	double ns[FEW];

	w_area(w, AREA, WARM_PAGES);
	for (int r = 0; r < FEW; r++) {
		ns[r] = fault_all(w, AREA, WARM_PAGES, SAMARA_READ, NULL);
		w_advise(w, AREA, WARM_PAGES * PAGE, MADV_DONTNEED);
	}
	w_unmap(w, AREA, WARM_PAGES * PAGE);
	add(w, "read fault, page of zeroes", WARM_PAGES, median(ns, FEW), 60, 35, 682, "ns");
	add_floor(floor_walk(w), false);
}

/* Shared memory whose pages are there; mapped a second time, and let go of there.  Writing: a read fault maps 16 pages
 * at once. */
void bench_fault_file(const struct world *w)
{
	uint64_t bytes = WARM_PAGES * PAGE, other;
	double write[FEW], read[FEW];

	w_map(w, AREA, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
	w_populate(w, AREA, bytes);
	/* mremap of nothing: a second mapping of the same pages (mremap(2)) */
	other = AREA + 2 * bytes;
	if ((uint64_t)(w->kind == WORLD_KERNEL ?
		syscall(SYS_mremap, AREA, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, other) :
		samara_mremap(w->mm, AREA, 0, bytes, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, other)) != other)
		die("mremap failed");
	for (int r = 0; r < FEW; r++) {
		write[r] = fault_all(w, other, WARM_PAGES, SAMARA_WRITE, NULL);
		w_advise(w, other, bytes, MADV_DONTNEED);
		read[r] = now_ns();
		for (long i = 0; i < WARM_PAGES; i += 16)
			w_fault(w, other + (uint64_t)i * PAGE, SAMARA_READ);
		read[r] = since(read[r]) / WARM_PAGES;
		w_advise(w, other, bytes, MADV_DONTNEED);
	}
	w_unmap(w, other, bytes);
	w_unmap(w, AREA, bytes);
	add(w, "minor fault, shared page, write", WARM_PAGES, median(write, FEW), 60, 35, 1240, "ns");
	add_floor(floor_walk(w), false);
	add(w, "minor fault, read, 16 at once: a page", WARM_PAGES, median(read, FEW), 0, 0, 0, "ns");
}

void bench_cow_reuse(const struct world *w)
{
	double ns[FEW], fork_ns;

	w_area(w, AREA, WARM_PAGES);
	w_populate(w, AREA, WARM_PAGES * PAGE);
	for (int r = 0; r < FEW; r++) {
		w_gone(w, w_fork(w, &fork_ns));
		ns[r] = fault_all(w, AREA, WARM_PAGES, SAMARA_WRITE, NULL);
	}
	w_unmap(w, AREA, WARM_PAGES * PAGE);
	add(w, "write fault, copy on write, reuse", WARM_PAGES, median(ns, FEW), 60, 35, 816, "ns");
	add_floor(floor_walk(w), false);
}

static double cow_once(const struct world *w, long pages)
{
	double fork_ns, ns;
	struct copy child = w_fork(w, &fork_ns);

	ns = fault_all(w, AREA, pages, SAMARA_WRITE, NULL);
	w_gone(w, child);
	return ns;
}

void bench_cow_hot(const struct world *w)
{
	double ns[REPEATS];
	int rounds = w->kind == WORLD_KERNEL ? 10 : 100;

	w_area(w, AREA, HOT_PAGES);
	w_populate(w, AREA, HOT_PAGES * PAGE);
	for (int r = 0; r < REPEATS; r++) {
		ns[r] = 0;
		for (int round = 0; round < rounds; round++)
			ns[r] += cow_once(w, HOT_PAGES) / rounds;
	}
	w_unmap(w, AREA, HOT_PAGES * PAGE);
	add(w, "write fault, copy on write, hot", HOT_PAGES, median(ns, REPEATS), 140, 100, 2190, "ns");
	add_floor(floor_pages(w, FLOOR_COPY, HOT_PAGES, 100, NULL), false);
}

void bench_cow_cold(const struct world *w)
{
	double ns[FEW];

	w_area(w, AREA, COLD_PAGES);
	w_populate(w, AREA, COLD_PAGES * PAGE);
	for (int r = 0; r < FEW; r++)
		ns[r] = cow_once(w, COLD_PAGES);
	w_unmap(w, AREA, COLD_PAGES * PAGE);
	add(w, "write fault, copy on write, cold", COLD_PAGES, median(ns, FEW), 1.25, 1.1, 2190, "ns");
	add_floor(floor_pages(w, FLOOR_COPY, COLD_PAGES, 1, NULL), true);
}

void bench_populate(const struct world *w)
{
	double ns[FEW];

	w_area(w, AREA, COLD_PAGES);
	for (int r = 0; r < FEW; r++) {
		double from = now_ns();

		w_populate(w, AREA, COLD_PAGES * PAGE);
		ns[r] = since(from) / COLD_PAGES;
		w_advise(w, AREA, COLD_PAGES * PAGE, MADV_DONTNEED);
	}
	w_unmap(w, AREA, COLD_PAGES * PAGE);
	add(w, "populate, a page, cold", COLD_PAGES, median(ns, FEW), 1.15, 1.05, 1240, "ns");
	add_floor(floor_pages(w, FLOOR_ZERO, COLD_PAGES, 1, NULL), true);
}

/* Eight bytes that are there, at random places of 256 KiB: the address does not depend on what was loaded. */
void bench_hits(const struct world *w)
{
	enum { HITS = 20000 };
	double load[REPEATS], store[REPEATS];
	uint64_t seed = 362436069, sum = 0, word = 0;

	w_area(w, AREA, HOT_PAGES);
	w_populate(w, AREA, HOT_PAGES * PAGE);
	for (int r = 0; r < REPEATS; r++) {
		double from = now_ns();

		for (int i = 0; i < HITS; i++) {
			uint64_t at = AREA + (random_next(&seed) & (HOT_PAGES * PAGE - 8));

			if (w->kind == WORLD_KERNEL)
				word = *(volatile uint64_t *)(uintptr_t)at;
			else if (samara_load(w->mm, at, &word, sizeof(word), NULL) != sizeof(word))
				die("load failed");
			sum += word;
		}
		load[r] = since(from) / HITS;
		from = now_ns();
		for (int i = 0; i < HITS; i++) {
			uint64_t at = AREA + (random_next(&seed) & (HOT_PAGES * PAGE - 8));

			if (w->kind == WORLD_KERNEL)
				*(volatile uint64_t *)(uintptr_t)at = sum;
			else if (samara_store(w->mm, at, &sum, sizeof(sum), NULL) != sizeof(sum))
				die("store failed");
		}
		store[r] = since(from) / HITS;
	}
	sink += sum;
	w_unmap(w, AREA, HOT_PAGES * PAGE);
	add(w, "samara_load, a hit of 8 bytes", HOT_PAGES, median(load, REPEATS), 0, 0, 0, "ns");
	add_floor(floor_walk(w), false);
	add(w, "samara_store, a hit of 8 bytes", HOT_PAGES, median(store, REPEATS), 0, 0, 0, "ns");
}
