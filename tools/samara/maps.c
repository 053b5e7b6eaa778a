/* maps.c - the text of /proc/PID/maps as an array of lines; see maps.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "maps.h"

static const char *hex(const char *p, const char *end, uint64_t *value)
{
	const char *first = p;
	uint64_t v = 0;

	for (; p < end; p++) {
		unsigned digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a' + 10);
		else
			break;
		if (v >> 60)
			return NULL;
		v = v << 4 | digit;
	}
	*value = v;
	return p == first ? NULL : p;
}

static const char *decimal(const char *p, const char *end, uint64_t *value)
{
	const char *first = p;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (v > (UINT64_MAX - 9) / 10)
			return NULL;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	*value = v;
	return p == first ? NULL : p;
}

static const char *expect(const char *p, const char *end, char c)
{
	return p && p < end && *p == c ? p + 1 : NULL;
}

int map_line_parse(struct map_line *line, const char *text, size_t bytes)
{
	static const char letters[4][2] = { "r-", "w-", "x-", "sp" };
	const char *p = text, *end = text + bytes;
	uint64_t major, minor;

	memset(line, 0, sizeof(*line));
	if (!(p = hex(p, end, &line->start)) || !(p = expect(p, end, '-')) || !(p = hex(p, end, &line->end)) ||
	    !(p = expect(p, end, ' ')) || end - p < 5)
		return -1;
	for (int i = 0; i < 4; i++) {
		if (p[i] != letters[i][0] && p[i] != letters[i][1])
			return -1;
		line->perm[i] = p[i];
	}
	if (!(p = expect(p + 4, end, ' ')) || !(p = hex(p, end, &line->offset)) || !(p = expect(p, end, ' ')) ||
	    !(p = hex(p, end, &major)) || !(p = expect(p, end, ':')) || !(p = hex(p, end, &minor)) ||
	    !(p = expect(p, end, ' ')) || !(p = decimal(p, end, &line->ino)) || major > UINT32_MAX || minor > UINT32_MAX)
		return -1;
	if (p < end && *p != ' ')
		return -1;
	if (line->start >= line->end || ((line->start | line->end | line->offset) & 4095))
		return -1;
	line->major = (uint32_t)major;
	line->minor = (uint32_t)minor;
	while (p < end && *p == ' ')
		p++;
	line->path = intern(p, (size_t)(end - p));
	return 0;
}

bool map_line_equal(const struct map_line *a, const struct map_line *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset && a->ino == b->ino &&
		a->major == b->major && a->minor == b->minor && !memcmp(a->perm, b->perm, 4) && a->path == b->path;
}

int map_line_print(const struct map_line *line, char *text, size_t room)
{
	return snprintf(text, room, "%08" PRIx64 "-%08" PRIx64 " %.4s %08" PRIx64 " %02x:%02x %" PRIu64 "%s%s", line->start,
		line->end, line->perm, line->offset, line->major, line->minor, line->ino, *line->path ? " " : "", line->path);
}

void maps_free(struct maps *maps)
{
	free(maps->line);
	memset(maps, 0, sizeof(*maps));
}

void maps_copy(struct maps *to, const struct maps *from)
{
	to->line = must_grow(to->line, &to->room, from->n, sizeof(*to->line));
	if (from->n)
		memcpy(to->line, from->line, from->n * sizeof(*to->line));
	to->n = from->n;
}

struct map_line *maps_push(struct maps *maps)
{
	maps->line = must_grow(maps->line, &maps->room, maps->n + 1, sizeof(*maps->line));
	return &maps->line[maps->n++];
}

size_t maps_parse(struct maps *maps, const char *text, size_t bytes)
{
	size_t number = 0;

	maps->n = 0;
	while (bytes) {
		const char *newline = memchr(text, '\n', bytes);
		size_t length = newline ? (size_t)(newline - text) : bytes;
		struct map_line line;

		number++;
		if (map_line_parse(&line, text, length) || (maps->n && line.start < maps->line[maps->n - 1].end))
			return number;
		*maps_push(maps) = line;
		text += length + !!newline;
		bytes -= length + !!newline;
	}
	return 0;
}

size_t maps_find(const struct maps *maps, uint64_t addr)
{
	size_t low = 0, high = maps->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (maps->line[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

void maps_diff(const struct maps *old, const struct maps *new, struct arena *arena, struct maps_change *change)
{
	size_t head = 0, i, j, old_end = old->n, new_end = new->n;

	memset(change, 0, sizeof(*change));
	while (head < old_end && head < new_end && map_line_equal(&old->line[head], &new->line[head]))
		head++;
	while (old_end > head && new_end > head && map_line_equal(&old->line[old_end - 1], &new->line[new_end - 1]))
		old_end--, new_end--;
	if (old_end == head && new_end == head)
		return;
	change->gone = arena_alloc(arena, (old_end - head) * sizeof(*change->gone));
	change->come = arena_alloc(arena, (new_end - head) * sizeof(*change->come));
	for (i = j = head; i < old_end || j < new_end;) {
		if (i < old_end && j < new_end && map_line_equal(&old->line[i], &new->line[j])) {
			i++, j++;
		} else if (i < old_end && (j == new_end || old->line[i].start <= new->line[j].start)) {
			change->gone[change->gone_n++] = old->line[i++].start;
		} else {
			change->come[change->come_n++] = new->line[j++];
		}
	}
}

int maps_apply(struct maps *maps, const struct maps_change *change)
{
	struct maps out = { 0 };
	size_t g = 0, c = 0;

	if (!change->gone_n && !change->come_n)
		return 0;
	for (size_t i = 0; i < maps->n || c < change->come_n;) {
		const struct map_line *next;

		if (i < maps->n && g < change->gone_n && maps->line[i].start == change->gone[g]) {
			i++, g++;
			continue;
		}
		if (c < change->come_n && (i == maps->n || change->come[c].start < maps->line[i].start))
			next = &change->come[c++];
		else
			next = &maps->line[i++];
		if (out.n && next->start < out.line[out.n - 1].end) {
			maps_free(&out);
			return -1;
		}
		*maps_push(&out) = *next;
	}
	if (g < change->gone_n) {
		maps_free(&out);
		return -1;
	}
	maps_free(maps);
	*maps = out;
	return 0;
}

/* ---- a diff for people ---- */

struct diff_item {
	char sign;
	const struct map_line *line;
};

void maps_print_diff(FILE *out, const struct maps *kernel, const struct maps *ours, int context, int limit)
{
	struct diff_item *item = must_alloc((kernel->n + ours->n) * sizeof(*item));
	size_t n = 0, i = 0, j = 0;
	long shown_to = -1;
	int printed = 0;

	while (i < kernel->n || j < ours->n) {
		if (i < kernel->n && j < ours->n && map_line_equal(&kernel->line[i], &ours->line[j])) {
			item[n++] = (struct diff_item){ ' ', &kernel->line[i] };
			i++, j++;
		} else if (i < kernel->n && (j == ours->n || kernel->line[i].start <= ours->line[j].start)) {
			item[n++] = (struct diff_item){ '-', &kernel->line[i++] };
		} else {
			item[n++] = (struct diff_item){ '+', &ours->line[j++] };
		}
	}
	fprintf(out, "  --- the kernel's maps (%zu lines)\n  +++ samara's maps (%zu lines)\n", kernel->n, ours->n);
	for (size_t k = 0; k < n; k++) {
		long from = (long)k - context, to = (long)k + context;

		if (item[k].sign == ' ')
			continue;
		if (from <= shown_to)
			from = shown_to + 1;
		else if (from > shown_to + 1)
			fputs("  ...\n", out);
		for (long at = from; at <= to && at < (long)n; at++) {
			char text[MAPS_LINE_ROOM + 4096];

			if (at < 0 || at <= shown_to)
				continue;
			map_line_print(item[at].line, text, sizeof(text));
			fprintf(out, "  %c %s\n", item[at].sign, text);
			shown_to = at;
			if (++printed >= limit) {
				fputs("  ... (more)\n", out);
				free(item);
				return;
			}
		}
	}
	free(item);
}
