/* move.c - mremap: the entries of a range at another address, whole pages of the table where both addresses are
 * aligned alike.
 *
 * Two passes of one descent.  The first makes everything that can fail: pages for the new range, small leaves where
 * a huge one cannot stand; it moves nothing.  The second moves and cannot fail.  Entries move under the locks of both
 * pages, which nobody else takes together, because both ranges belong to the caller; the old translations go with the
 * flush of the gather.
 */
#include "core/table/table.h"

struct move_op {
	struct table_gather *gather;
	uint64_t offset; /* new address - old address, wrapping */
	bool commit;
};

/* The slot for a whole entry of `level` at the new address, zero; NULL where pages below it are in use. */
static int move_target(struct move_op *op, unsigned level, uint64_t to, uint64_t **slot)
{
	struct table_gather *g = op->gather;
	struct table *t = g->table;
	uint64_t *child;
	struct frame *page;
	int err = table_ensure(t, g->cache, to, level, slot);

	ASSERT(err != -SAMARA_EEXIST);
	if (err || !**slot)
		return err;
	ASSERT(entry_branch(t, **slot, level)); /* nothing is mapped there */
	child = entry_page(t, **slot);
	page = host_frame(t->frames, child);
	if (page->used) {
		*slot = NULL;
		return 0;
	}
	range_detach(g, *slot, level, to);
	__atomic_sub_fetch(&t->pages, 1, __ATOMIC_RELAXED);
	page->next = g->tables;
	g->tables = page;
	return 0;
}

static void move_branch(struct table_gather *g, uint64_t *slot, uint64_t *into, unsigned level, uint64_t addr)
{
	struct table *t = g->table;
	uint64_t entry = *slot;
	struct frame *page;

	range_detach(g, slot, level, addr);
	page = table_lock(t, into);
	STORE(page->used, page->used + 1);
	STORE_RELEASE(*into, entry);
	table_unlock(t, page);
}

/* `count` slots of one page to as many of another. */
static void move_entries(struct table_gather *g, uint64_t *slot, uint64_t *into, unsigned count, unsigned level, uint64_t addr)
{
	struct table *t = g->table;

	for (;;) {
		const struct downgrade how = { .kind = DOWNGRADE_MOVE, .into = into };
		struct frame *page = table_lock(t, slot);
		bool other = host_frame(t->frames, into) != page;
		unsigned done;

		if (other)
			(void)table_lock(t, into);
		done = range_downgrade(g, &how, slot, count, level, addr);
		if (other)
			table_unlock(t, host_frame(t->frames, into));
		table_unlock(t, page);
		if (done == count)
			return;
		slot += done;
		into += done;
		count -= done;
		addr += (uint64_t)done << level_shift(level);
		gather_flush(g);
	}
}

/* Where the old range has an entry of this level, 1 GiB or 2 MiB, the new one gets the page for it, with or without
 * entries below, as Linux has it (VmPTE). */
static int move_ensure(const struct move_op *op, unsigned level, uint64_t start, uint64_t end)
{
	struct table_gather *g = op->gather;
	int err = 0;

	for (uint64_t to = start + op->offset, last = end + op->offset; !err && to < last; to = level_next(to, level, last)) {
		uint64_t *slot;

		err = table_ensure(g->table, g->cache, to, level, &slot);
	}
	return err;
}

static int move_leaves(struct move_op *op, uint64_t *entries, uint64_t start, uint64_t end)
{
	struct table_gather *g = op->gather;

	if (op->commit && !LOAD(host_frame(g->table->frames, entries)->used))
		return 0;
	while (start < end) {
		uint64_t to = start + op->offset, bytes = MIN(end - start, level_next(to, 1, UINT64_MAX) - to);
		uint64_t *into;
		int err = table_ensure(g->table, g->cache, to, 0, &into);

		ASSERT(err != -SAMARA_EEXIST && !(err && op->commit));
		if (err)
			return err;
		if (op->commit)
			move_entries(g, entries + level_index(start, 0), into, (unsigned)(bytes >> FRAME_SHIFT), 0, start);
		start += bytes;
	}
	return 0;
}

static int move_descend(struct move_op *op, uint64_t *entries, unsigned level, uint64_t start, uint64_t end)
{
	struct table_gather *g = op->gather;
	struct table *t = g->table;
	uint64_t next;

	if (level == 0)
		return move_leaves(op, entries, start, end);
	for (; start < end; start = next) {
		uint64_t *slot = entries + level_index(start, level), *into = NULL;
		int err = 0;

		next = level_next(start, level, end);
		if (!*slot)
			continue;
		if (!op->commit && level <= 2) {
			err = move_ensure(op, level, start, next);
			if (err)
				return err;
		}
		if (next - start == level_bytes(level) && !(op->offset & (level_bytes(level) - 1))) {
			err = move_target(op, level, start + op->offset, &into);
			ASSERT(!(err && op->commit));
			if (err)
				return err;
		}
		if (into) {
			if (!op->commit)
				continue;
			if (entry_branch(t, *slot, level))
				move_branch(g, slot, into, level, start);
			else
				move_entries(g, slot, into, 1, level, start);
			continue;
		}
		if (entry_leaf(t, *slot, level)) {
			ASSERT(!op->commit);
			err = table_split(g, start, level);
		}
		if (!err)
			err = move_descend(op, entry_page(t, *slot), level - 1, start, next);
		if (err)
			return err;
	}
	return 0;
}

static bool move_valid(const struct table *t, uint64_t from, uint64_t to, uint64_t bytes)
{
	return !((from | to | bytes) & (FRAME_BYTES - 1)) && from + bytes <= table_span(t) && to + bytes <= table_span(t) &&
	       (from + bytes <= to || to + bytes <= from);
}

SAMARA_INTERNAL int table_move_prepare(struct table_gather *g, uint64_t from, uint64_t to, uint64_t bytes)
{
	struct table *t = g->table;
	struct move_op op = { .gather = g, .offset = to - from };
	int err;

	ASSERT(move_valid(t, from, to, bytes));
	if (!bytes)
		return 0;
	err = table_split_edges(g, from, from + bytes);
	if (!err)
		err = move_descend(&op, t->root, t->format.levels - 1u, from, from + bytes);
	/* what the pass made goes again; there is nothing to unmap, so no huge leaf to split */
	if (err)
		(void)table_unmap(g, to, to + bytes, to, to + bytes);
	return err;
}

SAMARA_INTERNAL void table_move_commit(struct table_gather *g, uint64_t from, uint64_t to, uint64_t bytes)
{
	struct move_op op = { .gather = g, .offset = to - from, .commit = true };

	ASSERT(move_valid(g->table, from, to, bytes));
	if (!bytes)
		return;
	(void)move_descend(&op, g->table->root, g->table->format.levels - 1u, from, from + bytes);
}

SAMARA_INTERNAL int table_move(struct table_gather *g, uint64_t from, uint64_t to, uint64_t bytes)
{
	int err = table_move_prepare(g, from, to, bytes);

	if (!err) {
		table_move_commit(g, from, to, bytes);
		(void)table_unmap(g, from, from + bytes, from, from + bytes);
	}
	return err;
}
