/* sync.c - msync(2) and mincore(2): the walks and their errors.
 *
 * Neither changes the map.  What they say about pages needs pages: see docs/differences.md for mincore's answer.
 */
#include "core/space/space.h"

static int do_msync(struct samara_mm *mm, uint64_t start, uint64_t length, uint64_t flags)
{
	uint64_t end = start + PAGE_ALIGN(length);
	int unmapped = 0;

	if (flags & ~(SAMARA_MS_ASYNC | SAMARA_MS_INVALIDATE | SAMARA_MS_SYNC))
		return -SAMARA_EINVAL;
	if ((start & ~PAGE_MASK) || ((flags & SAMARA_MS_ASYNC) && (flags & SAMARA_MS_SYNC)))
		return -SAMARA_EINVAL;
	if (end < start)
		return -SAMARA_ENOMEM;
	if (end == start)
		return 0;
	for (;;) {
		vma_t *vma = mm_find(mm, start);

		if (!vma)
			return -SAMARA_ENOMEM;
		if (start < vma->start) {
			if (flags == SAMARA_MS_ASYNC)
				return -SAMARA_ENOMEM;
			start = vma->start;
			if (start >= end)
				return -SAMARA_ENOMEM;
			unmapped = -SAMARA_ENOMEM;
		}
		if ((flags & SAMARA_MS_INVALIDATE) && (vma->flags & VM_LOCKED))
			return -SAMARA_EBUSY;
		start = vma->end;
		if (start >= end)
			return unmapped;
	}
}

int samara_msync(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags)
{
	struct samara_read_guard g;
	int err;

	samara_read_lock(mm, &g);
	err = do_msync(mm, addr, length, flags);
	samara_read_unlock(&g);
	return err;
}

int samara_mincore(struct samara_mm *mm, samara_va addr, uint64_t length, unsigned char *vec)
{
	struct samara_read_guard g;
	uint64_t end = addr + PAGE_ALIGN(length);
	int err = 0;

	if (addr & ~PAGE_MASK)
		return -SAMARA_EINVAL;
	if (addr + length < addr || addr + length > mm->layout.task_size)
		return -SAMARA_ENOMEM;
	samara_read_lock(mm, &g);
	for (uint64_t at = addr; !err && at < end;) {
		vma_t *vma = tree_get(&mm->tree, at);

		if (!vma)
			err = -SAMARA_ENOMEM;
		else
			at = vma->end;
	}
	samara_read_unlock(&g);
	/* what is resident is known once there are pages; without `vec` the call checks the range */
	return !err && vec && length ? -SAMARA_ENOSYS : err;
}
