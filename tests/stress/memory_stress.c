/* memory_stress.c - many threads, one machine with memory: requests, faults, accesses, forks, pins, file writes and
 * truncations at once.
 *
 * Silent on success.  Two address spaces share a file object and descend from each other; every thread works on both.
 * What must hold whatever the order: words that are only ever added to have the sum of what was added (in pages that no
 * request throws away), a page of a file is the same in both spaces, and at quiet points the whole machine is
 * consistent.  Every second round changes little but mappings of the file while the file is cut, so that reverse maps
 * are walked beside every change of a VMA.  One step in sixteen is a killed thread's: it gives up where it would wait,
 * or half way.  Built with TSan in CI.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

#define PAGE SAMARA_PAGE_SIZE
#define RW (SAMARA_PROT_READ | SAMARA_PROT_WRITE)
#define FIXED_PRIVATE (SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED)
#define BASE 0x10000000ull
#define PAGES 256
#define COUNTERS 0x20000000ull /* shared anonymous memory: only added to */
#define COUNTER_PAGES 8
#define SHARED 0x30000000ull   /* the file, shared, in both spaces */
#define FILE_PAGES 32
#define PRIVATE 0x40000000ull  /* private anonymous memory that no request touches: each space's own */
#define PRIVATE_PAGES 64
#define FRAMES 6000
#define THREADS 4
#define ROUNDS 6

static struct samara *vm;
static struct samara_mm *space[2];
static struct samara_inode *inode;
static struct samara_file *file;
static pthread_barrier_t quiet;
static unsigned steps = 3000;
static atomic_ullong added;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 8;
}

static void fail(const char *what)
{
	fprintf(stderr, "memory_stress: %s\n", what);
	abort();
}

/* A child stores everywhere, and finds in private memory what it put there, whatever its parent stores meanwhile. */
static void child_at_work(struct samara_mm *mm, uint64_t *rng)
{
	uint64_t kept[16];
	struct samara_mm *child;
	uint64_t word, at;

	if (samara_fork(mm, &child))
		return;
	samara_posix_set_fatal_signal(0);
	for (int i = 0; i < 16; i++) {
		at = BASE + next_random(rng) % PAGES * PAGE;
		(void)samara_store(child, at, &at, sizeof(at), NULL);
		kept[i] = PRIVATE + next_random(rng) % PRIVATE_PAGES * PAGE;
		word = ~kept[i];
		if (samara_store(child, kept[i], &word, sizeof(word), NULL) != sizeof(word))
			kept[i] = 0;
	}
	for (int i = 0; i < 16; i++)
		if (kept[i] && (samara_load(child, kept[i], &word, sizeof(word), NULL) != sizeof(word) || word != ~kept[i]))
			fail("a child does not find what it wrote");
	samara_mm_put(child);
}

static void pinned_page(struct samara_mm *mm, uint64_t at, uint64_t *rng)
{
	struct samara_page pages[4];
	int64_t n = samara_pin(mm, at, 1 + next_random(rng) % 4, next_random(rng) & 1 ? SAMARA_WRITE : SAMARA_READ, pages);

	if (n > 0)
		samara_unpin(vm, pages, (size_t)n, 1);
}

static void file_work(uint64_t *rng)
{
	char data[3000];
	uint64_t at = next_random(rng) % (FILE_PAGES * PAGE);

	memset(data, (int)at, sizeof(data));
	switch (next_random(rng) % 6) {
	case 0: case 1: (void)samara_file_write(file, at, data, sizeof(data)); break;
	case 2: case 3: (void)samara_file_read(file, at, data, sizeof(data)); break;
	case 4: (void)samara_file_truncate(file, at); break;
	case 5: (void)samara_file_fallocate(file, SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE, at, 8192); break;
	}
}

/* The cases of one_step that change mappings of the file, and the file. */
static const unsigned char cutting[] = { 2, 3, 5, 6, 7, 9, 9, 14, 14, 14 };

static void one_step(uint64_t *rng, bool cuts)
{
	struct samara_mm *mm = space[next_random(rng) & 1];
	uint64_t at = BASE + next_random(rng) % PAGES * PAGE, length = (1 + next_random(rng) % 8) * PAGE, word = at;
	unsigned char vec[8];

	samara_posix_set_fatal_signal(next_random(rng) % 16 == 0);
	switch (cuts ? cutting[next_random(rng) % sizeof(cutting)] : next_random(rng) % 25) {
	case 0: case 1: (void)samara_mmap(mm, at, length, RW, FIXED_PRIVATE, NULL, 0); break;
	case 2: (void)samara_mmap(mm, at, length, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, file, next_random(rng) % FILE_PAGES * PAGE); break;
	case 3: (void)samara_mmap(mm, at, length, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, file, next_random(rng) % FILE_PAGES * PAGE); break;
	case 4: (void)samara_munmap(mm, at, length); break;
	case 5: (void)samara_mprotect(mm, at, length, next_random(rng) & 3); break;
	case 6: (void)samara_mremap(mm, at, PAGE, length, SAMARA_MREMAP_MAYMOVE, 0); break;
	case 7: (void)samara_mremap(mm, at, length, length, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED,
			BASE + next_random(rng) % PAGES * PAGE); break;
	case 8: (void)samara_madvise(mm, at, length, SAMARA_MADV_DONTNEED); break;
	case 9: (void)samara_madvise(mm, at, length, next_random(rng) & 1 ? SAMARA_MADV_FREE : SAMARA_MADV_GUARD_INSTALL); break;
	case 10: (void)samara_madvise(mm, at, length, SAMARA_MADV_POPULATE_WRITE); break;
	case 11: (void)samara_mincore(mm, at, length, vec); break;
	case 12: child_at_work(mm, rng); break;
	case 13: pinned_page(mm, at, rng); break;
	case 14: file_work(rng); break;
	case 15: (void)samara_msync(mm, at, length, SAMARA_MS_SYNC); break;
	case 16: case 17:
		word = next_random(rng) % 100;
		if (samara_atomic(mm, COUNTERS + next_random(rng) % (COUNTER_PAGES * PAGE / 8) * 8, 8, SAMARA_ATOMIC_ADD, word, NULL, NULL) == 0)
			atomic_fetch_add(&added, word);
		break;
	case 18: word = SHARED + next_random(rng) % FILE_PAGES * PAGE;
		(void)samara_store(mm, word, &word, sizeof(word), NULL); break;
	case 19: word = SHARED + next_random(rng) % FILE_PAGES * PAGE;
		(void)samara_load(mm, word, &word, sizeof(word), NULL); break;
	case 20: (void)samara_mmap(mm, at, length, RW, FIXED_PRIVATE | SAMARA_MAP_GROWSDOWN, NULL, 0); break;
	case 21: word = PRIVATE + next_random(rng) % PRIVATE_PAGES * PAGE;
		(void)samara_store(mm, word, &word, sizeof(word), NULL); break;
	default:
		(void)samara_store(mm, at + 8, &word, sizeof(word), NULL);
		(void)samara_load(mm, at + PAGE - 4, &word, sizeof(word), NULL);
	}
}

static void *worker(void *arg)
{
	uint64_t rng = 0x9e3779b97f4a7c15ull * (1 + (uintptr_t)arg);

	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < steps; i++)
			one_step(&rng, round & 1);
		samara_posix_set_fatal_signal(0);
		pthread_barrier_wait(&quiet);
		pthread_barrier_wait(&quiet);
	}
	return NULL;
}

static void check_quiet(void)
{
	uint64_t sum = 0, word, other;

	samara_check_machine(vm);
	for (uint64_t at = COUNTERS; at < COUNTERS + COUNTER_PAGES * PAGE; at += 8) {
		if (samara_load(space[0], at, &word, 8, NULL) != 8 || samara_load(space[1], at, &other, 8, NULL) != 8 || word != other)
			fail("shared memory is not the same in both spaces");
		sum += word;
	}
	if (sum != atomic_load(&added))
		fail("an addition was lost");
}

int main(int argc, char **argv)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES, .memory = aligned_alloc(4096, FRAMES * PAGE) };
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .ino = 7, .size_bytes = FILE_PAGES * PAGE };
	pthread_t threads[THREADS];

	if (argc > 1)
		steps = (unsigned)strtoul(argv[1], NULL, 0);
	if (samara_create(samara_posix_port(), &config, &vm) || samara_mm_create(vm, &params, &space[0]) ||
	    samara_inode_create(vm, &desc, &inode) || samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/memfd:s", &file))
		return 1;
	if (samara_mmap(space[0], COUNTERS, COUNTER_PAGES * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, NULL, 0) < 0 ||
	    samara_mmap(space[0], SHARED, FILE_PAGES * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, file, 0) < 0 ||
	    samara_mmap(space[0], BASE, PAGES * PAGE, RW, FIXED_PRIVATE, NULL, 0) < 0 ||
	    samara_mmap(space[0], PRIVATE, PRIVATE_PAGES * PAGE, RW, FIXED_PRIVATE, NULL, 0) < 0 || samara_fork(space[0], &space[1]))
		return 1;
	pthread_barrier_init(&quiet, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, worker, (void *)i);
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&quiet);
		check_quiet();
		pthread_barrier_wait(&quiet);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	samara_mm_put(space[0]);
	samara_mm_put(space[1]);
	samara_file_put(file);
	samara_inode_put(inode);
	samara_check_machine(vm);
	samara_destroy(vm);
	free(config.memory);
	return 0;
}
