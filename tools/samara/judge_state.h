/* judge_state.h - what the judge's files share.
 *
 * judge.c counts, keeps the address spaces and takes events; judge_call.c makes one call on samara; judge_maps.c
 * compares maps, begins an address space and rebuilds one.
 */
#ifndef TOOL_JUDGE_STATE_H
#define TOOL_JUDGE_STATE_H

#include "files.h"
#include "judge.h"

struct judged {
	struct judged *next;
	uint32_t id, users;
	struct samara_mm *mm;
	struct samara_mm_params params; /* at exec; a child has its parent's */
	struct maps kernel;             /* with options.track: the kernel's maps now */
	uint64_t open;                  /* numbers the files that this exec mapped */
	bool foreign;                   /* not judged: a 32-bit program */
	bool uffd;                      /* userfaultfd was used: its close() is not seen */
	const char *doubt;              /* why merging may differ since the last whole agreement, or NULL */
	uint32_t racing;                /* write faults of the next EV_PF that ran beside the last call */
	uint64_t calls;
};

struct judge {
	struct judge_options options;
	struct judge_oracle oracle;
	struct samara *vm;
	struct files *files;
	bool no_zero_page;        /* of the machine: reads of anonymous memory are first touches too */
	struct judged *space[1024];
	struct judge_counts counts;
	struct {
		const char *kind;
		uint64_t n;
	} unjudged[64];
	size_t unjudged_n;
	json_t *list;             /* the first differences */
	uint64_t random;          /* what the port's random gives */
	uint64_t opens;
	const char *where;
	struct maps ours, theirs; /* scratch */
	char *text;
	size_t text_n, text_room;
	char error[256];
};

enum verdict {
	JUDGED,      /* *answer is samara's */
	NO_EFFECT,   /* nothing to compare, nothing changed */
	NOT_JUDGED,  /* *kind says why; the map may have changed */
};

/* judge.c */
struct judged *judged_find(struct judge *judge, uint32_t id);
struct judged *judged_add(struct judge *judge, uint32_t id);
void difference(struct judge *judge, struct judged *space, const struct event *ev, const char *what, const char *kernel,
	const char *ours, const struct maps *kernel_maps);

/* judge_call.c */
enum verdict judge_perform(struct judge *judge, struct judged *space, const struct event *ev, int64_t *answer,
	const char **kind);
void judge_touch(struct judge *judge, struct judged *space, const struct event *ev);

/* judge_maps.c */
int begin_space(struct judge *judge, struct judged *space, const struct event *ev);
void rebuild_space(struct judge *judge, struct judged *space, const struct maps *kernel);
/* samara's maps into judge->ours; its text is judge->text. */
void view_space(struct judge *judge, struct judged *space);
/* Compare judge->ours (view_space) with the kernel's; names and numbers that only the kernel knows are taken over. */
bool same_maps(struct judge *judge, struct judged *space, const struct maps *kernel, const char *text, size_t text_n);
/* The same for the lines in [low, high) and their neighbours, without viewing the rest. */
bool same_window(struct judge *judge, struct judged *space, uint64_t low, uint64_t high);
/* Whether the two differ only in where neighbours are merged. */
bool only_merging(const struct maps *kernel, const struct maps *ours);
void compare_flags(struct judge *judge, struct judged *space, const struct event *ev);
void compare_status(struct judge *judge, struct judged *space, const struct event *ev);
/* A private mapping that samara thinks untouched and the kernel has pages for: its touch came without a fault. */
bool untold_touch(struct judge *judge, struct judged *space);

#endif
