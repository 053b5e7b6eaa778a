/* tracer_state.h - what the tracer's files share: tasks, address spaces, open files, and how /proc is read.
 *
 * A task is a thread; it belongs to one address space (`struct space`), which lives as long as a task is in it.
 * `space->holder` is the task whose call is in flight; other tasks of the space that reach a call wait, stopped,
 * in `space->waiting`. `task->space` is NULL before the kernel has told whose child a new task is.
 */
#ifndef TOOL_TRACER_STATE_H
#define TOOL_TRACER_STATE_H

#include <sys/types.h>
#include "faults.h"
#include "tracer.h"

struct space {
	uint32_t id, users;
	uint32_t calls;            /* since the last snapshot */
	struct task *holder;
	uint64_t entered;          /* when the holder's call began */
	struct task *waiting, **waiting_end;
	struct fault_record *fault; /* not yet handed on, oldest first */
	size_t fault_n, fault_room;
	int maps, pagemap, smaps;  /* open files of /proc/PID, bound to this address space; -1: not open */
	struct maps known;         /* the maps as last seen; `mark`: a write fault there is known */
	bool know;
};

struct task {
	struct task *next;         /* in the hash chain */
	struct task *next_waiting;
	pid_t tid, tgid;
	struct space *space;
	bool born;                 /* its first stop came before its parent's event */
	bool in_call;
	bool overlapped;           /* its call slept so long that others went on beside it */
	bool exiting;              /* its end was told */
	enum call_id call;
	uint64_t arg[6];
	uint64_t clone_flags;
	uint64_t entered;
	bool have_rlimit;
	uint64_t rlimit[2];
	struct ev_file file;
	struct ev_segment segment;
};

struct open_files;

struct tracer {
	const struct tracer_options *options;
	tracer_sink *sink;
	void *self;
	struct tracer_totals *totals;
	struct faults *faults;
	struct open_files *files;
	struct event ev;
	bool no_zero_page; /* the machine has none: see samara.h */
	struct task *task[4096];
	struct space **space;      /* those alive */
	size_t space_n, space_room;
	uint32_t last_space;
	uint32_t live_tasks;
	pid_t root;
	bool started;              /* the first exec has been seen */
	bool stop;
	int signal;                /* that ended the run early, or 0 */
	char *text;                /* the last file read */
	size_t text_n, text_room;
	struct maps scratch;
	double began, shown;
};

/* tracer_space.c */
struct task *task_find(struct tracer *t, pid_t tid);
struct task *task_add(struct tracer *t, pid_t tid);
void task_unlink(struct tracer *t, struct task *task); /* out of the table; the caller frees or re-adds it */
struct space *space_add(struct tracer *t, pid_t tid);
struct space *space_find(struct tracer *t, uint32_t id);
void space_drop(struct tracer *t, struct space *space); /* one user less */
/* The tracer's one event, emptied; then to the sink. */
struct event *tracer_event(struct tracer *t, enum event_kind kind, const struct space *space, const struct task *task);
void tracer_emit(struct tracer *t);
void space_forget(struct space *space, const struct task *task); /* no longer waiting for its turn */
/* Faults until `before` to the queues of their spaces; a space's queue to the sink. */
void tracer_drain(struct tracer *t, uint64_t before);
void space_flush(struct tracer *t, struct space *space);
/* The maps now, into t->scratch (0, or -1: gone); then they become what is known. */
int space_look(struct tracer *t, struct space *space);
void space_keep(struct tracer *t, struct space *space);
/* Tell pages that came without a fault; tell the whole maps. */
void space_scan(struct tracer *t, struct space *space, bool readonly_too);
int space_grown(struct tracer *t, struct space *space, const struct task *task);
void space_snapshot(struct tracer *t, struct space *space, struct task *task, const char *why, bool flags);
void event_set_text(struct tracer *t, struct event *ev);

/* tracer_spawn.c: a seized child that waits for a byte on *go_fd, then loads the filter and execs argv.  When it
 * cannot, two ints come through *error_fd: the stage (1 the filter, 2 the exec) and errno. */
pid_t tracer_spawn(const struct tracer_options *options, int *go_fd, int *error_fd, char *why, size_t room);
/* Which call a number is; -1: none that is traced. */
int tracer_call_of(uint64_t nr);

/* tracer_probe.c: reading a stopped process */
int probe_open(pid_t tid, const char *leaf);
int probe_read(struct tracer *tracer, int fd);  /* into tracer->text */
size_t probe_memory(pid_t tid, uint64_t addr, void *to, size_t bytes); /* bytes read */
void probe_exec(struct tracer *tracer, struct event *ev, pid_t tid);
void probe_stat(struct event *ev, pid_t tid);
void probe_credentials(pid_t tid, uint64_t *capabilities, uint32_t *euid);
void probe_flags(struct tracer *tracer, struct event *ev, struct space *space);
const char *probe_flags_at(struct tracer *tracer, struct space *space, uint64_t start);
void probe_machine(struct event *ev, uint32_t every); /* the `hdr' event */
pid_t probe_pidfd(pid_t tid, int fd);

/* tracer_files.c: which open file a descriptor is */
struct open_files *open_files_create(void);
void open_files_destroy(struct open_files *files);
void open_files_identify(struct open_files *files, pid_t tid, pid_t tgid, int fd, struct ev_file *out);
/* An exec is near: held files that were opened for writing would give ETXTBSY. */
void open_files_release_writable(struct open_files *files);

/* tracer_args.c: what a call's arguments point to */
void args_before(struct tracer *tracer, struct task *task);
void args_after(struct tracer *tracer, struct task *task, struct event *ev);

#endif
