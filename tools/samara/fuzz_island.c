/* fuzz_island.c - the kernel's side of the fuzzer: workers that own nothing but an island.
 *
 * A worker is a fork of the job that throws its whole image away, except the island: a shared memfd mapping at
 * FUZZ_ISLAND with the loop below, a mailbox, a stack and a signal stack for each process.  The job fills a
 * mailbox and wakes the worker; the worker does one system call (or one load or store, with the signal caught) and
 * wakes the job.  What always holds:
 *   - the island is one shared mapping of a file, so that it has no anonymous history and looks the same on both
 *     sides;
 *   - the loop uses no memory but its own mailbox and stack; rbx is the mailbox at every moment;
 *   - all workers are children of the job (CLONE_PARENT) and die with it (PR_SET_PDEATHSIG).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuzz.h"
#include "host.h"

enum { FUZZ_IDLE = 0, FUZZ_ASKED = 1 };
enum { SLOT_PAGES = 9, STACK_TOP = 3 * 4096, ALT_START = 3 * 4096, ALT_BYTES = 6 * 4096, VECTOR_PAGES = 16 };

#define OFFSET(member, bytes) \
	_Static_assert(offsetof(struct fuzz_mailbox, member) == (bytes), "the assembly below knows this offset")
OFFSET(state, 0);
OFFSET(request, 4);
OFFSET(nr, 8);
OFFSET(a, 16);
OFFSET(result, 64);
OFFSET(signo, 72);
OFFSET(code, 76);
OFFSET(fork_stack, 80);
OFFSET(altstack, 88);
OFFSET(fault_addr, 112);
OFFSET(done, 120);
OFFSET(keys, 128);
OFFSET(pkru, 132);
OFFSET(pkey, 136);

/* A routine of FUZZ_DO_ACCESS gets the three arguments in rcx, rax and rdx; its answer is rax, of which the caller
 * takes as many bytes as the access has.  A run moves `rdx` bytes between rcx (the program's) and rax (the island's),
 * and counts them. */
#define ROUTINE(text) "	.balign 64\n	" text "\n	jmp .Lfuzz_answer\n"
#define RUN(move) \
	"	.balign 64\n" \
	"1:	test %rdx, %rdx\n" \
	"	jz .Lfuzz_answer\n" \
	"	" move "\n" \
	"	inc %rcx\n" \
	"	inc %rax\n" \
	"	incq 120(%rbx)\n" \
	"	dec %rdx\n" \
	"	jmp 1b\n"

/* fuzz_loop(mailbox) never returns.  Numbers: 202 futex, 56 clone, 131 sigaltstack, 157 prctl, 15 rt_sigreturn.
 * Clone's flags are CLONE_PARENT | SIGCHLD.  A fault's handler finds the mailbox in the interrupted rbx
 * (ucontext + 128) and returns to `finish` (rip at ucontext + 168) on the mailbox's own stack (rsp at + 160). */
__asm__(
	"	.pushsection .text\n"
	"	.balign 4096\n"
	"	.globl fuzz_island_code, fuzz_island_handler, fuzz_island_restorer, fuzz_island_code_end\n"
	"	.hidden fuzz_island_code, fuzz_island_handler, fuzz_island_restorer, fuzz_island_code_end\n"
	"fuzz_island_code:\n"
	"	mov %rdi, %rbx\n"
	"	lea 12288(%rbx), %rsp\n"
	".Lfuzz_wait:\n"
	"	mov (%rbx), %edx\n"
	"	cmp $1, %edx\n"
	"	je .Lfuzz_go\n"
	"	mov $202, %eax\n"
	"	mov %rbx, %rdi\n"
	"	xor %esi, %esi\n"
	"	xor %r10d, %r10d\n"
	"	syscall\n"
	"	jmp .Lfuzz_wait\n"
	".Lfuzz_go:\n"
	"	mov 4(%rbx), %eax\n"
	"	cmp $1, %eax\n"
	"	je .Lfuzz_store\n"
	"	cmp $2, %eax\n"
	"	je .Lfuzz_load\n"
	"	cmp $3, %eax\n"
	"	je .Lfuzz_fork\n"
	"	cmp $4, %eax\n"
	"	je .Lfuzz_access\n"
	"	mov 8(%rbx), %rax\n"
	"	mov 16(%rbx), %rdi\n"
	"	mov 24(%rbx), %rsi\n"
	"	mov 32(%rbx), %rdx\n"
	"	mov 40(%rbx), %r10\n"
	"	mov 48(%rbx), %r8\n"
	"	mov 56(%rbx), %r9\n"
	"	syscall\n"
	".Lfuzz_answer:\n"
	"	mov %rax, 64(%rbx)\n"
	".Lfuzz_finish:\n"
	"	cmpl $0, 128(%rbx)\n"
	"	je 1f\n"
	"	xor %ecx, %ecx\n"
	"	rdpkru\n"
	"	mov %eax, 132(%rbx)\n"
	"1:\n"
	"	movl $0, (%rbx)\n"
	"	mov $202, %eax\n"
	"	mov %rbx, %rdi\n"
	"	mov $1, %esi\n"
	"	mov $1, %edx\n"
	"	syscall\n"
	"	jmp .Lfuzz_wait\n"
	".Lfuzz_store:\n"
	"	mov 16(%rbx), %rcx\n"
	"	xor %eax, %eax\n"
	"	lock orb $0, (%rcx)\n"
	"	jmp .Lfuzz_answer\n"
	".Lfuzz_load:\n"
	"	mov 16(%rbx), %rcx\n"
	"	movzbl (%rcx), %ecx\n"
	"	xor %eax, %eax\n"
	"	jmp .Lfuzz_answer\n"
	".Lfuzz_access:\n"
	"	movq $0, 120(%rbx)\n"
	"	mov 16(%rbx), %rcx\n"
	"	mov 24(%rbx), %rax\n"
	"	mov 32(%rbx), %rdx\n"
	"	jmp *8(%rbx)\n"
	".Lfuzz_fork:\n"
	"	mov 80(%rbx), %r12\n"
	"	mov $56, %eax\n"
	"	mov $0x8011, %edi\n"
	"	lea 12288(%r12), %rsi\n"
	"	xor %edx, %edx\n"
	"	xor %r10d, %r10d\n"
	"	xor %r8d, %r8d\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jnz .Lfuzz_answer\n"
	"	mov %r12, %rbx\n"
	"	mov $131, %eax\n"
	"	lea 88(%rbx), %rdi\n"
	"	xor %esi, %esi\n"
	"	syscall\n"
	"	mov $157, %eax\n"
	"	mov $1, %edi\n"
	"	mov $9, %esi\n"
	"	syscall\n"
	"	xor %eax, %eax\n"
	"	jmp .Lfuzz_answer\n"
	"fuzz_island_handler:\n"
	"	mov 128(%rdx), %rax\n"
	"	mov %edi, 72(%rax)\n"
	"	mov 8(%rsi), %ecx\n"
	"	mov %ecx, 76(%rax)\n"
	"	mov 16(%rsi), %rcx\n"
	"	mov %rcx, 112(%rax)\n"
	"	mov 32(%rsi), %ecx\n"
	"	mov %ecx, 136(%rax)\n"
	"	lea .Lfuzz_finish(%rip), %rcx\n"
	"	mov %rcx, 168(%rdx)\n"
	"	ret\n"
	"fuzz_island_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	"	.balign 64\n"
	"	.globl fuzz_island_routines\n"
	"	.hidden fuzz_island_routines\n"
	"fuzz_island_routines:\n"
	ROUTINE("movzbl (%rcx), %eax")
	ROUTINE("movzwl (%rcx), %eax")
	ROUTINE("movl (%rcx), %eax")
	ROUTINE("movq (%rcx), %rax")
	ROUTINE("movb %al, (%rcx)")
	ROUTINE("movw %ax, (%rcx)")
	ROUTINE("movl %eax, (%rcx)")
	ROUTINE("movq %rax, (%rcx)")
	ROUTINE("xchgb %al, (%rcx)")
	ROUTINE("xchgw %ax, (%rcx)")
	ROUTINE("xchgl %eax, (%rcx)")
	ROUTINE("xchgq %rax, (%rcx)")
	ROUTINE("lock xaddb %al, (%rcx)")
	ROUTINE("lock xaddw %ax, (%rcx)")
	ROUTINE("lock xaddl %eax, (%rcx)")
	ROUTINE("lock xaddq %rax, (%rcx)")
	ROUTINE("lock cmpxchgb %dl, (%rcx)")
	ROUTINE("lock cmpxchgw %dx, (%rcx)")
	ROUTINE("lock cmpxchgl %edx, (%rcx)")
	ROUTINE("lock cmpxchgq %rdx, (%rcx)")
	RUN("movb (%rcx), %sil\n	movb %sil, (%rax)")
	RUN("movb (%rax), %sil\n	movb %sil, (%rcx)")
	ROUTINE("xor %ecx, %ecx\n	xor %edx, %edx\n	wrpkru\n	xor %eax, %eax")
	"fuzz_island_code_end:\n"
	"	.popsection\n");

extern const char fuzz_island_code[], fuzz_island_handler[], fuzz_island_restorer[], fuzz_island_code_end[];
extern const char fuzz_island_routines[];

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

static uint64_t island_address(const char *code)
{
	return FUZZ_ISLAND + (uint64_t)(code - fuzz_island_code);
}

uint64_t fuzz_island_routine(unsigned kind, unsigned log2)
{
	static const unsigned first[FUZZ_KINDS] = { [FUZZ_WRITE_WORD] = 4, [FUZZ_EXCHANGE] = 8, [FUZZ_FETCH_ADD] = 12,
		[FUZZ_COMPARE_EXCHANGE] = 16, [FUZZ_READ_RUN] = 20, [FUZZ_WRITE_RUN] = 21, [FUZZ_WRPKRU] = 22 };
	return island_address(fuzz_island_routines) + 64 * (first[kind] + (log2 & 3));
}

static uint64_t slot_address(unsigned slot)
{
	return FUZZ_ISLAND + 4096 + slot * SLOT_PAGES * 4096ull;
}

int fuzz_island_create(struct fuzz_island *island)
{
	_Static_assert(1 + FUZZ_MAX_PROCS * SLOT_PAGES + VECTOR_PAGES <= FUZZ_ISLAND_PAGES, "the island is too small");
	int fd = memfd_create("samara-fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, FUZZ_ISLAND_PAGES * 4096) < 0)
		return -1;
	void *p = mmap((void *)FUZZ_ISLAND, FUZZ_ISLAND_PAGES * 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (p != (void *)FUZZ_ISLAND)
		return -1;
	close(fd);
	if (fuzz_island_code_end - fuzz_island_code > 4096)
		return -1;
	memset(p, 0, FUZZ_ISLAND_PAGES * 4096);
	memcpy(p, fuzz_island_code, (size_t)(fuzz_island_code_end - fuzz_island_code));
	for (unsigned i = 0; i < FUZZ_MAX_PROCS; i++)
		island->box[i] = (struct fuzz_mailbox *)slot_address(i);
	island->vector_bytes = VECTOR_PAGES * 4096;
	island->vector = (unsigned char *)(FUZZ_ISLAND_END - island->vector_bytes);
	return 0;
}

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static int await_answer(struct fuzz_worker *w)
{
	struct timespec slice = { .tv_nsec = 200000000 };
	for (int tries = 0; __atomic_load_n(&w->box->state, __ATOMIC_ACQUIRE) != FUZZ_IDLE; tries++) {
		if (futex(&w->box->state, FUTEX_WAIT, FUZZ_ASKED, &slice) < 0 && errno == ETIMEDOUT) {
			int status;
			if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
				w->pid = 0;
				return -1;
			}
			if (tries >= 100)
				return -1;
		}
	}
	return 0;
}

static void post(struct fuzz_mailbox *box, enum fuzz_request request, uint64_t nr, const uint64_t a[6])
{
	box->request = request;
	box->nr = nr;
	if (a)
		memcpy(box->a, a, sizeof(box->a));
	box->signo = 0;
	box->code = 0;
	box->fault_addr = 0;
	__atomic_store_n(&box->state, FUZZ_ASKED, __ATOMIC_RELEASE);
	futex(&box->state, FUTEX_WAKE, 1, NULL);
}

int fuzz_worker_ask(struct fuzz_worker *w, enum fuzz_request request, uint64_t nr, const uint64_t a[6])
{
	post(w->box, request, nr, a);
	return await_answer(w);
}

int fuzz_worker_syscall(struct fuzz_worker *w, uint64_t nr, const uint64_t a[6], int64_t *result)
{
	if (fuzz_worker_ask(w, FUZZ_DO_SYSCALL, nr, a) < 0)
		return -1;
	*result = w->box->signo ? -EFAULT : w->box->result;
	return 0;
}

int fuzz_worker_wrpkru(struct fuzz_worker *w, uint32_t pkru)
{
	return fuzz_worker_ask(w, FUZZ_DO_ACCESS, fuzz_island_routine(FUZZ_WRPKRU, 0), (uint64_t[6]){ 0, pkru });
}

ssize_t fuzz_read_text(int fd, char *text, size_t room)
{
	size_t have = 0;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	while (have + 1 < room) {
		ssize_t got = read(fd, text + have, room - 1 - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	text[have] = 0;
	return (ssize_t)have;
}

int fuzz_open_proc(const struct fuzz_worker *w, const char *name, int flags)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)w->pid, name);
	return open(path, flags | O_CLOEXEC);
}

ssize_t fuzz_read_proc(const struct fuzz_worker *w, const char *name, char *text, size_t room)
{
	int fd = fuzz_open_proc(w, name, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : fuzz_read_text(fd, text, room);
	if (fd >= 0)
		close(fd);
	return got;
}

static int open_maps(struct fuzz_worker *w)
{
	w->maps_fd = fuzz_open_proc(w, "maps", O_RDONLY);
	return w->maps_fd < 0 ? -1 : 0;
}

static void prepare_box(struct fuzz_mailbox *box)
{
	memset(box, 0, sizeof(*box)); /* reaches into the lower, never used part of the stack */
	box->altstack.sp = (uint64_t)box + ALT_START;
	box->altstack.size = ALT_BYTES;
	box->keys = host_pkeys();
}

/* In the child: the rest of its life is the loop.  glibc's restartable sequences would write to memory that goes
 * away. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

static void become_worker(struct fuzz_mailbox *box, uint64_t drop_caps, pid_t job)
{
	if (&__rseq_size && __rseq_size)
		syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, 0x53053053);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != job)
		_exit(1);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	signal(SIGINT, SIG_IGN); /* the job ends us */
	struct kernel_sigaction action = {
		.handler = island_address(fuzz_island_handler),
		.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000 /* SA_RESTORER */,
		.restorer = island_address(fuzz_island_restorer),
	};
	syscall(SYS_rt_sigaction, SIGSEGV, &action, NULL, 8);
	syscall(SYS_rt_sigaction, SIGBUS, &action, NULL, 8);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	syscall(SYS_sigaltstack, &box->altstack, NULL);
	syscall(SYS_set_robust_list, NULL, sizeof(struct { void *p[3]; }));
	syscall(SYS_set_tid_address, NULL);
	if (drop_caps) {
		struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
		struct __user_cap_data_struct data[2];
		if (syscall(SYS_capget, &head, data) < 0)
			_exit(1);
		for (int i = 0; i < 2; i++) {
			data[i].effective &= ~(uint32_t)(drop_caps >> (32 * i));
			data[i].permitted &= ~(uint32_t)(drop_caps >> (32 * i));
		}
		if (syscall(SYS_capset, &head, data) < 0)
			_exit(1);
	}
	((void (*)(struct fuzz_mailbox *))FUZZ_ISLAND)(box);
	__builtin_unreachable();
}

static int unmap(struct fuzz_worker *w, uint64_t start, uint64_t end)
{
	int64_t result;
	if (start >= end)
		return 0;
	if (fuzz_worker_syscall(w, SYS_munmap, (uint64_t[6]){ start, end - start }, &result) < 0)
		return -1;
	return result == 0 ? 0 : -1;
}

/* Everything goes but what the kernel itself put there: the lines with a name in brackets. */
static int unmap_image(struct fuzz_worker *w, uint64_t start_brk)
{
	static char text[FUZZ_TEXT_BYTES];
	int64_t result;
	if (fuzz_worker_syscall(w, SYS_brk, (uint64_t[6]){ start_brk }, &result) < 0 || (uint64_t)result != start_brk)
		return -1;
	if (fuzz_read_text(w->maps_fd, text, sizeof(text)) < 0)
		return -1;
	uint64_t kept_end = 4096;
	for (char *line = text; *line;) {
		char *next = strchr(line, '\n');
		if (!next)
			break;
		*next = 0;
		char *rest;
		uint64_t start = strtoull(line, &rest, 16), end = strtoull(rest + 1, NULL, 16);
		bool keep = start == FUZZ_ISLAND || strstr(line, "[vdso]") || strstr(line, "[vvar") || strstr(line, "[stack]");
		if (start < FUZZ_TASK_SIZE && keep) {
			if (unmap(w, kept_end, start) < 0)
				return -1;
			kept_end = end;
		}
		line = next + 1;
	}
	return unmap(w, kept_end, FUZZ_TASK_SIZE);
}

int fuzz_worker_start(struct fuzz_island *island, struct fuzz_worker *w, uint64_t drop_caps, uint64_t start_brk)
{
	pid_t job = getpid();
	w->box = island->box[0];
	prepare_box(w->box);
	fflush(NULL);
	w->pid = fork();
	if (w->pid < 0)
		return -1;
	if (w->pid == 0)
		become_worker(w->box, drop_caps, job);
	if (open_maps(w) < 0 || unmap_image(w, start_brk) < 0) {
		fuzz_worker_kill(w);
		return -1;
	}
	return 0;
}

int fuzz_worker_fork(struct fuzz_island *island, struct fuzz_worker *parent, unsigned slot, struct fuzz_worker *child,
	int64_t *result)
{
	struct fuzz_mailbox *box = island->box[slot];
	prepare_box(box);
	box->state = FUZZ_ASKED; /* until the child has answered once */
	parent->box->fork_stack = (uint64_t)box;
	if (fuzz_worker_ask(parent, FUZZ_DO_FORK, 0, NULL) < 0)
		return -1;
	*result = parent->box->result;
	if (*result < 0)
		return 0;
	*child = (struct fuzz_worker){ .pid = (pid_t)*result, .maps_fd = -1, .box = box };
	if (await_answer(child) < 0 || open_maps(child) < 0) {
		fuzz_worker_kill(child);
		return -1;
	}
	return 0;
}

void fuzz_worker_kill(struct fuzz_worker *w)
{
	if (w->pid > 0) {
		kill(w->pid, SIGKILL);
		while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (w->maps_fd >= 0)
		close(w->maps_fd);
	*w = (struct fuzz_worker){ .maps_fd = -1 };
}
