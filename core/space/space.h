/* space.h - machines and address spaces as the core sees them, and the vocabulary that the request files share.
 *
 * One Linux call a file.  Each has the same three parts: check everything (no state changed), reserve everything that can fail
 * (tree nodes, VMAs, charges), commit with code that cannot fail.  Functions named mm_... expect mmap_lock held for writing
 * unless their comment says otherwise; the public calls in the same file take it.
 */
#ifndef SAMARA_CORE_SPACE_H
#define SAMARA_CORE_SPACE_H

#include "core/base/base.h"
#include "core/base/lock.h"
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
};

/* Everything that rlimits, credentials and execve decided. */
struct mm_layout {
	uint64_t task_size, mmap_base, legacy_base;
	uint64_t start_code, end_code, start_data, end_data;
	uint64_t start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
};

enum { LIMIT_DATA, LIMIT_STACK, LIMIT_MEMLOCK, LIMIT_AS, LIMIT_COUNT };

struct samara_mm {
	struct samara *vm;
	struct rwlock mmap_lock;
	uint32_t refs; /* atomic */
	_Alignas(64) struct tree tree;
	/* counts, in pages */
	uint64_t total_vm, peak_vm, data_vm, exec_vm, stack_vm, locked_vm;
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

/* -- memory for metadata -- */
SAMARA_INTERNAL void *vm_alloc(const struct samara *vm, size_t bytes); /* zeroed, or NULL */
SAMARA_INTERNAL void vm_free(const struct samara *vm, void *memory, size_t bytes);
SAMARA_INTERNAL _Noreturn void vm_panic(const struct samara *vm, const char *file, int line, const char *what);

/* The reserve step: room for `vmas` new VMAs and VMA_STORES tree stores each.  -ENOMEM. */
SAMARA_INTERNAL int mm_reserve(struct samara_mm *mm, unsigned vmas);

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

/* -- account.c -- */
SAMARA_INTERNAL int mm_charge(struct samara_mm *mm, uint64_t pages); /* security_vm_enough_memory: -ENOMEM */
SAMARA_INTERNAL int vm_charge(struct samara *vm, const struct samara_mm *mm, uint64_t pages);
SAMARA_INTERNAL void vm_uncharge(struct samara *vm, uint64_t pages);
SAMARA_INTERNAL void vm_recharge(struct samara *vm, uint64_t pages);
SAMARA_INTERNAL bool mm_may_expand(const struct samara_mm *mm, uint64_t flags, uint64_t pages);
SAMARA_INTERNAL void mm_account(struct samara_mm *mm, uint64_t flags, int64_t pages); /* vm_stat_account */
SAMARA_INTERNAL bool vma_is_data(uint64_t flags);
SAMARA_INTERNAL bool vma_is_accountable(const struct samara_file *file, uint64_t flags);
SAMARA_INTERNAL bool mm_can_lock(const struct samara_mm *mm);                             /* can_do_mlock */
SAMARA_INTERNAL bool mm_may_lock(const struct samara_mm *mm, uint64_t flags, uint64_t bytes); /* mlock_future_ok */
SAMARA_INTERNAL uint64_t mm_limit(const struct samara_mm *mm, int limit);               /* bytes, may be infinite */

/* -- unmap.c: planned, then committed -- */
struct unmap_plan {
	uint64_t start, end;
	vma_t *first;              /* NULL: nothing is mapped there */
	uint64_t pages, data_pages, accounted_pages, locked_pages;
};
SAMARA_INTERNAL int unmap_check(struct samara_mm *mm, uint64_t start, uint64_t end, struct unmap_plan *plan);
/* After mm_reserve(mm, 1).  `store`: leave a gap in the tree (else the caller stores over the range at once). */
SAMARA_INTERNAL void unmap_commit(struct samara_mm *mm, const struct unmap_plan *plan, bool store);
SAMARA_INTERNAL void unmap_leave_cuts(struct samara_mm *mm, const struct unmap_plan *plan, bool end_too);
SAMARA_INTERNAL int mm_munmap(struct samara_mm *mm, uint64_t start, uint64_t length);

/* -- map.c -- */
struct map_request {
	uint64_t addr, length, prot, flags, pgoff; /* pgoff in pages */
	struct samara_file *file;
	uint64_t vm_flags; /* more of them: shmat's */
	struct vma_extra *extra;
};
SAMARA_INTERNAL int64_t mm_mmap(struct samara_mm *mm, const struct map_request *request, bool *populate);
SAMARA_INTERNAL uint64_t prot_to_vm(uint64_t prot, int pkey);
SAMARA_INTERNAL int mm_execute_only_pkey(struct samara_mm *mm); /* 0: none to be had */
SAMARA_INTERNAL bool mm_denies_write_exec(const struct samara_mm *mm, uint64_t old_flags, uint64_t new_flags);

/* -- the others -- */
SAMARA_INTERNAL int mm_mprotect(struct samara_mm *mm, uint64_t start, uint64_t length, uint64_t prot, int pkey);
SAMARA_INTERNAL int64_t mm_mremap(struct samara_mm *mm, uint64_t addr, uint64_t old_length, uint64_t new_length, uint64_t flags,
	uint64_t new_addr);
SAMARA_INTERNAL int mm_madvise(struct samara_mm *mm, uint64_t start, uint64_t length, int advice);
SAMARA_INTERNAL int uffd_drop(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL int mm_fork(struct samara_mm *parent, struct samara_mm **child);
/* populate.c: fault [start, end) in as far as ranges are concerned; stops at the first VMA that cannot be, with its errno. */
SAMARA_INTERNAL int mm_populate(struct samara_mm *mm, uint64_t start, uint64_t end, bool ignore_errors);
SAMARA_INTERNAL int mm_expand_stack(struct samara_mm *mm, vma_t *vma, uint64_t addr);
SAMARA_INTERNAL bool read_gives_page(const struct samara_mm *mm, const vma_t *vma);
SAMARA_INTERNAL uint64_t vma_beyond_eof(const vma_t *vma, uint64_t start, uint64_t end);
SAMARA_INTERNAL bool vma_sealed(const vma_t *vma);
SAMARA_INTERNAL int mm_check(struct samara_mm *mm);
SAMARA_INTERNAL void mm_empty(struct samara_mm *mm); /* exit.c: every VMA goes, every count is zero after */

/* -- file.c: inodes and files -- */
struct samara_inode {
	struct samara *vm;
	uint32_t refs;              /* atomic */
	int32_t writable_mappings;  /* atomic: shared mappings that may write */
	struct samara_inode_desc desc;
	struct samara_inode_ops ops;
	uint64_t shmem_charged_pages; /* shared anonymous memory is charged whole at creation */
	uint64_t huge_reserved;       /* pages taken from the pool */
};

struct samara_file {
	struct samara_inode *inode;
	uint32_t refs; /* atomic */
	uint32_t fmode;
	char *path;
	uint32_t path_bytes; /* of the allocation */
	bool is_shm_zero;  /* made by the core for shared anonymous memory */
};

SAMARA_INTERNAL int file_shmem_zero(struct samara *vm, const struct samara_mm *mm, uint64_t bytes, uint64_t vm_flags,
	struct samara_file **out);
SAMARA_INTERNAL int file_hugetlb_anon(struct samara *vm, uint64_t bytes, unsigned log2, struct samara_file **out);
SAMARA_INTERNAL int inode_reserve_huge(struct samara_inode *inode, uint64_t bytes); /* the pool holds pages up to here: -ENOMEM */
SAMARA_INTERNAL void file_vma_open(struct samara_file *file, uint64_t vm_flags);  /* a mapping comes: its count, its reference */
SAMARA_INTERNAL void file_vma_close(struct samara_file *file, uint64_t vm_flags);

static inline bool file_is(const struct samara_file *file, enum samara_inode_kind kind)
{
	return file && file->inode->desc.kind == kind;
}

#if SAMARA_CHECK >= 2
#define MM_CHECK(mm) ((void)mm_check(mm))
#else
#define MM_CHECK(mm) ((void)(mm))
#endif

#endif
