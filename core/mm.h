/* mm.h - what a machine and an address space are: the structs that the nouns share, and the few calls that all of them
 * make.
 *
 * Whoever includes this sees VMAs (vma.h), frames, page tables, files and reverse maps; the folders' own vocabulary is
 * in their own headers.  Functions named mm_... expect mmap_lock held for writing unless their comment says otherwise.
 *
 * A machine without frames (samara_config.memory is NULL) is a map only: address spaces have no page table
 * (mm->table.root is NULL), faults are told by samara_touch, and requests concern ranges alone.  mm_has_memory() says
 * which.
 */
#ifndef SAMARA_CORE_MM_H
#define SAMARA_CORE_MM_H

#include "core/base/base.h"
#include "core/base/lock.h"
#include "core/cache/cache.h"
#include "core/frame/frame.h"
#include "core/rmap/rmap.h"
#include "core/table/table.h"
#include "core/tree/tree.h"
#include "core/vma/vma.h"
#include "samara/samara.h"

#define VMA_STORES 4 /* tree stores that one step of any request may need */

struct samara {
	struct samara_port port;
	struct samara_config config; /* with every default filled in */
	/* what every thread of the machine writes stands on lines of its own, away from what all of them read */
	_Alignas(64) int64_t committed_pages; /* Committed_AS; atomic */
	uint64_t huge_free[2];       /* pool for MAP_HUGETLB: 2 MiB, 1 GiB; atomic */
	_Alignas(64) uint64_t next_anon_id; /* atomic */
	uint64_t next_shmem_ino;     /* atomic; for shared anonymous memory */
	int64_t objects;             /* address spaces, inodes and files alive; atomic */
	/* memory */
	struct frames frames;        /* frames.map is NULL: a map only */
	struct frame *zero_page;     /* what reading untouched memory maps; never counted */
	uint32_t cpus;               /* frame caches, and parts of the counts */
	uint32_t inodes_lock;        /* of the list of inodes that have pages */
	struct samara_inode *inodes;
	uint32_t spaces_lock;
	struct samara_mm *spaces;    /* every address space */
};

/* Everything that rlimits, credentials and execve decided. */
struct mm_layout {
	uint64_t task_size, mmap_base, legacy_base;
	uint64_t start_code, end_code, start_data, end_data;
	uint64_t start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
};

enum { LIMIT_DATA, LIMIT_STACK, LIMIT_MEMLOCK, LIMIT_AS, LIMIT_COUNT };

/* Resident pages; each thread counts in the part that its cpu number names, and the sum is what counts. */
enum { COUNT_FILE, COUNT_ANON, COUNT_SHMEM, COUNT_KINDS };

struct mm_counts {
	_Alignas(64) int64_t resident[COUNT_KINDS]; /* atomic */
};

struct samara_mm {
	/* what every request writes, away from what every fault reads */
	struct rwlock mmap_lock;
	uint32_t refs; /* atomic */
	_Alignas(64) struct samara *vm;
	uint32_t lock_seq; /* a VMA whose lock_seq equals it is write-locked; grows when mmap_lock is given back */
	struct table table;
	struct table_sink sink;
	uint32_t anon_lock; /* first write faults under the read side of mmap_lock */
	struct mm_counts *counts; /* vm->cpus of them */
	struct samara_mm *next, *prev; /* vm->spaces */
	_Alignas(64) struct tree tree;
	/* counts, in pages */
	uint64_t total_vm, peak_vm, data_vm, exec_vm, stack_vm, locked_vm;
	uint64_t peak_resident; /* VmHWM */
	uint32_t map_count;
	uint64_t def_flags; /* VM_LOCKED of mlockall(MCL_FUTURE), ... */
	struct mm_layout layout;
	struct samara_rlimit limits[LIMIT_COUNT];
	uint64_t capabilities;
	uint32_t euid, personality;
	uint32_t mdwe;        /* PR_MDWE_* */
	uint32_t thp_disabled; /* PR_SET_THP_DISABLE: 0, 1, or 3 with PR_THP_DISABLE_EXCEPT_ADVISED */
	uint32_t pkeys;       /* allocated protection keys, bit set */
	int execute_only_pkey;
	bool pkey_0_taken;    /* without protection keys: see samara_pkey_alloc */
	uint32_t pkru;        /* atomic: rights of keys, where the port knows none (pkey.c) */
	/* VMA slabs (vma_alloc.c) */
	struct vma_slab *slabs;
	struct samara_vma *free_vmas;
	uint32_t free_count;
};

static inline const struct samara_port *mm_port(const struct samara_mm *mm)
{
	return &mm->vm->port;
}

static inline bool mm_capable(const struct samara_mm *mm, int capability)
{
	return mm->capabilities >> capability & 1;
}

static inline bool mm_has_memory(const struct samara_mm *mm)
{
	return mm->table.root != NULL;
}

/* Is the calling thread to end?  Asked at each page of what takes long. */
static inline bool fatal_signal_pending(const struct samara *vm)
{
	return UNLIKELY(vm->port.fatal_signal_pending != NULL) && vm->port.fatal_signal_pending(vm->port.self);
}

/* The part of what is counted by thread, and the frame cache, that this thread uses. */
static inline unsigned vm_cpu(const struct samara *vm)
{
	return vm->port.cpu ? vm->port.cpu(vm->port.self) % vm->cpus : 0;
}

static inline void mm_count(struct samara_mm *mm, unsigned cpu, unsigned kind, int64_t pages)
{
	if (mm->vm->port.wait)
		__atomic_add_fetch(&mm->counts[cpu].resident[kind], pages, __ATOMIC_RELAXED);
	else
		mm->counts[cpu].resident[kind] += pages;
}

/* -- memory for metadata -- */
SAMARA_INTERNAL void *vm_alloc(const struct samara *vm, size_t bytes); /* zeroed, or NULL */
SAMARA_INTERNAL void vm_free(const struct samara *vm, void *memory, size_t bytes);
SAMARA_INTERNAL _Noreturn void vm_panic(const struct samara *vm, const char *file, int line, const char *what);

/* The reserve step: room for `vmas` new VMAs and VMA_STORES tree stores each.  -ENOMEM. */
SAMARA_INTERNAL int mm_reserve(struct samara_mm *mm, unsigned vmas);
SAMARA_INTERNAL int mm_check(struct samara_mm *mm); /* space/check.c: panics */
/* space/pkey.c: what the rights of protection keys of who asks say to a load or a store */
SAMARA_INTERNAL bool pkey_forbids(const struct samara_mm *mm, unsigned key, bool write);

/* -- lookups, mmap_lock held -- */
static inline vma_t *mm_find(const struct samara_mm *mm, uint64_t addr) /* find_vma */
{
	return tree_ceiling(&mm->tree, addr).value;
}

SAMARA_INTERNAL vma_t *mm_find_in(const struct samara_mm *mm, uint64_t start, uint64_t end); /* find_vma_intersection */
SAMARA_INTERNAL vma_t *mm_prev(const struct samara_mm *mm, uint64_t addr);                  /* the last that ends at or before addr */
SAMARA_INTERNAL vma_t *mm_next(const struct samara_mm *mm, const vma_t *vma);

/* -- changes to the index: cannot fail after mm_reserve -- */
SAMARA_INTERNAL void mm_link(struct samara_mm *mm, vma_t *vma); /* a new VMA: map_count, tree */

/* -- anon.c: does reading untouched memory give it a page of its own, as a write would? -- */
SAMARA_INTERNAL bool read_gives_page(const struct samara_mm *mm, const vma_t *vma);

/* -- account.c -- */
SAMARA_INTERNAL int mm_charge(struct samara_mm *mm, uint64_t pages); /* security_vm_enough_memory: -ENOMEM */
SAMARA_INTERNAL int vm_charge(struct samara *vm, const struct samara_mm *mm, uint64_t pages);
/* Many requests at once: `pages` of them all, and the largest. */
SAMARA_INTERNAL int vm_charge_many(struct samara *vm, const struct samara_mm *mm, uint64_t pages, uint64_t largest);
SAMARA_INTERNAL void vm_uncharge(struct samara *vm, uint64_t pages);
SAMARA_INTERNAL void vm_recharge(struct samara *vm, uint64_t pages);
SAMARA_INTERNAL bool mm_may_expand(const struct samara_mm *mm, uint64_t flags, uint64_t pages);
SAMARA_INTERNAL void mm_account(struct samara_mm *mm, uint64_t flags, int64_t pages); /* vm_stat_account */
SAMARA_INTERNAL bool vma_is_data(uint64_t flags);
SAMARA_INTERNAL bool vma_is_accountable(const struct samara_file *file, uint64_t flags);
SAMARA_INTERNAL bool mm_can_lock(const struct samara_mm *mm);                             /* can_do_mlock */
SAMARA_INTERNAL bool mm_may_lock(const struct samara_mm *mm, uint64_t flags, uint64_t bytes); /* mlock_future_ok */
SAMARA_INTERNAL uint64_t mm_limit(const struct samara_mm *mm, int limit);               /* bytes, may be infinite */

#endif
