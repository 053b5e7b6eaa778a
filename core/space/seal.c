/* seal.c - mseal(2) and remap_file_pages(2). */
#include "core/space/space.h"

/* No holes in [start, end): sealing does all or nothing. */
static bool wholly_mapped(const struct samara_mm *mm, uint64_t start, uint64_t end)
{
	while (start < end) {
		vma_t *vma = tree_get(&mm->tree, start);

		if (!vma)
			return false;
		start = vma->end;
	}
	return true;
}

static int do_mseal(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	if (!wholly_mapped(mm, start, end))
		return -SAMARA_ENOMEM;
	while (start < end) {
		vma_t *vma = tree_get(&mm->tree, start);
		uint64_t to = MIN(vma->end, end);
		int err = 0;

		if (!vma_sealed(vma))
			err = vma_modify(mm, vma, start, to, vma->flags | VM_SEALED, vma->extra, &vma);
		if (err)
			return err;
		start = to;
	}
	return 0;
}

int samara_mseal(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t flags)
{
	uint64_t end = addr + PAGE_ALIGN(length);
	struct samara_write_guard g;
	int err;

	if (flags || (addr & ~PAGE_MASK) || (length && !PAGE_ALIGN(length)) || end < addr)
		return -SAMARA_EINVAL;
	if (end == addr)
		return 0;
	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	err = do_mseal(mm, addr, end);
	samara_write_unlock(&g);
	return err;
}

/* Emulated as the kernel does: mmap(MAP_FIXED) of the same file at another offset, over contiguous mappings of it. */
static int do_remap_file_pages(struct samara_mm *mm, uint64_t start, uint64_t size, uint64_t pgoff, uint64_t flags,
	struct range *fresh)
{
	vma_t *vma = tree_get(&mm->tree, start);
	struct map_request request;
	struct vma_extra *extra = NULL;
	struct samara_file *file;
	bool populate = false;
	uint64_t prot = 0;
	int64_t at;

	if (!vma || !(vma->flags & VM_SHARED) || !vma->file)
		return -SAMARA_EINVAL;
	for (uint64_t end = vma->end; end < start + size;) {
		vma_t *next = tree_get(&mm->tree, end);

		if (!next || next->file != vma->file || next->flags != vma->flags)
			return -SAMARA_EINVAL;
		end = next->end;
	}
	prot |= vma->flags & VM_READ ? SAMARA_PROT_READ : 0;
	prot |= vma->flags & VM_WRITE ? SAMARA_PROT_WRITE : 0;
	prot |= vma->flags & VM_EXEC ? SAMARA_PROT_EXEC : 0;
	flags &= SAMARA_MAP_NONBLOCK;
	flags |= SAMARA_MAP_SHARED | SAMARA_MAP_FIXED | SAMARA_MAP_POPULATE;
	if (vma->flags & VM_LOCKED)
		flags |= SAMARA_MAP_LOCKED;
	file = vma->file;
	samara_file_get(file); /* the mapping that holds it may go */
	/* the new mapping is the file's, like any other: of what the old one had beside it only a segment's attach
	 * stays */
	if (vma->extra && vma->extra->shm) {
		extra = extra_copy(mm->vm, NULL, NULL);
		if (!extra) {
			samara_file_put(file);
			return -SAMARA_ENOMEM;
		}
		extra->shm = extra->has_close = true;
	}
	request = (struct map_request){ .addr = start, .length = size, .prot = prot, .flags = flags, .pgoff = pgoff, .file = file,
		.extra = extra };
	at = mm_mmap(mm, &request, &populate);
	extra_put(mm->vm, extra);
	samara_file_put(file);
	if (at >= 0 && populate)
		*fresh = (struct range){ start, start + size };
	return at < 0 ? (int)at : 0;
}

int samara_remap_file_pages(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, uint64_t pgoff,
	uint64_t flags)
{
	struct samara_write_guard g;
	struct range fresh = { 0 };
	int err;

	if (prot)
		return -SAMARA_EINVAL;
	addr &= PAGE_MASK;
	length &= PAGE_MASK;
	if (addr + length <= addr || pgoff + (length >> PAGE_SHIFT) < pgoff)
		return -SAMARA_EINVAL;
	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	err = do_remap_file_pages(mm, addr, length, pgoff, flags, &fresh);
	(void)mm_unlock_and_populate(&g, fresh, true);
	return err;
}
