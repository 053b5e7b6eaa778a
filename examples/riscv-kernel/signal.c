/* signal.c - signals that a program's own access causes: rt_sigaction(2), the frame on its stack, rt_sigreturn(2).
 *
 * The frame is Linux's on RISC-V, so that a handler finds si_code, si_addr and the program counter where it finds them
 * there. */
#include "kernel.h"

#define SA_ONSTACK 0x08000000u
#define SA_NODEFER 0x40000000u
#define SA_RESETHAND 0x80000000u

struct signal_frame {
	struct {
		int signo, error, code, pad;
		uint64_t addr, rest[13];
	} info;
	struct {
		uint64_t flags, link, stack[3], mask, room[16], x[32], fp[66];
	} context;
};
_Static_assert(offsetof(struct signal_frame, context.x) == 128 + 176, "Linux's ucontext");

static uint64_t return_address(void)
{
	return kernel.task_size - 0x8000;
}

/* Where handlers return to: a file of the kernel's own, mapped into every space. */
int signal_page(struct process *p)
{
	struct samara_file *file;
	int64_t err = disk_open(DISK_VDSO, SAMARA_FMODE_READ, &file);

	if (err)
		return (int)err;
	err = samara_mmap(p->mm, return_address(), PAGE, SAMARA_PROT_READ | SAMARA_PROT_EXEC,
		SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED_NOREPLACE, file, 0);
	samara_file_put(file);
	return err < 0 ? (int)err : 0;
}

void signal_force(struct process *p, int signo, int code, uint64_t addr)
{
	struct signal_action *action = &p->actions[signo];
	uint64_t bit = 1ull << (signo - 1), sp = p->frame.x[SP];
	struct signal_frame frame = { .info = { .signo = signo, .code = code, .addr = addr } };

	if (action->handler <= 1 || (p->blocked & bit)) {
		process_exit(p, signo);
		return;
	}
	frame.context.mask = p->blocked;
	__builtin_memcpy(frame.context.x, p->frame.x, sizeof(frame.context.x));
	if ((action->flags & SA_ONSTACK) && p->alt_size && sp - p->alt_stack > p->alt_size)
		sp = p->alt_stack + p->alt_size;
	sp = (sp - sizeof(frame)) & ~15ull;
	if (samara_store(p->mm, sp, &frame, sizeof(frame), NULL) != sizeof(frame)) {
		process_exit(p, SAMARA_SIGSEGV);
		return;
	}
	p->frame.x[PC] = action->handler;
	p->frame.x[SP] = sp;
	p->frame.x[RA] = return_address();
	p->frame.x[A0] = (uint64_t)signo;
	p->frame.x[A1] = sp + offsetof(struct signal_frame, info);
	p->frame.x[A2] = sp + offsetof(struct signal_frame, context);
	p->blocked |= action->mask | (action->flags & SA_NODEFER ? 0 : bit);
	if (action->flags & SA_RESETHAND)
		action->handler = 0;
}

void signal_return(struct process *p)
{
	struct signal_frame frame;

	if (samara_load(p->mm, p->frame.x[SP], &frame, sizeof(frame), NULL) != sizeof(frame)) {
		process_exit(p, SAMARA_SIGSEGV);
		return;
	}
	p->blocked = frame.context.mask;
	__builtin_memcpy(p->frame.x, frame.context.x, sizeof(frame.context.x));
}

int64_t signal_action(struct process *p, uint64_t signo, uint64_t new_at, uint64_t old_at, uint64_t set_size)
{
	struct signal_action fresh, old;

	if (set_size != 8 || !signo || signo > SIGNALS || signo == SIGKILL)
		return -SAMARA_EINVAL;
	old = p->actions[signo];
	if (new_at && samara_load(p->mm, new_at, &fresh, sizeof(fresh), NULL) != sizeof(fresh))
		return -SAMARA_EFAULT;
	if (new_at)
		p->actions[signo] = fresh;
	if (old_at && samara_store(p->mm, old_at, &old, sizeof(old), NULL) != sizeof(old))
		return -SAMARA_EFAULT;
	return 0;
}

int64_t signal_stack(struct process *p, uint64_t new_at, uint64_t old_at)
{
	uint64_t fresh[3], old[3] = { p->alt_stack, p->alt_size ? 0 : 2, p->alt_size };

	if (new_at) {
		if (samara_load(p->mm, new_at, fresh, sizeof(fresh), NULL) != sizeof(fresh))
			return -SAMARA_EFAULT;
		p->alt_stack = fresh[0];
		p->alt_size = (uint32_t)fresh[1] & 2 ? 0 : fresh[2];
	}
	if (old_at && samara_store(p->mm, old_at, old, sizeof(old), NULL) != sizeof(old))
		return -SAMARA_EFAULT;
	return 0;
}
