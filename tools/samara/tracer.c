/* tracer.c - follows a program and everything that it starts, and turns its stops into events.
 *
 * What always holds:
 *  - at most one call of an address space is in flight (`space->holder`); a fork-like call ends for us at its
 *    event, so that vfork's parent, which sleeps in the kernel, does not hold its child up;
 *  - an event goes to the sink while the task that made it is stopped, and every page fault that came before it
 *    has gone to the sink before it; faults of other threads during the call go after it, and are counted in
 *    `race`;
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

#define SLEEP_NS 1000000000ull

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

static void resume(struct task *task, int how, int sig)
{
	ptrace(how, task->tid, 0, (long)sig);
}

/* ---- calls ---- */

static void call_begin(struct tracer *t, struct task *task)
{
	struct space *space = task->space;

	space->holder = task;
	space->entered = task->entered = faults_now();
	task->in_call = true;
	tracer_drain(t, task->entered);
	if (t->options->changes && t->started)
		space_grown(t, space, task);
	space_flush(t, space);
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

/* A call that sleeps (on userfaultfd, on a dead file server) must not stop the program for ever: after a while
 * others go on beside it, and what it answers in the end is not held against samara. */
static void release_sleepers(struct tracer *t)
{
	uint64_t now = faults_now();

	for (size_t i = 0; i < t->space_n; i++) {
		struct space *space = t->space[i];
		struct task *sleeper = space->holder;

		if (!sleeper || !space->waiting || now - space->entered < SLEEP_NS)
			continue;
		call_release(t, sleeper);
		sleeper->in_call = true;
		sleeper->overlapped = true;
	}
}

static struct event *call_event(struct tracer *t, struct task *task, int64_t result)
{
	struct event *ev = tracer_event(t, EV_CALL, task->space, task);

	ev->call = task->call;
	ev->argc = call_argc(task->call);
	memcpy(ev->arg, task->arg, ev->argc * sizeof(*ev->arg));
	ev->result = result;
	for (size_t i = 0; i < task->space->fault_n; i++)
		if (task->space->fault[i].write && task->space->fault[i].tid != task->tid)
			ev->race++;
	if (task->overlapped)
		ev->race++;
	task->overlapped = false;
	args_after(t, task, ev);
	return ev;
}

static void add_change(struct tracer *t, struct space *space, struct event *ev)
{
	if (!t->options->changes || space_look(t, space))
		return;
	maps_diff(&space->known, &t->scratch, &ev->arena, &ev->change);
	ev->have_change = true;
	space_keep(t, space);
}

static void call_end(struct tracer *t, struct task *task, int64_t result)
{
	struct space *space = task->space;
	struct event *ev;

	tracer_drain(t, faults_now());
	if (t->started) {
		ev = call_event(t, task, result);
		add_change(t, space, ev);
		t->totals->calls++;
		tracer_emit(t);
		space_flush(t, space);
		if (t->options->every && ++space->calls >= t->options->every)
			space_snapshot(t, space, task, "n", t->options->flags);
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
	tracer_drain(t, faults_now());
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
		if (!shares && !space_look(t, child->space)) {
			if (t->options->changes) {
				maps_diff(&space->known, &t->scratch, &ev->arena, &ev->child_change);
			} else {
				event_set_maps(ev, &t->scratch);
				event_set_text(t, ev);
			}
			for (size_t i = 0; i < t->scratch.n; i++)
				t->scratch.line[i].mark = false;
			space_keep(t, child->space);
		}
		t->totals->calls++;
		tracer_emit(t);
		space_flush(t, space);
		space->calls++;
	}
	call_release(t, parent);
	if (child->born)
		resume(child, PTRACE_CONT, 0);
	child->born = false;
	resume(parent, PTRACE_CONT, 0);
}

static void exec_event(struct tracer *t, struct task *task, uint32_t old_space)
{
	struct space *space = task->space;
	struct event *ev;

	if (space_look(t, space))
		return;
	ev = tracer_event(t, EV_EXEC, space, task);
	ev->old_mm = old_space;
	event_set_maps(ev, &t->scratch);
	event_set_text(t, ev);
	probe_flags(t, ev, space);
	probe_exec(t, ev, task->tid);
	ev->path = ev->exe;
	probe_stat(ev, task->tid);
	space_keep(t, space);
	t->started = true;
	tracer_emit(t);
	space_scan(t, space, true);
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
	tracer_drain(t, faults_now());
	old = task->space;
	old_id = old ? old->id : 0;
	if (old) {
		size_t n = 0;

		/* what this task touched since the execve's entry was in the new space, whose state is read whole */
		for (size_t i = 0; i < old->fault_n; i++)
			if (old->fault[i].tid != task->tid && old->fault[i].tid != (int32_t)was)
				old->fault[n++] = old->fault[i];
		old->fault_n = n;
		if (old->users > 1)
			space_flush(t, old);
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
		space_forget(space, task);
		tracer_drain(t, faults_now());
		if (t->started) {
			if (!space->holder)
				space_flush(t, space);
			if (space->users == 1)
				space_snapshot(t, space, task, "exit", true);
			tracer_event(t, EV_GONE, space, task)->status = (int64_t)status;
			tracer_emit(t);
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
		space_forget(space, task);
		if (t->started) {
			tracer_event(t, EV_GONE, space, task)->status = status;
			tracer_emit(t);
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
	fprintf(stderr, "\r%s: %" PRIu64 " calls, %u tasks, %.0f s%s\033[K", t->options->progress, t->totals->calls,
		t->live_tasks, now - t->began, more);
}

static void on_tick(int sig)
{
	(void)sig;
}

/* Interrupts end the run in order: everything traced is killed, then the sink's owner may close its file. */
static void catch_interrupts(struct sigaction was[3], bool catch)
{
	static const int signals[3] = { SIGINT, SIGTERM, SIGHUP };

	for (int i = 0; i < 3; i++) {
		struct sigaction act = { .sa_handler = on_interrupt };

		if (!catch)
			sigaction(signals[i], &was[i], NULL);
		else if (!sigaction(signals[i], NULL, &was[i]) && was[i].sa_handler != SIG_IGN)
			sigaction(signals[i], &act, NULL);
	}
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
	struct sigaction act = { .sa_handler = on_tick }, was, were[3];
	sigset_t alarm_set, before;
	bool killed = false;

	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm_set, &before);
	sigaction(SIGALRM, &act, &was);
	setitimer(ITIMER_REAL, &tick, NULL);
	interrupted = 0;
	catch_interrupts(were, true);
	for (;;) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);

		if (!tid) {
			sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
			tid = waitpid(-1, &status, __WALL);
			sigprocmask(SIG_BLOCK, &alarm_set, NULL);
		}
		if (tid < 0 && errno == EINTR) {
			tracer_drain(t, faults_now());
			release_sleepers(t);
			progress(t);
			if (interrupted && !t->stop) {
				t->signal = interrupted;
				t->stop = true;
				kill_all(t);
			}
			continue;
		}
		if (tid < 0)
			break;
		if (WIFSTOPPED(status)) {
			if (t->stop) {
				kill(tid, SIGKILL);
				ptrace(PTRACE_CONT, tid, 0, SIGKILL); /* the kill itself may be what it stopped for */
			} else {
				on_stop(t, tid, status);
			}
		} else {
			task_gone(t, tid, status);
		}
		if (t->stop && !killed) {
			killed = true;
			kill_all(t);
		}
	}
	setitimer(ITIMER_REAL, &none, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL); /* a last tick may be pending: our handler takes it, not the default */
	sigaction(SIGALRM, &was, NULL);
	catch_interrupts(were, false);
	if (t->options->progress && isatty(2))
		fputs("\r\033[K", stderr);
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
	t->root = tracer_spawn(options, &go, &error_fd, why, room);
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
	event_reset(&t->ev, EV_HDR);
	probe_machine(&t->ev, options->every);
	t->no_zero_page = t->ev.machine.no_zero_page;
	tracer_emit(t);
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
	totals->signal = t->signal;
	totals->seconds = seconds() - t->began;
	if (handle)
		*handle = NULL;
	free_tracer(t);
	return rc;
}
