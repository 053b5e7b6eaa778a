/* map.c - the map beside the running kernel's own: the same calls on samara with threads, samara without, and Linux.
 *
 * Each of the three worlds runs every row in a process of its own (worlds.c), so that the kernel's maps hold what the
 * row says and little else.  Figures are thread CPU time in ns an operation, medians of several repetitions; the rows
 * of two threads are ratios of wall time.  "ship" and "stretch" are the targets of an idle machine; `ok` and `best`
 * mark what reached them as measured.  "scaled" is what that machine would have shown: the figure divided by how much
 * slower the kernel's own is in this run than it was there (of the same row, or the median of all rows).  --json: one
 * object on stdout instead of the table; a number: that step only.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench/map.h"
#include "ports/posix/posix.h"

/* Linux 6.11's; older headers lack it. */
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query)

static void others_add(const struct world *w, long n)
{
	for (long i = 0; i < n; i++)
		w_map(w, AREA + (uint64_t)i * STRIDE, PAGE, PROT_READ, PRIVATE | MAP_FIXED);
}

static void others_drop(const struct world *w, long n)
{
	w_unmap(w, AREA, (uint64_t)n * STRIDE);
}

/* -- rows -- */

static void bench_pair(const struct world *w, long n)
{
	uint64_t at = AREA + (uint64_t)(n / 2) * STRIDE + 2 * PAGE;
	double fixed[REPEATS], chosen[REPEATS];
	int count = w->kind == WORLD_KERNEL ? 500 : 3000;

	others_add(w, n);
	for (int r = 0; r < REPEATS; r++) {
		double from = now_ns();

		for (int i = 0; i < count; i++) {
			w_map(w, at, PAGE, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED);
			w_unmap(w, at, PAGE);
		}
		fixed[r] = (now_ns() - from) / count;
		from = now_ns();
		for (int i = 0; i < count; i++)
			w_unmap(w, w_map(w, 0, PAGE, PROT_READ | PROT_WRITE, PRIVATE), PAGE);
		chosen[r] = (now_ns() - from) / count;
	}
	others_drop(w, n);
	add(w, "map + unmap, same fixed place", n, median(fixed, REPEATS), 250, 150, 4150, "ns");
	add(w, "map + unmap, address chosen", n, median(chosen, REPEATS), 250, 150, 3350, "ns");
}

static void bench_steady(const struct world *w, long n, double ship, double stretch, double then)
{
	double pair[REPEATS];
	int count = w->kind == WORLD_KERNEL ? 1000 : 5000;
	uint64_t seed = 88172645463325252ull;

	others_add(w, n);
	for (int r = 0; r < REPEATS; r++) {
		double from = now_ns();

		for (int i = 0; i < count; i++) {
			uint64_t at = AREA + random_next(&seed) % (uint64_t)n * STRIDE;

			w_unmap(w, at, PAGE);
			w_map(w, at, PAGE, PROT_READ, PRIVATE | MAP_FIXED);
		}
		pair[r] = (now_ns() - from) / count;
	}
	others_drop(w, n);
	add(w, "unmap + map of a random VMA among", n, median(pair, REPEATS), ship, stretch, then, "ns");
}

static void bench_protect(const struct world *w)
{
	enum { AREAS = 250, OTHERS = 1000 };
	uint64_t base = AREA + OTHERS * STRIDE;
	double split[REPEATS], merge[REPEATS];

	others_add(w, OTHERS);
	for (int i = 0; i < AREAS; i++)
		w_map(w, base + (uint64_t)i * STRIDE, 3 * PAGE, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED);
	for (int r = 0; r < REPEATS; r++) {
		double from = now_ns();

		for (int i = 0; i < AREAS; i++)
			w_protect(w, base + (uint64_t)i * STRIDE + PAGE, PAGE, PROT_READ);
		split[r] = (now_ns() - from) / AREAS;
		from = now_ns();
		for (int i = 0; i < AREAS; i++)
			w_protect(w, base + (uint64_t)i * STRIDE + PAGE, PAGE, PROT_READ | PROT_WRITE);
		merge[r] = (now_ns() - from) / AREAS;
	}
	w_unmap(w, base, AREAS * STRIDE);
	others_drop(w, OTHERS);
	add(w, "mprotect the middle page: split", OTHERS, median(split, REPEATS), 170, 110, 1480, "ns");
	add(w, "mprotect the middle page: merge", OTHERS, median(merge, REPEATS), 170, 110, 1480, "ns");
}

/* Lookups without a lock follow one random cycle over all VMAs: each is a file mapping whose offset is the next one's
 * place, so they wait for the index and for the VMA.  find_vma gives a pointer; the next address is a hash of it, and
 * nobody waits for the VMA's memory. */
static struct samara_file *chain_make(const struct world *w, long n)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .ino = 1 };
	struct samara_inode *inode;
	struct samara_file *file;
	uint64_t seed = 362436069;
	uint32_t *order = malloc((size_t)n * sizeof(*order)), *next = malloc((size_t)n * sizeof(*next));

	if (!order || !next || samara_inode_create(w->vm, &desc, &inode) || samara_file_open(inode, 3, "/chain", &file))
		die("no memory");
	samara_inode_put(inode);
	for (long i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (long i = n - 1; i > 0; i--) {
		long j = (long)(random_next(&seed) % (uint64_t)(i + 1));
		uint32_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
	for (long i = 0; i < n; i++)
		next[order[i]] = order[(i + 1) % n];
	for (long i = 0; i < n; i++) {
		struct samara_install what = { .start = AREA + (uint64_t)i * STRIDE, .end = AREA + (uint64_t)i * STRIDE + PAGE,
			.vm_flags = SAMARA_VM_READ | SAMARA_VM_MAYREAD, .file = file,
			.pgoff = (AREA + next[i] * STRIDE) / PAGE };

		if (samara_install(w->mm, &what))
			die("install failed");
	}
	free(order);
	free(next);
	return file;
}

static void bench_lookup_samara(const struct world *w, long n, double *lookup, double *find)
{
	struct samara_file *file = chain_make(w, n);
	long count = n >= 1000000 ? 100000 : n >= 100000 ? 50000 : 20000;
	double free_ns[REPEATS], locked[REPEATS];

	for (int r = 0; r < REPEATS; r++) {
		struct samara_read_guard guard;
		struct samara_vma_view view = { .pgoff = AREA / PAGE };
		uint64_t hash = (uint64_t)r;
		double from = now_ns();

		for (long i = 0; i < count; i++)
			if (!samara_lookup(w->mm, view.pgoff * PAGE, &view))
				die("lookup failed");
		free_ns[r] = (now_ns() - from) / (double)count;
		samara_read_lock(w->mm, &guard);
		from = now_ns();
		for (long i = 0; i < count; i++) {
			uint64_t place = (hash >> 32) * (uint64_t)n >> 32;

			hash = (hash + (uintptr_t)samara_find_vma(&guard, AREA + place * STRIDE)) * 0x9e3779b97f4a7c15ull;
		}
		sink += hash;
		locked[r] = (now_ns() - from) / (double)count;
		samara_read_unlock(&guard);
	}
	others_drop(w, n);
	samara_file_put(file);
	*lookup = median(free_ns, REPEATS);
	*find = median(locked, REPEATS);
}

static double bench_lookup_kernel(const struct world *w, long n)
{
	double query[REPEATS];
	uint64_t seed = 362436069;

	if (n > 60000)
		return 0;
	others_add(w, n);
	for (int r = 0; r < REPEATS; r++) {
		struct procmap_query q = { .size = sizeof(q) };
		double from = now_ns();

		for (long i = 0; i < 2000; i++) {
			q.query_addr = AREA + (random_next(&seed) + q.vma_start) % (uint64_t)n * STRIDE;
			if (ioctl(w->maps, PROCMAP_QUERY_IOCTL, &q)) {
				others_drop(w, n);
				return 0;
			}
		}
		query[r] = (now_ns() - from) / 2000;
	}
	others_drop(w, n);
	return median(query, REPEATS);
}

/* U's 45, 65, 177 and 604 ns times the fractions of the targets. */
static void bench_lookup(const struct world *w, long n, double ship, double stretch, double then)
{
	double lookup, find;

	if (w->kind == WORLD_KERNEL)
		lookup = find = bench_lookup_kernel(w, n);
	else
		bench_lookup_samara(w, n, &lookup, &find);
	add(w, "lookup, random, no lock", n, lookup, ship, stretch, then, "ns");
	add(w, "find_vma, random, read guard", n, find, ship, stretch, then, "ns");
}

static void bench_same(const struct world *w)
{
	enum { OTHERS = 10000 };
	double find[REPEATS], lookup[REPEATS];

	if (w->kind == WORLD_KERNEL) {
		add(w, "find_vma, the same VMA again", OTHERS, 0, 4, 2, 0, "ns");
		add(w, "lookup, the same VMA again, no lock", OTHERS, 0, 0, 0, 0, "ns");
		return;
	}
	others_add(w, OTHERS);
	for (int r = 0; r < REPEATS; r++) {
		struct samara_read_guard guard;
		struct samara_vma_view view;
		uint64_t at = AREA + 4321 * STRIDE, base = at;
		double from;

		samara_read_lock(w->mm, &guard);
		from = now_ns();
		/* the next address depends on the VMA found, and stays in it */
		for (int i = 0; i < 20000; i++)
			at = base + ((uintptr_t)samara_find_vma(&guard, at) & 7);
		find[r] = (now_ns() - from) / 20000;
		samara_read_unlock(&guard);
		from = now_ns();
		for (int i = 0; i < 20000; i++) {
			samara_lookup(w->mm, at, &view);
			at = view.start + (at & 7);
		}
		lookup[r] = (now_ns() - from) / 20000;
	}
	others_drop(w, OTHERS);
	add(w, "find_vma, the same VMA again", OTHERS, median(find, REPEATS), 4, 2, 0, "ns");
	add(w, "lookup, the same VMA again, no lock", OTHERS, median(lookup, REPEATS), 0, 0, 0, "ns");
}

static char text_room[1 << 16];
static size_t text_bytes;
static long text_lines;

static int take_text(void *self, const char *text, size_t bytes)
{
	(void)self;
	if (text_bytes + bytes > sizeof(text_room))
		text_bytes = 0;
	memcpy(text_room + text_bytes, text, bytes);
	text_bytes += bytes;
	text_lines++;
	return 0;
}

static void bench_walk(const struct world *w)
{
	enum { OTHERS = 10000 };
	double step[REPEATS], line[REPEATS];
	uint64_t sum = 0;

	others_add(w, OTHERS);
	for (int r = 0; r < REPEATS; r++) {
		double from = now_ns();

		if (w->kind == WORLD_KERNEL) {
			ssize_t got;

			text_lines = 0;
			lseek(w->maps, 0, SEEK_SET);
			while ((got = read(w->maps, text_room, sizeof(text_room))) > 0)
				for (char *p = text_room; (p = memchr(p, '\n', (size_t)(text_room + got - p))); p++)
					text_lines++;
			line[r] = (now_ns() - from) / (double)text_lines;
			continue;
		}
		struct samara_read_guard guard;
		const struct samara_vma *vma;
		long seen = 0;

		samara_read_lock(w->mm, &guard);
		for (vma = samara_find_vma(&guard, 0); vma; vma = samara_next_vma(&guard, vma)) {
			sum += (uintptr_t)vma;
			seen++;
		}
		step[r] = (now_ns() - from) / (double)seen;
		samara_read_unlock(&guard);
		text_lines = 0;
		from = now_ns();
		samara_view_maps(w->mm, take_text, NULL);
		line[r] = (now_ns() - from) / (double)text_lines;
	}
	others_drop(w, OTHERS);
	if (w->kind == WORLD_KERNEL)
		add(w, "next_vma, a VMA", OTHERS, 0, 3, 1.5, 0, "ns");
	else
		add(w, "next_vma, a VMA", OTHERS, median(step, REPEATS) + (double)(sum & 0), 3, 1.5, 0, "ns");
	add(w, "maps text, a line", OTHERS, median(line, REPEATS), 150, 80, 335, "ns");
}

static void bench_fork(const struct world *w)
{
	enum { OTHERS = 10000 };
	double us[REPEATS];

	others_add(w, OTHERS);
	for (int r = 0; r < REPEATS; r++) {
		double from = now_ns();

		if (w->kind == WORLD_KERNEL) {
			pid_t child = (pid_t)syscall(SYS_fork);

			if (!child)
				_exit(0);
			us[r] = (now_ns() - from) / 1000;
			waitpid(child, NULL, 0);
		} else {
			struct samara_mm *child;

			if (samara_fork(w->mm, &child))
				die("fork failed");
			us[r] = (now_ns() - from) / 1000;
			samara_mm_put(child);
		}
	}
	others_drop(w, OTHERS);
	add(w, "fork, untouched VMAs", OTHERS, median(us, REPEATS), 600, 20, 3400, "us");
}

/* -- memory: what the port handed out and did not get back -- */

static size_t counted_bytes;
static const struct samara_port *counted_port;

static void *counted_alloc(void *self, size_t bytes)
{
	counted_bytes += (bytes + 63) & ~(size_t)63;
	return counted_port->alloc(self, bytes);
}

static void counted_free(void *self, void *memory, size_t bytes)
{
	counted_bytes -= (bytes + 63) & ~(size_t)63;
	counted_port->free(self, memory, bytes);
}

static void bench_memory(const struct world *w)
{
	static const char dense_name[] = "memory a VMA, dense", churn_name[] = "memory a VMA, after churn";
	enum { OTHERS = 10000 };
	static uint32_t place[2 * OTHERS]; /* the first half is in use */
	struct world own = { .kind = w->kind };
	struct samara_mm_stat stat;
	struct samara_port port;
	size_t before;
	uint64_t seed = 521288629;

	if (w->kind == WORLD_KERNEL) {
		add(w, dense_name, OTHERS, 0, 176, 128, 0, "B");
		add(w, churn_name, OTHERS, 0, 176, 128, 0, "B");
		return;
	}
	/* without RCU, so that what was given back is back */
	counted_port = samara_posix_single_port();
	port = *counted_port;
	port.alloc = counted_alloc;
	port.free = counted_free;
	if (samara_create(&port, NULL, &own.vm) || samara_mm_create(own.vm, NULL, &own.mm))
		die("no memory");
	before = counted_bytes;
	others_add(&own, OTHERS);
	add(w, dense_name, OTHERS, (double)(counted_bytes - before) / OTHERS, 176, 128, 0, "B");
	/* each in turn moves to a random free place: after a while nothing is left of the order in which they were
	 * made */
	for (long i = 0; i < 2 * OTHERS; i++)
		place[i] = (uint32_t)i;
	for (int i = 0; i < 10 * OTHERS; i++) {
		long gone = (long)(random_next(&seed) % OTHERS), comes = OTHERS + (long)(random_next(&seed) % OTHERS);
		uint32_t swap = place[gone];

		w_unmap(&own, AREA + place[gone] * STRIDE, PAGE);
		w_map(&own, AREA + place[comes] * STRIDE, PAGE, PROT_READ, PRIVATE | MAP_FIXED);
		place[gone] = place[comes];
		place[comes] = swap;
	}
	samara_mm_stat(own.mm, &stat);
	add(w, churn_name, stat.map_count, (double)(counted_bytes - before) / stat.map_count, 176, 128, 0, "B");
	samara_mm_put(own.mm);
	samara_destroy(own.vm);
}

/* -- the whole -- */

static void step(const struct world *w, int which)
{
	switch (which) {
	case 0: bench_pair(w, 10); break;
	case 1: bench_pair(w, 1000); break;
	case 2: bench_pair(w, 10000); break;
	case 3: bench_steady(w, 1000, 350, 250, 2840); break;
	case 4: bench_steady(w, 10000, 450, 300, 3300); break;
	case 5: bench_steady(w, 60000, 800, 550, 4000); break;
	case 6: bench_protect(w); break;
	case 7: bench_lookup(w, 1000, 45 * 0.75, 45 * 0.6, 410); break;
	case 8: bench_lookup(w, 10000, 65 * 0.75, 65 * 0.55, 480); break;
	case 9: bench_lookup(w, 100000, 177 * 0.95, 177 * 0.8, 0); break;
	case 10: bench_lookup(w, 1000000, 604 * 0.85, 604 * 0.7, 0); break;
	case 11: bench_same(w); break;
	case 12: bench_walk(w); break;
	case 13: bench_fork(w); break;
	case 14: bench_threads(w); break;
	case 15: bench_memory(w); break;
	}
}

static void make(struct world *w)
{
	struct samara_config config = { .size = sizeof(config), .max_map_count = 2000000 };

	if (w->kind == WORLD_KERNEL)
		w->maps = open("/proc/self/maps", O_RDONLY);
	else if (samara_create(w->kind == WORLD_POSIX ? samara_posix_port() : samara_posix_single_port(), &config, &w->vm) ||
		 samara_mm_create(w->vm, NULL, &w->mm))
		die("no memory");
}

int main(int argc, char **argv)
{
	const struct bench bench = { "map", 16, make, step };

	return worlds_main(argc, argv, &bench);
}
