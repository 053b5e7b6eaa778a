/* guard.c - what madvise does to single entries: guard markers, and pages whose contents may be given up (MADV_FREE).
 *
 * The VMA is held by mmap_lock.  A guard marker is a software entry: any access to it is SIGSEGV, it stays over
 * MADV_DONTNEED and fork, and goes with munmap, MADV_GUARD_REMOVE or whatever replaces the mapping.  (madvise(2))
 */
#include "core/fault/fault.h"

/* A page becomes a marker in one step: an access finds the page or the guard. */
SAMARA_INTERNAL int guard_install(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	struct table_change changes[64];
	struct table *table = &mm->table;
	struct table_gather g;
	int err = 0;

	gather_begin(&g, table, &mm->sink, changes, ARRAY_SIZE(changes), vm_cpu(mm->vm));
	for (uint64_t addr = start; addr < end; addr += PAGE_SIZE) {
		struct frame *page;
		uint64_t *slot;

		err = table_ensure(table, g.cache, addr, 0, &slot);
		if (err)
			break;
		page = table_lock(table, slot);
		(void)table_clear_one(&g, slot, addr, 0);
		table_install(table, page, slot, 0, SOFT_GUARD);
		table_unlock(table, page);
		if (g.count == ARRAY_SIZE(changes))
			gather_flush(&g);
	}
	gather_flush(&g);
	return err;
}

typedef void entry_edit(struct samara_mm *mm, struct table_gather *g, uint64_t *slot, uint64_t addr);

/* Every entry of the range that is not zero, its page of the table locked. */
static void edit_entries(struct samara_mm *mm, uint64_t start, uint64_t end, entry_edit *edit)
{
	struct table_change changes[64];
	struct table_gather g;

	gather_begin(&g, &mm->table, &mm->sink, changes, ARRAY_SIZE(changes), vm_cpu(mm->vm));
	for (uint64_t addr = start; addr < end;) {
		struct table_spot spot = table_walk(&mm->table, addr);
		uint64_t next = level_next(addr, MAX(spot.level, 1u), end);
		struct frame *page;

		if (spot.level) {
			addr = level_next(addr, spot.level, end);
			continue;
		}
		next = MIN(next, addr + 32 * PAGE_SIZE);
		page = table_lock(&mm->table, spot.slot);
		for (uint64_t *slot = spot.slot; addr < next; addr += PAGE_SIZE, slot++)
			if (*slot)
				edit(mm, &g, slot, addr);
		table_unlock(&mm->table, page);
		if (g.count > ARRAY_SIZE(changes) / 2)
			gather_flush(&g);
	}
	gather_flush(&g);
}

static void remove_guard(struct samara_mm *mm, struct table_gather *g, uint64_t *slot, uint64_t addr)
{
	(void)mm;
	if (*slot == SOFT_GUARD)
		(void)table_clear_one(g, slot, addr, 0);
}

SAMARA_INTERNAL void guard_remove(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	edit_entries(mm, start, end, remove_guard);
}

/* The entry is clean from here on; a page that was itself made dirty only where nobody else maps it. */
static void give_up(struct samara_mm *mm, struct table_gather *g, uint64_t *slot, uint64_t addr)
{
	uint64_t entry = *slot;
	struct frame *frame;

	if (!entry_present(entry) || !pfn_in_span(mm->table.frames, entry_pfn(&mm->table, entry)))
		return;
	frame = entry_frame(&mm->table, entry);
	if (frame->kind != FRAME_ANON || ((LOAD(frame->marks) & PAGE_DIRTY) && frame_maps(frame) != 1))
		return;
	__atomic_and_fetch(&frame->marks, ~(uint32_t)PAGE_DIRTY, __ATOMIC_RELAXED);
	__atomic_or_fetch(&frame->marks, PAGE_LAZYFREE, __ATOMIC_RELAXED);
	(void)table_drop_one(g, slot, addr, 0, TABLE_DIRTY | TABLE_ACCESSED);
}

SAMARA_INTERNAL void pages_give_up(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	edit_entries(mm, start, end, give_up);
}
