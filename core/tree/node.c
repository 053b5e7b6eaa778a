/* node.c - where nodes come from and go to: the port, the spare lists, the reserve.
 *
 * Always holds: `leaves` and `inners` count the nodes in use, `leaf_spares` and `inner_spares` the ones on the spare
 * lists; together they are all that the tree took from the port and has not handed to free or defer.  Called by the
 * holder of the exclusive lock.
 */
#include "core/tree/node.h"

SAMARA_INTERNAL void tree_init(struct tree *tree, const struct samara_port *port)
{
	zero_bytes(tree, sizeof(*tree));
	tree->port = port;
}

SAMARA_INTERNAL bool tree_is_empty(const struct tree *tree)
{
	return LOAD(tree->root) == 0;
}

static void node_panic(struct tree *tree, int line, const char *what)
{
	if (tree->port->panic)
		tree->port->panic(tree->port->self, __FILE__, line, what);
	__builtin_trap();
}

SAMARA_INTERNAL struct tree_leaf *node_take_leaf(struct tree *tree)
{
	struct tree_leaf *leaf = tree->leaf_spare;

	if (UNLIKELY(!leaf))
		node_panic(tree, __LINE__, "tree_store without a reserved leaf");
	tree->leaf_spare = leaf->next;
	tree->leaf_spares--;
	tree->leaves++;
	leaf->count = 0;
	leaf->next = NULL;
	leaf->prev = NULL;
	return leaf; /* not yet readable: leaf_write comes next */
}

SAMARA_INTERNAL struct tree_inner *node_take_inner(struct tree *tree)
{
	struct tree_inner *inner = tree->inner_spare;

	if (UNLIKELY(!inner))
		node_panic(tree, __LINE__, "tree_store without a reserved inner node");
	tree->inner_spare = inner->next;
	tree->inner_spares--;
	tree->inners++;
	inner->count = 0;
	inner->next = NULL;
	for (unsigned i = 0; i < INNER_MAX; i++)
		STORE(inner->key[i], NODE_NONE);
	return inner;
}

SAMARA_INTERNAL void node_drop_leaf(struct tree *tree, struct tree_leaf *leaf)
{
	if (node_address(tree->hint) == leaf)
		STORE(tree->hint, 0);
	leaf->next = tree->leaf_spare;
	tree->leaf_spare = leaf;
	tree->leaf_spares++;
	tree->leaves--;
}

SAMARA_INTERNAL void node_drop_inner(struct tree *tree, struct tree_inner *inner)
{
	inner->next = tree->inner_spare;
	tree->inner_spare = inner;
	tree->inner_spares++;
	tree->inners--;
}

/* Have at least so many spare nodes.  On failure the ones that were got stay spare: nothing that anybody can see has
 * changed. */
SAMARA_INTERNAL int node_fill(struct tree *tree, size_t leaves, size_t inners)
{
	const struct samara_port *port = tree->port;

	while (tree->leaf_spares < leaves) {
		struct tree_leaf *leaf = port->alloc(port->self, sizeof(*leaf));

		if (!leaf)
			return -12; /* ENOMEM */
		leaf->version = 0;
		leaf->next = tree->leaf_spare;
		tree->leaf_spare = leaf;
		tree->leaf_spares++;
	}
	while (tree->inner_spares < inners) {
		struct tree_inner *inner = port->alloc(port->self, sizeof(*inner));

		if (!inner)
			return -12;
		inner->next = tree->inner_spare;
		tree->inner_spare = inner;
		tree->inner_spares++;
	}
	return 0;
}

/* A store adds at most one leaf (a full one plus two entries is two), and so at most one node in each inner level; a
 * new root comes on top, and a second one only after more stores than a root has room for children.  While all leaves
 * would fit under one node, no inner node can split, and while all entries would fit into one leaf of any format, no
 * leaf. */
SAMARA_INTERNAL int tree_reserve(struct tree *tree, unsigned stores)
{
	size_t leaves = stores, inners = node_levels(tree->root) * (size_t)stores + 1 + stores / (INNER_MAX / 4) * 2;

	if (tree->leaves + stores <= INNER_MAX)
		inners = node_levels(tree->root) ? 0 : 1;
	if (tree->entries + 2 * (uint64_t)stores <= WIDE_MAX) {
		leaves = tree->root ? 0 : 1;
		inners = 0;
	}
	if (LIKELY(tree->leaf_spares >= leaves && tree->inner_spares >= inners))
		return 0;
	return node_fill(tree, leaves, inners);
}

static void node_reclaim_leaf(struct samara_rcu_head *head)
{
	struct tree_leaf *leaf = CONTAINER_OF(head, struct tree_leaf, head);
	const struct samara_port *port = (const struct samara_port *)(uintptr_t)leaf->base;

	port->free(port->self, leaf, sizeof(*leaf));
}

static void node_reclaim_inner(struct samara_rcu_head *head)
{
	struct tree_inner *inner = CONTAINER_OF(head, struct tree_inner, head);
	const struct samara_port *port = (const struct samara_port *)(uintptr_t)inner->key[0];

	port->free(port->self, inner, sizeof(*inner));
}

/* A reader that still looks at a dropped node reads the port's address as an index there, and then fails its check. */
SAMARA_INTERNAL void tree_trim(struct tree *tree)
{
	const struct samara_port *port = tree->port;

	while (tree->leaf_spare) {
		struct tree_leaf *leaf = tree->leaf_spare;

		tree->leaf_spare = leaf->next;
		tree->leaf_spares--;
		STORE(leaf->base, (uint64_t)(uintptr_t)port);
		if (port->defer)
			port->defer(port->self, &leaf->head, node_reclaim_leaf);
		else
			port->free(port->self, leaf, sizeof(*leaf));
	}
	while (tree->inner_spare) {
		struct tree_inner *inner = tree->inner_spare;

		tree->inner_spare = inner->next;
		tree->inner_spares--;
		STORE(inner->key[0], (uint64_t)(uintptr_t)port);
		if (port->defer)
			port->defer(port->self, &inner->head, node_reclaim_inner);
		else
			port->free(port->self, inner, sizeof(*inner));
	}
}

/* All nodes below (and with) `node` become spare; inner ones are TREE_LEVELS deep at most. */
static void node_drop_all(struct tree *tree, void *node, unsigned levels)
{
	struct tree_inner *inner = node;

	if (!levels) {
		node_drop_leaf(tree, node);
		return;
	}
	for (unsigned i = 0; i < inner->count; i++)
		node_drop_all(tree, inner->child[i], levels - 1);
	node_drop_inner(tree, inner);
}

SAMARA_INTERNAL void tree_destroy(struct tree *tree)
{
	const struct samara_port *port = tree->port;

	if (tree->root)
		node_drop_all(tree, node_address(tree->root), node_levels(tree->root));
	while (tree->leaf_spare) {
		struct tree_leaf *leaf = tree->leaf_spare;

		tree->leaf_spare = leaf->next;
		port->free(port->self, leaf, sizeof(*leaf));
	}
	while (tree->inner_spare) {
		struct tree_inner *inner = tree->inner_spare;

		tree->inner_spare = inner->next;
		port->free(port->self, inner, sizeof(*inner));
	}
	tree_init(tree, port);
}

SAMARA_INTERNAL size_t tree_bytes(const struct tree *tree, size_t *reserve_bytes)
{
	size_t reserve = tree->leaf_spares * sizeof(struct tree_leaf) + tree->inner_spares * sizeof(struct tree_inner);

	if (reserve_bytes)
		*reserve_bytes = reserve;
	return tree->leaves * sizeof(struct tree_leaf) + tree->inners * sizeof(struct tree_inner) + reserve;
}

SAMARA_INTERNAL uint64_t tree_count(const struct tree *tree)
{
	return tree->entries;
}
