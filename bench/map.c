/* map.c - the map beside the running kernel's own: the same calls on samara with threads, samara without, and Linux.
 *
 * Each of the three worlds runs every row in a process of its own, so that the kernel's maps hold what the row says and
 * little else.  Figures are thread CPU time in ns an operation, medians of several repetitions; the rows of two threads are
 * ratios of wall time.  "ship" and "stretch" are the targets of an idle machine: `ok` and `best` mark what reached them as
 * measured, and "K now" over "K then" says how much slower this run's machine is than the one of the targets; the
 * last column is the figure that such a machine would have shown.  --json: one object on stdout instead of the table; a number: that step only.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

#define PAGE 4096ul
#define AREA 0x100000000000ul /* where the other VMAs stand: far from what the kernel chooses */
#define STRIDE (4 * PAGE)     /* one page mapped, three free */
#define REPEATS 15
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

/* Linux 6.11's; older headers lack it. */
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query)

enum world_kind { WORLD_POSIX, WORLD_SINGLE, WORLD_KERNEL, WORLDS };

struct world {
	enum world_kind kind;
	struct samara *vm;
	struct samara_mm *mm;
	int maps; /* the kernel's: /proc/self/maps */
};

/* -- rows: one table, filled by three processes in shared memory -- */

struct row {
	char name[48];
	const char *unit; /* literals: the same address in every process */
	long n;
	double ship, stretch, kernel_then;
	bool more_is_better;
	double value[WORLDS]; /* 0: not measured there */
};

static struct results {
	struct row rows[64];
	int count;
	int turn; /* step * WORLDS + world */
} *results;

/* Rows are added by every world in the same order; `at` finds the place again. */
static int row_at;

static void add(const struct world *w, const char *name, long n, double value, double ship, double stretch, double then,
	const char *unit)
{
	struct row *row = &results->rows[row_at++];

	snprintf(row->name, sizeof(row->name), "%s", name);
	row->unit = unit;
	row->n = n;
	row->ship = ship;
	row->stretch = stretch;
	row->kernel_then = then;
	row->more_is_better = stretch > ship;
	row->value[w->kind] = value;
	if (row_at > results->count)
		results->count = row_at;
}

static void skip(const struct world *w, const char *name, long n, double ship, double stretch, double then, const char *unit)
{
	add(w, name, n, 0, ship, stretch, then, unit);
}

/* -- clocks, numbers -- */

static double clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double now_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed * 0x2545f4914f6cdd1dull) >> 16;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static volatile uint64_t sink; /* what was computed counts as used */

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), by_value);
	return values[count / 2];
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-map: %s\n", what);
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
	else if (samara_touch(w->mm, addr))
		die("touch failed");
}

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

/* Lookups without a lock follow one random cycle over all VMAs: each is a file mapping whose offset is the next one's place,
 * so they wait for the index and for the VMA.  find_vma gives a pointer; the next address is a hash of it, and nobody waits
 * for the VMA's memory. */
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
		skip(w, "find_vma, the same VMA again", OTHERS, 4, 2, 0, "ns");
		skip(w, "lookup, the same VMA again, no lock", OTHERS, 0, 0, 0, "ns");
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
		skip(w, "next_vma, a VMA", OTHERS, 3, 1.5, 0, "ns");
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

/* -- two threads: how much more one gets done together with another one -- */

struct lane {
	const struct world *w;
	struct samara_mm *mm;
	pthread_barrier_t *gate;
	uint64_t at;
	int count;
	bool no_calls; /* arithmetic only: what the machine can do at all */
	double from, until;
};

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	struct world w = *lane->w;
	uint64_t seed = lane->at | 1, sum = 0;

	w.mm = lane->mm;
	pthread_barrier_wait(lane->gate);
	lane->from = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; lane->no_calls && i < lane->count * 40; i++)
		sum += random_next(&seed);
	for (int i = 0; !lane->no_calls && i < lane->count; i++) {
		w_map(&w, lane->at, PAGE, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED);
		w_touch(&w, lane->at);
		w_unmap(&w, lane->at, PAGE);
	}
	lane->until = clock_ns(CLOCK_MONOTONIC);
	sink += sum;
	return NULL;
}

/* Operations a ns of `threads` lanes. */
static double lanes_rate(struct lane *lanes, int threads)
{
	pthread_t thread[2];
	pthread_barrier_t gate;
	double from, until;

	pthread_barrier_init(&gate, NULL, (unsigned)threads);
	for (int i = 0; i < threads; i++) {
		lanes[i].gate = &gate;
		pthread_create(&thread[i], NULL, lane_run, &lanes[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&gate);
	from = lanes[0].from;
	until = lanes[0].until;
	for (int i = 1; i < threads; i++) {
		from = lanes[i].from < from ? lanes[i].from : from;
		until = lanes[i].until > until ? lanes[i].until : until;
	}
	return threads * lanes[0].count / (until - from);
}

/* The same with processes: the kernel's own address spaces. */
static double kernel_spaces_rate(const struct lane *lane, int processes)
{
	pthread_barrierattr_t attr;
	struct shared {
		pthread_barrier_t gate;
		struct lane lanes[2];
	} *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double rate, from = 0, until = 0;

	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->gate, &attr, (unsigned)processes);
	for (int i = 0; i < processes; i++) {
		s->lanes[i] = *lane;
		s->lanes[i].gate = &s->gate;
		if (!fork()) {
			lane_run(&s->lanes[i]);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < processes; i++) {
		from = i && s->lanes[0].from < s->lanes[i].from ? s->lanes[0].from : s->lanes[i].from;
		until = s->lanes[i].until > until ? s->lanes[i].until : until;
	}
	rate = processes * lane->count / (until - from);
	munmap(s, sizeof(*s));
	return rate;
}

static void bench_threads(const struct world *w)
{
	static const char same_name[] = "two threads in one space, 2T/1T", own_name[] = "two threads, own spaces, 2T/1T";
	static const char idle_name[] = "two threads, arithmetic only, 2T/1T";
	struct samara_mm *other = NULL;
	struct lane same[2], own[2], idle[2];
	double same_ratio[REPEATS], own_ratio[REPEATS], idle_ratio[REPEATS];
	int count = w->kind == WORLD_KERNEL ? 3000 : 20000;

	if (w->kind == WORLD_SINGLE) {
		skip(w, same_name, 2, 1.1, 1.6, 0.56, "x");
		skip(w, own_name, 2, 1.1, 1.6, 0, "x");
		skip(w, idle_name, 2, 0, 0, 0, "x");
		return;
	}
	if (w->kind == WORLD_POSIX && samara_mm_create(w->vm, NULL, &other))
		die("no memory");
	for (int i = 0; i < 2; i++) {
		same[i] = (struct lane){ .w = w, .mm = w->mm, .count = count, .at = AREA + (uint64_t)i * (1ul << 30) };
		own[i] = same[i];
		own[i].mm = i ? other : w->mm;
		idle[i] = same[i];
		idle[i].no_calls = true;
	}
	for (int r = 0; r < REPEATS; r++) {
		double one = lanes_rate(same, 1);

		same_ratio[r] = lanes_rate(same, 2) / one;
		one = lanes_rate(idle, 1);
		idle_ratio[r] = lanes_rate(idle, 2) / one;
		if (w->kind == WORLD_KERNEL) {
			one = kernel_spaces_rate(own, 1);
			own_ratio[r] = kernel_spaces_rate(own, 2) / one;
		} else {
			one = lanes_rate(own, 1);
			own_ratio[r] = lanes_rate(own, 2) / one;
		}
	}
	if (other)
		samara_mm_put(other);
	add(w, same_name, 2, median(same_ratio, REPEATS), 1.1, 1.6, 0.56, "x");
	add(w, own_name, 2, median(own_ratio, REPEATS), 1.1, 1.6, 0, "x");
	add(w, idle_name, 2, median(idle_ratio, REPEATS), 0, 0, 0, "x");
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
		skip(w, dense_name, OTHERS, 176, 128, 0, "B");
		skip(w, churn_name, OTHERS, 176, 128, 0, "B");
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
	/* each in turn moves to a random free place: after a while nothing is left of the order in which they were made */
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

#define STEPS 16

static int only = -1;

/* The worlds take turns, step by step: what slows the machine down for a while slows all of them. */
static void run_world(enum world_kind kind)
{
	struct world w = { .kind = kind, .maps = -1 };
	struct samara_config config = { .size = sizeof(config), .max_map_count = 2000000 };

	if (kind == WORLD_KERNEL)
		w.maps = open("/proc/self/maps", O_RDONLY);
	else if (samara_create(kind == WORLD_POSIX ? samara_posix_port() : samara_posix_single_port(), &config, &w.vm) ||
		 samara_mm_create(w.vm, NULL, &w.mm))
		die("no memory");
	for (int i = 0; i < STEPS; i++) {
		while (__atomic_load_n(&results->turn, __ATOMIC_ACQUIRE) != i * WORLDS + (int)kind)
			usleep(500);
		if (only < 0 || i == only)
			step(&w, i);
		__atomic_add_fetch(&results->turn, 1, __ATOMIC_RELEASE);
	}
}

static const char *verdict(const struct row *row, double value)
{
	if (!row->ship || !value)
		return "";
	if (row->more_is_better)
		return value >= row->stretch ? "best" : value >= row->ship ? "ok" : "miss";
	return value <= row->stretch ? "best" : value <= row->ship ? "ok" : "miss";
}

/* What the machine of the targets would have shown, by the kernel's own figure there and here; only where both are times. */
static double scaled(const struct row *row, double slower)
{
	double now = row->value[WORLD_KERNEL], factor = row->kernel_then && now ? now / row->kernel_then : slower;

	return *row->unit == 'x' || *row->unit == 'B' ? row->value[WORLD_POSIX] : row->value[WORLD_POSIX] / factor;
}

/* How much slower the kernel is now than then: the median of the rows. */
static double slowness(void)
{
	double factors[64];
	int count = 0;

	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];

		if (row->kernel_then && row->value[WORLD_KERNEL] && *row->unit != 'x')
			factors[count++] = row->value[WORLD_KERNEL] / row->kernel_then;
	}
	return count ? median(factors, count) : 1;
}

/* A number, or blanks where nothing was measured. */
static void put_cell(int width, double value)
{
	if (value)
		printf(" %*.*f", width, value < 10 ? 2 : 1, value);
	else
		printf(" %*s", width, "");
}

static void print_table(void)
{
	double slower = slowness();

	printf("this machine's kernel is %.2f times as slow as that of the targets (median of the rows)\n", slower);
	printf("%-36s %7s %3s %8s %8s %8s %7s %7s %7s %5s %8s %5s\n", "operation", "n", "", "samara", "1 thread", "kernel",
	       "/kernel", "ship", "stretch", "", "scaled", "");
	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];
		const double *v = row->value;
		double equal = scaled(row, slower);

		printf("%-36s %7ld %3s", row->name, row->n, row->unit);
		for (int kind = 0; kind < WORLDS; kind++)
			put_cell(8, v[kind]);
		put_cell(7, v[WORLD_KERNEL] ? v[WORLD_POSIX] / v[WORLD_KERNEL] : 0);
		put_cell(7, row->ship);
		put_cell(7, row->stretch);
		printf(" %5s", verdict(row, v[WORLD_POSIX]));
		put_cell(8, equal);
		printf(" %5s\n", verdict(row, equal));
	}
}

static void print_json(void)
{
	double slower = slowness();

	printf("{\"bench\": \"map\", \"kernel_slowness\": %.3f, \"rows\": [", slower);
	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];
		const double *v = row->value;

		printf("%s\n  {\"name\": \"%s\", \"n\": %ld, \"unit\": \"%s\", \"samara\": %.3f, \"single\": %.3f, \"kernel\": %.3f, "
		       "\"ship\": %.4g, \"stretch\": %.4g, \"scaled\": %.3f, \"verdict\": \"%s\", \"scaled_verdict\": \"%s\"}",
		       i ? "," : "", row->name, row->n, row->unit, v[WORLD_POSIX], v[WORLD_SINGLE], v[WORLD_KERNEL], row->ship,
		       row->stretch, scaled(row, slower), verdict(row, v[WORLD_POSIX]), verdict(row, scaled(row, slower)));
	}
	printf("\n]}\n");
}

int main(int argc, char **argv)
{
	pid_t children[WORLDS];
	int status;

	if (argc > 1 && *argv[1] != '-')
		only = atoi(argv[1]);
	results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		return 1;
	for (enum world_kind kind = 0; kind < WORLDS; kind++) {
		children[kind] = fork();
		if (!children[kind]) {
			run_world(kind);
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
		print_json();
	else
		print_table();
	return 0;
}
