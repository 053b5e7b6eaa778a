/* branch_test.c - two operations at once, in every way that one of them can come in between the other.
 *
 * The core is built with a hook at each place where a lock was just dropped or something was found that is not held yet
 * (OTHERS_MAY_COME).  Two coroutines run on one thread.  For each pair of operations and each such place of the first:
 * a fresh machine, the first runs up to there, then the second runs until it ends or must wait for the first, then the
 * first goes on.  Nothing is left to chance, so whatever is found happens again.
 *
 * Asked each time: neither waits for ever; the whole machine is consistent; nothing is left at the end; and what came
 * out - both results, the maps, the contents as every space and the file see them - is what one of the two orders, one
 * after the other, gives.  Operations that Linux does not make in one step (they fault or write page by page) are
 * marked, and asked all but the last.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "ports/sim/sim.h"
#include "samara/samara.h"

#define PAGE SAMARA_PAGE_SIZE
#define RW (SAMARA_PROT_READ | SAMARA_PROT_WRITE)
#define FIXED (SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED)
#define FRAMES 256
#define A 0x1000000ull /* private anonymous, shared with a forked sibling */
#define B 0x2000000ull /* the file, shared */
#define C 0x3000000ull /* the file, private */
#define D 0x4000000ull /* shared anonymous */
#define E 0x5000000ull /* private, never touched */
#define STACK 0x7000000ull
#define PAGES 4

/* -- coroutines and the port -- */

struct routine {
	ucontext_t context;
	char stack[1 << 18];
	int64_t (*run)(void);
	int64_t result;
	uint32_t *waits_for; /* NULL: can run */
	int done;
};

static struct routine routine[2];
static ucontext_t main_context;
static int current = -1;         /* which routine runs; -1: neither */
static unsigned point, stop_at;  /* places passed by the first; where the second comes in */
static int stuck;

static void switch_to(int next)
{
	int from = current;

	current = next;
	swapcontext(from < 0 ? &main_context : &routine[from].context, next < 0 ? &main_context : &routine[next].context);
}

static int can_run(int i)
{
	return !routine[i].done && !routine[i].waits_for;
}

static void give_way(void)
{
	int other = 1 - current;

	if (can_run(other)) {
		switch_to(other);
	} else if (!can_run(current)) {
		stuck = 1;
		switch_to(-1);
	}
}

void samara_explore_point(void)
{
	if (current == 0 && ++point == stop_at && can_run(1))
		switch_to(1);
}

static int explore_wait(void *self, uint32_t *word, uint32_t seen, int killable)
{
	(void)self;
	(void)killable;
	if (__atomic_load_n(word, __ATOMIC_RELAXED) != seen)
		return 0;
	if (current < 0) {
		fprintf(stderr, "branch: a lock is held and nobody runs\n");
		exit(1);
	}
	routine[current].waits_for = word;
	while (routine[current].waits_for)
		give_way();
	return 0;
}

static void explore_wake(void *self, uint32_t *word, int count)
{
	(void)self;
	(void)count;
	for (int i = 0; i < 2; i++)
		if (routine[i].waits_for == word)
			routine[i].waits_for = NULL;
}

static void no_read(void *self)
{
	(void)self;
}

static void entry(int i)
{
	routine[i].result = routine[i].run();
	routine[i].done = 1;
	for (;;) {
		if (can_run(1 - i))
			switch_to(1 - i);
		else
			switch_to(-1);
	}
}

/* -- the scene -- */

static struct sim sim;
static struct samara *vm;
static struct samara_mm *mm, *sibling, *child[2];
static struct samara_inode *inode;
static struct samara_file *file;
static char disk[PAGES][4096];
static void *memory;

static int disk_read(void *self, uint64_t index, void *page)
{
	(void)self;
	memcpy(page, disk[index % PAGES], 4096);
	samara_explore_point(); /* reading waits */
	return 0;
}

static int disk_write(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	(void)self;
	samara_explore_point();
	memcpy(disk[index % PAGES], page, bytes);
	return 0;
}

static int disk_mkwrite(void *self, uint64_t index)
{
	(void)self;
	(void)index;
	samara_explore_point();
	return 0;
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops), .read_page = disk_read, .write_page = disk_write,
	.page_mkwrite = disk_mkwrite };

static char at_work[200]; /* the pair and the place */

static void must(int64_t result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "branch: %s: %s: %lld\n", at_work, what, (long long)result);
		exit(1);
	}
}

static void put(struct samara_mm *to, uint64_t addr, uint64_t value)
{
	must(samara_store(to, addr, &value, sizeof(value), NULL) == sizeof(value) ? 0 : -1, "store");
}

static void scene_open(void)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES, .cpus = 1 };
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull, .personality = SAMARA_ADDR_NO_RANDOMIZE };
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .ino = 7, .size_bytes = PAGES * PAGE, .ops = &disk_ops };

	sim_init(&sim);
	sim.port.wait = explore_wait;
	sim.port.wake = explore_wake;
	sim.port.read_lock = no_read;
	sim.port.read_unlock = no_read;
	if (!memory)
		memory = aligned_alloc(4096, FRAMES * PAGE);
	config.memory = memory;
	for (int i = 0; i < PAGES; i++)
		memset(disk[i], 'a' + i, 4096);
	must(samara_create(&sim.port, &config, &vm), "create");
	must(samara_mm_create(vm, &params, &mm), "mm");
	must(samara_inode_create(vm, &desc, &inode), "inode");
	must(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/disk", &file), "file");
	must(samara_mmap(mm, A, PAGES * PAGE, RW, FIXED, NULL, 0), "A");
	must(samara_mmap(mm, B, PAGES * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, file, 0), "B");
	must(samara_mmap(mm, C, PAGES * PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, file, 0), "C");
	must(samara_mmap(mm, D, PAGES * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, NULL, 0), "D");
	must(samara_mmap(mm, E, PAGES * PAGE, RW, FIXED, NULL, 0), "E");
	must(samara_mmap(mm, STACK, 2 * PAGE, RW, FIXED | SAMARA_MAP_GROWSDOWN, NULL, 0), "stack");
	must(samara_madvise(mm, B, PAGES * PAGE, SAMARA_MADV_RANDOM), "advice");
	for (uint64_t i = 0; i < PAGES - 1; i++)
		put(mm, A + i * PAGE, 100 + i);
	put(mm, B + PAGE, 1);
	put(mm, C + PAGE, 2);
	put(mm, D + PAGE, 3);
	must(samara_fork(mm, &sibling), "fork");
	put(mm, A + PAGE, 7);
	child[0] = child[1] = NULL;
}

static void scene_close(void)
{
	for (int i = 0; i < 2; i++)
		if (child[i])
			samara_mm_put(child[i]);
	if (sibling)
		samara_mm_put(sibling);
	samara_mm_put(mm);
	samara_file_put(file);
	samara_inode_put(inode);
	samara_check_machine(vm);
	if (samara_committed_as(vm))
		must(-1, "pages stay charged");
	samara_destroy(vm);
	if (sim.live_blocks)
		must(-1, "memory is left");
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	while (n--)
		hash = (hash ^ *at++) * 0x100000001b3ull;
	return hash;
}

static int hash_text(void *self, const char *text, size_t bytes)
{
	*(uint64_t *)self = mix(*(uint64_t *)self, text, bytes);
	return 0;
}

/* What came out, as a number. */
static uint64_t outcome(void)
{
	static const uint64_t areas[] = { A, B, C, D, E, STACK - 2 * PAGE, 0x6000000 };
	struct samara_mm *spaces[] = { mm, sibling, child[0], child[1] };
	uint64_t hash = 0xcbf29ce484222325ull;
	unsigned char page[4096];

	for (int i = 0; i < 2; i++)
		hash = mix(hash, &routine[i].result, sizeof(routine[i].result));
	for (size_t i = 0; i < 4; i++) {
		if (!spaces[i])
			continue;
		(void)samara_view_maps(spaces[i], hash_text, &hash);
		for (size_t a = 0; a < sizeof(areas) / sizeof(areas[0]); a++)
			for (uint64_t p = 0; p < PAGES; p++) {
				size_t n = samara_load(spaces[i], areas[a] + p * PAGE, page, sizeof(page), NULL);

				hash = mix(mix(hash, page, n), &n, sizeof(n));
			}
	}
	for (uint64_t p = 0; p < PAGES; p++) {
		int64_t n = samara_file_read(file, p * PAGE, page, sizeof(page));

		hash = mix(hash, page, n > 0 ? (size_t)n : 0);
	}
	return hash;
}

/* -- operations -- */

static int64_t stored(struct samara_mm *to, uint64_t addr)
{
	struct samara_signal why;
	char byte = 'x';

	return samara_store(to, addr, &byte, 1, &why) == 1 ? 0 : why.error * 1000 - why.signo * 10 - why.code;
}

static int64_t loaded(struct samara_mm *from, uint64_t addr)
{
	struct samara_signal why;
	unsigned char byte;

	return samara_load(from, addr, &byte, 1, &why) == 1 ? byte : why.error * 1000 - why.signo * 10 - why.code;
}

static int64_t op_cow(void) { return stored(mm, A + 2 * PAGE); }
static int64_t op_cow_sibling(void)
{
	struct samara_mm *held = sibling; /* a thread of a process keeps its space */
	int64_t result;

	if (!held)
		return 1;
	samara_mm_get(held);
	result = stored(held, A + 2 * PAGE);
	samara_mm_put(held);
	return result;
}
static int64_t op_first(void) { return stored(mm, E + PAGE); }
static int64_t op_read(void) { return loaded(mm, A + 2 * PAGE); }
static int64_t op_read_hole(void) { return loaded(mm, A + 3 * PAGE); }
static int64_t op_load_file(void) { return loaded(mm, B + 2 * PAGE); }
static int64_t op_store_file(void) { return stored(mm, B + 2 * PAGE); }
static int64_t op_cow_file(void) { return stored(mm, C + 2 * PAGE); }
static int64_t op_stack(void) { return stored(mm, STACK - 2 * PAGE); }
static int64_t op_add(void)
{
	uint64_t old = 0;
	int err = samara_atomic(mm, D + 8, 8, SAMARA_ATOMIC_ADD, 5, &old, NULL);

	return err ? err : (int64_t)old;
}
static int64_t op_munmap(void) { return samara_munmap(mm, A + PAGE, 2 * PAGE); }
static int64_t op_unmap_stack(void) { return samara_munmap(mm, STACK, 2 * PAGE); }
static int64_t op_replace(void) { return samara_mmap(mm, A, PAGES * PAGE, RW, FIXED, NULL, 0); }
static int64_t op_replace_file(void) { return samara_mmap(mm, B, PAGES * PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, file, PAGE); }
static int64_t op_protect(void) { return samara_mprotect(mm, A, PAGES * PAGE, SAMARA_PROT_READ); }
static int64_t op_protect_file(void) { return samara_mprotect(mm, B + PAGE, 2 * PAGE, SAMARA_PROT_NONE); }
static int64_t op_move(void)
{
	return samara_mremap(mm, A, PAGES * PAGE, PAGES * PAGE, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, 0x6000000);
}
static int64_t op_move_file(void)
{
	return samara_mremap(mm, B, PAGES * PAGE, PAGES * PAGE, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, 0x6000000);
}
static int64_t op_dontneed(void) { return samara_madvise(mm, A + 2 * PAGE, PAGE, SAMARA_MADV_DONTNEED); }
static int64_t op_guard(void) { return samara_madvise(mm, A + 2 * PAGE, PAGE, SAMARA_MADV_GUARD_INSTALL); }
static int64_t op_populate(void) { return samara_madvise(mm, E, PAGES * PAGE, SAMARA_MADV_POPULATE_WRITE); }
static int64_t op_fork(void) { return samara_fork(mm, &child[current]); }
static int64_t op_exit_sibling(void)
{
	struct samara_mm *gone = sibling;

	sibling = NULL;
	if (gone)
		samara_mm_put(gone);
	return 0;
}
static int64_t op_truncate(void) { return samara_file_truncate(file, PAGE + 9); }
static int64_t op_punch(void)
{
	return samara_file_fallocate(file, SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE);
}
static int64_t op_write(void)
{
	char data[64];

	memset(data, 'w', sizeof(data));
	return samara_file_write(file, 2 * PAGE + 100, data, sizeof(data));
}
static int64_t op_msync(void) { return samara_msync(mm, B, PAGES * PAGE, SAMARA_MS_SYNC); }
static int64_t op_fsync(void) { return samara_file_fsync(file); }
static int64_t op_reclaim(void) { samara_reclaim(vm, 8); return 0; }
static int64_t op_pin(void)
{
	struct samara_page page;
	int64_t n = samara_pin(mm, A + 2 * PAGE, 1, SAMARA_WRITE, &page);

	if (n == 1)
		samara_unpin(vm, &page, 1, 1);
	return n;
}
static int64_t op_mincore(void)
{
	unsigned char vec[PAGES];

	return samara_mincore(mm, D, PAGES * PAGE, vec);
}
static int64_t op_mlock(void) { return samara_mlock(mm, E, PAGES * PAGE); }

static const struct operation {
	const char *name;
	int64_t (*run)(void);
	int in_parts;
} operations[] = {
	{ "copy on write", op_cow, 0 }, { "the sibling's copy on write", op_cow_sibling, 0 }, { "first touch", op_first, 0 }, { "load", op_read, 0 },
	{ "load of nothing", op_read_hole, 0 }, { "load of a file", op_load_file, 0 }, { "store to a file", op_store_file, 0 },
	{ "private copy of a file", op_cow_file, 0 }, { "store below the stack", op_stack, 1 }, { "atomic add", op_add, 0 },
	{ "munmap", op_munmap, 0 }, { "munmap of the stack", op_unmap_stack, 0 }, { "mmap over memory", op_replace, 0 },
	{ "mmap over the file", op_replace_file, 0 }, { "mprotect", op_protect, 0 }, { "mprotect of the file", op_protect_file, 0 },
	{ "mremap", op_move, 0 }, { "mremap of the file", op_move_file, 0 }, { "MADV_DONTNEED", op_dontneed, 0 }, { "guard", op_guard, 0 },
	{ "MADV_POPULATE_WRITE", op_populate, 1 }, { "fork", op_fork, 0 }, { "exit of the sibling", op_exit_sibling, 0 },
	{ "truncate", op_truncate, 1 }, { "punch", op_punch, 1 }, { "write", op_write, 0 }, { "msync", op_msync, 0 }, { "fsync", op_fsync, 0 },
	{ "reclaim", op_reclaim, 0 }, { "pin", op_pin, 0 }, { "mincore", op_mincore, 0 }, { "mlock", op_mlock, 1 },
};

#define COUNT (sizeof(operations) / sizeof(operations[0]))

static void start(int i, const struct operation *op)
{
	struct routine *r = &routine[i];

	r->run = op->run;
	r->done = 0;
	r->waits_for = NULL;
	getcontext(&r->context);
	r->context.uc_stack.ss_sp = r->stack;
	r->context.uc_stack.ss_size = sizeof(r->stack);
	r->context.uc_link = NULL;
	makecontext(&r->context, (void (*)(void))entry, 1, i);
}

/* The second comes in at the first's place `at` (0: after it; UINT_MAX: before it). False: the first has no such
 * place. */
static int run_pair(const struct operation *first, const struct operation *second, unsigned at, uint64_t *hash)
{
	int met;

	snprintf(at_work, sizeof(at_work), "%s with %s at its place %u", first->name, second->name, at);
	scene_open();
	start(0, first);
	start(1, second);
	point = 0;
	stop_at = at;
	stuck = 0;
	switch_to(at == ~0u ? 1 : 0);
	met = at && at != ~0u && point >= at;
	if (stuck || !routine[0].done || !routine[1].done) {
		fprintf(stderr, "branch: %s with %s at its place %u: both wait\n", first->name, second->name, at);
		exit(1);
	}
	samara_check_machine(vm);
	*hash = outcome();
	samara_check_machine(vm);
	scene_close();
	return met;
}

int main(int argc, char **argv)
{
	unsigned long pairs = 0, runs = 0, wrong = 0;
	int verbose = argc > 1 && !strcmp(argv[1], "-v");

	for (size_t i = 0; i < COUNT; i++)
		for (size_t j = 0; j < COUNT; j++) {
			const struct operation *first = &operations[i], *second = &operations[j];
			uint64_t after, before, hash;
			unsigned at = 1;

			(void)run_pair(first, second, 0, &after);
			(void)run_pair(first, second, ~0u, &before);
			for (; run_pair(first, second, at, &hash); at++) {
				runs++;
				if (hash != after && hash != before && !first->in_parts && !second->in_parts) {
					wrong++;
					fprintf(stderr, "branch: %s with %s at its place %u: neither order gives this\n", first->name, second->name, at);
				}
			}
			pairs++;
			if (verbose)
				fprintf(stderr, "%s with %s: %u places\n", first->name, second->name, at - 1);
		}
	free(memory);
	printf("branch: %lu pairs of operations, %lu places where one came in, %lu wrong\n", pairs, runs, wrong);
	return wrong != 0;
}
