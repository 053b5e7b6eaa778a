/* kernel.h - a kernel whose whole memory management is samara: processes, files, traps.
 *
 * One hart.  The kernel runs in M-mode on physical addresses and is never interrupted; programs run in U-mode on page
 * tables that samara built and the machine walks.  The kernel reaches a program's memory by samara_load and
 * samara_store alone. A system call runs to its end, or leaves the program where it was and is made again (wait4).
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include "ports/bare/bare.h"
#include "samara/samara.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define PAGE 4096ull
#define PROCESSES 16
#define DESCRIPTORS 8
#define SIGNALS 32

enum { SIGILL = 4, SIGTRAP = 5, SIGKILL = 9, SIGSYS = 31 };

/* x[0] is the program counter: the order of Linux's user_regs_struct, which signal frames hold. */
struct trap_frame {
	uint64_t x[32];
};
enum { PC = 0, RA = 1, SP = 2, A0 = 10, A1 = 11, A2 = 12, A3 = 13, A4 = 14, A5 = 15, A7 = 17 };

struct open_file {
	struct samara_file *file;
	uint64_t position;
	unsigned refs;
};

struct signal_action { /* as rt_sigaction(2) has it on RISC-V */
	uint64_t handler, flags, mask;
};

enum process_state { FREE, RUNNABLE, WAITING, ZOMBIE };

struct process {
	struct trap_frame frame;
	struct samara_mm *mm;
	struct process *parent;
	enum process_state state;
	int pid, status;
	uint64_t blocked; /* bit n - 1: signal n */
	struct signal_action actions[SIGNALS + 1];
	uint64_t alt_stack, alt_size;
	struct open_file *open[DESCRIPTORS + 3]; /* 0, 1, 2 are the console */
	uint64_t faults, switches;
};

struct kernel {
	struct bare bare;
	struct samara *vm;
	struct process processes[PROCESSES];
	struct process *current;
	const char *format_name;
	uint64_t satp_mode, task_size;
	int last_pid, last_status;
	uint64_t faults, ticks;
};
extern struct kernel kernel;

/* main.c */
void program_ended(void) __attribute__((noreturn));
void kernel_panic(const char *what) __attribute__((noreturn));
void print(const char *text);
void print_number(uint64_t number, unsigned base);

/* process.c */
struct process *process_create(struct process *parent);
int process_exec(struct process *p, const char *name);
int64_t process_fork(struct process *p, uint64_t stack);
void process_exit(struct process *p, int status);
int64_t process_wait(struct process *p, int64_t pid, uint64_t status_at);
void process_run(void) __attribute__((noreturn));
void process_tick(void);

/* signal.c */
void signal_force(struct process *p, int signo, int code, uint64_t addr);
int64_t signal_action(struct process *p, uint64_t signo, uint64_t new_at, uint64_t old_at, uint64_t set_size);
int64_t signal_stack(struct process *p, uint64_t new_at, uint64_t old_at);
void signal_return(struct process *p);
int signal_page(struct process *p);

/* disk.c */
#define DISK_VDSO "[vdso]"
void disk_reset(void);
int disk_open(const char *name, unsigned fmode, struct samara_file **out);
int disk_memfd(const char *name, bool sealable, struct samara_file **out);
void file_put(struct open_file *open);

/* syscall.c */
void system_call(struct process *p);

/* boot.S */
void trap_return(struct trap_frame *frame) __attribute__((noreturn));
struct disk_program {
	const char *name;
	const unsigned char *start, *end;
};
extern const struct disk_program disk_programs[];
extern char kernel_end[];

#endif
