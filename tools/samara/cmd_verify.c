/* cmd_verify.c - samara verify: a real program runs, samara is asked everything that the kernel is asked. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "commands.h"
#include "judge.h"
#include "tracer.h"

struct verify {
	struct judge *judge;
	struct tracer *tracer;
	bool malformed;
};

static int take(void *self, struct event *ev)
{
	struct verify *verify = self;
	int rc = judge_event(verify->judge, ev, NULL);

	if (rc == JUDGE_MALFORMED)
		verify->malformed = true;
	return rc != JUDGE_GO;
}

static int ask_maps(void *self, uint32_t mm, struct maps *out)
{
	return tracer_maps(((struct verify *)self)->tracer, mm, out);
}

static int ask_anonymous(void *self, uint32_t mm, uint64_t start, uint64_t end, uint64_t *at)
{
	return tracer_anonymous(((struct verify *)self)->tracer, mm, start, end, at);
}

static void poll(void *self, char *text, size_t room)
{
	struct judge_counts counts;

	judge_counts(((struct verify *)self)->judge, &counts);
	snprintf(text, room, ", %" PRIu64 " differences, %" PRIu64 " unjudged", counts.differences, counts.unjudged);
}

static int options_of(int argc, char **argv, struct tracer_options *tracing, struct judge_options *judging, bool *json)
{
	unsigned long number;
	int i;

	for (i = 1; i < argc && *argv[i] == '-'; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (!strcmp(argv[i], "--keep-going")) {
			judging->keep_going = true;
		} else if (!strcmp(argv[i], "--json")) {
			*json = tracing->output_to_stderr = true;
		} else if (!strcmp(argv[i], "--maps-every") && i + 1 < argc) {
			if (parse_number(argv[++i], 1, UINT32_MAX, &number)) {
				usage_error("verify", "--maps-every wants a number of calls, not `%s'", argv[i]);
				return -1;
			}
			tracing->every = (uint32_t)number;
		} else {
			usage_error("verify", "unknown option `%s'", argv[i]);
			return -1;
		}
	}
	if (i >= argc) {
		usage_error("verify", "no program to run");
		return -1;
	}
	tracing->argv = argv + i;
	return 0;
}

int cmd_verify(int argc, char **argv)
{
	struct verify verify = { 0 };
	struct tracer_options tracing = { .every = 250, .progress = "verify", .poll = poll, .poll_self = &verify };
	struct judge_options judging = { .report = stderr };
	struct judge_oracle oracle = { &verify, ask_maps, ask_anonymous };
	struct tracer_totals totals;
	struct judge_counts counts;
	bool json = false;
	char why[512] = "";
	int rc, code;

	if (options_of(argc, argv, &tracing, &judging, &json))
		return EXIT_MALFORMED;
	if (json)
		judging.report = NULL;
	verify.judge = judge_create(&judging, &oracle);
	rc = tracer_run(&tracing, take, &verify, &verify.tracer, &totals, why, sizeof(why));
	if (rc == TRACER_USAGE || rc == TRACER_MISSING || verify.malformed) {
		fprintf(stderr, "samara verify: %s\n", verify.malformed ? judge_error(verify.judge) : why);
		judge_destroy(verify.judge);
		return rc == TRACER_MISSING ? EXIT_MISSING : EXIT_MALFORMED;
	}
	if (totals.lost)
		judge_count_unjudged(verify.judge, "page-fault records that the kernel lost", totals.lost);
	judge_counts(verify.judge, &counts);
	code = counts.differences ? EXIT_DIFFERS : EXIT_AGREED;
	if (json) {
		json_t *all = judge_json(verify.judge);

		json_object_set_new(all, "command", json_string("verify"));
		json_object_set_new(all, "seconds", json_real(totals.seconds));
		json_object_set_new(all, "stops", json_integer((json_int_t)totals.stops));
		json_object_set_new(all, "faults", json_integer((json_int_t)totals.faults));
		json_object_set_new(all, "exit", json_integer(totals.exit_code));
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	} else {
		judge_print_unjudged(verify.judge, stdout);
		if (totals.signal)
			printf("interrupted: what follows is for the part that ran\n");
		else if (rc == TRACER_STOPPED)
			printf("stopped at the first difference (--keep-going goes on)\n");
		judge_print_summary(stdout, "verify", &counts);
	}
	judge_destroy(verify.judge);
	intern_free();
	return totals.signal && !code ? 128 + totals.signal : code;
}
