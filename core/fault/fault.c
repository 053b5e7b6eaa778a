/* fault.c - a page fault, from the access that missed to the entry that answers it.
 *
 *   samara_fault            the VMA, found and locked by itself; or, when that is not enough, under mmap_lock
 *     fault_in_vma          rights, the place in the page table, history; then by what stands there and what is wanted:
 *
 *     in the table   | mapping            | read                         | write
 *     ---------------+--------------------+------------------------------+-------------------------------------------
 *     nothing        | anonymous          | the page of zeroes           | a zeroed frame
 *     nothing        | file, private      | the file's page, read-only   | a copy of the file's page
 *     nothing        | file, shared       | the file's page              | the file's page, told (page_mkwrite), dirty
 *     guard marker   | any                | SIGSEGV                      | SIGSEGV
 *     a page, no     | private            | (rights came meanwhile)      | reuse it when nobody else has it, else copy
 *     write          | shared             | (rights came meanwhile)      | told, dirty, writable
 *
 * What is held.  The VMA's own lock for reading, or mmap_lock (either side): so the VMA stays, and no page of the page
 * table that covers it can go.  Entries change under the lock of their page of the table, which is never held over an
 * allocation or a callback: everything is prepared first, then the entry is looked at again under the lock, and if it is
 * not what it was, somebody was faster and the access is made again.  A file's page is locked from before its lookup is
 * trusted until its entry stands, which is what truncate waits for.
 *
 * A page that somebody else reads, writes back, or has locked, is waited for with nothing held (FAULT_WAIT), and the
 * access is made again; or it is the caller's to come again (SAMARA_NOWAIT: -EAGAIN).  Populate waits under its lock.
 * Who reads a page himself does so with the VMA held.
 *
 * mmap_lock is needed for three things: a VMA that is changing at this moment, the first page of a private mapping (its
 * anonymous history depends on its neighbours), and growing a stack.
 */
#include "core/fault/fault.h"

SAMARA_INTERNAL int fault_error(struct fault *f, int error, int signo, int code)
{
	if (f->why)
		*f->why = (struct samara_signal){ .error = error, .signo = signo, .code = code, .addr = f->addr };
	return error;
}

static bool is_private(const vma_t *vma)
{
	return !(vma->flags & (VM_SHARED | VM_MAYSHARE));
}

/* Does the VMA allow the access?  As the processor sees it: what may be written or executed may be read. */
static bool rights_allow(const struct fault *f)
{
	uint64_t flags = f->vma->flags;

	if (f->access & SAMARA_WRITE)
		return (flags & VM_WRITE) || ((f->access & SAMARA_FORCE) && is_private(f->vma) && (flags & VM_MAYWRITE));
	if (f->access & SAMARA_EXEC)
		return flags & VM_EXEC;
	return (flags & VM_ACCESS) || ((f->access & SAMARA_FORCE) && (flags & VM_MAYREAD));
}

/* A page of the VMA's own is about to come: its history must be there. */
static int need_history(struct fault *f)
{
	if (LIKELY(LOAD_ACQUIRE(f->vma->anon_id)))
		return 0;
	if (!f->map_locked)
		return FAULT_MAP_LOCK;
	return anon_prepare(f->mm, f->vma) ? fault_error(f, -SAMARA_ENOMEM, 0, 0) : 0;
}

/* The entry allows the access already.  A processor that leaves accessed and dirty to software (RISC-V without Svadu)
 * faults until they are set. */
static int fault_mark(const struct fault *f, uint64_t *slot, uint64_t seen)
{
	struct table *table = &f->mm->table;
	uint64_t marks = table->format.accessed | table->format.dirty;
	struct frame *lock = table_lock(table, slot);
	uint64_t entry = LOAD(*slot);

	if (!((entry ^ seen) & ~marks))
		table_mark(table, slot, entry, f->access & SAMARA_WRITE);
	table_unlock(table, lock);
	return 0;
}

static int key_error(struct fault *f)
{
	(void)fault_error(f, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_PKUERR);
	if (f->why)
		f->why->pkey = (int)vma_pkey(f->vma);
	return -SAMARA_EFAULT;
}

/* The place in the page table, with all pages of it on the way; NULL: the page of entries itself is missing, which comes
 * together with the file's page, as Linux has it (VmPTE: what ends in SIGBUS leaves none). */
static int find_slot(struct fault *f, uint64_t **slot)
{
	struct table *table = &f->mm->table;
	struct table_spot spot;
	uint64_t *above;

	if (LIKELY(vma_is_anonymous(f->vma)))
		return table_ensure(table, f->cpu, f->addr, 0, slot);
	spot = table_walk(table, f->addr);
	*slot = spot.level ? NULL : spot.slot;
	return spot.level ? table_ensure(table, f->cpu, f->addr, 1, &above) : 0;
}

SAMARA_INTERNAL int fault_in_vma(struct fault *f)
{
	bool write = f->access & SAMARA_WRITE;
	uint64_t *slot, entry;
	int err;

	if (UNLIKELY(vma_pkey(f->vma)) && !f->any_key && pkey_forbids(f->mm, vma_pkey(f->vma), write))
		return key_error(f); /* before rights: Linux names the key even where the mapping would not allow it */
	if (UNLIKELY(!rights_allow(f)))
		return fault_error(f, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_ACCERR);
	err = find_slot(f, &slot);
	if (UNLIKELY(err))
		return fault_error(f, err, 0, 0);
	entry = slot ? LOAD_ACQUIRE(*slot) : 0;
	if (UNLIKELY(entry && !entry_present(entry)))
		return fault_error(f, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR);
	if (is_private(f->vma) && (write || read_gives_page(f->mm, f->vma))) {
		err = need_history(f);
		if (UNLIKELY(err))
			return err;
	}
	if (LIKELY(!entry))
		return vma_is_anonymous(f->vma) ? fault_anonymous(f, slot) : fault_file(f, slot);
	if (write && !(entry_rights(&f->mm->table, entry) & TABLE_WRITE))
		return is_private(f->vma) ? fault_copy(f, slot, entry) : fault_make_writable(f, slot, entry);
	return fault_mark(f, slot, entry);
}

/* In the hole under a stack, or below every mapping of it: the stack grows, and the page comes under the read side that
 * the write side becomes. */
static int fault_grow_stack(struct fault *f)
{
	struct samara_mm *mm = f->mm;
	struct samara_write_guard w;
	struct samara_read_guard r;
	int err;

	if (samara_write_lock_killable(mm, &w))
		return fault_error(f, -SAMARA_EINTR, 0, 0);
	/* it was unlocked in between: look again */
	f->vma = mm_find(mm, f->addr);
	err = !f->vma ? -SAMARA_EFAULT : f->vma->start <= f->addr ? 0 : mm_expand_stack(mm, f->vma, f->addr);
	if (err) {
		samara_write_unlock(&w);
		return fault_error(f, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR);
	}
	samara_write_downgrade(&w, &r);
	err = fault_in_vma(f);
	samara_read_unlock(&r);
	return err;
}

static int fault_map_locked(struct fault *f)
{
	struct samara_read_guard r;
	bool hole, grows;
	int err = 0;

	if (samara_read_lock_killable(f->mm, &r))
		return fault_error(f, -SAMARA_EINTR, 0, 0);
	f->vma = mm_find(f->mm, f->addr);
	f->map_locked = true;
	hole = !f->vma || f->vma->start > f->addr;
	grows = f->vma && (f->vma->flags & VM_GROWSDOWN);
	if (!hole)
		err = fault_in_vma(f);
	samara_read_unlock(&r);
	if (!hole)
		return err;
	return grows ? fault_grow_stack(f) : fault_error(f, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR);
}

SAMARA_INTERNAL int fault_await(struct fault *f, struct samara_inode *inode, uint64_t index)
{
	if (!f->may_leave || (f->access & SAMARA_NOWAIT) || !mm_port(f->mm)->wait)
		return fault_error(f, -SAMARA_EAGAIN, 0, 0);
	samara_inode_get(inode);
	f->awaited = inode;
	f->awaited_index = index;
	return FAULT_WAIT;
}

/* No lock is held.  The access is made again afterwards, whatever came: it meets the page, or the error; unless the
 * thread is to end. */
SAMARA_INTERNAL int fault_wait(struct fault *f)
{
	struct frame *page;
	/* its lock is what was taken, or what a read holds */
	int err = cache_get(f->awaited, NULL, f->awaited_index, CACHE_LOCK | CACHE_KILLABLE, &page);

	if (!err) {
		page_unlock(f->mm->vm, page);
		frame_put(&f->mm->vm->frames, f->cpu, page);
	}
	samara_inode_put(f->awaited);
	return err == -SAMARA_EINTR ? fault_error(f, err, 0, 0) : FAULT_RETRY;
}

/* The page cache may give up what this very access fetched: it is not tried for ever. */
#define ROOM_TRIES 4

static int fault_once(struct fault *f)
{
	struct samara_mm *mm = f->mm;
	int err = FAULT_MAP_LOCK;

	f->map_locked = false;
	f->vma = vma_find_locked(mm, f->addr);
	if (LIKELY(f->vma)) {
		err = fault_in_vma(f);
		vma_unlock_read(mm, f->vma);
	}
	if (err == FAULT_MAP_LOCK)
		err = fault_map_locked(f);
	return UNLIKELY(err == FAULT_WAIT) ? fault_wait(f) : err;
}

int samara_fault(struct samara_mm *mm, samara_va addr, unsigned access, struct samara_signal *why)
{
	struct fault f = { .mm = mm, .addr = addr, .access = access, .why = why, .may_leave = true,
		.any_key = access & (SAMARA_EXEC | SAMARA_FORCE) };
	int err;

	if (!mm_has_memory(mm))
		return fault_error(&f, -SAMARA_ENOSYS, 0, 0);
	if (addr >= mm->layout.task_size)
		return fault_error(&f, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR);
	f.cpu = vm_cpu(mm->vm);
	err = fault_once(&f);
	/* nothing is held now: dirty pages may be written to make room */
	for (int i = 0; UNLIKELY(err == -SAMARA_ENOMEM) && !(access & SAMARA_NOWAIT) && i < ROOM_TRIES; i++) {
		if (!cache_make_room(mm->vm, NULL))
			break;
		(void)fault_error(&f, 0, 0, 0);
		err = fault_once(&f);
	}
	return err == FAULT_RETRY ? 0 : err;
}

/* One page of a range that is populated. */
static int populate_page(struct fault *f, uint64_t addr)
{
	int err;

	f->addr = addr;
	do
		err = fault_in_vma(f);
	while (err == FAULT_RETRY);
	return err;
}

/* A page that is there already and is populated for writing counts as written to: the page, not the entry. */
static void mark_written(struct samara_mm *mm, uint64_t *slot)
{
	struct table *table = &mm->table;
	struct frame *lock = table_lock(table, slot), *frame;
	uint64_t entry = *slot;

	if (entry_present(entry) && pfn_in_span(table->frames, entry_pfn(table, entry))) {
		frame = entry_frame(table, entry);
		if (frame->kind == FRAME_FILE)
			cache_mark_dirty(frame);
		else if (frame->kind == FRAME_ANON)
			__atomic_or_fetch(&frame->marks, PAGE_DIRTY, __ATOMIC_RELAXED);
	}
	table_unlock(table, lock);
}

/* MAP_POPULATE, mlock, MADV_POPULATE_*: [start, end) lies in the VMA.  mmap_lock held, either side. */
SAMARA_INTERNAL int fault_populate(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, unsigned access)
{
	struct fault f = { .mm = mm, .vma = vma, .access = access, .cpu = vm_cpu(mm->vm), .map_locked = true,
		.any_key = true };
	unsigned need = access & SAMARA_WRITE && vma->flags & VM_WRITE ? TABLE_USER | TABLE_WRITE : TABLE_USER;

	if (!(vma->flags & VM_ACCESS))
		need = 0;
	for (uint64_t addr = start; addr < end; addr += PAGE_SIZE) {
		struct table_spot spot = table_walk(&mm->table, addr);
		int err;

		if (fatal_signal_pending(mm->vm))
			return -SAMARA_EINTR;
		if (entry_present(spot.entry) && !(need & ~entry_rights(&mm->table, spot.entry))) {
			if ((access & SAMARA_WRITE) && !(spot.entry & mm->table.format.dirty))
				mark_written(mm, spot.slot);
			continue;
		}
		if (!spot.entry && vma_is_anonymous(vma) && (access & SAMARA_WRITE)) {
			err = fault_anonymous_many(&f, addr, end, &addr);
			if (!err) {
				addr -= PAGE_SIZE;
				continue;
			}
		} else {
			err = populate_page(&f, addr);
		}
		if (err)
			return err;
	}
	return 0;
}
