/* cmd_replay.c - samara replay: recorded traces against samara; no kernel, no privilege. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "commands.h"
#include "judge.h"
#include "trace.h"

/* One file.  An exit code; counts are added to *sum, its result to `results` when that is there. */
static int replay_file(const char *path, const struct judge_options *options, struct judge_counts *sum, json_t *results)
{
	struct trace_reader reader;
	struct event ev = { 0 };
	struct judge *judge;
	struct judge_counts counts;
	int rc, code = EXIT_AGREED;

	if (trace_open(&reader, path)) {
		fprintf(stderr, "samara replay: %s\n", reader.error);
		return EXIT_MALFORMED;
	}
	judge = judge_create(options, NULL);
	while ((rc = trace_next(&reader, &ev)) == 1) {
		char where[512];

		snprintf(where, sizeof(where), "%.480s:%zu", path, reader.line);
		rc = judge_event(judge, &ev, where);
		if (rc == JUDGE_MALFORMED) {
			fprintf(stderr, "%s: %s\n", where, judge_error(judge));
			code = EXIT_MALFORMED;
		}
		if (rc != JUDGE_GO)
			break;
		if (isatty(2) && reader.line % 4096 == 0)
			fprintf(stderr, "\rreplay: %s, line %zu\033[K", path, reader.line);
	}
	if (isatty(2))
		fputs("\r\033[K", stderr);
	if (rc < 0) {
		fprintf(stderr, "%s\n", reader.error);
		code = EXIT_MALFORMED;
	}
	judge_counts(judge, &counts);
	if (code == EXIT_AGREED && counts.differences)
		code = EXIT_DIFFERS;
	sum->calls += counts.calls;
	sum->processes += counts.processes;
	sum->maps += counts.maps;
	sum->differences += counts.differences;
	sum->unjudged += counts.unjudged;
	if (results) {
		json_t *result = judge_json(judge);

		json_object_set_new(result, "file", json_string(path));
		json_array_append_new(results, result);
	} else {
		judge_print_unjudged(judge, stdout);
	}
	judge_destroy(judge);
	event_free(&ev);
	trace_close(&reader);
	return code;
}

int cmd_replay(int argc, char **argv)
{
	struct judge_options options = { .track = true, .report = stdout };
	struct judge_counts sum = { 0 };
	json_t *results = NULL;
	int i, code = EXIT_AGREED;

	for (i = 1; i < argc && *argv[i] == '-' && argv[i][1]; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (!strcmp(argv[i], "--keep-going"))
			options.keep_going = true;
		else if (!strcmp(argv[i], "--json"))
			results = results ? results : json_array();
		else
			return usage_error("replay", "unknown option `%s'", argv[i]);
	}
	if (i >= argc)
		return usage_error("replay", "no trace to replay");
	if (results)
		options.report = NULL;
	for (; i < argc; i++) {
		int one = replay_file(argv[i], &options, &sum, results);

		if (one > code)
			code = one;
		if (code && !options.keep_going)
			break;
	}
	if (results) {
		json_t *all = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:o}", "command", "replay", "calls", (json_int_t)sum.calls,
			"processes", (json_int_t)sum.processes, "maps", (json_int_t)sum.maps, "differences", (json_int_t)sum.differences,
			"unjudged", (json_int_t)sum.unjudged, "files", results);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	} else if (code != EXIT_MALFORMED) {
		judge_print_summary(stdout, "replay", &sum);
	}
	intern_free();
	return code;
}
