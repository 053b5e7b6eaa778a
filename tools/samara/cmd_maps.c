/* cmd_maps.c - samara maps: an address space at any recorded moment, as text, JSON or a picture.
 *
 * The moment is the one after line N of the trace (the numbers that messages of `samara replay' show).  Only the
 * trace is read; samara's own address spaces have no part in it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "commands.h"
#include "maps_svg.h"
#include "trace.h"

struct tracked {
	struct tracked *next;
	uint32_t id;
	size_t line;       /* of its last event */
	const char *name;  /* the program, interned */
	struct maps maps;
};

struct wanted {
	unsigned long line; /* 0: the end of the trace */
	unsigned long mm;   /* 0: that of the event at `line`, or the first program's */
};

static struct tracked *find(struct tracked *list, uint32_t id)
{
	for (; list; list = list->next)
		if (list->id == id)
			return list;
	return NULL;
}

static struct tracked *make(struct tracked **list, uint32_t id)
{
	struct tracked *space = find(*list, id);

	if (space)
		return space;
	space = must_alloc(sizeof(*space));
	memset(space, 0, sizeof(*space));
	space->id = id;
	space->next = *list;
	*list = space;
	return space;
}

/* 0, or -1: the event contradicts those before it. */
static int follow(struct tracked **list, const struct event *ev, size_t line)
{
	struct tracked *space;

	if (ev->kind == EV_EXEC) {
		space = make(list, ev->mm);
		maps_copy(&space->maps, &ev->maps);
		space->name = ev->exe ? intern(ev->exe, strlen(ev->exe)) : "";
		space->line = line;
		return 0;
	}
	space = ev->mm ? find(*list, ev->mm) : NULL;
	if (!space)
		return 0;
	space->line = line;
	if (ev->kind == EV_SNAP)
		maps_copy(&space->maps, &ev->maps);
	if ((ev->kind == EV_CALL || ev->kind == EV_GROW) && maps_apply(&space->maps, &ev->change))
		return -1;
	if (ev->kind == EV_CALL && ev->child_mm && ev->child_mm != ev->mm) {
		struct tracked *child = make(list, ev->child_mm);

		maps_copy(&child->maps, &space->maps);
		child->name = space->name;
		child->line = line;
		return maps_apply(&child->maps, &ev->child_change);
	}
	return 0;
}

static void print_text(const struct tracked *space)
{
	for (size_t i = 0; i < space->maps.n; i++) {
		size_t room = MAPS_LINE_ROOM + strlen(space->maps.line[i].path);
		char *text = must_alloc(room);

		map_line_print(&space->maps.line[i], text, room);
		puts(text);
		free(text);
	}
}

static void print_json(const struct tracked *space)
{
	json_t *lines = json_array(), *all;

	for (size_t i = 0; i < space->maps.n; i++) {
		const struct map_line *line = &space->maps.line[i];
		char start[24], end[24], offset[24], dev[24];

		snprintf(start, sizeof(start), "%" PRIx64, line->start);
		snprintf(end, sizeof(end), "%" PRIx64, line->end);
		snprintf(offset, sizeof(offset), "%" PRIx64, line->offset);
		snprintf(dev, sizeof(dev), "%02x:%02x", line->major, line->minor);
		json_array_append_new(lines,
			json_pack("{s:s,s:s,s:s%,s:s,s:s,s:I,s:s}", "start", start, "end", end, "perm", line->perm,
				(size_t)4, "offset", offset, "dev", dev, "ino", (json_int_t)line->ino, "path",
				line->path));
	}
	all = json_pack("{s:i,s:i,s:s,s:o}", "mm", (int)space->id, "line", (int)space->line, "program",
		space->name ? space->name : "", "maps", lines);
	json_dumpf(all, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(all);
}

static int draw(const struct tracked *space, const char *trace, const char *path)
{
	char title[1024];
	FILE *out = strcmp(path, "-") ? fopen(path, "we") : stdout;
	int rc;

	if (!out) {
		perror(path);
		return -1;
	}
	snprintf(title, sizeof(title), "%s: address space %u after line %zu of %s", space->name ? space->name : "?", space->id,
		space->line, trace);
	maps_svg(out, &space->maps, title);
	rc = ferror(out);
	if (out != stdout && fclose(out))
		rc = -1;
	if (rc)
		fprintf(stderr, "samara maps: cannot write %s\n", path);
	return rc ? -1 : 0;
}

/* The trace up to the wanted moment.  The id of the address space that the last event was about, or 0 with a
 * message. */
static int read_to(
	const char *path, const struct wanted *wanted, struct tracked **list, uint32_t *first, uint32_t *last)
{
	struct trace_reader reader;
	struct event ev = { 0 };
	int rc;

	if (trace_open(&reader, path)) {
		fprintf(stderr, "samara maps: %s\n", reader.error);
		return -1;
	}
	while ((rc = trace_next(&reader, &ev)) == 1) {
		if (ev.kind == EV_EXEC && !*first)
			*first = ev.mm;
		if (follow(list, &ev, reader.line)) {
			fprintf(stderr, "%s:%zu: the maps change does not fit the maps before it\n", path, reader.line);
			rc = -1;
			break;
		}
		if (ev.mm && find(*list, ev.mm))
			*last = ev.mm;
		if (wanted->line && reader.line >= wanted->line)
			break;
	}
	if (rc < 0 && *reader.error)
		fprintf(stderr, "%s\n", reader.error);
	if (!rc && wanted->line > reader.line) {
		fprintf(stderr, "samara maps: %s has %zu lines, not %lu\n", path, reader.line - 1, wanted->line);
		rc = -1;
	}
	event_free(&ev);
	trace_close(&reader);
	return rc < 0 ? -1 : 0;
}

static void list_spaces(const struct tracked *list)
{
	for (; list; list = list->next)
		fprintf(stderr, "  %u  %s\n", list->id, list->name ? list->name : "");
}

int cmd_maps(int argc, char **argv)
{
	const char *trace = NULL, *svg = NULL;
	struct wanted wanted = { 0 };
	struct tracked *list = NULL, *space;
	uint32_t first = 0, last = 0;
	bool json = false;
	int code = EXIT_AGREED;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--at") && i + 1 < argc) {
			if (parse_number(argv[++i], 1, UINT32_MAX, &wanted.line))
				return usage_error("maps", "--at wants a line of the trace, not `%s'", argv[i]);
		} else if (!strcmp(argv[i], "--mm") && i + 1 < argc) {
			if (parse_number(argv[++i], 1, UINT32_MAX, &wanted.mm))
				return usage_error("maps", "--mm wants the number of an address space, not `%s'", argv[i]);
		} else if (!strcmp(argv[i], "--svg") && i + 1 < argc) {
			svg = argv[++i];
		} else if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (*argv[i] == '-' && argv[i][1]) {
			return usage_error("maps", "unknown option `%s'", argv[i]);
		} else if (trace) {
			return usage_error("maps", "one trace at a time");
		} else {
			trace = argv[i];
		}
	}
	if (!trace)
		return usage_error("maps", "no trace");
	if (read_to(trace, &wanted, &list, &first, &last)) {
		code = EXIT_MALFORMED;
	} else {
		uint32_t id = wanted.mm ? (uint32_t)wanted.mm : wanted.line ? last : first;

		space = find(list, id);
		if (!space) {
			fprintf(stderr, "samara maps: no address space %u there; those that exist:\n", id);
			list_spaces(list);
			code = EXIT_MALFORMED;
		} else if (svg && draw(space, trace, svg)) {
			code = EXIT_MALFORMED;
		} else if (json) {
			print_json(space);
		} else if (!svg) {
			print_text(space);
		}
	}
	while (list) {
		struct tracked *gone = list;

		list = gone->next;
		maps_free(&gone->maps);
		free(gone);
	}
	intern_free();
	return code;
}
