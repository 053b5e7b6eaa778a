/* walk.c - looking things up: with the caller's lock, without any lock, and in order.
 *
 * Nothing here changes the tree, except two caches: the writer's finger (walk_seek, exclusive lock only) and the hint
 * of the last entry found (tree_get and tree_ceiling, any holder of the lock: one relaxed word, checked against the
 * leaf before it is believed).
 */
#include "core/tree/node.h"

/* Put the writer's finger on the leaf that covers `index`. */
SAMARA_INTERNAL void walk_seek(struct tree *tree, uint64_t index)
{
	uint64_t root = tree->root, low = 0, high = NODE_NONE;
	unsigned levels = node_levels(root);
	void *node = node_address(root);

	if (tree->leaf && tree->low <= index && index < tree->high)
		return;
	tree->levels = levels;
	for (unsigned depth = 0; depth < levels; depth++) {
		struct tree_inner *inner = node;
		unsigned slot = inner_find(inner, index);

		tree->path[depth].node = inner;
		tree->path[depth].slot = slot;
		low = inner->key[slot];
		if (slot + 1 < inner->count)
			high = inner->key[slot + 1];
		node = inner->child[slot];
	}
	tree->leaf = node;
	tree->low = low;
	tree->high = high;
}

SAMARA_INTERNAL void tree_focus(struct tree *tree, uint64_t index)
{
	if (LIKELY(tree->root))
		walk_seek(tree, index - (index == NODE_NONE));
}

/* The leaf that covers `index`, for holders of the lock; the tree is not empty. */
static inline const struct tree_leaf *walk_leaf(const struct tree *tree, uint64_t index)
{
	uint64_t root = tree->root;
	const void *node = node_address(root);

	if (tree->leaf && (tree->low <= index) & (index < tree->high))
		return tree->leaf;
	for (unsigned levels = node_levels(root); levels; levels--) {
		const struct tree_inner *inner = node;

		node = inner->child[inner_find(inner, index)];
	}
	leaf_prefetch(node);
	return node;
}

/* Not const for the owner of the tree: the hint is a cache. */
static inline void walk_remember(const struct tree *tree, const struct tree_leaf *leaf, unsigned slot)
{
	STORE(((struct tree *)(uintptr_t)tree)->hint, (uint64_t)(uintptr_t)leaf + slot);
}

SAMARA_INTERNAL void *tree_get(const struct tree *tree, uint64_t index)
{
	uint64_t hint = LOAD(tree->hint);
	const struct tree_leaf *leaf = node_address(hint);
	unsigned slot = hint & 63;
	void *value;

	if (leaf && LIKELY(!leaf->wide)) {
		uint64_t place = (index >> leaf->shift) - leaf->base - leaf->start[slot];

		/* One comparison for both ends: two would be mispredicted by every other random lookup. */
		if ((place < (uint64_t)leaf->end[slot] - leaf->start[slot]) & (slot < leaf->count))
			return leaf->value[slot];
	}
	if (UNLIKELY(!tree->root || index == NODE_NONE))
		return NULL;
	leaf = walk_leaf(tree, index);
	value = leaf_get(leaf, index, &slot);
	if (value)
		walk_remember(tree, leaf, slot);
	return value;
}

SAMARA_INTERNAL void *tree_lookup(const struct tree *tree, uint64_t index)
{
	for (;;) {
		uint32_t shape = LOAD_ACQUIRE(tree->shape), version;
		uint64_t root = LOAD(tree->root);
		const void *node = node_address(root);
		const struct tree_leaf *leaf;
		unsigned levels = node_levels(root), slot;
		void *value;

		NODE_FENCE_ACQUIRE();
		if (UNLIKELY((shape & 1) || LOAD(tree->shape) != shape))
			continue;
		if (!root || index == NODE_NONE)
			return NULL;
		for (; levels; levels--) {
			const struct tree_inner *inner = node;

			node = LOAD(inner->child[inner_find(inner, index)]);
			NODE_FENCE_ACQUIRE();
			if (UNLIKELY(LOAD(tree->shape) != shape))
				break;
		}
		if (UNLIKELY(levels))
			continue;
		leaf = node;
		leaf_prefetch(leaf);
		version = LOAD_ACQUIRE(leaf->version);
		value = leaf_get(leaf, index, &slot);
		NODE_FENCE_ACQUIRE();
		if (LIKELY(!(version & 1) && LOAD(leaf->version) == version && LOAD(tree->shape) == shape))
			return value;
	}
}

/* The leaf and slot of the first entry that ends after `index`; the slot may be the leaf's count. */
static const struct tree_leaf *walk_after(const struct tree *tree, uint64_t index, unsigned *slot)
{
	uint64_t place = index - (index == NODE_NONE);
	const struct tree_leaf *leaf = walk_leaf(tree, place);

	*slot = leaf_find(leaf, place);
	if (*slot && leaf_end(leaf, *slot - 1) > index)
		--*slot;
	return leaf;
}

/* walk_after by the hint: the entry found last or the one behind it, for whoever asks goes on from there.  NULL: it is
 * neither of them. */
static inline const struct tree_leaf *walk_hint(const struct tree *tree, uint64_t index, unsigned *slot)
{
	uint64_t hint = LOAD(tree->hint), place;
	const struct tree_leaf *leaf = node_address(hint);
	unsigned at = hint & 63;
	uint32_t low;

	if (UNLIKELY(!leaf || leaf->wide || at >= leaf->count))
		return NULL;
	low = at ? leaf->end[at - 1] : leaf->start[0];
	place = (index >> leaf->shift) - leaf->base - low;
	if (place >= leaf->end[at] - low) {
		if (at + 1 >= leaf->count || place >= leaf->end[at + 1] - low)
			return NULL;
		walk_remember(tree, leaf, ++at);
	}
	*slot = at;
	return leaf;
}

/* tree_ceiling where the hint does not help. */
static __attribute__((noinline)) struct tree_entry walk_ceiling(const struct tree *tree, uint64_t index)
{
	const struct tree_leaf *leaf;
	unsigned slot;

	if (!tree->root)
		return (struct tree_entry){ 0, 0, NULL };
	leaf = walk_after(tree, index, &slot);
	if (slot == leaf->count) {
		leaf = leaf->next;
		slot = 0;
		if (!leaf)
			return (struct tree_entry){ 0, 0, NULL };
	}
	walk_remember(tree, leaf, slot);
	return leaf_entry(leaf, slot);
}

SAMARA_INTERNAL struct tree_entry tree_ceiling(const struct tree *tree, uint64_t index)
{
	const struct tree_leaf *leaf;
	unsigned slot;

	leaf = walk_hint(tree, index, &slot);
	return LIKELY(leaf) ? leaf_entry(leaf, slot) : walk_ceiling(tree, index);
}

SAMARA_INTERNAL void *tree_ceiling_value(const struct tree *tree, uint64_t index)
{
	const struct tree_leaf *leaf;
	unsigned slot;

	leaf = walk_hint(tree, index, &slot);
	return LIKELY(leaf) ? leaf->value[slot] : walk_ceiling(tree, index).value;
}

SAMARA_INTERNAL void *tree_behind(const struct tree *tree, const void *value)
{
	uint64_t hint = LOAD(tree->hint);
	const struct tree_leaf *leaf = node_address(hint);
	unsigned slot = hint & 63;

	if (UNLIKELY(!leaf || leaf->wide || slot >= leaf->count || leaf->value[slot] != value))
		return NULL;
	if (UNLIKELY(++slot == leaf->count)) {
		leaf = leaf->next;
		slot = 0;
		if (!leaf || leaf->wide)
			return NULL;
		if (leaf->next)
			leaf_prefetch(leaf->next);
	}
	walk_remember(tree, leaf, slot);
	return leaf->value[slot];
}

SAMARA_INTERNAL struct tree_entry tree_floor(const struct tree *tree, uint64_t index)
{
	uint64_t place = index - (index == NODE_NONE);
	const struct tree_leaf *leaf;
	unsigned slot;

	if (!tree->root)
		return (struct tree_entry){ 0, 0, NULL };
	leaf = walk_leaf(tree, place);
	slot = leaf_find(leaf, place); /* zero only before the first entry of all (T2) */
	return slot ? leaf_entry(leaf, slot - 1) : (struct tree_entry){ 0, 0, NULL };
}

SAMARA_INTERNAL void tree_around(const struct tree *tree, uint64_t index, struct tree_entry *prev,
				 struct tree_entry *next)
{
	const struct tree_leaf *leaf, *other;
	unsigned slot;

	*prev = *next = (struct tree_entry){ 0, 0, NULL };
	if (!tree->root)
		return;
	leaf = walk_hint(tree, index, &slot);
	if (!leaf)
		leaf = walk_after(tree, index, &slot);
	if (slot)
		*prev = leaf_entry(leaf, slot - 1);
	else if ((other = leaf->prev) != NULL)
		*prev = leaf_entry(other, other->count - 1);
	if (slot < leaf->count)
		*next = leaf_entry(leaf, slot);
	else if ((other = leaf->next) != NULL)
		*next = leaf_entry(other, 0);
}

SAMARA_INTERNAL void tree_iter_init(struct tree_iter *iter, const struct tree *tree, uint64_t index)
{
	iter->tree = tree;
	iter->at = (struct tree_entry){ 0, 0, NULL };
	iter->from = index;
	iter->node = NULL;
	iter->slot = 0;
	iter->version = 0;
}

/* Past either end: nothing is yielded any more in this direction, and the other one starts at that end. */
static void *walk_end(struct tree_iter *iter, uint64_t from)
{
	iter->at = (struct tree_entry){ 0, 0, NULL };
	iter->from = from;
	iter->node = NULL;
	return NULL;
}

static void *walk_yield(struct tree_iter *iter, const struct tree_leaf *leaf, unsigned slot)
{
	iter->node = (const struct tree_node *)leaf;
	iter->slot = slot;
	iter->version = iter->tree->changes;
	iter->at = leaf_entry(leaf, slot);
	return iter->at.value;
}

/* The rare half of tree_iter_next, kept out of it: it would need registers saved. */
static __attribute__((noinline)) void *walk_next_leaf(struct tree_iter *iter)
{
	const struct tree_leaf *leaf = (const struct tree_leaf *)iter->node;
	unsigned slot = iter->slot + 1;

	if (!leaf || iter->version != iter->tree->changes) {
		if (!iter->tree->root)
			return walk_end(iter, NODE_NONE);
		leaf = walk_after(iter->tree, iter->at.value ? iter->at.end : iter->from, &slot);
	}
	if (slot >= leaf->count) {
		leaf = leaf->next;
		if (!leaf)
			return walk_end(iter, NODE_NONE);
		slot = 0;
		if (leaf->next)
			leaf_prefetch(leaf->next);
	}
	return walk_yield(iter, leaf, slot);
}

SAMARA_INTERNAL void *tree_iter_next(struct tree_iter *iter)
{
	const struct tree_leaf *leaf = (const struct tree_leaf *)iter->node;
	unsigned slot = iter->slot + 1;

	if (UNLIKELY(!leaf || iter->version != iter->tree->changes || slot >= leaf->count || leaf->wide))
		return walk_next_leaf(iter);
	iter->slot = slot;
	iter->at.start = (leaf->start[slot] + leaf->base) << leaf->shift;
	iter->at.end = (leaf->end[slot] + leaf->base) << leaf->shift;
	return iter->at.value = leaf->value[slot];
}

SAMARA_INTERNAL void *tree_iter_prev(struct tree_iter *iter)
{
	const struct tree_leaf *leaf = (const struct tree_leaf *)iter->node;
	unsigned slot = iter->slot;

	if (!leaf || iter->version != iter->tree->changes) {
		uint64_t before = iter->at.value ? iter->at.start : iter->from;

		if (!iter->tree->root || !before)
			return walk_end(iter, 0);
		leaf = walk_leaf(iter->tree, before - 1);
		slot = leaf_find(leaf, before - 1);
	}
	if (!slot) {
		leaf = leaf->prev;
		if (!leaf)
			return walk_end(iter, 0);
		slot = leaf->count;
	}
	return walk_yield(iter, leaf, slot - 1);
}
