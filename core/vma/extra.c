/* extra.c - what few VMAs carry: a special name, an anonymous name, a memory policy, a userfaultfd context.
 *
 * A vma_extra is immutable once a VMA holds it, and counted: pieces of a split share it.  Changing one thing of a VMA
 * makes a new extra, before anything else changes, so that failure is clean.
 */
#include "core/mm.h"

SAMARA_INTERNAL struct vma_extra *extra_get(struct vma_extra *extra)
{
	if (extra)
		__atomic_add_fetch(&extra->refs, 1, __ATOMIC_RELAXED);
	return extra;
}

SAMARA_INTERNAL void extra_put(const struct samara *vm, struct vma_extra *extra)
{
	if (extra && __atomic_sub_fetch(&extra->refs, 1, __ATOMIC_ACQ_REL) == 0)
		vm_free(vm, extra, extra->bytes);
}

static bool names_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

SAMARA_INTERNAL bool extra_is_plain(const struct vma_extra *extra)
{
	return !extra->special && !extra->uffd && !extra->policy.mode && !extra->has_close && !extra->shm && !extra->named;
}

SAMARA_INTERNAL bool extra_equal(const struct vma_extra *a, const struct vma_extra *b)
{
	static const struct vma_extra none;

	if (a == b)
		return true;
	a = a ? a : &none;
	b = b ? b : &none;
	return a->special == b->special && a->uffd == b->uffd && a->policy.mode == b->policy.mode &&
	       a->policy.flags == b->policy.flags && a->policy.nodes == b->policy.nodes && a->has_close == b->has_close &&
	       a->shm == b->shm && a->named == b->named && (!a->named || names_equal(a->name, b->name));
}

SAMARA_INTERNAL struct vma_extra *extra_copy(const struct samara *vm, const struct vma_extra *from, const char *name)
{
	const char *text = name ? name : from && from->named ? from->name : "";
	size_t length = text_length(text) + 1;
	struct vma_extra *extra = vm_alloc(vm, sizeof(*extra) + length);

	if (!extra)
		return NULL;
	if (from)
		*extra = *from;
	extra->refs = 1;
	extra->bytes = (uint32_t)(sizeof(*extra) + length);
	if (name)
		extra->named = true;
	copy_bytes(extra->name, text, length);
	return extra;
}
