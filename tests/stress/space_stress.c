/* space_stress.c - many threads, one machine: all requests on a shared address space beside lookups without locks,
 * forks and exits.
 *
 * Silent on success.  At quiet points all threads stop and the whole structure is checked.  Built with TSan in CI.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

#define PAGE SAMARA_PAGE_SIZE
#define BASE 0x10000000ull
#define PAGES 512
#define WRITERS 3
#define READERS 2
#define ROUNDS 6

static struct samara *vm;
static struct samara_mm *mm;
static pthread_barrier_t quiet;
static unsigned steps = 4000;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 8;
}

static void one_request(uint64_t *rng)
{
	uint64_t at = BASE + next_random(rng) % PAGES * PAGE, length = (1 + next_random(rng) % 16) * PAGE;
	uint64_t prot = next_random(rng) & 7, anon = SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS;
	struct samara_mm *child;
	int64_t placed;

	switch (next_random(rng) % 14) {
	case 0: case 1: case 2: (void)samara_mmap(mm, at, length, prot, anon | SAMARA_MAP_FIXED, NULL, 0); break;
	case 3: (void)samara_munmap(mm, at, length); break;
	case 4: case 5: (void)samara_mprotect(mm, at, length, prot); break;
	case 6: (void)samara_mremap(mm, at, PAGE, length, SAMARA_MREMAP_MAYMOVE, 0); break;
	case 7: (void)samara_madvise(mm, at, length, SAMARA_MADV_DONTFORK + (int)(next_random(rng) & 1)); break;
	case 8: (void)samara_mlock(mm, at, length); break;
	case 9: (void)samara_munlock(mm, at, length); break;
	case 10: (void)samara_touch(mm, at, 1); break;
	case 11:
		placed = samara_mmap(mm, 0, length, prot, anon, NULL, 0);
		if (placed > 0)
			(void)samara_munmap(mm, (uint64_t)placed, length);
		break;
	case 12: (void)samara_brk(mm, 0x5000000 + next_random(rng) % 64 * PAGE); break;
	case 13:
		if (samara_fork(mm, &child) == 0) {
			(void)samara_munmap(child, at, length);
			samara_mm_put(child);
		}
		break;
	}
}

static void *writer(void *arg)
{
	uint64_t rng = 0x9e3779b97f4a7c15ull * (1 + (uintptr_t)arg);

	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < steps; i++)
			one_request(&rng);
		pthread_barrier_wait(&quiet);
		pthread_barrier_wait(&quiet);
	}
	return NULL;
}

static void *reader(void *arg)
{
	uint64_t rng = 0xd1b54a32d192ed03ull * (1 + (uintptr_t)arg);

	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < steps * 8; i++) {
			uint64_t at = BASE + next_random(&rng) % PAGES * PAGE;
			struct samara_vma_view view;

			if (samara_lookup(mm, at, &view) && !(view.start <= at && at < view.end)) {
				fprintf(stderr, "lookup of %llx gave [%llx, %llx)\n", (unsigned long long)at,
					(unsigned long long)view.start, (unsigned long long)view.end);
				abort();
			}
		}
		pthread_barrier_wait(&quiet);
		pthread_barrier_wait(&quiet);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull, .start_brk = 0x5000000,
		.brk = 0x5000000 };
	pthread_t threads[WRITERS + READERS];

	if (argc > 1)
		steps = (unsigned)strtoul(argv[1], NULL, 0);
	if (samara_create(samara_posix_port(), NULL, &vm) || samara_mm_create(vm, &params, &mm))
		return 1;
	pthread_barrier_init(&quiet, NULL, WRITERS + READERS + 1);
	for (uintptr_t i = 0; i < WRITERS + READERS; i++)
		pthread_create(&threads[i], NULL, i < WRITERS ? writer : reader, (void *)i);
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&quiet);
		samara_check(mm);
		pthread_barrier_wait(&quiet);
	}
	for (int i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i], NULL);
	samara_mm_put(mm);
	samara_destroy(vm);
	return 0;
}
