/* page.c - one page of a file: found, or made and filled.
 *
 * A new page is locked before anybody can find it, and stays so until it is up to date or its reading failed; whoever
 * finds it meanwhile waits for its lock.  What reading a page costs is the embedder's, so a page is read by one
 * thread once, and neighbours come with it: a window that doubles while a file is read in order.  Readahead is a
 * favour: it takes free frames only, it waits for nothing, and its errors are nobody's.
 *
 * Everything here may be called without any lock; cache_mark_dirty under any.
 */
#include "core/mm.h"

#define READ_WINDOW_FIRST 4u
#define READ_WINDOW_MAX 32u
#define READ_AROUND 8u   /* a fault out of order: the aligned block that it lies in */
#define RECLAIM_BATCH 32u

SAMARA_INTERNAL void page_lock(struct samara *vm, struct frame *page)
{
	mutex_lock(&page->lock, &vm->port);
}

SAMARA_INTERNAL int page_lock_killable(struct samara *vm, struct frame *page)
{
	return mutex_lock_killable(&page->lock, &vm->port, 1);
}

SAMARA_INTERNAL bool page_trylock(struct samara *vm, struct frame *page)
{
	uint32_t seen = 0;

	if (vm->port.wait)
		return __atomic_compare_exchange_n(&page->lock, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
	seen = page->lock;
	page->lock = 1;
	return !seen;
}

SAMARA_INTERNAL void page_unlock(struct samara *vm, struct frame *page)
{
	mutex_unlock(&page->lock, &vm->port);
}

static void page_give(struct samara *vm, struct frame *page)
{
	frame_put(&vm->frames, vm_cpu(vm), page);
}

static void page_unlock_give(struct samara *vm, struct frame *page)
{
	page_unlock(vm, page);
	page_give(vm, page);
}

/* The lock is waited for as `how` says; -EINTR: given up, and the reference is gone. */
static int page_wait_lock(struct samara *vm, struct frame *page, unsigned how)
{
	int err = mutex_lock_killable(&page->lock, &vm->port, (how & CACHE_KILLABLE) != 0);

	if (err)
		page_give(vm, page);
	return err;
}

static inline bool cache_may_wait(const struct samara *vm, unsigned how)
{
	return vm->port.wait && !(how & CACHE_NOWAIT);
}

SAMARA_INTERNAL void cache_mark_dirty(struct frame *page)
{
	/* a read-modify-write, so that a store before it is seen by whoever takes the mark away after it */
	uint32_t before = __atomic_fetch_or(&page->marks, PAGE_DIRTY | PAGE_REFERENCED, __ATOMIC_ACQ_REL);
	struct samara_inode *inode = LOAD(page->owner);

	if (!(before & PAGE_DIRTY) && inode && inode_has_backing(inode))
		cache_tag_dirty(inode, page->index, true);
}

SAMARA_INTERNAL void page_fill_done(struct frame *page)
{
	page_clear(page, PAGE_ERROR | PAGE_READING);
	page_set(page, PAGE_UPTODATE);
}

SAMARA_INTERNAL void page_zero_tail(struct samara_inode *inode, struct frame *page)
{
	uint64_t size = LOAD_ACQUIRE(inode->desc.size_bytes), start = page->index << FRAME_SHIFT;
	uint64_t keep = size > start ? size - start : 0;

	if (keep < FRAME_BYTES)
		zero_bytes((char *)frame_host(&inode->vm->frames, page) + keep, FRAME_BYTES - keep);
}

/* There is nothing to read: shmem, no callback, or behind the end. */
static bool page_reads_zero(const struct samara_inode *inode, uint64_t index)
{
	return !inode_has_backing(inode) || !inode->ops.read_page || index >= inode_pages(inode);
}

/* The reading of a locked page is over. */
static int page_read_end(struct samara_inode *inode, struct frame *page, int error)
{
	if (error < 0) {
		page->data = (uint64_t)-(int64_t)error;
		page_set(page, PAGE_ERROR);
		page_clear(page, PAGE_READING);
		return error;
	}
	page_zero_tail(inode, page);
	page_fill_done(page);
	return 0;
}

/* Fill a locked page.  -EINPROGRESS: the lock is the reader's now. */
static int page_read(struct samara_inode *inode, struct frame *page, bool zeroed)
{
	void *bytes = frame_host(&inode->vm->frames, page);
	int err;

	if (page_reads_zero(inode, page->index)) {
		if (!zeroed)
			zero_page(bytes);
		page_fill_done(page);
		return 0;
	}
	/* for as long as the page is being read; taken first, for samara_read_done may be faster than our return */
	samara_inode_get(inode);
	page_clear(page, PAGE_ERROR);
	page_set(page, PAGE_READING);
	err = inode->ops.read_page(inode->desc.self, page->index, bytes);
	if (err == -SAMARA_EINPROGRESS)
		return err;
	err = page_read_end(inode, page, err);
	samara_inode_put(inode);
	return err;
}

void samara_read_done(struct samara_inode *inode, uint64_t index, int error)
{
	struct samara *vm = inode->vm;
	struct frame *page = cache_find(inode, index);

	if (!page)
		return;
	/* not one that is being read: nobody waits for this news */
	if (page_has(page, PAGE_READING)) {
		(void)page_read_end(inode, page, error);
		page_unlock_give(vm, page);
		samara_inode_put(inode);
	} else {
		page_give(vm, page);
	}
}

static struct frame *page_frame(struct samara_inode *inode, bool zero, bool reclaim)
{
	struct samara *vm = inode->vm;
	struct frame *page = frame_alloc(&vm->frames, vm_cpu(vm), FRAME_FILE, NULL, zero);

	if (!page && reclaim && cache_reclaim(vm, RECLAIM_BATCH))
		page = frame_alloc(&vm->frames, vm_cpu(vm), FRAME_FILE, NULL, zero);
	return page;
}

SAMARA_INTERNAL int page_make(struct samara_inode *inode, uint64_t index, bool zero, bool reclaim, struct frame **out)
{
	struct samara *vm = inode->vm;
	bool charge = inode->desc.kind == SAMARA_INODE_SHMEM && inode->desc.charge_pages;
	struct frame *page;
	int err = -SAMARA_ENOMEM;

	/* the kernel's answer for both the machine's limit and the file system's */
	if (charge && vm_charge(vm, NULL, 1))
		return -SAMARA_ENOSPC;
	page = page_frame(inode, zero, reclaim);
	if (page) {
		STORE(page->marks, inode->desc.kind == SAMARA_INODE_SHMEM ? PAGE_SHMEM : 0);
		page->pins = 0;
		page->data = 0;
		page->next = page->prev = NULL;
		if (!page_trylock(vm, page))
			vm_panic(vm, __FILE__, __LINE__, "a free frame is locked");
		err = cache_insert(inode, index, page, out);
		if (!err) {
			*out = page;
			return 0;
		}
		page_unlock_give(vm, page);
	}
	if (charge)
		vm_uncharge(vm, 1);
	return err;
}

/* -- several at once -- */

struct read_run {
	struct samara_inode *inode;
	uint64_t first;
	unsigned count;
	struct frame *page[READ_WINDOW_MAX]; /* locked, not up to date */
};

/* Pages that nobody asked for and that could not be read. */
static void run_drop(const struct read_run *run, unsigned from, const struct frame *wanted)
{
	for (unsigned i = from; i < run->count; i++) {
		if (run->page[i] == wanted)
			continue;
		cache_remove(run->inode, run->page[i]);
		page_unlock_give(run->inode->vm, run->page[i]);
	}
}

static void run_extend(struct read_run *run, uint64_t last)
{
	while (run->count < READ_WINDOW_MAX && run->first + run->count <= last) {
		struct frame *page;
		int err = page_make(run->inode, run->first + run->count, false, false, &page);

		if (err == -SAMARA_EEXIST)
			page_give(run->inode->vm, page);
		if (err)
			return;
		run->page[run->count++] = page;
	}
}

static void run_extend_down(struct read_run *run, uint64_t first)
{
	while (run->count < READ_WINDOW_MAX && run->first > first) {
		struct frame *page;
		int err = page_make(run->inode, run->first - 1, false, false, &page);

		if (err == -SAMARA_EEXIST)
			page_give(run->inode->vm, page);
		if (err)
			return;
		for (unsigned i = run->count; i; i--)
			run->page[i] = run->page[i - 1];
		run->page[0] = page;
		run->first--;
		run->count++;
	}
}

/* How many of the run, from its first, one call of read_pages read. */
static unsigned run_read_together(const struct read_run *run)
{
	struct samara_inode *inode = run->inode;
	void *host[READ_WINDOW_MAX];
	unsigned got;
	int n;

	for (unsigned i = 0; i < run->count; i++) {
		host[i] = frame_host(&inode->vm->frames, run->page[i]);
		page_clear(run->page[i], PAGE_ERROR);
	}
	n = inode->ops.read_pages(inode->desc.self, run->first, host, run->count);
	got = n < 0 ? 0 : MIN((unsigned)n, run->count);
	for (unsigned i = 0; i < got; i++)
		(void)page_read_end(inode, run->page[i], 0);
	return got;
}

/* Reads the run; the error is the wanted page's, which stays locked (or is the reader's, -EINPROGRESS).  Others are
 * unlocked and given back. */
static int run_read(struct read_run *run, struct frame *wanted)
{
	struct samara_inode *inode = run->inode;
	bool together = inode->ops.read_pages && run->count > 1;
	unsigned got = together ? run_read_together(run) : 0, i;
	int err = 0;

	if (wanted && !page_has(wanted, PAGE_UPTODATE))
		err = page_read(inode, wanted, false);
	for (i = 0; i < run->count; i++) {
		int other = 0;

		if (run->page[i] == wanted)
			continue;
		if (i >= got)
			other = together ? -SAMARA_EIO : page_read(inode, run->page[i], false);
		if (other == -SAMARA_EINPROGRESS)
			page_give(inode->vm, run->page[i]);
		else if (!other)
			page_unlock_give(inode->vm, run->page[i]);
		else
			break;
	}
	run_drop(run, i, wanted);
	return err;
}

/* Where the window around a page that is not there begins, and how many pages it has. */
static unsigned read_window(struct samara_inode *inode, struct samara_file *file, uint64_t index, unsigned how,
	uint64_t *first)
{
	uint64_t pages = inode_pages(inode), expected = file ? LOAD(file->readahead_index) : UINT64_MAX;
	uint64_t before = file ? LOAD(file->readahead_pages) : READ_WINDOW_MAX, window = 1;

	*first = index;
	if (page_reads_zero(inode, index) || (how & CACHE_RANDOM))
		return 1;
	if ((how & CACHE_SEQUENTIAL) || (file && (index == expected || !index)))
		window = index && index == expected ? MIN(MAX(before * 2, READ_WINDOW_FIRST), READ_WINDOW_MAX)
						    : READ_WINDOW_FIRST;
	else if (how & CACHE_FAULT) {
		*first = index & ~(uint64_t)(READ_AROUND - 1);
		window = READ_AROUND;
	}
	if ((how & CACHE_SEQUENTIAL) && !file)
		window = READ_WINDOW_MAX;
	window = MIN(window, pages - *first);
	if (file) {
		STORE(file->readahead_index, *first + window);
		STORE(file->readahead_pages, window);
	}
	return (unsigned)window;
}

/* A new page and its neighbours. */
static int page_read_window(struct samara_inode *inode, struct samara_file *file, struct frame *page, unsigned how,
	bool zeroed)
{
	struct read_run run = { .inode = inode, .first = page->index, .count = 1 };
	uint64_t first;
	unsigned window = read_window(inode, file, page->index, how, &first);

	if (window <= 1)
		return page_read(inode, page, zeroed);
	run.page[0] = page;
	run_extend_down(&run, first);
	run_extend(&run, first + window - 1);
	/* using a page in its second half begins the next window */
	if (run.count >= READ_WINDOW_FIRST && !((how & CACHE_FAULT) && first != page->index) &&
	    run.page[run.count / 2] != page)
		page_set(run.page[run.count / 2], PAGE_READAHEAD);
	return run_read(&run, page);
}

SAMARA_INTERNAL void cache_read_ahead(struct samara_inode *inode, uint64_t first, uint64_t last)
{
	uint64_t pages = inode_pages(inode);

	if (!pages || page_reads_zero(inode, first))
		return;
	last = MIN(last, pages - 1);
	while (first <= last) {
		struct read_run run = { .inode = inode, .first = first };
		struct frame *there;

		run_extend(&run, last);
		if (run.count) {
			(void)run_read(&run, NULL);
			first += run.count;
			continue;
		}
		/* it is there already, or no frame is free */
		there = cache_find(inode, first);
		if (!there)
			return;
		page_give(inode->vm, there);
		first++;
	}
}

/* A page that is there is used: the mark of readahead, and that it was used. */
static void page_used(struct samara_inode *inode, struct samara_file *file, struct frame *page, unsigned how)
{
	uint32_t marks = LOAD(page->marks);

	if (!(marks & PAGE_REFERENCED))
		page_set(page, PAGE_REFERENCED);
	if (LIKELY(!(marks & PAGE_READAHEAD)) || !(page_clear(page, PAGE_READAHEAD) & PAGE_READAHEAD))
		return;
	if (file && !(how & (CACHE_RANDOM | CACHE_NOCREATE))) {
		uint64_t next = LOAD(file->readahead_index), window = LOAD(file->readahead_pages) * 2;
		uint64_t pages = inode_pages(inode);
		struct read_run run = { .inode = inode, .first = next };

		if (next <= page->index || next >= pages || !window)
			return;
		window = MIN(MIN(window, READ_WINDOW_MAX), pages - next);
		run_extend(&run, next + window - 1);
		if (!run.count)
			return;
		STORE(file->readahead_index, next + run.count);
		STORE(file->readahead_pages, run.count);
		if (run.count >= READ_WINDOW_FIRST)
			page_set(run.page[run.count / 2], PAGE_READAHEAD);
		(void)run_read(&run, NULL);
	}
}

enum { PAGE_AGAIN = 1 }; /* the page left the cache: look for the offset again */

/* The page is locked: make it up to date, unless the caller fills it.  0: locked.  Anything else: neither locked nor
 * referenced. */
static int page_complete(struct samara_inode *inode, struct samara_file *file, struct frame *page, unsigned how,
	bool new, bool zeroed)
{
	struct samara *vm = inode->vm;
	uint64_t index = page->index;
	int err = 0;

	if (page_has(page, PAGE_UPTODATE) || (how & CACHE_BLANK))
		return 0;
	err = new ? page_read_window(inode, file, page, how, zeroed) : page_read(inode, page, false);
	if (err == -SAMARA_EINPROGRESS) {
		if (!cache_may_wait(vm, how)) {
			page_give(vm, page);
			return -SAMARA_EAGAIN;
		}
		err = page_wait_lock(vm, page, how);
		if (err)
			return err;
		if (page->owner != inode || page->index != index)
			err = PAGE_AGAIN;
		else if (page_has(page, PAGE_UPTODATE))
			err = 0;
		else
			err = page_has(page, PAGE_ERROR) ? -(int)page->data : PAGE_AGAIN;
	}
	if (err)
		page_unlock_give(vm, page);
	return err;
}

SAMARA_INTERNAL int cache_get(struct samara_inode *inode, struct samara_file *file, uint64_t index, unsigned how,
	struct frame **out)
{
	struct samara *vm = inode->vm;
	struct frame *page;
	int err;

	for (;;) {
		bool new = false, zeroed = false;

		if (!(how & CACHE_GROW) && index >= inode_pages(inode))
			return -SAMARA_ERANGE;
		page = cache_find(inode, index);
		if (!page) {
			if (how & CACHE_NOCREATE)
				return -SAMARA_ENOENT;
			zeroed = !(how & CACHE_BLANK) && page_reads_zero(inode, index);
			err = page_make(inode, index, zeroed, true, &page);
			if (err && err != -SAMARA_EEXIST)
				return err;
			new = !err;
		}
		if (!new) {
			bool ready = page_has(page, PAGE_UPTODATE);

			if (LIKELY(ready && !(how & (CACHE_LOCK | CACHE_BLANK)))) {
				page_used(inode, file, page, how);
				*out = page;
				return 0;
			}
			if (!ready && (how & CACHE_NOCREATE)) {
				page_give(vm, page);
				return -SAMARA_ENOENT;
			}
			if (cache_may_wait(vm, how)) {
				err = page_wait_lock(vm, page, how);
				if (err)
					return err;
			} else if (!page_trylock(vm, page)) {
				page_give(vm, page);
				return -SAMARA_EAGAIN;
			}
			if (page->owner != inode || page->index != index) {
				page_unlock_give(vm, page);
				continue;
			}
		}
		/* the end may have moved before we had the lock; after that, whoever moves it waits for us */
		if (!(how & CACHE_GROW) && index >= inode_pages(inode)) {
			if (new)
				cache_remove(inode, page);
			page_unlock_give(vm, page);
			return -SAMARA_ERANGE;
		}
		err = page_complete(inode, file, page, how, new, zeroed);
		if (err == PAGE_AGAIN)
			continue;
		if (err)
			return err;
		if (!(how & (CACHE_LOCK | CACHE_BLANK)))
			page_unlock(vm, page);
		page_used(inode, file, page, how);
		*out = page;
		return 0;
	}
}
