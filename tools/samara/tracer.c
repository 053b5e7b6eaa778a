/* tracer.c - follows a program and everything that it starts, and turns its stops into events.
 *
 * What always holds:
 *  - at most one call of an address space is in flight (`space->holder`); a fork-like call ends for us at its event, so that
 *    vfork's parent, which sleeps in the kernel, does not hold its child up;
 *  - an event goes to the sink while the task that made it is stopped, and every page fault that came before it has
 *    gone to the sink before it; faults of other threads during the call go after it, and are counted in `race`;
 *  - a task is resumed exactly once for each of its stops.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tracer_state.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

static void resume(struct task *task, int how, int sig)
{
	ptrace(how, task->tid, 0, (long)sig);
}

/* ---- tasks and address spaces ---- */

static struct task *task_find(struct tracer *t, pid_t tid)
{
	for (struct task *task = t->task[(unsigned)tid % 4096]; task; task = task->next)
		if (task->tid == tid)
			return task;
	return NULL;
}

static struct task *task_add(struct tracer *t, pid_t tid)
{
	struct task *task = must_alloc(sizeof(*task));

	memset(task, 0, sizeof(*task));
	task->tid = task->tgid = tid;
	task->next = t->task[(unsigned)tid % 4096];
	t->task[(unsigned)tid % 4096] = task;
	t->live_tasks++;
	return task;
}

static void task_unlink(struct tracer *t, struct task *task)
{
	struct task **at = &t->task[(unsigned)task->tid % 4096];

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
}

static struct space *space_add(struct tracer *t, pid_t tid)
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

static struct space *space_find(struct tracer *t, uint32_t id)
{
	for (size_t i = 0; i < t->space_n; i++)
		if (t->space[i]->id == id)
			return t->space[i];
	return NULL;
}

static void space_drop(struct tracer *t, struct space *space)
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

static void emit(struct tracer *t)
{
	if (!t->stop && t->sink(t->self, &t->ev))
		t->stop = true;
}

static struct event *event_for(struct tracer *t, enum event_kind kind, const struct space *space, const struct task *task)
{
	event_reset(&t->ev, kind);
	t->ev.mm = space ? space->id : 0;
	t->ev.tid = task ? task->tid : 0;
	return &t->ev;
}

/* Faults until now to the queue of the address space in which each happened. */
static void drain(struct tracer *t, uint64_t before)
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

static void flush_faults(struct tracer *t, struct space *space)
{
	struct event *ev;
	size_t n = 0;

	if (!space->fault_n || !t->started) {
		space->fault_n = 0;
		return;
	}
	ev = event_for(t, EV_PF, space, NULL);
	ev->fault = arena_alloc(&ev->arena, space->fault_n * sizeof(*ev->fault));
	for (size_t i = 0; i < space->fault_n; i++) {
		const struct fault_record *record = &space->fault[i];

		if (t->options->changes) { /* a trace holds the first write to each mapping only */
			size_t at = maps_find(&space->known, record->addr);
			struct map_line *line = &space->known.line[at];

			if (!record->write || at == space->known.n || line->start > record->addr || line->perm[3] != 'p' ||
			    line->perm[1] != 'w' || line->mark)
				continue;
			line->mark = true;
		}
		ev->fault[n++] = (struct ev_fault){ record->addr, record->write };
	}
	space->fault_n = 0;
	ev->fault_n = n;
	if (n)
		emit(t);
}

/* The maps now, into t->scratch; marks of lines that did not change stay. */
static int look(struct tracer *t, struct space *space)
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

static void keep_look(struct tracer *t, struct space *space)
{
	struct maps swap = space->known;

	space->known = t->scratch;
	t->scratch = swap;
	space->know = true;
}

/* Pages that came without a fault, in private mappings not known to be written to. */
static void scan(struct tracer *t, struct space *space, bool readonly_too)
{
	struct event *ev = event_for(t, EV_AF, space, NULL);
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
		emit(t);
}

static void text_to_event(struct tracer *t, struct event *ev)
{
	ev->maps_text = arena_text(&ev->arena, t->text, t->text_n);
	ev->maps_text_n = t->text_n;
}

static void snapshot(struct tracer *t, struct space *space, struct task *task, const char *why, bool flags)
{
	struct event *ev;

	if (look(t, space))
		return;
	keep_look(t, space);
	scan(t, space, false);
	if (look(t, space))
		return;
	ev = event_for(t, EV_SNAP, space, task);
	ev->path = why;
	event_set_maps(ev, &t->scratch);
	text_to_event(t, ev);
	if (flags)
		probe_flags(t, ev, space);
	probe_stat(ev, task->tid);
	keep_look(t, space);
	space->calls = 0;
	emit(t);
}

/* ---- calls ---- */

static void call_begin(struct tracer *t, struct task *task)
{
	struct space *space = task->space;

	space->holder = task;
	space->entered = task->entered = faults_now();
	task->in_call = true;
	drain(t, task->entered);
	if (t->options->changes && t->started) {
		if (!look(t, space)) {
			struct event *ev = event_for(t, EV_GROW, space, task);

			maps_diff(&space->known, &t->scratch, &ev->arena, &ev->change);
			keep_look(t, space);
			if (ev->change.gone_n || ev->change.come_n) {
				ev->have_change = true;
				emit(t);
			}
		}
	}
	flush_faults(t, space);
	args_before(t, task);
}

static void call_release(struct tracer *t, struct task *task)
{
	struct space *space = task->space;
	struct task *next;

	task->in_call = false;
	if (!space || space->holder != task)
		return;
	space->holder = NULL;
	next = space->waiting;
	if (!next)
		return;
	space->waiting = next->next_waiting;
	if (!space->waiting)
		space->waiting_end = &space->waiting;
	next->next_waiting = NULL;
	call_begin(t, next);
	resume(next, PTRACE_SYSCALL, 0);
}

static struct event *call_event(struct tracer *t, struct task *task, int64_t result)
{
	struct event *ev = event_for(t, EV_CALL, task->space, task);

	ev->call = task->call;
	ev->argc = call_argc(task->call);
	memcpy(ev->arg, task->arg, ev->argc * sizeof(*ev->arg));
	ev->result = result;
	for (size_t i = 0; i < task->space->fault_n; i++)
		if (task->space->fault[i].write && task->space->fault[i].tid != task->tid)
			ev->race++;
	args_after(t, task, ev);
	return ev;
}

static void add_change(struct tracer *t, struct space *space, struct event *ev)
{
	if (!t->options->changes || look(t, space))
		return;
	maps_diff(&space->known, &t->scratch, &ev->arena, &ev->change);
	ev->have_change = true;
	keep_look(t, space);
}

static void call_end(struct tracer *t, struct task *task, int64_t result)
{
	struct space *space = task->space;
	struct event *ev;

	drain(t, faults_now());
	if (t->started) {
		ev = call_event(t, task, result);
		add_change(t, space, ev);
		t->totals->calls++;
		emit(t);
		flush_faults(t, space);
		if (t->options->every && ++space->calls >= t->options->every)
			snapshot(t, space, task, "n", t->options->flags);
	}
	call_release(t, task);
}

static void on_seccomp(struct tracer *t, struct task *task)
{
	struct __ptrace_syscall_info info;
	int call;

	memset(&info, 0, sizeof(info));
	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, sizeof(info), &info) <= 0 ||
	    (call = tracer_call_of(info.seccomp.nr)) < 0 || !task->space) {
		resume(task, PTRACE_CONT, 0);
		return;
	}
	task->call = (enum call_id)call;
	for (int i = 0; i < 6; i++)
		task->arg[i] = info.seccomp.args[i];
	if (task->space->holder) {
		*task->space->waiting_end = task;
		task->space->waiting_end = &task->next_waiting;
		return;
	}
	call_begin(t, task);
	resume(task, PTRACE_SYSCALL, 0);
}

static void on_syscall_exit(struct tracer *t, struct task *task)
{
	struct __ptrace_syscall_info info;

	memset(&info, 0, sizeof(info));
	if (task->in_call && ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, sizeof(info), &info) > 0 &&
	    info.op == PTRACE_SYSCALL_INFO_EXIT)
		call_end(t, task, info.exit.rval);
	else if (task->in_call && info.op != PTRACE_SYSCALL_INFO_EXIT) {
		resume(task, PTRACE_SYSCALL, 0); /* the entry stop of the same call */
		return;
	}
	resume(task, PTRACE_CONT, 0);
}

/* ---- fork, exec, exit ---- */

static void child_ready(struct tracer *t, struct task *child)
{
	(void)t;
	if (child->born)
		resume(child, PTRACE_CONT, 0);
	child->born = false;
}

static void on_fork(struct tracer *t, struct task *parent)
{
	unsigned long tid = 0;
	struct task *child;
	struct space *space = parent->space;
	bool shares;

	ptrace(PTRACE_GETEVENTMSG, parent->tid, 0, &tid);
	child = task_find(t, (pid_t)tid);
	if (!child)
		child = task_add(t, (pid_t)tid);
	shares = parent->clone_flags & 0x100; /* CLONE_VM */
	child->tgid = parent->clone_flags & 0x10000 ? parent->tgid : child->tid; /* CLONE_THREAD */
	drain(t, faults_now());
	if (shares) {
		child->space = space;
		space->users++;
	} else {
		child->space = space_add(t, child->tid);
		child->space->users = 1;
		t->totals->processes++;
	}
	if (t->started) {
		struct event *ev = call_event(t, parent, (int64_t)tid);

		ev->child_mm = child->space->id;
		add_change(t, space, ev);
		if (!shares && !look(t, child->space)) {
			if (t->options->changes) {
				maps_diff(&space->known, &t->scratch, &ev->arena, &ev->child_change);
			} else {
				event_set_maps(ev, &t->scratch);
				text_to_event(t, ev);
			}
			for (size_t i = 0; i < t->scratch.n; i++)
				t->scratch.line[i].mark = false;
			keep_look(t, child->space);
		}
		t->totals->calls++;
		emit(t);
		flush_faults(t, space);
		space->calls++;
	}
	call_release(t, parent);
	child_ready(t, child);
	resume(parent, PTRACE_CONT, 0);
}

static void exec_event(struct tracer *t, struct task *task, uint32_t old_space)
{
	struct space *space = task->space;
	struct event *ev;

	if (look(t, space))
		return;
	ev = event_for(t, EV_EXEC, space, task);
	ev->old_mm = old_space;
	event_set_maps(ev, &t->scratch);
	text_to_event(t, ev);
	probe_flags(t, ev, space);
	probe_exec(t, ev, task->tid);
	ev->path = ev->exe;
	probe_stat(ev, task->tid);
	keep_look(t, space);
	t->started = true;
	emit(t);
	scan(t, space, true);
}

static void on_exec(struct tracer *t, struct task *task)
{
	unsigned long was = 0;
	struct space *old;
	uint32_t old_id;

	ptrace(PTRACE_GETEVENTMSG, task->tid, 0, &was);
	if ((pid_t)was != task->tid) { /* a thread became the leader: the old leader's task is gone */
		struct task *thread = task_find(t, (pid_t)was);

		if (thread) {
			if (task->space && !task->exiting)
				space_drop(t, task->space);
			task_unlink(t, task);
			free(task);
			t->live_tasks--;
			task_unlink(t, thread);
			task = thread;
			task->tid = task->tgid;
			task->next = t->task[(unsigned)task->tid % 4096];
			t->task[(unsigned)task->tid % 4096] = task;
		}
	}
	/* what the kernel touched since the execve's entry happened in the new space; its state is read whole */
	drain(t, task->entered);
	old = task->space;
	old_id = old ? old->id : 0;
	drain(t, faults_now());
	if (old) {
		size_t n = 0;

		for (size_t i = 0; i < old->fault_n; i++)
			if (old->fault[i].tid != task->tid && old->fault[i].tid != (int32_t)was)
				old->fault[n++] = old->fault[i];
		old->fault_n = n;
		if (old->users > 1)
			flush_faults(t, old);
		call_release(t, task);
		space_drop(t, old);
	}
	task->in_call = false;
	task->exiting = false;
	task->space = space_add(t, task->tid);
	task->space->users = 1;
	event_reset(&t->ev, EV_NOTHING);
	exec_event(t, task, old_id);
	if (t->totals->processes == 0)
		t->totals->processes = 1;
	resume(task, PTRACE_CONT, 0);
}

static void on_exit_event(struct tracer *t, struct task *task)
{
	struct space *space = task->space;
	unsigned long status = 0;

	ptrace(PTRACE_GETEVENTMSG, task->tid, 0, &status);
	if (space && !task->exiting) {
		/* a call that a fatal signal ended has no exit stop */
		if (space->holder == task)
			call_release(t, task);
		for (struct task **at = &space->waiting; *at;) {
			if (*at == task) {
				*at = task->next_waiting;
				space->waiting_end = &space->waiting;
				while (*space->waiting_end)
					space->waiting_end = &(*space->waiting_end)->next_waiting;
			} else {
				at = &(*at)->next_waiting;
			}
		}
		drain(t, faults_now());
		if (t->started) {
			if (!space->holder)
				flush_faults(t, space);
			if (space->users == 1) {
				if (t->options->changes && !look(t, space)) {
					struct event *ev = event_for(t, EV_GROW, space, task);

					maps_diff(&space->known, &t->scratch, &ev->arena, &ev->change);
					ev->have_change = true;
					keep_look(t, space);
					if (ev->change.gone_n || ev->change.come_n)
						emit(t);
				}
				snapshot(t, space, task, "exit", true);
			}
			event_for(t, EV_GONE, space, task)->status = (int64_t)status;
			emit(t);
		}
		task->exiting = true;
		task->space = NULL;
		space_drop(t, space);
	}
	resume(task, PTRACE_CONT, 0);
}

static void task_gone(struct tracer *t, pid_t tid, int status)
{
	struct task *task = task_find(t, tid);

	if (tid == t->root)
		t->totals->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (!task)
		return;
	if (task->space) { /* killed without an exit event */
		struct space *space = task->space;

		if (space->holder == task)
			call_release(t, task);
		for (struct task **at = &space->waiting; *at; at = &(*at)->next_waiting)
			if (*at == task) {
				*at = task->next_waiting;
				break;
			}
		space->waiting_end = &space->waiting;
		while (*space->waiting_end)
			space->waiting_end = &(*space->waiting_end)->next_waiting;
		if (t->started) {
			event_for(t, EV_GONE, space, task)->status = status;
			emit(t);
		}
		space_drop(t, space);
	}
	task_unlink(t, task);
	free(task);
	t->live_tasks--;
}

/* ---- stops ---- */

static void on_stop(struct tracer *t, pid_t tid, int status)
{
	struct task *task = task_find(t, tid);
	int sig = WSTOPSIG(status), event = status >> 16;

	t->totals->stops++;
	if (!task) { /* a new child, before its parent's event */
		task = task_add(t, tid);
		task->born = true;
		return;
	}
	switch (event) {
	case 0:
		if (sig == (SIGTRAP | 0x80))
			on_syscall_exit(t, task);
		else
			resume(task, task->in_call ? PTRACE_SYSCALL : PTRACE_CONT, sig);
		return;
	case PTRACE_EVENT_SECCOMP:
		on_seccomp(t, task);
		return;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_fork(t, task);
		return;
	case PTRACE_EVENT_EXEC:
		on_exec(t, task);
		return;
	case PTRACE_EVENT_EXIT:
		on_exit_event(t, task);
		return;
	case PTRACE_EVENT_STOP:
		if (!task->space && !task->exiting) {
			task->born = true;
			return;
		}
		if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
			resume(task, PTRACE_LISTEN, 0);
		else
			resume(task, task->in_call ? PTRACE_SYSCALL : PTRACE_CONT, 0);
		return;
	default:
		resume(task, PTRACE_CONT, 0);
	}
}

static double seconds(void)
{
	return (double)faults_now() / 1e9;
}

static void progress(struct tracer *t)
{
	double now = seconds();
	char more[160] = "";

	if (!t->options->progress || !isatty(2) || now - t->shown < 0.5)
		return;
	t->shown = now;
	if (t->options->poll)
		t->options->poll(t->options->poll_self, more, sizeof(more));
	fprintf(stderr, "\r%s: %" PRIu64 " calls, %u tasks, %.0f s%s\033[K", t->options->progress, t->totals->calls, t->live_tasks,
		now - t->began, more);
}

static void on_tick(int sig)
{
	(void)sig;
}

static void kill_all(struct tracer *t)
{
	for (size_t i = 0; i < 4096; i++)
		for (struct task *task = t->task[i]; task; task = task->next)
			kill(task->tid, SIGKILL);
}

/* Wait, and read the rings at every tick so that they never fill up while the program runs long without a call. */
static void follow(struct tracer *t)
{
	struct itimerval tick = { { 0, 20000 }, { 0, 20000 } }, none = { 0 };
	struct sigaction act = { .sa_handler = on_tick }, was;
	sigset_t alarm_set, before;

	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm_set, &before);
	sigaction(SIGALRM, &act, &was);
	setitimer(ITIMER_REAL, &tick, NULL);
	for (;;) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);

		if (!tid) {
			sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
			tid = waitpid(-1, &status, __WALL);
			sigprocmask(SIG_BLOCK, &alarm_set, NULL);
		}
		if (tid < 0 && errno == EINTR) {
			drain(t, faults_now());
			progress(t);
			continue;
		}
		if (tid < 0)
			break;
		if (WIFSTOPPED(status)) {
			if (t->stop)
				kill(tid, SIGKILL);
			else
				on_stop(t, tid, status);
		} else {
			task_gone(t, tid, status);
		}
		if (t->stop)
			kill_all(t);
	}
	setitimer(ITIMER_REAL, &none, NULL);
	sigaction(SIGALRM, &was, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (t->options->progress && isatty(2))
		fputs("\r\033[K", stderr);
}

static void send_machine(struct tracer *t)
{
	struct event *ev = event_for(t, EV_HDR, NULL, NULL);
	FILE *file = fopen("/proc/version", "re");
	char line[512] = "";

	if (file && !fgets(line, sizeof(line), file))
		*line = 0;
	if (file)
		fclose(file);
	ev->version = 1;
	ev->every = t->options->every;
	ev->kernel = arena_text(&ev->arena, line, strcspn(line, "\n"));
	machine_probe(&ev->machine);
	emit(t);
}

static void free_tracer(struct tracer *t)
{
	faults_close(t->faults);
	open_files_destroy(t->files);
	for (size_t i = 0; i < 4096; i++)
		while (t->task[i]) {
			struct task *task = t->task[i];

			t->task[i] = task->next;
			free(task);
		}
	for (size_t i = 0; i < t->space_n; i++) {
		free(t->space[i]->fault);
		maps_free(&t->space[i]->known);
		free(t->space[i]);
	}
	free(t->space);
	free(t->text);
	maps_free(&t->scratch);
	event_free(&t->ev);
	free(t);
}

int tracer_run(const struct tracer_options *options, tracer_sink *sink, void *self, struct tracer **handle,
	struct tracer_totals *totals, char *why, size_t room)
{
	struct tracer *t = must_alloc(sizeof(*t));
	struct rlimit files;
	int go, error_fd, error[2], rc = TRACER_DONE;
	struct task *task;

	memset(t, 0, sizeof(*t));
	memset(totals, 0, sizeof(*totals));
	t->options = options;
	t->sink = sink;
	t->self = self;
	t->totals = totals;
	t->files = open_files_create();
	t->began = seconds();
	if (handle)
		*handle = t;
	t->root = tracer_spawn(options->argv, &go, &error_fd, why, room);
	if (t->root < 0) {
		free_tracer(t);
		return TRACER_MISSING;
	}
	if (faults_open(&t->faults, t->root, why, room)) {
		kill(t->root, SIGKILL);
		waitpid(t->root, NULL, __WALL);
		close(go);
		close(error_fd);
		free_tracer(t);
		return TRACER_MISSING;
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	task = task_add(t, t->root);
	task->space = space_add(t, t->root);
	task->space->users = 1;
	send_machine(t);
	if (write(go, "", 1) != 1)
		t->stop = true;
	close(go);
	follow(t);
	if (read(error_fd, error, sizeof(error)) == (ssize_t)sizeof(error)) {
		if (error[0] == 1)
			snprintf(why, room, "seccomp: cannot load the filter: %s (the kernel needs CONFIG_SECCOMP_FILTER)",
				strerror(error[1]));
		else
			snprintf(why, room, "%s: %s", options->argv[0], strerror(error[1]));
		rc = error[0] == 1 ? TRACER_MISSING : TRACER_USAGE;
	} else if (t->stop) {
		rc = TRACER_STOPPED;
	}
	close(error_fd);
	totals->faults = faults_seen(t->faults);
	totals->lost = faults_lost(t->faults);
	totals->seconds = seconds() - t->began;
	if (handle)
		*handle = NULL;
	free_tracer(t);
	return rc;
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
