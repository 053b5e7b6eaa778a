/* shape.c - splits, joins and moved keys: everything that happens while tree->shape is odd.
 *
 * Each function works on the writer's finger (tree->leaf and the path to it) and leaves the invariants T1 to T5 true,
 * except where its comment says otherwise; the finger is gone afterwards, for slots have moved.  Exclusive lock only.
 */
#include "core/tree/node.h"

SAMARA_INTERNAL void shape_open(struct tree *tree)
{
	if (!(tree->shape & 1)) {
		STORE(tree->shape, tree->shape + 1);
		NODE_FENCE_RELEASE();
	}
}

SAMARA_INTERNAL void shape_close(struct tree *tree)
{
	if (tree->shape & 1)
		STORE_RELEASE(tree->shape, tree->shape + 1);
}

static void shape_set_root(struct tree *tree, void *node, unsigned levels)
{
	STORE(tree->root, node ? (uint64_t)(uintptr_t)node + levels : 0);
	tree->leaf = NULL;
}

/* Where child `slot` of the path's node at `depth` ends. */
static uint64_t shape_high(const struct tree *tree, unsigned depth, unsigned slot)
{
	for (;; depth--) {
		const struct tree_inner *inner = tree->path[depth].node;

		if (slot + 1 < inner->count)
			return inner->key[slot + 1];
		if (!depth)
			return NODE_NONE;
		slot = tree->path[depth - 1].slot;
	}
}

static void shape_new_root(struct tree *tree, void *left, uint64_t left_gap, void *right, uint64_t key,
			   uint64_t right_gap)
{
	struct tree_inner *root = node_take_inner(tree);
	unsigned levels = node_levels(tree->root) + 1;

	ASSERT(levels <= TREE_LEVELS);
	STORE(root->key[0], 0);
	STORE(root->child[0], left);
	root->gap[0] = left_gap;
	STORE(root->key[1], key);
	STORE(root->child[1], right);
	root->gap[1] = right_gap;
	root->count = 2;
	shape_set_root(tree, root, levels);
}

static void shape_put(struct tree_inner *inner, unsigned slot, uint64_t key, void *child, uint64_t gap)
{
	for (unsigned i = inner->count; i > slot; i--)
		inner_move(inner, i, inner, i - 1);
	STORE(inner->key[slot], key);
	STORE(inner->child[slot], child);
	inner->gap[slot] = gap;
	inner->count++;
}

/* Take the last children of `from`, from slot `at` on, and put them in front of those of `to`. */
static void shape_move_tail(struct tree_inner *to, struct tree_inner *from, unsigned at)
{
	unsigned moved = from->count - at;

	for (unsigned i = to->count; i--; )
		inner_move(to, i + moved, to, i);
	for (unsigned i = 0; i < moved; i++) {
		inner_move(to, i, from, at + i);
		STORE(from->key[at + i], NODE_NONE);
	}
	from->count -= moved;
	to->count += moved;
}

/* Put a child into the path's node at `depth`.  Appended children leave the full node full: ascending fills stay dense;
 * so do descending ones, whose new children come second (the leftmost leaf gives its place to the new one). */
static void shape_insert(struct tree *tree, unsigned depth, unsigned slot, uint64_t key, void *child, uint64_t gap)
{
	struct tree_inner *inner = tree->path[depth].node, *right;
	unsigned at;

	if (inner->count < INNER_MAX) {
		shape_put(inner, slot, key, child, gap);
		gap_raise(tree, depth);
		return;
	}
	at = slot == INNER_MAX ? slot : slot == 1 ? 1 : INNER_MAX / 2;
	right = node_take_inner(tree);
	shape_move_tail(right, inner, at);
	if (slot > at || slot == INNER_MAX)
		shape_put(right, slot - at, key, child, gap);
	else
		shape_put(inner, slot, key, child, gap);
	if (!depth) {
		shape_new_root(tree, inner, gap_of_inner(inner), right, right->key[0], gap_of_inner(right));
		return;
	}
	tree->path[depth - 1].node->gap[tree->path[depth - 1].slot] = gap_of_inner(inner);
	shape_insert(tree, depth - 1, tree->path[depth - 1].slot + 1, right->key[0], right, gap_of_inner(right));
}

/* `right` holds entries and stands behind the finger's leaf, from which they may have come. */
SAMARA_INTERNAL void shape_add_leaf(struct tree *tree, struct tree_leaf *right)
{
	struct tree_leaf *left = tree->leaf;
	uint64_t key = leaf_start(right, 0);
	uint64_t left_gap = gap_of_leaf(left, tree->low, key), right_gap = gap_of_leaf(right, key, tree->high);
	unsigned depth = tree->levels;

	right->prev = left;
	right->next = left->next;
	if (right->next)
		right->next->prev = right;
	left->next = right;
	tree->leaf = NULL;
	if (!depth--) {
		shape_new_root(tree, left, left_gap, right, key, right_gap);
		return;
	}
	tree->path[depth].node->gap[tree->path[depth].slot] = left_gap;
	shape_insert(tree, depth, tree->path[depth].slot + 1, key, right, right_gap);
}

/* Share out the entries of the two leaves at `slot` and the next one of the path's last node, half to each.  False, and
 * nothing happened, when a half would not fit its leaf. */
static bool shape_share(struct tree *tree, unsigned slot)
{
	unsigned depth = tree->levels - 1, half, count;
	struct tree_inner *inner = tree->path[depth].node;
	struct tree_leaf *left = inner->child[slot], *right = inner->child[slot + 1];
	struct tree_entry entries[2 * LEAF_MAX];
	uint64_t key;

	count = leaf_read(left, entries);
	count += leaf_read(right, entries + count);
	half = (count + 1) / 2;
	if (!leaf_can_hold(entries, half) || !leaf_can_hold(entries + half, count - half))
		return false;
	shape_open(tree);
	leaf_write(left, entries, half);
	leaf_write(right, entries + half, count - half);
	key = entries[half].start;
	STORE(inner->key[slot + 1], key);
	inner->gap[slot] = gap_of_leaf(left, inner->key[slot], key);
	inner->gap[slot + 1] = gap_of_leaf(right, key, shape_high(tree, depth, slot + 1));
	gap_raise(tree, depth);
	tree->leaf = NULL;
	return true;
}

/* The finger's leaf cannot hold what it should: share with a neighbour that has room, or split.  After a split each
 * half holds two more entries in any format. */
SAMARA_INTERNAL void shape_make_room(struct tree *tree)
{
	struct tree_leaf *leaf = tree->leaf, *right;
	struct tree_entry entries[LEAF_MAX];
	unsigned half = leaf->count / 2u;

	if (tree->levels && leaf->count >= LEAF_MAX - 1) {
		struct tree_inner *inner = tree->path[tree->levels - 1].node;
		unsigned slot = tree->path[tree->levels - 1].slot;

		if (slot + 1 < inner->count && leaf->next->count <= LEAF_MAX - LEAF_SHARE && shape_share(tree, slot))
			return;
		if (slot && leaf->prev->count <= LEAF_MAX - LEAF_SHARE && shape_share(tree, slot - 1))
			return;
	}
	shape_open(tree);
	right = node_take_leaf(tree);
	leaf_read(leaf, entries);
	leaf_write(right, entries + half, leaf->count - half);
	leaf_write(leaf, entries, half);
	shape_add_leaf(tree, right);
}

/* The first index of what child path[depth].slot of the path covers became `low`. */
static void shape_lower(struct tree *tree, unsigned depth, uint64_t low)
{
	for (;; depth--) {
		STORE(tree->path[depth].node->key[tree->path[depth].slot], low);
		if (tree->path[depth].slot || !depth)
			break;
	}
}

/* Take child `slot` out of the path's node at `depth`; its range goes to whatever is left of it, or to the next child
 * when nothing is.  The gap of the leaf that grew, and the keys of the leftmost path, are left to the caller. */
static void shape_remove(struct tree *tree, unsigned depth, unsigned slot)
{
	struct tree_inner *inner = tree->path[depth].node, *above, *left, *right;
	unsigned at;

	inner->count--;
	for (unsigned i = slot; i < inner->count; i++)
		inner_move(inner, i, inner, i + 1);
	STORE(inner->key[inner->count], NODE_NONE);
	tree->leaf = NULL;
	if (!inner->count) {
		node_drop_inner(tree, inner);
		if (depth)
			shape_remove(tree, depth - 1, tree->path[depth - 1].slot);
		else
			shape_set_root(tree, NULL, 0);
		return;
	}
	if (!depth) {
		unsigned levels = node_levels(tree->root);

		while (levels && inner->count == 1) {
			void *child = inner->child[0];

			node_drop_inner(tree, inner);
			inner = child;
			levels--;
			shape_set_root(tree, child, levels);
		}
		return;
	}
	if (!slot)
		shape_lower(tree, depth - 1, inner->key[0]);
	gap_raise(tree, depth);
	if (inner->count >= INNER_LOW)
		return;
	above = tree->path[depth - 1].node;
	at = tree->path[depth - 1].slot;
	if (at + 1 < above->count && inner->count + ((struct tree_inner *)above->child[at + 1])->count <= INNER_JOIN)
		at++;
	else if (!at || inner->count + ((struct tree_inner *)above->child[at - 1])->count > INNER_JOIN)
		return;
	left = above->child[at - 1];
	right = above->child[at];
	for (unsigned i = 0; i < right->count; i++)
		inner_move(left, left->count + i, right, i);
	left->count += right->count;
	node_drop_inner(tree, right);
	above->gap[at - 1] = gap_of_inner(left);
	shape_remove(tree, depth - 1, at);
}

/* After a removal: the leftmost path has key 0, and the leaf that covers `index` has a new end or start. */
static void shape_regap(struct tree *tree, uint64_t index)
{
	walk_seek(tree, index);
	gap_set(tree, gap_of_leaf(tree->leaf, tree->low, tree->high));
}

/* The finger's leaf is about to lose its only entry: rather than drop it, give it some of a neighbour that may have had
 * no room for it, for whoever maps and unmaps there would make and drop a leaf each time.  False: there is none. */
SAMARA_INTERNAL bool shape_refill(struct tree *tree)
{
	const struct tree_leaf *leaf = tree->leaf;
	const struct tree_step *step;

	if (!tree->levels || leaf->count > 1)
		return false;
	step = &tree->path[tree->levels - 1];
	if (step->slot && leaf->prev->count >= WIDE_MAX)
		return shape_share(tree, step->slot - 1);
	return step->slot + 1 < step->node->count && leaf->next->count >= WIDE_MAX && shape_share(tree, step->slot);
}

/* The finger's leaf became empty. */
SAMARA_INTERNAL void shape_drop_leaf(struct tree *tree)
{
	struct tree_leaf *leaf = tree->leaf, *prev = leaf->prev;
	unsigned depth = tree->levels;
	void *node;

	if (prev)
		prev->next = leaf->next;
	if (leaf->next)
		leaf->next->prev = prev;
	node_drop_leaf(tree, leaf);
	if (!depth--) {
		shape_set_root(tree, NULL, 0);
		return;
	}
	shape_remove(tree, depth, tree->path[depth].slot);
	if (!tree->root)
		return;
	node = node_address(tree->root);
	for (unsigned levels = node_levels(tree->root); levels && !prev; levels--) {
		struct tree_inner *inner = node;

		STORE(inner->key[0], 0);
		node = inner->child[0];
	}
	shape_regap(tree, prev ? leaf_start(prev, 0) : 0);
}

/* The first entry of the finger's leaf, which is not the leftmost leaf, now starts at `low`, above where it did. */
SAMARA_INTERNAL void shape_set_low(struct tree *tree, uint64_t low)
{
	struct tree_leaf *leaf = tree->leaf;

	shape_lower(tree, tree->levels - 1, low);
	tree->low = low;
	gap_set(tree, gap_of_leaf(leaf, low, tree->high));
	shape_regap(tree, leaf_start(leaf->prev, 0));
}

/* The two leaves at `slot` and the next one of the path's last node become one.  False, and nothing happened, if they
 * do not fit. */
static bool shape_join(struct tree *tree, unsigned slot)
{
	unsigned depth = tree->levels - 1, count;
	struct tree_inner *inner = tree->path[depth].node;
	struct tree_leaf *left = inner->child[slot], *right = inner->child[slot + 1];
	struct tree_entry entries[2 * LEAF_MAX];

	if (left->count + right->count > (left->wide || right->wide ? WIDE_JOIN : LEAF_JOIN))
		return false;
	count = leaf_read(left, entries);
	count += leaf_read(right, entries + count);
	if (!leaf_can_hold(entries, count))
		return false;
	shape_open(tree);
	leaf_write(left, entries, count);
	left->next = right->next;
	if (left->next)
		left->next->prev = left;
	node_drop_leaf(tree, right);
	shape_remove(tree, depth, slot + 1);
	shape_regap(tree, entries[0].start);
	return true;
}

/* The leaf of the finger has few entries: join it with a neighbour, or take some from it. */
SAMARA_INTERNAL void shape_settle(struct tree *tree)
{
	struct tree_leaf *leaf = tree->leaf;
	struct tree_inner *inner;
	unsigned slot;

	if (!tree->levels)
		return;
	inner = tree->path[tree->levels - 1].node;
	slot = tree->path[tree->levels - 1].slot;
	if (slot + 1 < inner->count && shape_join(tree, slot))
		return;
	if (slot && shape_join(tree, slot - 1))
		return;
	if (leaf->count >= LEAF_LOW / 3)
		return;
	if (slot + 1 < inner->count)
		shape_share(tree, slot);
	else if (slot)
		shape_share(tree, slot - 1);
}
