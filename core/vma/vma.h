/* vma.h - what one range of an address space is, and the operations on ranges: allocate, split, merge, place.
 *
 * A VMA belongs to one address space and is changed only by the holder of its write guard.  Readers without a lock
 * (samara_lookup) read start, end, flags and pgoff between two looks at `seq`; so those four fields are written only
 * between vma_write_begin and vma_write_end, and the memory of a VMA stays a VMA (vma_alloc.c) until a grace period
 * after its slab was given back.  Who comes by a reverse map has the range as it is (its lock keeps rmap_open out), but
 * flags only through LOAD, and of them only what never changes while a VMA lives: VM_SHARED.
 *
 * What always holds (each is a line of docs/invariants.md and checked by mm_check):
 *   start < end, both page aligned, the tree maps exactly [start, end) to the VMA;
 *   pgoff does not wrap inside a VMA (for private anonymous memory it is the address / 4096 where it was first mapped);
 *   anon_id is 0 or identifies the anonymous history that merging respects; inherited implies anon_id.
 */
#ifndef SAMARA_CORE_VMA_H
#define SAMARA_CORE_VMA_H

#include "core/base/base.h"
#include "core/rmap/rmap.h"
#include "samara/vma.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ull
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define PAGE_ALIGN(x) (((x) + PAGE_SIZE - 1) & PAGE_MASK)
#define HUGE_SIZE (2ull << 20)

#define VM_READ SAMARA_VM_READ
#define VM_WRITE SAMARA_VM_WRITE
#define VM_EXEC SAMARA_VM_EXEC
#define VM_SHARED SAMARA_VM_SHARED
#define VM_MAYREAD SAMARA_VM_MAYREAD
#define VM_MAYWRITE SAMARA_VM_MAYWRITE
#define VM_MAYEXEC SAMARA_VM_MAYEXEC
#define VM_MAYSHARE SAMARA_VM_MAYSHARE
#define VM_GROWSDOWN SAMARA_VM_GROWSDOWN
#define VM_PFNMAP SAMARA_VM_PFNMAP
#define VM_LOCKED SAMARA_VM_LOCKED
#define VM_IO SAMARA_VM_IO
#define VM_SEQ_READ SAMARA_VM_SEQ_READ
#define VM_RAND_READ SAMARA_VM_RAND_READ
#define VM_DONTCOPY SAMARA_VM_DONTCOPY
#define VM_DONTEXPAND SAMARA_VM_DONTEXPAND
#define VM_LOCKONFAULT SAMARA_VM_LOCKONFAULT
#define VM_ACCOUNT SAMARA_VM_ACCOUNT
#define VM_NORESERVE SAMARA_VM_NORESERVE
#define VM_HUGETLB SAMARA_VM_HUGETLB
#define VM_SYNC SAMARA_VM_SYNC
#define VM_WIPEONFORK SAMARA_VM_WIPEONFORK
#define VM_DONTDUMP SAMARA_VM_DONTDUMP
#define VM_SOFTDIRTY SAMARA_VM_SOFTDIRTY
#define VM_MIXEDMAP SAMARA_VM_MIXEDMAP
#define VM_HUGEPAGE SAMARA_VM_HUGEPAGE
#define VM_NOHUGEPAGE SAMARA_VM_NOHUGEPAGE
#define VM_MERGEABLE SAMARA_VM_MERGEABLE
#define VM_UFFD_MISSING SAMARA_VM_UFFD_MISSING
#define VM_UFFD_WP SAMARA_VM_UFFD_WP
#define VM_UFFD_MINOR SAMARA_VM_UFFD_MINOR
#define VM_DROPPABLE SAMARA_VM_DROPPABLE
#define VM_SEALED SAMARA_VM_SEALED
#define VM_MAYBE_GUARD SAMARA_VM_MAYBE_GUARD
#define VM_PKEY_SHIFT SAMARA_VM_PKEY_SHIFT
#define VM_PKEY_MASK SAMARA_VM_PKEY_MASK

#define VM_ACCESS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_LOCKED_MASK (VM_LOCKED | VM_LOCKONFAULT)
#define VM_SPECIAL (VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)
#define VM_UFFD_ALL (VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR)
#define VM_STICKY (VM_SOFTDIRTY | VM_MAYBE_GUARD) /* no reason not to merge; what merges has it when a part had */
#define VM_MAY_ALL (VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)

struct samara;

/* A memory policy (mbind). mode 0 is none. */
struct mempolicy {
	uint32_t mode, flags;
	uint64_t nodes;
};

/* What few VMAs have.  Immutable once made, counted, shared by the pieces of a split; NULL in most VMAs. */
struct vma_extra {
	uint32_t refs;
	uint32_t bytes;          /* of this allocation, the name included */
	const char *special;     /* "[vdso]"; not owned */
	void *uffd;              /* the userfaultfd context, an identity */
	struct mempolicy policy;
	bool has_close;          /* the VMA's operations include close: a merge must not remove it */
	bool shm;                /* attached by shmat */
	bool named;              /* anonymous name in `name`, PR_SET_VMA_ANON_NAME */
	char name[];
};

struct samara_vma {
	uint64_t start, end;       /* half-open, page aligned */
	uint64_t flags;            /* VM_* */
	uint64_t pgoff;            /* pages */
	uint32_t seq;              /* odd while the four fields above change; near them and `mm`, for lookups without a lock */
	uint16_t slot;             /* index in its slab */
	bool inherited;            /* the anonymous history came through fork */
	struct samara_mm *mm;      /* NULL while the slot is free */
	struct samara_file *file;  /* counted; NULL: anonymous */
	uint64_t anon_id;          /* 0: never write-faulted */
	void *private_data;        /* the driver's */
	struct vma_extra *extra;   /* counted */
	uint32_t lock;             /* readers that keep the VMA as it is, or VMA_WRITER */
	uint32_t lock_seq;         /* equal to mm->lock_seq: write-locked until mmap_lock is given back */
	struct anon *anon;         /* the family of its anonymous pages; counted; NULL without memory, or never write-faulted */
	struct rmap_link file_link, anon_link;
};

#define VMA_WRITER 0x80000000u

typedef struct samara_vma vma_t;

/* A range that is about to exist or to change, for the merge test. */
struct vma_spec {
	uint64_t start, end, flags, pgoff;
	struct samara_file *file;
	void *private_data;
	struct vma_extra *extra;
	uint64_t anon_id;
	bool inherited;
	struct anon *anon;
};

static inline uint64_t vma_pages(const vma_t *vma)
{
	return (vma->end - vma->start) >> PAGE_SHIFT;
}

/* Linked by start, end or pgoff, so these change in the reverse maps' sight too. */
static inline bool vma_is_linked(const vma_t *vma)
{
	return vma->anon || vma->file;
}

/* lock.c: nobody faults in the VMA from here until mmap_lock is given back.  Write guard held. */
SAMARA_INTERNAL void vma_lock_write_slow(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL void vma_lock_write(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL void vma_unlock_all(struct samara_mm *mm);
/* False: the VMA is changing, or about to. */
SAMARA_INTERNAL bool vma_lock_read(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL void vma_unlock_read(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL vma_t *vma_find_locked(struct samara_mm *mm, uint64_t addr); /* see lock.c */

static inline void vma_write_begin(vma_t *vma)
{
	STORE(vma->seq, vma->seq + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void vma_write_end(vma_t *vma)
{
	STORE_RELEASE(vma->seq, vma->seq + 1);
}

/* vma_alloc.c: both write-lock the VMA first; the first keeps the reverse maps in step. */
SAMARA_INTERNAL void vma_set_range(vma_t *vma, uint64_t start, uint64_t end, uint64_t pgoff);
SAMARA_INTERNAL void vma_set_flags(vma_t *vma, uint64_t flags);

/* vm_start_gap: where the guard gap below a stack begins. */
SAMARA_INTERNAL uint64_t vma_start_gap(const struct samara *vm, const vma_t *vma);
/* No operations in Linux's sense: anonymous memory, or a private mapping of /dev/zero, which still shows its file. */
SAMARA_INTERNAL bool vma_is_anonymous(const vma_t *vma);

static inline unsigned vma_pkey(const vma_t *vma)
{
	return (unsigned)((vma->flags & VM_PKEY_MASK) >> VM_PKEY_SHIFT);
}

/* vma_alloc.c: VMAs come from slabs of their address space */
SAMARA_INTERNAL int vma_reserve(struct samara_mm *mm, unsigned count);
SAMARA_INTERNAL vma_t *vma_take(struct samara_mm *mm);              /* after vma_reserve; cannot fail */
SAMARA_INTERNAL void vma_give(struct samara_mm *mm, vma_t *vma);    /* drops file and extra too */
SAMARA_INTERNAL void vma_give_all(struct samara_mm *mm); /* every VMA in use; the tree is the caller's */
SAMARA_INTERNAL void vma_slabs_forget_seq(struct samara_mm *mm);
SAMARA_INTERNAL void vma_slabs_release(struct samara_mm *mm);
SAMARA_INTERNAL int vma_slabs_check(const struct samara_mm *mm, uint64_t in_use);
/* The first leaves the reverse maps to the caller; both take references. */
SAMARA_INTERNAL void vma_init(vma_t *vma, struct samara_mm *mm, const struct vma_spec *spec);
SAMARA_INTERNAL void vma_fill(vma_t *vma, struct samara_mm *mm, const struct vma_spec *spec);

/* extra.c: names, policies, contexts */
SAMARA_INTERNAL struct vma_extra *extra_get(struct vma_extra *extra);
SAMARA_INTERNAL void extra_put(const struct samara *vm, struct vma_extra *extra);
SAMARA_INTERNAL bool extra_equal(const struct vma_extra *a, const struct vma_extra *b);
/* A copy of `from` (may be NULL) with room for `name` (NULL: from's own name stays); the caller changes it before
 * sharing. */
SAMARA_INTERNAL struct vma_extra *extra_copy(const struct samara *vm, const struct vma_extra *from, const char *name);
SAMARA_INTERNAL bool extra_is_plain(const struct vma_extra *extra);

/* split.c, merge.c */
SAMARA_INTERNAL bool vma_may_cut(const vma_t *vma, uint64_t at);
/* After mm_reserve(mm, 1): [start, at) stays, [at, end) is new and returned. */
SAMARA_INTERNAL vma_t *vma_split(struct samara_mm *mm, vma_t *vma, uint64_t at);
SAMARA_INTERNAL vma_t *vma_merge_new(struct samara_mm *mm, const struct vma_spec *spec, vma_t *prev, vma_t *next);
/* Give [start, end) of `vma` other flags and extra: merged with neighbours or split off.  *out covers the range (and
 * maybe more).  -ENOMEM: a split would pass max_map_count, or memory. */
SAMARA_INTERNAL int vma_modify(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, uint64_t flags,
	struct vma_extra *extra, vma_t **out);

/* anon.c: the anonymous history */
SAMARA_INTERNAL int anon_prepare(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL bool anon_mergeable(uint64_t a, bool a_inherited, uint64_t b, bool b_inherited);

/* place.c: get_unmapped_area.  `hint` as the caller gave it; the address or a negative errno */
struct place_request {
	uint64_t hint, length, pgoff, flags; /* MAP_* */
	uint64_t align; /* mask of low bits that must be zero; hugetlbfs */
	uint64_t vm_flags;
	const struct samara_file *file;
};
SAMARA_INTERNAL uint64_t place(struct samara_mm *mm, const struct place_request *request);
SAMARA_INTERNAL bool place_is_error(uint64_t address);

#endif
