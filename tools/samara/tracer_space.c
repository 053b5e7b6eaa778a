/* tracer_space.c - the tracer's tasks and address spaces, and what is seen of them: faults, maps, pages.
 *
 * What always holds: `space->fault` is in time order and holds only what has not gone to the sink; `space->known`
 * is the maps as last seen, its marks say which private mappings are known to be written to (a mark is lost when
 * the line changes, which makes the next write be told again: harmless).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tracer_state.h"

/* ---- tasks and address spaces ---- */

struct task *task_find(struct tracer *t, pid_t tid)
{
	for (struct task *task = t->task[(unsigned)tid % 4096]; task; task = task->next)
		if (task->tid == tid)
			return task;
	return NULL;
}

struct task *task_add(struct tracer *t, pid_t tid)
{
	struct task *task = must_alloc(sizeof(*task));

	memset(task, 0, sizeof(*task));
	task->tid = task->tgid = tid;
	task->next = t->task[(unsigned)tid % 4096];
	t->task[(unsigned)tid % 4096] = task;
	t->live_tasks++;
	return task;
}

void task_unlink(struct tracer *t, struct task *task)
{
	struct task **at = &t->task[(unsigned)task->tid % 4096];

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
}

struct space *space_add(struct tracer *t, pid_t tid)
{
	struct space *space = must_alloc(sizeof(*space));

	memset(space, 0, sizeof(*space));
	space->id = ++t->last_space;
	space->waiting_end = &space->waiting;
	space->maps = probe_open(tid, "maps");
	space->pagemap = probe_open(tid, "pagemap");
	space->smaps = probe_open(tid, "smaps");
	t->space = must_grow(t->space, &t->space_room, t->space_n + 1, sizeof(*t->space));
	t->space[t->space_n++] = space;
	return space;
}

struct space *space_find(struct tracer *t, uint32_t id)
{
	for (size_t i = 0; i < t->space_n; i++)
		if (t->space[i]->id == id)
			return t->space[i];
	return NULL;
}

void space_drop(struct tracer *t, struct space *space)
{
	size_t i = 0;

	if (--space->users)
		return;
	while (t->space[i] != space)
		i++;
	t->space[i] = t->space[--t->space_n];
	if (space->maps >= 0)
		close(space->maps);
	if (space->pagemap >= 0)
		close(space->pagemap);
	if (space->smaps >= 0)
		close(space->smaps);
	free(space->fault);
	maps_free(&space->known);
	free(space);
}

/* ---- events ---- */

void tracer_emit(struct tracer *t)
{
	if (!t->stop && t->sink(t->self, &t->ev))
		t->stop = true;
}

struct event *tracer_event(struct tracer *t, enum event_kind kind, const struct space *space, const struct task *task)
{
	event_reset(&t->ev, kind);
	t->ev.mm = space ? space->id : 0;
	t->ev.tid = task ? task->tid : 0;
	return &t->ev;
}

/* Faults until now to the queue of the address space in which each happened. */
void tracer_drain(struct tracer *t, uint64_t before)
{
	const struct fault_record *record;
	size_t n = faults_drain(t->faults, before, &record);

	for (size_t i = 0; i < n; i++) {
		struct task *task = task_find(t, record[i].tid);
		struct space *space = task ? task->space : NULL;

		if (!space)
			continue; /* before the child's first stop: schedule_tail's write into inherited memory */
		space->fault = must_grow(space->fault, &space->fault_room, space->fault_n + 1, sizeof(*space->fault));
		space->fault[space->fault_n++] = record[i];
	}
}

void space_flush(struct tracer *t, struct space *space)
{
	struct event *ev;
	size_t n = 0;

	if (!space->fault_n || !t->started) {
		space->fault_n = 0;
		return;
	}
	ev = tracer_event(t, EV_PF, space, NULL);
	ev->fault = arena_alloc(&ev->arena, space->fault_n * sizeof(*ev->fault));
	for (size_t i = 0; i < space->fault_n; i++) {
		const struct fault_record *record = &space->fault[i];

		if (t->options->changes) { /* a trace holds the first write to each mapping only */
			size_t at = maps_find(&space->known, record->addr);
			struct map_line *line = &space->known.line[at];

			bool reads = t->no_zero_page && line->perm[3] == 'p' && !*line->path;

			if (at == space->known.n || line->start > record->addr || line->perm[3] != 'p' || line->mark ||
			    !(reads || (record->write && line->perm[1] == 'w')))
				continue;
			line->mark = true;
		}
		ev->fault[n++] = (struct ev_fault){ record->addr, record->write };
	}
	space->fault_n = 0;
	ev->fault_n = n;
	if (n)
		tracer_emit(t);
}

/* The maps now, into t->scratch; marks of lines that did not change stay. */
int space_look(struct tracer *t, struct space *space)
{
	size_t bad;

	if (probe_read(t, space->maps) || !t->text_n)
		return -1;
	bad = maps_parse(&t->scratch, t->text, t->text_n);
	if (bad) {
		fprintf(stderr, "samara: line %zu of /proc/PID/maps is not one that samara knows\n", bad);
		return -1;
	}
	for (size_t i = 0, j = 0; i < t->scratch.n && j < space->known.n;) {
		struct map_line *new = &t->scratch.line[i], *old = &space->known.line[j];

		if (new->start == old->start) {
			new->mark = old->mark && new->end <= old->end && map_line_equal(new, old);
			i++, j++;
		} else if (new->start < old->start) {
			i++;
		} else {
			j++;
		}
	}
	return 0;
}

void space_keep(struct tracer *t, struct space *space)
{
	struct maps swap = space->known;

	space->known = t->scratch;
	t->scratch = swap;
	space->know = true;
}

/* Pages that came without a fault, in private mappings not known to be written to. */
void space_scan(struct tracer *t, struct space *space, bool readonly_too)
{
	struct event *ev = tracer_event(t, EV_AF, space, NULL);
	struct ev_fault *fault = arena_alloc(&ev->arena, space->known.n * sizeof(*fault));
	size_t n = 0;

	for (size_t i = 0; i < space->known.n; i++) {
		struct map_line *line = &space->known.line[i];
		uint64_t at;

		if (line->mark || line->perm[3] != 'p' || line->start >> 47 || (!readonly_too && line->perm[1] != 'w'))
			continue;
		if (pagemap_anonymous(space->pagemap, line->start, line->end, &at) == 1) {
			fault[n++] = (struct ev_fault){ at, true };
			line->mark = true;
		}
	}
	ev->fault = fault;
	ev->fault_n = n;
	if (n)
		tracer_emit(t);
}

void event_set_text(struct tracer *t, struct event *ev)
{
	ev->maps_text = arena_text(&ev->arena, t->text, t->text_n);
	ev->maps_text_n = t->text_n;
}

/* With options->changes: what changed since the last look (a stack grew, a file was renamed), as an event. */
int space_grown(struct tracer *t, struct space *space, const struct task *task)
{
	struct event *ev;

	if (space_look(t, space))
		return -1;
	if (t->options->changes && space->know) {
		ev = tracer_event(t, EV_GROW, space, task);
		maps_diff(&space->known, &t->scratch, &ev->arena, &ev->change);
		ev->have_change = true;
		if (ev->change.gone_n || ev->change.come_n)
			tracer_emit(t);
	}
	space_keep(t, space);
	return 0;
}

void space_snapshot(struct tracer *t, struct space *space, struct task *task, const char *why, bool flags)
{
	struct event *ev;

	if (space_grown(t, space, task))
		return;
	space_scan(t, space, false);
	ev = tracer_event(t, EV_SNAP, space, task);
	ev->path = why;
	event_set_maps(ev, &space->known);
	event_set_text(t, ev);
	if (flags)
		probe_flags(t, ev, space);
	probe_stat(ev, task->tid);
	space->calls = 0;
	tracer_emit(t);
}

void space_forget(struct space *space, const struct task *task)
{
	for (struct task **at = &space->waiting; *at; at = &(*at)->next_waiting)
		if (*at == task) {
			*at = task->next_waiting;
			break;
		}
	space->waiting_end = &space->waiting;
	while (*space->waiting_end)
		space->waiting_end = &(*space->waiting_end)->next_waiting;
}

int tracer_maps(struct tracer *t, uint32_t mm, struct maps *out)
{
	struct space *space = t ? space_find(t, mm) : NULL;

	return !space || probe_read(t, space->maps) || !t->text_n || maps_parse(out, t->text, t->text_n) ? -1 : 0;
}

int tracer_anonymous(struct tracer *t, uint32_t mm, uint64_t start, uint64_t end, uint64_t *at)
{
	struct space *space = t ? space_find(t, mm) : NULL;

	return space ? pagemap_anonymous(space->pagemap, start, end, at) : -1;
}
