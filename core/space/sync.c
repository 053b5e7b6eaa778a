/* sync.c - msync(2) and mincore(2): the walks and their errors.
 *
 * Neither changes the map.  While a file's pages are written mmap_lock is given up: the file is held by a reference,
 * and the walk goes on at the address behind.
 */
#include "core/space/space.h"

/* The pages of [start, end), which one shared mapping of a file maps, are written.  The guard is given up meanwhile. */
static int sync_part(struct samara_read_guard *g, const vma_t *vma, uint64_t start, uint64_t end) SAMARA_READS(*g);
static int sync_part(struct samara_read_guard *g, const vma_t *vma, uint64_t start, uint64_t end)
{
	struct samara_mm *mm = g->mm;
	struct samara_file *file = vma->file;
	uint64_t first = vma->pgoff + ((start - vma->start) >> PAGE_SHIFT);
	int err;

	samara_file_get(file);
	samara_read_unlock(g);
	err = file_sync_pages(file, first, first + ((end - start) >> PAGE_SHIFT) - 1);
	samara_file_put(file);
	samara_read_lock(mm, g);
	return err;
}

static int do_msync(struct samara_read_guard *g, uint64_t start, uint64_t length, uint64_t flags) SAMARA_READS(*g);
static int do_msync(struct samara_read_guard *g, uint64_t start, uint64_t length, uint64_t flags)
{
	struct samara_mm *mm = g->mm;
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
		uint64_t from;

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
		from = start;
		start = vma->end;
		if ((flags & SAMARA_MS_SYNC) && vma->file && (vma->flags & VM_SHARED) && mm_has_memory(mm)) {
			int err = sync_part(g, vma, from, MIN(start, end));

			if (err)
				return err;
		}
		if (start >= end)
			return unmapped;
	}
}

int samara_msync(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags)
{
	struct samara_read_guard g;
	int err;

	samara_read_lock(mm, &g);
	err = do_msync(&g, addr, length, flags);
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

		if (!vma) {
			err = -SAMARA_ENOMEM;
			break;
		}
		if (vec && mm_has_memory(mm))
			fault_mincore(mm, vma, at, MIN(vma->end, end), vec + ((at - addr) >> PAGE_SHIFT));
		at = vma->end;
	}
	samara_read_unlock(&g);
	/* a map without memory checks the range */
	return !err && vec && length && !mm_has_memory(mm) ? -SAMARA_ENOSYS : err;
}
