/* resident.c - what is in memory: mincore, and one word a page for pagemap. */
#include "core/fault/fault.h"

struct mincore_walk {
	struct samara_mm *mm;
	const vma_t *vma;
	unsigned char *vec;
	uint64_t at; /* up to where the vector is filled */
};

/* Pages without an entry: a file's may be in its cache all the same. */
static void mincore_absent(struct mincore_walk *w, uint64_t end)
{
	struct samara_inode *inode = w->vma->file && !vma_is_anonymous(w->vma) ? w->vma->file->inode : NULL;

	for (; w->at < end; w->at += PAGE_SIZE) {
		struct frame *page = inode ? cache_find(inode, w->vma->pgoff + ((w->at - w->vma->start) >> PAGE_SHIFT)) : NULL;

		*w->vec++ = page && (LOAD(page->marks) & PAGE_UPTODATE);
		if (page)
			frame_put(&w->mm->vm->frames, vm_cpu(w->mm->vm), page);
	}
}

static int mincore_run(void *self, uint64_t addr, unsigned level, const uint64_t *entries, unsigned count)
{
	struct mincore_walk *w = self;

	(void)level;
	mincore_absent(w, addr);
	if (!w->vma->file) {
		unsigned char *vec = w->vec;

		for (unsigned i = 0; i < count; i++)
			vec[i] = entry_present(LOAD(entries[i]));
		w->vec += count;
		w->at += (uint64_t)count << PAGE_SHIFT;
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		if (!entry_present(LOAD(entries[i]))) { /* a guard counts as nothing */
			mincore_absent(w, w->at + PAGE_SIZE);
		} else {
			*w->vec++ = 1;
			w->at += PAGE_SIZE;
		}
	}
	return 0;
}

/* [start, end) lies in the VMA, which mmap_lock holds. */
SAMARA_INTERNAL void fault_mincore(struct samara_mm *mm, const vma_t *vma, uint64_t start, uint64_t end, unsigned char *vec)
{
	struct mincore_walk w = { mm, vma, vec, start };

	(void)table_each(&mm->table, start, end, mincore_run, &w);
	mincore_absent(&w, end);
}

#define PAGEMAP_EXCLUSIVE (1ull << 56)
#define PAGEMAP_GUARD (1ull << 58)
#define PAGEMAP_FILE (1ull << 61)
#define PAGEMAP_SWAPPED (1ull << 62) /* any entry of software's */
#define PAGEMAP_PRESENT (1ull << 63)

static uint64_t pagemap_word(struct samara_mm *mm, uint64_t entry)
{
	uint64_t word = PAGEMAP_PRESENT, pfn;
	const struct frame *frame;

	if (entry == SOFT_GUARD)
		return PAGEMAP_GUARD | PAGEMAP_SWAPPED;
	if (!entry_present(entry))
		return 0;
	pfn = entry_pfn(&mm->table, entry);
	word |= pfn;
	if (!pfn_in_span(&mm->vm->frames, pfn))
		return word | PAGEMAP_FILE;
	frame = pfn_frame(&mm->vm->frames, pfn);
	if (frame == mm->vm->zero_page)
		return word;
	return word | (frame->kind == FRAME_FILE ? PAGEMAP_FILE : 0) | (frame_maps(frame) == 1 ? PAGEMAP_EXCLUSIVE : 0);
}

size_t samara_pagemap(struct samara_mm *mm, samara_va addr, uint64_t *words, size_t count)
{
	struct samara_read_guard r;
	size_t n = 0;

	if (!mm_has_memory(mm))
		return 0;
	addr &= PAGE_MASK;
	samara_read_lock(mm, &r);
	for (; n < count && addr < mm->layout.task_size; n++, addr += PAGE_SIZE) {
		struct table_spot spot = table_walk(&mm->table, addr);

		words[n] = spot.level ? 0 : pagemap_word(mm, spot.entry);
	}
	samara_read_unlock(&r);
	return n;
}
