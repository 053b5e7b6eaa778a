/* arena.h - memory for one event and names for ever.
 *
 * An `struct arena` gives memory that is freed all at once: everything that an event points to comes from the
 * event's own arena and dies with arena_reset().  intern() gives one lasting copy of each string, so two equal
 * names are the same pointer; the table is the tool's own, not thread-safe, and intern_free() empties it.
 */
#ifndef TOOL_ARENA_H
#define TOOL_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *head;
};

/* Zeroed memory, aligned to 16 bytes.  Ends the program with a message when the host has none. */
void *arena_alloc(struct arena *arena, size_t bytes);
char *arena_text(struct arena *arena, const char *text, size_t bytes);
void arena_reset(struct arena *arena); /* keeps a chunk for the next event */
void arena_free(struct arena *arena);

const char *intern(const char *text, size_t bytes);
void intern_free(void);

/* malloc and realloc that end the program with a message instead of returning NULL. */
void *must_alloc(size_t bytes);
void *must_realloc(void *memory, size_t bytes);

/* Grow `*array` (of `item` bytes each) so that it has room for `want` items. */
void *must_grow(void *array, size_t *room, size_t want, size_t item);

#endif
