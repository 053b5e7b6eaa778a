/* samara.h - the Linux address space as a library: machines, address spaces, and Linux's memory calls.
 *
 * Conventions.  There are no globals: every call names the object that it acts on.  Addresses are `samara_va`, lengths
 * are bytes unless a name ends in _pages, ranges are half-open.  A page is 4096 bytes.  Arguments are taken as a system
 * call takes them: any value is allowed, misaligned, overflowing or hostile ones give the errno that Linux gives, and
 * the address space is as it was unless the call's own comment (and Linux) says otherwise.  Calls return 0, an address
 * or a count, or a negative errno (abi.h).  An address is returned as int64_t; errors are -4095..-1.
 *
 * Locks.  The plain calls below take mmap_lock themselves and may be made from any thread (with a port that has wait
 * and wake).  The calls named ..._with take a write guard that the caller holds (vma.h), for those who batch or look
 * before they change.
 *
 * Killed threads.  A call that would wait for mmap_lock returns -EINTR, and has done nothing, when the port gives its
 * wait up (port.h: wait, fatal_signal_pending), where Linux's waits are killable: mmap, munmap, mprotect, mremap,
 * madvise (advice that changes mappings), the mlock family, mseal, remap_file_pages, shmat, shmdt, fork, and the views
 * of maps and smaps; brk returns the old break.  EINTR stands for that below, and calls that do not name it wait for as
 * long as it takes.  What populates or copies page by page says itself what it has done by then.
 *
 * The behaviour is Linux 6.18's on x86-64, from the section-2 man pages named at each call and from the kernel itself:
 * whatever is not said here is what the kernel does; docs/differences.md numbers the exceptions.
 */
#ifndef SAMARA_H
#define SAMARA_H

#include <stddef.h>
#include <stdint.h>
#include "samara/abi.h"
#include "samara/annotate.h"
#include "samara/file.h"
#include "samara/memory.h"
#include "samara/port.h"
#include "samara/vma.h"

#define SAMARA_VERSION_MAJOR 0
#define SAMARA_VERSION_MINOR 1
#define SAMARA_PAGE_SHIFT 12
#define SAMARA_PAGE_SIZE 4096ull

/* ---- machines ------------------------------------------------------------------------------------------------- */

/* One machine: what its address spaces share - commit accounting, limits, features of the "kernel" that it imitates.
 * Zeroed members mean the default named in the comment (proc(5), sys/vm; Documentation/admin-guide/sysctl/vm). */
struct samara_config {
	size_t size;                    /* sizeof(struct samara_config) of the caller */
	uint64_t total_pages;           /* RAM; default 2^20 (4 GiB) */
	uint64_t swap_pages;            /* default 0 */
	int overcommit_memory;          /* 0 heuristic, 1 always, 2 never */
	uint32_t overcommit_ratio;      /* percent; default 50 */
	uint64_t overcommit_kbytes;     /* replaces the ratio when not 0 */
	uint64_t admin_reserve_kbytes;  /* default 8192 (or 3 % of RAM when that is less) */
	uint64_t user_reserve_kbytes;   /* default 131072 (or 3 % of RAM when that is less) */
	uint32_t max_map_count;         /* default 65530 */
	samara_va mmap_min_addr;        /* where hints are lifted to and searches end; default 65536 */
	samara_va dac_mmap_min_addr;    /* below it MAP_FIXED needs CAP_SYS_RAWIO; default 4096 */
	uint32_t stack_guard_gap_pages; /* default 256 */
	uint64_t huge_pages_2m;         /* pool for MAP_HUGETLB, 2 MiB pages; default 0 */
	uint64_t huge_pages_1g;         /* the same, 1 GiB pages */
	/* Features of the kernel's configuration and of the processor. */
	unsigned no_thp : 1;            /* CONFIG_TRANSPARENT_HUGEPAGE=n: no alignment, MADV_HUGEPAGE EINVAL */
	unsigned anon_vma_name : 1;     /* CONFIG_ANON_VMA_NAME: PR_SET_VMA_ANON_NAME works */
	unsigned soft_dirty : 1;        /* CONFIG_MEM_SOFT_DIRTY: "sd" in VmFlags */
	unsigned pkeys : 1;             /* protection keys; x86-64's formats of page tables only */
	unsigned no_ksm : 1;            /* CONFIG_KSM=n: MADV_MERGEABLE EINVAL */
	unsigned memory_failure : 1;    /* CONFIG_MEMORY_FAILURE: MADV_HWPOISON, MADV_SOFT_OFFLINE */
	unsigned no_vsyscall : 1;       /* no [vsyscall] line in maps */
	unsigned no_zero_page : 1;      /* reading untouched anonymous memory gives it a page of its own (some virtual machines, s390) */
	unsigned no_gbpages : 1;        /* the processor has no 1 GiB pages: MAP_HUGE_1GB is EINVAL */
	uint32_t numa_nodes;            /* default 1 */
	uint32_t shmem_minor;           /* device number that maps shows for shared anonymous memory: 00:%02x; default 1 */
	uint32_t hugetlb_minor;         /* the same for MAP_ANONYMOUS | MAP_HUGETLB; default 0xf; both depend on the kernel's boot */
	/* Memory (memory.h).  NULL: the machine is a map only. */
	void *memory;                   /* host memory for frames, aligned to 4096 bytes (to 2 MiB where the host has huge
	                                 * pages); must outlive the machine */
	uint64_t memory_pages;          /* how many frames of 4096 bytes */
	uint64_t first_pfn;             /* the physical page number of the first, as page tables name it */
	uint32_t table_format;          /* SAMARA_TABLE_*; default SAMARA_TABLE_X86_4 */
	uint32_t cpus;                  /* frame caches and counters, see port.h; default 8 for a port with threads, else 1; at most 64 */
	unsigned memory_zeroed : 1;     /* the memory is zero (fresh from mmap) */
	unsigned hardware_walks : 1;    /* hardware walks the tables, and may set accessed and dirty itself */
};

/* Make a machine.  `config` may be NULL.  -ENOMEM; -EINVAL when a required member of `port` is absent, or only one of a
 * pair is there, or a value of `config` makes no sense. */
int samara_create(const struct samara_port *port, const struct samara_config *config, struct samara **out);
/* Panics when an address space, inode or file of the machine is left. */
void samara_destroy(struct samara *vm);
/* A sysctl of a running machine (the members of samara_config from total_pages to stack_guard_gap_pages). -EINVAL as
 * samara_create. */
int samara_set_config(struct samara *vm, const struct samara_config *config);
void samara_get_config(const struct samara *vm, struct samara_config *config);
/* /proc/meminfo's Committed_AS and CommitLimit, in pages. */
int64_t samara_committed_as(const struct samara *vm);
uint64_t samara_commit_limit(const struct samara *vm);

/* ---- address spaces -------------------------------------------------------------------------------------------- */

struct samara_rlimit {
	uint64_t cur, max;
};

/* What execve(2) decides about a new address space.  All zero is a valid, not randomised 64-bit program. */
struct samara_mm_params {
	size_t size;              /* sizeof(struct samara_mm_params) of the caller */
	samara_va task_size;      /* default 0x7ffffffff000 (47 bits less a page), 2^38 with Sv39; 2^56 - 4096 with five levels */
	samara_va mmap_base;      /* top-down searches start below it; 0: computed from RLIMIT_STACK, personality, random */
	samara_va legacy_base;    /* bottom-up searches start here; 0: TASK_SIZE / 3 (+ random) */
	uint32_t personality;     /* SAMARA_ADDR_NO_RANDOMIZE, ..., personality(2) */
	uint64_t capabilities;    /* bit set, 1 << SAMARA_CAP_*; default none */
	uint32_t euid;
	struct samara_rlimit data, stack, memlock, as; /* all zero: Linux's default for that limit */
	samara_va start_code, end_code, start_data, end_data;
	samara_va start_brk, brk, start_stack;
	samara_va arg_start, arg_end, env_start, env_end;
};

int samara_mm_create(struct samara *vm, const struct samara_mm_params *params, struct samara_mm **out);
void samara_mm_get(struct samara_mm *mm);
void samara_mm_put(struct samara_mm *mm); /* the last put tears the space down: exit(2) */
struct samara *samara_mm_machine(const struct samara_mm *mm);

/* fork(2).  The child has every VMA but those of MADV_DONTFORK; nothing is locked in it.  On failure (-ENOMEM) the
 * parent looks unchanged to every observer and the child never existed; so with -EINTR. */
int samara_fork(struct samara_mm *parent, struct samara_mm **child);
/* execve(2): every VMA goes, limits and credentials stay unless `params` gives them, `params` describes the new
 * space.  -EINVAL (params). */
int samara_exec(struct samara_mm *mm, const struct samara_mm_params *params);

/* setrlimit(2); `which` is SAMARA_RLIMIT_*.  -EINVAL when it is another one, or cur > max. */
int samara_set_rlimit(struct samara_mm *mm, int which, struct samara_rlimit limit);
struct samara_rlimit samara_get_rlimit(const struct samara_mm *mm, int which);
void samara_set_credentials(struct samara_mm *mm, uint64_t capabilities, uint32_t euid);
void samara_set_personality(struct samara_mm *mm, uint32_t personality);

/* A mapping exactly as described: no placement, no limits, no policy, for program loaders and for restoring a recorded
 * space.  It merges with nothing.  -EINVAL (not page aligned, empty, beyond task_size), -EEXIST (something is there),
 * -ENOMEM. */
struct samara_install {
	samara_va start, end;
	uint64_t vm_flags;          /* whole: may-rights and VM_ACCOUNT included; accountable ones are charged */
	struct samara_file *file;   /* NULL: anonymous; a reference is taken */
	uint64_t pgoff;             /* pages; for anonymous memory ignored (start / 4096) */
	const char *special;        /* a name such as "[vdso]" for maps, or NULL; must outlive the machine */
	unsigned faulted : 1;       /* a write fault has happened here */
	unsigned inherited : 1;     /* faulted, and the history came through fork (never merges with new neighbours) */
};
int samara_install(struct samara_mm *mm, const struct samara_install *what);

/* ---- Linux's memory calls ---------------------------------------------------------------------------------------- */

/* mmap(2).  `file` is ignored with MAP_ANONYMOUS; NULL without it is a bad descriptor, EBADF.  `offset` is in bytes.
 * Returns the address.  EACCES EAGAIN EBADF EEXIST EINTR EINVAL ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY.
 * MAP_POPULATE and MAP_LOCKED bring pages after that as far as they come: no error. */
int64_t samara_mmap(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, uint64_t flags,
	struct samara_file *file, uint64_t offset);
/* mmap2(2), the page-offset form of 32-bit architectures (mmap_pgoff): `pgoff` is in pages of 4096 bytes. */
int64_t samara_mmap_pgoff(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, uint64_t flags,
	struct samara_file *file, uint64_t pgoff);
/* The old form of i386 and others: one pointer to six 32-bit words, here as the caller read them.  EINVAL for an offset
 * that is not whole pages, else as samara_mmap. */
struct samara_old_mmap_args {
	uint32_t addr, length, prot, flags, fd, offset; /* fd: the embedder turns it into `file` */
};
int64_t samara_old_mmap(struct samara_mm *mm, const struct samara_old_mmap_args *args, struct samara_file *file);
/* munmap(2).  EINVAL; ENOMEM (max_map_count, memory); EPERM (sealed); EINTR. */
int samara_munmap(struct samara_mm *mm, samara_va addr, uint64_t length);
/* mprotect(2), pkey_mprotect(2) (pkey -1 is mprotect).  Parts before the first bad one stay changed.
 * EINVAL (address, PROT_GROWSDOWN where nothing grows, a key that was not given out); EACCES (may-rights, noexec,
 * memory that denies write and execute); ENOMEM (a hole, max_map_count, commit, memory); EPERM (sealed); EINTR. */
int samara_mprotect(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot);
int samara_pkey_mprotect(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, int pkey);
/* pkey_alloc(2), pkey_free(2).  The key, the lowest that is free; its bits in PKRU become `rights` (1: no access, 2: no
 * store).  EINVAL (flags, rights; a machine without keys, the first time); ENOSPC. */
int samara_pkey_alloc(struct samara_mm *mm, uint64_t flags, uint64_t rights);
/* EINVAL: not given out, or the key of execute-only memory.  PKRU stays, and so do mappings that have the key. */
int samara_pkey_free(struct samara_mm *mm, int pkey);
/* RDPKRU, WRPKRU: the rights of protection keys of who runs in the space, two bits a key from bit 0 (1: neither load
 * nor store, 2: no store).  The port's register when it has one (samara_port.pkru), else the space's, which fork copies
 * and exec sets to 0x55555554: key 0 alone is open.  It counts for samara_load, _store and atomic operations
 * (SEGV_PKUERR), populate and mlock, samara_pin, and for discarding sealed memory; not for samara_fetch, samara_copy_*
 * and SAMARA_FORCE.  Mapping execute-only memory takes the right to load by its key (pkeys(7),
 * Documentation/core-api/protection-keys).  Bits of key 0 are kept and say nothing. */
uint32_t samara_pkru(const struct samara_mm *mm);
void samara_set_pkru(struct samara_mm *mm, uint32_t pkru);
/* mremap(2).  Returns the address.  EINVAL (flags, address, lengths, overlap, MREMAP_DONTUNMAP of what cannot be);
 * EFAULT (nothing is mapped at addr, a mapping that ends too early or must not grow); ENOMEM (no place, limits, commit,
 * memory); EAGAIN (RLIMIT_MEMLOCK); EPERM (sealed); EINTR.  After MREMAP_FIXED the target is unmapped also when a later
 * check fails; of several mappings those before the one that failed have moved. */
int64_t samara_mremap(struct samara_mm *mm, samara_va addr, uint64_t old_length, uint64_t new_length, uint64_t flags,
	samara_va new_addr);
/* brk(2), the system call: the new break, or the old one on any failure; never negative. */
samara_va samara_brk(struct samara_mm *mm, samara_va brk);
/* madvise(2).  EINVAL (address, an advice that is not known or not for this memory); ENOMEM (a hole: after the rest was
 * done); EPERM (sealed, MADV_HWPOISON without the capability, MADV_REMOVE of a sealed file); EAGAIN (want of memory for
 * a changed mapping); EACCES, EFBIG, EOPNOTSUPP (MADV_REMOVE: not shared and writable, beyond the largest size, no
 * holes); MADV_POPULATE_*: EFAULT (SIGBUS), ENOMEM (no frame), EINTR with the pages before in place; EINTR.
 *
 * samara_process_madvise is process_madvise(2)'s check of the advice and its walk of the ranges: EINVAL (flags, more
 * than 1024 ranges, advice that others may not give), else as madvise when no range was done. */
int samara_madvise(struct samara_mm *mm, samara_va addr, uint64_t length, int advice);
struct samara_iovec {
	samara_va base;
	uint64_t length;
};
/* Bytes advised.  `self`: the caller's own space (more advice is allowed there). */
int64_t samara_process_madvise(struct samara_mm *mm, const struct samara_iovec *ranges, size_t count, int advice,
	uint64_t flags, int self);
/* mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).  EINVAL (flags, a range that wraps); ENOMEM (a hole,
 * RLIMIT_MEMLOCK, max_map_count, pages that cannot be had); EAGAIN (no frame); EPERM (no limit and no capability);
 * EINTR (of mlock also with the range locked and not all pages there).  mlockall tells of no page. */
int samara_mlock(struct samara_mm *mm, samara_va addr, uint64_t length);
int samara_mlock2(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags);
int samara_munlock(struct samara_mm *mm, samara_va addr, uint64_t length);
int samara_mlockall(struct samara_mm *mm, uint64_t flags);
int samara_munlockall(struct samara_mm *mm);
/* msync(2).  EINVAL (flags, address); ENOMEM (a hole: after the rest was done); EBUSY (MS_INVALIDATE of locked memory);
 * what write_page or sync returned, once.  mincore(2): `vec` gets a byte a page.  EINVAL (address); ENOMEM (a hole);
 * ENOSYS (a machine without memory). */
int samara_msync(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags);
int samara_mincore(struct samara_mm *mm, samara_va addr, uint64_t length, unsigned char *vec);
/* mseal(2).  EINVAL (flags, address); ENOMEM (a hole: then nothing is sealed; memory); EINTR.  remap_file_pages(2), as
 * Linux emulates it: EINVAL, and the errors of samara_mmap. */
int samara_mseal(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags);
int samara_remap_file_pages(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, uint64_t pgoff,
	uint64_t flags);
/* prctl(2): PR_SET_VMA, PR_SET_MM (single values), PR_SET/GET_THP_DISABLE, PR_SET/GET_MDWE.  For PR_SET_VMA_ANON_NAME
 * `name` is the string that arg5 points to, or NULL; other options ignore it.  EINVAL; EPERM (capability,
 * PR_SET_MDWE that takes back); ENOMEM (a hole in the named range: after the rest was done; memory); EAGAIN
 * (max_map_count or memory, by a name); EBADF (a name for a file's mapping); EOPNOTSUPP (docs/differences.md, 4). */
int samara_prctl(struct samara_mm *mm, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5,
	const char *name);
/* mbind(2), set_mempolicy(2).  `nodes` is the mask's words, `maxnode` the number of bits as the system call takes
 * it.  EINVAL (mode, flags, nodes, address); EFAULT (a hole, but for MPOL_DEFAULT; MPOL_MF_STRICT); EPERM
 * (MPOL_MF_MOVE_ALL); ENOMEM. */
int samara_mbind(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t mode, const uint64_t *nodes,
	uint64_t maxnode, uint64_t flags);
/* shmat(2) of a SysV segment: `segment` is its inode (kind SHMEM), `path` what maps prints ("/SYSV00000000 (deleted)").
 * Returns the address.  EINVAL (address, flags; something is there); ENOMEM; EACCES; EINTR.  shmdt(2): EINVAL (nothing
 * was attached at addr); ENOMEM; EINTR. */
int64_t samara_shmat(struct samara_mm *mm, struct samara_inode *segment, const char *path, samara_va addr, int shmflg);
int samara_shmdt(struct samara_mm *mm, samara_va addr);
/* userfaultfd(2): ranges.  `context` identifies the descriptor; VMAs of different contexts do not merge.
 * ioctl_userfaultfd(2), UFFDIO_REGISTER / UFFDIO_UNREGISTER; release is close() of the descriptor.  EINVAL (range,
 * mode, memory that cannot be registered, unregister: of another descriptor); EBUSY (registered with another); EPERM
 * (never writable); ENOMEM. */
int samara_uffd_register(struct samara_mm *mm, void *context, samara_va start, uint64_t length, uint64_t mode);
int samara_uffd_unregister(struct samara_mm *mm, void *context, samara_va start, uint64_t length);
int samara_uffd_release(struct samara_mm *mm, void *context);

/* The range part of a page fault.  Merging depends on which mappings were written to, so an embedder that handles pages
 * itself tells samara of the first write to each private mapping (later ones change nothing and are cheap).  A read
 * (`write` 0) counts on machines with no_zero_page, and only for anonymous memory.  -EFAULT: nothing is mapped there.
 * -ENOMEM. */
int samara_touch(struct samara_mm *mm, samara_va addr, int write);
/* Stack growth: a fault at `addr` below a VM_GROWSDOWN mapping.  0: `addr` is mapped now (or already was).
 * -EFAULT: no such mapping.  -ENOMEM: a limit or the guard gap refuses. */
int samara_expand_stack(struct samara_mm *mm, samara_va addr);

/* The same under a guard that the caller holds; never EINTR. */
int64_t samara_mmap_with(struct samara_write_guard *g, samara_va addr, uint64_t length, uint64_t prot, uint64_t flags,
	struct samara_file *file, uint64_t offset) SAMARA_WRITES(g->read);
int samara_munmap_with(struct samara_write_guard *g, samara_va addr, uint64_t length) SAMARA_WRITES(g->read);
int samara_mprotect_with(struct samara_write_guard *g, samara_va addr, uint64_t length, uint64_t prot)
	SAMARA_WRITES(g->read);
int64_t samara_mremap_with(struct samara_write_guard *g, samara_va addr, uint64_t old_length, uint64_t new_length,
	uint64_t flags, samara_va new_addr) SAMARA_WRITES(g->read);
int samara_madvise_with(struct samara_write_guard *g, samara_va addr, uint64_t length, int advice)
	SAMARA_WRITES(g->read);
int samara_fork_with(struct samara_write_guard *g, struct samara_mm **child) SAMARA_WRITES(g->read);

/* ---- text: what /proc shows ------------------------------------------------------------------------------------ */

/* Takes a piece of text; anything but 0 ends the walk and is returned by the view.  EINTR: the views of maps and
 * smaps. */
typedef int samara_sink(void *self, const char *text, size_t bytes);

/* proc(5), /proc/PID/maps: byte for byte, one call of the sink a line. */
int samara_view_maps(struct samara_mm *mm, samara_sink *sink, void *self);
/* One line of it, for the VMA that contains or follows `addr`; bytes written without the newline, 0 when there is
 * none. */
size_t samara_view_maps_line(const struct samara_read_guard *g, const struct samara_vma *vma, char *line, size_t room)
	SAMARA_READS(*g);
/* The VmFlags line of smaps for one VMA, without its label: "rd wr mr mw me ac ". */
size_t samara_view_vmflags(const struct samara_read_guard *g, const struct samara_vma *vma, char *line, size_t room)
	SAMARA_READS(*g);
/* proc(5), /proc/PID/status and statm: the counts that depend on ranges, in pages. */
struct samara_mm_stat {
	uint64_t size_pages, peak_pages, locked_pages, pinned_pages, data_pages, stack_pages, exec_pages;
	uint64_t text_pages, lib_pages; /* VmExe and VmLib */
	uint32_t map_count;
	samara_va start_code, end_code, start_data, end_data, start_brk, brk, start_stack, mmap_base;
};
void samara_mm_stat(struct samara_mm *mm, struct samara_mm_stat *out);
/* The lines VmPeak to VmLib of status; on a machine with memory also VmHWM, VmRSS and the Rss lines, VmPTE and VmSwap.
 * What the sink returned when it was not 0, else 0. */
int samara_view_status(struct samara_mm *mm, samara_sink *sink, void *self);
int samara_view_statm(struct samara_mm *mm, samara_sink *sink, void *self);
/* proc(5), /proc/PID/smaps and smaps_rollup; machines with memory, else -ENOSYS.  The resident counts are those of one
 * moment for each VMA. */
int samara_view_smaps(struct samara_mm *mm, samara_sink *sink, void *self);
int samara_view_smaps_rollup(struct samara_mm *mm, samara_sink *sink, void *self);

/* ---- proof ------------------------------------------------------------------------------------------------------ */

/* The whole-structure check: tree, VMAs, counts and accounting agree (docs/invariants.md).  0, or panics through the
 * port with the number of the broken invariant.  Costs O(mapped). */
int samara_check(struct samara_mm *mm);

#endif
