/* check.c - the whole-structure check of an address space: every numbered invariant of docs/invariants.md that concerns
 * the map.
 *
 * Debug builds (SAMARA_CHECK=2) run it at the end of every change; tests call it through samara_check.
 */
#include "core/space/space.h"

struct check_sums {
	uint64_t vmas, total, data, exec, stack, locked;
};

/* Invariants that one VMA and the one before it keep; NULL or what is broken. */
static const char *check_vma_alone(const struct samara_mm *mm, const vma_t *vma, const struct tree_entry *at, uint64_t last_end)
{
	if (at->start != vma->start || at->end != vma->end)
		return "I1: the tree's range is not the VMA's";
	if (vma->start >= vma->end || ((vma->start | vma->end) & ~PAGE_MASK) || vma->end > mm->layout.task_size)
		return "I2: a VMA is empty, misaligned or beyond the end of the space";
	if (vma->start < last_end)
		return "I3: VMAs overlap";
	if (vma->mm != mm || (vma->seq & 1))
		return "I4: a VMA in the tree is free, foreign or left open for writing";
	if (vma->inherited && !vma->anon_id)
		return "I5: an inherited history without a history";
	if (vma->pgoff + vma_pages(vma) < vma->pgoff)
		return "I6: pgoff wraps inside a VMA";
	if ((vma->flags & VM_ACCOUNT) && (vma->flags & VM_SHARED))
		return "I7: a shared mapping is charged";
	if ((vma->flags & VM_LOCKONFAULT) && !(vma->flags & VM_LOCKED))
		return "I8: locked on fault, but not locked";
	return NULL;
}

static const char *check_all(struct samara_mm *mm)
{
	struct check_sums s = { 0 };
	const char *broken = tree_check(&mm->tree);
	struct tree_iter iter;
	uint64_t last_end = 0;
	vma_t *vma;

	tree_iter_init(&iter, &mm->tree, 0);
	while (!broken && (vma = tree_iter_next(&iter))) {
		uint64_t pages = vma_pages(vma);

		broken = check_vma_alone(mm, vma, &iter.at, last_end);
		last_end = vma->end;
		s.vmas++;
		s.total += pages;
		if ((vma->flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN)) == VM_EXEC)
			s.exec += pages;
		else if (vma->flags & VM_GROWSDOWN)
			s.stack += pages;
		else if (vma_is_data(vma->flags))
			s.data += pages;
		if (vma->flags & VM_LOCKED)
			s.locked += pages;
	}
	if (broken)
		return broken;
	if (s.vmas != mm->map_count || s.vmas != tree_count(&mm->tree))
		return "I9: map_count is not the number of VMAs";
	if (s.total != mm->total_vm || s.data != mm->data_vm || s.exec != mm->exec_vm || s.stack != mm->stack_vm)
		return "I10: VmSize, VmData, VmExe or VmStk is not the sum over the VMAs";
	/* mremap(MREMAP_DONTUNMAP) of locked memory leaves the source counted, in Linux too */
	if (s.locked > mm->locked_vm)
		return "I11: more is locked than VmLck says";
	if (vma_slabs_check(mm, s.vmas))
		return "I12: VMA slabs and their free list disagree with the map";
	return mm_memory_check(mm);
}

SAMARA_INTERNAL int mm_check(struct samara_mm *mm)
{
	const char *broken = check_all(mm);

	if (broken)
		vm_panic(mm->vm, __FILE__, __LINE__, broken);
	return 0;
}

int samara_check(struct samara_mm *mm)
{
	struct samara_read_guard g;
	int err;

	samara_read_lock(mm, &g);
	err = mm_check(mm);
	samara_read_unlock(&g);
	return err;
}
