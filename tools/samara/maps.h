/* maps.h - the text of /proc/PID/maps as an array of lines, and the change from one such array to another.
 *
 * Lines are kept in the order of their addresses, never overlap, and are plain values: paths are interned, so two
 * lines are equal when their members are.  Nobody but this file takes maps text apart.
 */
#ifndef TOOL_MAPS_H
#define TOOL_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "arena.h"

struct map_line {
	uint64_t start, end, offset, ino;
	uint32_t major, minor;
	char perm[4];
	bool mark;        /* for the owner of the array; not part of the line */
	const char *path; /* interned; "" when there is none */
};

struct maps {
	struct map_line *line;
	size_t n, room;
};

/* What one event did: starts of lines that are gone, lines that are new.  A line that changed is in both. */
struct maps_change {
	uint64_t *gone;
	size_t gone_n;
	struct map_line *come;
	size_t come_n;
};

enum { MAPS_LINE_ROOM = 128 }; /* what a line needs beside its path */

/* One line without its newline.  0, or -1 when it is not a line of maps. */
int map_line_parse(struct map_line *line, const char *text, size_t bytes);
bool map_line_equal(const struct map_line *a, const struct map_line *b);
/* With single spaces, as traces hold it; returns what snprintf returns. */
int map_line_print(const struct map_line *line, char *text, size_t room);

void maps_free(struct maps *maps);
void maps_copy(struct maps *to, const struct maps *from);
struct map_line *maps_push(struct maps *maps);
/* Whole text.  0, or the number of the first bad line (from 1): malformed, out of order, overlapping. */
size_t maps_parse(struct maps *maps, const char *text, size_t bytes);
/* The first line that ends after `addr`: its index, or maps->n. */
size_t maps_find(const struct maps *maps, uint64_t addr);
/* From `old` to `new`; the change's arrays come from `arena`. */
void maps_diff(const struct maps *old, const struct maps *new, struct arena *arena, struct maps_change *change);
/* 0, or -1 when a line that is to go is not there or a line that comes overlaps one that stays; then `maps` is
 * unchanged. */
int maps_apply(struct maps *maps, const struct maps_change *change);
/* The lines of two maps that differ, as a diff with `context` equal lines around, at most `limit` lines. */
void maps_print_diff(FILE *out, const struct maps *kernel, const struct maps *ours, int context, int limit);

#endif
