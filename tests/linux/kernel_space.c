/* kernel_space.c - an address space of the kernel for both_sides.h: a process that does what it is told over a socket.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/linux/both_sides.h"

static sigjmp_buf after_signal;
static siginfo_t signal_seen;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	signal_seen = *info;
	siglongjmp(after_signal, 1);
}

static int64_t touch_byte(const struct ask *a, struct answer *to)
{
	volatile unsigned char *byte = (volatile unsigned char *)(uintptr_t)a->addr;

	if (sigsetjmp(after_signal, 1)) {
		to->where = (uint64_t)(uintptr_t)signal_seen.si_addr;
		return SIGNAL(signal_seen.si_signo, signal_seen.si_code);
	}
	if (a->what == ASK_LOAD)
		return *byte;
	*byte = (unsigned char)a->number;
	return 0;
}

int64_t or_errno(int64_t result)
{
	return result == -1 ? -errno : result;
}

static int64_t obey(const struct ask *a, struct answer *to, struct run *r, int *socket)
{
	void *addr = (void *)(uintptr_t)a->addr;
	pid_t pid;

	switch (a->what) {
	case ASK_MMAP:
		return or_errno(
			(int64_t)(intptr_t)mmap(addr, a->length, (int)a->prot, (int)a->flags, a->fd, (off_t)a->offset));
	case ASK_MUNMAP: return or_errno(munmap(addr, a->length));
	case ASK_MPROTECT: return or_errno(mprotect(addr, a->length, (int)a->prot));
	case ASK_MSYNC: return or_errno(msync(addr, a->length, (int)a->flags));
	case ASK_MADVISE: return or_errno(madvise(addr, a->length, a->number));
	case ASK_MINCORE: return or_errno(mincore(addr, a->length, to->vec));
	case ASK_SHMAT: return or_errno((int64_t)(intptr_t)shmat(a->number, addr, (int)a->flags));
	case ASK_SHMDT: return or_errno(shmdt(addr));
	case ASK_LOAD:
	case ASK_STORE: return touch_byte(a, to);
	case ASK_FORK:
		pid = fork();
		if (!pid) {
			*socket = r->far[a->number];
			return 0;
		}
		return or_errno(pid);
	}
	return -ENOSYS;
}

/* A process of its own from here on. */
static _Noreturn void serve(struct run *r, int space)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int socket = r->far[space];
	struct ask a;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (int i = 0; i < SPACES; i++)
		close(r->socket[i]);
	while (read(socket, &a, sizeof(a)) == sizeof(a)) {
		struct answer to = { .where = 0 };
		int before = socket;

		to.result = obey(&a, &to, r, &socket);
		/* the new child has nobody who waits for an answer yet */
		if (socket == before && write(socket, &to, sizeof(to)) != sizeof(to))
			break;
	}
	_exit(0);
}

void kernel_space(struct run *r, int space)
{
	r->pid[space] = fork();
	assert_true(r->pid[space] >= 0);
	if (!r->pid[space])
		serve(r, space);
	r->ours[space] = true;
}

struct answer ask(struct run *r, int space, const struct ask *a)
{
	struct answer to;

	assert_int_equal(write(r->socket[space], a, sizeof(*a)), sizeof(*a));
	assert_int_equal(read(r->socket[space], &to, sizeof(to)), sizeof(to));
	return to;
}
