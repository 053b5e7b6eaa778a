/* node.h - the nodes of the maple tree: layout, search inside a node, and what keeps readers safe.
 *
 * Shape.  A B+-tree.  A leaf holds entries (start, end, value), ascending and disjoint; gaps are what no entry
 * covers and are not stored.  A leaf has one of two formats, chosen whenever it is written as a whole (leaf.c).
 * Packed: 16 bytes an entry, LEAF_MAX of them, start and end as 32-bit distances from `base` in pages (shift 12) or in
 * single indices (shift 0). Wide: 24 bytes an entry, WIDE_MAX of them, for what does not fit.  An inner node holds up
 * to INNER_MAX children, for each its lowest index (key) and the largest gap below it.  What always holds (tree_check
 * proves it):
 *
 *   T1  Child i of an inner node covers [key[i], key[i + 1]), the last one up to the end of its parent; the whole tree
 *       covers [0, UINT64_MAX).  Unused keys and starts are the largest number, so a search needs no count.
 *   T2  The key of a leaf, and of every subtree, is exactly the start of its first entry; only the leftmost path has
 *       key 0.  So a gap never spans two leaves: the gap behind a leaf's last entry ends where the leaf ends, and
 *       belongs to it.  This is what makes the gap of a child a plain maximum, with nothing to join at the seams.
 *   T3  gap[i] is exactly the largest gap in what child i covers.
 *   T4  No leaf is empty, no inner node is without children, the root has two or more; an empty tree has no node.
 *   T5  Leaves are linked in order (for iteration by holders of the lock).
 *
 * Readers without a lock (tree_lookup).  One counter for the shape of the tree (tree->shape) and one for each leaf
 * (version); both are odd while what they guard changes.  A store inside one leaf moves entries in place between two
 * steps of the leaf's version and touches nothing else that such a reader reads (gaps it does not read).  Splits,
 * merges, moved keys and stores over several leaves happen while tree->shape is odd, from the first step to the last,
 * so no half of a store is seen.  A reader reads the shape counter, descends, checks it again after each child pointer
 * was loaded and before it is followed, and at the end checks both counters; on a difference it starts again.  Node
 * memory stays node memory: freed nodes go to the tree's own spare lists, and to the port only through defer
 * (tree_trim), so a stale pointer is always readable.  The fields that `defer` overwrites (`head`) are the ones no such
 * reader reads.
 *   Every raced word is read and written by relaxed atomics (LOAD, STORE), ordered by the fences below.
 * ThreadSanitizer does not model fences, but needs none here: only atomics race, and the counters' acquire and release
 * order the values.
 *
 * Alternatives that were weighed.  Copying each changed leaf (RCU proper) gives readers that never retry, but pays an
 * allocation, a 512-byte copy and a grace period a store.  A version in each inner node lets readers of other subtrees
 * pass a split, at two more loads a level; splits are a tenth of the inserts or less and take some 200 ns.  Pivots with
 * explicit gaps take 12 or 16 bytes a contiguous entry but twice that an isolated one; start and end take the same for
 * both, and need no neighbour to know an entry's end.  Parent pointers cost a write to every moved child; the writer
 * keeps a path instead.
 */
#ifndef SAMARA_CORE_TREE_NODE_H
#define SAMARA_CORE_TREE_NODE_H

#include "core/tree/tree.h"

#define LEAF_MAX 29u /* entries of a packed leaf */
#define WIDE_MAX 19u /* and of a wide one */
#define LEAF_LOW 14u /* fewer: try to join with a sibling */
#define LEAF_JOIN 24u /* the most that a joined leaf may hold: leaves room, so that a pair of changes does not thrash */
#define WIDE_JOIN 14u /* the same where one of the two is wide: what made it so comes back */
#define LEAF_SHARE 3u /* a sibling with this many free slots takes entries of a full leaf before it splits */
#define LEAF_PAGE 12u
#define INNER_MAX 64u
#define INNER_LOW 20u
#define INNER_JOIN 48u
#define NODE_NONE UINT64_MAX
#define NODE_INLINE static inline __attribute__((always_inline))

struct wide_pair {
	uint64_t end;
	void *value;
};

struct tree_leaf {
	uint32_t version;
	uint16_t count;
	uint8_t shift, wide;
	union {
		struct {
			struct tree_leaf *next, *prev; /* `next` also links spare leaves */
		};
		struct samara_rcu_head head;
	};
	uint64_t base; /* packed: what the numbers below are relative to, shifted right */
	union {
		struct {
			uint32_t start[LEAF_MAX], end[LEAF_MAX];
			void *value[LEAF_MAX];
		};
		struct {
			uint64_t wide_start[WIDE_MAX];
			struct wide_pair wide_pair[WIDE_MAX];
		};
	};
};

struct tree_inner {
	uint32_t count;
	uint32_t pad;
	struct tree_inner *next; /* spare */
	struct samara_rcu_head head;
	uint64_t room[2];
	uint64_t key[INNER_MAX];
	void *child[INNER_MAX];
	uint64_t gap[INNER_MAX];
};

_Static_assert(sizeof(struct tree_leaf) == 512, "eight cache lines");
_Static_assert(sizeof(struct tree_inner) == 1600, "25 cache lines");

#if defined(__SANITIZE_THREAD__) /* gcc warns of fences there; they are not needed, see above */
#define NODE_FENCE_ACQUIRE() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define NODE_FENCE_RELEASE() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#else
#define NODE_FENCE_ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define NODE_FENCE_RELEASE() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif

static inline unsigned node_levels(uint64_t root)
{
	return root & 63;
}

static inline void *node_address(uint64_t root)
{
	return (void *)(uintptr_t)(root & ~(uint64_t)63);
}

/* The slot of the child that covers `index`.  Two rounds of independent comparisons instead of a binary search: no
 * branch to mispredict, and two dependent loads instead of six. */
NODE_INLINE unsigned inner_find(const struct tree_inner *node, uint64_t index)
{
	const uint64_t *key = node->key;
	unsigned low = (LOAD(key[8]) <= index) + (LOAD(key[16]) <= index) + (LOAD(key[24]) <= index);
	unsigned high = (LOAD(key[32]) <= index) + (LOAD(key[40]) <= index) + (LOAD(key[48]) <= index) +
			(LOAD(key[56]) <= index);
	unsigned base = (low + high) * 8;

	key += base;
	low = (LOAD(key[1]) <= index) + (LOAD(key[2]) <= index) + (LOAD(key[3]) <= index);
	high = (LOAD(key[4]) <= index) + (LOAD(key[5]) <= index) + (LOAD(key[6]) <= index) + (LOAD(key[7]) <= index);
	return base + low + high;
}

NODE_INLINE unsigned wide_find(const struct tree_leaf *leaf, uint64_t index)
{
	const uint64_t *start = leaf->wide_start;
	unsigned base = ((LOAD(start[4]) <= index) + (LOAD(start[9]) <= index) + (LOAD(start[14]) <= index)) * 5u;

	start += base;
	return base + (LOAD(start[0]) <= index) + (LOAD(start[1]) <= index) + (LOAD(start[2]) <= index) +
	       (LOAD(start[3]) <= index);
}

NODE_INLINE unsigned packed_find(const struct tree_leaf *leaf, uint32_t place)
{
	const uint32_t *start = leaf->start;
	unsigned low = (LOAD(start[4]) <= place) + (LOAD(start[9]) <= place);
	unsigned high = (LOAD(start[14]) <= place) + (LOAD(start[19]) <= place) + (LOAD(start[24]) <= place);
	unsigned base = (low + high) * 5;

	start += base;
	low = (LOAD(start[0]) <= place) + (LOAD(start[1]) <= place);
	high = (LOAD(start[2]) <= place) + (LOAD(start[3]) <= place);
	return base + low + high;
}

/* The value that covers `index` in this leaf, and its slot; NULL if nothing does.  For readers without a lock too. */
NODE_INLINE void *leaf_get(const struct tree_leaf *leaf, uint64_t index, unsigned *slot)
{
	uint64_t place;

	if (UNLIKELY(LOAD(leaf->wide))) {
		*slot = wide_find(leaf, index - (index == NODE_NONE)) - 1;
		return *slot < WIDE_MAX && index < LOAD(leaf->wide_pair[*slot].end) ?
		       LOAD(leaf->wide_pair[*slot].value) : NULL;
	}
	place = (index >> (LOAD(leaf->shift) & 63)) - LOAD(leaf->base);
	if (UNLIKELY(place >= UINT32_MAX))
		return NULL;
	*slot = packed_find(leaf, (uint32_t)place) - 1;
	return *slot < LEAF_MAX && place < LOAD(leaf->end[*slot]) ? LOAD(leaf->value[*slot]) : NULL;
}

/* Ask for a leaf's eight lines at once, before the first is needed: out of cache the search would wait for three in
 * turn. */
NODE_INLINE void leaf_prefetch(const void *leaf)
{
	for (unsigned i = 0; i < sizeof(struct tree_leaf); i += 64)
		__builtin_prefetch((const char *)leaf + i);
}

/* -- for holders of the lock -- */

static inline uint64_t leaf_start(const struct tree_leaf *leaf, unsigned slot)
{
	return leaf->wide ? leaf->wide_start[slot] : (leaf->start[slot] + leaf->base) << leaf->shift;
}

static inline uint64_t leaf_end(const struct tree_leaf *leaf, unsigned slot)
{
	return leaf->wide ? leaf->wide_pair[slot].end : (leaf->end[slot] + leaf->base) << leaf->shift;
}

static inline void *leaf_value(const struct tree_leaf *leaf, unsigned slot)
{
	return leaf->wide ? leaf->wide_pair[slot].value : leaf->value[slot];
}

static inline struct tree_entry leaf_entry(const struct tree_leaf *leaf, unsigned slot)
{
	return (struct tree_entry){ leaf_start(leaf, slot), leaf_end(leaf, slot), leaf_value(leaf, slot) };
}

/* How many entries start at or before `index`, which is below UINT64_MAX. */
NODE_INLINE unsigned leaf_find(const struct tree_leaf *leaf, uint64_t index)
{
	uint64_t place;

	if (UNLIKELY(leaf->wide))
		return wide_find(leaf, index);
	place = (index >> leaf->shift) - leaf->base;
	if (UNLIKELY(place >= UINT32_MAX))
		return index < leaf_start(leaf, 0) ? 0 : leaf->count;
	return packed_find(leaf, (uint32_t)place);
}

/* Can [start, end) stand in the leaf as it is? */
static inline bool leaf_fits(const struct tree_leaf *leaf, uint64_t start, uint64_t end)
{
	uint64_t from = (start >> leaf->shift) - leaf->base, to = (end >> leaf->shift) - leaf->base;

	return leaf->wide || (!((start | end) & (((uint64_t)1 << leaf->shift) - 1)) && from - 1 < UINT32_MAX - 1 &&
			      to - 1 < UINT32_MAX);
}

/* The writer's: the entry fits, the slot is below the format's limit. */
static inline void leaf_set(struct tree_leaf *leaf, unsigned slot, struct tree_entry entry)
{
	if (leaf->wide) {
		STORE(leaf->wide_start[slot], entry.start);
		STORE(leaf->wide_pair[slot].end, entry.end);
		STORE(leaf->wide_pair[slot].value, entry.value);
		return;
	}
	STORE(leaf->start[slot], (uint32_t)((entry.start >> leaf->shift) - leaf->base));
	STORE(leaf->end[slot], (uint32_t)((entry.end >> leaf->shift) - leaf->base));
	STORE(leaf->value[slot], entry.value);
}

static inline void inner_move(struct tree_inner *to, unsigned at, const struct tree_inner *from, unsigned slot)
{
	STORE(to->key[at], from->key[slot]);
	STORE(to->child[at], from->child[slot]);
	to->gap[at] = from->gap[slot];
}

/* node.c */
SAMARA_INTERNAL struct tree_leaf *node_take_leaf(struct tree *tree);
SAMARA_INTERNAL struct tree_inner *node_take_inner(struct tree *tree);
SAMARA_INTERNAL void node_drop_leaf(struct tree *tree, struct tree_leaf *leaf);
SAMARA_INTERNAL void node_drop_inner(struct tree *tree, struct tree_inner *inner);
SAMARA_INTERNAL int node_fill(struct tree *tree, size_t leaves, size_t inners);

/* leaf.c */
SAMARA_INTERNAL unsigned leaf_read(const struct tree_leaf *leaf, struct tree_entry *entries);
SAMARA_INTERNAL bool leaf_can_hold(const struct tree_entry *entries, unsigned count);
SAMARA_INTERNAL void leaf_write(struct tree_leaf *leaf, const struct tree_entry *entries, unsigned count);
SAMARA_INTERNAL void leaf_shift(struct tree_leaf *leaf, unsigned slot, unsigned to);

/* walk.c */
SAMARA_INTERNAL void walk_seek(struct tree *tree, uint64_t index);

/* gap.c */
SAMARA_INTERNAL uint64_t gap_of_leaf(const struct tree_leaf *leaf, uint64_t low, uint64_t high);
SAMARA_INTERNAL uint64_t gap_of_inner(const struct tree_inner *inner);
SAMARA_INTERNAL void gap_raise(struct tree *tree, unsigned depth);
SAMARA_INTERNAL void gap_set(struct tree *tree, uint64_t gap);
SAMARA_INTERNAL void gap_forget(struct tree *tree, uint64_t start, uint64_t end);

/* shape.c */
SAMARA_INTERNAL void shape_open(struct tree *tree);
SAMARA_INTERNAL void shape_close(struct tree *tree);
SAMARA_INTERNAL void shape_add_leaf(struct tree *tree, struct tree_leaf *right);
SAMARA_INTERNAL void shape_make_room(struct tree *tree);
SAMARA_INTERNAL bool shape_refill(struct tree *tree);
SAMARA_INTERNAL void shape_drop_leaf(struct tree *tree);
SAMARA_INTERNAL void shape_set_low(struct tree *tree, uint64_t low);
SAMARA_INTERNAL void shape_settle(struct tree *tree);

#endif
