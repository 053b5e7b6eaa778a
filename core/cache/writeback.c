/* writeback.c - dirty pages go to the file, clean ones may go at all.
 *
 * Writing one page back, under its lock: its tag and mark go first, then every entry that maps it loses its right to
 * write (a store that comes later faults, and marks the page again), then its bytes are written.  So a store is
 * either in what was written or leaves the page dirty.
 *
 * An error is counted in the inode and told once to each open file (fsync(2)); the page stays clean, as in Linux:
 * written again it would most likely fail again, and be in the way for good.
 *
 * size_lock is held for reading meanwhile: a page must not be written behind an end, or into a hole, that a truncate
 * is just making.
 */
#include "core/mm.h"

#define WRITE_BATCH 16u
#define ROOM_BATCH 32u

SAMARA_INTERNAL void cache_note_error(struct samara_inode *inode, int error)
{
	struct cache *cache = &inode->cache;

	mutex_lock(&cache->lock, &inode->vm->port);
	cache->last_error = error;
	STORE(cache->error_count, cache->error_count + 1);
	mutex_unlock(&cache->lock, &inode->vm->port);
}

SAMARA_INTERNAL int file_take_error(struct samara_file *file)
{
	struct samara_inode *inode = file->inode;
	struct cache *cache = &inode->cache;
	int err = 0;

	if (LOAD(cache->error_count) == LOAD(file->errors_seen))
		return 0;
	mutex_lock(&cache->lock, &inode->vm->port);
	if (cache->error_count != file->errors_seen) {
		err = cache->last_error;
		STORE(file->errors_seen, cache->error_count);
		STORE(cache->errors_told, cache->error_count);
	}
	mutex_unlock(&cache->lock, &inode->vm->port);
	return err;
}

/* Page locked, of an inode with write_page. */
static int page_write_back(struct samara_inode *inode, struct frame *page)
{
	struct samara *vm = inode->vm;
	uint64_t size, start = page->index << FRAME_SHIFT;
	int err;

	cache_tag_dirty(inode, page->index, false);
	(void)page_clear(page, PAGE_DIRTY);
	if (frame_maps(page))
		(void)zap_page_clean(vm, page);
	size = LOAD_ACQUIRE(inode->desc.size_bytes);
	if (start >= size)
		return 0; /* on its way out */
	page_zero_tail(inode, page);
	page_set(page, PAGE_WRITEBACK);
	err = inode->ops.write_page(inode->desc.self, page->index, frame_host(&vm->frames, page),
		(uint32_t)MIN(size - start, FRAME_BYTES));
	page_clear(page, PAGE_WRITEBACK);
	if (err >= 0)
		return 0;
	cache_note_error(inode, err);
	return err;
}

/* At most `most` dirty pages of first..last; size_lock is held.  *error becomes the first error. */
static uint64_t inode_write_back(struct samara_inode *inode, uint64_t first, uint64_t last, uint64_t most, int *error)
{
	struct samara *vm = inode->vm;
	struct frame *batch[WRITE_BATCH];
	uint64_t written = 0;
	unsigned n;

	if (!inode_has_backing(inode) || !inode->ops.write_page)
		return 0;
	while (first <= last && written < most) {
		n = cache_find_many(inode, first, last, true, batch, (unsigned)MIN(most - written, WRITE_BATCH));
		if (!n)
			break;
		for (unsigned i = 0; i < n; i++) {
			struct frame *page = batch[i];
			int err = 0;

			first = page->index + 1;
			page_lock(vm, page);
			if (page->owner == inode) {
				err = page_write_back(inode, page);
				written++;
			}
			page_unlock(vm, page);
			frame_put(&vm->frames, vm_cpu(vm), page);
			if (err && !*error)
				*error = err;
		}
	}
	return written;
}

static uint64_t inode_write_back_locked(struct samara_inode *inode, uint64_t first, uint64_t last, uint64_t most,
	int *error)
{
	const struct samara_port *port = &inode->vm->port;
	uint64_t written;

	if (!LOAD(inode->cache.dirty))
		return 0;
	(void)lock_read(&inode->size_lock, port, 0);
	written = inode_write_back(inode, first, last, most, error);
	lock_read_unlock(&inode->size_lock, port);
	return written;
}

SAMARA_INTERNAL int cache_write_back(struct samara_inode *inode, uint64_t first, uint64_t last)
{
	int err = 0;

	(void)inode_write_back_locked(inode, first, last, UINT64_MAX, &err);
	return err;
}

SAMARA_INTERNAL int file_sync_pages(struct samara_file *file, uint64_t first, uint64_t last)
{
	struct samara_inode *inode = file->inode;
	int err;

	if (inode_has_backing(inode)) {
		(void)cache_write_back(inode, first, last);
		err = inode->ops.sync ? inode->ops.sync(inode->desc.self) : 0;
		if (err < 0)
			cache_note_error(inode, err);
	}
	return file_take_error(file);
}

int samara_file_fsync(struct samara_file *file)
{
	return file->inode->vm->frames.map ? file_sync_pages(file, 0, UINT64_MAX) : -SAMARA_ENOSYS;
}

uint64_t samara_write_back(struct samara *vm, uint64_t pages)
{
	uint64_t most = pages ? pages : UINT64_MAX, written = 0;
	struct samara_inode *inode = NULL;
	int err = 0; /* counted in the inode; whoever asks for the file is told */

	if (!vm->frames.map)
		return 0;
	while ((inode = cache_next_inode(vm, inode)) != NULL) {
		written += inode_write_back_locked(inode, 0, UINT64_MAX, most - written, &err);
		if (written == most) {
			samara_inode_put(inode);
			break;
		}
	}
	return written;
}

/* -- clean pages go -- */

/* Not wanted by anybody but the cache and us (two references), and as the file has it. */
static bool page_is_idle(const struct frame *page)
{
	return !(LOAD(page->marks) & (PAGE_DIRTY | PAGE_WRITEBACK | PAGE_READING)) && LOAD(page->count) == 2;
}

SAMARA_INTERNAL bool cache_evict(struct samara_inode *inode, struct frame *page)
{
	struct samara *vm = inode->vm;
	bool gone = false;

	if (page_is_idle(page) && page_trylock(vm, page)) {
		if (page->owner == inode && page_is_idle(page)) {
			cache_remove(inode, page);
			gone = true;
		}
		page_unlock(vm, page);
	}
	frame_put(&vm->frames, vm_cpu(vm), page);
	return gone;
}

static uint64_t inode_reclaim(struct samara_inode *inode, uint64_t want)
{
	struct frame *batch[WRITE_BATCH];
	uint64_t freed = 0, index = 0;
	unsigned n;

	while (freed < want && (n = cache_find_many(inode, index, UINT64_MAX, false, batch, WRITE_BATCH)) != 0) {
		index = batch[n - 1]->index + 1;
		for (unsigned i = 0; i < n; i++) {
			/* a second chance for what was used since the last look */
			if (freed == want || (page_clear(batch[i], PAGE_REFERENCED) & PAGE_REFERENCED))
				frame_put(&inode->vm->frames, vm_cpu(inode->vm), batch[i]);
			else
				freed += cache_evict(inode, batch[i]);
		}
	}
	return freed;
}

SAMARA_INTERNAL uint64_t cache_reclaim(struct samara *vm, uint64_t want)
{
	uint64_t freed = 0;

	for (unsigned round = 0; round < 2 && freed < want; round++) {
		struct samara_inode *inode = NULL;

		while ((inode = cache_next_inode(vm, inode)) != NULL) {
			if (inode_has_backing(inode))
				freed += inode_reclaim(inode, want - freed);
			if (freed >= want) {
				samara_inode_put(inode);
				break;
			}
		}
	}
	return freed;
}

uint64_t samara_reclaim(struct samara *vm, uint64_t pages)
{
	return vm->frames.map ? cache_reclaim(vm, pages) : 0;
}

static bool size_try_read(struct rwlock *lock, const struct samara_port *port)
{
	uint32_t seen = LOAD(lock->state);

	if (seen & LOCK_WRITER)
		return false;
	if (!port->wait) {
		lock->state++;
		return true;
	}
	return __atomic_compare_exchange_n(&lock->state, &seen, seen + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

SAMARA_INTERNAL uint64_t cache_make_room(struct samara *vm, struct samara_inode *held)
{
	struct samara_inode *inode = NULL;
	uint64_t written = 0;
	int err = 0;

	while ((inode = cache_next_inode(vm, inode)) != NULL) {
		/* two writers may be here, each with the lock that the other would wait for */
		if (inode == held) {
			written += inode_write_back(inode, 0, UINT64_MAX, ROOM_BATCH - written, &err);
		} else if (LOAD(inode->cache.dirty) && size_try_read(&inode->size_lock, &vm->port)) {
			written += inode_write_back(inode, 0, UINT64_MAX, ROOM_BATCH - written, &err);
			lock_read_unlock(&inode->size_lock, &vm->port);
		}
		if (written >= ROOM_BATCH) {
			samara_inode_put(inode);
			break;
		}
	}
	return cache_reclaim(vm, ROOM_BATCH);
}
