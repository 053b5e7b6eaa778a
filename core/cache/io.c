/* io.c - reading and writing a file without mapping it, and what else a descriptor is asked about its pages.
 *
 * The bytes are those of the cached frames, which the mappings show, too; so both are coherent without further ado.
 * A write holds size_lock: for reading when it stays inside the file, for writing when the file grows; the page lock
 * makes each page's part of it one step. A read takes no lock at all: as in Linux it may see part of a write that is
 * just being made.  Data come before size: whoever sees the new end sees the bytes before it.
 */
#include "core/mm.h"

#define IO_MAX 0x7ffff000ull /* what one read(2) or write(2) moves at most */
#define DROP_BATCH 16u

static int io_ready(const struct samara_file *file)
{
	const struct samara_inode *inode = file->inode;

	if (!inode->vm->frames.map)
		return -SAMARA_ENOSYS;
	return inode->desc.kind == SAMARA_INODE_SHMEM || inode_has_backing(inode) ? 0 : -SAMARA_EINVAL;
}

/* What pread(2) and pwrite(2) check first. */
static int io_check(const struct samara_file *file, uint64_t offset, uint64_t bytes, unsigned fmode)
{
	int err = io_ready(file);

	if (err)
		return err;
	if (offset > INT64_MAX)
		return -SAMARA_EINVAL;
	if (!(file->fmode & fmode))
		return -SAMARA_EBADF;
	return bytes > INT64_MAX - offset ? -SAMARA_EINVAL : 0;
}

static void io_give(struct samara *vm, struct frame *page)
{
	frame_put(&vm->frames, vm_cpu(vm), page);
}

/* cache_get by one who may wait until dirty pages were written to make room; `held` as in cache_make_room. */
static int io_get(struct samara_inode *inode, struct samara_file *file, uint64_t index, unsigned how,
	struct samara_inode *held, struct frame **out)
{
	int err = cache_get(inode, file, index, how, out);

	if (err == -SAMARA_ENOMEM && cache_make_room(inode->vm, held))
		err = cache_get(inode, file, index, how, out);
	return err;
}

int64_t samara_file_read(struct samara_file *file, uint64_t offset, void *to, size_t bytes)
{
	struct samara_inode *inode = file->inode;
	unsigned how = CACHE_KILLABLE | (inode->desc.kind == SAMARA_INODE_SHMEM ? CACHE_NOCREATE : 0);
	uint64_t want = MIN((uint64_t)bytes, IO_MAX), done = 0;
	int err = io_check(file, offset, bytes, SAMARA_FMODE_READ);

	while (!err && done < want) {
		uint64_t at = offset + done, within = at & (FRAME_BYTES - 1), size;
		uint64_t part = MIN(FRAME_BYTES - within, want - done);
		struct frame *page = NULL;

		err = fatal_signal_pending(inode->vm) ? -SAMARA_EINTR : io_get(inode, file, at >> FRAME_SHIFT, how, NULL, &page);
		if (err == -SAMARA_ERANGE) {
			err = 0;
			break;
		}
		if (err == -SAMARA_ENOENT)
			err = 0; /* a hole of shmem stays one */
		if (err)
			break;
		/* after the page: what was there when it was up to date */
		size = LOAD_ACQUIRE(inode->desc.size_bytes);
		part = at < size ? MIN(part, size - at) : 0;
		if (page) {
			guest_copy((char *)to + done, (char *)frame_host(&inode->vm->frames, page) + within, part);
			io_give(inode->vm, page);
		} else {
			zero_bytes((char *)to + done, part);
		}
		if (!part)
			break;
		done += part;
	}
	return done ? (int64_t)done : err;
}

/* One page's part of a write; size_lock is held, for writing when the part ends behind the end of the file. */
static int file_write_part(struct samara_file *file, uint64_t at, const char *from, uint64_t part)
{
	struct samara_inode *inode = file->inode;
	struct samara *vm = inode->vm;
	uint64_t within = at & (FRAME_BYTES - 1), start = at - within, size = inode->desc.size_bytes;
	/* nothing that was there is left: neither before nor behind the part */
	bool blank = (!within || start >= size) && (within + part == FRAME_BYTES || at + part >= size);
	struct frame *page;
	char *host;
	unsigned how = CACHE_LOCK | CACHE_GROW | (blank ? CACHE_BLANK : 0);
	int err = io_get(inode, file, at >> FRAME_SHIFT, how, inode, &page);

	if (err)
		return err;
	host = frame_host(&vm->frames, page);
	if (!page_has(page, PAGE_UPTODATE)) {
		zero_bytes(host, within);
		zero_bytes(host + within + part, FRAME_BYTES - within - part);
	}
	guest_copy(host + within, from, part);
	if (!page_has(page, PAGE_UPTODATE))
		page_fill_done(page);
	cache_mark_dirty(page);
	if (at + part > size)
		STORE_RELEASE(inode->desc.size_bytes, at + part);
	page_unlock(vm, page);
	io_give(vm, page);
	return 0;
}

/* The file's end will be at `end`: its owner may refuse, and what lies behind the old end reads as zero. */
static int file_begin_growth(struct samara_inode *inode, uint64_t offset, uint64_t end)
{
	int err = 0;

	if (offset > inode->desc.size_bytes && inode_tail_is_busy(inode))
		return -SAMARA_EAGAIN;
	if (inode_has_backing(inode) && inode->ops.set_size)
		err = inode->ops.set_size(inode->desc.self, end);
	if (err < 0)
		return err;
	if (offset > inode->desc.size_bytes)
		inode_zero_old_tail(inode);
	return 0;
}

static int64_t file_write_all(struct samara_file *file, uint64_t offset, const char *from, uint64_t want, bool grows)
{
	struct samara_inode *inode = file->inode;
	uint32_t seals = samara_inode_seals(inode);
	uint64_t done = 0;
	int err = 0;

	if (inode_write_sealed(inode))
		return -SAMARA_EPERM;
	/* the seal refuses the page that would make the file larger, not those before it */
	if (!(seals & SAMARA_F_SEAL_GROW) && grows)
		err = file_begin_growth(inode, offset, offset + want);
	if (err)
		return err;
	while (done < want) {
		uint64_t at = offset + done, part = MIN(FRAME_BYTES - (at & (FRAME_BYTES - 1)), want - done);

		if ((seals & SAMARA_F_SEAL_GROW) && at + part > inode->desc.size_bytes)
			err = -SAMARA_EPERM;
		else if (fatal_signal_pending(inode->vm))
			err = -SAMARA_EINTR;
		else
			err = file_write_part(file, at, from + done, part);
		if (err)
			break;
		done += part;
	}
	/* shorter than announced */
	if (err && grows && !(seals & SAMARA_F_SEAL_GROW) && inode_has_backing(inode) && inode->ops.set_size)
		(void)inode->ops.set_size(inode->desc.self, inode->desc.size_bytes);
	return done ? (int64_t)done : err;
}

int64_t samara_file_write(struct samara_file *file, uint64_t offset, const void *from, size_t bytes)
{
	struct samara_inode *inode = file->inode;
	const struct samara_port *port = &inode->vm->port;
	uint64_t want = MIN((uint64_t)bytes, IO_MAX);
	int64_t done;
	int err = io_check(file, offset, bytes, SAMARA_FMODE_WRITE);

	if (err || !bytes)
		return err;
	if (offset >= inode->desc.max_bytes)
		return -SAMARA_EFBIG;
	want = MIN(want, inode->desc.max_bytes - offset);
	(void)lock_read(&inode->size_lock, port, 0);
	if (offset + want <= LOAD(inode->desc.size_bytes)) {
		done = file_write_all(file, offset, from, want, false);
		lock_read_unlock(&inode->size_lock, port);
		return done;
	}
	lock_read_unlock(&inode->size_lock, port);
	(void)lock_write(&inode->size_lock, port, 0);
	done = file_write_all(file, offset, from, want, offset + want > inode->desc.size_bytes);
	lock_write_unlock(&inode->size_lock, port);
	return done;
}

static bool file_page_present(struct samara_inode *inode, uint64_t index)
{
	struct frame *page = cache_find(inode, index);
	bool present = page && page_has(page, PAGE_UPTODATE);

	if (page)
		io_give(inode->vm, page);
	return present;
}

int samara_file_cached(struct samara_file *file, uint64_t offset)
{
	int err = io_ready(file);

	return err ? err : file_page_present(file->inode, offset >> FRAME_SHIFT);
}

/* The first page at or behind `index` that has data, or UINT64_MAX. */
static uint64_t file_next_data(struct samara_inode *inode, uint64_t index, uint64_t last)
{
	struct frame *page;

	while (index <= last && cache_find_many(inode, index, last, false, &page, 1)) {
		bool data = page_has(page, PAGE_UPTODATE);

		index = page->index;
		io_give(inode->vm, page);
		if (data)
			return index;
		index++;
	}
	return UINT64_MAX;
}

int64_t samara_file_seek_data(struct samara_file *file, uint64_t offset, int hole)
{
	struct samara_inode *inode = file->inode;
	uint64_t size = LOAD_ACQUIRE(inode->desc.size_bytes), index = offset >> FRAME_SHIFT, at;
	int err = io_ready(file);

	if (err)
		return err;
	if (offset > INT64_MAX || offset >= size)
		return -SAMARA_ENXIO;
	/* the embedder's file systems tell no holes: all is data, up to the hole behind the end */
	if (inode_has_backing(inode))
		return (int64_t)(hole ? size : offset);
	if (hole) {
		while (index < inode_pages(inode) && file_page_present(inode, index))
			index++;
		if (index > INT64_MAX >> FRAME_SHIFT)
			return -SAMARA_EINVAL;
		return (int64_t)MIN(MAX(index << FRAME_SHIFT, offset), size);
	}
	at = file_next_data(inode, index, (size - 1) >> FRAME_SHIFT);
	return at == UINT64_MAX ? -SAMARA_ENXIO : (int64_t)MAX(at << FRAME_SHIFT, offset);
}

/* posix_fadvise(2): a length of 0 is up to the end. */
static bool file_advice_end(uint64_t offset, uint64_t length, uint64_t *end)
{
	if (length > INT64_MAX)
		return false;
	*end = length && length <= UINT64_MAX - offset ? offset + length : UINT64_MAX;
	return true;
}

int samara_file_readahead(struct samara_file *file, uint64_t offset, uint64_t length)
{
	uint64_t end;
	int err = io_ready(file);

	if (err)
		return err;
	if (!file_advice_end(offset, length, &end))
		return -SAMARA_EINVAL;
	cache_read_ahead(file->inode, offset >> FRAME_SHIFT, (end - 1) >> FRAME_SHIFT);
	return 0;
}

/* Whole pages only, so that bytes outside the range stay; the last page of the file is whole when the range reaches
 * its end. */
int samara_file_drop(struct samara_file *file, uint64_t offset, uint64_t length)
{
	struct samara_inode *inode = file->inode;
	struct frame *batch[DROP_BATCH];
	uint64_t end, index, behind;
	int err = io_ready(file);
	unsigned n;

	if (err)
		return err;
	if (!file_advice_end(offset, length, &end))
		return -SAMARA_EINVAL;
	if (!inode_has_backing(inode))
		return 0;
	index = (offset >> FRAME_SHIFT) + ((offset & (FRAME_BYTES - 1)) != 0);
	behind = end >= LOAD_ACQUIRE(inode->desc.size_bytes) ? inode_pages(inode) : end >> FRAME_SHIFT;
	while (index < behind && (n = cache_find_many(inode, index, behind - 1, false, batch, DROP_BATCH)) != 0) {
		index = batch[n - 1]->index + 1;
		for (unsigned i = 0; i < n; i++)
			(void)cache_evict(inode, batch[i]);
	}
	return 0;
}

void samara_inode_usage(struct samara_inode *inode, uint64_t *pages, uint64_t *dirty)
{
	*pages = LOAD(inode->cache.pages);
	*dirty = LOAD(inode->cache.dirty);
}
