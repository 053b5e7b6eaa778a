/* vma_alloc.c - where VMAs come from: slabs of one address space, type-stable under RCU.
 *
 * A free slot keeps its seq counter and stays memory of a VMA, so a reader without a lock that still holds a pointer to
 * it sees a changed seq or a NULL mm, never foreign memory.  A slab that is wholly free goes back to the port through
 * its `defer` when another free one is kept, so memory follows the size of the map down again.  Everything here belongs
 * to the holder of the write guard.
 */
#include "core/mm.h"

#define SLAB_VMAS 42

struct vma_slab {
	struct samara_rcu_head rcu;
	const struct samara *vm;
	struct vma_slab *next, *prev;
	uint32_t used;
	vma_t vmas[SLAB_VMAS];
};

/* Free slots are a doubly linked list through fields that readers never trust in a free VMA. */
static inline vma_t **free_next(vma_t *vma)
{
	return (vma_t **)(void *)&vma->private_data;
}

static inline struct vma_slab *slab_of(vma_t *vma)
{
	return CONTAINER_OF(vma - vma->slot, struct vma_slab, vmas);
}

static int slab_add(struct samara_mm *mm)
{
	struct vma_slab *slab = vm_alloc(mm->vm, sizeof(*slab));

	if (!slab)
		return -SAMARA_ENOMEM;
	slab->vm = mm->vm;
	for (unsigned i = SLAB_VMAS; i-- > 0;) {
		vma_t *vma = &slab->vmas[i];

		vma->slot = (uint16_t)i;
		vma->lock_seq = mm->lock_seq; /* nobody has seen it: ours without asking */
		*free_next(vma) = mm->free_vmas;
		mm->free_vmas = vma;
	}
	mm->free_count += SLAB_VMAS;
	slab->next = mm->slabs;
	if (slab->next)
		slab->next->prev = slab;
	mm->slabs = slab;
	return 0;
}

static void slab_reclaim(struct samara_rcu_head *head)
{
	struct vma_slab *slab = CONTAINER_OF(head, struct vma_slab, rcu);

	vm_free(slab->vm, slab, sizeof(*slab));
}

/* Slabs that are wholly free leave when more than half of a large stock of slots is free. */
static void slabs_trim(struct samara_mm *mm)
{
	vma_t **link = &mm->free_vmas;

	while (*link) {
		vma_t *vma = *link;

		if (slab_of(vma)->used == 0) {
			*link = *free_next(vma);
			mm->free_count--;
		} else {
			link = free_next(vma);
		}
	}
	for (struct vma_slab *slab = mm->slabs, *next; slab; slab = next) {
		next = slab->next;
		if (slab->used)
			continue;
		if (slab->prev)
			slab->prev->next = next;
		else
			mm->slabs = next;
		if (next)
			next->prev = slab->prev;
		if (mm->vm->port.defer)
			mm->vm->port.defer(mm->vm->port.self, &slab->rcu, slab_reclaim);
		else
			slab_reclaim(&slab->rcu);
	}
}

SAMARA_INTERNAL int vma_reserve(struct samara_mm *mm, unsigned count)
{
	while (UNLIKELY(mm->free_count < count))
		if (slab_add(mm))
			return -SAMARA_ENOMEM;
	return 0;
}

SAMARA_INTERNAL vma_t *vma_take(struct samara_mm *mm)
{
	vma_t *vma = mm->free_vmas;

	ASSERT(vma);
	mm->free_vmas = *free_next(vma);
	mm->free_count--;
	slab_of(vma)->used++;
	vma->private_data = NULL;
	return vma;
}

SAMARA_INTERNAL void vma_set_range(vma_t *vma, uint64_t start, uint64_t end, uint64_t pgoff)
{
	bool linked = vma_is_linked(vma) && mm_has_memory(vma->mm);

	vma_lock_write(vma->mm, vma);
	if (linked)
		rmap_open(vma);
	vma_write_begin(vma);
	STORE_RELEASE(vma->start, start);
	STORE_RELEASE(vma->end, end);
	STORE_RELEASE(vma->pgoff, pgoff);
	vma_write_end(vma);
	if (linked)
		rmap_close(vma);
}

SAMARA_INTERNAL void vma_set_flags(vma_t *vma, uint64_t flags)
{
	vma_lock_write(vma->mm, vma);
	vma_write_begin(vma);
	STORE_RELEASE(vma->flags, flags);
	vma_write_end(vma);
}

static void vma_give_one(struct samara_mm *mm, vma_t *vma)
{
	vma_lock_write(mm, vma);
	if (vma_is_linked(vma) && mm_has_memory(mm))
		rmap_unlink_vma(vma);
	if (vma->file) {
		file_vma_close(vma->file, vma->flags);
		vma->file = NULL;
	}
	if (vma->extra) {
		extra_put(mm->vm, vma->extra);
		vma->extra = NULL;
	}
	vma_write_begin(vma);
	STORE(vma->mm, NULL);
	vma_write_end(vma);
	*free_next(vma) = mm->free_vmas;
	mm->free_vmas = vma;
	mm->free_count++;
	slab_of(vma)->used--;
}

SAMARA_INTERNAL void vma_give(struct samara_mm *mm, vma_t *vma)
{
	vma_give_one(mm, vma);
	if (UNLIKELY(mm->free_count > 64 * SLAB_VMAS && mm->free_count > 2 * mm->map_count))
		slabs_trim(mm);
}

SAMARA_INTERNAL void vma_give_all(struct samara_mm *mm)
{
	for (struct vma_slab *slab = mm->slabs; slab; slab = slab->next)
		for (unsigned i = 0; i < SLAB_VMAS && slab->used; i++)
			if (slab->vmas[i].mm)
				vma_give_one(mm, &slab->vmas[i]);
	slabs_trim(mm);
}

SAMARA_INTERNAL void vma_init(vma_t *vma, struct samara_mm *mm, const struct vma_spec *spec)
{
	vma_lock_write(mm, vma);
	vma_write_begin(vma);
	STORE_RELEASE(vma->start, spec->start);
	STORE_RELEASE(vma->end, spec->end);
	STORE_RELEASE(vma->flags, spec->flags);
	STORE_RELEASE(vma->pgoff, spec->pgoff);
	STORE_RELEASE(vma->mm, mm);
	vma_write_end(vma);
	vma->file = spec->file;
	if (spec->file)
		file_vma_open(spec->file, spec->flags);
	vma->private_data = spec->private_data;
	vma->extra = extra_get(spec->extra);
	vma->anon_id = spec->anon_id;
	vma->inherited = spec->inherited;
	vma->anon = spec->anon;
	if (spec->anon)
		anon_get(spec->anon);
}

SAMARA_INTERNAL void vma_fill(vma_t *vma, struct samara_mm *mm, const struct vma_spec *spec)
{
	vma_init(vma, mm, spec);
	if (vma_is_linked(vma) && mm_has_memory(mm))
		rmap_link_vma(vma);
}

/* mm->lock_seq has wrapped: no VMA may look write-locked. */
SAMARA_INTERNAL void vma_slabs_forget_seq(struct samara_mm *mm)
{
	for (struct vma_slab *slab = mm->slabs; slab; slab = slab->next)
		for (unsigned i = 0; i < SLAB_VMAS; i++)
			STORE(slab->vmas[i].lock_seq, 0);
}

SAMARA_INTERNAL void vma_slabs_release(struct samara_mm *mm)
{
	for (struct vma_slab *slab = mm->slabs, *next; slab; slab = next) {
		next = slab->next;
		ASSERT(slab->used == 0);
		vm_free(mm->vm, slab, sizeof(*slab));
	}
	mm->slabs = NULL;
	mm->free_vmas = NULL;
	mm->free_count = 0;
}

/* 0 when slabs and free list agree with `in_use` VMAs. */
SAMARA_INTERNAL int vma_slabs_check(const struct samara_mm *mm, uint64_t in_use)
{
	uint64_t used = 0, slots = 0, free = 0;

	for (struct vma_slab *slab = mm->slabs; slab; slab = slab->next) {
		used += slab->used;
		slots += SLAB_VMAS;
	}
	for (vma_t *vma = mm->free_vmas; vma; vma = *free_next(vma)) {
		if (vma->mm)
			return -1;
		free++;
	}
	return used == in_use && free == mm->free_count && used + free == slots ? 0 : -1;
}
