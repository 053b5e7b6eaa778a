/* fault.h - an access misses: the answer, and its opposite, taking pages away.
 *
 * fault.c is the page to read first.  Everything here needs a machine with memory (mm_has_memory).
 */
#ifndef SAMARA_CORE_FAULT_H
#define SAMARA_CORE_FAULT_H

#include "core/mm.h"

/* Software entries of a page table: bit 0 is clear, so no hardware looks at the rest. */
#define SOFT_GUARD ((uint64_t)2 << 1) /* MADV_GUARD_INSTALL: any access is SIGSEGV */

/* What a fault is about.  The VMA is held still by its own lock, or by mmap_lock. */
struct fault {
	struct samara_mm *mm;
	vma_t *vma;
	uint64_t addr;     /* as the access had it */
	unsigned access;   /* SAMARA_READ ... */
	unsigned cpu;
	bool map_locked;   /* mmap_lock is held (either side), not just the VMA's lock */
	bool any_key;      /* rights of protection keys do not count, or were asked already */
	bool unshare;      /* a write in order to have a page of the space's own, that nobody writes to yet (pin.c) */
	struct samara_signal *why;
	struct samara_inode *awaited; /* FAULT_WAIT: the page of this index is on its way; a reference is held */
	uint64_t awaited_index;
	bool may_leave;    /* the caller can let go of its lock and wait for the page without */
};

enum { /* beside 0 and negative errnos */
	FAULT_RETRY = 1,     /* something changed: look at the address again */
	FAULT_MAP_LOCK = 2,  /* needs mmap_lock: come again with it */
	FAULT_WAIT = 3,      /* a page must be waited for: let go, wait, come again */
};

/* fault.c.  The VMA is locked (see struct fault). */
SAMARA_INTERNAL int fault_in_vma(struct fault *f);
/* [start, end) of the VMA as MAP_POPULATE and mlock do, its key allowing it; mmap_lock held, either side.  The first
 * page that cannot be had: -EFAULT, -ENOMEM. */
SAMARA_INTERNAL int fault_populate(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, unsigned access);
SAMARA_INTERNAL int fault_error(struct fault *f, int error, int signo, int code);

/* A page of the inode is locked or being read.  With a caller that can let go FAULT_WAIT: it calls fault_wait with
 * nothing held, and begins again.  Else it is the caller's to come again: -EAGAIN. */
SAMARA_INTERNAL int fault_await(struct fault *f, struct samara_inode *inode, uint64_t index);
SAMARA_INTERNAL int fault_wait(struct fault *f); /* FAULT_RETRY, or -EINTR */

/* copy.c: the VMA's own pages: first touch, copy on write, reuse */
SAMARA_INTERNAL int fault_anonymous(struct fault *f, uint64_t *slot);
SAMARA_INTERNAL int fault_anonymous_many(struct fault *f, uint64_t addr, uint64_t end, uint64_t *next);
SAMARA_INTERNAL int fault_copy(struct fault *f, uint64_t *slot, uint64_t seen);
SAMARA_INTERNAL int fault_copy_file(struct fault *f, uint64_t *slot, const struct frame *page);
SAMARA_INTERNAL bool frame_is_exclusive(const struct frame *frame);
SAMARA_INTERNAL bool fault_reclaim(struct samara *vm); /* false: there was nothing to give back */
/* file.c: pages of files */
SAMARA_INTERNAL int fault_file(struct fault *f, uint64_t *slot); /* NULL: its page of the table is not there yet */
SAMARA_INTERNAL int fault_make_writable(struct fault *f, uint64_t *slot, uint64_t seen);

/* stack.c: a growing mapping.  mmap_lock held for writing. */
SAMARA_INTERNAL int mm_expand_stack(struct samara_mm *mm, vma_t *vma, uint64_t addr);

/* -- taking pages away; the VMAs are write-locked, or nothing else can fault there -- */

enum zap_how {
	ZAP_ALL,         /* munmap: guard markers too */
	ZAP_KEEP_GUARDS, /* MADV_DONTNEED */
};
/* zap.c.  Pages of the page table that lie in [floor, ceiling) go too when they are empty; equal: none. */
SAMARA_INTERNAL void zap_range(struct samara_mm *mm, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling, enum zap_how how);
SAMARA_INTERNAL void zap_all(struct samara_mm *mm); /* exit */
SAMARA_INTERNAL void zap_protect(struct samara_mm *mm, const vma_t *vma, uint64_t start, uint64_t end); /* entries follow vma->flags */
SAMARA_INTERNAL void zap_bits(struct samara_mm *mm, uint64_t start, uint64_t end, unsigned rights); /* every entry loses these */
SAMARA_INTERNAL unsigned fault_rights(const vma_t *vma);
/* An entry of the VMA's for the frame: the VMA's rights and protection key, and `more`. */
static inline uint64_t fault_entry(const struct fault *f, const struct frame *frame, unsigned more)
{
	return entry_make(&f->mm->table, frame_pfn(&f->mm->vm->frames, frame), fault_rights(f->vma) | more, 0) |
	       table_pkey_bits(&f->mm->table, vma_pkey(f->vma));
}
/* mremap: the first makes all that the second needs (-ENOMEM: nothing was changed); nothing is mapped at the new place,
 * and both ranges belong to the caller. */
SAMARA_INTERNAL int zap_move_prepare(struct samara_mm *mm, uint64_t from, uint64_t to, uint64_t bytes);
SAMARA_INTERNAL void zap_move(struct samara_mm *mm, uint64_t from, uint64_t to, uint64_t bytes);
SAMARA_INTERNAL void mm_sink_init(struct samara_mm *mm);

/* fork.c: between begin and end, one mapping of the parent's after the other: `copy`, the child's, joins its reverse
 * maps and gets its entries.  -ENOMEM: the caller zaps the child, after the end. */
#define FORK_CHANGES 64
struct fault_fork {
	struct samara_mm *child, *parent;
	bool shared; /* the mapping at hand */
	int64_t counts[COUNT_KINDS];
	struct table_gather gather;
	struct table_change changes[FORK_CHANGES];
};
SAMARA_INTERNAL void fault_fork_begin(struct fault_fork *c, struct samara_mm *child, struct samara_mm *parent);
SAMARA_INTERNAL int fault_fork(struct fault_fork *c, vma_t *vma, vma_t *copy);
SAMARA_INTERNAL void fault_fork_end(struct fault_fork *c);

/* guard.c, resident.c; mmap_lock held, either side */
SAMARA_INTERNAL int guard_install(struct samara_mm *mm, uint64_t start, uint64_t end); /* -ENOMEM: the part before has markers */
SAMARA_INTERNAL void guard_remove(struct samara_mm *mm, uint64_t start, uint64_t end);
SAMARA_INTERNAL void pages_give_up(struct samara_mm *mm, uint64_t start, uint64_t end); /* MADV_FREE */
SAMARA_INTERNAL void fault_mincore(struct samara_mm *mm, const vma_t *vma, uint64_t start, uint64_t end, unsigned char *vec);

/* check.c: NULL, or what is broken; mmap_lock held, nobody faulting */
SAMARA_INTERNAL const char *mm_memory_check(struct samara_mm *mm);

/* memory.c */
SAMARA_INTERNAL int vm_memory_init(struct samara *vm);
SAMARA_INTERNAL void vm_memory_fini(struct samara *vm);
SAMARA_INTERNAL int mm_memory_init(struct samara_mm *mm);
SAMARA_INTERNAL void mm_memory_fini(struct samara_mm *mm);
SAMARA_INTERNAL uint64_t mm_resident(const struct samara_mm *mm, unsigned kind);
SAMARA_INTERNAL void mm_note_peak(struct samara_mm *mm);

#endif
