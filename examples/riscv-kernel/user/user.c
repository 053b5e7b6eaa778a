/* user.c - the runtime of user.h; the only place that knows the architecture. */
#include "user.h"

#if defined(__x86_64__)
enum {
	NR_read = 0,
	NR_write = 1,
	NR_close = 3,
	NR_mmap = 9,
	NR_mprotect = 10,
	NR_munmap = 11,
	NR_brk = 12,
	NR_sigaction = 13,
	NR_pread = 17,
	NR_pwrite = 18,
	NR_yield = 24,
	NR_mremap = 25,
	NR_msync = 26,
	NR_mincore = 27,
	NR_madvise = 28,
	NR_clone = 56,
	NR_wait4 = 61,
	NR_fcntl = 72,
	NR_fsync = 74,
	NR_ftruncate = 77,
	NR_sigaltstack = 131,
	NR_mlock = 149,
	NR_munlock = 150,
	NR_exit = 231,
	NR_openat = 257,
	NR_memfd_create = 319
};
#define PC_OFFSET 168 /* of the program counter in ucontext */
#define SA_RESTORER 0x04000000ul

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

__asm__(".text\n.globl _start\n_start: xor %ebp, %ebp\n and $-16, %rsp\n call begin\n"
	".globl restore_signal\nrestore_signal: mov $15, %eax\n syscall\n"
	".globl access_byte\naccess_byte: movzbl (%rdi), %eax\n ret\n"
	".globl store_byte\nstore_byte: mov %sil, (%rdi)\n xor %eax, %eax\n ret\n"
	".globl run_at\nrun_at: jmp *%rdi\n"
	".globl access_failed\naccess_failed: mov $-1, %rax\n ret\n");

const unsigned char forty_two[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
#elif defined(__riscv)
enum {
	NR_fcntl = 25,
	NR_ftruncate = 46,
	NR_openat = 56,
	NR_close = 57,
	NR_read = 63,
	NR_write = 64,
	NR_pread = 67,
	NR_pwrite = 68,
	NR_fsync = 82,
	NR_exit = 94,
	NR_yield = 124,
	NR_sigaltstack = 132,
	NR_sigaction = 134,
	NR_brk = 214,
	NR_munmap = 215,
	NR_mremap = 216,
	NR_clone = 220,
	NR_mmap = 222,
	NR_mprotect = 226,
	NR_msync = 227,
	NR_mlock = 228,
	NR_munlock = 229,
	NR_mincore = 232,
	NR_madvise = 233,
	NR_wait4 = 260,
	NR_memfd_create = 279
};
#define PC_OFFSET 176
#define SA_RESTORER 0ul

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a3 __asm__("a3") = d,
			 a4 __asm__("a4") = e, a5 __asm__("a5") = f, a7 __asm__("a7") = nr;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
	return a0;
}

__asm__(".text\n.globl _start\n_start: .option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n call "
	"begin\n"
	".globl restore_signal\nrestore_signal: li a7, 139\n ecall\n"
	".globl access_byte\naccess_byte: lbu a0, 0(a0)\n ret\n"
	".globl store_byte\nstore_byte: sb a1, 0(a0)\n li a0, 0\n ret\n"
	".globl run_at\nrun_at: fence.i\n jr a0\n"
	".globl access_failed\naccess_failed: li a0, -1\n ret\n");

const unsigned char forty_two[] = { 0x13, 0x05, 0xa0, 0x02, 0x67, 0x80, 0x00, 0x00 }; /* li a0, 42; ret */
#else
#error "an architecture that the programs have not met"
#endif
const unsigned long forty_two_bytes = sizeof(forty_two);

void restore_signal(void);
int access_byte(unsigned long addr);
int store_byte(unsigned long addr, int byte);
long run_at(unsigned long addr);
void access_failed(void);
void begin(void);

/* the compiler may call these */
void *memset(void *memory, int byte, size_t bytes);
void *memcpy(void *to, const void *from, size_t bytes);

void *memset(void *memory, int byte, size_t bytes)
{
	for (volatile unsigned char *m = memory; bytes--; m++)
		*m = (unsigned char)byte;
	return memory;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
	const unsigned char *f = from;

	for (volatile unsigned char *t = to; bytes--;)
		*t++ = *f++;
	return to;
}

#define C(nr, a, b, c, d, e, f) call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
long sys_mmap(unsigned long addr, unsigned long length, int prot, int flags, int fd, unsigned long offset)
{
	return C(NR_mmap, addr, length, prot, flags, fd, offset);
}
long sys_munmap(unsigned long addr, unsigned long length) { return C(NR_munmap, addr, length, 0, 0, 0, 0); }
long sys_mprotect(unsigned long addr, unsigned long length, int prot)
{
	return C(NR_mprotect, addr, length, prot, 0, 0, 0);
}
long sys_mremap(
	unsigned long addr, unsigned long old_length, unsigned long new_length, int flags, unsigned long new_addr)
{
	return C(NR_mremap, addr, old_length, new_length, flags, new_addr, 0);
}
long sys_madvise(unsigned long addr, unsigned long length, int advice)
{
	return C(NR_madvise, addr, length, advice, 0, 0, 0);
}
long sys_mlock(unsigned long addr, unsigned long length) { return C(NR_mlock, addr, length, 0, 0, 0, 0); }
long sys_munlock(unsigned long addr, unsigned long length) { return C(NR_munlock, addr, length, 0, 0, 0, 0); }
long sys_msync(unsigned long addr, unsigned long length, int flags)
{
	return C(NR_msync, addr, length, flags, 0, 0, 0);
}
long sys_mincore(unsigned long addr, unsigned long length, unsigned char *vec)
{
	return C(NR_mincore, addr, length, vec, 0, 0, 0);
}
unsigned long sys_brk(unsigned long brk) { return (unsigned long)C(NR_brk, brk, 0, 0, 0, 0, 0); }
long sys_open(const char *name, int flags) { return C(NR_openat, -100, name, flags, 0, 0, 0); }
long sys_close(int fd) { return C(NR_close, fd, 0, 0, 0, 0, 0); }
long sys_read(int fd, void *to, unsigned long bytes) { return C(NR_read, fd, to, bytes, 0, 0, 0); }
long sys_pread(int fd, void *to, unsigned long bytes, unsigned long offset)
{
	return C(NR_pread, fd, to, bytes, offset, 0, 0);
}
long sys_pwrite(int fd, const void *from, unsigned long bytes, unsigned long offset)
{
	return C(NR_pwrite, fd, from, bytes, offset, 0, 0);
}
long sys_ftruncate(int fd, unsigned long size) { return C(NR_ftruncate, fd, size, 0, 0, 0, 0); }
long sys_fsync(int fd) { return C(NR_fsync, fd, 0, 0, 0, 0, 0); }
long sys_fcntl(int fd, int what, long value) { return C(NR_fcntl, fd, what, value, 0, 0, 0); }
long sys_memfd_create(const char *name, unsigned flags) { return C(NR_memfd_create, name, flags, 0, 0, 0, 0); }
long sys_fork(void) { return C(NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0, 0); }
long sys_wait(int *status) { return C(NR_wait4, -1, status, 0, 0, 0, 0); }
long sys_yield(void) { return C(NR_yield, 0, 0, 0, 0, 0, 0); }

void sys_exit(int code)
{
	C(NR_exit, code, 0, 0, 0, 0, 0);
	for (;;)
		;
}

static char line[256];
static unsigned line_length;

void text(const char *s)
{
	while (*s && line_length < sizeof(line))
		line[line_length++] = *s++;
}

static void in_base(unsigned long n, unsigned base)
{
	char digits[24], *at = digits + sizeof(digits);

	*--at = 0;
	do
		*--at = "0123456789abcdef"[n % base];
	while (n /= base);
	text(at);
}

void number(long n)
{
	if (n < 0)
		text("-");
	in_base(n < 0 ? -(unsigned long)n : (unsigned long)n, 10);
}

void hex(unsigned long n)
{
	text("0x");
	in_base(n, 16);
}

void end_line(void)
{
	text("\n");
	C(NR_write, 1, line, line_length, 0, 0, 0);
	line_length = 0;
}

void say(const char *what, long n)
{
	text(what);
	text(": ");
	number(n);
	end_line();
}

struct fault last_fault;
int (*repair)(const struct fault *fault);
volatile unsigned faults_taken;
static unsigned char signal_stack[16384] __attribute__((aligned(16)));

static void on_fault(int signo, void *info, void *context)
{
	last_fault = (struct fault){ signo, ((int *)info)[2], ((unsigned long *)info)[2] };
	faults_taken++;
	if (!repair || !repair(&last_fault))
		*(unsigned long *)((char *)context + PC_OFFSET) = (unsigned long)access_failed;
}

static void set_signals(void (*handler)(int, void *, void *))
{
	/* SA_SIGINFO, SA_ONSTACK */
	unsigned long action[4] = { (unsigned long)handler, 4 | 0x08000000 | SA_RESTORER,
		SA_RESTORER ? (unsigned long)restore_signal : 0, 0 };

	C(NR_sigaction, SIGSEGV, action, 0, 8, 0, 0);
	C(NR_sigaction, SIGBUS, action, 0, 8, 0, 0);
}

void default_signals(void)
{
	set_signals(NULL);
}

void begin(void)
{
	unsigned long stack[3] = { (unsigned long)signal_stack, 0, sizeof(signal_stack) };

	C(NR_sigaltstack, stack, 0, 0, 0, 0, 0);
	set_signals(on_fault);
	sys_exit(program());
}

int peek(unsigned long addr)
{
	return access_byte(addr);
}

int poke(unsigned long addr, int byte)
{
	return store_byte(addr, byte);
}

long run(unsigned long addr)
{
	return run_at(addr);
}

/* si_addr is a number, or a distance from BASE where that is where it lies. */
static void say_fault(void)
{
	text("signal ");
	number(last_fault.signo);
	text(" code ");
	number(last_fault.code);
	text(" at ");
	if (last_fault.addr >= BASE) {
		text("base + ");
		hex(last_fault.addr - BASE);
	} else {
		hex(last_fault.addr);
	}
	end_line();
}

void say_peek(const char *what, unsigned long addr)
{
	int byte = peek(addr);

	text(what);
	text(": ");
	if (byte < 0) {
		say_fault();
		return;
	}
	number(byte);
	end_line();
}

void say_poke(const char *what, unsigned long addr, int byte)
{
	int err = poke(addr, byte);

	text(what);
	text(": ");
	if (err) {
		say_fault();
		return;
	}
	text("stored");
	end_line();
}

void say_run(const char *what, unsigned long addr)
{
	long result = run(addr);

	text(what);
	text(": ");
	if (result < 0) {
		say_fault();
		return;
	}
	text("returned ");
	number(result);
	end_line();
}

void say_wait(const char *what)
{
	int status = 0;
	long pid = sys_wait(&status);

	text(what);
	text(pid < 0 ? ": error " : status & 0x7f ? ": signal " : ": exit ");
	number(pid < 0 ? pid : status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
	end_line();
}
