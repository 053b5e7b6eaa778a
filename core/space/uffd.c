/* uffd.c - userfaultfd ranges: UFFDIO_REGISTER, UFFDIO_UNREGISTER, and the close of a descriptor.
 *
 * What shows in the map: the mode flags, and that mappings of different descriptors do not merge.
 */
#include "core/space/space.h"

static void *context_of(const vma_t *vma)
{
	return vma->extra ? vma->extra->uffd : NULL;
}

/* Anonymous, shmem and hugetlbfs memory can be registered; write protection of other files' private pages cannot. */
static bool can_register(const vma_t *vma, uint64_t flags)
{
	bool shmem = file_is(vma->file, SAMARA_INODE_SHMEM) && !(vma->extra && vma->extra->shm);
	bool huge = file_is(vma->file, SAMARA_INODE_HUGETLB);

	if (vma->flags & VM_DROPPABLE)
		return false;
	if ((flags & VM_UFFD_MINOR) && !shmem && !huge)
		return false;
	/* asynchronous write protection alone is allowed anywhere; modes of the plain kind need memory without a
	 * file */
	return vma_is_anonymous(vma) || shmem || huge;
}

static int set_context(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, void *context, uint64_t flags, vma_t **out)
{
	struct vma_extra *extra = extra_copy(mm->vm, vma->extra, NULL);
	int err;

	*out = vma;
	if (!extra)
		return -SAMARA_ENOMEM;
	extra->uffd = context;
	err = vma_modify(mm, vma, start, end, flags, extra_is_plain(extra) ? NULL : extra, out);
	extra_put(mm->vm, extra);
	return err;
}

/* mremap drops the registration of what it moved (a descriptor that asked for remap events is not modelled); nothing
 * merges by that. */
SAMARA_INTERNAL int uffd_drop(struct samara_mm *mm, vma_t *vma)
{
	struct vma_extra *extra;

	if (!context_of(vma))
		return 0;
	extra = extra_copy(mm->vm, vma->extra, NULL);
	if (!extra)
		return -SAMARA_ENOMEM;
	extra->uffd = NULL;
	extra_put(mm->vm, vma->extra);
	vma->extra = extra;
	if (extra_is_plain(extra)) {
		extra_put(mm->vm, extra);
		vma->extra = NULL;
	}
	vma_set_flags(vma, vma->flags & ~VM_UFFD_ALL);
	return 0;
}

static int check_range(const struct samara_mm *mm, uint64_t start, uint64_t length)
{
	uint64_t task_size = mm->layout.task_size;

	if ((start & ~PAGE_MASK) || (length & ~PAGE_MASK) || !length || start >= task_size || length > task_size - start)
		return -SAMARA_EINVAL;
	return 0;
}

/* hugetlbfs mappings are registered in whole huge pages; when unregistering only the start is looked at. */
static bool huge_aligned(const struct samara_mm *mm, uint64_t start, uint64_t end, bool end_too)
{
	const vma_t *first = mm_find_in(mm, start, end);

	for (const vma_t *vma = first; vma && vma->start < end; vma = mm_next(mm, vma)) {
		uint64_t mask;

		if (!(vma->flags & VM_HUGETLB))
			continue;
		mask = (1ull << vma->file->inode->desc.hardwired_huge_log2) - 1;
		/* the start also when the range begins in a hole before the mapping */
		if ((vma == first && (start & mask)) || (end_too && vma->end > end && (end & mask)))
			return false;
	}
	return true;
}

static int check_register(const struct samara_mm *mm, void *context, uint64_t start, uint64_t end, uint64_t flags)
{
	for (vma_t *vma = mm_find_in(mm, start, end); vma && vma->start < end; vma = mm_next(mm, vma)) {
		if (!can_register(vma, flags))
			return -SAMARA_EINVAL;
		if (!(vma->flags & VM_MAYWRITE))
			return -SAMARA_EPERM;
		if (context_of(vma) && context_of(vma) != context)
			return -SAMARA_EBUSY;
	}
	return 0;
}

static int apply(struct samara_mm *mm, void *context, uint64_t start, uint64_t end, uint64_t flags)
{
	int err = 0;

	for (vma_t *vma = mm_find_in(mm, start, end); !err && vma && vma->start < end; vma = mm_find_in(mm, start, end)) {
		uint64_t from = MAX(vma->start, start), to = MIN(vma->end, end), want = (vma->flags & ~VM_UFFD_ALL) | flags;

		/* registered there already with these modes, and maybe more: stays as it is */
		if (context && context_of(vma) == context && (vma->flags & flags) == flags)
			want = vma->flags;
		if (context_of(vma) != context || vma->flags != want)
			err = set_context(mm, vma, from, to, context, want, &vma);
		start = to;
		if (start >= end)
			break;
	}
	return err;
}

int samara_uffd_register(struct samara_mm *mm, void *context, samara_va start, uint64_t length, uint64_t mode)
{
	const uint64_t known = SAMARA_UFFDIO_REGISTER_MODE_MISSING | SAMARA_UFFDIO_REGISTER_MODE_WP | SAMARA_UFFDIO_REGISTER_MODE_MINOR;
	struct samara_write_guard g;
	uint64_t flags = 0;
	int err;

	if (!context || !mode || (mode & ~known))
		return -SAMARA_EINVAL;
	flags |= mode & SAMARA_UFFDIO_REGISTER_MODE_MISSING ? VM_UFFD_MISSING : 0;
	flags |= mode & SAMARA_UFFDIO_REGISTER_MODE_WP ? VM_UFFD_WP : 0;
	flags |= mode & SAMARA_UFFDIO_REGISTER_MODE_MINOR ? VM_UFFD_MINOR : 0;
	err = check_range(mm, start, length);
	if (err)
		return err;
	samara_write_lock(mm, &g);
	if (!mm_find_in(mm, start, start + length) || !huge_aligned(mm, start, start + length, true))
		err = -SAMARA_EINVAL;
	if (!err)
		err = check_register(mm, context, start, start + length, flags);
	if (!err)
		err = apply(mm, context, start, start + length, flags);
	samara_write_unlock(&g);
	return err;
}

int samara_uffd_unregister(struct samara_mm *mm, void *context, samara_va start, uint64_t length)
{
	struct samara_write_guard g;
	int err = check_range(mm, start, length);

	if (err)
		return err;
	samara_write_lock(mm, &g);
	if (!mm_find_in(mm, start, start + length) || !huge_aligned(mm, start, start + length, false))
		err = -SAMARA_EINVAL;
	for (vma_t *vma = mm_find_in(mm, start, start + length); !err && vma && vma->start < start + length; vma = mm_next(mm, vma))
		if (!can_register(vma, 0) || (context_of(vma) && context_of(vma) != context))
			err = -SAMARA_EINVAL;
	if (!err)
		err = apply(mm, NULL, start, start + length, 0);
	samara_write_unlock(&g);
	return err;
}

int samara_uffd_release(struct samara_mm *mm, void *context)
{
	struct samara_write_guard g;
	int err = 0;

	samara_write_lock(mm, &g);
	for (vma_t *vma = mm_find(mm, 0); !err && vma; vma = mm_next(mm, vma))
		if (context_of(vma) == context)
			err = set_context(mm, vma, vma->start, vma->end, NULL, vma->flags & ~VM_UFFD_ALL, &vma);
	samara_write_unlock(&g);
	return err;
}
