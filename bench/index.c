/* index.c - the maple tree beside JudyL and GLib's GTree, all in one run: ratios between columns are what counts.
 *
 * gcc -O2 -std=c11 -Iinclude -I. core/tree/ *.c bench/index.c -lJudy `pkg-config --cflags --libs glib-2.0`
 *
 * Rows: thread CPU time in ns an operation, the median of several repetitions that alternate between the rivals.
 * Entries are 1 to 16 pages long, one in eight up to 2048, and so are the gaps behind them; "even": one entry every six
 * pages, which suits JudyL best.  JudyL and GTree hold only the starts: JudyLLast finds the range that holds an index,
 * as tree_get does, JudyLGet and GTree no more than an exact start.  "lookup": the next index is the value that the
 * last lookup returned, in one random cycle over all entries.  --json: one JSON object instead of the table; --quick:
 * lookups only; --short: no 10^6; a number: that size only.
 */
#define _GNU_SOURCE
#include <Judy.h>
#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#undef MIN /* GLib has its own */
#undef MAX
#include "core/tree/tree.h"

#define BASE (1ull << 44)
#define REPEAT_MAX 41

/* -- memory: one touched area, cut into 64-byte aligned pieces and never given back; free pieces by size -- */

static struct {
	char *at, *end;
	void *spare[3];
} pool;

static unsigned pool_class(size_t bytes)
{
	return bytes <= 512 ? 0 : bytes <= 1024 ? 1 : 2;
}

static void *pool_alloc(void *self, size_t bytes)
{
	void **spare = &pool.spare[pool_class(bytes)], *memory = *spare;

	(void)self;
	if (memory) {
		*spare = *(void **)memory;
		return memory;
	}
	bytes = (bytes + 63) & ~(size_t)63;
	if (pool.at + bytes > pool.end)
		return NULL;
	memory = pool.at;
	pool.at += bytes;
	return memory;
}

static void pool_free(void *self, void *memory, size_t bytes)
{
	void **spare = &pool.spare[pool_class(bytes)];

	(void)self;
	*(void **)memory = *spare;
	*spare = memory;
}

static const struct samara_port port = { .size = sizeof(port), .alloc = pool_alloc, .free = pool_free };

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t random_next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * 0x2545f4914f6cdd1dull) >> 16;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), by_value);
	return values[count / 2];
}

/* -- results -- */

struct row {
	const char *name;
	long n;
	double samara, judy, gtree;
};

static struct row rows[128];
static int row_count;
static volatile uint64_t sink;

static void add_row(const char *name, long n, double samara, double judy, double gtree)
{
	rows[row_count++] = (struct row){ name, n, samara, judy, gtree };
}

/* -- one size -- */

struct entry {
	uint64_t start, end, next; /* next: an index inside the entry that follows in the random cycle */
};

static struct entry *entries;
static uint32_t *order;
static struct tree tree;
static Pvoid_t judy;
static GTree *gtree;
static uint64_t top; /* behind the last gap */

static gint compare_keys(gconstpointer a, gconstpointer b)
{
	return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

static void shuffle(long n)
{
	for (long i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (long i = n - 1; i > 0; i--) {
		long j = (long)(random_next() % (uint64_t)(i + 1));
		uint32_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

static void put(const struct entry *entry)
{
	if (tree_reserve(&tree, 1))
		abort();
	tree_store(&tree, entry->start, entry->end, (void *)(uintptr_t)entry->next);
}

static void judy_put(const struct entry *entry)
{
	Word_t *place = (Word_t *)JudyLIns(&judy, entry->start, PJE0);

	*place = entry->next;
}

static double tree_use(void)
{
	size_t reserve, bytes = tree_bytes(&tree, &reserve);

	return (double)(bytes - reserve) / (double)tree_count(&tree);
}

static void *copy_same(void *arg, void *value, bool *stop)
{
	(void)arg;
	(void)stop;
	return value;
}

static void build(long n, bool even)
{
	uint64_t at = BASE;

	shuffle(n);
	for (long i = 0; i < n; i++) {
		struct entry *entry = &entries[i];

		if (even) {
			entry->start = at + (random_next() % 3) * 0x1000;
			entry->end = entry->start + (1 + random_next() % 3) * 0x1000;
			at += 0x6000;
			continue;
		}
		/* Mostly small, now and then large, as mappings are; a gap of the same kind behind. */
		entry->start = at;
		at += 0x1000 * (1 + random_next() % (random_next() % 8 ? 16 : 2048));
		entry->end = at;
		at += 0x1000 * (1 + random_next() % (random_next() % 8 ? 16 : 2048));
	}
	for (long i = 0; i < n; i++) {
		struct entry *next = &entries[order[(i + 1) % n]];

		entries[order[i]].next = next->start + 0x10 * (random_next() % 200 + 1);
	}
	top = at;
	shuffle(n);
	tree_init(&tree, &port);
	judy = NULL;
	gtree = g_tree_new(compare_keys);
	for (long i = 0; i < n; i++) {
		const struct entry *entry = &entries[order[i]];

		put(entry);
		judy_put(entry);
		g_tree_insert(gtree, (gpointer)(uintptr_t)entry->start, (gpointer)(uintptr_t)entry->next);
	}
}

static void bench_lookup(long n, int repeats, bool even)
{
	double get[REPEAT_MAX], free_get[REPEAT_MAX], last[REPEAT_MAX], exact[REPEAT_MAX], glib[REPEAT_MAX];
	long count = n < 100000 ? 20000 : n < 1000000 ? 100000 : 400000, glib_count = count / 8;

	for (int r = 0; r < repeats; r++) {
		uint64_t index = entries[0].start;
		double from = now_ns();

		for (long i = 0; i < count; i++)
			index = (uint64_t)(uintptr_t)tree_get(&tree, index);
		get[r] = (now_ns() - from) / (double)count;
		sink += index;
		from = now_ns();
		for (long i = 0; i < count; i++)
			index = (uint64_t)(uintptr_t)tree_lookup(&tree, index);
		free_get[r] = (now_ns() - from) / (double)count;
		sink += index;
		from = now_ns();
		for (long i = 0; i < count; i++) {
			Word_t key = index;
			Word_t *place = (Word_t *)JudyLLast(judy, &key, PJE0);

			index = *place;
		}
		last[r] = (now_ns() - from) / (double)count;
		sink += index;
		from = now_ns();
		for (long i = 0; i < count; i++)
			index = *(Word_t *)JudyLGet(judy, index & ~0xfffull, PJE0);
		exact[r] = (now_ns() - from) / (double)count;
		sink += index;
		from = now_ns();
		for (long i = 0; i < glib_count; i++)
			index = (uint64_t)(uintptr_t)g_tree_lookup(gtree, (gpointer)(uintptr_t)(index & ~0xfffull));
		glib[r] = (now_ns() - from) / (double)glib_count;
		sink += index;
	}
	if (even) {
		add_row("lookup, even keys, JudyLGet", n, median(get, repeats), median(exact, repeats), 0);
		return;
	}
	add_row("lookup, JudyLLast", n, median(get, repeats), median(last, repeats), median(glib, repeats));
	add_row("lookup, JudyLGet", n, median(get, repeats), median(exact, repeats), median(glib, repeats));
	add_row("lookup, no lock, JudyLGet", n, median(free_get, repeats), median(exact, repeats),
		median(glib, repeats));
}

static void drop(void)
{
	tree_destroy(&tree);
	JudyLFreeArray(&judy, PJE0);
	g_tree_destroy(gtree);
}

static void bench_cached(long n, int repeats)
{
	double get[REPEAT_MAX], last[REPEAT_MAX];
	long count = 20000;

	for (int r = 0; r < repeats; r++) {
		const struct entry *entry = &entries[(long)(random_next() % (uint64_t)n)];
		uint64_t index = entry->start, sum = 0;
		double from = now_ns();

		/* The next index depends on the last value, and stays in the entry. */
		for (long i = 0; i < count; i++) {
			sum = (uint64_t)(uintptr_t)tree_get(&tree, index);
			index = entry->start + (sum & 8);
		}
		get[r] = (now_ns() - from) / (double)count;
		sink += sum;
		from = now_ns();
		for (long i = 0; i < count; i++) {
			Word_t key = index;

			sum = *(Word_t *)JudyLLast(judy, &key, PJE0);
			index = entry->start + (sum & 8);
		}
		last[r] = (now_ns() - from) / (double)count;
		sink += sum;
	}
	add_row("same entry again", n, median(get, repeats), median(last, repeats), 0);
}

static void bench_change(long n, int repeats)
{
	double put_ns[REPEAT_MAX], take_ns[REPEAT_MAX], judy_put_ns[REPEAT_MAX], judy_take_ns[REPEAT_MAX];
	double g_put[REPEAT_MAX], g_take[REPEAT_MAX], pair[REPEAT_MAX], judy_pair[REPEAT_MAX];
	long batch = n / 4 < 20000 ? n / 4 : 20000;
	int rounds = (int)(8000 / batch) + 1;

	for (int r = 0; r < repeats; r++) {
		double a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, from;

		for (int round = 0; round < rounds; round++) {
			shuffle(n);
			from = now_ns();
			for (long i = 0; i < batch; i++) {
				const struct entry *entry = &entries[order[i]];

				if (tree_reserve(&tree, 1))
					abort();
				tree_store(&tree, entry->start, entry->end, NULL);
			}
			a += now_ns() - from;
			from = now_ns();
			for (long i = batch; i--; )
				put(&entries[order[(i * 7919) % batch]]);
			b += now_ns() - from;
			for (long i = 0; i < batch; i++)
				put(&entries[order[i]]);
			from = now_ns();
			for (long i = 0; i < batch; i++)
				JudyLDel(&judy, entries[order[i]].start, PJE0);
			c += now_ns() - from;
			from = now_ns();
			for (long i = batch; i--; )
				judy_put(&entries[order[(i * 7919) % batch]]);
			d += now_ns() - from;
			for (long i = 0; i < batch; i++)
				judy_put(&entries[order[i]]);
			from = now_ns();
			for (long i = 0; i < batch; i++)
				g_tree_remove(gtree, (gpointer)(uintptr_t)entries[order[i]].start);
			e += now_ns() - from;
			from = now_ns();
			for (long i = 0; i < batch; i++) {
				const struct entry *entry = &entries[order[i]];

				g_tree_insert(gtree, (gpointer)(uintptr_t)entry->start,
					      (gpointer)(uintptr_t)entry->next);
			}
			f += now_ns() - from;
		}
		take_ns[r] = a / (double)(batch * rounds);
		put_ns[r] = b / (double)(batch * rounds);
		judy_take_ns[r] = c / (double)(batch * rounds);
		judy_put_ns[r] = d / (double)(batch * rounds);
		g_take[r] = e / (double)(batch * rounds);
		g_put[r] = f / (double)(batch * rounds);
		from = now_ns();
		for (int i = 0; i < 20000; i++) {
			const struct entry *entry = &entries[n / 2];

			put(&(struct entry){ entry->end, entry->end + 0x1000, 16 });
			tree_reserve(&tree, 1);
			tree_store(&tree, entry->end, entry->end + 0x1000, NULL);
		}
		pair[r] = (now_ns() - from) / 20000;
		from = now_ns();
		for (int i = 0; i < 20000; i++) {
			const struct entry *entry = &entries[n / 2];

			judy_put(&(struct entry){ entry->end, 0, 16 });
			JudyLDel(&judy, entry->end, PJE0);
		}
		judy_pair[r] = (now_ns() - from) / 20000;
		put(&entries[n / 2 + 1]);
	}
	add_row("insert, random", n, median(put_ns, repeats), median(judy_put_ns, repeats), median(g_put, repeats));
	add_row("erase, random", n, median(take_ns, repeats), median(judy_take_ns, repeats), median(g_take, repeats));
	add_row("store + erase, one place", n, median(pair, repeats), median(judy_pair, repeats), 0);
}

static void bench_walk(long n, int repeats)
{
	double near[REPEAT_MAX], far[REPEAT_MAX], step[REPEAT_MAX], judy_step[REPEAT_MAX], twin[REPEAT_MAX];
	struct tree_entry gap;

	for (int r = 0; r < repeats; r++) {
		struct tree_iter iter;
		struct tree other;
		Word_t key = 0, *place;
		uint64_t sum = 0, limit = top;
		long seen = 0;
		double from = now_ns();

		/* Each limit depends on the gap found before. */
		for (int i = 0; i < 20000; i++) {
			tree_gap_highest(&tree, 0x10000, limit, 0x4000, &gap);
			limit = (gap.start >> 12) * 0x9e3779b97f4a7c15ull + (uint64_t)i * 0x632be59bd9b4e019ull;
			limit = BASE + (limit >> 20) % (top - BASE);
		}
		near[r] = (now_ns() - from) / 20000;
		from = now_ns();
		for (int i = 0; i < 20000; i++) {
			if (!tree_gap_highest(&tree, 0x10000, top - (gap.end & 1), 0x1000000, &gap))
				abort();
			sum += gap.start;
		}
		far[r] = (now_ns() - from) / 20000;
		from = now_ns();
		do {
			tree_iter_init(&iter, &tree, 0);
			while (tree_iter_next(&iter)) {
				sum += iter.at.end;
				seen++;
			}
		} while (seen < 20000);
		step[r] = (now_ns() - from) / (double)seen;
		seen = 0;
		from = now_ns();
		do {
			key = 0;
			for (place = (Word_t *)JudyLFirst(judy, &key, PJE0); place;
			     place = (Word_t *)JudyLNext(judy, &key, PJE0)) {
				sum += *place;
				seen++;
			}
		} while (seen < 20000);
		judy_step[r] = (now_ns() - from) / (double)seen;
		tree_init(&other, &port);
		from = now_ns();
		if (tree_duplicate(&other, &tree, copy_same, NULL))
			abort();
		twin[r] = (now_ns() - from) / (double)n;
		tree_destroy(&other);
		sink += sum;
	}
	add_row("gap near a random limit", n, median(near, repeats), 0, 0);
	add_row("one far gap", n, median(far, repeats), 0, 0);
	add_row("iterate, an entry", n, median(step, repeats), median(judy_step, repeats), 0);
	add_row("duplicate, an entry", n, median(twin, repeats), 0, 0);
}

/* Not ns but bytes an entry, in the same columns. */
static void bench_bytes(long n)
{
	double random = tree_use();
	double words = (double)JudyLMemUsed(judy) / (double)n;
	struct tree other;
	size_t reserve, bytes;

	tree_init(&other, &port);
	if (tree_duplicate(&other, &tree, copy_same, NULL))
		abort();
	bytes = tree_bytes(&other, &reserve);
	add_row("bytes an entry, random fill", n, random, words, 40 + 8);
	add_row("bytes an entry, duplicate", n, (double)(bytes - reserve) / (double)n, 0, 0);
	tree_destroy(&other);
	tree_destroy(&tree);
	for (long i = 0; i < n; i++)
		put(&entries[i]);
	add_row("bytes an entry, ascending", n, tree_use(), 0, 0);
	tree_destroy(&tree);
	for (long i = n; i--; )
		put(&entries[i]);
	add_row("bytes an entry, descending", n, tree_use(), 0, 0);
}

static void print_rows(bool json)
{
	if (json) {
		printf("{\"bench\": \"index\", \"rows\": [");
		for (int i = 0; i < row_count; i++) {
			const struct row *row = &rows[i];
			bool bytes = !strncmp(row->name, "bytes", 5);

			printf("%s\n  {\"name\": \"%s\", \"n\": %ld, ", i ? "," : "", row->name, row->n);
			printf(bytes ? "\"bytes_per_entry\": %.2f, \"judy_bytes\": %.2f, \"gtree_bytes\": %.2f}" :
				       "\"samara_ns\": %.2f, \"judy_ns\": %.2f, \"gtree_ns\": %.2f}",
			       row->samara, row->judy, row->gtree);
		}
		printf("\n]}\n");
		return;
	}
	printf("%-28s %8s %9s %9s %9s %8s\n", "operation", "n", "samara", "JudyL", "GTree", "/ JudyL");
	for (int i = 0; i < row_count; i++) {
		const struct row *row = &rows[i];

		printf("%-28s %8ld %9.1f %9.1f %9.1f", row->name, row->n, row->samara, row->judy, row->gtree);
		if (row->judy > 0)
			printf(" %8.2f", row->samara / row->judy);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	static const long sizes[] = { 1000, 10000, 100000, 1000000 };
	size_t room = 256ul << 20;
	bool json = false;
	bool quick = false;
	long only = 0, largest = 1000000;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--quick"))
			quick = true; /* lookups only */
		else if (!strcmp(argv[i], "--short"))
			largest = 100000;
		else
			only = atol(argv[i]);
	}
	pool.at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool.at == MAP_FAILED)
		return 1;
	memset(pool.at, 1, room);
	pool.end = pool.at + room;
	entries = calloc(1000001, sizeof(*entries));
	order = calloc(1000001, sizeof(*order));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		long n = sizes[i];
		int repeats = n >= 1000000 ? 3 : n >= 100000 ? 5 : 9, many = n >= 1000000 ? 3 : n >= 100000 ? 9 : 41;
		const char *broken;

		if ((only && n != only) || n > largest)
			continue;
		build(n, true);
		bench_lookup(n, many / 2 + 1, true);
		drop();
		build(n, false);
		bench_lookup(n, many, false);
		bench_cached(n, many);
		if (quick) {
			drop();
			continue;
		}
		bench_change(n, repeats);
		bench_walk(n, repeats);
		broken = tree_check(&tree);
		if (broken) {
			fprintf(stderr, "index: %s\n", broken);
			return 1;
		}
		bench_bytes(n);
		drop();
	}
	print_rows(json);
	return 0;
}
