/* pin.c - pages for the embedder: get_user_pages, and copying by it.
 *
 * A page is followed under the lock of its VMA: the VMA's rights decide (a processor may read what is only writable;
 * this may not), the entry is looked at under its lock, and where it will not do, the fault is made and the page
 * followed again.  Taking a reference under that lock is safe: the entry's own reference is still there.
 *
 * A pin on a page that others have, too, makes it the space's own first, for reading as well (unshare: a copy, clean and
 * without the right to write); with SAMARA_LONGTERM also one that belongs to a file, or the page of zeroes.  After that
 * the entry and the pin name the same frame until the mapping goes: a write finds the frame exclusive (pins do not count
 * against it), and fork copies for the child.
 */
#include "core/fault/fault.h"

static bool private_mapping(const vma_t *vma)
{
	return !(vma->flags & (VM_SHARED | VM_MAYSHARE));
}

struct follow {
	struct fault fault;
	unsigned how;
	bool pin;            /* else a reference for a copy */
	bool unshare;        /* a page is there that is not the space's own, and must become so */
	struct frame *frame; /* found: with a reference, and a pin if asked for */
};

/* May the embedder have pages of this VMA, this way?  A copy is made by somebody else, to whom keys say nothing. */
static bool pin_allowed(const struct follow *w)
{
	const vma_t *vma = w->fault.vma;
	bool force = w->how & SAMARA_FORCE, write = w->how & SAMARA_WRITE;

	if (vma->flags & (VM_IO | VM_PFNMAP))
		return false;
	if (w->pin && !force && pkey_forbids(w->fault.mm, vma_pkey(vma), write))
		return false;
	if (write)
		return (vma->flags & VM_WRITE) || (force && private_mapping(vma) && (vma->flags & VM_MAYWRITE));
	return (vma->flags & VM_READ) || (force && (vma->flags & VM_MAYREAD));
}

/* What the entry names, if it will do.  Its page of the table is locked. */
static bool usable(const struct follow *w, uint64_t entry, const struct frame *frame)
{
	const struct samara_mm *mm = w->fault.mm;
	const vma_t *vma = w->fault.vma;
	bool own = (entry & mm->table.format.own) || frame_is_exclusive(frame);

	if (frame == mm->vm->zero_page)
		return !(w->how & SAMARA_WRITE) && !(w->pin && (w->how & SAMARA_LONGTERM));
	if (w->how & SAMARA_WRITE) {
		if (!(entry & mm->table.format.write) && !((w->how & SAMARA_FORCE) && private_mapping(vma) && own))
			return false;
		return !private_mapping(vma) || !w->pin || own;
	}
	if (!w->pin || !private_mapping(vma) || own)
		return true;
	return frame->kind != FRAME_ANON && !(w->how & SAMARA_LONGTERM);
}

static bool follow_entry(struct follow *w)
{
	struct samara_mm *mm = w->fault.mm;
	struct table *table = &mm->table;
	struct table_spot spot = table_walk(table, w->fault.addr);
	struct frame *lock, *frame;
	uint64_t entry;
	bool found = false;

	if (!entry_present(spot.entry))
		return false;
	lock = table_lock(table, spot.slot);
	entry = *spot.slot;
	if (entry_present(entry) && pfn_in_span(&mm->vm->frames, entry_pfn(table, entry))) {
		frame = entry_frame(table, entry);
		found = usable(w, entry, frame);
		w->unshare = !found && w->pin && private_mapping(w->fault.vma);
		if (found) {
			frame_get(&mm->vm->frames, frame);
			if (w->pin)
				__atomic_add_fetch(&frame->pins, 1, __ATOMIC_RELAXED);
			if (w->how & SAMARA_WRITE)
				table_mark(table, spot.slot, entry, true);
			w->frame = frame;
		}
	}
	table_unlock(table, lock);
	return found;
}

/* What to fault for, so that the entry will do. */
static unsigned access_for(const struct follow *w)
{
	const vma_t *vma = w->fault.vma;
	unsigned access = w->how & (SAMARA_WRITE | SAMARA_NOWAIT | SAMARA_FORCE);
	bool own = w->unshare || (vma_is_anonymous(vma) && (w->how & SAMARA_LONGTERM));

	if (w->pin && private_mapping(vma) && own && (vma->flags & VM_MAYWRITE))
		access |= SAMARA_WRITE | SAMARA_FORCE;
	return access & SAMARA_WRITE ? access : access | SAMARA_READ;
}

/* The VMA is held.  0 and w->frame, or an error. */
static int follow_page(struct follow *w)
{
	if (!pin_allowed(w))
		return fault_error(&w->fault, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_ACCERR);
	while (!follow_entry(w)) {
		int err;

		w->fault.access = access_for(w);
		w->fault.unshare = (w->fault.access & SAMARA_WRITE) && !(w->how & SAMARA_WRITE);
		err = fault_in_vma(&w->fault);
		if (err && err != FAULT_RETRY)
			return err;
	}
	return 0;
}

static int follow_once(struct follow *w)
{
	struct samara_mm *mm = w->fault.mm;
	struct samara_read_guard r;
	int err = FAULT_MAP_LOCK;

	w->fault.map_locked = false;
	w->fault.vma = vma_find_locked(mm, w->fault.addr);
	if (w->fault.vma) {
		err = follow_page(w);
		vma_unlock_read(mm, w->fault.vma);
	}
	if (err != FAULT_MAP_LOCK)
		return err;
	if (samara_read_lock_killable(mm, &r))
		return fault_error(&w->fault, -SAMARA_EINTR, 0, 0);
	w->fault.vma = tree_get(&mm->tree, w->fault.addr);
	w->fault.map_locked = true;
	err = w->fault.vma ? follow_page(w) : fault_error(&w->fault, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR);
	samara_read_unlock(&r);
	return err;
}

/* The frame of the page that holds `addr`, with a reference (and a pin). */
static int get_page(struct samara_mm *mm, uint64_t addr, unsigned how, bool pin, struct frame **out, struct samara_signal *why)
{
	struct follow w = { .fault = { .mm = mm, .addr = addr, .why = why, .cpu = vm_cpu(mm->vm), .any_key = true, .may_leave = true },
		.how = how, .pin = pin };
	int err;

	if (addr >= mm->layout.task_size)
		return fault_error(&w.fault, -SAMARA_EFAULT, SAMARA_SIGSEGV, SAMARA_SEGV_MAPERR);
	if (fatal_signal_pending(mm->vm))
		return fault_error(&w.fault, -SAMARA_EINTR, 0, 0);
	do {
		err = follow_once(&w);
		if (err == FAULT_WAIT)
			err = fault_wait(&w.fault);
		/* /proc/PID/mem and ptrace(2) let a stack grow, pins do not */
		else if (!w.fault.vma && err == -SAMARA_EFAULT && (how & SAMARA_FORCE) && !pin && !samara_expand_stack(mm, addr))
			err = FAULT_RETRY;
	} while (err == FAULT_RETRY);
	*out = w.frame;
	return err;
}

/* The page counts as written to, not an entry (MADV_FREE asks).  A file's may have left it meanwhile: then nobody wants
 * to know. */
static void pin_written(struct samara *vm, struct frame *frame)
{
	if (frame->kind == FRAME_ANON)
		__atomic_or_fetch(&frame->marks, PAGE_DIRTY, __ATOMIC_RELAXED);
	if (frame->kind != FRAME_FILE)
		return;
	page_lock(vm, frame);
	if (frame->owner)
		cache_mark_dirty(frame);
	page_unlock(vm, frame);
}

static size_t copy_pages(struct samara_mm *mm, uint64_t addr, void *to, const void *from, size_t bytes, unsigned how,
	struct samara_signal *why)
{
	size_t done = 0;

	if (why)
		*why = (struct samara_signal){ 0 };
	if (!mm_has_memory(mm) || (how & ~(unsigned)(SAMARA_NOWAIT | SAMARA_FORCE))) {
		if (why)
			why->error = mm_has_memory(mm) ? -SAMARA_EINVAL : -SAMARA_ENOSYS;
		return 0;
	}
	while (done < bytes) {
		size_t now = MIN(bytes - done, PAGE_SIZE - (addr & ~PAGE_MASK));
		struct frame *frame;
		uint8_t *host;

		if (get_page(mm, addr, how | (from ? SAMARA_WRITE : SAMARA_READ), false, &frame, why))
			break;
		host = (uint8_t *)frame_host(&mm->vm->frames, frame) + (addr & ~PAGE_MASK);
		if (to) {
			guest_copy((uint8_t *)to + done, host, now);
		} else {
			guest_copy(host, (const uint8_t *)from + done, now);
			pin_written(mm->vm, frame);
		}
		frame_put(&mm->vm->frames, vm_cpu(mm->vm), frame);
		done += now;
		addr += now;
	}
	return done;
}

size_t samara_copy_from(struct samara_mm *mm, samara_va addr, void *to, size_t bytes, unsigned how, struct samara_signal *why)
{
	return copy_pages(mm, addr, to, NULL, bytes, how, why);
}

size_t samara_copy_to(struct samara_mm *mm, samara_va addr, const void *from, size_t bytes, unsigned how, struct samara_signal *why)
{
	return copy_pages(mm, addr, NULL, from, bytes, how, why);
}

int64_t samara_pin(struct samara_mm *mm, samara_va addr, size_t count, unsigned how, struct samara_page *out)
{
	size_t got;

	if (!mm_has_memory(mm))
		return -SAMARA_ENOSYS;
	if (!count || (how & ~(unsigned)(SAMARA_READ | SAMARA_WRITE | SAMARA_FORCE | SAMARA_NOWAIT | SAMARA_LONGTERM)))
		return -SAMARA_EINVAL;
	addr &= PAGE_MASK;
	for (got = 0; got < count; got++, addr += PAGE_SIZE) {
		struct frame *frame;
		int err = get_page(mm, addr, how, true, &frame, NULL);

		if (err)
			return got ? (int64_t)got : err;
		out[got] = (struct samara_page){ frame_host(&mm->vm->frames, frame), frame_pfn(&mm->vm->frames, frame) };
	}
	return (int64_t)got;
}

void samara_unpin(struct samara *vm, const struct samara_page *pages, size_t count, int dirty)
{
	for (size_t i = 0; i < count; i++) {
		struct frame *frame = pfn_frame(&vm->frames, pages[i].pfn);

		if (dirty)
			pin_written(vm, frame);
		ASSERT(LOAD(frame->pins));
		__atomic_sub_fetch(&frame->pins, 1, __ATOMIC_RELAXED);
		frame_put(&vm->frames, vm_cpu(vm), frame);
	}
}

int64_t samara_pin_iovec(struct samara_mm *mm, samara_va addr, uint64_t bytes, unsigned how, struct samara_host_iovec *iov,
	size_t *pieces, struct samara_page *pages, size_t *pinned, size_t room)
{
	uint64_t covered = 0, first = addr & ~PAGE_MASK;
	int64_t got;

	*pieces = *pinned = 0;
	if (!bytes)
		return 0;
	if (addr + bytes < addr)
		return -SAMARA_EINVAL;
	got = samara_pin(mm, addr, MIN((uint64_t)room, ((first + bytes - 1) >> PAGE_SHIFT) + 1), how, pages);
	if (got < 0)
		return got;
	*pinned = (size_t)got;
	for (int64_t i = 0; i < got; i++) {
		uint8_t *base = (uint8_t *)pages[i].host + (i ? 0 : first);
		uint64_t length = MIN(bytes - covered, PAGE_SIZE - (i ? 0 : first));

		if (*pieces && (uint8_t *)iov[*pieces - 1].base + iov[*pieces - 1].length == base)
			iov[*pieces - 1].length += length;
		else
			iov[(*pieces)++] = (struct samara_host_iovec){ base, length };
		covered += length;
	}
	return (int64_t)covered;
}
