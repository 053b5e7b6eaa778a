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

/* Most stores, in packed leaves and behind the leaf's first entry: a new entry in a gap, the tail of an entry that becomes one
 * of its own, an entry that goes whole.  False: it is something else, and nothing happened. */
static bool store_simple(struct tree *tree, uint64_t start, uint64_t end, void *value)
{
	struct tree_leaf *leaf = tree->leaf;
	unsigned count = leaf->count, slot, next;
	uint64_t low, high, whole, parts;
	uint32_t from, to;
	bool cuts = false;

	if (UNLIKELY(leaf->wide || !leaf_fits(leaf, start, end)))
		return false;
	from = (uint32_t)((start >> leaf->shift) - leaf->base);
	to = (uint32_t)((end >> leaf->shift) - leaf->base);
	slot = next = packed_find(leaf, from);
	if (value) {
		if (!slot || count == LEAF_MAX || (slot < count && leaf->start[slot] < to))
			return false;
		cuts = leaf->end[slot - 1] == to && leaf->start[slot - 1] < from;
		if (!cuts && leaf->end[slot - 1] > from)
			return false;
	} else {
		if (slot < 2 || leaf->start[slot - 1] != from || leaf->end[slot - 1] != to ||
		    (count <= LEAF_LOW && tree->levels))
			return false;
		slot--;
	}
	low = leaf_end(leaf, slot - 1);
	high = next < count ? leaf_start(leaf, next) : tree->high;
	whole = high - low;
	parts = MAX(start - low, high - end);

	STORE(leaf->version, leaf->version + 1);
	NODE_FENCE_RELEASE();
	if (cuts)
		STORE(leaf->end[slot - 1], from);
	if (value) {
		leaf_shift(leaf, slot, slot + 1);
		leaf_set(leaf, slot, (struct tree_entry){ start, end, value });
		tree->entries++;
	} else {
		leaf_shift(leaf, slot + 1, slot);
		tree->entries--;
	}
	STORE_RELEASE(leaf->version, leaf->version + 1);
	if (!cuts)
		store_gap(tree, value ? whole : parts, value ? parts : whole);
	return true;
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

	STORE(leaf->version, leaf->version + 1);
	NODE_FENCE_RELEASE();
	if (LIKELY(fits && plan.after <= (leaf->wide ? WIDE_MAX : LEAF_MAX))) {
		if (plan.after != count)
			leaf_shift(leaf, to, from + plan.pieces);
		for (unsigned i = 0; i < plan.pieces; i++)
			leaf_set(leaf, from + i, plan.piece[i]);
	} else {
		uint64_t entries = tree->entries;
		bool done = store_anew(tree, &plan);

		if (!done) {
			STORE_RELEASE(leaf->version, leaf->version + 1);
			return tree->entries != entries;
		}
	}
	STORE_RELEASE(leaf->version, leaf->version + 1);
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
			/* First empty what lies in the next leaf: then this one reaches further, or the next is gone.
			 * */
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
