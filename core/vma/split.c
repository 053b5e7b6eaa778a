/* split.c - cutting a VMA in two, and giving part of one other properties.
 *
 * Nothing here is visible as a state of its own: a request that splits goes on to change one of the pieces, under the
 * same write guard.  Pieces share file, extra and anonymous history.
 */
#include "core/mm.h"

SAMARA_INTERNAL uint64_t vma_start_gap(const struct samara *vm, const vma_t *vma)
{
	uint64_t gap = (uint64_t)vm->config.stack_guard_gap_pages << PAGE_SHIFT;

	if (!(vma->flags & VM_GROWSDOWN))
		return vma->start;
	return vma->start > gap ? vma->start - gap : 0;
}

SAMARA_INTERNAL bool vma_is_anonymous(const vma_t *vma)
{
	return (!vma->file || file_is(vma->file, SAMARA_INODE_DEV_ZERO)) && !(vma->extra && vma->extra->special);
}

static void spec_of(const vma_t *vma, struct vma_spec *spec)
{
	*spec = (struct vma_spec){ .start = vma->start, .end = vma->end, .flags = vma->flags, .pgoff = vma->pgoff,
		.file = vma->file, .private_data = vma->private_data, .extra = vma->extra, .anon_id = vma->anon_id,
		.inherited = vma->inherited, .anon = vma->anon };
}

/* Special mappings are whole or gone; hugetlbfs is cut at huge pages only. */
SAMARA_INTERNAL bool vma_may_cut(const vma_t *vma, uint64_t at)
{
	if (vma->extra && vma->extra->special)
		return false;
	if (!file_is(vma->file, SAMARA_INODE_HUGETLB))
		return true;
	return !(at & ((1ull << vma->file->inode->desc.hardwired_huge_log2) - 1));
}

SAMARA_INTERNAL vma_t *vma_split(struct samara_mm *mm, vma_t *vma, uint64_t at)
{
	vma_t *high = vma_take(mm);
	struct vma_spec spec;

	ASSERT(at > vma->start && at < vma->end);
	vma_lock_write(mm, vma);
	spec_of(vma, &spec);
	spec.start = at;
	spec.pgoff += (at - vma->start) >> PAGE_SHIFT;
	vma_fill(high, mm, &spec);
	/* the tree cuts vma's entry itself; a reader in between finds `high` first or sees vma's seq change */
	tree_store(&mm->tree, at, high->end, high);
	vma_set_range(vma, vma->start, at, vma->pgoff);
	mm->map_count++;
	return high;
}

SAMARA_INTERNAL void mm_link(struct samara_mm *mm, vma_t *vma)
{
	tree_store(&mm->tree, vma->start, vma->end, vma);
	mm->map_count++;
}
