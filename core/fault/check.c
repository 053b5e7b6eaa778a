/* check.c - what holds between maps, page tables, frames, reverse maps and caches: M1 to M8, R1 to R4 of
 * docs/invariants.md.
 *
 * mm_memory_check looks at one address space (mmap_lock held, nobody faulting); samara_check_machine at everything.
 */
#include "core/fault/fault.h"

struct memory_check {
	struct samara_mm *mm;
	const char *broken;
	int64_t counts[COUNT_KINDS];
	uint64_t mapped; /* entries that are counted in their frames */
};

static const char *check_private_rights(const struct memory_check *c, uint64_t entry, const struct frame *frame)
{
	if (!(entry & (c->mm->table.format.write | c->mm->table.format.own)))
		return NULL;
	if (frame == c->mm->vm->zero_page || frame->kind != FRAME_ANON)
		return "M4: a private mapping may write to the page of zeroes or to a file's page";
	return frame_is_exclusive(frame) ? NULL : "M4: a frame that others have is writable, or called its own, in a private mapping";
}

static const char *check_entry(struct memory_check *c, const vma_t *vma, uint64_t addr, uint64_t entry)
{
	const struct samara *vm = c->mm->vm;
	uint64_t pfn = entry_pfn(&c->mm->table, entry), index = vma->pgoff + ((addr - vma->start) >> PAGE_SHIFT);
	unsigned rights = entry_rights(&c->mm->table, entry);
	bool private = !(vma->flags & (VM_SHARED | VM_MAYSHARE));
	const struct frame *frame;

	if (rights & ~(fault_rights(vma) | (vma->flags & VM_WRITE ? TABLE_WRITE : 0)) & (TABLE_USER | TABLE_WRITE | TABLE_EXEC))
		return "M2: an entry allows more than its mapping";
	if ((entry & table_pkey_bits(&c->mm->table, 15)) != table_pkey_bits(&c->mm->table, vma_pkey(vma)))
		return "M2: an entry has another protection key than its mapping";
	if (!pfn_in_span(&vm->frames, pfn))
		return "M3: an entry names a frame outside of the machine's memory";
	frame = pfn_frame(&vm->frames, pfn);
	if (frame == vm->zero_page)
		return private && vma_is_anonymous(vma) ? check_private_rights(c, entry, frame) :
							  "M3: the page of zeroes where it does not belong";
	c->mapped++;
	if (frame->kind == FRAME_ANON) {
		c->counts[COUNT_ANON]++;
		if (!private || frame->owner != vma->anon || !vma->anon || frame->index != index)
			return "M3: an anonymous frame that is not of its mapping's family, or at another offset";
		return check_private_rights(c, entry, frame);
	}
	if (frame->kind != FRAME_FILE || !vma->file || frame->owner != vma->file->inode || frame->index != index)
		return "M3: a frame that is neither the family's nor the file's";
	c->counts[LOAD(frame->marks) & PAGE_SHMEM ? COUNT_SHMEM : COUNT_FILE]++;
	return private ? check_private_rights(c, entry, frame) : NULL;
}

static int check_run(void *self, uint64_t addr, unsigned level, const uint64_t *entries, unsigned count)
{
	struct memory_check *c = self;
	vma_t *vma = NULL;

	(void)level;
	for (unsigned i = 0; i < count && !c->broken; i++, addr += PAGE_SIZE) {
		if (!entries[i])
			continue;
		if (!vma || addr < vma->start || addr >= vma->end)
			vma = tree_get(&c->mm->tree, addr);
		if (!vma)
			c->broken = "M1: an entry where nothing is mapped";
		else if (entry_present(entries[i]))
			c->broken = check_entry(c, vma, addr, entries[i]);
	}
	return c->broken != NULL;
}

static const char *check_space(struct samara_mm *mm, uint64_t *mapped)
{
	struct memory_check c = { .mm = mm };
	struct tree_iter iter;
	vma_t *vma;

	if (!mm_has_memory(mm))
		return NULL;
	switch (table_check(&mm->table)) {
	case 0: break;
	case 1: return "P1: pages of the page table";
	case 2: return "P2: entries in use of a page of the page table";
	case 3: return "P3: huge entries";
	default: return "P4: a lock of a page table is held";
	}
	(void)table_each(&mm->table, 0, table_span(&mm->table), check_run, &c);
	for (unsigned kind = 0; kind < COUNT_KINDS && !c.broken; kind++)
		if ((uint64_t)c.counts[kind] != mm_resident(mm, kind))
			c.broken = "M5: the resident counts are not the entries";
	tree_iter_init(&iter, &mm->tree, 0);
	while (!c.broken && (vma = tree_iter_next(&iter)))
		if (vma->anon ? !vma->anon_id : vma->anon_id && !(vma->flags & VM_SHARED))
			c.broken = "R2: a history without a family, or the other way round";
	*mapped += c.mapped;
	return c.broken;
}

SAMARA_INTERNAL const char *mm_memory_check(struct samara_mm *mm)
{
	uint64_t mapped = 0;

	return check_space(mm, &mapped);
}

/* One frame in use; nobody is at work. */
static const char *check_frame(struct samara *vm, struct frame *frame, uint64_t *maps)
{
	uint32_t count = frame_maps(frame), refs = frame_refs(frame), held;

	if (frame->kind != FRAME_ANON && frame->kind != FRAME_FILE)
		return NULL;
	*maps += count;
	held = count + LOAD(frame->pins);
	if (frame->kind == FRAME_FILE && frame->owner)
		held++; /* the cache */
	if (refs != held)
		return "M6: references of a frame are not its entries, pins and its place in the cache";
	if (count && rmap_frame_count(vm, frame) != count)
		return "R3: the reverse map does not find every entry of a frame";
	return NULL;
}

/* Every VMA is where it should be in the reverse maps, and nobody else is. */
static const char *check_rmaps(struct samara *vm)
{
	uint64_t links = 0, members = 0;
	const char *broken = NULL;

	for (struct samara_mm *mm = vm->spaces; mm && !broken; mm = mm->next) {
		struct tree_iter iter;
		vma_t *vma;

		tree_iter_init(&iter, &mm->tree, 0);
		while (!broken && (vma = tree_iter_next(&iter)))
			broken = rmap_check_vma(vma, &links, &members);
	}
	return broken ? broken : links != members ? "R1: a reverse map has a member that no space has" : NULL;
}

static const char *check_machine(struct samara *vm)
{
	uint64_t mapped = 0, maps = 0, tables = 0, table_frames = 0;
	const struct frame *bad;
	const char *broken = NULL;
	int frames = frames_check(&vm->frames, &bad);

	if (frames)
		return frames == 1 ? "F1: blocks" :
		       frames == 2 ? "F2: owners" :
		       frames == 3 ? "F3: buddies" :
		       frames == 4 ? "F4: counts" :
				     "F5: zeroed frames";
	for (struct samara_mm *mm = vm->spaces; mm && !broken; mm = mm->next) {
		mm_check(mm);
		broken = check_space(mm, &mapped);
		tables += mm->table.pages;
	}
	if (!broken)
		broken = check_rmaps(vm);
	for (struct samara_inode *inode = vm->inodes; inode && !broken; inode = inode->next == vm->inodes ? NULL : inode->next)
		broken = cache_check(inode);
	for (uint64_t at = 0; at < vm->frames.count && !broken; at += (uint64_t)1 << vm->frames.map[at].order) {
		struct frame *frame = &vm->frames.map[at];

		table_frames += frame->kind == FRAME_TABLE;
		broken = check_frame(vm, frame, &maps);
	}
	if (!broken && mapped != maps)
		broken = "M7: map counts are not the entries of all spaces";
	if (!broken && tables != table_frames)
		broken = "M8: a page of a page table belongs to no space";
	return broken;
}

int samara_check_machine(struct samara *vm)
{
	const char *broken;

	if (!vm->frames.map)
		return 0;
	if (vm->port.barrier)
		vm->port.barrier(vm->port.self);
	broken = check_machine(vm);
	if (broken)
		vm_panic(vm, __FILE__, __LINE__, broken);
	return 0;
}
