/* file.c - pages of files: found in the page cache or read, mapped, told of writes; and the neighbours of a read.
 *
 * A page is mapped while its lock is held and after cache_page_here said that it still is the page of this offset, so
 * that truncate, which takes the lock of each page that it removes, finds every entry.  Dirty tracking: a shared
 * mapping of a file that is written back maps pages read-only first; the write fault tells the file (page_mkwrite),
 * marks the page dirty and makes the entry writable; write-back takes that away again.  Shared memory (SHMEM) is not
 * written back, so its pages are writable from the start.
 *
 * Fault-around: a read fault also maps what the cache has of the 16 pages around it, if it can without waiting.
 */
#include "core/fault/fault.h"

#define AROUND 16u

static unsigned count_kind(const struct frame *page)
{
	return LOAD(page->marks) & PAGE_SHMEM ? COUNT_SHMEM : COUNT_FILE;
}

static int file_error(struct fault *f, int err)
{
	switch (err) {
	case -SAMARA_ENOMEM:
	case -SAMARA_EAGAIN:
	case -SAMARA_EINTR:
		return fault_error(f, err, 0, 0);
	}
	/* behind the end of the file, unreadable, no space for it */
	return fault_error(f, -SAMARA_EFAULT, SAMARA_SIGBUS, SAMARA_BUS_ADRERR);
}

static uint64_t page_entry(const struct fault *f, const struct frame *page, unsigned rights)
{
	const vma_t *vma = f->vma;

	if ((vma->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE) && !inode_has_backing(vma->file->inode))
		rights |= TABLE_WRITE;
	return fault_entry(f, page, rights);
}

/* The page of entries, if it is not there yet. */
static int ensure_slot(const struct fault *f, uint64_t **slot)
{
	return LIKELY(*slot != NULL) ? 0 : table_ensure(&f->mm->table, f->cpu, f->addr, 0, slot);
}

/* What the cache has of the pages around, mapped where nothing stands.  `*slot` is the place of f->addr, if there is one
 * yet. */
static void map_around(struct fault *f, uint64_t **slot)
{
	const vma_t *vma = f->vma;
	struct samara_inode *inode = vma->file->inode;
	struct samara *vm = f->mm->vm;
	struct table *table = &f->mm->table;
	uint64_t addr = f->addr & PAGE_MASK, at = level_index(addr, 0), from = at & ~(uint64_t)(AROUND - 1), to;
	uint64_t below = (addr - vma->start) >> PAGE_SHIFT, above = (vma->end - addr) >> PAGE_SHIFT, first;
	struct frame *pages[AROUND];
	unsigned count;
	int64_t mapped[COUNT_KINDS] = { 0 };

	from = MAX(from, at - MIN(at, below));
	to = MIN(MIN(from + AROUND, (uint64_t)TABLE_ENTRIES), at + above);
	first = vma->pgoff + below - (at - from);
	count = cache_find_many(inode, first, first + (to - from) - 1, false, pages, AROUND);
	for (unsigned i = 0; i < count; i++) {
		struct frame *page = pages[i];
		uint64_t index = from + (page->index - first);
		uint64_t *place = *slot ? *slot - at + index : NULL;
		bool given = false;

		if (index != at && !(place && LOAD(*place)) &&
		    (LOAD(page->marks) & (PAGE_UPTODATE | PAGE_READAHEAD)) == PAGE_UPTODATE && page_trylock(vm, page)) {
			if (cache_page_here(inode, page, page->index) && !ensure_slot(f, slot)) {
				struct frame *lock = table_lock(table, *slot);

				place = *slot - at + index;
				if (!*place) {
					given = true;
					frame_map_own(&vm->frames, page);
					table_install(table, lock, place, 0, page_entry(f, page, 0));
					mapped[count_kind(page)]++;
				}
				table_unlock(table, lock);
			}
			page_unlock(vm, page);
		}
		if (!given)
			frame_put(&vm->frames, f->cpu, page);
	}
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (mapped[kind])
			mm_count(f->mm, f->cpu, kind, mapped[kind]);
}

/* The page is locked and up to date; the entry comes to stand, and the caller's reference becomes the entry's, unless
 * somebody was faster. */
static int map_page(struct fault *f, uint64_t *slot, struct frame *page)
{
	struct samara *vm = f->mm->vm;
	struct table *table = &f->mm->table;
	bool write = f->access & SAMARA_WRITE;
	struct frame *lock;
	bool empty;

	/* who takes the mark away locks the page: one that stands will stay */
	if (write && !page_has(page, PAGE_DIRTY))
		cache_mark_dirty(page);
	lock = table_lock(table, slot);
	empty = !*slot;
	if (LIKELY(empty)) {
		frame_map_own(&vm->frames, page);
		table_install(table, lock, slot, 0, page_entry(f, page, TABLE_ACCESSED | (write ? TABLE_WRITE | TABLE_DIRTY : 0)));
	}
	table_unlock(table, lock);
	if (empty)
		mm_count(f->mm, f->cpu, count_kind(page), 1);
	return empty ? 0 : FAULT_RETRY;
}

/* A shared page is about to be written: the file may have to find room for it. */
static int tell_file(const struct samara_inode *inode, const struct frame *page)
{
	return inode->ops.page_mkwrite ? inode->ops.page_mkwrite(inode->desc.self, page->index) : 0;
}

/* A page that must be waited for is not waited for here (fault_await). */
static bool comes_again(const struct fault *f)
{
	return f->may_leave || (f->access & SAMARA_NOWAIT);
}

static unsigned how_to_get(const struct fault *f)
{
	return CACHE_LOCK | CACHE_FAULT | CACHE_KILLABLE | (comes_again(f) ? CACHE_NOWAIT : 0) |
	       (f->vma->flags & VM_RAND_READ ? CACHE_RANDOM : 0) | (f->vma->flags & VM_SEQ_READ ? CACHE_SEQUENTIAL : 0);
}

SAMARA_INTERNAL int fault_file(struct fault *f, uint64_t *slot)
{
	const vma_t *vma = f->vma;
	struct samara *vm = f->mm->vm;
	bool write = f->access & SAMARA_WRITE, shared = vma->flags & (VM_SHARED | VM_MAYSHARE), given = false;
	struct samara_inode *inode;
	struct frame *page;
	uint64_t index;
	int err;

	/* special mappings have no pages; huge pages of hugetlbfs are not there yet */
	if (!vma->file || (vma->flags & (VM_HUGETLB | VM_PFNMAP)) ||
	    (file_is(vma->file, SAMARA_INODE_DEVICE) && !vma->file->inode->ops.read_page))
		return fault_error(f, -SAMARA_EFAULT, SAMARA_SIGBUS, SAMARA_BUS_ADRERR);
	inode = vma->file->inode;
	index = vma->pgoff + ((f->addr - vma->start) >> PAGE_SHIFT);
	/* the neighbours come first, also when the page itself cannot be had; SysV segments have none */
	if (!write && !(vma->extra && vma->extra->shm))
		map_around(f, &slot);
	err = cache_get(inode, vma->file, index, how_to_get(f), &page);
	if (err == -SAMARA_EAGAIN)
		return fault_await(f, inode, index);
	if (UNLIKELY(err))
		return file_error(f, err);
	err = write && shared ? tell_file(inode, page) : 0;
	if (UNLIKELY(err)) {
		err = file_error(f, err);
	} else if (UNLIKELY(ensure_slot(f, &slot))) {
		err = fault_error(f, -SAMARA_ENOMEM, 0, 0);
	} else if (write && !shared) {
		err = fault_copy_file(f, slot, page);
	} else {
		err = map_page(f, slot, page);
		given = !err;
	}
	page_unlock(vm, page); /* the cache has it as long as it is locked */
	if (!given)
		frame_put(&vm->frames, f->cpu, page);
	return err;
}

/* The first write, since it was last clean, to a page of a shared mapping that is there and read-only. */
SAMARA_INTERNAL int fault_make_writable(struct fault *f, uint64_t *slot, uint64_t seen)
{
	struct samara *vm = f->mm->vm;
	struct table *table = &f->mm->table;
	struct samara_inode *inode = f->vma->file->inode;
	struct frame *lock = table_lock(table, slot), *page;
	int err;

	if (*slot != seen) {
		table_unlock(table, lock);
		return FAULT_RETRY;
	}
	page = entry_frame(table, seen);
	frame_get(&vm->frames, page);
	table_unlock(table, lock);
	if (!page_trylock(vm, page)) {
		if (comes_again(f)) {
			err = fault_await(f, inode, page->index);
			frame_put(&vm->frames, f->cpu, page);
			return err;
		}
		err = page_lock_killable(vm, page);
		if (err) {
			frame_put(&vm->frames, f->cpu, page);
			return fault_error(f, err, 0, 0);
		}
	}
	err = FAULT_RETRY;
	if (cache_page_here(inode, page, page->index)) {
		err = tell_file(inode, page);
		if (err) {
			err = file_error(f, err);
		} else {
			if (inode_has_backing(inode)) /* of shared memory the entry knows, as where mprotect made it writable at once */
				cache_mark_dirty(page);
			lock = table_lock(table, slot);
			if (entry_present(*slot) && entry_frame(table, *slot) == page)
				table_install(table, lock, slot, 0,
					*slot | table_rights_bits(table, TABLE_WRITE | TABLE_DIRTY | TABLE_ACCESSED));
			table_unlock(table, lock);
		}
	}
	page_unlock(vm, page);
	frame_put(&vm->frames, f->cpu, page);
	return err;
}
