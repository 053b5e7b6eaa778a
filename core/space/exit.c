/* exit.c - exit and exec take every mapping away; installing one exactly as described is the loader's opposite. */
#include "core/space/space.h"

SAMARA_INTERNAL void mm_empty(struct samara_mm *mm)
{
	uint64_t charged = 0;
	struct tree_iter iter;
	vma_t *vma;

	zap_all(mm);
	tree_iter_init(&iter, &mm->tree, 0);
	while ((vma = tree_iter_next(&iter))) {
		if (vma->flags & VM_ACCOUNT)
			charged += vma_pages(vma);
		mm_account(mm, vma->flags, -(int64_t)vma_pages(vma));
		file_tell_close(vma->file, vma->start, vma->end);
	}
	vma_give_all(mm);
	tree_destroy(&mm->tree);
	tree_init(&mm->tree, mm_port(mm));
	mm->map_count = 0;
	mm->locked_vm = 0;
	vm_uncharge(mm->vm, charged);
	ASSERT(mm->total_vm == 0 && mm->data_vm == 0 && mm->exec_vm == 0 && mm->stack_vm == 0);
}

static int install(struct samara_mm *mm, const struct samara_install *what)
{
	struct vma_spec spec = { .start = what->start, .end = what->end, .flags = what->vm_flags, .file = what->file,
		.pgoff = what->file ? what->pgoff : what->start >> PAGE_SHIFT };
	uint64_t pages = (what->end - what->start) >> PAGE_SHIFT;
	vma_t *vma;
	int err;

	if (mm_find_in(mm, what->start, what->end))
		return -SAMARA_EEXIST;
	err = mm_reserve(mm, 1);
	if (err)
		return err;
	if (what->special) {
		spec.extra = extra_copy(mm->vm, NULL, NULL);
		if (!spec.extra)
			return -SAMARA_ENOMEM;
		spec.extra->special = what->special;
		spec.extra->has_close = true;
	}
	if (what->faulted || what->inherited) {
		if (mm_has_memory(mm)) {
			spec.anon = anon_create(mm->vm);
			if (!spec.anon) {
				extra_put(mm->vm, spec.extra);
				return -SAMARA_ENOMEM;
			}
		}
		spec.anon_id = __atomic_add_fetch(&mm->vm->next_anon_id, 1, __ATOMIC_RELAXED);
	}
	spec.inherited = what->inherited;
	if (what->vm_flags & VM_ACCOUNT)
		vm_recharge(mm->vm, pages);
	vma = vma_take(mm);
	vma_fill(vma, mm, &spec);
	extra_put(mm->vm, spec.extra);
	if (spec.anon)
		anon_put(spec.anon);
	mm_link(mm, vma);
	mm_account(mm, spec.flags, (int64_t)pages);
	if (spec.flags & VM_LOCKED)
		mm->locked_vm += pages;
	return 0;
}

int samara_install(struct samara_mm *mm, const struct samara_install *what)
{
	struct samara_write_guard g;
	int err;

	if (!what || ((what->start | what->end) & ~PAGE_MASK) || what->start >= what->end || what->end > mm->layout.task_size)
		return -SAMARA_EINVAL;
	samara_write_lock(mm, &g);
	err = install(mm, what);
	samara_write_unlock(&g);
	return err;
}
