/* fork.c - the page table of a forked child: the entries of one mapping at a time, shared until somebody writes.
 *
 * Only mappings that may hold pages of their own are copied; what a file or a shared object has, the child finds there
 * again at its first access.  Write is taken away on both sides.  A frame that is pinned stays the parent's alone: the
 * child gets its bytes in a frame of its own at once, so that whoever holds the pin and the parent go on seeing the
 * same memory.
 *
 * The parent's VMA is write-locked, and walkers of its reverse maps are kept out: a page is found in the child as soon
 * as it may be looked for there.
 */
#include "core/fault/fault.h"

struct fork_copy {
	struct samara_mm *child;
	bool shared;
	unsigned cpu;
	int64_t counts[COUNT_KINDS];
};

/* The child's own copy of a pinned frame, as an entry; 0: no memory. */
static uint64_t copy_pinned(struct fork_copy *c, const struct frame *pinned, uint64_t entry)
{
	struct frames *frames = &c->child->vm->frames;
	struct frame *frame = frame_alloc(frames, c->cpu, FRAME_ANON, pinned->owner, false);

	if (!frame)
		return 0;
	frame->index = pinned->index;
	frame->count = FRAME_ONE_MAP + 1;
	copy_page(frame_host(frames, frame), frame_host(frames, pinned));
	return (entry & ~c->child->table.format.pfn_mask) | table_pfn_bits(&c->child->table, frame_pfn(frames, frame));
}

static int copy_entries(void *self, uint64_t addr, unsigned level, uint64_t *entries, unsigned count)
{
	struct fork_copy *c = self;
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

SAMARA_INTERNAL int fault_fork(struct samara_mm *child, struct samara_mm *parent, vma_t *vma)
{
	struct fork_copy c = { .child = child, .cpu = vm_cpu(child->vm), .shared = vma->flags & (VM_SHARED | VM_MAYSHARE) };
	struct table_change changes[64];
	struct table_gather g;
	int err;

	vma_lock_write(parent, vma);
	gather_begin(&g, &parent->table, &parent->sink, changes, ARRAY_SIZE(changes), c.cpu);
	rmap_lock_vma(vma);
	err = table_copy(&child->table, &g, vma->start, vma->end, !c.shared, copy_entries, &c);
	rmap_unlock_vma(vma);
	gather_flush(&g);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		if (c.counts[kind])
			mm_count(child, c.cpu, kind, c.counts[kind]);
	return err;
}
