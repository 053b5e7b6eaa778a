/* check.c - the invariants of a page table (table.h), by a walk over all of it.
 */
#include "core/table/table.h"

struct table_tally {
	struct table *table;
	uint32_t pages, huge;
};

static int tally_page(struct table_tally *tally, const uint64_t *entries, unsigned level)
{
	const struct table *t = tally->table;
	const struct frame *page = host_frame(t->frames, entries);
	unsigned used = 0;

	if (page->kind != FRAME_TABLE || page->owner != t || page->level != level || page->order || frame_refs(page) != 1)
		return 1;
	if (page->lock)
		return 4;
	tally->pages++;
	for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
		uint64_t entry = entries[i];
		int broken;

		used += entry != 0;
		if (!entry || level == 0)
			continue;
		if (!entry_present(entry))
			return 3;
		if (entry_leaf(t, entry, level)) {
			tally->huge++;
			if (level > TABLE_LEAF_LEVEL_MAX || entry_pfn(t, entry) & ((level_bytes(level) >> FRAME_SHIFT) - 1))
				return 3;
			continue;
		}
		if (!pfn_in_span(t->frames, entry_pfn(t, entry)))
			return 1;
		broken = tally_page(tally, entry_page(t, entry), level - 1);
		if (broken)
			return broken;
	}
	return used == page->used ? 0 : 2;
}

SAMARA_INTERNAL int table_check(struct table *t)
{
	struct table_tally tally = { .table = t };
	int broken = tally_page(&tally, t->root, t->format.levels - 1u);

	if (broken)
		return broken;
	if (tally.huge != t->huge)
		return 3;
	/* pages in a gather that is not flushed are owned, but not in the table any more */
	return tally.pages == t->pages && frames_owned(t->frames, FRAME_TABLE, t) >= tally.pages ? 0 : 1;
}
