/* merge.c - when neighbours become one VMA.
 *
 *   new range between two VMAs                 part of a VMA that changes
 *
 *   prev | new | next                          prev | [middle] rest      prev | middle | next
 *   both: prev takes all, next goes            left: prev grows, the rest stays; whole middle: it goes
 *   left: prev grows                           right: next grows down    both: prev takes all, middle and next go
 *   right: next grows down
 *
 * Two ranges are one when everything that a VMA is agrees: flags, open file and contiguous offset, private data, extra,
 * and an anonymous history that allows it (anon.c).  With both sides mergeable but of different histories only the left
 * one is taken.  A VMA whose operations include close is never removed by a merge, and a special mapping never merges.
 * Commits cannot fail: a merge needs no new VMA and tree nodes were reserved.
 */
#include "core/mm.h"

static bool spec_fits(const vma_t *vma, const struct vma_spec *spec)
{
	return !((vma->flags ^ spec->flags) & ~VM_STICKY) && vma->file == spec->file &&
	       vma->private_data == spec->private_data && extra_equal(vma->extra, spec->extra);
}

/* May `spec` join the VMA that ends where it starts? */
static bool fits_after(const vma_t *prev, const struct vma_spec *spec)
{
	return prev && prev->end == spec->start && spec_fits(prev, spec) && prev->pgoff + vma_pages(prev) == spec->pgoff &&
	       anon_mergeable(spec->anon_id, spec->inherited, prev->anon_id, prev->inherited);
}

static bool fits_before(const vma_t *next, const struct vma_spec *spec)
{
	return next && next->start == spec->end && spec_fits(next, spec) &&
	       spec->pgoff + ((spec->end - spec->start) >> PAGE_SHIFT) == next->pgoff &&
	       anon_mergeable(spec->anon_id, spec->inherited, next->anon_id, next->inherited);
}

static bool removable(const vma_t *vma)
{
	return !(vma->extra && vma->extra->has_close) && !(vma->file && vma->file->inode->ops.close);
}

/* `vma` takes in a range with this history: before its range grows, so that the family finds it at all times. */
static void adopt_history(vma_t *vma, uint64_t anon_id, bool inherited, struct anon *anon)
{
	if (!vma->anon_id && anon_id) {
		vma_lock_write(vma->mm, vma);
		vma->anon_id = anon_id;
		vma->inherited = inherited;
		if (anon)
			rmap_join_family(vma, anon);
	}
}

/* What merges into `vma` had these flags. */
static void adopt_flags(vma_t *vma, uint64_t flags)
{
	if (UNLIKELY(flags & VM_STICKY & ~vma->flags))
		vma_set_flags(vma, vma->flags | (flags & VM_STICKY));
}

/* `vma` becomes [start, end); what the tree had there is replaced in one step. */
static void stretch(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end)
{
	uint64_t pgoff = vma->pgoff - ((vma->start - start) >> PAGE_SHIFT);

	vma_set_range(vma, start, end, pgoff);
	tree_store(&mm->tree, start, end, vma);
}

static void drop(struct samara_mm *mm, vma_t *vma)
{
	mm->map_count--;
	vma_give(mm, vma);
}

SAMARA_INTERNAL vma_t *vma_merge_new(struct samara_mm *mm, const struct vma_spec *spec, vma_t *prev, vma_t *next)
{
	bool left, right;

	if (spec->flags & VM_SPECIAL)
		return NULL;
	left = fits_after(prev, spec);
	right = fits_before(next, spec);
	/* each was asked whether it may join the new range: only two different histories keep them apart */
	if (left && right && removable(next) && (!prev->anon_id || !next->anon_id || prev->anon_id == next->anon_id)) {
		adopt_history(prev, next->anon_id, next->inherited, next->anon);
		adopt_history(prev, spec->anon_id, spec->inherited, spec->anon);
		adopt_flags(prev, next->flags | spec->flags);
		stretch(mm, prev, prev->start, next->end);
		drop(mm, next);
		return prev;
	}
	if (left) {
		adopt_history(prev, spec->anon_id, spec->inherited, spec->anon);
		adopt_flags(prev, spec->flags);
		stretch(mm, prev, prev->start, spec->end);
		return prev;
	}
	if (right) {
		adopt_history(next, spec->anon_id, spec->inherited, spec->anon);
		adopt_flags(next, spec->flags);
		stretch(mm, next, spec->start, next->end);
		return next;
	}
	return NULL;
}

/* [start, end) of `vma` with the properties of `spec` joins its neighbours, or NULL. */
static vma_t *merge_existing(struct samara_mm *mm, vma_t *vma, const struct vma_spec *spec)
{
	bool whole_left = spec->start == vma->start, whole_right = spec->end == vma->end;
	vma_t *prev, *next;
	bool left, right;

	if ((spec->flags & VM_SPECIAL) || (!whole_left && !whole_right))
		return NULL;
	prev = whole_left ? mm_prev(mm, vma->start) : NULL;
	next = whole_right ? mm_next(mm, vma) : NULL;
	left = fits_after(prev, spec);
	right = fits_before(next, spec);
	if (whole_left && whole_right && (left || right) && !removable(vma))
		return NULL;
	if (left && right && (!removable(next) ||
			      !anon_mergeable(prev->anon_id, prev->inherited, next->anon_id, next->inherited)))
		right = false;
	if (left && right) {
		adopt_history(prev, next->anon_id, next->inherited, next->anon);
		adopt_history(prev, vma->anon_id, vma->inherited, vma->anon);
		adopt_flags(prev, next->flags | spec->flags);
		stretch(mm, prev, prev->start, next->end);
		drop(mm, vma);
		drop(mm, next);
		return prev;
	}
	if (left) {
		adopt_history(prev, vma->anon_id, vma->inherited, vma->anon);
		adopt_flags(prev, spec->flags);
		vma_lock_write(mm, vma);
		stretch(mm, prev, prev->start, spec->end);
		if (whole_right)
			drop(mm, vma);
		else /* last: no page is outside all VMAs for a moment */
			vma_set_range(vma, spec->end, vma->end, vma->pgoff + ((spec->end - vma->start) >> PAGE_SHIFT));
		return prev;
	}
	if (right) {
		adopt_history(next, vma->anon_id, vma->inherited, vma->anon);
		adopt_flags(next, spec->flags);
		vma_lock_write(mm, vma);
		stretch(mm, next, spec->start, next->end);
		if (whole_left)
			drop(mm, vma);
		else
			vma_set_range(vma, vma->start, spec->start, vma->pgoff);
		return next;
	}
	return NULL;
}

SAMARA_INTERNAL int vma_modify(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, uint64_t flags,
	struct vma_extra *extra, vma_t **out)
{
	struct vma_spec spec = { .start = start, .end = end, .flags = flags, .file = vma->file,
		.pgoff = vma->pgoff + ((start - vma->start) >> PAGE_SHIFT), .private_data = vma->private_data, .extra = extra,
		.anon_id = vma->anon_id, .inherited = vma->inherited, .anon = vma->anon };
	vma_t *merged;
	int err = mm_reserve(mm, 2);

	if (err)
		return err;
	merged = merge_existing(mm, vma, &spec);
	if (merged) {
		*out = merged;
		return 0;
	}
	if ((start > vma->start && !vma_may_cut(vma, start)))
		return -SAMARA_EINVAL;
	/* The kernel cuts at the start first; when the second cut fails the first one stays. */
	if (start > vma->start) {
		if (mm->map_count >= mm->vm->config.max_map_count)
			return -SAMARA_ENOMEM;
		vma = vma_split(mm, vma, start);
	}
	if (end < vma->end) {
		if (!vma_may_cut(vma, end))
			return -SAMARA_EINVAL;
		if (mm->map_count >= mm->vm->config.max_map_count)
			return -SAMARA_ENOMEM;
		vma_split(mm, vma, end);
	}
	if (extra != vma->extra) {
		struct vma_extra *old = vma->extra;

		vma->extra = extra_get(extra);
		extra_put(mm->vm, old);
	}
	vma_set_flags(vma, flags);
	*out = vma;
	return 0;
}
