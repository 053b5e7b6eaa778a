/* arena.c - memory for one event and names for ever; see arena.h. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "arena.h"

enum { CHUNK = 64 * 1024, ALIGN = 16 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t room, used;
	_Alignas(ALIGN) char bytes[];
};

static _Noreturn void out_of_memory(void)
{
	fputs("samara: out of memory\n", stderr);
	exit(2);
}

void *must_alloc(size_t bytes)
{
	void *memory = malloc(bytes ? bytes : 1);

	if (!memory)
		out_of_memory();
	return memory;
}

void *must_realloc(void *memory, size_t bytes)
{
	memory = realloc(memory, bytes ? bytes : 1);
	if (!memory)
		out_of_memory();
	return memory;
}

void *must_grow(void *array, size_t *room, size_t want, size_t item)
{
	size_t next = *room ? *room : 16;

	if (want <= *room)
		return array;
	while (next < want)
		next *= 2;
	if (next > SIZE_MAX / item)
		out_of_memory();
	*room = next;
	return must_realloc(array, next * item);
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	struct arena_chunk *chunk = arena->head;
	void *memory;

	if (bytes > SIZE_MAX / 2)
		out_of_memory();
	bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!chunk || chunk->room - chunk->used < bytes) {
		size_t room = bytes > CHUNK ? bytes : CHUNK;

		chunk = must_alloc(sizeof(*chunk) + room);
		chunk->next = arena->head;
		chunk->room = room;
		chunk->used = 0;
		arena->head = chunk;
	}
	memory = chunk->bytes + chunk->used;
	chunk->used += bytes;
	memset(memory, 0, bytes);
	return memory;
}

char *arena_text(struct arena *arena, const char *text, size_t bytes)
{
	char *copy = arena_alloc(arena, bytes + 1);

	memcpy(copy, text, bytes);
	return copy;
}

void arena_reset(struct arena *arena)
{
	struct arena_chunk *keep = NULL;

	while (arena->head) {
		struct arena_chunk *chunk = arena->head;

		arena->head = chunk->next;
		if (!keep && chunk->room == CHUNK) {
			keep = chunk;
			keep->used = 0;
		} else {
			free(chunk);
		}
	}
	if (keep)
		keep->next = NULL;
	arena->head = keep;
}

void arena_free(struct arena *arena)
{
	arena_reset(arena);
	free(arena->head);
	arena->head = NULL;
}

/* ---- names ---- */

struct name {
	struct name *next;
	size_t bytes;
	char text[];
};

static struct {
	struct name **bucket;
	size_t buckets, count;
} names;

static uint64_t hash(const char *text, size_t bytes)
{
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ (unsigned char)text[i]) * 1099511628211ull;
	return h ^ h >> 29;
}

static void names_rehash(void)
{
	size_t buckets = names.buckets ? names.buckets * 2 : 1024;
	struct name **bucket = must_alloc(buckets * sizeof(*bucket));

	memset(bucket, 0, buckets * sizeof(*bucket));
	for (size_t i = 0; i < names.buckets; i++)
		while (names.bucket[i]) {
			struct name *name = names.bucket[i];
			size_t at = hash(name->text, name->bytes) & (buckets - 1);

			names.bucket[i] = name->next;
			name->next = bucket[at];
			bucket[at] = name;
		}
	free(names.bucket);
	names.bucket = bucket;
	names.buckets = buckets;
}

const char *intern(const char *text, size_t bytes)
{
	struct name *name;
	size_t at;

	if (names.count >= names.buckets)
		names_rehash();
	at = hash(text, bytes) & (names.buckets - 1);
	for (name = names.bucket[at]; name; name = name->next)
		if (name->bytes == bytes && !memcmp(name->text, text, bytes))
			return name->text;
	name = must_alloc(sizeof(*name) + bytes + 1);
	name->bytes = bytes;
	memcpy(name->text, text, bytes);
	name->text[bytes] = 0;
	name->next = names.bucket[at];
	names.bucket[at] = name;
	names.count++;
	return name->text;
}

void intern_free(void)
{
	for (size_t i = 0; i < names.buckets; i++)
		while (names.bucket[i]) {
			struct name *name = names.bucket[i];

			names.bucket[i] = name->next;
			free(name);
		}
	free(names.bucket);
	names.bucket = NULL;
	names.buckets = names.count = 0;
}
