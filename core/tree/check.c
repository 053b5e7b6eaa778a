/* check.c - tree_check: proves T1 to T5 of node.h, the counts, and that no node is lost.  Changes nothing. */
#include "core/tree/node.h"

struct check_state {
	const struct tree *tree;
	const struct tree_leaf *last; /* the leaf before, in order */
	size_t leaves, inners;
	uint64_t entries;
};

/* Does the memory of gap searches deny this gap? */
static bool check_denied(const struct tree *tree, uint64_t start, uint64_t end)
{
	start = MAX(start, tree->gap_from);
	end = MIN(end, tree->gap_high);
	return start < end && end - start >= tree->gap_size;
}

static const char *check_leaf(struct check_state *state, const struct tree_leaf *leaf, uint64_t low, uint64_t high,
			      uint64_t *gap)
{
	uint64_t end = low, largest = 0;

	state->leaves++;
	state->entries += leaf->count;
	if (!leaf->count || leaf->count > (leaf->wide ? WIDE_MAX : LEAF_MAX))
		return "leaf: count";
	if (leaf->version & 1)
		return "leaf: version is odd at rest";
	if (leaf->prev != state->last)
		return "leaf: link to the one before";
	if (state->last && state->last->next != leaf)
		return "leaf: link from the one before";
	state->last = leaf;
	if (low && leaf_start(leaf, 0) != low)
		return "leaf: key is not the first start (T2)";
	for (unsigned i = 0; i < leaf->count; i++) {
		if (leaf_start(leaf, i) < end)
			return "leaf: entries overlap or are out of order";
		if (!leaf->wide && (!leaf->start[i] || (leaf->shift && leaf->shift != LEAF_PAGE)))
			return "leaf: packed form";
		if (check_denied(state->tree, end, leaf_start(leaf, i)))
			return "tree: a gap where none is remembered";
		largest = MAX(largest, leaf_start(leaf, i) - end);
		end = leaf_end(leaf, i);
		if (end <= leaf_start(leaf, i))
			return "leaf: empty range";
		if (!leaf_value(leaf, i))
			return "leaf: entry without value";
	}
	if (end > high)
		return "leaf: entry beyond what the leaf covers";
	if (check_denied(state->tree, end, high))
		return "tree: a gap where none is remembered";
	*gap = MAX(largest, high - end);
	for (unsigned i = leaf->count; i < (leaf->wide ? WIDE_MAX : LEAF_MAX); i++)
		if (leaf->wide ? leaf->wide_start[i] != NODE_NONE : leaf->start[i] != UINT32_MAX)
			return "leaf: unused start";
	return NULL;
}

static const char *check_node(struct check_state *state, const void *node, unsigned levels, uint64_t low, uint64_t high,
			      uint64_t *gap)
{
	const struct tree_inner *inner = node;
	bool root = node == node_address(state->tree->root);

	if (!levels)
		return check_leaf(state, node, low, high, gap);
	*gap = 0;
	state->inners++;
	if (inner->count > INNER_MAX || inner->count < (root ? 2 : 1))
		return "inner: count (T4)";
	if (inner->key[0] != low)
		return "inner: first key is not the low end (T1)";
	for (unsigned i = 0; i < inner->count; i++) {
		uint64_t to = i + 1 < inner->count ? inner->key[i + 1] : high, below;
		const char *broken;

		if (to <= inner->key[i])
			return "inner: keys out of order";
		broken = check_node(state, inner->child[i], levels - 1, inner->key[i], to, &below);
		if (broken)
			return broken;
		if (inner->gap[i] != below)
			return "inner: gap is not the largest below (T3)";
		*gap = MAX(*gap, below);
	}
	for (unsigned i = inner->count; i < INNER_MAX; i++)
		if (inner->key[i] != NODE_NONE)
			return "inner: unused key";
	return NULL;
}

static const char *check_finger(const struct tree *tree)
{
	const void *node = node_address(tree->root);
	uint64_t low = 0, high = NODE_NONE;

	if (!tree->leaf)
		return NULL;
	if (tree->levels != node_levels(tree->root))
		return "finger: levels";
	for (unsigned depth = 0; depth < tree->levels; depth++) {
		const struct tree_inner *inner = node;
		unsigned slot = tree->path[depth].slot;

		if (tree->path[depth].node != inner || slot >= inner->count)
			return "finger: path";
		low = inner->key[slot];
		if (slot + 1 < inner->count)
			high = inner->key[slot + 1];
		node = inner->child[slot];
	}
	return node != tree->leaf || low != tree->low || high != tree->high ? "finger: leaf" : NULL;
}

SAMARA_INTERNAL const char *tree_check(const struct tree *tree)
{
	struct check_state state = { tree, NULL, 0, 0, 0 };
	const char *broken;
	uint64_t gap;
	size_t spares;

	if (tree->shape & 1)
		return "tree: shape is odd at rest";
	if (tree->root) {
		broken = check_node(&state, node_address(tree->root), node_levels(tree->root), 0, NODE_NONE, &gap);
		if (broken)
			return broken;
		if (state.last->next)
			return "leaf: link after the last one";
	}
	broken = check_finger(tree);
	if (broken)
		return broken;
	if (state.leaves != tree->leaves || state.inners != tree->inners)
		return "tree: nodes in use";
	if (state.entries != tree->entries)
		return "tree: entries";
	spares = 0;
	for (const struct tree_leaf *leaf = tree->leaf_spare; leaf; leaf = leaf->next)
		spares++;
	if (spares != tree->leaf_spares)
		return "tree: spare leaves";
	spares = 0;
	for (const struct tree_inner *inner = tree->inner_spare; inner; inner = inner->next)
		spares++;
	if (spares != tree->inner_spares)
		return "tree: spare inner nodes";
	return NULL;
}
