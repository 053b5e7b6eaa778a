/* tracer_args.c - what a call's arguments point to, read from the stopped caller.
 *
 * args_before() runs at the call's entry for what the call may change or what must be seen before; args_after()
 * runs when the call has returned and fills the event.  Descriptors are looked up before the call: another thread
 * may close them.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "tracer_state.h"

enum { NODES_MAX = 1024, IOV_MAX_COUNT = 1024, NAME_MAX_BYTES = 80, MAGIC_ANON_INODE = 0x09041934 };

static void read_rlimit(struct task *task, uint64_t addr)
{
	task->have_rlimit = addr && probe_memory(task->tid, addr, task->rlimit, 16) == 16;
}

static void read_segment(struct ev_segment *segment, int id)
{
	struct shmid_ds ds;

	if (shmctl(id, IPC_STAT, &ds))
		return;
	*segment = (struct ev_segment){
		.have = true, .bytes = ds.shm_segsz, .mode = ds.shm_perm.mode, .key = (uint32_t)ds.shm_perm.__key,
	};
}

void args_before(struct tracer *tracer, struct task *task)
{
	memset(&task->file, 0, sizeof(task->file));
	memset(&task->segment, 0, sizeof(task->segment));
	task->have_rlimit = false;
	task->clone_flags = 0;
	switch (task->call) {
	case CALL_mmap:
		if (task->arg[3] & SAMARA_MAP_ANONYMOUS)
			break;
		open_files_identify(tracer->files, task->tid, task->tgid, (int)task->arg[4], &task->file);
		break;
	case CALL_fcntl:
	case CALL_ioctl:
		open_files_identify(tracer->files, task->tid, task->tgid, (int)task->arg[0], &task->file);
		break;
	case CALL_shmat:
		read_segment(&task->segment, (int)task->arg[0]);
		break;
	case CALL_setrlimit:
		read_rlimit(task, task->arg[1]);
		break;
	case CALL_prlimit64:
		read_rlimit(task, task->arg[2]);
		break;
	case CALL_vfork:
		task->clone_flags = 0x4100; /* CLONE_VFORK | CLONE_VM */
		break;
	case CALL_clone:
		task->clone_flags = task->arg[0];
		break;
	case CALL_clone3:
		if (probe_memory(task->tid, task->arg[0], &task->clone_flags, 8) != 8)
			task->clone_flags = 0;
		break;
	case CALL_execve:
	case CALL_execveat:
		open_files_release_writable(tracer->files);
		break;
	default:
		break;
	}
}

static void read_path(struct event *ev, pid_t tid, uint64_t addr)
{
	char path[4096];
	size_t n = probe_memory(tid, addr, path, sizeof(path) - 1);

	if (!n) { /* the string may end where the mapping ends */
		size_t to_end = 4096 - (addr & 4095);

		n = probe_memory(tid, addr, path, to_end < sizeof(path) ? to_end : sizeof(path) - 1);
	}
	path[n] = 0;
	ev->path = arena_text(&ev->arena, path, strlen(path));
}

static void read_nodes(struct event *ev, pid_t tid, uint64_t addr, uint64_t maxnode)
{
	size_t words = (size_t)(maxnode > NODES_MAX * 64 ? NODES_MAX : (maxnode + 63) / 64);
	uint64_t *nodes;

	if (!addr || !words)
		return;
	nodes = arena_alloc(&ev->arena, words * 8);
	if (probe_memory(tid, addr, nodes, words * 8) == words * 8) {
		ev->nodes = nodes;
		ev->nodes_n = words;
	}
}

static void read_iov(struct event *ev, pid_t tid, uint64_t addr, uint64_t count)
{
	struct samara_iovec *iov;

	if (!count || count > IOV_MAX_COUNT)
		return;
	iov = arena_alloc(&ev->arena, count * sizeof(*iov));
	if (probe_memory(tid, addr, iov, count * sizeof(*iov)) == count * sizeof(*iov)) {
		ev->iov = iov;
		ev->iov_n = count;
	}
}

/* ioctl_userfaultfd(2): the argument is a struct of 64-bit words for every number that matters here */
static void read_uffd(struct task *task, struct event *ev)
{
	ev->uffd_id = task->file.id;
	ev->file.have = false;
	if (probe_memory(task->tid, task->arg[2], ev->uffd, 32) != 32 &&
		probe_memory(task->tid, task->arg[2], ev->uffd, 24) != 24)
		probe_memory(task->tid, task->arg[2], ev->uffd, 16);
}

static uint32_t space_of_pid(struct tracer *tracer, pid_t pid)
{
	for (struct task *task = tracer->task[(unsigned)pid % 4096]; task; task = task->next)
		if (task->tid == pid)
			return task->space ? task->space->id : 0;
	return UINT32_MAX; /* somebody whom nobody traces */
}

/* Drivers decide the flags of their mappings themselves; what they chose is an input. */
static void read_driver_flags(struct tracer *tracer, struct task *task, struct event *ev)
{
	bool device = S_ISCHR(ev->file.mode) && ev->file.rdev != makedev(1, 5);

	if (!result_is_error(ev->result) && (device || ev->file.fs == MAGIC_ANON_INODE || S_ISSOCK(ev->file.mode)))
		ev->result_flags = probe_flags_at(tracer, task->space, (uint64_t)ev->result);
}

void args_after(struct tracer *tracer, struct task *task, struct event *ev)
{
	const uint64_t *a = task->arg;
	pid_t pid;

	ev->have_rlimit = task->have_rlimit;
	memcpy(ev->rlimit, task->rlimit, sizeof(ev->rlimit));
	ev->clone_flags = task->clone_flags;
	ev->file = task->file;
	ev->segment = task->segment;
	switch (ev->call) {
	case CALL_mmap:
		if (ev->file.have)
			read_driver_flags(tracer, task, ev);
		break;
	case CALL_prlimit64:
		if (a[0] && (pid_t)a[0] != task->tgid)
			ev->target_mm = space_of_pid(tracer, (pid_t)a[0]);
		break;
	case CALL_process_madvise:
		read_iov(ev, task->tid, a[1], a[2]);
		pid = probe_pidfd(task->tid, (int)a[0]);
		if (pid > 0 && pid != task->tgid)
			ev->target_mm = space_of_pid(tracer, pid);
		break;
	case CALL_mbind:
		read_nodes(ev, task->tid, a[3], a[4]);
		break;
	case CALL_set_mempolicy:
		read_nodes(ev, task->tid, a[1], a[2]);
		break;
	case CALL_prctl:
		if ((uint32_t)a[0] == SAMARA_PR_SET_VMA && a[4]) {
			char name[NAME_MAX_BYTES + 1] = "";
			size_t n = probe_memory(task->tid, a[4], name, NAME_MAX_BYTES);

			name[n] = 0;
			ev->name = arena_text(&ev->arena, name, strlen(name));
		}
		break;
	case CALL_ioctl:
		read_uffd(task, ev);
		break;
	case CALL_setuid:
	case CALL_setreuid:
	case CALL_setresuid:
	case CALL_setfsuid:
	case CALL_capset:
		probe_credentials(task->tid, &ev->capabilities, &ev->euid);
		ev->have_credentials = true;
		break;
	case CALL_execve:
		read_path(ev, task->tid, a[0]);
		break;
	case CALL_execveat:
		read_path(ev, task->tid, a[1]);
		break;
	default:
		break;
	}
}
