/* zap.c - taking pages away: munmap, MADV_DONTNEED, truncate, exit; taking rights away: mprotect, write-back; moving:
 * mremap.
 *
 * All of it goes through a gather of core/table: entries change under their page's lock, the flush invalidates, and
 * only then does zap_release, below, let go of the frames.  What the hardware marked in an entry is handed on there: a
 * dirty entry of a file's page makes the page dirty, an accessed one makes it referenced.
 */
#include "core/fault/fault.h"

#define ZAP_CHANGES 128
#define ZAP_BATCH 64
#define ZAP_AHEAD 12 /* descriptors that are on their way */

struct zap_batch {
	struct samara_mm *mm;
	struct frame *free[ZAP_BATCH];
	unsigned count, cpu;
	int64_t gone[COUNT_KINDS];
};

static void zap_batch_flush(struct zap_batch *b)
{
	if (b->count)
		frame_release_many(&b->mm->vm->frames, b->cpu, b->free, b->count);
	b->count = 0;
}

static void zap_frame(struct zap_batch *b, struct frame *frame, uint64_t entry)
{
	struct frames *frames = &b->mm->vm->frames;

	if (frame->kind == FRAME_ANON) {
		b->gone[COUNT_ANON]++;
		/* mapped once and held by nobody else: nobody can come to hold it */
		if (LIKELY(LOAD_ACQUIRE(frame->count) == FRAME_ONE_MAP + 1)) {
			STORE(frame->count, 0);
			if (UNLIKELY(b->count == ZAP_BATCH))
				zap_batch_flush(b);
			b->free[b->count++] = frame;
			return;
		}
	} else if (frame->kind == FRAME_FILE) {
		b->gone[LOAD(frame->marks) & PAGE_SHMEM ? COUNT_SHMEM : COUNT_FILE]++;
		if (entry & b->mm->table.format.dirty)
			cache_mark_dirty(frame);
		if ((entry & b->mm->table.format.accessed) && !(LOAD(frame->marks) & PAGE_REFERENCED))
			__atomic_or_fetch(&frame->marks, PAGE_REFERENCED, __ATOMIC_RELAXED);
	}
	frame_unmap(frames, b->cpu, frame);
}

static void zap_release(void *self, const struct table_change *changes, unsigned count)
{
	struct samara_mm *mm = self;
	const struct samara_port *port = mm_port(mm);
	struct frames *frames = &mm->vm->frames;
	struct zap_batch b; /* not as a whole: most flushes are of one entry, and `free` is half a KiB */

	b.mm = mm;
	b.count = 0;
	b.cpu = vm_cpu(mm->vm);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		b.gone[kind] = 0;
	if (port->changed)
		port->changed(port->self, b.mm, changes, count);
	for (unsigned i = 0; i < count; i++) {
		struct frame *frame;
		uint64_t pfn = entry_pfn(&b.mm->table, changes[i].old);

		if (i + ZAP_AHEAD < count && entry_present(changes[i + ZAP_AHEAD].old)) {
			uint64_t ahead = entry_pfn(&b.mm->table, changes[i + ZAP_AHEAD].old);

			if (LIKELY(pfn_in_span(frames, ahead)))
				__builtin_prefetch(pfn_frame(frames, ahead), 1);
		}
		if (!entry_present(changes[i].old) || (changes[i].addr & (TABLE_CHANGE_KEPT | TABLE_CHANGE_MOVED)) ||
		    !pfn_in_span(frames, pfn))
			continue;
		frame = pfn_frame(frames, pfn);
		if (frame != b.mm->vm->zero_page)
			zap_frame(&b, frame, changes[i].old);
	}
	zap_batch_flush(&b);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (b.gone[kind])
			mm_count(b.mm, b.cpu, kind, -b.gone[kind]);
}

static void zap_invalidate(void *self, uint64_t start, uint64_t end)
{
	struct samara_mm *mm = self;

	mm_port(mm)->invalidate(mm_port(mm)->self, mm, start, end);
}

SAMARA_INTERNAL void mm_sink_init(struct samara_mm *mm)
{
	mm->sink = (struct table_sink){ .self = mm, .invalidate = mm_port(mm)->invalidate ? zap_invalidate : NULL,
		.changed = zap_release, .journal = mm_port(mm)->changed != NULL };
}

static void zap_begin(struct table_gather *g, struct samara_mm *mm, struct table_change *changes, unsigned room)
{
	gather_begin(g, &mm->table, &mm->sink, changes, room, vm_cpu(mm->vm));
}

SAMARA_INTERNAL void zap_range(struct samara_mm *mm, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling, enum zap_how how)
{
	struct table_change changes[ZAP_CHANGES];
	struct table_gather g;
	int err;

	if (!mm_has_memory(mm) || start >= end)
		return;
	mm_note_peak(mm);
	zap_begin(&g, mm, changes, ZAP_CHANGES);
	g.keep_soft = how == ZAP_KEEP_GUARDS;
	err = table_unmap(&g, start, end, floor, ceiling);
	gather_flush(&g);
	ASSERT(!err); /* only a huge leaf that must be cut can fail, and there is none */
	(void)err;
}

SAMARA_INTERNAL void zap_all(struct samara_mm *mm)
{
	uint64_t end;

	if (!mm_has_memory(mm))
		return;
	end = MIN(table_span(&mm->table), PAGE_ALIGN(mm->layout.task_size));
	zap_range(mm, 0, end, 0, table_span(&mm->table), ZAP_ALL);
}

/* What the hardware may do in this VMA, apart from writing, which each entry has or has not. */
SAMARA_INTERNAL unsigned fault_rights(const vma_t *vma)
{
	return (vma->flags & VM_ACCESS ? TABLE_USER : 0) | (vma->flags & VM_EXEC ? TABLE_EXEC : 0);
}

SAMARA_INTERNAL void zap_protect(struct samara_mm *mm, const vma_t *vma, uint64_t start, uint64_t end)
{
	struct table_change changes[ZAP_CHANGES];
	struct table_gather g;
	bool shared_memory = (vma->flags & VM_SHARED) && vma->file && !inode_has_backing(vma->file->inode);

	if (!mm_has_memory(mm))
		return;
	zap_begin(&g, mm, changes, ZAP_CHANGES);
	(void)table_protect(&g, start, end, fault_rights(vma) | (vma->flags & VM_WRITE ? TABLE_WRITE : 0), vma_pkey(vma),
		shared_memory);
	gather_flush(&g);
}

SAMARA_INTERNAL void zap_bits(struct samara_mm *mm, uint64_t start, uint64_t end, unsigned rights)
{
	struct table_change changes[ZAP_CHANGES];
	struct table_gather g;

	if (!mm_has_memory(mm))
		return;
	zap_begin(&g, mm, changes, ZAP_CHANGES);
	(void)table_drop_bits(&g, start, end, rights);
	gather_flush(&g);
}

SAMARA_INTERNAL int zap_move_prepare(struct samara_mm *mm, uint64_t from, uint64_t to, uint64_t bytes)
{
	struct table_change changes[ZAP_CHANGES];
	struct table_gather g;
	int err;

	if (!mm_has_memory(mm) || !bytes)
		return 0;
	zap_begin(&g, mm, changes, ZAP_CHANGES);
	err = table_move_prepare(&g, from, to, bytes);
	gather_flush(&g);
	return err;
}

SAMARA_INTERNAL void zap_move(struct samara_mm *mm, uint64_t from, uint64_t to, uint64_t bytes)
{
	struct table_change changes[ZAP_CHANGES];
	struct table_gather g;

	zap_begin(&g, mm, changes, ZAP_CHANGES);
	table_move_commit(&g, from, to, bytes);
	gather_flush(&g);
}

/* -- for the page cache -- */

struct zap_file {
	bool copies;
};

/* Entries of one mapping that name the file's own pages: a private mapping may have copies, which stay. */
static void zap_file_pages(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	struct table_change changes[ZAP_CHANGES];
	struct table_gather g;

	zap_begin(&g, mm, changes, ZAP_CHANGES);
	for (uint64_t addr = start; addr < end; addr += PAGE_SIZE) {
		struct table_spot spot = table_walk(&mm->table, addr);
		struct frame *page;
		uint64_t entry;

		if (spot.level) {
			addr = level_next(addr, spot.level, end) - PAGE_SIZE;
			continue;
		}
		if (!entry_present(spot.entry))
			continue;
		page = table_lock(&mm->table, spot.slot);
		entry = *spot.slot;
		if (entry_present(entry) && pfn_in_span(mm->table.frames, entry_pfn(&mm->table, entry)) &&
		    entry_frame(&mm->table, entry)->kind == FRAME_FILE)
			(void)table_clear_one(&g, spot.slot, addr, 0);
		table_unlock(&mm->table, page);
		if (g.count == ZAP_CHANGES)
			gather_flush(&g);
	}
	gather_flush(&g);
}

static int zap_file_step(void *self, vma_t *vma, uint64_t start, uint64_t end)
{
	const struct zap_file *z = self;
	const struct samara_port *port = mm_port(vma->mm);

	if (port->read_lock)
		port->read_lock(port->self);
	if (z->copies || (LOAD(vma->flags) & VM_SHARED))
		zap_range(vma->mm, start, end, 0, 0, ZAP_KEEP_GUARDS);
	else
		zap_file_pages(vma->mm, start, end);
	if (port->read_unlock)
		port->read_unlock(port->self);
	return 0;
}

SAMARA_INTERNAL void zap_file_range(struct samara_inode *inode, uint64_t first, uint64_t last, bool copies)
{
	struct zap_file z = { copies };

	(void)rmap_file_each(inode, first, last, zap_file_step, &z);
}

static int zap_clean_step(void *self, vma_t *vma, uint64_t addr, uint64_t *slot)
{
	struct table_change changes[1];
	struct table_gather g;
	struct samara_mm *mm = vma->mm;

	if (!(*slot & (mm->table.format.write | mm->table.format.dirty)))
		return 0;
	if (*slot & mm->table.format.dirty)
		*(bool *)self = true;
	zap_begin(&g, mm, changes, 1);
	(void)table_drop_one(&g, slot, addr, 0, TABLE_WRITE | TABLE_DIRTY);
	gather_flush(&g);
	return 0;
}

SAMARA_INTERNAL bool zap_page_clean(struct samara *vm, struct frame *page)
{
	bool dirty = false;

	if (frame_maps(page))
		(void)rmap_frame_each(vm, page, zap_clean_step, &dirty);
	return dirty;
}
