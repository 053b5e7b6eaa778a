/* trace.h - traces: events as lines of JSON (the format is docs' trace-format page).
 *
 * Reading trusts nothing: every member is checked for its type and range, and what is wrong is said with its line.  A
 * well-formed call with hostile values is just a call.
 */
#ifndef TOOL_TRACE_H
#define TOOL_TRACE_H

#include "event.h"
#include "stream.h"

int trace_write(struct stream *out, const struct event *ev); /* 0, or -1: stream_error() */

struct trace_reader {
	struct stream *in;
	const char *name;   /* for messages */
	size_t line;
	bool ended;         /* the `end` event was read */
	bool begun;
	char error[256];
};

/* 0, or -1 with the reason in reader->error. */
int trace_open(struct trace_reader *reader, const char *path);
void trace_open_memory(struct trace_reader *reader, const void *bytes, size_t n);
/* 1: an event; 0: the end of a complete trace; -1: reader->error ("FILE:LINE: what is wrong"). */
int trace_next(struct trace_reader *reader, struct event *ev);
void trace_close(struct trace_reader *reader);

#endif
