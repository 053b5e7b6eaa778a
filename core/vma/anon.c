/* anon.c - the anonymous history of a VMA, as far as merging sees it.
 *
 * Linux gives a private mapping an anon_vma at its first write fault.  Two mappings that would otherwise merge do so
 * only if their histories allow it; so which mapping was written to, and which came through fork, is visible in maps.
 * Here a history is an identity: anon_id.  Pieces of a split share it, a forked child gets a new one that is marked
 * inherited, and a first fault takes over that of a neighbour with which the VMA could merge but for its access rights.
 */
#include "core/mm.h"

/* Does reading untouched memory give it a page of its own, as a write would? */
SAMARA_INTERNAL bool read_gives_page(const struct samara_mm *mm, const vma_t *vma)
{
	return mm->vm->config.no_zero_page && !(vma->flags & VM_SHARED) && vma_is_anonymous(vma);
}

/* May ranges with these histories become one?  Same history: yes.  Only one has any: unless it came through fork. */
SAMARA_INTERNAL bool anon_mergeable(uint64_t a, bool a_inherited, uint64_t b, bool b_inherited)
{
	if (a && b)
		return a == b;
	if (a)
		return !a_inherited;
	return !b || !b_inherited;
}

/* Could `high`, right above `low`, be the same mapping but for access rights and history? */
static bool anon_compatible(const vma_t *low, const vma_t *high)
{
	static const struct vma_extra none;
	const struct vma_extra *a = low->extra ? low->extra : &none, *b = high->extra ? high->extra : &none;

	return low->end == high->start && low->file == high->file && low->pgoff + vma_pages(low) == high->pgoff &&
	       !((low->flags ^ high->flags) & ~(VM_ACCESS | VM_STICKY)) && a->policy.mode == b->policy.mode &&
	       a->policy.flags == b->policy.flags && a->policy.nodes == b->policy.nodes;
}

static bool anon_reusable(const vma_t *old)
{
	return old->anon_id && !old->inherited;
}

/* mmap_lock is held, either side.  On a machine with memory the VMA also gets a family, in which the reverse map finds
 * it: -ENOMEM when that cannot be had. */
SAMARA_INTERNAL int anon_prepare(struct samara_mm *mm, vma_t *vma)
{
	const vma_t *next, *prev, *like = NULL;
	struct anon *fresh = NULL, *anon = NULL;
	uint64_t id;

	if (LOAD_ACQUIRE(vma->anon_id))
		return 0;
	if (mm_has_memory(mm)) {
		fresh = anon_create(mm->vm);
		if (!fresh)
			return -SAMARA_ENOMEM;
		mutex_lock(&mm->anon_lock, mm_port(mm));
		if (vma->anon_id) {
			mutex_unlock(&mm->anon_lock, mm_port(mm));
			anon_put(fresh);
			return 0;
		}
	}
	next = mm_next(mm, vma);
	prev = mm_prev(mm, vma->start);
	if (next && anon_compatible(vma, next) && anon_reusable(next))
		like = next;
	else if (prev && anon_compatible(prev, vma) && anon_reusable(prev))
		like = prev;
	id = like ? like->anon_id : __atomic_add_fetch(&mm->vm->next_anon_id, 1, __ATOMIC_RELAXED);
	anon = like ? like->anon : fresh;
	vma->inherited = false;
	if (anon)
		rmap_join_family(vma, anon);
	STORE_RELEASE(vma->anon_id, id);
	if (mm_has_memory(mm)) {
		mutex_unlock(&mm->anon_lock, mm_port(mm));
		anon_put(fresh);
	}
	return 0;
}
