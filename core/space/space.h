/* space.h - the vocabulary that the request files share.
 *
 * One Linux call a file.  Each has the same three parts: check everything (no state changed), reserve everything that
 * can fail (tree nodes, VMAs, charges), commit with code that cannot fail.  Functions named mm_... expect mmap_lock
 * held for writing unless their comment says otherwise; the public calls in the same file take it.
 */
#ifndef SAMARA_CORE_SPACE_H
#define SAMARA_CORE_SPACE_H

#include "core/fault/fault.h"
#include "core/mm.h"

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
SAMARA_INTERNAL bool mm_denies_write_exec(const struct samara_mm *mm, uint64_t old_flags, uint64_t new_flags);

/* -- pkey.c -- */
SAMARA_INTERNAL int mm_execute_only_pkey(struct samara_mm *mm); /* 0: none to be had */
SAMARA_INTERNAL void pkey_reset(struct samara_mm *mm);
SAMARA_INTERNAL void pkey_inherit(struct samara_mm *child, const struct samara_mm *parent);

/* -- the others -- */

/* What a request made and is to be faulted in, bytes, half-open; empty: nothing is. */
struct range {
	uint64_t start, end;
};
SAMARA_INTERNAL int mm_mprotect(struct samara_mm *mm, uint64_t start, uint64_t length, uint64_t prot, int pkey);
SAMARA_INTERNAL int64_t mm_mremap(struct samara_mm *mm, uint64_t addr, uint64_t old_length, uint64_t new_length, uint64_t flags,
	uint64_t new_addr, struct range *grown);
SAMARA_INTERNAL int mm_madvise(struct samara_mm *mm, uint64_t start, uint64_t length, int advice);
SAMARA_INTERNAL int uffd_drop(struct samara_mm *mm, vma_t *vma);
SAMARA_INTERNAL int mm_fork(struct samara_mm *parent, struct samara_mm **child);
/* populate.c: fault [start, end) in as far as ranges are concerned; stops at the first VMA that cannot be, with its
 * errno. */
SAMARA_INTERNAL int mm_populate(struct samara_mm *mm, uint64_t start, uint64_t end, bool ignore_errors);
/* The end of a request: the write side is given up, and the range faulted in under the read side, so that others go
 * on. */
SAMARA_INTERNAL int mm_unlock_and_populate(struct samara_write_guard *g, struct range range, bool ignore_errors)
	SAMARA_RELEASE(g->read);
SAMARA_INTERNAL bool no_huge_page(const struct samara_mm *mm, const vma_t *vma);
SAMARA_INTERNAL uint64_t vma_beyond_eof(const vma_t *vma, uint64_t start, uint64_t end);
SAMARA_INTERNAL bool vma_sealed(const vma_t *vma);
SAMARA_INTERNAL void mm_empty(struct samara_mm *mm); /* exit.c: every VMA goes, every count is zero after */

#if SAMARA_CHECK >= 2
#define MM_CHECK(mm) ((void)mm_check(mm))
#else
#define MM_CHECK(mm) ((void)(mm))
#endif

#endif
