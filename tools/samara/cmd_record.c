/* cmd_record.c - samara record: a program's memory calls, with the exact maps change of each, as a trace. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "commands.h"
#include "trace.h"
#include "tracer.h"

struct record {
	struct stream *out;
	bool failed;
};

static int take(void *self, struct event *ev)
{
	struct record *record = self;

	if (!trace_write(record->out, ev))
		return 0;
	record->failed = true;
	return 1;
}

static int finish(struct record *record, const struct tracer_totals *totals)
{
	struct event ev = { 0 };

	event_reset(&ev, EV_END);
	ev.end_calls = totals->calls;
	ev.end_stops = totals->stops;
	ev.end_faults = totals->faults;
	ev.end_lost = totals->lost;
	ev.end_seconds = totals->seconds;
	ev.end_rc = totals->exit_code;
	return trace_write(record->out, &ev);
}

int cmd_record(int argc, char **argv)
{
	struct tracer_options options = { .every = 250, .changes = true, .flags = true, .progress = "record" };
	struct tracer_totals totals;
	struct record record = { 0 };
	const char *path = NULL;
	unsigned long number;
	char why[512] = "";
	int i, rc;

	for (i = 1; i < argc && *argv[i] == '-'; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (!strcmp(argv[i], "-o") && i + 1 < argc) {
			path = argv[++i];
		} else if (!strcmp(argv[i], "--maps-every") && i + 1 < argc) {
			if (parse_number(argv[++i], 1, UINT32_MAX, &number))
				return usage_error("record", "--maps-every wants a number of calls, not `%s'", argv[i]);
			options.every = (uint32_t)number;
		} else {
			return usage_error("record", "unknown option `%s'", argv[i]);
		}
	}
	if (!path)
		return usage_error("record", "no output: -o FILE");
	if (i >= argc)
		return usage_error("record", "no program to run");
	options.argv = argv + i;
	record.out = stream_write(path, why, sizeof(why));
	if (!record.out) {
		fprintf(stderr, "samara record: %s\n", why);
		return EXIT_MALFORMED;
	}
	rc = tracer_run(&options, take, &record, NULL, &totals, why, sizeof(why));
	if (rc == TRACER_USAGE || rc == TRACER_MISSING) {
		fprintf(stderr, "samara record: %s\n", why);
		stream_close(record.out);
		if (strcmp(path, "-"))
			remove(path);
		return rc == TRACER_MISSING ? EXIT_MISSING : EXIT_MALFORMED;
	}
	/* a recording that was cut short has no `end', which readers take as truncated */
	if (!record.failed && !totals.signal && finish(&record, &totals))
		record.failed = true;
	if (record.failed)
		snprintf(why, sizeof(why), "%s", stream_error(record.out));
	if (stream_close(record.out) || record.failed) {
		fprintf(stderr, "samara record: %s: %s\n", path, *why ? why : "cannot write");
		return EXIT_MALFORMED;
	}
	if (totals.signal) {
		fprintf(stderr, "samara record: interrupted: %s is incomplete\n", path);
		return 128 + totals.signal;
	}
	fprintf(stderr,
		"record: %" PRIu64 " calls, %" PRIu64 " processes, %" PRIu64 " faults (%" PRIu64
		" lost), %.2f s, exit %d\n",
		totals.calls, totals.processes, totals.faults, totals.lost, totals.seconds, totals.exit_code);
	return EXIT_AGREED;
}
