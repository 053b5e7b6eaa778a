/* fork.c - the page table of a forked child: the entries of one mapping at a time, shared until somebody writes.
 *
 * Only mappings that may hold pages of their own are copied; what a file or a shared object has, the child finds there
 * again at its first access.  Write is taken away on both sides.  A frame that is pinned stays the parent's alone: the
 * child gets its bytes in a frame of its own at once, so that whoever holds the pin and the parent go on seeing the
 * same memory.
 *
 * The parent's VMA is write-locked, and walkers of its reverse maps are kept out: a page is found in the child as soon
 * as it may be looked for there.  The parent's translations are invalidated once, at the end: until then somebody may
 * still write by an old one, and the child, which nobody runs yet, finds what was written.
 */
#include "core/fault/fault.h"

/* The child's own copy of a pinned frame, as an entry; 0: no memory. */
static uint64_t copy_pinned(const struct fault_fork *c, const struct frame *pinned, uint64_t entry)
{
	struct frames *frames = &c->child->vm->frames;
	struct frame *frame = frame_alloc(frames, c->gather.cache, FRAME_ANON, pinned->owner, false);

	if (!frame)
		return 0;
	frame->index = pinned->index;
	frame->count = FRAME_ONE_MAP + 1;
	guest_copy_page(frame_host(frames, frame), frame_host(frames, pinned));
	return (entry & ~c->child->table.format.pfn_mask) | table_pfn_bits(&c->child->table, frame_pfn(frames, frame));
}

static int copy_entries(void *self, uint64_t addr, unsigned level, uint64_t *entries, unsigned count)
{
	struct fault_fork *c = self;
	struct table *table = &c->child->table;
	struct frames *frames = &c->child->vm->frames;
	unsigned i;

	(void)addr;
	ASSERT(level == 0);
	for (i = 0; i < count; i++) {
		struct frame *frame;

		if (!entry_present(entries[i]) || !pfn_in_span(frames, entry_pfn(table, entries[i])))
			continue;
		frame = entry_frame(table, entries[i]);
		if (frame == c->child->vm->zero_page)
			continue;
		/* the child has not accessed it, nor, where both write to the same page, made it dirty */
		entries[i] &= ~(table->format.accessed | (c->shared ? table->format.dirty : 0));
		if (UNLIKELY(frame->kind == FRAME_ANON && LOAD(frame->pins))) {
			entries[i] = copy_pinned(c, frame, entries[i]);
			if (!entries[i])
				break;
		} else {
			frame_map_again(frames, frame);
		}
		c->counts[frame->kind == FRAME_ANON ? COUNT_ANON : LOAD(frame->marks) & PAGE_SHMEM ? COUNT_SHMEM : COUNT_FILE]++;
	}
	if (i == count)
		return 0;
	for (; i < count; i++)
		entries[i] = 0;
	return -SAMARA_ENOMEM;
}

SAMARA_INTERNAL void fault_fork_begin(struct fault_fork *c, struct samara_mm *child, struct samara_mm *parent)
{
	c->child = child;
	c->parent = parent;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		c->counts[kind] = 0;
	gather_begin(&c->gather, &parent->table, &parent->sink, c->changes, ARRAY_SIZE(c->changes), vm_cpu(child->vm));
}

SAMARA_INTERNAL int fault_fork(struct fault_fork *c, vma_t *vma, vma_t *copy)
{
	int err;

	ASSERT(copy->anon == vma->anon && copy->file == vma->file);
	c->shared = vma->flags & (VM_SHARED | VM_MAYSHARE);
	vma_lock_write(c->parent, vma);
	rmap_lock_vma(vma);
	rmap_enter_vma(copy);
	err = table_copy(&c->child->table, &c->gather, vma->start, vma->end, !c->shared, copy_entries, c);
	rmap_unlock_vma(vma);
	return err;
}

SAMARA_INTERNAL void fault_fork_end(struct fault_fork *c)
{
	gather_flush(&c->gather);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (c->counts[kind])
			mm_count(c->child, c->gather.cache, kind, c->counts[kind]);
}
