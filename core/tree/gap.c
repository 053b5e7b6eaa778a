/* gap.c - the largest gap below each child (T3), and the searches that descend by it.
 *
 * Gaps are read and written under the caller's lock only, so nothing here is atomic.  By T2 a gap lies inside what one
 * leaf covers.
 */
#include "core/tree/node.h"

SAMARA_INTERNAL uint64_t gap_of_leaf(const struct tree_leaf *leaf, uint64_t low, uint64_t high)
{
	unsigned last = leaf->count - 1u;
	uint64_t largest = 0;

	if (UNLIKELY(leaf->wide)) {
		for (unsigned i = 0; i < last; i++)
			largest = MAX(largest, leaf->wide_start[i + 1] - leaf->wide_pair[i].end);
	} else {
		uint32_t most[2] = { 0, 0 };
		unsigned i = 0;

		/* two at a time: they do not wait for each other */
		for (; i + 2 <= last; i += 2) {
			most[0] = MAX(most[0], leaf->start[i + 1] - leaf->end[i]);
			most[1] = MAX(most[1], leaf->start[i + 2] - leaf->end[i + 1]);
		}
		if (i < last)
			most[0] = MAX(most[0], leaf->start[i + 1] - leaf->end[i]);
		largest = (uint64_t)MAX(most[0], most[1]) << leaf->shift;
	}
	largest = MAX(largest, leaf_start(leaf, 0) - low);
	return MAX(largest, high - leaf_end(leaf, last));
}

SAMARA_INTERNAL uint64_t gap_of_inner(const struct tree_inner *inner)
{
	uint64_t largest[4] = { 0, 0, 0, 0 };
	unsigned i = 0;

	/* four at a time: they do not wait for each other */
	for (; i + 4 <= inner->count; i += 4)
		for (unsigned k = 0; k < 4; k++)
			largest[k] = MAX(largest[k], inner->gap[i + k]);
	for (; i < inner->count; i++)
		largest[0] = MAX(largest[0], inner->gap[i]);
	return MAX(MAX(largest[0], largest[1]), MAX(largest[2], largest[3]));
}

/* The gaps in the path's node at `depth` changed: tell the nodes above. */
SAMARA_INTERNAL void gap_raise(struct tree *tree, unsigned depth)
{
	while (depth--) {
		struct tree_inner *inner = tree->path[depth].node;
		uint64_t largest = gap_of_inner(tree->path[depth + 1].node);

		if (inner->gap[tree->path[depth].slot] == largest)
			break;
		inner->gap[tree->path[depth].slot] = largest;
	}
}

struct gap_limits {
	uint64_t low, high, size;
};

static bool gap_fits(const struct gap_limits *limits, uint64_t start, uint64_t end, struct tree_entry *gap)
{
	start = MAX(start, limits->low);
	end = MIN(end, limits->high);
	if (end <= start || end - start < limits->size)
		return false;
	*gap = (struct tree_entry){ start, end, NULL };
	return true;
}

struct gap_step {
	const struct tree_inner *node;
	uint64_t low, high;
	unsigned slot;
};

/* The scans look at several gaps with one branch, by the compiler's own vectors: gaps are never read without the lock,
 * so plain loads will do.  Where there are no vector registers the compiler splits them up. */
typedef uint64_t gap_pair __attribute__((vector_size(16)));
typedef uint32_t gap_quad __attribute__((vector_size(16)));

static inline gap_pair gap_load_pair(const uint64_t *from)
{
	gap_pair pair;

	copy_bytes(&pair, from, sizeof(pair));
	return pair;
}

static inline gap_quad gap_load_quad(const uint32_t *from)
{
	gap_quad quad;

	copy_bytes(&quad, from, sizeof(quad));
	return quad;
}

/* Are the eight gaps from here all smaller than `size`?  The top bit of (gap - size) & ~gap says so for one, if size
 * has none. */
static inline bool gap_eight_small(const uint64_t *gap, uint64_t size)
{
	gap_pair sizes = { size, size }, a = gap_load_pair(gap), b = gap_load_pair(gap + 2);
	gap_pair c = gap_load_pair(gap + 4), d = gap_load_pair(gap + 6);
	gap_pair all = ((a - sizes) & (b - sizes) & (c - sizes) & (d - sizes)) & ~(a | b | c | d);

	return (all[0] & all[1]) >> 63;
}

/* One past the last slot below `slot` whose gap is large enough; 0 when there is none. */
static inline unsigned gap_scan_down(const struct tree_inner *inner, unsigned slot, uint64_t size)
{
	const uint64_t *gap = inner->gap;

	while (slot >= 8 && gap_eight_small(gap + slot - 8, size))
		slot -= 8;
	while (slot && gap[slot - 1] < size)
		slot--;
	return slot;
}

/* The first slot from `slot` on whose gap is large enough, or the count. */
static inline unsigned gap_scan_up(const struct tree_inner *inner, unsigned slot, uint64_t size)
{
	const uint64_t *gap = inner->gap;

	while (slot + 8 <= inner->count && gap_eight_small(gap + slot, size))
		slot += 8;
	while (slot < inner->count && gap[slot] < size)
		slot++;
	return slot;
}

/* The finger's leaf now has `gap` as its largest. */
SAMARA_INTERNAL void gap_set(struct tree *tree, uint64_t gap)
{
	unsigned depth = tree->levels;

	while (depth--) {
		struct tree_inner *inner = tree->path[depth].node;
		uint64_t *place = &inner->gap[tree->path[depth].slot], old = *place, above;

		*place = gap;
		if (!depth || old == gap)
			break;
		/* The node above knows the old maximum: a count is needed only where this child was it, and shrank. */
		above = tree->path[depth - 1].node->gap[tree->path[depth - 1].slot];
		if (gap < above) {
			if (old != above)
				break;
			/* most often it is the largest still; of this size there is only one */
			if (gap < INT64_MAX && gap_scan_down(inner, inner->count, gap + 1))
				gap = gap_of_inner(inner);
		}
	}
}

/* Is there such a gap among the four in front of the entries slot - 3 .. slot?  For packed leaves; `size` in their
 * unit. */
static inline bool gap_among(const struct tree_leaf *leaf, unsigned slot, uint32_t size)
{
	gap_quad between = gap_load_quad(leaf->start + slot - 3) - gap_load_quad(leaf->end + slot - 4);
	gap_quad sizes = { size, size, size, size };
	gap_pair found = (gap_pair)(between >= sizes);

	return found[0] | found[1];
}

/* `size` in the unit of a packed leaf, or more than any gap between its entries. */
static inline uint32_t gap_units(const struct tree_leaf *leaf, uint64_t size)
{
	uint64_t units = ((size - 1) >> leaf->shift) + 1;

	return units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
}

/* Above the limit nothing fits, so the scan begins at the last entry that starts below it. */
static bool gap_leaf_highest(const struct tree_leaf *leaf, uint64_t low, uint64_t high, const struct gap_limits *limits,
			     struct tree_entry *gap)
{
	unsigned slot = leaf->count;
	uint32_t size = gap_units(leaf, limits->size);

	if (high > limits->high) {
		slot = leaf_find(leaf, limits->high - 1);
		if (slot < leaf->count)
			high = leaf_start(leaf, slot);
	}
	while (slot--) {
		uint64_t end = leaf_end(leaf, slot);

		if (high - end >= limits->size && gap_fits(limits, end, high, gap))
			return true;
		if (!leaf->wide)
			while (slot >= 4 && !gap_among(leaf, slot, size))
				slot -= 4;
		high = leaf_start(leaf, slot);
	}
	return gap_fits(limits, low, high, gap);
}

static bool gap_leaf_lowest(const struct tree_leaf *leaf, uint64_t low, uint64_t high, const struct gap_limits *limits,
			    struct tree_entry *gap)
{
	unsigned slot = 0;
	uint32_t size = gap_units(leaf, limits->size);

	if (low < limits->low) {
		/* The gap behind the last entry that starts at or below the limit is the first that can fit. */
		slot = leaf_find(leaf, limits->low);
		if (slot)
			low = leaf_end(leaf, slot - 1);
	}
	for (; slot < leaf->count; slot++) {
		uint64_t start = leaf_start(leaf, slot);

		if (start - low >= limits->size && gap_fits(limits, low, start, gap))
			return true;
		if (!leaf->wide)
			while (slot + 4 < leaf->count && !gap_among(leaf, slot + 4, size))
				slot += 4;
		low = leaf_end(leaf, slot);
	}
	return gap_fits(limits, low, high, gap);
}

/* *far: the search left the leaf that it began in. */
static bool gap_highest(const struct tree *tree, uint64_t low, uint64_t high, uint64_t size, struct tree_entry *gap,
			bool *far)
{
	struct gap_limits limits = { low, high, size ? size : 1 };
	struct gap_step path[TREE_LEVELS];
	unsigned levels = node_levels(tree->root), depth = 0;
	const void *node = node_address(tree->root);
	uint64_t from = 0, to = NODE_NONE;
	bool bounded = true; /* still on the path to `high`: it may cut what the gaps promise */

	if (high <= low || high - low < limits.size)
		return false;
	if (!node)
		return gap_fits(&limits, 0, NODE_NONE, gap);
	for (;;) {
		/* Down, along `high` and then along the rightmost child with a gap that is large enough. */
		while (depth < levels) {
			const struct tree_inner *inner = node;
			unsigned slot = bounded ? inner_find(inner, high - 1) + 1 : inner->count;

			path[depth] = (struct gap_step){ inner, from, to, slot };
			slot = gap_scan_down(inner, slot, limits.size);
			bounded = bounded && slot == path[depth].slot;
			path[depth].slot = slot;
			if (!slot)
				break;
			if (slot < inner->count)
				to = inner->key[slot];
			from = inner->key[slot - 1];
			node = inner->child[slot - 1];
			depth++;
			if (to <= low || to - low < limits.size)
				return false;
		}
		if (depth == levels && gap_leaf_highest(node, from, to, &limits, gap))
			return true;
		if (from <= low)
			return false;
		/* Up to the first node with something to its left. */
		bounded = false;
		*far = true;
		for (;;) {
			const struct tree_inner *inner;
			unsigned slot;

			if (!depth)
				return false;
			depth--;
			inner = path[depth].node;
			slot = gap_scan_down(inner, path[depth].slot - 1, limits.size);
			if (!slot)
				continue;
			path[depth].slot = slot;
			to = inner->key[slot];
			from = inner->key[slot - 1];
			if (to <= low || to - low < limits.size)
				return false;
			node = inner->child[slot - 1];
			depth++;
			break;
		}
	}
}

/* The memory of the last far search: in (gap_from, gap_high) no gap has gap_size indices.  A search from there with
 * that size or more begins at gap_from.  Only a store of NULL can make it false, and forgets it (gap_forget), so it is
 * exact.  Holders of the shared lock may search at the same time, hence the little lock (odd: somebody writes; then
 * nobody else remembers anything). */
static void gap_remember(struct tree *tree, uint64_t from, uint64_t high, uint64_t size)
{
	uint32_t stamp = LOAD(tree->gap_stamp);

	if ((stamp & 1) || !__atomic_compare_exchange_n(&tree->gap_stamp, &stamp, stamp + 1, false, __ATOMIC_ACQUIRE,
							__ATOMIC_RELAXED))
		return;
	NODE_FENCE_RELEASE();
	STORE(tree->gap_from, from);
	STORE(tree->gap_high, high);
	STORE(tree->gap_size, size);
	STORE_RELEASE(tree->gap_stamp, stamp + 2);
}

SAMARA_INTERNAL void gap_forget(struct tree *tree, uint64_t start, uint64_t end)
{
	if (start < tree->gap_high && end > tree->gap_from)
		tree->gap_high = 0;
}

SAMARA_INTERNAL bool tree_gap_highest(const struct tree *tree, uint64_t low, uint64_t high, uint64_t size,
				      struct tree_entry *gap)
{
	uint32_t stamp = LOAD_ACQUIRE(tree->gap_stamp);
	uint64_t from = LOAD(tree->gap_from), limit = LOAD(tree->gap_high), least = LOAD(tree->gap_size), top = high;
	bool far = false, found;

	NODE_FENCE_ACQUIRE();
	if (high > from && high <= limit && size >= least && !(stamp & 1) && LOAD(tree->gap_stamp) == stamp) {
		high = from;
		top = limit;
	}
	found = gap_highest(tree, low, high, size, gap, &far);
	/* gap->end is the start of an entry, so no gap lies across gap_from. */
	if (far && found)
		gap_remember((struct tree *)(uintptr_t)tree, gap->end, top, size ? size : 1);
	return found;
}

SAMARA_INTERNAL bool tree_gap_lowest(const struct tree *tree, uint64_t low, uint64_t high, uint64_t size,
				     struct tree_entry *gap)
{
	struct gap_limits limits = { low, high, size ? size : 1 };
	struct gap_step path[TREE_LEVELS];
	unsigned levels = node_levels(tree->root), depth = 0;
	const void *node = node_address(tree->root);
	uint64_t from = 0, to = NODE_NONE;
	bool bounded = true;

	if (high <= low || high - low < limits.size)
		return false;
	if (!node)
		return gap_fits(&limits, 0, NODE_NONE, gap);
	for (;;) {
		while (depth < levels) {
			const struct tree_inner *inner = node;
			unsigned slot = bounded ? inner_find(inner, low) : 0, first = slot;

			path[depth] = (struct gap_step){ inner, from, to, slot };
			slot = gap_scan_up(inner, slot, limits.size);
			bounded = bounded && slot == first;
			path[depth].slot = slot;
			if (slot == inner->count)
				break;
			from = inner->key[slot];
			if (slot + 1 < inner->count)
				to = inner->key[slot + 1];
			node = inner->child[slot];
			depth++;
			if (from >= high)
				return false;
		}
		if (depth == levels && gap_leaf_lowest(node, from, to, &limits, gap))
			return true;
		if (to >= high)
			return false;
		bounded = false;
		for (;;) {
			const struct tree_inner *inner;
			unsigned slot;

			if (!depth)
				return false;
			depth--;
			inner = path[depth].node;
			slot = gap_scan_up(inner, path[depth].slot + 1, limits.size);
			if (slot >= inner->count)
				continue;
			path[depth].slot = slot;
			from = inner->key[slot];
			to = slot + 1 < inner->count ? inner->key[slot + 1] : path[depth].high;
			if (from >= high)
				return false;
			node = inner->child[slot];
			depth++;
			break;
		}
	}
}
