/* user.h - what the programs stand on: Linux's system calls, lines of text, accesses that may fault.  No C library.
 *
 * One source runs on this kernel (RISC-V), and on Linux (RISC-V, x86-64).  What is printed is the same everywhere:
 * results, errnos, signals and data; addresses only where MAP_FIXED chose them, else as distances. */
#ifndef USER_H
#define USER_H

#include <stddef.h>
#include <stdint.h>

#define PAGE 4096ul
#define BASE 0x1000000000ul /* free everywhere: user space of Sv39 ends at 0x4000000000 */

/* asm-generic/mman.h and its like: the same numbers on both architectures */
enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, RW = 3 };
enum {
	MAP_SHARED = 1,
	MAP_PRIVATE = 2,
	MAP_FIXED = 0x10,
	MAP_ANONYMOUS = 0x20,
	MAP_GROWSDOWN = 0x100,
	MAP_POPULATE = 0x8000,
	MAP_FIXED_NOREPLACE = 0x100000,
	ANON = MAP_PRIVATE | MAP_ANONYMOUS,
	FIXED = ANON | MAP_FIXED
};
enum { MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4 };
enum { MS_ASYNC = 1, MS_INVALIDATE = 2, MS_SYNC = 4 };
enum {
	MADV_DONTNEED = 4,
	MADV_FREE = 8,
	MADV_REMOVE = 9,
	MADV_DONTFORK = 10,
	MADV_WIPEONFORK = 18,
	MADV_POPULATE_WRITE = 23,
	MADV_GUARD_INSTALL = 102,
	MADV_GUARD_REMOVE = 103
};
enum { O_RDONLY = 0, O_RDWR = 2, SIGBUS = 7, SIGSEGV = 11 };
enum { F_ADD_SEALS = 1033, F_SEAL_WRITE = 8, MFD_ALLOW_SEALING = 2 };

/* A negative errno, or the result. */
long sys_mmap(unsigned long addr, unsigned long length, int prot, int flags, int fd, unsigned long offset);
long sys_munmap(unsigned long addr, unsigned long length);
long sys_mprotect(unsigned long addr, unsigned long length, int prot);
long sys_mremap(
	unsigned long addr, unsigned long old_length, unsigned long new_length, int flags, unsigned long new_addr);
long sys_madvise(unsigned long addr, unsigned long length, int advice);
long sys_mlock(unsigned long addr, unsigned long length);
long sys_munlock(unsigned long addr, unsigned long length);
long sys_msync(unsigned long addr, unsigned long length, int flags);
long sys_mincore(unsigned long addr, unsigned long length, unsigned char *vec);
unsigned long sys_brk(unsigned long brk);
long sys_open(const char *name, int flags);
long sys_close(int fd);
long sys_read(int fd, void *to, unsigned long bytes);
long sys_pread(int fd, void *to, unsigned long bytes, unsigned long offset);
long sys_pwrite(int fd, const void *from, unsigned long bytes, unsigned long offset);
long sys_ftruncate(int fd, unsigned long size);
long sys_fsync(int fd);
long sys_fcntl(int fd, int what, long value);
long sys_memfd_create(const char *name, unsigned flags);
long sys_fork(void);
long sys_wait(int *status);
long sys_yield(void);
void sys_exit(int code) __attribute__((noreturn));

/* These add to one line, which goes out whole at its end. */
void text(const char *s);
void number(long n);
void hex(unsigned long n);
void end_line(void);
/* "what: n" */
void say(const char *what, long n);

/* Accesses that may fault.  A fault that no handler repaired is told as what it was (signal, code, and where, from
 * BASE). */
struct fault {
	int signo, code;
	unsigned long addr;
};
extern struct fault last_fault;
/* Called by the handler first: not 0 means that the access is to be made again. */
extern int (*repair)(const struct fault *fault);
extern volatile unsigned faults_taken;
int peek(unsigned long addr);             /* the byte, or -1 */
int poke(unsigned long addr, int byte);   /* 0, or -1 */
long run(unsigned long addr);             /* the function's result, or -1 */
void say_peek(const char *what, unsigned long addr);
void say_poke(const char *what, unsigned long addr, int byte);
void say_run(const char *what, unsigned long addr);
void default_signals(void);               /* faults kill from now on */
/* Wait for a child: "what: exit n" or "what: signal n". */
void say_wait(const char *what);
/* Machine code of a function that returns 42. */
extern const unsigned char forty_two[];
extern const unsigned long forty_two_bytes;

static inline volatile unsigned char *bytes_at(unsigned long addr)
{
	return (volatile unsigned char *)addr;
}

static inline volatile unsigned long *words_at(unsigned long addr)
{
	return (volatile unsigned long *)addr;
}

int program(void);

#endif
