/* copy.c - fork: the entries of a range for a second table, write taken away on both sides where the mapping is
 * private.
 *
 * A page of entries at a time: the old page is locked, loses write through the one downgrade, and is then copied as
 * it stands; the counting callback runs over the copy.  The new page is locked too, inside: its frames can be found
 * through the reverse map as soon as they are counted.  Only this and move.c hold two such locks; nobody takes these
 * the other way round, because the new table is younger and its maker is here.
 */
#include "core/table/table.h"

struct copy_op {
	struct table *to;
	struct table_gather *gather;
	table_copy_fn *each;
	void *self;
	bool private;
};

static int copy_run(struct copy_op *op, uint64_t *slot, unsigned count, unsigned level, uint64_t addr)
{
	struct table_gather *g = op->gather;
	struct table *from = g->table, *to = op->to;
	uint64_t *into;
	const struct downgrade shared = { .kind = DOWNGRADE_KEEP, .keep = ~(from->format.write | from->format.own) };
	int err = table_ensure(to, g->cache, addr, level, &into);

	ASSERT(err != -SAMARA_EEXIST);
	while (!err && count) {
		struct frame *page = table_lock(from, slot), *page_to;
		unsigned done = count, used = 0;

		if (level && !entry_leaf(from, *slot, level)) { /* split meanwhile: the caller looks again */
			table_unlock(from, page);
			return 0;
		}
		if (op->private)
			done = range_downgrade(g, &shared, slot, count, level, addr);
		page_to = table_lock(to, into);
		for (unsigned i = 0; i < done; i++) {
			uint64_t entry = LOAD(slot[i]);

			ASSERT(!into[i]);
			if (entry)
				STORE(into[i], entry);
		}
		if (done)
			err = op->each(op->self, addr, level, into, done);
		for (unsigned i = 0; i < done; i++)
			used += into[i] != 0;
		STORE(page_to->used, page_to->used + used);
		if (level)
			__atomic_add_fetch(&to->huge, used, __ATOMIC_RELAXED);
		table_unlock(to, page_to);
		table_unlock(from, page);
		slot += done;
		into += done;
		count -= done;
		addr += (uint64_t)done << level_shift(level);
		if (count)
			gather_flush(g);
	}
	return err;
}

/* A page without entries here is one in the new table, too, as Linux has it (VmPTE). */
static int copy_empty(const struct copy_op *op, unsigned level, uint64_t addr)
{
	uint64_t *slot;

	return table_ensure(op->to, op->gather->cache, addr, level, &slot);
}

static int copy_descend(struct copy_op *op, uint64_t *entries, unsigned level, uint64_t start, uint64_t end)
{
	struct table *from = op->gather->table;
	bool empty = true;

	if (level == 0) {
		if (!LOAD(host_frame(from->frames, entries)->used))
			return copy_empty(op, 0, start);
		return copy_run(op, entries + level_index(start, 0), (unsigned)((end - start) >> FRAME_SHIFT), 0, start);
	}
	for (uint64_t at = start, next; at < end; at = next) {
		uint64_t *slot = entries + level_index(at, level), entry = LOAD_ACQUIRE(*slot);
		int err = 0;

		next = level_next(at, level, end);
		if (!entry)
			continue;
		empty = false;
		if (entry_leaf(from, entry, level)) {
			err = copy_run(op, slot, 1, level, at);
			entry = LOAD_ACQUIRE(*slot);
		}
		if (!err && entry_branch(from, entry, level))
			err = copy_descend(op, entry_page(from, entry), level - 1, at, next);
		if (err)
			return err;
	}
	return empty ? copy_empty(op, level, start) : 0;
}

SAMARA_INTERNAL int table_copy(struct table *to, struct table_gather *g, uint64_t start, uint64_t end, bool private,
	table_copy_fn *each, void *self)
{
	struct copy_op op = { .to = to, .gather = g, .each = each, .self = self, .private = private };
	int err;

	ASSERT(!((start | end) & (FRAME_BYTES - 1)) && start <= end && end <= table_span(g->table));
	ASSERT(to->format.levels == g->table->format.levels && to->format.pfn_mask == g->table->format.pfn_mask);
	if (start == end)
		return 0;
	err = table_split_edges(g, start, end);
	return err ? err : copy_descend(&op, g->table->root, g->table->format.levels - 1u, start, end);
}
