/* judge.c - takes events, keeps the address spaces, counts; see judge.h.
 *
 * What always holds: every call of a known address space ends as compared (counts.calls) or under a name in the
 * unjudged table; after a difference the address space is the kernel's again; spaces without a user are gone.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "judge_state.h"
#include "../../ports/posix/posix.h"

enum { LIST_MAX = 100, DIFF_LINES = 40, DIFF_CONTEXT = 2 };

/* ---- spaces ---- */

struct judged *judged_find(struct judge *judge, uint32_t id)
{
	for (struct judged *space = judge->space[id % 1024]; space; space = space->next)
		if (space->id == id)
			return space;
	return NULL;
}

struct judged *judged_add(struct judge *judge, uint32_t id)
{
	struct judged *space = must_alloc(sizeof(*space));

	memset(space, 0, sizeof(*space));
	space->id = id;
	space->users = 1;
	space->next = judge->space[id % 1024];
	judge->space[id % 1024] = space;
	return space;
}

static void judged_drop(struct judge *judge, struct judged *space)
{
	struct judged **at = &judge->space[space->id % 1024];

	while (*at != space)
		at = &(*at)->next;
	*at = space->next;
	if (space->mm)
		samara_mm_put(space->mm);
	maps_free(&space->kernel);
	free(space);
}

static void leave(struct judge *judge, struct judged *space)
{
	if (space && !--space->users)
		judged_drop(judge, space);
}

static uint64_t port_random(void *self)
{
	return ((struct judge *)self)->random;
}

static bool make_machine(struct judge *judge, const struct ev_machine *m)
{
	/* the port's self is the judge, so only ports whose members need no self of their own can be copied: posix's
	 * are such */
	struct samara_port port = *samara_posix_single_port();
	struct samara_config config = { .size = sizeof(config), .total_pages = 1ull << 23 };

	if (m->have) {
		config.total_pages = m->total_pages;
		config.swap_pages = m->swap_pages;
		config.overcommit_memory = m->overcommit_memory;
		config.overcommit_ratio = m->overcommit_ratio;
		config.overcommit_kbytes = m->overcommit_kbytes;
		config.admin_reserve_kbytes = m->admin_reserve_kbytes;
		config.user_reserve_kbytes = m->user_reserve_kbytes;
		config.max_map_count = m->max_map_count;
		config.mmap_min_addr = m->mmap_min_addr;
		config.dac_mmap_min_addr = m->dac_mmap_min_addr;
		config.stack_guard_gap_pages = m->stack_guard_gap_pages;
		config.huge_pages_2m = m->huge_pages_2m;
		config.huge_pages_1g = m->huge_pages_1g;
		config.numa_nodes = m->numa_nodes;
		config.no_thp = m->no_thp;
		config.anon_vma_name = m->anon_vma_name;
		config.soft_dirty = m->soft_dirty;
		config.pkeys = m->pkeys;
		config.no_ksm = m->no_ksm;
		config.memory_failure = m->memory_failure;
		config.no_vsyscall = m->no_vsyscall;
		judge->no_zero_page = m->no_zero_page;
		config.no_gbpages = m->no_gbpages;
		config.no_zero_page = m->no_zero_page;
	}
	port.self = judge;
	port.random = port_random;
	if (samara_create(&port, &config, &judge->vm)) {
		snprintf(judge->error, sizeof(judge->error), "the machine of the `hdr' event makes no sense");
		return false;
	}
	judge->files = files_create(judge->vm);
	return true;
}

struct judge *judge_create(const struct judge_options *options, const struct judge_oracle *oracle)
{
	struct judge *judge = must_alloc(sizeof(*judge));

	memset(judge, 0, sizeof(*judge));
	judge->options = *options;
	if (oracle)
		judge->oracle = *oracle;
	judge->list = json_array();
	return judge;
}

void judge_destroy(struct judge *judge)
{
	for (size_t i = 0; i < 1024; i++)
		while (judge->space[i])
			judged_drop(judge, judge->space[i]);
	files_destroy(judge->files);
	if (judge->vm)
		samara_destroy(judge->vm);
	maps_free(&judge->ours);
	maps_free(&judge->theirs);
	json_decref(judge->list);
	free(judge->text);
	free(judge);
}

/* ---- counting and reporting ---- */

void judge_count_unjudged(struct judge *judge, const char *kind, uint64_t n)
{
	size_t i;

	judge->counts.unjudged += n;
	for (i = 0; i < judge->unjudged_n && strcmp(judge->unjudged[i].kind, kind); i++)
		;
	if (i == sizeof(judge->unjudged) / sizeof(*judge->unjudged)) {
		judge->unjudged[i - 1].kind = "everything else";
		i--;
	} else if (i == judge->unjudged_n) {
		judge->unjudged[judge->unjudged_n++].kind = kind;
	}
	judge->unjudged[i].n += n;
}

void difference(struct judge *judge, struct judged *space, const struct event *ev, const char *what, const char *kernel,
	const char *ours, const struct maps *kernel_maps)
{
	FILE *out = judge->options.report;

	judge->counts.differences++;
	if (json_array_size(judge->list) < LIST_MAX) {
		char *call = NULL;
		size_t bytes = 0;
		FILE *memory = open_memstream(&call, &bytes);

		if (ev->kind == EV_CALL)
			event_print_call(memory, ev);
		fclose(memory);
		json_array_append_new(judge->list, json_pack("{s:s,s:i,s:i,s:s%,s:s%,s:s%,s:s}", "where",
			judge->where ? judge->where : "", "mm", (int)space->id, "thread", (int)ev->tid, "what", what, strlen(what),
			"kernel", kernel, strlen(kernel), "samara", ours, strlen(ours), "call", call));
		free(call);
	}
	if (!out)
		return;
	fprintf(out, "difference %" PRIu64 "%s%s: address space %u, thread %d, after %" PRIu64 " calls\n",
		judge->counts.differences, judge->where ? " at " : "", judge->where ? judge->where : "", space->id,
		ev->tid, space->calls);
	if (ev->kind == EV_CALL) {
		fputs("  ", out);
		event_print_call(out, ev);
		fputc('\n', out);
	}
	fprintf(out, "  %s:\n    the kernel: %s\n    samara:     %s\n", what, kernel, ours);
	if (kernel_maps)
		maps_print_diff(out, kernel_maps, &judge->ours, DIFF_CONTEXT, DIFF_LINES);
	fflush(out);
}

void judge_counts(const struct judge *judge, struct judge_counts *counts)
{
	*counts = judge->counts;
}

const char *judge_error(const struct judge *judge)
{
	return judge->error;
}

void judge_print_summary(FILE *out, const char *command, const struct judge_counts *c)
{
	fprintf(out,
		"%s: %" PRIu64 " calls, %" PRIu64 " processes, %" PRIu64 " maps compared, %" PRIu64
		" differences, %" PRIu64 " unjudged\n",
		command, c->calls, c->processes, c->maps, c->differences, c->unjudged);
}

void judge_print_unjudged(const struct judge *judge, FILE *out)
{
	for (size_t i = 0; i < judge->unjudged_n; i++)
		fprintf(out, "  unjudged: %8" PRIu64 "  %s\n", judge->unjudged[i].n, judge->unjudged[i].kind);
}

json_t *judge_json(const struct judge *judge)
{
	json_t *kinds = json_object();

	for (size_t i = 0; i < judge->unjudged_n; i++)
		json_object_set_new(kinds, judge->unjudged[i].kind, json_integer((json_int_t)judge->unjudged[i].n));
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:o,s:O}", "calls", (json_int_t)judge->counts.calls, "processes",
		(json_int_t)judge->counts.processes, "maps", (json_int_t)judge->counts.maps, "differences",
		(json_int_t)judge->counts.differences, "unjudged", (json_int_t)judge->counts.unjudged, "unjudged_kinds", kinds,
		"difference_list", judge->list);
}

int judge_maps(struct judge *judge, uint32_t mm, struct maps *out)
{
	struct judged *space = judged_find(judge, mm);

	if (!space || !space->mm)
		return -1;
	view_space(judge, space);
	maps_copy(out, &judge->ours);
	return 0;
}

static int malformed(struct judge *judge, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int malformed(struct judge *judge, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(judge->error, sizeof(judge->error), format, args);
	va_end(args);
	return JUDGE_MALFORMED;
}

static int verdict_code(struct judge *judge)
{
	return judge->counts.differences && !judge->options.keep_going ? JUDGE_STOP : JUDGE_GO;
}

/* ---- events ---- */

/* The kernel's maps now: tracked, or asked for. */
static const struct maps *kernel_maps(struct judge *judge, struct judged *space)
{
	if (judge->options.track)
		return &space->kernel;
	if (judge->oracle.maps && !judge->oracle.maps(judge->oracle.self, space->id, &judge->theirs))
		return &judge->theirs;
	return NULL;
}

static void adopt(struct judge *judge, struct judged *space, const struct maps *kernel)
{
	if (kernel)
		rebuild_space(judge, space, kernel);
}

/* The kernel's maps and samara's (in judge->ours) are not the same: whose fault it is. */
static void maps_differ(struct judge *judge, struct judged *space, const struct event *ev, const struct maps *kernel,
	const char *what)
{
	const char *excuse = NULL;

	if (only_merging(kernel, &judge->ours))
		excuse = space->doubt ? space->doubt : ev->kind == EV_CALL && ev->race ?
			"merging after another thread's first touch during a call" : NULL;
	if (!excuse && space->uffd)
		excuse = "userfaultfd: its close is not seen";
	if (!excuse && untold_touch(judge, space))
		excuse = "merging after a page that came without a fault";
	if (excuse)
		judge_count_unjudged(judge, excuse, 1);
	else
		difference(judge, space, ev, what, "see -", "see +", kernel);
	adopt(judge, space, kernel);
}

static bool result_depends_on_pages(const struct event *ev)
{
	uint64_t advice = ev->call == CALL_madvise ? ev->arg[2] : ev->call == CALL_process_madvise ? ev->arg[3] : 0;

	return advice == SAMARA_MADV_COLLAPSE || advice == SAMARA_MADV_HWPOISON || advice == SAMARA_MADV_SOFT_OFFLINE ||
	       advice == SAMARA_MADV_REMOVE || advice == SAMARA_MADV_PAGEOUT || advice == SAMARA_MADV_POPULATE_READ ||
	       advice == SAMARA_MADV_POPULATE_WRITE;
}

/* Reasons not to hold a different result against samara. */
static const char *result_excuse(struct judge *judge, struct judged *space, const struct event *ev)
{
	if (ev->result <= -512 && ev->result >= -516)
		return "a call that a signal interrupted";
	if (ev->result == -SAMARA_EINTR)
		return "a call that a signal interrupted";
	if (ev->race)
		return "a call beside another thread's first touch";
	if (result_depends_on_pages(ev))
		return "madvise that depends on the state of pages";
	if (space->uffd)
		return "userfaultfd: its close is not seen";
	if (untold_touch(judge, space))
		return "a call after a page that came without a fault";
	return NULL;
}

/* Where the call can have changed maps. */
static void window_of(const struct judged *space, const struct event *ev, uint64_t *low, uint64_t *high)
{
	const struct maps_change *change = &ev->change;
	uint64_t result = result_is_error(ev->result) ? 0 : (uint64_t)ev->result;

	*low = UINT64_MAX;
	*high = 0;
	for (size_t i = 0; i < change->gone_n; i++) {
		size_t at = maps_find(&space->kernel, change->gone[i]);
		uint64_t end = at < space->kernel.n ? space->kernel.line[at].end : change->gone[i];

		*low = change->gone[i] < *low ? change->gone[i] : *low;
		*high = end > *high ? end : *high;
	}
	for (size_t i = 0; i < change->come_n; i++) {
		*low = change->come[i].start < *low ? change->come[i].start : *low;
		*high = change->come[i].end > *high ? change->come[i].end : *high;
	}
	if (ev->argc >= 2 && ev->arg[0] + ev->arg[1] > ev->arg[0] && (ev->arg[0] + ev->arg[1]) >> 47 == 0) {
		*low = ev->arg[0] < *low ? ev->arg[0] : *low;
		*high = ev->arg[0] + ev->arg[1] > *high ? ev->arg[0] + ev->arg[1] : *high;
	}
	if ((ev->call == CALL_mmap || ev->call == CALL_mremap) && result && result >> 47 == 0) {
		*low = result < *low ? result : *low;
		*high = result + 1 > *high ? result + 1 : *high;
	}
	if (*low > *high)
		*low = *high = 0;
}

static int on_fork(struct judge *judge, struct judged *parent, const struct event *ev)
{
	struct judged *child;
	const struct maps *kernel = &ev->maps;
	int err;

	if (result_is_error(ev->result) || !ev->child_mm)
		return JUDGE_GO;
	if (ev->child_mm == ev->mm) {
		parent->users++;
		if (!(ev->clone_flags & 0x10000))
			judge->counts.processes++;
		return JUDGE_GO;
	}
	if (judged_find(judge, ev->child_mm))
		return malformed(judge, "address space %u begins twice", ev->child_mm);
	judge->counts.processes++;
	child = judged_add(judge, ev->child_mm);
	child->params = parent->params;
	child->open = parent->open;
	child->foreign = parent->foreign;
	child->doubt = parent->doubt;
	if (judge->options.track) {
		maps_copy(&child->kernel, &parent->kernel);
		if (maps_apply(&child->kernel, &ev->child_change))
			return malformed(judge, "the child's maps change does not fit its parent's maps");
		kernel = &child->kernel;
	}
	if (parent->foreign)
		return JUDGE_GO;
	judge->counts.calls++;
	err = samara_fork(parent->mm, &child->mm);
	if (err) {
		char ours[64], theirs[64];

		difference(judge, parent, ev, "the result", result_text(ev->result, theirs, sizeof(theirs)),
			result_text(err, ours, sizeof(ours)), NULL);
		if (samara_mm_create(judge->vm, &parent->params, &child->mm))
			return malformed(judge, "out of memory");
		rebuild_space(judge, child, kernel);
		return verdict_code(judge);
	}
	if (ev->have_maps || judge->options.track) {
		judge->counts.maps++;
		view_space(judge, child);
		if (!same_maps(judge, child, kernel, ev->maps_text, ev->maps_text_n))
			maps_differ(judge, child, ev, kernel, "the child's maps");
	}
	return verdict_code(judge);
}

static int on_call(struct judge *judge, struct judged *space, const struct event *ev)
{
	int64_t answer = 0;
	const char *kind = "?";
	enum verdict verdict;
	uint64_t low, high;

	window_of(space, ev, &low, &high);
	if (judge->options.track && maps_apply(&space->kernel, &ev->change))
		return malformed(judge, "the maps change of %s does not fit the maps before it", call_name(ev->call));
	space->racing = ev->race;
	if (call_is_fork(ev->call))
		return on_fork(judge, space, ev);
	if (space->foreign) {
		judge_count_unjudged(judge, "a call of a 32-bit program", 1);
		return JUDGE_GO;
	}
	verdict = judge_perform(judge, space, ev, &answer, &kind);
	space->calls++;
	if (verdict == NOT_JUDGED) {
		judge_count_unjudged(judge, kind, 1);
		adopt(judge, space, kernel_maps(judge, space));
		return JUDGE_GO;
	}
	if (verdict == JUDGED)
		judge->counts.calls++;
	if (verdict == JUDGED && answer != ev->result) {
		const char *excuse = result_excuse(judge, space, ev);
		const struct maps *kernel = kernel_maps(judge, space);
		char ours[64], theirs[64];

		view_space(judge, space);
		if (excuse)
			judge_count_unjudged(judge, excuse, 1);
		else
			difference(judge, space, ev, "the result", result_text(ev->result, theirs, sizeof(theirs)),
				result_text(answer, ours, sizeof(ours)), kernel);
		adopt(judge, space, kernel);
		return verdict_code(judge);
	}
	if (judge->options.track && ev->have_change && !same_window(judge, space, low, high))
		maps_differ(judge, space, ev, &space->kernel, "maps after the call");
	return verdict_code(judge);
}

static int on_exec(struct judge *judge, const struct event *ev)
{
	struct judged *old = judged_find(judge, ev->old_mm), *space;
	int rc = JUDGE_GO;

	if (judged_find(judge, ev->mm) && ev->mm != ev->old_mm)
		return malformed(judge, "address space %u begins twice", ev->mm);
	if (old)
		leave(judge, old);
	if (judged_find(judge, ev->mm))
		return malformed(judge, "address space %u begins twice", ev->mm);
	if (!ev->maps.n)
		return malformed(judge, "an exec without maps");
	space = judged_add(judge, ev->mm);
	if (!old)
		judge->counts.processes++;
	if (judge->options.track)
		maps_copy(&space->kernel, &ev->maps);
	if (ev->layout.start_stack < 1ull << 32) {
		space->foreign = true;
		judge_count_unjudged(judge, "a 32-bit program", 1);
		return JUDGE_GO;
	}
	if (begin_space(judge, space, ev))
		return JUDGE_MALFORMED;
	judge->counts.maps++;
	view_space(judge, space);
	if (!same_maps(judge, space, &ev->maps, ev->maps_text, ev->maps_text_n)) {
		difference(judge, space, ev, "maps after exec", "see -", "see +", &ev->maps);
		rc = verdict_code(judge);
	}
	return rc;
}

static int on_grow(struct judge *judge, struct judged *space, const struct event *ev)
{
	const struct maps_change *change = &ev->change;
	uint64_t low, high;

	if (!judge->options.track)
		return JUDGE_GO;
	window_of(space, ev, &low, &high);
	if (maps_apply(&space->kernel, change))
		return malformed(judge, "the maps change between calls does not fit the maps before it");
	if (space->foreign)
		return JUDGE_GO;
	for (size_t i = 0; i < change->come_n; i++) {
		struct samara_read_guard g;
		const struct samara_vma *vma;
		bool grew;

		samara_read_lock(space->mm, &g);
		vma = samara_find_vma(&g, change->come[i].start);
		grew = vma && samara_vma_start(vma) > change->come[i].start && samara_vma_end(vma) == change->come[i].end;
		samara_read_unlock(&g);
		if (grew)
			samara_expand_stack(space->mm, change->come[i].start);
	}
	if (same_window(judge, space, low, high))
		return JUDGE_GO;
	judge_count_unjudged(judge, "a change of maps between calls that no event explains", 1);
	rebuild_space(judge, space, &space->kernel);
	return JUDGE_GO;
}

static int on_snap(struct judge *judge, struct judged *space, const struct event *ev)
{
	uint64_t had = judge->counts.differences;

	if (judge->options.track) {
		struct arena arena = { 0 };
		struct maps_change change;
		bool same;

		maps_diff(&space->kernel, &ev->maps, &arena, &change);
		same = !change.gone_n && !change.come_n;
		arena_free(&arena);
		if (!same) {
			/* a stack that grew since the last call, or something lost: take it as it is */
			maps_copy(&space->kernel, &ev->maps);
			judge_count_unjudged(judge, "a snapshot that does not follow from the changes before it", 1);
			if (!space->foreign)
				rebuild_space(judge, space, &space->kernel);
		}
	}
	if (space->foreign)
		return JUDGE_GO;
	judge->counts.maps++;
	view_space(judge, space);
	if (!same_maps(judge, space, &ev->maps, ev->maps_text, ev->maps_text_n)) {
		maps_differ(judge, space, ev, &ev->maps, "maps");
		return verdict_code(judge);
	}
	if (!space->doubt || strcmp(space->doubt, "merging in an address space that was rebuilt")) {
		compare_flags(judge, space, ev);
		if (judge->counts.differences == had)
			compare_status(judge, space, ev);
		space->doubt = NULL;
	}
	return verdict_code(judge);
}

int judge_event(struct judge *judge, const struct event *ev, const char *where)
{
	struct judged *space;

	judge->where = where;
	if (ev->kind == EV_HDR)
		return judge->vm || make_machine(judge, &ev->machine) ? JUDGE_GO : JUDGE_MALFORMED;
	if (!judge->vm)
		return malformed(judge, "no `hdr' event");
	if (ev->kind == EV_EXEC)
		return on_exec(judge, ev);
	if (ev->kind == EV_END) {
		if (ev->end_lost)
			judge_count_unjudged(judge, "page-fault records that the kernel lost", ev->end_lost);
		return JUDGE_GO;
	}
	space = judged_find(judge, ev->mm);
	if (!space)
		return JUDGE_GO; /* before its first exec: the recorder's own child */
	switch (ev->kind) {
	case EV_CALL:
		return on_call(judge, space, ev);
	case EV_GROW:
		return on_grow(judge, space, ev);
	case EV_PF:
	case EV_AF:
		if (!space->foreign)
			judge_touch(judge, space, ev);
		return JUDGE_GO;
	case EV_SNAP:
		return on_snap(judge, space, ev);
	case EV_GONE:
		leave(judge, space);
		return JUDGE_GO;
	default:
		return JUDGE_GO;
	}
}
