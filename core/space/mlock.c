/* mlock.c - mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).
 *
 * Flags are set VMA by VMA and stay set when the walk meets a hole (ENOMEM) or when pages cannot be faulted in
 * afterwards: a locked mapping that could not be populated is still locked.
 */
#include "core/space/space.h"

static int lock_one(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, uint64_t lock, vma_t **out)
{
	uint64_t old = vma->flags, flags = (old & ~VM_LOCKED_MASK) | lock, pages = (end - start) >> PAGE_SHIFT;
	int err;

	*out = vma;
	if (flags == old || (old & (VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)))
		return 0;
	err = vma_modify(mm, vma, start, end, flags, vma->extra, out);
	if (err)
		return err;
	if (!(flags & VM_LOCKED))
		mm->locked_vm -= pages;
	else if (!(old & VM_LOCKED))
		mm->locked_vm += pages;
	return 0;
}

static int lock_range(struct samara_mm *mm, uint64_t start, uint64_t length, uint64_t lock)
{
	uint64_t end = start + length;
	vma_t *vma;
	int err;

	if (end < start)
		return -SAMARA_EINVAL;
	if (end == start)
		return 0;
	vma = tree_get(&mm->tree, start);
	while (vma) {
		uint64_t to = MIN(vma->end, end);

		err = lock_one(mm, vma, start, to, lock, &vma);
		if (err)
			return err;
		start = to;
		if (start >= end)
			return 0;
		vma = tree_get(&mm->tree, start);
	}
	return -SAMARA_ENOMEM;
}

/* Pages of [start, end) that are locked already: they are not counted twice. */
static uint64_t locked_pages_in(const struct samara_mm *mm, uint64_t start, uint64_t end)
{
	uint64_t pages = 0;
	struct tree_iter iter;
	vma_t *vma;

	tree_iter_init(&iter, &mm->tree, start);
	while ((vma = tree_iter_next(&iter)) && vma->start < end)
		if (vma->flags & VM_LOCKED)
			pages += (MIN(vma->end, end) - MAX(vma->start, start)) >> PAGE_SHIFT;
	return pages;
}

/* *locked is what is to be faulted in. */
static int do_mlock(struct samara_mm *mm, uint64_t start, uint64_t length, uint64_t lock, struct range *locked)
{
	uint64_t limit = mm_limit(mm, LIMIT_MEMLOCK) >> PAGE_SHIFT, pages;
	int err;

	if (!mm_can_lock(mm))
		return -SAMARA_EPERM;
	length = PAGE_ALIGN(length + (start & ~PAGE_MASK));
	start &= PAGE_MASK;
	pages = (length >> PAGE_SHIFT) + mm->locked_vm;
	if (pages > limit && !mm_capable(mm, SAMARA_CAP_IPC_LOCK)) {
		pages -= locked_pages_in(mm, start, start + length < start ? UINT64_MAX : start + length);
		if (pages > limit)
			return -SAMARA_ENOMEM;
	}
	err = lock_range(mm, start, length, lock);
	if (!err)
		*locked = (struct range){ start, start + length };
	return err;
}

int samara_mlock(struct samara_mm *mm, samara_va addr, uint64_t length)
{
	return samara_mlock2(mm, addr, length, 0);
}

int samara_mlock2(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags)
{
	struct samara_write_guard g;
	struct range locked = { 0 };
	int err, missed;

	if (flags & ~SAMARA_MLOCK_ONFAULT)
		return -SAMARA_EINVAL;
	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	err = do_mlock(mm, addr, length, flags ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED, &locked);
	missed = mm_unlock_and_populate(&g, locked, false);
	/* what could not be faulted in for a lack of memory may be there the next time (mlock(2)) */
	return err ? err : missed == -SAMARA_EFAULT ? -SAMARA_ENOMEM : missed == -SAMARA_ENOMEM ? -SAMARA_EAGAIN : missed;
}

int samara_munlock(struct samara_mm *mm, samara_va addr, uint64_t length)
{
	struct samara_write_guard g;
	int err;

	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	err = lock_range(mm, addr & PAGE_MASK, PAGE_ALIGN(length + (addr & ~PAGE_MASK)), 0);
	samara_write_unlock(&g);
	return err;
}

/* Every VMA, errors passed over, as the kernel does. */
static void lock_all(struct samara_mm *mm, uint64_t lock)
{
	for (vma_t *vma = mm_find(mm, 0); vma; vma = mm_next(mm, vma))
		(void)lock_one(mm, vma, vma->start, vma->end, lock, &vma);
}

int samara_mlockall(struct samara_mm *mm, uint64_t flags)
{
	const uint64_t known = SAMARA_MCL_CURRENT | SAMARA_MCL_FUTURE | SAMARA_MCL_ONFAULT;
	uint64_t lock = flags & SAMARA_MCL_ONFAULT ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED;
	struct samara_write_guard g;
	struct range locked = { 0 };
	int err = 0;

	if (!flags || (flags & ~known) || flags == SAMARA_MCL_ONFAULT)
		return -SAMARA_EINVAL;
	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	if (!mm_can_lock(mm)) {
		err = -SAMARA_EPERM;
	} else if ((flags & SAMARA_MCL_CURRENT) && mm->total_vm > mm_limit(mm, LIMIT_MEMLOCK) >> PAGE_SHIFT &&
		   !mm_capable(mm, SAMARA_CAP_IPC_LOCK)) {
		err = -SAMARA_ENOMEM;
	} else {
		mm->def_flags &= ~VM_LOCKED_MASK;
		if (flags & SAMARA_MCL_FUTURE)
			mm->def_flags |= lock;
		if (flags & SAMARA_MCL_CURRENT) {
			lock_all(mm, lock);
			locked.end = mm->layout.task_size;
		}
	}
	(void)mm_unlock_and_populate(&g, locked, true);
	return err;
}

int samara_munlockall(struct samara_mm *mm)
{
	struct samara_write_guard g;

	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	mm->def_flags &= ~VM_LOCKED_MASK;
	lock_all(mm, 0);
	samara_write_unlock(&g);
	return 0;
}
