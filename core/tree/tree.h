/* tree.h - the maple tree: ranges to pointers, for the address space's index.  Knows nothing of VMAs and builds alone.
 *
 * A tree maps disjoint half-open ranges [start, end) of 64-bit indices to non-NULL pointers; what no range covers is
 * a gap.  There is one writer at a time (the caller's lock); readers may run beside it without any lock
 * (tree_lookup) between the port's read_lock and read_unlock.  A store first reserves nodes, then cannot fail.
 *
 * Ranges are never joined or split by the tree on its own account: a store replaces exactly the part of
 * [start, end) that it names, and what stood there is cut at the edges.
 */
#ifndef SAMARA_CORE_TREE_H
#define SAMARA_CORE_TREE_H

#include "core/base/base.h"
#include "samara/port.h"

struct tree_node;

struct tree_entry {
	uint64_t start, end; /* half-open */
	void *value;         /* NULL: nothing found */
};

/* struct tree is embedded in its owner; its fields belong to core/tree. */
#include "core/tree/tree_struct.h"

/* [floor, ceiling) is where gaps may be found; entries may stand anywhere in [0, UINT64_MAX). Allocates nothing. */
SAMARA_INTERNAL void tree_init(struct tree *tree, const struct samara_port *port);
/* Frees every node (values are the caller's).  No reader may be inside any more. */
SAMARA_INTERNAL void tree_destroy(struct tree *tree);
SAMARA_INTERNAL bool tree_is_empty(const struct tree *tree);

/* -- lookups by the holder of the caller's lock (shared or exclusive) -- */

/* The value whose range holds `index`, or NULL. */
SAMARA_INTERNAL void *tree_get(const struct tree *tree, uint64_t index);
/* The first entry that ends after `index` (so it holds index or lies above); value NULL when there is none. */
SAMARA_INTERNAL struct tree_entry tree_ceiling(const struct tree *tree, uint64_t index);
/* The last entry that starts at or before `index` (it holds index or lies below). */
SAMARA_INTERNAL struct tree_entry tree_floor(const struct tree *tree, uint64_t index);
/* Both neighbours of a place in one descent: *prev is the last entry that ends at or before `index`, *next the first
 * that ends after it (so *next holds index when next->start <= index). Values NULL where there is none. */
SAMARA_INTERNAL void tree_around(const struct tree *tree, uint64_t index, struct tree_entry *prev, struct tree_entry *next);
SAMARA_INTERNAL void *tree_ceiling_value(const struct tree *tree, uint64_t index); /* where the range is not asked for */
/* The value behind `value`, if that is the one found last; NULL: the caller looks for it. */
SAMARA_INTERNAL void *tree_behind(const struct tree *tree, const void *value);
/* By the holder of the exclusive lock, before it looks at a place and then changes it: lookups and stores near `index`
 * need no descent until the next change of the tree's shape. */
SAMARA_INTERNAL void tree_focus(struct tree *tree, uint64_t index);

/* Iterator: stays valid across stores by the holder of the exclusive lock (it finds its place again by index).
 * tree_iter_next yields entries in ascending order that end after `index` given at init; _prev descending, that start
 * before it.  Mixing both is allowed. */
struct tree_iter {
	const struct tree *tree;
	struct tree_entry at;     /* the entry last yielded; value NULL before the first */
	uint64_t from;
	const struct tree_node *node; /* cached place; belongs to core/tree */
	uint32_t slot, version;
};
SAMARA_INTERNAL void tree_iter_init(struct tree_iter *iter, const struct tree *tree, uint64_t index);
SAMARA_INTERNAL void *tree_iter_next(struct tree_iter *iter); /* iter->at has the range */
SAMARA_INTERNAL void *tree_iter_prev(struct tree_iter *iter);

/* -- gap search: by the holder of the lock.  Gaps are the maximal uncovered ranges; [low, high) limits the search and
 * cuts them. -- */

/* The highest gap (cut to [low, high)) of at least `size` indices: its cut range in *gap; false when there is none. */
SAMARA_INTERNAL bool tree_gap_highest(const struct tree *tree, uint64_t low, uint64_t high, uint64_t size, struct tree_entry *gap);
/* The lowest one. */
SAMARA_INTERNAL bool tree_gap_lowest(const struct tree *tree, uint64_t low, uint64_t high, uint64_t size, struct tree_entry *gap);

/* -- changes: by the holder of the exclusive lock -- */

/* Make sure that the next `stores` calls of tree_store cannot run out of nodes, whatever their ranges.  0 or -ENOMEM
 * (and then nothing changed).  Reservations do not add up: it is a level, checked and refilled, so it costs nothing
 * when it is there.  Unused nodes stay with the tree for the next change; tree_trim gives them back. */
SAMARA_INTERNAL int tree_reserve(struct tree *tree, unsigned stores);
/* Replace [start, end) by `value` (NULL: a gap).  Cannot fail after tree_reserve; without it, it panics when a node is
 * missing.  Readers see the old or the new state of every single index, in one step per leaf. */
SAMARA_INTERNAL void tree_store(struct tree *tree, uint64_t start, uint64_t end, void *value);
SAMARA_INTERNAL void tree_trim(struct tree *tree);

/* Bulk duplicate: `to` (fresh from tree_init) gets every entry of `from` whose copy(arg, value) is not NULL, with the
 * value that copy returned, at the same range, in ascending order, densely packed.  -ENOMEM: `to` is empty again, and
 * for the values copied so far the caller cleans up.  copy() may set *stop to end the duplication early with
 * -ENOMEM. */
SAMARA_INTERNAL int tree_duplicate(struct tree *to, const struct tree *from, void *(*copy)(void *arg, void *value, bool *stop), void *arg);

/* -- lookup without any lock, inside the port's read-side section; beside one writer -- */

/* As tree_get.  The value may be replaced right after; the caller verifies what it points to. */
SAMARA_INTERNAL void *tree_lookup(const struct tree *tree, uint64_t index);

/* -- proof -- */

/* Whole-tree check: order, depth, fill, gaps in inner nodes, parent links, counts.  NULL, or what is broken. */
SAMARA_INTERNAL const char *tree_check(const struct tree *tree);
/* Bytes that the tree holds in nodes, in use and in reserve; the number of entries. */
SAMARA_INTERNAL size_t tree_bytes(const struct tree *tree, size_t *reserve_bytes);
SAMARA_INTERNAL uint64_t tree_count(const struct tree *tree);

#endif
