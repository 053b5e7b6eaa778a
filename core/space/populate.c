/* populate.c - MAP_POPULATE, mlock and madvise(POPULATE_*), first touches and stack growth: faults as far as ranges see them.
 *
 * Nothing of a page is known here.  What shows in the map is that a write fault gives a private mapping its anonymous
 * history, that a stack grows, and which mappings cannot be faulted in: those without any right, and parts
 * of a file beyond its end.
 */
#include "core/space/space.h"

static bool is_private_writable(const vma_t *vma)
{
	return (vma->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
}

/* Does reading untouched memory give it a page of its own, as a write would? */
SAMARA_INTERNAL bool read_gives_page(const struct samara_mm *mm, const vma_t *vma)
{
	return mm->vm->config.no_zero_page && !(vma->flags & VM_SHARED) && vma_is_anonymous(vma);
}

/* The key of execute-only memory forbids every load. */
static bool is_execute_only(const struct samara_mm *mm, const vma_t *vma)
{
	return mm->execute_only_pkey > 0 && (vma->flags & VM_PKEY_MASK) >> VM_PKEY_SHIFT == (uint64_t)mm->execute_only_pkey;
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
static bool no_huge_page(const struct samara_mm *mm, const vma_t *vma)
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
		if (ok && !(vma->flags & (VM_READ | VM_WRITE)) && (!(vma->flags & VM_MAYREAD) || is_execute_only(mm, vma)))
			ok = false;
		if (ok && (is_private_writable(vma) || read_gives_page(mm, vma)))
			anon_prepare(mm, vma);
		if (ok && no_huge_page(mm, vma))
			ok = false;
		if (ok && vma_beyond_eof(vma, from, to) < to)
			ok = false;
		if (!ok && !ignore_errors)
			return -SAMARA_EFAULT;
	}
	return 0;
}

int samara_touch(struct samara_mm *mm, samara_va addr, int write)
{
	struct samara_write_guard g;
	vma_t *vma;

	samara_write_lock(mm, &g);
	vma = tree_get(&mm->tree, addr);
	if (vma && !(vma->flags & VM_SHARED) && (write || read_gives_page(mm, vma)))
		anon_prepare(mm, vma);
	samara_write_unlock(&g);
	return vma ? 0 : -SAMARA_EFAULT;
}

/* expand_downwards: `vma` grows so that its first page is that of `addr`. */
SAMARA_INTERNAL int mm_expand_stack(struct samara_mm *mm, vma_t *vma, uint64_t addr)
{
	uint64_t gap = (uint64_t)mm->vm->config.stack_guard_gap_pages << PAGE_SHIFT, pages, size;
	vma_t *prev;
	int err;

	addr &= PAGE_MASK;
	if (!(vma->flags & VM_GROWSDOWN))
		return -SAMARA_EFAULT;
	if (addr < mm->vm->config.mmap_min_addr)
		return -SAMARA_EPERM;
	if (addr >= vma->start)
		return 0;
	prev = mm_prev(mm, addr + 1);
	if (prev && !(prev->flags & VM_GROWSDOWN) && (prev->flags & VM_ACCESS) && addr - prev->end < gap)
		return -SAMARA_ENOMEM;
	if (prev && prev->end > addr)
		return -SAMARA_ENOMEM;
	err = mm_reserve(mm, 0);
	if (err)
		return err;
	anon_prepare(mm, vma);
	pages = (vma->start - addr) >> PAGE_SHIFT;
	size = vma->end - addr;
	if (pages > vma->pgoff)
		return -SAMARA_ENOMEM;
	if (!mm_may_expand(mm, vma->flags, pages) || size > mm_limit(mm, LIMIT_STACK) ||
	    !mm_may_lock(mm, vma->flags, pages << PAGE_SHIFT))
		return -SAMARA_ENOMEM;
	err = mm_charge(mm, pages);
	if (err)
		return err;
	if (!(vma->flags & VM_ACCOUNT))
		vm_uncharge(mm->vm, pages);
	if (vma->flags & VM_LOCKED)
		mm->locked_vm += pages;
	mm_account(mm, vma->flags, (int64_t)pages);
	vma_set_range(vma, addr, vma->end, vma->pgoff - pages);
	tree_store(&mm->tree, addr, vma->end, vma);
	return 0;
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
