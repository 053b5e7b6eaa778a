/* tracer.h - a real program as a source of events: ptrace, a seccomp filter, page faults.
 *
 * tracer_run() starts a program, follows everything that it starts, and hands each memory call to the sink as an
 * event, in an order in which one machine could have made them: calls of one address space never overlap, page
 * faults come before the call that follows them.  The sink may ask tracer_maps() and tracer_anonymous() about the
 * event's address space while it holds an event.
 */
#ifndef TOOL_TRACER_H
#define TOOL_TRACER_H

#include "event.h"

struct tracer;

struct tracer_options {
	char **argv;
	uint32_t every;     /* a snapshot every so many calls of an address space; 0: never */
	bool changes;       /* the exact change of maps by each call */
	bool output_to_stderr; /* the program's: standard output is for the report */
	bool flags;         /* VmFlags with every snapshot, not only at exit */
	const char *progress; /* "verify", "record": a word for the progress line, or NULL */
	void (*poll)(void *self, char *text, size_t room); /* what to add to the progress line */
	void *poll_self;
};

struct tracer_totals {
	uint64_t calls, stops, faults, lost, processes;
	double seconds;
	int exit_code; /* the program's, as a shell gives it */
	int signal;    /* SIGINT, ... when samara was told to stop, else 0 */
};

/* Takes an event; anything but 0 ends the run (every traced process is killed). */
typedef int tracer_sink(void *self, struct event *ev);

enum { TRACER_DONE = 0, TRACER_STOPPED = 1, TRACER_USAGE = 2, TRACER_MISSING = 77 };

/* `why` says what is wrong for TRACER_USAGE and TRACER_MISSING. */
int tracer_run(const struct tracer_options *options, tracer_sink *sink, void *self, struct tracer **handle,
	struct tracer_totals *totals, char *why, size_t room);

/* The present maps of an address space.  0, or -1: it is gone. */
int tracer_maps(struct tracer *tracer, uint32_t mm, struct maps *out);
/* See pagemap_anonymous(). */
int tracer_anonymous(struct tracer *tracer, uint32_t mm, uint64_t start, uint64_t end, uint64_t *at);

#endif
