/* brk.c - brk(2): the heap's end.
 *
 * Returns the new break, or the old one when anything is in the way.  Growing extends only the VMA that ends exactly at
 * the old break and lies above start_brk; it never joins the mapping above.
 */
#include "core/space/space.h"

#define HEAP_FLAGS (VM_READ | VM_WRITE | VM_MAY_ALL | VM_ACCOUNT)

static bool data_limit_allows(const struct samara_mm *mm, uint64_t brk)
{
	const struct mm_layout *l = &mm->layout;
	uint64_t limit = mm_limit(mm, LIMIT_DATA);

	return limit == SAMARA_RLIM_INFINITY || brk - l->start_brk + (l->end_data - l->start_data) <= limit;
}

static int shrink(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	vma_t *vma = mm_find_in(mm, start, end);
	struct unmap_plan plan;
	int err;

	if (!vma)
		return -SAMARA_EINVAL;
	err = unmap_check(mm, start, end, &plan);
	if (!err)
		err = mm_reserve(mm, 1);
	if (!err)
		unmap_commit(mm, &plan, true);
	return err;
}

static int grow(struct samara_mm *mm, uint64_t start, uint64_t end)
{
	uint64_t pages = (end - start) >> PAGE_SHIFT, flags = HEAP_FLAGS | mm->def_flags;
	struct place_request where = { .hint = start, .length = end - start, .flags = SAMARA_MAP_FIXED };
	struct vma_spec spec;
	vma_t *next, *prev;
	int err;

	if (mm->personality & SAMARA_READ_IMPLIES_EXEC)
		flags |= VM_EXEC;
	if (place_is_error(place(mm, &where)))
		return -SAMARA_ENOMEM;
	if (!mm_may_lock(mm, mm->def_flags, end - start))
		return -SAMARA_EAGAIN;
	next = mm_find(mm, start);
	if (next && end + PAGE_SIZE > vma_start_gap(mm->vm, next))
		return -SAMARA_ENOMEM;
	if (!mm_may_expand(mm, flags, pages) || mm->map_count > mm->vm->config.max_map_count)
		return -SAMARA_ENOMEM;
	err = mm_charge(mm, pages);
	if (err)
		return err;
	err = mm_reserve(mm, 1);
	if (err) {
		vm_uncharge(mm->vm, pages);
		return err;
	}
	spec = (struct vma_spec){ .start = start, .end = end, .flags = flags, .pgoff = start >> PAGE_SHIFT };
	prev = mm_prev(mm, start);
	if (prev && prev->end <= mm->layout.start_brk)
		prev = NULL; /* what ends where the heap begins (.bss) is not the heap */
	if (!vma_merge_new(mm, &spec, prev, NULL)) {
		vma_t *vma = vma_take(mm);

		vma_fill(vma, mm, &spec);
		mm_link(mm, vma);
	}
	mm_account(mm, flags, (int64_t)pages);
	if (flags & VM_LOCKED)
		mm->locked_vm += pages;
	return 0;
}

samara_va samara_brk(struct samara_mm *mm, samara_va brk)
{
	struct mm_layout *l = &mm->layout;
	struct samara_write_guard g;
	uint64_t old_end, new_end, result;
	struct range grown = { 0 };
	int err = 0;

	if (samara_write_lock_killable(mm, &g))
		return LOAD(l->brk);
	old_end = PAGE_ALIGN(l->brk);
	new_end = PAGE_ALIGN(brk);
	if (brk < l->start_brk || !data_limit_allows(mm, brk))
		err = -SAMARA_EINVAL;
	else if (new_end == old_end)
		err = 0;
	else if (brk <= l->brk)
		err = shrink(mm, new_end, old_end);
	else if (new_end < old_end) /* the rounding wrapped */
		err = -SAMARA_ENOMEM;
	else
		err = grow(mm, old_end, new_end);
	if (!err)
		STORE(l->brk, brk);
	if (!err && (mm->def_flags & VM_LOCKED))
		grown = (struct range){ old_end, new_end };
	result = l->brk;
	(void)mm_unlock_and_populate(&g, grown, true);
	return result;
}
