/* tracer_spawn.c - the traced program's start: fork, seize, seccomp filter, exec.
 *
 * The filter stops only calls that can change an address space or what limits it (SECCOMP_RET_TRACE); everything
 * else runs at full speed.  It is loaded by the child itself after the tracer has seized it, so no call of the
 * program's is missed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tracer_state.h"

/* numbers that the C library's headers of 2023 do not have (man-pages, syscalls(2)) */
enum { NR_mseal = 462, NR_set_mempolicy_home_node = 450 };
enum { F_ADD_SEALS_NUMBER = 1033 };

struct traced {
	int nr;
	enum call_id call;
};

static const struct traced traced[] = {
	{ SYS_mmap, CALL_mmap },
	{ SYS_munmap, CALL_munmap },
	{ SYS_mprotect, CALL_mprotect },
	{ SYS_pkey_mprotect, CALL_pkey_mprotect },
	{ SYS_pkey_alloc, CALL_pkey_alloc },
	{ SYS_pkey_free, CALL_pkey_free },
	{ SYS_mremap, CALL_mremap },
	{ SYS_brk, CALL_brk },
	{ SYS_madvise, CALL_madvise },
	{ SYS_process_madvise, CALL_process_madvise },
	{ SYS_mlock, CALL_mlock },
	{ SYS_mlock2, CALL_mlock2 },
	{ SYS_munlock, CALL_munlock },
	{ SYS_mlockall, CALL_mlockall },
	{ SYS_munlockall, CALL_munlockall },
	{ SYS_msync, CALL_msync },
	{ SYS_mincore, CALL_mincore },
	{ NR_mseal, CALL_mseal },
	{ SYS_remap_file_pages, CALL_remap_file_pages },
	{ SYS_mbind, CALL_mbind },
	{ SYS_set_mempolicy, CALL_set_mempolicy },
	{ NR_set_mempolicy_home_node, CALL_set_mempolicy_home_node },
	{ SYS_shmat, CALL_shmat },
	{ SYS_shmdt, CALL_shmdt },
	{ SYS_shmget, CALL_shmget },
	{ SYS_setrlimit, CALL_setrlimit },
	{ SYS_personality, CALL_personality },
	{ SYS_setuid, CALL_setuid },
	{ SYS_setreuid, CALL_setreuid },
	{ SYS_setresuid, CALL_setresuid },
	{ SYS_setfsuid, CALL_setfsuid },
	{ SYS_capset, CALL_capset },
	{ SYS_execve, CALL_execve },
	{ SYS_execveat, CALL_execveat },
	{ SYS_fork, CALL_fork },
	{ SYS_vfork, CALL_vfork },
	{ SYS_clone, CALL_clone },
	{ SYS_clone3, CALL_clone3 },
};
/* those that are traced for some arguments only */
static const struct traced filtered[] = {
	{ SYS_prctl, CALL_prctl }, { SYS_fcntl, CALL_fcntl }, { SYS_ioctl, CALL_ioctl }, { SYS_shmctl, CALL_shmctl },
	{ SYS_prlimit64, CALL_prlimit64 },
};

int tracer_call_of(uint64_t nr)
{
	for (size_t i = 0; i < sizeof(traced) / sizeof(*traced); i++)
		if ((uint64_t)traced[i].nr == nr)
			return (int)traced[i].call;
	for (size_t i = 0; i < sizeof(filtered) / sizeof(*filtered); i++)
		if ((uint64_t)filtered[i].nr == nr)
			return (int)filtered[i].call;
	return -1;
}

static int build_filter(scmp_filter_ctx ctx)
{
	static const uint32_t prctls[] = {
		SAMARA_PR_SET_VMA, SAMARA_PR_SET_MM, SAMARA_PR_SET_THP_DISABLE, SAMARA_PR_SET_MDWE,
	};
	const uint32_t stop = SCMP_ACT_TRACE(1);
	int rc = 0;

	rc |= seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
	rc |= seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < sizeof(traced) / sizeof(*traced); i++)
		rc |= seccomp_rule_add(ctx, stop, traced[i].nr, 0);
	for (size_t i = 0; i < sizeof(prctls) / sizeof(*prctls); i++)
		rc |= seccomp_rule_add(ctx, stop, SYS_prctl, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, prctls[i]));
	rc |= seccomp_rule_add(ctx, stop, SYS_fcntl, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, F_ADD_SEALS_NUMBER));
	/* ioctl_userfaultfd(2): all its numbers have type 0xaa */
	rc |= seccomp_rule_add(ctx, stop, SYS_ioctl, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, 0xaa00));
	rc |= seccomp_rule_add(ctx, stop, SYS_shmctl, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffff, 0)); /* IPC_RMID */
	rc |= seccomp_rule_add(ctx, stop, SYS_prlimit64, 1, SCMP_CMP64(2, SCMP_CMP_NE, 0, 0));
	return rc;
}

/* no_new_privs keeps set-user-ID programs from working, so it is set only where the kernel insists on it. */
static bool may_filter_freely(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	return !syscall(SYS_capget, &header, data) && data[0].effective & 1u << CAP_SYS_ADMIN;
}

static _Noreturn void child(const struct tracer_options *options, int go, int error_fd)
{
	char **argv = options->argv;
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int stage[2] = { 0, 0 };
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(127);
	if (options->output_to_stderr)
		dup2(2, 1);
	if (!ctx || build_filter(ctx)) {
		stage[0] = 1;
		stage[1] = EINVAL;
	} else {
		int rc;

		if (may_filter_freely())
			seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
		rc = seccomp_load(ctx);
		if (rc) {
			stage[0] = 1;
			stage[1] = -rc;
		}
	}
	if (!stage[0]) {
		execvp(argv[0], argv);
		stage[0] = 2;
		stage[1] = errno;
	}
	if (write(error_fd, stage, sizeof(stage)) < 0)
		_exit(126);
	_exit(127);
}

pid_t tracer_spawn(const struct tracer_options *options, int *go_fd, int *error_fd, char *why, size_t room)
{
	const long follow = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT |
		PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACESECCOMP;
	int go[2], error[2];
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) || pipe2(error, O_CLOEXEC)) {
		snprintf(why, room, "pipe: %s", strerror(errno));
		return -1;
	}
	pid = fork();
	if (!pid) {
		close(go[1]);
		close(error[0]);
		child(options, go[0], error[1]);
	}
	close(go[0]);
	close(error[1]);
	*error_fd = error[0];
	if (pid < 0) {
		snprintf(why, room, "fork: %s", strerror(errno));
		close(go[1]);
		close(error[0]);
		return -1;
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, follow)) {
		snprintf(why, room, "ptrace: PTRACE_SEIZE: %s (needs CAP_SYS_PTRACE where a debugger or Yama forbids it)",
			strerror(errno));
		close(go[1]);
		close(error[0]);
		waitpid(pid, NULL, 0);
		return -1;
	}
	*go_fd = go[1];
	return pid;
}
