/* populate.c - MAP_POPULATE, mlock and madvise(POPULATE_*), first touches and stack growth: faults as far as ranges see
 * them.
 *
 * On a machine with memory fault_populate (core/fault/fault.c) brings the pages.  On one without, nothing of a page is
 * known; what shows in the map is that a write fault gives a private mapping its anonymous history, that a stack grows,
 * and which mappings cannot be faulted in: those without any right, and parts of a file beyond its end.
 */
#include "core/space/space.h"

static bool is_private_writable(const vma_t *vma)
{
	return (vma->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
}

/* The first address of [start, end) that lies beyond the end of the file's last page; end when none does. */
SAMARA_INTERNAL uint64_t vma_beyond_eof(const vma_t *vma, uint64_t start, uint64_t end)
{
	const struct samara_inode_desc *d;
	uint64_t file_pages, first;

	if (!vma->file || vma_is_anonymous(vma))
		return end;
	d = &vma->file->inode->desc;
	if (d->kind == SAMARA_INODE_DEVICE)
		return end;
	file_pages = (LOAD(d->size_bytes) >> PAGE_SHIFT) + ((LOAD(d->size_bytes) & ~PAGE_MASK) != 0);
	first = vma->pgoff + ((start - vma->start) >> PAGE_SHIFT);
	if (first >= file_pages)
		return start;
	return MIN(end, start + ((file_pages - first) << PAGE_SHIFT));
}

/* hugetlbfs without a promise and with an empty pool: SIGBUS at the first touch. */
SAMARA_INTERNAL bool no_huge_page(const struct samara_mm *mm, const vma_t *vma)
{
	const struct samara_inode *inode;

	if (!(vma->flags & VM_HUGETLB))
		return false;
	inode = vma->file->inode;
	return !inode->huge_reserved && !LOAD(mm->vm->huge_free[inode->desc.hardwired_huge_log2 == 30]);
}

SAMARA_INTERNAL int mm_populate(struct samara_mm *mm, uint64_t start, uint64_t end, bool ignore_errors)
{
	struct tree_iter iter;
	vma_t *vma;

	if (start >= end)
		return 0;
	tree_iter_init(&iter, &mm->tree, start);
	while ((vma = tree_iter_next(&iter)) && vma->start < end) {
		uint64_t from = MAX(vma->start, start), to = MIN(vma->end, end);
		bool ok;

		if ((vma->flags & (VM_IO | VM_PFNMAP | VM_LOCKONFAULT)))
			continue;
		ok = vma->flags & VM_ACCESS;
		if (ok && !(vma->flags & (VM_READ | VM_WRITE)) && !(vma->flags & VM_MAYREAD))
			ok = false;
		if (ok && pkey_forbids(mm, vma_pkey(vma), is_private_writable(vma)))
			ok = false;
		if (ok && mm_has_memory(mm)) {
			int err = fault_populate(mm, vma, from, to, is_private_writable(vma) ? SAMARA_WRITE : SAMARA_READ | SAMARA_FORCE);

			if (err && !ignore_errors)
				return err;
			continue;
		}
		if (ok && (is_private_writable(vma) || read_gives_page(mm, vma)))
			(void)anon_prepare(mm, vma);
		if (ok && no_huge_page(mm, vma))
			ok = false;
		if (ok && vma_beyond_eof(vma, from, to) < to)
			ok = false;
		if (!ok && !ignore_errors)
			return -SAMARA_EFAULT;
	}
	return 0;
}

SAMARA_INTERNAL int mm_unlock_and_populate(struct samara_write_guard *g, struct range range, bool ignore_errors) SAMARA_NO_ANALYSIS
{
	struct samara_mm *mm = g->read.mm;
	struct samara_read_guard r;
	int err;

	if (LIKELY(range.start >= range.end)) {
		samara_write_unlock(g);
		return 0;
	}
	samara_write_downgrade(g, &r);
	err = mm_populate(mm, range.start, range.end, ignore_errors);
	samara_read_unlock(&r);
	return err;
}

int samara_touch(struct samara_mm *mm, samara_va addr, int write)
{
	struct samara_write_guard g;
	vma_t *vma;
	int err = 0;

	samara_write_lock(mm, &g);
	vma = tree_get(&mm->tree, addr);
	if (!vma)
		err = -SAMARA_EFAULT;
	else if (!(vma->flags & VM_SHARED) && (write || read_gives_page(mm, vma)))
		err = anon_prepare(mm, vma);
	samara_write_unlock(&g);
	return err;
}

int samara_expand_stack(struct samara_mm *mm, samara_va addr)
{
	struct samara_write_guard g;
	vma_t *vma;
	int err = 0;

	samara_write_lock(mm, &g);
	vma = mm_find(mm, addr);
	if (!vma)
		err = -SAMARA_EFAULT;
	else if (vma->start > addr)
		err = mm_expand_stack(mm, vma, addr);
	samara_write_unlock(&g);
	return err;
}
