/* shm.c - shmat(2) and shmdt(2) of System V segments.
 *
 * Every attach opens the segment anew, so attaches never merge with each other; shmdt takes all pieces of one attach
 * away, also those that mprotect or a partial munmap cut.
 */
#include "core/space/space.h"

#define SHMLBA PAGE_SIZE

/* shm_flags and protection that an attach asks for. */
static void access_of(int shmflg, uint64_t *prot, unsigned *fmode)
{
	*prot = SAMARA_PROT_READ;
	*fmode = SAMARA_FMODE_READ;
	if (!(shmflg & SAMARA_SHM_RDONLY)) {
		*prot |= SAMARA_PROT_WRITE;
		*fmode |= SAMARA_FMODE_WRITE;
	}
	if (shmflg & SAMARA_SHM_EXEC)
		*prot |= SAMARA_PROT_EXEC;
}

static int64_t attach(struct samara_mm *mm, struct samara_file *file, struct vma_extra *extra, uint64_t addr, uint64_t prot,
	uint64_t flags, int shmflg, struct range *fresh)
{
	uint64_t size = PAGE_ALIGN(file->inode->desc.size_bytes);
	struct map_request request = { .addr = addr, .length = size, .prot = prot, .flags = flags, .file = file, .extra = extra };
	bool populate = false;
	int64_t at;

	if (addr && !(shmflg & SAMARA_SHM_REMAP)) {
		if (addr + size < addr)
			return -SAMARA_EINVAL;
		if (mm_find_in(mm, addr, addr + size))
			return -SAMARA_EINVAL;
	}
	at = mm_mmap(mm, &request, &populate);
	if (at >= 0 && populate)
		*fresh = (struct range){ (uint64_t)at, (uint64_t)at + size };
	return at;
}

int64_t samara_shmat(struct samara_mm *mm, struct samara_inode *segment, const char *path, samara_va addr, int shmflg)
{
	uint64_t prot, flags = SAMARA_MAP_SHARED;
	struct samara_write_guard g;
	struct samara_file *file;
	struct vma_extra *extra;
	struct range fresh = { 0 };
	unsigned fmode;
	int64_t at;

	if (!segment || segment->desc.kind != SAMARA_INODE_SHMEM)
		return -SAMARA_EINVAL;
	if (addr) {
		if (addr & (SHMLBA - 1)) {
			if (!(shmflg & SAMARA_SHM_RND))
				return -SAMARA_EINVAL;
			addr &= ~(SHMLBA - 1);
			if (!addr && (shmflg & SAMARA_SHM_REMAP))
				return -SAMARA_EINVAL;
		}
		flags |= SAMARA_MAP_FIXED;
	} else if (shmflg & SAMARA_SHM_REMAP) {
		return -SAMARA_EINVAL;
	}
	access_of(shmflg, &prot, &fmode);
	extra = extra_copy(mm->vm, NULL, NULL);
	if (!extra)
		return -SAMARA_ENOMEM;
	extra->shm = true;
	extra->has_close = true;
	at = samara_file_open(segment, fmode, path, &file);
	if (!at) {
		at = samara_write_lock_killable(mm, &g);
		if (!at) {
			at = attach(mm, file, extra, addr, prot, flags, shmflg, &fresh);
			(void)mm_unlock_and_populate(&g, fresh, true);
		}
		samara_file_put(file);
	}
	extra_put(mm->vm, extra);
	return at;
}

static bool is_attach_at(const vma_t *vma, uint64_t addr)
{
	return vma->extra && vma->extra->shm && vma->start - addr == vma->pgoff << PAGE_SHIFT;
}

int samara_shmdt(struct samara_mm *mm, samara_va addr)
{
	struct samara_write_guard g;
	struct samara_file *file = NULL;
	uint64_t end = 0, next_at;
	int err = -SAMARA_EINVAL;

	if (addr & ~PAGE_MASK)
		return -SAMARA_EINVAL;
	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	for (vma_t *vma = mm_find(mm, addr); vma && (!file || vma->end <= end); vma = mm_find(mm, next_at)) {
		next_at = vma->end;
		if (!is_attach_at(vma, addr) || (file && vma->file != file))
			continue;
		if (!file) {
			file = vma->file;
			samara_file_get(file);
			end = addr + PAGE_ALIGN(file->inode->desc.size_bytes);
			err = 0;
		}
		/* pieces that cannot go (sealed) stay; the call succeeds, as in Linux */
		(void)mm_munmap(mm, vma->start, vma->end - vma->start);
	}
	samara_write_unlock(&g);
	if (file)
		samara_file_put(file);
	return err;
}
