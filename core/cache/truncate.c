/* truncate.c - the end of a file moves, holes are made and filled: ftruncate(2), fallocate(2).
 *
 * Shrinking: the owner agrees, the new size is published, entries of whole pages behind it leave every mapping
 * (private copies too), the pages leave the cache under their locks.  A fault that had found such a page before it
 * was locked looks at the size again under the page lock (cache_page_here); one that mapped it just before is why
 * entries are looked for once more when the page has any.  Then the last page's tail is zeroed, in the frame that
 * mappings see.
 *
 * A hole in a file with backing: the owner makes it, or refuses, and nothing has changed; after that the cached pages
 * go, dirty or not, so that what is read later is the hole.  size_lock keeps write-back out meanwhile, or a dirty
 * page could fill the hole that has just been made.
 *
 * Who holds what: size_lock for writing, everywhere but in cache_destroy, which is alone.
 */
#include "core/mm.h"

#define DROP_MANY 16u
#define LAST_INDEX (UINT64_MAX >> FRAME_SHIFT)

/* Pages leave the cache; with `reserved`, only those that this call of fallocate made. */
static void cache_drop_pages(struct samara_inode *inode, uint64_t first, uint64_t last, uint64_t reserved)
{
	struct samara *vm = inode->vm;
	struct frame *batch[DROP_MANY];
	unsigned n;

	while (first <= last && (n = cache_find_many(inode, first, last, false, batch, DROP_MANY)) != 0) {
		for (unsigned i = 0; i < n; i++) {
			struct frame *page = batch[i];

			bool mine;

			first = page->index + 1;
			page_lock(vm, page);
			mine = !reserved || (page->data == reserved && !page_has(page, PAGE_UPTODATE));
			if (page->owner == inode && mine) {
				if (frame_maps(page))
					zap_file_range(inode, page->index, page->index, false);
				cache_remove(inode, page);
			}
			page_unlock(vm, page);
			frame_put(&vm->frames, vm_cpu(vm), page);
		}
	}
}

SAMARA_INTERNAL void cache_drop_range(struct samara_inode *inode, uint64_t first, uint64_t last)
{
	zap_file_range(inode, first, last, false);
	cache_drop_pages(inode, first, last, 0);
}

SAMARA_INTERNAL void cache_destroy(struct samara_inode *inode)
{
	cache_unlist(inode);
	if (inode->cache.root)
		cache_drop_pages(inode, 0, UINT64_MAX, 0);
	ASSERT(!inode->cache.root && !inode->cache.pages && !inode->cache.dirty);
}

/* With a port that cannot wait: a page of the range is being read, and nobody can wait for it. */
static bool cache_range_is_busy(struct samara_inode *inode, uint64_t first, uint64_t last)
{
	struct samara *vm = inode->vm;
	struct frame *page;

	if (vm->port.wait)
		return false;
	while (first <= last && cache_find_many(inode, first, last, false, &page, 1)) {
		bool busy = page->lock;

		first = page->index + 1;
		frame_put(&vm->frames, vm_cpu(vm), page);
		if (busy)
			return true;
	}
	return false;
}

/* Bytes [from, to) of a page are zero from now on, where it is in the cache: a page that is not there is read as its
 * file is then. */
static void page_zero_part(struct samara_inode *inode, uint64_t index, uint64_t from, uint64_t to)
{
	struct samara *vm = inode->vm;
	struct frame *page = cache_find(inode, index);

	if (!page)
		return;
	page_lock(vm, page);
	if (page->owner == inode && page_has(page, PAGE_UPTODATE))
		guest_zero((char *)frame_host(&vm->frames, page) + from, to - from);
	if (page->owner == inode && inode->desc.kind == SAMARA_INODE_SHMEM)
		cache_mark_dirty(page);
	page_unlock(vm, page);
	frame_put(&vm->frames, vm_cpu(vm), page);
}

SAMARA_INTERNAL void inode_zero_old_tail(struct samara_inode *inode)
{
	uint64_t size = inode->desc.size_bytes, within = size & (FRAME_BYTES - 1);

	/* tmpfs leaves what a mapping stored there (asked of Linux 6.18), file systems on disks do not */
	if (within && inode_has_backing(inode))
		page_zero_part(inode, size >> FRAME_SHIFT, within, FRAME_BYTES);
}

SAMARA_INTERNAL bool inode_tail_is_busy(struct samara_inode *inode)
{
	uint64_t last = inode->desc.size_bytes >> FRAME_SHIFT;

	return cache_range_is_busy(inode, last, last);
}

static int inode_ask_size(struct samara_inode *inode, uint64_t size_bytes)
{
	bool ask = inode_has_backing(inode) && inode->ops.set_size;
	int err = ask ? inode->ops.set_size(inode->desc.self, size_bytes) : 0;

	return MIN(err, 0);
}

SAMARA_INTERNAL int inode_grow(struct samara_inode *inode, uint64_t size_bytes)
{
	int err;

	if (inode_tail_is_busy(inode))
		return -SAMARA_EAGAIN;
	err = inode_ask_size(inode, size_bytes);
	if (err)
		return err;
	inode_zero_old_tail(inode);
	STORE_RELEASE(inode->desc.size_bytes, size_bytes);
	return 0;
}

static int inode_shrink(struct samara_inode *inode, uint64_t size_bytes)
{
	uint64_t within = size_bytes & (FRAME_BYTES - 1), first = (size_bytes >> FRAME_SHIFT) + (within != 0);
	int err = 0;

	if (cache_range_is_busy(inode, size_bytes >> FRAME_SHIFT, UINT64_MAX))
		return -SAMARA_EAGAIN;
	/* the same size again gives up what fallocate reserved behind it */
	if (size_bytes != inode->desc.size_bytes)
		err = inode_ask_size(inode, size_bytes);
	if (err)
		return err;
	STORE_RELEASE(inode->desc.size_bytes, size_bytes);
	zap_file_range(inode, first, LAST_INDEX, true);
	cache_drop_pages(inode, first, UINT64_MAX, 0);
	/* a private copy that was being made of a page while it was still here */
	zap_file_range(inode, first, LAST_INDEX, true);
	if (within)
		page_zero_part(inode, size_bytes >> FRAME_SHIFT, within, FRAME_BYTES);
	return 0;
}

SAMARA_INTERNAL int inode_truncate(struct samara_inode *inode, uint64_t size_bytes)
{
	const struct samara_port *port = &inode->vm->port;
	uint32_t seals;
	uint64_t size;
	int err;

	if (size_bytes > inode->desc.max_bytes)
		return -SAMARA_EFBIG;
	(void)lock_write(&inode->size_lock, port, 0);
	seals = samara_inode_seals(inode);
	size = inode->desc.size_bytes;
	if ((size_bytes < size && (seals & SAMARA_F_SEAL_SHRINK)) ||
	    (size_bytes > size && (seals & SAMARA_F_SEAL_GROW)))
		err = -SAMARA_EPERM;
	else
		err = size_bytes > size ? inode_grow(inode, size_bytes) : inode_shrink(inode, size_bytes);
	lock_write_unlock(&inode->size_lock, port);
	return err;
}

int samara_file_truncate(struct samara_file *file, uint64_t size_bytes)
{
	struct samara_inode *inode = file->inode;

	if (!inode->vm->frames.map)
		return -SAMARA_ENOSYS;
	if (size_bytes > INT64_MAX ||
	    (inode->desc.kind != SAMARA_INODE_REGULAR && inode->desc.kind != SAMARA_INODE_SHMEM))
		return -SAMARA_EINVAL;
	if (!(file->fmode & SAMARA_FMODE_WRITE))
		return -SAMARA_EINVAL; /* ftruncate(2) of a descriptor that is open for reading only */
	return inode_truncate(inode, size_bytes);
}

/* -- holes -- */

static int inode_punch_held(struct samara_inode *inode, uint64_t start, uint64_t end)
{
	uint64_t first = (start >> FRAME_SHIFT) + ((start & (FRAME_BYTES - 1)) != 0), behind = end >> FRAME_SHIFT;
	uint64_t from = start & (FRAME_BYTES - 1), to = end & (FRAME_BYTES - 1);
	int err;

	if (cache_range_is_busy(inode, start >> FRAME_SHIFT, (end - 1) >> FRAME_SHIFT))
		return -SAMARA_EAGAIN;
	if (inode_has_backing(inode)) {
		err = inode->ops.punch(inode->desc.self, start, end);
		if (err < 0)
			return err;
	}
	/* a hole that ends within the first page makes tmpfs drop the entries of every page behind its start, which
	 * come back at the next access (asked of Linux 6.18) */
	if (!behind && inode->desc.kind == SAMARA_INODE_SHMEM)
		zap_file_range(inode, first, LAST_INDEX, false);
	if (start >> FRAME_SHIFT == behind) {
		page_zero_part(inode, behind, from, to); /* inside one page */
		return 0;
	}
	if (from)
		page_zero_part(inode, start >> FRAME_SHIFT, from, FRAME_BYTES);
	if (first < behind)
		cache_drop_range(inode, first, behind - 1);
	if (to)
		page_zero_part(inode, behind, 0, to);
	return 0;
}

SAMARA_INTERNAL int inode_punch(struct samara_inode *inode, uint64_t start, uint64_t end)
{
	const struct samara_port *port = &inode->vm->port;
	int err;

	if (inode_has_backing(inode) ? !inode->ops.punch : inode->desc.kind != SAMARA_INODE_SHMEM)
		return -SAMARA_EOPNOTSUPP;
	if (start >= end)
		return 0;
	(void)lock_write(&inode->size_lock, port, 0);
	if (inode_write_sealed(inode))
		err = -SAMARA_EPERM;
	else
		err = inode_punch_held(inode, start, end);
	lock_write_unlock(&inode->size_lock, port);
	return err;
}

/* -- fallocate -- */

/* A reserved page that is asked for once more becomes data (asked of Linux 6.18: lseek(SEEK_DATA) finds it). */
static void page_reserve_again(struct samara_inode *inode, struct frame *page)
{
	struct samara *vm = inode->vm;

	page_lock(vm, page);
	if (page->owner == inode && !page_has(page, PAGE_UPTODATE)) {
		zero_page(frame_host(&vm->frames, page));
		page_fill_done(page);
	}
	if (page->owner == inode)
		cache_mark_dirty(page);
	page_unlock(vm, page);
}

/* Every page of [start, end) is there, reserved if it was not; all or none. */
static int inode_reserve_pages(struct samara_inode *inode, uint64_t start, uint64_t end)
{
	uint64_t first = start >> FRAME_SHIFT, last = (end - 1) >> FRAME_SHIFT, mine = ++inode->cache.reservations;
	struct samara *vm = inode->vm;

	if (inode->desc.max_pages && last - first >= inode->desc.max_pages)
		return -SAMARA_ENOSPC;
	if (last - first >= vm->frames.count)
		return -SAMARA_ENOMEM;
	for (uint64_t index = first; index <= last; index++) {
		struct frame *page;
		int err = page_make(inode, index, false, true, &page);

		if (err == -SAMARA_ENOMEM && cache_make_room(vm, inode))
			err = page_make(inode, index, false, true, &page);
		if (!err) {
			page->data = mine;
			cache_mark_dirty(page);
			page_unlock(vm, page);
		}
		if (!err || err == -SAMARA_EEXIST) {
			if (err)
				page_reserve_again(inode, page);
			frame_put(&vm->frames, vm_cpu(vm), page);
			continue;
		}
		if (index > first)
			cache_drop_pages(inode, first, index - 1, mine);
		return err;
	}
	return 0;
}

static int inode_allocate_held(struct samara_inode *inode, int mode, uint64_t start, uint64_t end)
{
	uint64_t size = inode->desc.size_bytes;
	bool zero = mode & SAMARA_FALLOC_FL_ZERO_RANGE, grows = !(mode & SAMARA_FALLOC_FL_KEEP_SIZE) && end > size;
	int err = 0;

	if (end > size && (samara_inode_seals(inode) & SAMARA_F_SEAL_GROW))
		return -SAMARA_EPERM;
	if (inode->desc.kind == SAMARA_INODE_SHMEM)
		err = inode_reserve_pages(inode, start, end);
	if (!err && grows)
		err = inode_grow(inode, end);
	if (!err && zero) {
		err = inode_punch_held(inode, start, end);
		if (err && grows)
			(void)inode_shrink(inode, size);
	}
	return err;
}

/* What some file system of Linux supports: only then the arguments are looked at further. */
static bool fallocate_mode_is_known(int mode)
{
	switch (mode) {
	case 0:
	case SAMARA_FALLOC_FL_KEEP_SIZE:
	case SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE:
	case SAMARA_FALLOC_FL_ZERO_RANGE:
	case SAMARA_FALLOC_FL_ZERO_RANGE | SAMARA_FALLOC_FL_KEEP_SIZE:
	case 0x08: /* COLLAPSE_RANGE */
	case 0x20: /* INSERT_RANGE */
	case 0x40: /* UNSHARE_RANGE */
	case 0x41:
	case 0x80: /* WRITE_ZEROES */
		return true;
	default:
		return false;
	}
}

int samara_file_fallocate(struct samara_file *file, int mode, uint64_t offset, uint64_t length)
{
	const int keep = SAMARA_FALLOC_FL_KEEP_SIZE, punch = SAMARA_FALLOC_FL_PUNCH_HOLE;
	const int zero = SAMARA_FALLOC_FL_ZERO_RANGE;
	struct samara_inode *inode = file->inode;
	const struct samara_port *port = &inode->vm->port;
	int err;

	if (!inode->vm->frames.map)
		return -SAMARA_ENOSYS;
	if (offset > INT64_MAX || !length || length > INT64_MAX)
		return -SAMARA_EINVAL;
	if (!fallocate_mode_is_known(mode))
		return -SAMARA_EOPNOTSUPP;
	if (!(file->fmode & SAMARA_FMODE_WRITE))
		return -SAMARA_EBADF;
	if (inode->desc.kind != SAMARA_INODE_REGULAR && inode->desc.kind != SAMARA_INODE_SHMEM)
		return -SAMARA_ENODEV;
	if (offset + length > inode->desc.max_bytes)
		return -SAMARA_EFBIG;
	if (mode & punch)
		return inode_punch(inode, offset, offset + length);
	if ((mode & ~keep) && (mode & ~keep) != zero)
		return -SAMARA_EOPNOTSUPP;
	if ((mode & zero) && (!inode_has_backing(inode) || !inode->ops.punch))
		return -SAMARA_EOPNOTSUPP;
	(void)lock_write(&inode->size_lock, port, 0);
	err = inode_allocate_held(inode, mode, offset, offset + length);
	lock_write_unlock(&inode->size_lock, port);
	return err;
}
