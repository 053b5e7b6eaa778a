/* walk.c - from a page of a file, or a frame, to what maps it. */
#include "core/mm.h"

struct file_walk {
	uint64_t first, last;
	rmap_range_fn *each;
	void *self;
};

static int file_step(void *self, vma_t *vma)
{
	struct file_walk *w = self;
	uint64_t first = MAX(w->first, vma->pgoff), last = MIN(w->last, vma->pgoff + vma_pages(vma) - 1);

	return w->each(w->self, vma, vma->start + ((first - vma->pgoff) << PAGE_SHIFT),
		       vma->start + ((last - vma->pgoff + 1) << PAGE_SHIFT));
}

SAMARA_INTERNAL int rmap_file_each(struct samara_inode *inode, uint64_t first, uint64_t last, rmap_range_fn *each, void *self)
{
	struct file_walk w = { first, last, each, self };
	const struct samara_port *port = &inode->vm->port;
	int err;

	(void)lock_read(&inode->map.lock, port, 0);
	err = treap_each(inode->map.root, first, last, false, file_step, &w);
	lock_read_unlock(&inode->map.lock, port);
	return err;
}

struct frame_walk {
	struct frame *frame;
	rmap_entry_fn *each;
	void *self;
};

static int frame_step(void *self, vma_t *vma)
{
	struct frame_walk *w = self;
	struct table *table = &vma->mm->table;
	uint64_t addr = vma->start + ((w->frame->index - vma->pgoff) << PAGE_SHIFT);
	const struct samara_port *port = mm_port(vma->mm);
	struct table_spot spot;
	int err = 0;

	/* a page of the table that goes meanwhile is empty, and stays memory until we have left */
	if (port->read_lock)
		port->read_lock(port->self);
	spot = table_walk(table, addr);
	if (entry_leaf(table, spot.entry, spot.level)) {
		struct frame *page = table_lock(table, spot.slot);
		uint64_t entry = *spot.slot;

		if (entry_leaf(table, entry, spot.level) && spot.level == 0 && pfn_in_span(table->frames, entry_pfn(table, entry)) &&
		    entry_frame(table, entry) == w->frame)
			err = w->each(w->self, vma, addr, spot.slot);
		table_unlock(table, page);
	}
	if (port->read_unlock)
		port->read_unlock(port->self);
	return err;
}

SAMARA_INTERNAL int rmap_frame_each(struct samara *vm, struct frame *frame, rmap_entry_fn *each, void *self)
{
	struct frame_walk w = { frame, each, self };
	bool anonymous = frame->kind == FRAME_ANON;
	struct rmap *map;
	int err;

	if (!anonymous && frame->kind != FRAME_FILE)
		return 0;
	map = anonymous ? &((struct anon *)frame->owner)->map : &((struct samara_inode *)frame->owner)->map;
	(void)lock_read(&map->lock, &vm->port, 0);
	err = treap_each(map->root, frame->index, frame->index, anonymous, frame_step, &w);
	lock_read_unlock(&map->lock, &vm->port);
	return err;
}

static int count_step(void *self, vma_t *vma, uint64_t addr, uint64_t *slot)
{
	(void)vma;
	(void)addr;
	(void)slot;
	++*(uint32_t *)self;
	return 0;
}

SAMARA_INTERNAL uint32_t rmap_frame_count(struct samara *vm, struct frame *frame)
{
	uint32_t count = 0;

	(void)rmap_frame_each(vm, frame, count_step, &count);
	return count;
}
