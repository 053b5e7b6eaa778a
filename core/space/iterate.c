/* iterate.c - walking the map under a guard, forward and back.
 *
 * The iterator remembers its place in the tree; a change made under the same write guard only makes its next step find
 * the place again.  It holds no VMA: what it yields is looked up at each step, so it stays valid across splits and
 * merges.
 */
#include "core/space/space.h"

_Static_assert(sizeof(struct tree_iter) <= sizeof(((struct samara_vma_iter *)0)->place), "room for the tree's iterator");
_Static_assert(_Alignof(struct tree_iter) <= _Alignof(struct samara_vma_iter), "alignment of the tree's iterator");

static struct tree_iter *place_of(struct samara_vma_iter *iter)
{
	return (struct tree_iter *)(void *)iter->place;
}

void samara_vma_iter_init(struct samara_vma_iter *iter, const struct samara_read_guard *g, samara_va from)
{
	tree_iter_init(place_of(iter), &g->mm->tree, from);
}

const struct samara_vma *samara_vma_iter_next(struct samara_vma_iter *iter)
{
	return tree_iter_next(place_of(iter));
}

const struct samara_vma *samara_vma_iter_prev(struct samara_vma_iter *iter)
{
	return tree_iter_prev(place_of(iter));
}
