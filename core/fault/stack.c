/* stack.c - a growing mapping takes in the page below it: expand_downwards.
 *
 * Called with mmap_lock held for writing, by a fault that found the hole under a stack (fault.c, fault_grow_stack) or
 * by samara_expand_stack.  Everything is checked and charged before the VMA grows; a failure leaves it as it was.
 */
#include "core/fault/fault.h"

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
	if (anon_prepare(mm, vma))
		return -SAMARA_ENOMEM;
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
