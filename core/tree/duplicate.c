/* duplicate.c - a second tree from the first one, built bottom up in one pass: full leaves, then the levels above them.
 *
 * The new tree is seen by nobody until its root is set, in the last statement; a failure before gives everything back.
 */
#include "core/tree/node.h"

struct duplicate_list {
	struct tree_leaf *first, *last;
	unsigned count;
	struct tree_entry entries[LEAF_MAX + 1]; /* copied, and not in a leaf yet */
};

/* As many of the waiting entries as one leaf holds become a leaf; there is a spare one. */
static void duplicate_flush(struct tree *to, struct duplicate_list *list)
{
	struct tree_leaf *fresh = node_take_leaf(to);
	unsigned count = MIN(list->count, LEAF_MAX);

	if (!leaf_can_hold(list->entries, count))
		count = WIDE_MAX;
	leaf_write(fresh, list->entries, count);
	list->count -= count;
	for (unsigned i = 0; i < list->count; i++)
		list->entries[i] = list->entries[count + i];
	to->entries += count;
	fresh->prev = list->last;
	if (list->last)
		list->last->next = fresh;
	else
		list->first = fresh;
	list->last = fresh;
}

static int duplicate_leaves(struct tree *to, const struct tree *from, struct duplicate_list *list,
			    void *(*copy)(void *arg, void *value, bool *stop), void *arg)
{
	const void *node = node_address(from->root);

	for (unsigned levels = node_levels(from->root); levels; levels--)
		node = ((const struct tree_inner *)node)->child[0];
	for (const struct tree_leaf *leaf = node; leaf; leaf = leaf->next) {
		if (leaf->next)
			for (unsigned i = 0; i < sizeof(*leaf); i += 64)
				__builtin_prefetch((const char *)leaf->next + i);
		for (unsigned i = 0; i < leaf->count; i++) {
			bool stop = false;
			void *value;

			/* The room first: a copy that was made always has its place. */
			if (list->count == LEAF_MAX) {
				if (node_fill(to, 1, 0))
					return -12;
				duplicate_flush(to, list);
			}
			value = copy(arg, leaf_value(leaf, i), &stop);
			if (stop)
				return -12;
			if (value)
				list->entries[list->count++] = (struct tree_entry){ leaf_start(leaf, i),
										    leaf_end(leaf, i), value };
		}
	}
	while (list->count) {
		if (node_fill(to, 1, 0))
			return -12;
		duplicate_flush(to, list);
	}
	return 0;
}

/* One level of inner nodes above `nodes` nodes that are linked by their `next`; the first one of the new level in
 * *first. */
static int duplicate_level(struct tree *to, void **first, size_t nodes, unsigned level)
{
	size_t parents = (nodes + INNER_MAX - 1) / INNER_MAX, share = nodes / parents, extra = nodes % parents;
	struct tree_inner *last = NULL;
	void *node = *first;

	if (node_fill(to, 0, parents))
		return -12;
	for (size_t i = 0; i < parents; i++) {
		struct tree_inner *inner = node_take_inner(to);

		for (size_t count = share + (i < extra); count; count--) {
			unsigned slot = inner->count++;

			STORE(inner->child[slot], node);
			if (level) {
				struct tree_inner *child = node;

				STORE(inner->key[slot], child->key[0]);
				inner->gap[slot] = gap_of_inner(child);
				node = child->next;
			} else {
				struct tree_leaf *child = node;
				uint64_t low = child->prev ? leaf_start(child, 0) : 0;

				STORE(inner->key[slot], low);
				inner->gap[slot] = gap_of_leaf(child, low, child->next ? leaf_start(child->next, 0) :
											 NODE_NONE);
				node = child->next;
			}
		}
		if (last)
			last->next = inner;
		else
			*first = inner;
		last = inner;
	}
	return 0;
}

SAMARA_INTERNAL int tree_duplicate(struct tree *to, const struct tree *from,
				   void *(*copy)(void *arg, void *value, bool *stop), void *arg)
{
	struct duplicate_list list;
	const struct samara_port *port = to->port;
	unsigned levels = 0;
	void *first = NULL;
	size_t nodes;
	int error = 0;

	list.first = list.last = NULL;
	list.count = 0;
	ASSERT(!to->root && !to->leaves && !to->inners);
	if (from->root)
		error = duplicate_leaves(to, from, &list, copy, arg);
	if (!error && list.first) {
		first = list.first;
		nodes = to->leaves;
		while (!error && nodes > 1) {
			size_t before = to->inners;

			error = duplicate_level(to, &first, nodes, levels++);
			nodes = to->inners - before;
		}
	}
	if (!error) {
		to->changes++;
		STORE_RELEASE(to->root, first ? (uint64_t)(uintptr_t)first + levels : 0);
		return 0;
	}
	/* Inner nodes of the level that failed were not taken; those below it hang on `first`, by next. */
	for (struct tree_leaf *leaf = list.first, *next; leaf; leaf = next) {
		next = leaf->next;
		port->free(port->self, leaf, sizeof(*leaf));
	}
	if (levels > 1) {
		/* duplicate_level counts the level that failed. */
		unsigned deep = levels - 1;
		struct tree_inner *level = first;

		while (deep--) {
			struct tree_inner *below = deep ? level->child[0] : NULL;

			for (struct tree_inner *inner = level, *next; inner; inner = next) {
				next = inner->next;
				port->free(port->self, inner, sizeof(*inner));
			}
			level = below;
		}
	}
	for (struct tree_leaf *leaf = to->leaf_spare, *next; leaf; leaf = next) {
		next = leaf->next;
		port->free(port->self, leaf, sizeof(*leaf));
	}
	for (struct tree_inner *inner = to->inner_spare, *next; inner; inner = next) {
		next = inner->next;
		port->free(port->self, inner, sizeof(*inner));
	}
	tree_init(to, port);
	return error;
}
