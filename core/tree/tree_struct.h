/* tree_struct.h - struct tree, embedded in its owner.  Only core/tree reads or writes the fields.
 *
 * The first 64 bytes are all that a reader without a lock touches; they change only when the shape of the tree does, so
 * that stores which stay inside one leaf leave the readers' cache line alone.  The rest belongs to the holder of the
 * exclusive lock, except `hint` (one relaxed word) and the memory of gap searches, which holders of the shared lock may
 * overwrite.
 */
#ifndef SAMARA_CORE_TREE_STRUCT_H
#define SAMARA_CORE_TREE_STRUCT_H

#define TREE_LEVELS 14 /* inner levels; 20^14 is beyond 2^60 entries */

struct tree_leaf;
struct tree_inner;

struct tree_step {
	struct tree_inner *node;
	uint32_t slot;
};

struct tree {
	uint64_t root; /* address of the root, plus the number of inner levels; 0: empty */
	uint32_t shape; /* odd while the shape changes */
	uint32_t room;
	const struct samara_port *port;
	uint64_t pad[5];

	uint64_t hint; /* leaf and slot of the last tree_get: address plus slot; 0: none */
	uint32_t changes; /* counts stores, for iterators */
	uint32_t levels; /* of `path`, as in root */

	/* In (gap_from, gap_high) no gap has gap_size indices; gap.c says how holders of the shared lock agree on
	 * it. */
	uint64_t gap_from, gap_high, gap_size;
	uint32_t gap_stamp, more;

	/* The finger: the leaf of the last descent by the writer, what it covers, and the way to it. */
	struct tree_leaf *leaf; /* NULL: no finger */
	uint64_t low, high;
	struct tree_step path[TREE_LEVELS];

	struct tree_leaf *leaf_spare;
	struct tree_inner *inner_spare;
	uint32_t leaf_spares, inner_spares;
	size_t leaves, inners; /* in use */
	uint64_t entries;
};

#endif
