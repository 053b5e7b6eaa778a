/* judge.h - gives every event to samara and compares its answer with the kernel's.
 *
 * One judge holds one machine.  It sees what the kernel did (events), does the same to its own address spaces, and
 * counts: calls compared, maps compared, differences, and by kind what could not be judged; nothing is left out of
 * these counts.  After a difference, or something not judged that changed the map, the address space is rebuilt
 * from the kernel's maps.
 */
#ifndef TOOL_JUDGE_H
#define TOOL_JUDGE_H

#include <jansson.h>
#include "event.h"

struct judge;

/* How the judge of a live program asks about the kernel's side; all absent for a trace. */
struct judge_oracle {
	void *self;
	int (*maps)(void *self, uint32_t mm, struct maps *out);
	int (*anonymous)(void *self, uint32_t mm, uint64_t start, uint64_t end, uint64_t *at);
};

struct judge_options {
	bool keep_going;    /* past the first difference */
	bool track;         /* events carry the exact change of maps: compare after each call */
	FILE *report;       /* where differences are printed; NULL: nowhere */
};

struct judge_counts {
	uint64_t calls, processes, maps, differences, unjudged;
};

enum { JUDGE_GO = 0, JUDGE_STOP = 1, JUDGE_MALFORMED = 2 };

struct judge *judge_create(const struct judge_options *options, const struct judge_oracle *oracle);
void judge_destroy(struct judge *judge);
/* `where` names the event for reports ("FILE:LINE"), or NULL.  JUDGE_STOP: a difference, and not keep_going.
 * JUDGE_MALFORMED: the event contradicts those before it; judge_error() says how. */
int judge_event(struct judge *judge, const struct event *ev, const char *where);
const char *judge_error(const struct judge *judge);
void judge_counts(const struct judge *judge, struct judge_counts *counts);
void judge_count_unjudged(struct judge *judge, const char *kind, uint64_t n);
/* "C calls, P processes, M maps compared, D differences, U unjudged" and a line for each kind of the last. */
void judge_print_unjudged(const struct judge *judge, FILE *out);
json_t *judge_json(const struct judge *judge);
void judge_print_summary(FILE *out, const char *command, const struct judge_counts *counts);
/* The samara side of an address space as maps, for a look at it.  0, or -1: there is none. */
int judge_maps(struct judge *judge, uint32_t mm, struct maps *out);

#endif
