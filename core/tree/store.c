/* store.c - tree_store: one range replaced, in one leaf or across many.
 *
 * A store that stays inside its leaf, and leaves the leaf's first index alone, is one step of the leaf's version.
 * Everything else keeps tree->shape odd from its first change to its last, so readers see all of it or nothing.
 */
#include "core/tree/node.h"

static void store_first(struct tree *tree, struct tree_entry entry)
{
	struct tree_leaf *leaf = node_take_leaf(tree);

	leaf_write(leaf, &entry, 1);
	tree->entries++;
	shape_open(tree);
	STORE(tree->root, (uint64_t)(uintptr_t)leaf);
	tree->leaf = NULL;
	shape_close(tree);
}

/* A full leaf and one entry more at its end: a new leaf of its own, so that ascending fills leave full leaves behind.
 * At the front of everything the same, but the old entries move to the new leaf. */
static void store_beside(struct tree *tree, struct tree_entry entry, bool behind)
{
	struct tree_leaf *leaf = tree->leaf, *right = node_take_leaf(tree);
	struct tree_entry entries[LEAF_MAX];

	shape_open(tree);
	if (behind) {
		leaf_write(right, &entry, 1);
	} else {
		leaf_write(right, entries, leaf_read(leaf, entries));
		leaf_write(leaf, &entry, 1);
	}
	tree->entries++;
	shape_add_leaf(tree, right);
}

static bool store_has_neighbour_room(const struct tree *tree)
{
	const struct tree_leaf *leaf = tree->leaf;
	const struct tree_step *step;

	if (!tree->levels)
		return false;
	step = &tree->path[tree->levels - 1];
	if (step->slot + 1 < step->node->count && leaf->next->count <= LEAF_MAX - LEAF_SHARE)
		return true;
	return step->slot && leaf->prev->count <= LEAF_MAX - LEAF_SHARE;
}

/* What a store does to a leaf: entries from..to - 1 give way to the pieces, of which there are three at most. */
struct store_plan {
	unsigned from, to, pieces, after;
	struct tree_entry piece[3];
};

/* The leaf's format or size does not do: write it anew, or make room.  False: look again. */
static bool store_anew(struct tree *tree, const struct store_plan *plan)
{
	struct tree_leaf *leaf = tree->leaf;
	struct tree_entry entries[LEAF_MAX + 3];
	unsigned count = leaf->count;

	leaf_read(leaf, entries);
	if (plan->after > count)
		for (unsigned i = count; i-- > plan->to; )
			entries[i + plan->after - count] = entries[i];
	else
		for (unsigned i = plan->to; i < count; i++)
			entries[i + plan->after - count] = entries[i];
	for (unsigned i = 0; i < plan->pieces; i++)
		entries[plan->from + i] = plan->piece[i];
	if (leaf_can_hold(entries, plan->after)) {
		leaf_write(leaf, entries, plan->after);
		return true;
	}
	if (plan->pieces == 1 && plan->from == plan->to && !store_has_neighbour_room(tree) &&
	    (plan->from == count || plan->from == 0)) {
		store_beside(tree, plan->piece[0], plan->from == count);
		return false;
	}
	shape_make_room(tree);
	return false;
}

/* The largest gap in the part of the leaf that the plan touches, before it is carried out and after. */
static uint64_t store_window(const struct tree *tree, const struct store_plan *plan, uint64_t *before)
{
	const struct tree_leaf *leaf = tree->leaf;
	uint64_t end = plan->from ? leaf_end(leaf, plan->from - 1) : tree->low;
	uint64_t next = plan->to < leaf->count ? leaf_start(leaf, plan->to) : tree->high, at = end, largest = 0;

	for (unsigned i = plan->from; i < plan->to; i++) {
		largest = MAX(largest, leaf_start(leaf, i) - at);
		at = leaf_end(leaf, i);
	}
	*before = MAX(largest, next - at);
	largest = 0;
	for (unsigned i = 0; i < plan->pieces; i++) {
		largest = MAX(largest, plan->piece[i].start - end);
		end = plan->piece[i].end;
	}
	return MAX(largest, next - end);
}

/* The largest gap where the finger's leaf was changed went from `before` to `after`. */
static inline void store_gap(struct tree *tree, uint64_t before, uint64_t after)
{
	const struct tree_step *step;
	uint64_t largest;

	if (!tree->levels)
		return;
	step = &tree->path[tree->levels - 1];
	largest = step->node->gap[step->slot];
	if (after >= largest)
		gap_set(tree, after);
	else if (before == largest)
		gap_set(tree, gap_of_leaf(tree->leaf, tree->low, tree->high));
}

/* The simple stores, which are most of them: in the leaf's format, and its first entry stays where it is.  Each returns
 * false when it is something else, and nothing happened. */

static inline void leaf_open(struct tree_leaf *leaf)
{
	STORE(leaf->version, leaf->version + 1);
	NODE_FENCE_RELEASE();
}

static inline void leaf_close(struct tree_leaf *leaf)
{
	STORE_RELEASE(leaf->version, leaf->version + 1);
}

/* What the finger's leaf leaves free between the entries below `slot` and those from `slot` on. */
static inline void store_hole(const struct tree *tree, unsigned slot, uint64_t *low, uint64_t *high)
{
	const struct tree_leaf *leaf = tree->leaf;

	*low = leaf_end(leaf, slot - 1);
	*high = slot < leaf->count ? leaf_start(leaf, slot) : tree->high;
}

/* A new entry in a gap, or the tail of an entry that becomes one of its own. */
static bool store_put(struct tree *tree, unsigned slot, struct tree_entry entry)
{
	struct tree_leaf *leaf = tree->leaf;
	uint64_t low, high;
	bool cuts;

	if (!slot || leaf->count == (leaf->wide ? WIDE_MAX : LEAF_MAX))
		return false;
	store_hole(tree, slot, &low, &high);
	cuts = low == entry.end;
	if (high < entry.end || (!cuts && low > entry.start))
		return false;
	leaf_open(leaf);
	leaf_shift(leaf, slot, slot + 1);
	leaf_set(leaf, slot, entry);
	if (cuts)
		leaf_set(leaf, slot - 1, (struct tree_entry){ leaf_start(leaf, slot - 1), entry.start,
							     leaf_value(leaf, slot - 1) });
	leaf_close(leaf);
	tree->entries++;
	STORE(tree->hint, (uint64_t)(uintptr_t)leaf + slot); /* who stores it soon asks for it */
	if (!cuts)
		store_gap(tree, high - low, MAX(entry.start - low, high - entry.end));
	return true;
}

/* An entry that goes whole. */
static bool store_take(struct tree *tree, unsigned slot, uint64_t start, uint64_t end)
{
	struct tree_leaf *leaf = tree->leaf;
	uint64_t low, high;

	if (!slot || leaf_start(leaf, slot) != start || leaf_end(leaf, slot) != end)
		return false;
	leaf_open(leaf);
	leaf_shift(leaf, slot + 1, slot);
	leaf_close(leaf);
	tree->entries--;
	store_hole(tree, slot, &low, &high);
	store_gap(tree, MAX(start - low, high - end), high - low);
	if (leaf->count < LEAF_LOW)
		shape_settle(tree);
	return true;
}

/* Entries from `slot` on, each touching the next, that together are [start, end) and become one. */
static bool store_fuse(struct tree *tree, unsigned slot, struct tree_entry entry)
{
	struct tree_leaf *leaf = tree->leaf;
	unsigned last = slot;

	while (leaf_end(leaf, last) < entry.end && last + 1u < leaf->count &&
	       leaf_start(leaf, last + 1) == leaf_end(leaf, last))
		last++;
	if (leaf_end(leaf, last) != entry.end)
		return false;
	leaf_open(leaf);
	leaf_set(leaf, slot, entry);
	leaf_shift(leaf, last + 1, slot + 1);
	leaf_close(leaf);
	tree->entries -= last - slot;
	if (last > slot && leaf->count < LEAF_LOW)
		shape_settle(tree);
	return true;
}

static inline bool store_simple(struct tree *tree, uint64_t start, uint64_t end, void *value)
{
	struct tree_leaf *leaf = tree->leaf;
	unsigned slot;

	if (UNLIKELY(!leaf_fits(leaf, start, end)))
		return false;
	slot = leaf_find(leaf, start);
	if (!value)
		return slot && store_take(tree, slot - 1, start, end);
	if (slot && leaf_start(leaf, slot - 1) == start)
		return store_fuse(tree, slot - 1, (struct tree_entry){ start, end, value });
	return store_put(tree, slot, (struct tree_entry){ start, end, value });
}

/* Replace [start, end), which lies in what the finger's leaf covers.  False: there was no room; now there is, look
 * again. */
static bool store_in_leaf(struct tree *tree, uint64_t start, uint64_t end, void *value)
{
	struct tree_leaf *leaf = tree->leaf;
	unsigned count = leaf->count, from = leaf_find(leaf, start), to = from;
	struct store_plan plan;
	uint64_t first, before, after;
	bool fits = true, moves;

	plan.pieces = 0;
	if (from && leaf_end(leaf, from - 1) > start) {
		from--;
		if (leaf_start(leaf, from) < start)
			plan.piece[plan.pieces++] = (struct tree_entry){ leaf_start(leaf, from), start,
								    leaf_value(leaf, from) };
	}
	while (to < count && leaf_start(leaf, to) < end)
		to++;
	if (value)
		plan.piece[plan.pieces++] = (struct tree_entry){ start, end, value };
	if (to > from && leaf_end(leaf, to - 1) > end)
		plan.piece[plan.pieces++] = (struct tree_entry){ end, leaf_end(leaf, to - 1),
							    leaf_value(leaf, to - 1) };
	plan.from = from;
	plan.to = to;
	plan.after = count - (to - from) + plan.pieces;
	if (!plan.pieces && from == to)
		return true;
	if (UNLIKELY(!plan.after)) {
		if (shape_refill(tree))
			return false;
		tree->entries -= count;
		shape_open(tree);
		shape_drop_leaf(tree);
		return true;
	}
	first = from ? leaf_start(leaf, 0) : plan.pieces ? plan.piece[0].start : leaf_start(leaf, to);
	moves = tree->low && first != tree->low;
	if (UNLIKELY(moves))
		shape_open(tree);
	after = store_window(tree, &plan, &before);
	for (unsigned i = 0; i < plan.pieces; i++)
		fits = fits && leaf_fits(leaf, plan.piece[i].start, plan.piece[i].end);

	leaf_open(leaf);
	if (LIKELY(fits && plan.after <= (leaf->wide ? WIDE_MAX : LEAF_MAX))) {
		if (plan.after != count)
			leaf_shift(leaf, to, from + plan.pieces);
		for (unsigned i = 0; i < plan.pieces; i++)
			leaf_set(leaf, from + i, plan.piece[i]);
	} else {
		uint64_t entries = tree->entries;
		bool done = store_anew(tree, &plan);

		if (!done) {
			leaf_close(leaf);
			return tree->entries != entries;
		}
	}
	leaf_close(leaf);
	tree->entries = tree->entries + plan.after - count;

	if (UNLIKELY(moves))
		shape_set_low(tree, first);
	else
		store_gap(tree, before, after);
	if (plan.after < count && plan.after < LEAF_LOW) {
		walk_seek(tree, first);
		shape_settle(tree);
	}
	return true;
}

SAMARA_INTERNAL void tree_store(struct tree *tree, uint64_t start, uint64_t end, void *value)
{
	ASSERT(start < end);
	tree->changes++;
	if (!value)
		gap_forget(tree, start, end);
	if (UNLIKELY(!tree->root)) {
		if (value)
			store_first(tree, (struct tree_entry){ start, end, value });
		return;
	}
	for (;;) {
		walk_seek(tree, start);
		if (UNLIKELY(end > tree->high)) {
			/* First empty what lies in the next leaf: then this one reaches further, or the next is
			 * gone. */
			shape_open(tree);
			walk_seek(tree, tree->high);
			store_in_leaf(tree, tree->low, MIN(end, tree->high), NULL);
			continue;
		}
		if (LIKELY(store_simple(tree, start, end, value) || store_in_leaf(tree, start, end, value)))
			break;
	}
	shape_close(tree);
#if SAMARA_CHECK >= 2
	ASSERT(!tree_check(tree));
#endif
}
