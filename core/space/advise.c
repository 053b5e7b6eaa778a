/* advise.c - madvise(2), process_madvise(2): one walk, one function for each kind of advice.
 *
 *   changes flags      NORMAL RANDOM SEQUENTIAL DONTFORK DOFORK WIPEONFORK KEEPONFORK DONTDUMP DODUMP (UN)MERGEABLE (NO)HUGEPAGE
 *   discards pages     DONTNEED DONTNEED_LOCKED FREE REMOVE GUARD_INSTALL GUARD_REMOVE - may be refused on sealed mappings
 *   about pages only   WILLNEED COLD PAGEOUT COLLAPSE
 *   faults pages in    POPULATE_READ POPULATE_WRITE
 *
 * Holes are passed over and give ENOMEM at the end; any other error stops the walk at once.  What the advice does to
 * pages comes after the check of each VMA, on a machine with memory (apply_to_pages).  What may ask a file holds
 * mmap_lock for reading (reading_advice).
 */
#include "core/space/space.h"

static bool known_advice(const struct samara *vm, int advice)
{
	switch (advice) {
	case SAMARA_MADV_NORMAL: case SAMARA_MADV_RANDOM: case SAMARA_MADV_SEQUENTIAL: case SAMARA_MADV_WILLNEED:
	case SAMARA_MADV_DONTNEED: case SAMARA_MADV_FREE: case SAMARA_MADV_REMOVE: case SAMARA_MADV_DONTFORK:
	case SAMARA_MADV_DOFORK: case SAMARA_MADV_DONTDUMP: case SAMARA_MADV_DODUMP: case SAMARA_MADV_WIPEONFORK:
	case SAMARA_MADV_KEEPONFORK: case SAMARA_MADV_COLD: case SAMARA_MADV_PAGEOUT: case SAMARA_MADV_POPULATE_READ:
	case SAMARA_MADV_POPULATE_WRITE: case SAMARA_MADV_DONTNEED_LOCKED: case SAMARA_MADV_GUARD_INSTALL:
	case SAMARA_MADV_GUARD_REMOVE:
		return true;
	case SAMARA_MADV_MERGEABLE: case SAMARA_MADV_UNMERGEABLE:
		return !vm->config.no_ksm;
	case SAMARA_MADV_HUGEPAGE: case SAMARA_MADV_NOHUGEPAGE: case SAMARA_MADV_COLLAPSE:
		return !vm->config.no_thp;
	case SAMARA_MADV_HWPOISON: case SAMARA_MADV_SOFT_OFFLINE:
		return vm->config.memory_failure;
	}
	return false;
}

/* Sealed anonymous memory keeps its contents unless who asks could overwrite it anyway: by its rights and by its
 * protection key (Documentation/userspace-api/mseal). */
static bool seal_forbids(const vma_t *vma, int advice)
{
	if (!vma_sealed(vma) || !vma_is_anonymous(vma) || (vma->flags & VM_SHARED))
		return false;
	if ((vma->flags & VM_WRITE) && !pkey_forbids(vma->mm, vma_pkey(vma), true))
		return false;
	switch (advice) {
	case SAMARA_MADV_DONTNEED: case SAMARA_MADV_DONTNEED_LOCKED: case SAMARA_MADV_FREE: case SAMARA_MADV_REMOVE:
	case SAMARA_MADV_DONTFORK: case SAMARA_MADV_WIPEONFORK: case SAMARA_MADV_GUARD_INSTALL:
		return true;
	}
	return false;
}

/* Same-page merging ignores what it cannot use instead of refusing it. */
static bool ksm_compatible(const vma_t *vma)
{
	return !(vma->flags & (VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_HUGETLB | VM_MIXEDMAP | VM_DROPPABLE));
}

static int flags_advice(const vma_t *vma, int advice, uint64_t *flags)
{
	switch (advice) {
	case SAMARA_MADV_NORMAL:
		*flags &= ~(VM_RAND_READ | VM_SEQ_READ);
		return 0;
	case SAMARA_MADV_SEQUENTIAL:
		*flags = (*flags & ~VM_RAND_READ) | VM_SEQ_READ;
		return 0;
	case SAMARA_MADV_RANDOM:
		*flags = (*flags & ~VM_SEQ_READ) | VM_RAND_READ;
		return 0;
	case SAMARA_MADV_DONTFORK:
		*flags |= VM_DONTCOPY;
		return 0;
	case SAMARA_MADV_DOFORK:
		if (vma->flags & VM_IO)
			return -SAMARA_EINVAL;
		*flags &= ~VM_DONTCOPY;
		return 0;
	case SAMARA_MADV_WIPEONFORK:
		if (vma->file || (vma->flags & VM_SHARED))
			return -SAMARA_EINVAL;
		*flags |= VM_WIPEONFORK;
		return 0;
	case SAMARA_MADV_KEEPONFORK:
		if (vma->flags & VM_DROPPABLE)
			return -SAMARA_EINVAL;
		*flags &= ~VM_WIPEONFORK;
		return 0;
	case SAMARA_MADV_DONTDUMP:
		*flags |= VM_DONTDUMP;
		return 0;
	case SAMARA_MADV_DODUMP:
		if ((!(vma->flags & VM_HUGETLB) && (vma->flags & VM_SPECIAL)) || (vma->flags & VM_DROPPABLE))
			return -SAMARA_EINVAL;
		*flags &= ~VM_DONTDUMP;
		return 0;
	case SAMARA_MADV_MERGEABLE:
		if (ksm_compatible(vma))
			*flags |= VM_MERGEABLE;
		return 0;
	case SAMARA_MADV_UNMERGEABLE:
		*flags &= ~VM_MERGEABLE;
		return 0;
	case SAMARA_MADV_HUGEPAGE:
		*flags = (*flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
		return 0;
	case SAMARA_MADV_NOHUGEPAGE:
		*flags = (*flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
		return 0;
	}
	return 1; /* not about flags */
}

/* MADV_REMOVE punches a hole into a shared, writable file. */
static int remove_advice(const vma_t *vma, uint64_t start, uint64_t end)
{
	uint64_t offset = (vma->pgoff << PAGE_SHIFT) + (start - vma->start);

	if ((vma->flags & VM_LOCKED) || !vma->file)
		return -SAMARA_EINVAL;
	if (!(vma->flags & VM_SHARED) || !(vma->flags & VM_MAYWRITE))
		return -SAMARA_EACCES;
	if ((int64_t)offset < 0)
		return -SAMARA_EINVAL;
	if (offset + (end - start) > vma->file->inode->desc.max_bytes)
		return -SAMARA_EFBIG;
	switch (vma->file->inode->desc.kind) {
	case SAMARA_INODE_SHMEM: case SAMARA_INODE_HUGETLB: /* sealed after it was mapped */
		return inode_write_sealed(vma->file->inode) ? -SAMARA_EPERM : 0;
	case SAMARA_INODE_REGULAR:
		return 0;
	default:
		return -SAMARA_EOPNOTSUPP;
	}
}

/* Anonymous memory that was written to, or shmem, in which a whole huge page lies.  The subtraction may wrap for a
 * mapping at address 0, in the kernel too, and then it passes. */
static bool can_collapse(const struct samara_mm *mm, const vma_t *vma)
{
	uint64_t last = (vma->end - HUGE_SIZE) & ~(HUGE_SIZE - 1);

	if ((vma->flags & (VM_SPECIAL | VM_HUGETLB | VM_NOHUGEPAGE)) || mm->thp_disabled == 1)
		return false;
	if (last < vma->start || last + HUGE_SIZE > vma->end)
		return false;
	if (vma_is_anonymous(vma))
		return vma->anon_id != 0;
	/* a huge page of the file must be one of the mapping */
	return file_is(vma->file, SAMARA_INODE_SHMEM) &&
	       !(((vma->start >> PAGE_SHIFT) - vma->pgoff) & ((HUGE_SIZE >> PAGE_SHIFT) - 1));
}

/* Which huge pages of [start, end) can be collapsed is a matter of pages; that there is none to look at is not. */
static int collapse_advice(const struct samara_mm *mm, const vma_t *vma, uint64_t start, uint64_t end)
{
	uint64_t first = (start + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1), last = end & ~(HUGE_SIZE - 1);

	return can_collapse(mm, vma) && first <= last ? 0 : -SAMARA_EINVAL;
}

/* Huge pages of hugetlbfs are given up whole: the start must be one's, the end is rounded down. */
static bool discard_aligned(const vma_t *vma, uint64_t start)
{
	return !(vma->flags & VM_HUGETLB) || !(start & ((1ull << vma->file->inode->desc.hardwired_huge_log2) - 1));
}

static int pages_advice(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, int advice)
{
	switch (advice) {
	case SAMARA_MADV_REMOVE:
		return remove_advice(vma, start, end);
	case SAMARA_MADV_COLD: case SAMARA_MADV_PAGEOUT:
		return vma->flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB) ? -SAMARA_EINVAL : 0;
	case SAMARA_MADV_FREE:
		if (vma->flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB))
			return -SAMARA_EINVAL;
		return vma_is_anonymous(vma) ? 0 : -SAMARA_EINVAL;
	case SAMARA_MADV_DONTNEED:
		return (vma->flags & (VM_LOCKED | VM_PFNMAP)) || !discard_aligned(vma, start) ? -SAMARA_EINVAL : 0;
	case SAMARA_MADV_DONTNEED_LOCKED:
		return (vma->flags & VM_PFNMAP) || !discard_aligned(vma, start) ? -SAMARA_EINVAL : 0;
	case SAMARA_MADV_COLLAPSE:
		return collapse_advice(mm, vma, start, end);
	case SAMARA_MADV_GUARD_INSTALL:
		if (vma->flags & (VM_SPECIAL | VM_HUGETLB | VM_LOCKED))
			return -SAMARA_EINVAL;
		if (!(vma->flags & VM_MAYBE_GUARD))
			vma_set_flags(vma, vma->flags | VM_MAYBE_GUARD);
		return vma_is_anonymous(vma) ? anon_prepare(mm, vma) : 0;
	case SAMARA_MADV_GUARD_REMOVE:
		return vma->flags & (VM_SPECIAL | VM_HUGETLB) ? -SAMARA_EINVAL : 0;
	}
	return 0; /* WILLNEED: nothing that a map without pages can refuse */
}

/* Give the pages of a hole in the file up.  The file is kept while mappings of it are looked through. */
static int punch(const vma_t *vma, uint64_t start, uint64_t end)
{
	uint64_t offset = (vma->pgoff << PAGE_SHIFT) + (start - vma->start);

	return inode_punch(vma->file->inode, offset, offset + (end - start));
}

static void read_ahead(const vma_t *vma, uint64_t start, uint64_t end)
{
	if (vma->file && !vma_is_anonymous(vma))
		(void)samara_file_readahead(vma->file, (vma->pgoff << PAGE_SHIFT) + (start - vma->start), end - start);
}

/* The advice was allowed: what it does to pages. */
static int apply_to_pages(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, int advice)
{
	switch (advice) {
	case SAMARA_MADV_DONTNEED: case SAMARA_MADV_DONTNEED_LOCKED:
		zap_range(mm, start, end, 0, 0, ZAP_KEEP_GUARDS);
		return 0;
	case SAMARA_MADV_FREE:
		pages_give_up(mm, start, end);
		return 0;
	case SAMARA_MADV_REMOVE:
		return punch(vma, start, end);
	case SAMARA_MADV_COLD: case SAMARA_MADV_PAGEOUT:
		zap_bits(mm, start, end, TABLE_ACCESSED);
		return 0;
	case SAMARA_MADV_WILLNEED:
		read_ahead(vma, start, end);
		return 0;
	case SAMARA_MADV_GUARD_INSTALL:
		return guard_install(mm, start, end);
	case SAMARA_MADV_GUARD_REMOVE:
		guard_remove(mm, start, end);
		return 0;
	}
	return 0;
}

/* The part [start, end) of one VMA; *out covers it afterwards. */
static int advise_one(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, int advice, vma_t **out)
{
	uint64_t flags = vma->flags;
	int err;

	*out = vma;
	if (seal_forbids(vma, advice))
		return -SAMARA_EPERM;
	err = flags_advice(vma, advice, &flags);
	if (err > 0) {
		err = pages_advice(mm, vma, start, end, advice);
		return err || !mm_has_memory(mm) ? err : apply_to_pages(mm, vma, start, end, advice);
	}
	if (err || flags == vma->flags)
		return err;
	err = vma_modify(mm, vma, start, end, flags, vma->extra, out);
	/* a passing want of kernel memory, which is what the man page promises for EAGAIN */
	return err == -SAMARA_ENOMEM ? -SAMARA_EAGAIN : err;
}

static int populate_advice(struct samara_mm *mm, uint64_t start, uint64_t end, int advice)
{
	bool write = advice == SAMARA_MADV_POPULATE_WRITE;

	while (start < end) {
		vma_t *vma = tree_get(&mm->tree, start);
		uint64_t to;

		if (!vma)
			return -SAMARA_ENOMEM;
		to = MIN(vma->end, end);
		if ((vma->flags & (VM_IO | VM_PFNMAP)) || !(vma->flags & (write ? VM_WRITE : VM_READ)) ||
		    pkey_forbids(mm, vma_pkey(vma), write))
			return -SAMARA_EINVAL;
		if (mm_has_memory(mm)) {
			int err = fault_populate(mm, vma, start, to, write ? SAMARA_WRITE : SAMARA_READ);

			if (err)
				return err;
		} else if (write ? !(vma->flags & VM_SHARED) : read_gives_page(mm, vma)) {
			(void)anon_prepare(mm, vma);
		}
		if (no_huge_page(mm, vma) || vma_beyond_eof(vma, start, to) < to)
			return -SAMARA_EFAULT;
		start = to;
	}
	return 0;
}

SAMARA_INTERNAL int mm_madvise(struct samara_mm *mm, uint64_t start, uint64_t length, int advice)
{
	uint64_t end = start + PAGE_ALIGN(length);
	int unmapped = 0, err;

	if (!known_advice(mm->vm, advice) || (start & ~PAGE_MASK) || (length && !PAGE_ALIGN(length)) || end < start)
		return -SAMARA_EINVAL;
	if (end == start)
		return 0;
	if (advice == SAMARA_MADV_HWPOISON || advice == SAMARA_MADV_SOFT_OFFLINE)
		return mm_capable(mm, SAMARA_CAP_SYS_ADMIN) ? -SAMARA_EOPNOTSUPP : -SAMARA_EPERM;
	if (advice == SAMARA_MADV_POPULATE_READ || advice == SAMARA_MADV_POPULATE_WRITE)
		return populate_advice(mm, start, end, advice);
	for (;;) {
		vma_t *vma = mm_find(mm, start);
		uint64_t to;

		if (!vma)
			return -SAMARA_ENOMEM;
		if (start < vma->start) {
			unmapped = -SAMARA_ENOMEM;
			start = vma->start;
			if (start >= end)
				return unmapped;
		}
		to = MIN(vma->end, end);
		err = advise_one(mm, vma, start, to, advice, &vma);
		if (err)
			return err;
		start = MAX(to, vma->end);
		if (start >= end)
			return unmapped;
	}
}

int samara_madvise_with(struct samara_write_guard *g, samara_va addr, uint64_t length, int advice)
{
	return mm_madvise(g->read.mm, addr, length, advice);
}

/* What changes neither the map nor takes entries away but by the reverse map: others go on while a file is asked. */
static bool reading_advice(int advice)
{
	return advice == SAMARA_MADV_POPULATE_READ || advice == SAMARA_MADV_POPULATE_WRITE ||
	       advice == SAMARA_MADV_WILLNEED || advice == SAMARA_MADV_REMOVE;
}

/* Range by range, until one fails; *done: bytes of those that did not. */
static int advise_ranges(struct samara_mm *mm, const struct samara_iovec *ranges, size_t count, int advice, uint64_t *done)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		err = mm_madvise(mm, ranges[i].base, ranges[i].length, advice);
		if (!err)
			*done += ranges[i].length;
	}
	return err;
}

static int advise_locked(struct samara_mm *mm, const struct samara_iovec *ranges, size_t count, int advice, uint64_t *done)
{
	struct samara_write_guard g;
	struct samara_read_guard r;
	int err;

	if (reading_advice(advice)) {
		samara_read_lock(mm, &r);
		err = advise_ranges(mm, ranges, count, advice, done);
		samara_read_unlock(&r);
	} else {
		if (samara_write_lock_killable(mm, &g))
			return -SAMARA_EINTR;
		err = advise_ranges(mm, ranges, count, advice, done);
		samara_write_unlock(&g);
	}
	return err;
}

int samara_madvise(struct samara_mm *mm, samara_va addr, uint64_t length, int advice)
{
	uint64_t done = 0;

	return advise_locked(mm, &(struct samara_iovec){ addr, length }, 1, advice, &done);
}

int samara_populate(struct samara_mm *mm, samara_va addr, uint64_t length, unsigned access)
{
	if (access != SAMARA_READ && access != SAMARA_WRITE)
		return -SAMARA_EINVAL;
	return samara_madvise(mm, addr, length, access == SAMARA_WRITE ? SAMARA_MADV_POPULATE_WRITE : SAMARA_MADV_POPULATE_READ);
}

/* What one process may advise another: what changes nothing but speed. */
static bool remote_advice(int advice)
{
	return advice == SAMARA_MADV_COLD || advice == SAMARA_MADV_PAGEOUT || advice == SAMARA_MADV_WILLNEED ||
	       advice == SAMARA_MADV_COLLAPSE;
}

int64_t samara_process_madvise(struct samara_mm *mm, const struct samara_iovec *ranges, size_t count, int advice,
	uint64_t flags, int self)
{
	uint64_t done = 0, wanted = 0;
	int err;

	if (flags || count > 1024)
		return -SAMARA_EINVAL;
	for (size_t i = 0; i < count; i++) {
		if ((int64_t)ranges[i].length < 0)
			return -SAMARA_EINVAL;
		wanted += ranges[i].length;
	}
	if (!self && !remote_advice(advice))
		return -SAMARA_EINVAL;
	err = advise_locked(mm, ranges, count, advice, &done);
	return done == wanted || done ? (int64_t)done : err;
}
