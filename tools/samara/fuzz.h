/* fuzz.h - what the files of `samara fuzz` share: operations, programs, the two sides, counts.
 *
 * A program is a list of concrete operations (no symbolic arguments), each for one of a few processes.  A session runs
 * one program on the kernel and on samara at the same time: every operation is done by the kernel first, then by
 * samara, then results and maps are compared.  What always holds:
 *   - a session depends on its program only (no randomness, no clock), so a program can be run again and shrunk;
 *   - no operation touches the island, the few pages in which a worker's loop lives (fuzz_island.c);
 *   - one job (a process) runs one session at a time; jobs share nothing but `struct fuzz_shared`.
 */
#ifndef SAMARA_TOOLS_FUZZ_H
#define SAMARA_TOOLS_FUZZ_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include "samara/samara.h"

#define FUZZ_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum {
	FUZZ_MAX_OPS = 1000,      /* operations of one program */
	FUZZ_MAX_PROCS = 6,       /* processes of one program, dead ones included */
	FUZZ_MAX_VMAS = 600,      /* that the generator looks at */
	FUZZ_TEXT_BYTES = 1 << 18, /* maps text of one process */
	FUZZ_MAX_ERRNO = 134,
	FUZZ_MAX_FLAGS = 200,
	FUZZ_MAX_JOBS = 256,
	FUZZ_MAX_CLASSES = 512,
	FUZZ_MAX_TRAPS = 48,
	FUZZ_SHRINKS_PER_CLASS = 1,
};

#define FUZZ_TASK_SIZE 0x7ffffffff000ull
#define FUZZ_ARENA 0x300000000000ull     /* where the generator crowds its mappings */
#define FUZZ_ISLAND 0x7ffffc000000ull    /* above mmap_base, below every stack: no search comes there */
#define FUZZ_ISLAND_PAGES 96ull
#define FUZZ_ISLAND_END (FUZZ_ISLAND + FUZZ_ISLAND_PAGES * 4096)

enum fuzz_kind {
	FUZZ_MMAP, FUZZ_MUNMAP, FUZZ_MPROTECT, FUZZ_PKEY_MPROTECT, FUZZ_PKEY_ALLOC, FUZZ_PKEY_FREE, FUZZ_WRPKRU,
	FUZZ_MREMAP,
	FUZZ_BRK, FUZZ_MADVISE, FUZZ_PROCESS_MADVISE, FUZZ_MLOCK, FUZZ_MLOCK2, FUZZ_MUNLOCK, FUZZ_MLOCKALL,
	FUZZ_MUNLOCKALL, FUZZ_MSYNC, FUZZ_MINCORE, FUZZ_MSEAL, FUZZ_REMAP_FILE_PAGES, FUZZ_PRCTL, FUZZ_MBIND,
	FUZZ_SHMAT, FUZZ_SHMDT, FUZZ_SETRLIMIT, FUZZ_PERSONALITY, FUZZ_UFFD_REGISTER, FUZZ_UFFD_UNREGISTER,
	FUZZ_UFFD_CLOSE, FUZZ_ADD_SEALS, FUZZ_FORK, FUZZ_EXIT, FUZZ_WRITE, FUZZ_READ,
	FUZZ_MAP_KINDS, /* those below are of --memory alone */
	FUZZ_READ_WORD = FUZZ_MAP_KINDS, FUZZ_WRITE_WORD, FUZZ_EXCHANGE, FUZZ_FETCH_ADD, FUZZ_COMPARE_EXCHANGE,
	FUZZ_READ_RUN, FUZZ_WRITE_RUN, FUZZ_PREAD, FUZZ_PWRITE, FUZZ_FTRUNCATE, FUZZ_FALLOCATE, FUZZ_LSEEK,
	FUZZ_VM_READ, FUZZ_VM_WRITE, FUZZ_MEM_READ, FUZZ_MEM_WRITE,
	FUZZ_KINDS
};

/* Arguments are those of the system call in its order, except:
 *   mmap            a[4] is an index into the files (-1: a bad descriptor)
 *   process_madvise a[0], a[1] and a[2], a[3]: two ranges (extra: how many are passed); a[4] advice, a[5] flags
 *   prctl           extra: which name, for PR_SET_VMA_ANON_NAME
 *   mbind           a[3] is the mask's one word
 *   shmat           a[0] is an index into the segments
 *   setrlimit       a[0] resource, a[1] the new soft limit (the hard one stays)
 *   uffd_register   a[0] descriptor (0 or 1), a[1] start, a[2] length, a[3] mode; unregister and close likewise
 *   add_seals       a[0] is an index into the files, a[1] the seals
 *   fork            extra: the slot of the child
 *   wrpkru          a[0] is the register; bits of key 0, the island's, are clear
 *   write, read     a[0] the address of the byte
 *   ..._word, exchange, fetch_add, compare_exchange: a[0] the address, a[1] the logarithm of the width, a[2] and
 *                   a[3] values
 *   ..._run         a[0] the address, a[1] bytes, a[2] what the bytes written are made from
 *   vm_..., mem_... (process_vm_readv, process_vm_writev, /proc/PID/mem): as runs
 *   pread, pwrite, ftruncate, fallocate, lseek: a[0] is an index into the files; a[3] of pwrite as a[2] of a run */
struct fuzz_op {
	uint8_t kind, proc, extra;
	uint64_t a[6];
};

/* Variants of a program: capabilities given up at its start. */
enum { FUZZ_WITHOUT_IPC_LOCK = 1, FUZZ_WITHOUT_CAPS = 2 };
/* With --memory: the machine's frames hold garbage; how many it has, in a unit of fuzz_memory.h, 0 for plenty. */
enum { FUZZ_DIRTY_FRAMES = 4, FUZZ_VARIANT_FRAMES = 8 };

struct fuzz_program {
	uint64_t seed;
	unsigned variant;
	size_t count;
	struct fuzz_op ops[FUZZ_MAX_OPS];
};

/* ---- the kernel's side: fuzz_island.c ---- */

enum fuzz_request { FUZZ_DO_SYSCALL, FUZZ_DO_WRITE, FUZZ_DO_READ, FUZZ_DO_FORK, FUZZ_DO_ACCESS };

/* One page of the island for each process; the worker's assembly knows the offsets (asserted there). */
struct fuzz_mailbox {
	uint32_t state;           /* FUZZ_IDLE or FUZZ_ASKED; a futex word */
	uint32_t request;
	uint64_t nr;
	uint64_t a[6];
	int64_t result;
	uint32_t signo, code;     /* of the signal that the request ended in */
	uint64_t fork_stack;      /* FUZZ_DO_FORK: the child's mailbox */
	struct { uint64_t sp; uint32_t flags, pad; uint64_t size; } altstack;
	uint64_t fault_addr;      /* of the signal */
	uint64_t done;            /* bytes that a run moved */
	uint32_t keys, pkru;      /* the machine has protection keys; their rights after the request */
	uint32_t pkey;            /* of the signal: which key */
	uint32_t room;
	unsigned char data[6000]; /* what pointer arguments point to */
};

struct fuzz_island {
	struct fuzz_mailbox *box[FUZZ_MAX_PROCS];
	unsigned char *vector;    /* for mincore, at the island's end */
	uint64_t vector_bytes;
};

struct fuzz_worker {
	pid_t pid;                /* 0: none */
	int maps_fd;
	struct fuzz_mailbox *box;
};

int fuzz_island_create(struct fuzz_island *island);
/* Fork the first worker of a session, throw its whole image away but the island, vdso and stack. */
int fuzz_worker_start(struct fuzz_island *island, struct fuzz_worker *w, uint64_t drop_caps, uint64_t start_brk);
/* Let the worker do one request; 0, or -1 when it is dead or stuck. */
int fuzz_worker_ask(struct fuzz_worker *w, enum fuzz_request request, uint64_t nr, const uint64_t a[6]);
/* FUZZ_DO_ACCESS: the island's routine for a kind of access and the logarithm of its width; to be passed as `nr`. */
uint64_t fuzz_island_routine(unsigned kind, unsigned log2);
int fuzz_worker_wrpkru(struct fuzz_worker *w, uint32_t pkru);
int fuzz_worker_syscall(struct fuzz_worker *w, uint64_t nr, const uint64_t a[6], int64_t *result);
int fuzz_worker_fork(struct fuzz_island *island, struct fuzz_worker *parent, unsigned slot, struct fuzz_worker *child,
	int64_t *result);
void fuzz_worker_kill(struct fuzz_worker *w);
/* Reads a whole text file of /proc into `text`; bytes, or -1. */
ssize_t fuzz_read_text(int fd, char *text, size_t room);
/* A file of the worker's folder there: opened, or read as fuzz_read_text does. */
int fuzz_open_proc(const struct fuzz_worker *w, const char *name, int flags);
ssize_t fuzz_read_proc(const struct fuzz_worker *w, const char *name, char *text, size_t room);

/* ---- the things that can be mapped: fuzz_files.c ---- */

enum { FUZZ_MAX_FILES = 32, FUZZ_SEGMENTS = 3 };

struct fuzz_files;

struct fuzz_file {
	const char *name;         /* for people and for the reproducer */
	const char *code;         /* C that opens it in the reproducer */
	int fd;                   /* -1: this host cannot give it */
	bool fresh;               /* opened anew for every program: it has state that operations change */
	int same_inode;           /* index of an earlier file that is the same inode, or -1 */
	enum samara_inode_kind kind;
	unsigned fmode;
	unsigned append_only : 1, executable : 1, noexec : 1, huge_align : 1;
	unsigned huge_log2;
	uint32_t seals;
	char path[256];           /* as maps shows it */
	uint32_t major, minor;
	uint64_t ino, bytes;
};

struct fuzz_segment {
	int id;
	uint64_t bytes;
	void *at;                 /* where the job has it, without ever looking */
};

/* How a file is opened here, and what samara must be told of it. */
struct fuzz_recipe {
	const char *name, *code;
	int (*open)(const struct fuzz_files *files);
	enum samara_inode_kind kind;
	unsigned fmode;
	bool fresh, append_only, noexec;
	unsigned huge_log2;
	const char *same_inode; /* name of an earlier recipe */
};

struct fuzz_files {
	const struct fuzz_recipe *recipes;
	char directory[64];
	struct fuzz_file file[FUZZ_MAX_FILES];
	int count;
	struct fuzz_segment segment[FUZZ_SEGMENTS];
};

/* `recipes`: NULL for those of the map's programs; fresh segments belong to the others. */
int fuzz_files_open(struct fuzz_files *files, const struct fuzz_recipe *recipes, int count);
int fuzz_file_at(const struct fuzz_files *files, const char *name, int flags, long bytes); /* in the directory */
int fuzz_memfd(unsigned flags, long bytes, int seals);
int fuzz_files_refresh(struct fuzz_files *files); /* before each session */
void fuzz_files_close(struct fuzz_files *files);

/* ---- samara's side: fuzz_guest.c ---- */

/* What was learnt of the host once: the configuration of the machine that samara imitates. */
struct fuzz_host {
	struct samara_config config;
	uint64_t capabilities, euid;
	uint64_t start_code, end_code, start_data, end_data, start_brk, start_stack;
	bool pages_out;           /* DAMON takes clean pages of files that are mapped nowhere, at any time */
};

struct fuzz_guest {
	struct samara *vm;
	struct samara_inode *inode[FUZZ_MAX_FILES];
	struct samara_file *file[FUZZ_MAX_FILES];
	struct samara_inode *segment[FUZZ_SEGMENTS];
	int context[2];           /* their addresses identify the userfaultfds */
	uint64_t live_bytes;      /* that the port gave and did not get back */
	struct fuzz_session *session;
};

void fuzz_host_learn(struct fuzz_host *host);
int fuzz_guest_create(struct fuzz_session *s, const char *smaps, uint64_t mmap_base, uint64_t capabilities);
int64_t fuzz_guest_call(struct fuzz_session *s, const struct fuzz_op *op);
void fuzz_guest_destroy(struct fuzz_session *s);

/* ---- a session: fuzz_session.c ---- */

struct fuzz_vma {
	uint64_t start, end;
	char perms[5];
	bool special;             /* the island, vdso, vvar: the generator keeps away or is careful */
	bool foreign;             /* the same without heap and stack */
};

struct fuzz_process {
	bool alive;
	struct fuzz_worker worker;
	struct samara_mm *mm;
	uint64_t peak_kb;         /* VmPeak that the kernel gave it for what it was forked from */
	char *text;               /* the kernel's maps after the last operation */
	size_t bytes;
	struct fuzz_vma vma[FUZZ_MAX_VMAS];
	int vmas;
	bool locked;              /* something was locked once: growing may populate */
	bool lock_future;
	bool limited;             /* setrlimit was called here, or in whom it was forked from */
	uint64_t brk;             /* the kernel's last answer */
	struct { uint64_t start, end; } trap[FUZZ_MAX_TRAPS]; /* guard regions, userfaultfd ranges: where filling may fail */
	int traps;                /* more than FUZZ_MAX_TRAPS: everywhere */
};

enum fuzz_verdict { FUZZ_SAME, FUZZ_SKIPPED, FUZZ_DIFFERENT, FUZZ_BROKEN };

struct fuzz_difference {
	size_t index;             /* of the operation */
	char what[160];           /* the class: shrinking keeps it */
	int64_t kernel, samara;
	char detail[1024];
	uint64_t addr;            /* --memory: what the reproducer looks at in the end; 0: nothing */
	unsigned proc;
};

struct fuzz_session {
	struct fuzz_memory *memory; /* NULL: the map alone */
	struct fuzz_island *island;
	struct fuzz_files *files;
	const struct fuzz_host *host;
	struct fuzz_stats *stats; /* NULL while shrinking */
	struct fuzz_guest guest;
	struct fuzz_process proc[FUZZ_MAX_PROCS];
	uint64_t mmap_base;
	int uffd[2];
	bool watched;             /* a userfaultfd was used */
	bool forked;              /* some process of it was forked */
	bool outside;             /* memory was written to from outside */
	const uint32_t *stop;     /* somebody wants an end */
	struct { uint64_t kernel, samara; } ino[FUZZ_MAX_OPS + 8]; /* shared anonymous memory: pairs seen */
	size_t inos;
	char *samara_text;
	size_t samara_bytes;
	struct fuzz_difference difference;
	int64_t kernel_result, samara_result; /* of the last operation */
	int64_t results[FUZZ_MAX_OPS]; /* the kernel's, by operation; for shrinking and printing */
	bool done[FUZZ_MAX_OPS];  /* the operation was not left out */
	sigjmp_buf escape;        /* out of a crash in the core */
	volatile sig_atomic_t inside; /* the core runs */
	char panic[256];
};

int fuzz_session_begin(struct fuzz_session *s, unsigned variant);
enum fuzz_verdict fuzz_session_step(struct fuzz_session *s, const struct fuzz_op *op, size_t index);
/* Compares every living process once more and tears both sides down; may find a difference as well. */
enum fuzz_verdict fuzz_session_end(struct fuzz_session *s, size_t index, bool compare);
/* A whole program from its list.  On a difference `*out` tells it. */
enum fuzz_verdict fuzz_session_run(struct fuzz_session *s, const struct fuzz_program *p, struct fuzz_difference *out);
void fuzz_catch_crashes(void);

/* fuzz_traps.c: where an access or a populating call may fail for a reason that ranges do not know. */
bool fuzz_trapped(const struct fuzz_process *p, uint64_t start, uint64_t bytes);
void fuzz_traps_follow(struct fuzz_session *s, const struct fuzz_op *op);

/* fuzz_judge.c: may this operation run, and must these results agree? */
bool fuzz_allowed(const struct fuzz_session *s, const struct fuzz_op *op);
bool fuzz_results_agree(struct fuzz_session *s, const struct fuzz_op *op, const char **unjudged);
/* Two lines of maps; inodes that each side chooses are paired. */
bool fuzz_lines_agree(struct fuzz_session *s, const char *k, size_t k_bytes, const char *g, size_t g_bytes);
bool fuzz_maps_agree(struct fuzz_session *s, struct fuzz_process *p, char *detail, size_t room);
int fuzz_parse_maps(const char *text, struct fuzz_vma *vma, int room);

/* ---- making, shrinking, printing ---- */

void fuzz_generate(struct fuzz_session *s, uint64_t *random, struct fuzz_op *op); /* fuzz_generate.c */
unsigned fuzz_variant(uint64_t seed);
uint64_t fuzz_random(uint64_t *state);
/* fuzz_shrink.c: make `p` as small as it gets while it still shows a difference of the class of `*d`. */
void fuzz_shrink(struct fuzz_session *s, struct fuzz_program *p, struct fuzz_difference *d, double seconds);
/* fuzz_print.c: the C program. */
void fuzz_print_number(FILE *out, const struct fuzz_session *s, uint64_t value);
void fuzz_print_program(FILE *out, struct fuzz_session *s, const struct fuzz_program *p,
	const struct fuzz_difference *d);

/* ---- names: fuzz_names.c ---- */

struct fuzz_flag {
	uint8_t kind, arg;
	bool exact;               /* the masked argument equals `value`; else: has all its bits */
	uint64_t mask, value;
	const char *name;
};

const char *fuzz_kind_name(unsigned kind);
int fuzz_kind_args(unsigned kind);
const char *fuzz_errno_name(int err);
void fuzz_result_text(const struct fuzz_op *op, int64_t result, char *text, size_t room);
void fuzz_op_text(const struct fuzz_files *files, const struct fuzz_op *op, char *text, size_t room);
extern const struct fuzz_flag fuzz_flags[];
extern const size_t fuzz_flag_count;
bool fuzz_flag_seen(const struct fuzz_flag *flag, const struct fuzz_op *op);
extern const char *const fuzz_anon_names[4];

/* ---- counts: fuzz_table.c ---- */

enum { FUZZ_UNJUDGED_KINDS = 12 };

struct fuzz_stats {
	bool memory;              /* of --memory: more is shown */
	uint64_t ops, seeds, differences, skipped, maps;
	uint64_t smaps, totals, words, pages; /* --memory: texts, words of pagemap, pages compared */
	uint64_t calls[FUZZ_KINDS][FUZZ_MAX_ERRNO + 2]; /* [0]: success; [last]: another number */
	uint64_t flags[FUZZ_MAX_FLAGS];
	struct { const char *why; uint64_t count; } unjudged[FUZZ_UNJUDGED_KINDS];
};

void fuzz_stats_add(struct fuzz_stats *to, const struct fuzz_stats *from);
void fuzz_stats_op(struct fuzz_stats *stats, const struct fuzz_op *op, int64_t result);
void fuzz_stats_unjudged(struct fuzz_stats *stats, const char *why);
void fuzz_stats_print(FILE *out, const struct fuzz_stats *stats);
void fuzz_stats_print_json(FILE *out, const struct fuzz_stats *stats);

/* ---- jobs: fuzz_jobs.c ---- */

struct fuzz_options {
	uint64_t ops, seed;
	unsigned jobs;
	double seconds;           /* 0: no bound */
	double shrink_seconds;
	bool json, quiet, memory;
};

struct fuzz_shared {
	uint64_t next;            /* index of the next seed */
	uint64_t reserved;        /* operations given out */
	uint32_t lock;            /* of `class` and of the report file */
	uint32_t stop;
	uint32_t broken;          /* jobs that could not run */
	uint32_t active;          /* jobs that run a program */
	size_t classes;
	struct { char what[160]; uint64_t seed, count; } class[FUZZ_MAX_CLASSES];
	struct fuzz_stats stats[FUZZ_MAX_JOBS];
};

/* Runs the jobs to their end; the totals in `*total`.  0, or -1 when none could run (said on stderr). */
int fuzz_jobs_run(const struct fuzz_options *options, const struct fuzz_host *host, struct fuzz_shared *shared,
	int report_fd, struct fuzz_stats *total);

int cmd_fuzz(int argc, char **argv);

#endif
