/* both_sides.h - one test body, run on the kernel that we stand on and on samara, step by step the same.
 *
 * A body makes address spaces and asks: maps, loads, stores, reads, writes.  The file is there already, opened once
 * (number 0).  Every step returns a number and leaves a line in the run's log; the body states what it expects (same),
 * and the logs of both sides must be equal.
 *
 * An address space of the kernel is a process of its own that is told what to do over a socket and catches its signals
 * (kernel_space.c); operations on the file are made by the test itself.  samara's regular file lies in an array (struct
 * disk), whose callbacks fail on demand; its shared memory is an inode of kind SHMEM.
 */
#ifndef SAMARA_TESTS_BOTH_SIDES_H
#define SAMARA_TESTS_BOTH_SIDES_H

#include <sys/types.h>

#include "tests/unit/support.h"

#define SPACES 4
#define OPENS 4
#define AT 0x200000000000ull /* where bodies map */
#define DISK_PAGES 64u
#define SMALL_PAGES 8u /* of TMPFS */
#define SEGMENT_BYTES (4 * PAGE + 100)
#define SIGNAL(signo, code) (-(1000 + (signo)*10 + (code))) /* as the result of a load or store */
#define BUS SIGNAL(SAMARA_SIGBUS, SAMARA_BUS_ADRERR)
#define SEGV_MAP SIGNAL(SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR)
#define SEGV_ACC SIGNAL(SAMARA_SIGSEGV, SAMARA_SEGV_ACCERR)

enum kind {
	DISK,	 /* an empty file of a disk's file system */
	TIGHT,	 /* the same; samara has fewer frames than the file may have pages */
	LOOP,	 /* ext2 on a loop device whose image lies on a small tmpfs; for samara the same as DISK */
	MEMFD,	 /* memfd_create(MFD_ALLOW_SEALING), empty */
	TMPFS,	 /* an empty file of a tmpfs of SMALL_PAGES pages */
	SEGMENT, /* System V, SEGMENT_BYTES; no file to open */
};
enum side { KERNEL, SAMARA };

struct disk {
	unsigned char bytes[DISK_PAGES * 4096];
	uint64_t size;
	int write_error;
};

struct run {
	enum side side;
	enum kind kind;
	char log[1 << 15];
	size_t used;
	/* kernel */
	int fd[OPENS], socket[SPACES], far[SPACES], segment;
	pid_t pid[SPACES];
	bool ours[SPACES]; /* a child of this process, to be waited for */
	char dir[64], path[96];
	/* samara */
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm[SPACES];
	struct samara_inode *inode;
	struct samara_file *file[OPENS];
	struct disk disk;
	void *memory;
};

/* A line of the log; the value again. */
int64_t note(struct run *r, const char *what, int64_t value);
void same_at(struct run *r, int64_t value, int64_t expected, const char *text, int line);
#define same(value, expected) same_at(r, (value), (expected), #value, __LINE__)

/* -- kernel_space.c -- */

struct ask {
	enum {
		ASK_MMAP,
		ASK_MUNMAP,
		ASK_MPROTECT,
		ASK_LOAD,
		ASK_STORE,
		ASK_MSYNC,
		ASK_MADVISE,
		ASK_MINCORE,
		ASK_FORK,
		ASK_SHMAT,
		ASK_SHMDT
	} what;
	uint64_t addr, length, prot, flags, offset;
	int fd, number; /* advice, byte, the new space, the segment */
};

struct answer {
	int64_t result;
	uint64_t where;
	unsigned char vec[64];
};

int64_t or_errno(int64_t result);	     /* -1 becomes -errno */
void kernel_space(struct run *r, int space); /* a new process */
struct answer ask(struct run *r, int space, const struct ask *a);

/* -- both_sides.c -- */

typedef void body(struct run *r);
/* The body on both sides.  False: the kernel could not be asked, this host does not offer what the kind needs; samara
 * was. */
bool on_both(enum kind kind, body *steps);
/* -- steps on address spaces -- */
void space_new(struct run *r, int space);
void space_fork(struct run *r, int from, int to);
/* The address must be the one asked for: 0, or a negative errno.  `file` -1: anonymous. */
int64_t map(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t prot, uint64_t flags, int file,
	uint64_t page);
/* munmap, mprotect, msync, madvise: what they return. */
int64_t unmap(struct run *r, int space, uint64_t addr, uint64_t pages);
int64_t protect(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t prot);
int64_t flush(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t flags);
int64_t advise(struct run *r, int space, uint64_t addr, uint64_t pages, int advice);
/* What mincore(2) says of up to 60 pages, the first as the lowest bit. */
int64_t in_core(struct run *r, int space, uint64_t addr, uint64_t pages);
/* A byte, or the signal that came instead; its address must be the byte's. */
int64_t get(struct run *r, int space, uint64_t addr);
int64_t put(struct run *r, int space, uint64_t addr, int value);
/* The sum in kB of the lines of smaps whose names begin with `name` or `other`, for the mapping that begins at `addr`.
 */
int64_t from_smaps(struct run *r, int space, uint64_t addr, const char *name, const char *other);
int64_t from_status(struct run *r, int space, const char *name);
int64_t dirty_kb(struct run *r, int space, uint64_t addr);
/* Another open of it; before the spaces that map it. */
void file_open(struct run *r, int file, unsigned fmode);
int64_t file_cut(struct run *r, int file, uint64_t size);
int64_t file_hole(struct run *r, int file, uint64_t offset, uint64_t length);
int64_t file_allocate(struct run *r, int file, uint64_t offset, uint64_t length);
/* `count` times the byte. */
int64_t file_put(struct run *r, int file, uint64_t offset, int value, size_t count);
/* The byte there; -1: the end of the file. */
int64_t file_get(struct run *r, int file, uint64_t offset);
int64_t file_sync(struct run *r, int file);
int64_t file_seal(struct run *r, uint32_t seals);
/* Is a run of 64 times the byte on the disk below the file system? */
int64_t on_disk(struct run *r, int value);
/* From now on blocks of the file that hold the byte cannot be written (ENOSPC): they are on the disk already.  Then the
 * disk has room again. */
void disk_breaks(struct run *r, int value);
void disk_heals(struct run *r);
/* Every dirty page of every file is written, and nobody is told: what the timer does, without waiting for it. */
void write_back(struct run *r);
/* shmat(2) of the SEGMENT at a given place: 0, or a negative errno; shmdt(2). */
int64_t attach(struct run *r, int space, uint64_t addr, int flags);
int64_t detach(struct run *r, int space, uint64_t addr);

#endif
