/* copy.c - pages of a private mapping's own: the first touch, and what happens when a page is written to that others
 * may see.
 *
 * A frame of anonymous memory belongs to a family (struct anon) and knows its page offset; entries that map it are
 * counted.  It is written to in place only by a space that alone has it: mapped once, and held otherwise by pins alone,
 * which fork respects by giving the child its copy at once.  The page of zeroes and pages of files are never written to
 * through a private mapping.
 */
#include "core/fault/fault.h"

#define MANY 32

/* A frame for the VMA's own page at `addr`; its one reference becomes the entry's.  NULL: none to be had. */
static struct frame *own_frame(struct fault *f, uint64_t addr, bool zero)
{
	struct samara *vm = f->mm->vm;
	struct frame *frame = frame_alloc(&vm->frames, f->cpu, FRAME_ANON, f->vma->anon, zero);

	if (UNLIKELY(!frame) && fault_reclaim(vm))
		frame = frame_alloc(&vm->frames, f->cpu, FRAME_ANON, f->vma->anon, zero);
	if (LIKELY(frame))
		frame->index = f->vma->pgoff + ((addr - f->vma->start) >> PAGE_SHIFT);
	return frame;
}

/* Frames are short: file pages that nobody needs go, and what waits for readers is waited for. */
SAMARA_INTERNAL bool fault_reclaim(struct samara *vm)
{
	return cache_reclaim(vm, MANY) > 0;
}

static uint64_t own_entry(const struct fault *f, const struct frame *frame, bool written)
{
	unsigned rights = TABLE_ACCESSED | TABLE_OWN;

	if (UNLIKELY(f->unshare))
		return fault_entry(f, frame, rights);
	if (f->vma->flags & VM_WRITE)
		rights |= TABLE_WRITE | TABLE_DIRTY;
	else if (written)
		rights |= TABLE_DIRTY; /* forced */
	return fault_entry(f, frame, rights);
}

/* `entry` at a slot where nothing stands. */
static bool install_if_empty(struct fault *f, uint64_t *slot, uint64_t entry)
{
	struct table *table = &f->mm->table;
	struct frame *page = table_lock(table, slot);
	bool empty = !*slot;

	if (LIKELY(empty))
		table_install(table, page, slot, 0, entry);
	table_unlock(table, page);
	return empty;
}

SAMARA_INTERNAL int fault_anonymous(struct fault *f, uint64_t *slot)
{
	struct samara *vm = f->mm->vm;
	bool write = f->access & SAMARA_WRITE;
	struct frame *frame;

	if (!write && !vm->config.no_zero_page)
		return install_if_empty(f, slot, fault_entry(f, vm->zero_page, TABLE_ACCESSED)) ? 0 : FAULT_RETRY;
	frame = own_frame(f, f->addr, true);
	if (UNLIKELY(!frame))
		return fault_error(f, -SAMARA_ENOMEM, 0, 0);
	/* nobody sees the frame yet: its first mapping is a plain store */
	frame->count = FRAME_ONE_MAP + 1;
	if (UNLIKELY(!install_if_empty(f, slot, own_entry(f, frame, write)))) {
		frame->count = 1;
		frame_put(&vm->frames, f->cpu, frame);
		return FAULT_RETRY;
	}
	mm_count(f->mm, f->cpu, COUNT_ANON, 1);
	return 0;
}

/* First touches of [addr, end) as far as one page of the table reaches and nothing stands there: *next is where it
 * stopped. */
SAMARA_INTERNAL int fault_anonymous_many(struct fault *f, uint64_t addr, uint64_t end, uint64_t *next)
{
	struct frames *frames = &f->mm->vm->frames;
	struct table *table = &f->mm->table;
	struct frame *own[MANY], *page;
	unsigned want, got, used = 0;
	uint64_t *slot;
	int err = 0;

	f->addr = addr;
	if (!LOAD_ACQUIRE(f->vma->anon_id)) {
		err = anon_prepare(f->mm, f->vma);
		if (err)
			return fault_error(f, err, 0, 0);
	}
	err = table_ensure(table, f->cpu, addr, 0, &slot);
	if (err)
		return fault_error(f, err, 0, 0);
	end = MIN(end, level_next(addr, 1, end));
	want = (unsigned)MIN((uint64_t)MANY, (end - addr) >> PAGE_SHIFT);
	for (got = 1; got < want && !LOAD(slot[got]);)
		got++;
	want = got;
	got = frame_alloc_batch(frames, f->cpu, FRAME_ANON, f->vma->anon, true, own, want);
	if (!got) {
		own[0] = own_frame(f, addr, true);
		if (!own[0])
			return fault_error(f, -SAMARA_ENOMEM, 0, 0);
		got = 1;
	}
	for (unsigned i = 0; i < got; i++) {
		own[i]->index = f->vma->pgoff + ((addr - f->vma->start) >> PAGE_SHIFT) + i;
		own[i]->count = FRAME_ONE_MAP + 1;
	}
	page = table_lock(table, slot);
	while (used < got && !slot[used]) {
		table_install(table, page, slot + used, 0, own_entry(f, own[used], true));
		used++;
	}
	table_unlock(table, page);
	for (unsigned i = used; i < got; i++) {
		own[i]->count = 1;
		frame_put(frames, f->cpu, own[i]);
	}
	mm_count(f->mm, f->cpu, COUNT_ANON, used);
	*next = addr + ((uint64_t)used << PAGE_SHIFT);
	return 0;
}

/* Nobody but this entry, and pins that came through it, has the frame. */
SAMARA_INTERNAL bool frame_is_exclusive(const struct frame *frame)
{
	uint64_t count = LOAD(frame->count);

	return LOAD(frame->kind) == FRAME_ANON && count >> 32 == 1 && (uint32_t)count == 1 + LOAD(frame->pins);
}

static void copy_tell_port(void *self, const struct table_change *changes, unsigned count)
{
	const struct samara_port *port = mm_port(self);

	port->changed(port->self, self, changes, count);
}

/* The entry that names `old` names `frame` instead, with the same bytes.  False: it has changed meanwhile.  The bytes are
 * copied with the page of the table locked, as those of a load or a store are: else the old frame must be held. */
static bool copy_and_replace(struct fault *f, uint64_t *slot, uint64_t seen, struct frame *old, struct frame *frame)
{
	struct samara *vm = f->mm->vm;
	struct table *table = &f->mm->table;
	const struct table_sink *usual = &f->mm->sink;
	const struct table_sink keeping = { .self = f->mm, .invalidate = usual->invalidate,
		.changed = usual->journal ? copy_tell_port : NULL, .journal = usual->journal };
	struct frame *page = table_lock(table, slot);
	bool same = entry_present(*slot) && !((*slot ^ seen) & (table->format.pfn_mask | table->format.write));
	bool own = LOAD(old->kind) == FRAME_ANON; /* a page becomes another of the same kind: resident counts stay */
	struct table_change changes[1];
	struct table_gather g;

	gather_begin(&g, table, own ? &keeping : usual, changes, 1, f->cpu);
	if (LIKELY(same)) {
		if (old != vm->zero_page)
			guest_copy_page(frame_host(&vm->frames, frame), frame_host(&vm->frames, old));
		(void)table_clear_one(&g, slot, f->addr & PAGE_MASK, 0);
		table_install(table, page, slot, 0, own_entry(f, frame, true));
	}
	table_unlock(table, page);
	gather_flush(&g); /* a file's page is let go of here */
	if (UNLIKELY(!same))
		return false;
	if (LIKELY(own))
		frame_unmap(&vm->frames, f->cpu, old);
	else
		mm_count(f->mm, f->cpu, COUNT_ANON, 1);
	return true;
}

/* The page is the entry's alone: it may be written to where it is. */
static int reuse(struct fault *f, uint64_t *slot, uint64_t seen)
{
	struct table *table = &f->mm->table;
	unsigned write = TABLE_DIRTY | TABLE_ACCESSED | (f->vma->flags & VM_WRITE ? TABLE_WRITE : 0);
	unsigned rights = TABLE_OWN | (f->unshare ? 0 : write);
	struct frame *page = table_lock(table, slot);
	bool same = *slot == seen && ((seen & table->format.own) || frame_is_exclusive(entry_frame(table, seen)));

	if (LIKELY(same))
		table_install(table, page, slot, 0, seen | table_rights_bits(table, rights));
	table_unlock(table, page);
	return same ? 0 : FAULT_RETRY;
}

/* A write to a page of a private mapping that is not writable: copy on write, or reuse.  Which, is looked at before the
 * lock is taken, and what was seen then must still stand under it. */
SAMARA_INTERNAL int fault_copy(struct fault *f, uint64_t *slot, uint64_t seen)
{
	struct samara *vm = f->mm->vm;
	struct frame *old = entry_frame(&f->mm->table, seen), *frame;

	if ((seen & f->mm->table.format.own) || frame_is_exclusive(old))
		return reuse(f, slot, seen);
	frame = own_frame(f, f->addr, old == vm->zero_page);
	if (UNLIKELY(!frame))
		return fault_error(f, -SAMARA_ENOMEM, 0, 0);
	frame->count = FRAME_ONE_MAP + 1;
	if (LIKELY(copy_and_replace(f, slot, seen, old, frame)))
		return 0;
	frame->count = 1;
	frame_put(&vm->frames, f->cpu, frame);
	return FAULT_RETRY;
}

/* The VMA's own copy of a file's page, which the caller holds; `slot` was empty. */
SAMARA_INTERNAL int fault_copy_file(struct fault *f, uint64_t *slot, const struct frame *page)
{
	struct samara *vm = f->mm->vm;
	struct frame *frame = own_frame(f, f->addr, false);

	if (!frame)
		return fault_error(f, -SAMARA_ENOMEM, 0, 0);
	guest_copy_page(frame_host(&vm->frames, frame), frame_host(&vm->frames, page));
	frame->count = FRAME_ONE_MAP + 1;
	if (install_if_empty(f, slot, own_entry(f, frame, true))) {
		mm_count(f->mm, f->cpu, COUNT_ANON, 1);
		return 0;
	}
	frame->count = 1;
	frame_put(&vm->frames, f->cpu, frame);
	return FAULT_RETRY;
}
