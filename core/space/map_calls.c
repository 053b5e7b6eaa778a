/* map_calls.c - the forms in which mmap(2) arrives: with a byte offset, with a page offset (mmap2, mmap_pgoff), as the
 * old block of six.
 *
 * What stands before mmap_lock in Linux stands here: the byte offset must be whole pages, the descriptor must be one,
 * huge pages need a file that has them.  The request itself is map.c.
 */
#include "core/space/space.h"

static int64_t mmap_pages(struct samara_mm *mm, struct map_request *request, struct samara_file *file, bool *populate)
{
	if (!(request->flags & SAMARA_MAP_ANONYMOUS)) {
		if (!file)
			return -SAMARA_EBADF;
		request->file = file;
		if ((request->flags & SAMARA_MAP_HUGETLB) && !file_is(file, SAMARA_INODE_HUGETLB))
			return -SAMARA_EINVAL;
		if (file_is(file, SAMARA_INODE_HUGETLB)) {
			uint64_t size = 1ull << file->inode->desc.hardwired_huge_log2;

			request->length = (request->length + size - 1) & ~(size - 1);
		}
	}
	return mm_mmap(mm, request, populate);
}

int64_t samara_mmap_with(struct samara_write_guard *g, samara_va addr, uint64_t length, uint64_t prot, uint64_t flags,
	struct samara_file *file, uint64_t offset)
{
	struct map_request request = { .addr = addr, .length = length, .prot = prot, .flags = flags, .pgoff = offset >> PAGE_SHIFT };
	bool populate = false;
	int64_t at;

	if (offset & ~PAGE_MASK)
		return -SAMARA_EINVAL;
	at = mmap_pages(g->read.mm, &request, file, &populate);
	if (at >= 0 && populate) /* what fails once the mapping exists does not undo it */
		(void)mm_populate(g->read.mm, (uint64_t)at, (uint64_t)at + PAGE_ALIGN(length), true);
	return at;
}

int64_t samara_mmap(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, uint64_t flags,
	struct samara_file *file, uint64_t offset)
{
	return offset & ~PAGE_MASK ? -SAMARA_EINVAL : samara_mmap_pgoff(mm, addr, length, prot, flags, file, offset >> PAGE_SHIFT);
}

int64_t samara_mmap_pgoff(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, uint64_t flags,
	struct samara_file *file, uint64_t pgoff)
{
	struct map_request request = { .addr = addr, .length = length, .prot = prot, .flags = flags, .pgoff = pgoff };
	struct samara_write_guard g;
	struct range fresh = { 0 };
	bool populate = false;
	int64_t at;

	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	at = mmap_pages(mm, &request, file, &populate);
	if (UNLIKELY(populate && at >= 0))
		fresh = (struct range){ (uint64_t)at, (uint64_t)at + PAGE_ALIGN(length) };
	(void)mm_unlock_and_populate(&g, fresh, true);
	return at;
}

int64_t samara_old_mmap(struct samara_mm *mm, const struct samara_old_mmap_args *args, struct samara_file *file)
{
	return args->offset & ~PAGE_MASK ? -SAMARA_EINVAL : samara_mmap_pgoff(mm, args->addr, args->length, args->prot, args->flags,
		file, args->offset >> PAGE_SHIFT);
}
