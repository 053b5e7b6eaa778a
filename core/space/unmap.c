/* unmap.c - munmap(2), and the taking away of a range that mmap(MAP_FIXED), mremap and brk share.
 *
 * unmap_check finds out whether the range can go and what going gives back; unmap_commit then cannot fail (one VMA may
 * be cut in two, for which mm_reserve made room).  Order of checks, as the kernel's: a cut in the middle needs room
 * under max_map_count, then no VMA may be sealed, then hugetlbfs mappings are cut only at huge pages.
 */
#include "core/space/space.h"

SAMARA_INTERNAL bool vma_sealed(const vma_t *vma)
{
	return vma->flags & VM_SEALED;
}

SAMARA_INTERNAL int unmap_check(struct samara_mm *mm, uint64_t start, uint64_t end, struct unmap_plan *plan)
{
	vma_t *vma;

	tree_focus(&mm->tree, start);
	*plan = (struct unmap_plan){ .start = start, .end = end, .first = mm_find_in(mm, start, end) };
	vma = plan->first;
	if (!vma)
		return 0;
	if (start > vma->start) {
		if (end < vma->end && mm->map_count >= mm->vm->config.max_map_count)
			return -SAMARA_ENOMEM;
		if (vma_sealed(vma))
			return -SAMARA_EPERM;
		if (!vma_may_cut(vma, start))
			return -SAMARA_EINVAL;
	}
	for (; vma && vma->start < end; vma = vma->end < end ? mm_next(mm, vma) : NULL) {
		uint64_t from = MAX(vma->start, start), to = MIN(vma->end, end), pages = (to - from) >> PAGE_SHIFT;

		if (vma_sealed(vma)) {
			unmap_leave_cuts(mm, plan, false);
			return -SAMARA_EPERM;
		}
		if (end < vma->end && !vma_may_cut(vma, end)) {
			unmap_leave_cuts(mm, plan, false);
			return -SAMARA_EINVAL;
		}
		plan->pages += pages;
		if (vma_is_data(vma->flags))
			plan->data_pages += pages;
		if (vma->flags & VM_ACCOUNT)
			plan->accounted_pages += pages;
		if (vma->flags & VM_LOCKED)
			plan->locked_pages += pages;
	}
	return 0;
}

/* What is left of a request that looked at a range to replace and then failed: the kernel has cut the mappings at the
 * edges by then and does not join them again.  `upto`: how far it came.  Without memory the cuts are left out. */
SAMARA_INTERNAL void unmap_leave_cuts(struct samara_mm *mm, const struct unmap_plan *plan, bool end_too)
{
	vma_t *vma = plan->first;

	if (!vma || mm_reserve(mm, 2))
		return;
	if (vma->start < plan->start)
		vma_split(mm, vma, plan->start);
	vma = end_too ? tree_get(&mm->tree, plan->end - 1) : NULL;
	if (vma && vma->end > plan->end)
		vma_split(mm, vma, plan->end);
}

/* The pages of a range that goes, and pages of the page table that nobody else has a mapping in.  `first` is the first
 * VMA in it. */
static void unmap_pages(struct samara_mm *mm, vma_t *first, uint64_t start, uint64_t end)
{
	uint64_t floor = start, ceiling = end;
	vma_t *vma = first;

	if (!mm_has_memory(mm))
		return;
	if (first->start >= start) {
		const vma_t *prev = mm_prev(mm, first->start);

		floor = prev ? prev->end : 0;
	}
	for (; vma && vma->start < end; vma = mm_next(mm, vma)) {
		vma_lock_write(mm, vma);
		if (vma->end >= end) {
			const vma_t *next = vma->end > end ? vma : mm_next(mm, vma);

			ceiling = vma->end > end ? end : next ? next->start : table_span(&mm->table);
			break;
		}
	}
	if (!vma || vma->start >= end)
		ceiling = vma ? vma->start : table_span(&mm->table);
	zap_range(mm, MAX(start, first->start), MIN(end, table_span(&mm->table)), floor, ceiling, ZAP_ALL);
}

SAMARA_INTERNAL void unmap_commit(struct samara_mm *mm, const struct unmap_plan *plan, bool store)
{
	uint64_t start = plan->start, end = plan->end;
	vma_t *vma = plan->first;

	if (!vma)
		return;
	if (vma->start < start && vma->end > end)
		vma_split(mm, vma, end);
	unmap_pages(mm, vma, start, end);
	while (vma && vma->start < end) {
		vma_t *next = vma->end < end ? mm_next(mm, vma) : NULL;
		uint64_t from = MAX(vma->start, start), to = MIN(vma->end, end);

		mm_account(mm, vma->flags, -(int64_t)((to - from) >> PAGE_SHIFT));
		file_tell_close(vma->file, from, to);
		if (vma->start < start) {
			vma_set_range(vma, vma->start, start, vma->pgoff);
		} else if (vma->end > end) {
			vma_set_range(vma, end, vma->end, vma->pgoff + ((end - vma->start) >> PAGE_SHIFT));
		} else {
			mm->map_count--;
			vma_give(mm, vma);
		}
		vma = next;
	}
	mm->locked_vm -= plan->locked_pages;
	vm_uncharge(mm->vm, plan->accounted_pages);
	if (store)
		tree_store(&mm->tree, start, end, NULL);
}

SAMARA_INTERNAL int mm_munmap(struct samara_mm *mm, uint64_t start, uint64_t length)
{
	struct unmap_plan plan;
	uint64_t end;
	int err;

	if ((start & ~PAGE_MASK) || start > mm->layout.task_size || length > mm->layout.task_size - start)
		return -SAMARA_EINVAL;
	end = start + PAGE_ALIGN(length);
	if (end == start)
		return -SAMARA_EINVAL;
	err = unmap_check(mm, start, end, &plan);
	if (err || !plan.first)
		return err;
	err = mm_reserve(mm, 1);
	if (err)
		return err;
	unmap_commit(mm, &plan, true);
	return 0;
}

int samara_munmap_with(struct samara_write_guard *g, samara_va addr, uint64_t length)
{
	return mm_munmap(g->read.mm, addr, length);
}

int samara_munmap(struct samara_mm *mm, samara_va addr, uint64_t length)
{
	struct samara_write_guard g;
	int err;

	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	err = mm_munmap(mm, addr, length);
	samara_write_unlock(&g);
	return err;
}
