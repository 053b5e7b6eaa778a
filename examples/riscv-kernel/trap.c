/* trap.c - what brings a program into the kernel: system calls, page faults, the timer. */
#include "kernel.h"

#define MTIME ((volatile uint64_t *)0x200bff8)
#define MTIMECMP ((volatile uint64_t *)0x2004000)
#define SLICE 10000 /* of ten million a second */

void process_tick(void)
{
	*MTIMECMP = *MTIME + SLICE;
	kernel.ticks++;
}

/* samara makes the entry; the fence drops what the machine may have cached of the entry that was not valid, which
 * RISC-V allows.  An entry that only lacked accessed or dirty comes here too, where the machine leaves them to
 * software. */
static void page_fault(struct process *p, unsigned access, uint64_t addr)
{
	struct samara_signal why;
	int err = samara_fault(p->mm, addr, access, &why);

	p->faults++;
	kernel.faults++;
	bare_fence();
	if (access == SAMARA_EXEC)
		__asm__ volatile("fence.i" ::: "memory");
	if (!err)
		return;
	if (why.signo)
		signal_force(p, why.signo, why.code, why.addr);
	else
		process_exit(p, SIGKILL); /* no memory */
}

void trap(void);
void trap(void)
{
	struct process *p = kernel.current;
	uint64_t cause, value;

	__asm__ volatile("csrr %0, mcause; csrr %1, mtval" : "=r"(cause), "=r"(value));
	switch (cause) {
	case 1ull << 63 | 7:
		process_tick();
		process_run();
	case 2: signal_force(p, SIGILL, 1, p->frame.x[PC]); break;
	case 3: signal_force(p, SIGTRAP, 1, p->frame.x[PC]); break;
	case 0: case 4: case 6: signal_force(p, SAMARA_SIGBUS, SAMARA_BUS_ADRALN, value); break;
	case 1: case 5: case 7: kernel_panic("a page table names what is not memory");
	case 8: system_call(p); break;
	case 12: page_fault(p, SAMARA_EXEC, value); break;
	case 13: page_fault(p, SAMARA_READ, value); break;
	case 15: page_fault(p, SAMARA_WRITE, value); break;
	default: kernel_panic("a trap of an unknown kind");
	}
	if (p->state == RUNNABLE)
		trap_return(&p->frame);
	process_run();
}
