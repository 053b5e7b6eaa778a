/* tree_readers.c - one writer, several readers without any lock; to be run under ThreadSanitizer.
 *
 * Each value is an object that says which range it was stored for and when.  A reader that finds one for an index
 * checks that the index is inside; that indices which are never uncovered (the pillars, one in 32) are never found
 * empty, also while stores over many leaves, splits and joins go on; and that one index never shows an older object
 * than it showed before. tree_trim runs now and then, so nodes go through defer while readers are inside.
 *
 * Arguments: seconds (default 3), readers (default 2).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/tree/tree.h"

#define PAGES 8192u
#define PILLAR 32u
#define READERS_MAX 8
#define OBJECTS (1u << 22)

struct object {
	uint64_t start, end;
	uint64_t born;
};

struct reader {
	pthread_t thread;
	uint64_t epoch; /* 0: outside */
	uint64_t lookups, found;
	char pad[64];
};

static struct tree tree;
static struct object *objects;
static uint32_t object_count;
static struct reader readers[READERS_MAX];
static unsigned reader_count = 2;
static uint64_t epoch = 1;
static int stop;
static struct samara_rcu_head *deferred;
static unsigned deferred_count;
static long live;
static __thread struct reader *self;

static void *port_alloc(void *port, size_t bytes)
{
	void *memory;

	(void)port;
	live++;
	return posix_memalign(&memory, 64, bytes) ? NULL : memory;
}

static void port_free(void *port, void *memory, size_t bytes)
{
	(void)port;
	live--;
	memset(memory, 0x5a, bytes);
	free(memory);
}

static void port_read_lock(void *port)
{
	(void)port;
	__atomic_store_n(&self->epoch, __atomic_load_n(&epoch, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}

static void port_read_unlock(void *port)
{
	(void)port;
	__atomic_store_n(&self->epoch, 0, __ATOMIC_SEQ_CST);
}

/* Wait until every reader that was inside is out. */
static void grace(void)
{
	uint64_t now = __atomic_add_fetch(&epoch, 1, __ATOMIC_SEQ_CST);

	for (unsigned i = 0; i < reader_count; i++)
		for (;;) {
			uint64_t seen = __atomic_load_n(&readers[i].epoch, __ATOMIC_SEQ_CST);

			if (!seen || seen >= now)
				break;
			sched_yield();
		}
	while (deferred) {
		struct samara_rcu_head *head = deferred;

		deferred = head->next;
		head->reclaim(head);
	}
	deferred_count = 0;
}

static void port_defer(void *port, struct samara_rcu_head *head, void (*reclaim)(struct samara_rcu_head *head))
{
	(void)port;
	head->next = deferred;
	head->reclaim = reclaim;
	deferred = head;
	deferred_count++;
}

static struct samara_port port = {
	.size = sizeof(port),
	.alloc = port_alloc,
	.free = port_free,
	.read_lock = port_read_lock,
	.read_unlock = port_read_unlock,
	.defer = port_defer,
};

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return (x * 0x2545f4914f6cdd1dull) >> 24;
}

static void fail(const char *what, uint64_t page)
{
	fprintf(stderr, "tree_readers: %s at page %llu\n", what, (unsigned long long)page);
	abort();
}

static void *read_all(void *arg)
{
	uint64_t seed = 77 + (uint64_t)((struct reader *)arg - readers);
	uint64_t *born = calloc(PAGES, sizeof(*born));

	self = arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		port.read_lock(port.self);
		for (int i = 0; i < 32; i++) {
			uint64_t page = random_next(&seed) % PAGES, index;
			const struct object *object;

			if (i & 1)
				page -= page % PILLAR;
			index = page << 12;
			object = tree_lookup(&tree, index);
			self->lookups++;
			if (!object) {
				if (page % PILLAR == 0)
					fail("a pillar is empty", page);
				continue;
			}
			self->found++;
			if (index < object->start || index >= object->end)
				fail("the wrong object", page);
			if (object->born < born[page])
				fail("an older object than before", page);
			born[page] = object->born;
		}
		port.read_unlock(port.self);
	}
	free(born);
	return NULL;
}

static void store(uint64_t start, uint64_t end, bool value)
{
	struct object *object = NULL;

	if (value) {
		object = &objects[object_count++];
		*object = (struct object){ start << 12, end << 12, object_count };
	}
	if (tree_reserve(&tree, 1))
		abort();
	tree_store(&tree, start << 12, end << 12, object);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 3;
	uint64_t seed = 1, stores = 0, lookups = 0, found = 0;
	struct timespec from, now;

	if (argc > 2)
		reader_count = (unsigned)atoi(argv[2]);
	if (reader_count > READERS_MAX)
		reader_count = READERS_MAX;
	objects = malloc(OBJECTS * sizeof(*objects));
	if (!objects)
		return 1;
	tree_init(&tree, &port);
	for (uint64_t page = 0; page < PAGES; page++)
		store(page, page + 1, true);
	for (unsigned i = 0; i < reader_count; i++)
		pthread_create(&readers[i].thread, NULL, read_all, &readers[i]);
	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		for (int i = 0; i < 64; i++, stores++) {
			uint64_t start = random_next(&seed) % PAGES, length = 1 + random_next(&seed) % 4;

			if (random_next(&seed) % 64 == 0)
				length = 1 + random_next(&seed) % 700;
			if (start + length > PAGES)
				length = PAGES - start;
			if (random_next(&seed) % 8 < 3) {
				/* A hole between two pillars. */
				start += start % PILLAR == 0;
				if (start % PILLAR + length > PILLAR)
					length = PILLAR - start % PILLAR;
				store(start, start + length, false);
			} else {
				store(start, start + length, true);
			}
		}
		if (stores % 4096 == 0) {
			const char *broken = tree_check(&tree);

			if (broken)
				fail(broken, 0);
			tree_trim(&tree);
			grace();
		}
		if (stores % 512 == 0)
			sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - from.tv_sec < seconds && object_count < OBJECTS - 128);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < reader_count; i++) {
		pthread_join(readers[i].thread, NULL);
		lookups += readers[i].lookups;
		found += readers[i].found;
	}
	tree_trim(&tree);
	grace();
	tree_destroy(&tree);
	printf("tree_readers: %llu stores, %llu lookups, %llu found, %ld blocks left\n", (unsigned long long)stores,
	       (unsigned long long)lookups, (unsigned long long)found, live);
	free(objects);
	return live != 0;
}
