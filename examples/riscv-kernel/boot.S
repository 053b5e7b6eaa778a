/* boot.S - the way in, from the machine and from user programs, and the disk's contents.
 *
 * One hart, M-mode, physical addresses.  While a program runs mscratch holds its struct trap_frame and mtvec names
 * trap_entry; while the kernel runs mtvec names kernel_trap, which is the end: the kernel makes no page fault. */
	.section .text.boot, "ax"
	.globl _start
_start:
	csrr	t0, mhartid
	bnez	t0, park
	la	sp, kernel_stack_top
	la	t0, kernel_trap
	csrw	mtvec, t0
	la	t0, bss_start
	la	t1, bss_end
1:	bgeu	t0, t1, 2f
	sd	zero, 0(t0)
	addi	t0, t0, 8
	j	1b
2:	call	kernel_main
park:	wfi
	j	park

	.text
	.align	4
kernel_trap:
	csrr	a0, mcause
	csrr	a1, mepc
	csrr	a2, mtval
	call	kernel_fault
	j	park

	.align	4
trap_entry:
	csrrw	t6, mscratch, t6
	.irp	n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
	sd	x\n, 8*\n(t6)
	.endr
	csrr	t0, mscratch
	sd	t0, 8*31(t6)
	csrr	t0, mepc
	sd	t0, 0(t6)
	la	t0, kernel_trap
	csrw	mtvec, t0
	la	sp, kernel_stack_top
	call	trap
	j	park

	/* void trap_return(struct trap_frame *): to U-mode */
	.globl trap_return
trap_return:
	csrw	mscratch, a0
	la	t0, trap_entry
	csrw	mtvec, t0
	li	t0, 0x1800	/* mstatus.MPP = U */
	csrc	mstatus, t0
	mv	t6, a0
	ld	t0, 0(t6)
	csrw	mepc, t0
	.irp	n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	ld	x\n, 8*\n(t6)
	.endr
	mret

	.bss
	.align	12
	.space	65536
kernel_stack_top:

	/* the programs on the disk: name, first byte, last */
	.macro	program name
	.section .rodata.names, "a"
9:	.asciz	"\name"
	.section .rodata.bytes, "a"
	.align	4
8:	.incbin	"\name\().elf"
7:
	.section .rodata.disk, "a"
	.dword	9b, 8b, 7b
	.endm

	.section .rodata.disk, "a"
	.align	3
	.globl disk_programs
disk_programs:
#include "programs.inc"
	.section .rodata.disk, "a"
	.dword	0, 0, 0
