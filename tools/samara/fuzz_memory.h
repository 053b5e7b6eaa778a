/* fuzz_memory.h - what the files of `samara fuzz --memory` share: programs that also load, store and change files.
 *
 * A session whose `memory` is set gives samara's machine frames.  The program's accesses are made by the worker's
 * processor on one side and by samara_load and its kin on the other; file operations are made from the side, by the
 * job.  Beyond results and maps these must agree: values, bytes of runs, signals with code and address, smaps, totals,
 * pagemap, what every resident page holds, and the pages of every file.  What always holds:
 *   - the worker has no mapping but the island (no stack, no vdso): all residency is the program's own doing;
 *   - looking changes no residency: only pages that are there are read;
 *   - transparent huge pages are off, there is no swap, files are shmem: the kernel's answers depend on the program
 *     alone.
 */
#ifndef SAMARA_TOOLS_FUZZ_MEMORY_H
#define SAMARA_TOOLS_FUZZ_MEMORY_H

#include "fuzz.h"

enum {
	FUZZ_RUN_BYTES = 3 * 4096,          /* the longest run, and file operation */
	FUZZ_MEMORY_OPS = 400,              /* operations of one program: what it built is looked at whole in the end */
	FUZZ_MACHINE_FRAMES = 2048,         /* programs use a few hundred */
	FUZZ_FEW_FRAMES_UNIT = 4,           /* variants count frames in these */
	FUZZ_FILE_PAGES = 24,               /* that operations on files reach */
	FUZZ_LOOK_EVERY = 6,                /* operations from one look at smaps and pagemap to the next */
	FUZZ_LOOK_AT_CONTENT_EVERY = 30,
	FUZZ_CHECK_EVERY = 90,              /* a multiple of the one above: the whole machine's structure */
	FUZZ_RUNS_AGAIN = 32,              /* of a program that lost a page, maybe to the host */
	FUZZ_MEMORY_TEXT_BYTES = 1 << 20,
};

/* How an access ended, on one side. */
struct fuzz_access {
	uint64_t value;   /* of a word: read, or the old one */
	uint64_t done;    /* bytes of a run */
	int signo, code;
	int pkey;         /* of SEGV_PKUERR */
	uint64_t addr;
	int error;        /* samara's, when there is no signal */
};

struct fuzz_memory {
	unsigned char *frames; /* the machine's memory, zeroed again for every session (or full of garbage) */
	struct fuzz_access kernel, samara;
	unsigned char kernel_data[2 * FUZZ_RUN_BYTES], samara_data[2 * FUZZ_RUN_BYTES];
	size_t data_bytes;     /* of both, to be compared */
	uint64_t count;        /* of frames */
	bool few_frames;
	bool starved;          /* samara's machine was full: it is no longer compared */
	bool dirty_frames;
	bool always;           /* look at everything after each operation */
	bool bytes;            /* and at the bytes of pages and files: slow */
	bool check;            /* and check the machine's structure: slower */
	char *kernel_text, *samara_text;
	size_t kernel_bytes, samara_bytes;
};

/* fuzz_memory.c: the session's side of the mode. */
const char *fuzz_memory_missing(void); /* why this host's answers would not depend on the program alone, or NULL */
int fuzz_memory_open(struct fuzz_memory *m);
unsigned fuzz_memory_variant(uint64_t seed);
int fuzz_memory_begin(struct fuzz_session *s, unsigned variant);
void fuzz_memory_configure(const struct fuzz_session *s, struct samara_config *config);
bool fuzz_memory_allowed(const struct fuzz_session *s, const struct fuzz_op *op);
bool fuzz_memory_starved(struct fuzz_session *s, const struct fuzz_op *op);
/* What is due of pagemap, content, smaps and files, of every process.  False: *what is the class, s->difference has
 * the rest. */
bool fuzz_memory_look(struct fuzz_session *s, size_t index, bool end, char what[static 64]);
/* Was `*d`, found in `p`, the work of a host that pages out?  It is when it shows in where pages are and in nothing
 * else, and does not come again in many runs of the same program. */
bool fuzz_memory_paged_out(struct fuzz_session *s, const struct fuzz_program *p, const struct fuzz_difference *d);
bool fuzz_is_access(unsigned kind);
bool fuzz_is_file_call(unsigned kind);

/* fuzz_memory_access.c: words, runs, operations on files. */
int fuzz_access_kernel(struct fuzz_session *s, const struct fuzz_op *op);
int64_t fuzz_access_samara(struct fuzz_session *s, const struct fuzz_op *op);
/* The class of a difference of results, or NULL. */
const char *fuzz_access_difference(const struct fuzz_session *s, const struct fuzz_op *op, char *detail, size_t room,
	uint64_t *addr);
void fuzz_fill(unsigned char *data, size_t bytes, uint64_t seed);

/* fuzz_memory_remote.c: process_vm_readv and its kin, made by the job */
bool fuzz_is_remote(unsigned kind);
void fuzz_remote_kernel(struct fuzz_session *s, const struct fuzz_op *op);
int64_t fuzz_remote_samara(struct fuzz_session *s, const struct fuzz_op *op);

/* fuzz_memory_files.c */
extern const struct fuzz_recipe fuzz_memory_recipes[];
extern const int fuzz_memory_recipe_count;
int64_t fuzz_file_kernel(struct fuzz_session *s, const struct fuzz_op *op);
int64_t fuzz_file_samara(struct fuzz_session *s, const struct fuzz_op *op);
/* Sizes, pages and bytes of every file.  False: `detail` says which. */
bool fuzz_files_agree(struct fuzz_session *s, bool content, char *detail, size_t room);

/* fuzz_memory_smaps.c, _totals.c (smaps_rollup, status and statm, after smaps agreed), _pages.c.  False: the class of
 * the difference is in *what. */
bool fuzz_smaps_agree(struct fuzz_session *s, unsigned proc, char what[static 64], char *detail, size_t room);
bool fuzz_totals_agree(struct fuzz_session *s, unsigned proc, char what[static 64], char *detail, size_t room);
uint64_t fuzz_peak_kb(const struct fuzz_worker *w); /* VmPeak */
bool fuzz_pages_agree(struct fuzz_session *s, unsigned proc, bool content, char what[static 64], char *detail,
	size_t room, uint64_t *addr);

/* fuzz_memory_generate.c */
void fuzz_memory_generate(struct fuzz_session *s, uint64_t *random, struct fuzz_op *op);
bool fuzz_memory_kind(unsigned kind); /* one that such programs have */

/* fuzz_memory_print.c: parts of the reproducer. */
extern const char fuzz_memory_prelude[];
bool fuzz_memory_print_access(FILE *out, const struct fuzz_session *s, const struct fuzz_op *op, size_t index);
bool fuzz_memory_print_call(FILE *out, const struct fuzz_session *s, const struct fuzz_op *op);
void fuzz_memory_access_text(const struct fuzz_access *a, const struct fuzz_op *op, char *text, size_t room);

#endif
