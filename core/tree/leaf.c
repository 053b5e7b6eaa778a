/* leaf.c - leaves as a whole: read into plain entries, written back in the format that holds them.
 *
 * Exclusive lock only.  Whoever calls has made the leaf's version or tree->shape odd, or the leaf is not in the tree
 * yet.
 */
#include "core/tree/node.h"

/* The format for entries: shift and base in packed leaves; false: they need a wide one. */
static bool leaf_pack(const struct tree_entry *entries, unsigned count, unsigned *shift, uint64_t *base)
{
	uint64_t all = 0, first, span;

	for (unsigned i = 0; i < count; i++)
		all |= entries[i].start | entries[i].end;
	*shift = all & (((uint64_t)1 << LEAF_PAGE) - 1) ? 0 : LEAF_PAGE;
	first = entries[0].start >> *shift;
	span = (entries[count - 1].end >> *shift) - first;
	/* No index may wrap round to a place in the leaf: with shift 0 that takes care at both ends. */
	if (span >= UINT32_MAX || (!*shift && first > UINT64_MAX - ((uint64_t)1 << 33)))
		return false;
	/* Stored starts are 1 or more.  Half of the room is left below, for what may come before the first one. */
	*base = first - (span < 1u << 31 && (*shift || first >= 1u << 31) ? 1u << 31 : 1);
	return true;
}

SAMARA_INTERNAL unsigned leaf_read(const struct tree_leaf *leaf, struct tree_entry *entries)
{
	for (unsigned i = 0; i < leaf->count; i++)
		entries[i] = leaf_entry(leaf, i);
	return leaf->count;
}

SAMARA_INTERNAL bool leaf_can_hold(const struct tree_entry *entries, unsigned count)
{
	uint64_t base;
	unsigned shift;

	return count <= WIDE_MAX || (count <= LEAF_MAX && leaf_pack(entries, count, &shift, &base));
}

SAMARA_INTERNAL void leaf_write(struct tree_leaf *leaf, const struct tree_entry *entries, unsigned count)
{
	uint64_t base = 0;
	unsigned shift = 0;
	bool wide = !leaf_pack(entries, count, &shift, &base);

	STORE(leaf->wide, wide);
	STORE(leaf->shift, (uint8_t)shift);
	STORE(leaf->base, base);
	for (unsigned i = 0; i < count; i++)
		leaf_set(leaf, i, entries[i]);
	leaf->count = (uint16_t)count;
	if (wide)
		for (; count < WIDE_MAX; count++)
			STORE(leaf->wide_start[count], NODE_NONE);
	else
		for (; count < LEAF_MAX; count++)
			STORE(leaf->start[count], UINT32_MAX);
}

/* Move the entries from `slot` on so that they begin at slot `to`, which fits; freed slots at the end become unused. */
SAMARA_INTERNAL void leaf_shift(struct tree_leaf *leaf, unsigned slot, unsigned to)
{
	unsigned count = leaf->count, after = count - slot + to;

	if (UNLIKELY(leaf->wide)) {
		for (unsigned i = count; to > slot && i-- > slot; )
			leaf_set(leaf, i + to - slot, leaf_entry(leaf, i));
		for (unsigned i = slot; to < slot && i < count; i++)
			leaf_set(leaf, i + to - slot, leaf_entry(leaf, i));
		for (unsigned i = after; i < count; i++)
			STORE(leaf->wide_start[i], NODE_NONE);
	} else if (to > slot) {
		unsigned by = to - slot;

		for (unsigned i = count; i-- > slot; ) {
			STORE(leaf->value[i + by], leaf->value[i]);
			STORE(leaf->end[i + by], leaf->end[i]);
			STORE(leaf->start[i + by], leaf->start[i]);
		}
	} else if (to < slot) {
		unsigned by = slot - to;

		for (unsigned i = slot; i < count; i++) {
			STORE(leaf->start[i - by], leaf->start[i]);
			STORE(leaf->end[i - by], leaf->end[i]);
			STORE(leaf->value[i - by], leaf->value[i]);
		}
		for (unsigned i = after; i < count; i++)
			STORE(leaf->start[i], UINT32_MAX);
	}
	leaf->count = (uint16_t)after;
}
