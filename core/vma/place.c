/* place.c - where a mapping goes: get_unmapped_area.
 *
 *   MAP_FIXED                     the address itself (the caller checks it)
 *   a hint that fits              the hint, rounded down to a page; nothing is asked of the VMA below it
 *   top-down (the normal case)    the highest gap below mmap_base that is large enough, at its top
 *   bottom-up                     the legacy layout, MAP_32BIT, and when top-down finds nothing
 *   huge-page alignment           large anonymous memory and files of file systems that ask for it: search for one
 *                                 huge page more, then align
 *
 * A gap is chosen by its raw size.  When the VMA above it is a stack whose guard gap reaches into it, the search starts
 * again below that guard: gaps in between are passed over, as the kernel does.  All of this only looks; mmap_lock is
 * held.
 */
#include "core/mm.h"

#define WINDOW_47 0x7ffffffff000ull
#define LOW_32BIT_BASE 0x40000000ull
#define LOW_32BIT_END 0x80000000ull
#define LOW_32BIT_RANDOM 0x2000000ull

SAMARA_INTERNAL bool place_is_error(uint64_t address)
{
	return address >= (uint64_t)-4095;
}

static uint64_t place_error(int err)
{
	return (uint64_t)(int64_t)-err;
}

/* `align`: low bits that must be zero, a mask. */
static uint64_t search_topdown(const struct samara_mm *mm, uint64_t low, uint64_t high, uint64_t length, uint64_t align)
{
	struct tree_entry gap;
	uint64_t at;

	low = MAX(low, mm->vm->config.mmap_min_addr);
	for (;;) {
		vma_t *above;

		if (high <= low || !tree_gap_highest(&mm->tree, low, high, length + align, &gap))
			return place_error(SAMARA_ENOMEM);
		at = (gap.end - length) & ~align;
		above = mm_find(mm, gap.end - 1);
		if (!above || !(above->flags & VM_GROWSDOWN) || vma_start_gap(mm->vm, above) >= gap.end)
			return at;
		high = vma_start_gap(mm->vm, above);
	}
}

static uint64_t search_bottomup(const struct samara_mm *mm, uint64_t low, uint64_t high, uint64_t length, uint64_t align)
{
	struct tree_entry gap;

	low = MAX(low, mm->vm->config.mmap_min_addr);
	for (;;) {
		vma_t *above;

		if (high <= low || !tree_gap_lowest(&mm->tree, low, high, length + align, &gap))
			return place_error(SAMARA_ENOMEM);
		above = mm_find(mm, gap.start);
		gap.start = (gap.start + align) & ~align;
		if (!above || !(above->flags & VM_GROWSDOWN) || vma_start_gap(mm->vm, above) >= gap.start + length)
			return gap.start;
		low = above->end;
	}
}

static bool fits_at(const struct samara_mm *mm, uint64_t addr, uint64_t length)
{
	vma_t *vma = mm_find(mm, addr);

	return !vma || addr + length <= vma_start_gap(mm->vm, vma);
}

static uint64_t place_bottomup(const struct samara_mm *mm, const struct place_request *r, uint64_t hint, uint64_t length)
{
	uint64_t begin = mm->layout.legacy_base, end = MIN(mm->layout.task_size, WINDOW_47);

	if (hint > WINDOW_47)
		end = mm->layout.task_size;
	if (r->flags & SAMARA_MAP_32BIT) {
		begin = LOW_32BIT_BASE;
		end = LOW_32BIT_END;
		if (!(mm->personality & SAMARA_ADDR_NO_RANDOMIZE) && mm_port(mm)->random)
			begin += mm_port(mm)->random(mm_port(mm)->self) % (LOW_32BIT_RANDOM >> PAGE_SHIFT) << PAGE_SHIFT;
	}
	if (length > end)
		return place_error(SAMARA_ENOMEM);
	if (hint) {
		uint64_t at = PAGE_ALIGN(hint);

		if (end - length >= at && fits_at(mm, at, length))
			return at;
	}
	if ((r->flags & SAMARA_MAP_ABOVE4G) && !(r->flags & SAMARA_MAP_32BIT))
		begin = MAX(begin, 1ull << 32);
	return search_bottomup(mm, begin, end, length, r->align);
}

/* The architecture's search, without huge pages. */
static uint64_t place_plain(const struct samara_mm *mm, const struct place_request *r, uint64_t length)
{
	uint64_t task_size = mm->layout.task_size, hint = r->hint, low = PAGE_SIZE, high = mm->layout.mmap_base, at;

	if (length > task_size)
		return place_error(SAMARA_ENOMEM);
	if (r->flags & SAMARA_MAP_FIXED)
		return hint;
	if ((r->flags & SAMARA_MAP_32BIT) || (mm->personality & SAMARA_ADDR_COMPAT_LAYOUT))
		return place_bottomup(mm, r, hint, length);
	if (hint) {
		hint &= PAGE_MASK;
		if (task_size - length >= hint && (hint > WINDOW_47) == (hint + length > WINDOW_47) && fits_at(mm, hint, length))
			return hint;
	}
	if (r->flags & SAMARA_MAP_ABOVE4G)
		low = 1ull << 32;
	if (hint > WINDOW_47)
		high += task_size - MIN(task_size, WINDOW_47);
	at = search_topdown(mm, low, high, length, r->align);
	return place_is_error(at) ? place_bottomup(mm, r, hint, length) : at;
}

/* One huge page more, then aligned so that a huge page of the file (or of memory) can be mapped whole; 0: not worth it
 * or no room. */
static uint64_t place_huge(const struct samara_mm *mm, const struct place_request *r)
{
	uint64_t offset = r->file ? r->pgoff << PAGE_SHIFT : 0, end = offset + r->length, padded = r->length + HUGE_SIZE, at;
	uint64_t first = (offset + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1);

	/* offsets are signed in the kernel: one huge page below 2^63 rounds up to a negative one */
	if ((int64_t)end <= (int64_t)first || end - first < HUGE_SIZE)
		return 0;
	if (padded < r->length || offset + padded < offset)
		return 0;
	at = place_plain(mm, r, padded);
	if (place_is_error(at))
		return 0;
	if (at == r->hint)
		return at;
	offset = (offset - at) & (HUGE_SIZE - 1);
	if (!offset && !(mm->personality & SAMARA_ADDR_COMPAT_LAYOUT))
		return at + HUGE_SIZE;
	return at + offset;
}

/* hugetlbfs: everything in whole huge pages. */
static uint64_t place_hugetlb(const struct samara_mm *mm, const struct place_request *r, unsigned log2)
{
	struct place_request aligned = *r;

	aligned.align = (1ull << log2) - 1;
	if (r->length & aligned.align)
		return place_error(SAMARA_EINVAL);
	if (r->flags & SAMARA_MAP_FIXED)
		return r->hint & aligned.align ? place_error(SAMARA_EINVAL) : r->hint;
	aligned.hint = (r->hint + aligned.align) & ~aligned.align;
	return place_plain(mm, &aligned, r->length);
}

SAMARA_INTERNAL uint64_t place(struct samara_mm *mm, const struct place_request *r)
{
	uint64_t at = 0;
	bool huge = false;

	if (r->length > mm->layout.task_size)
		return place_error(SAMARA_ENOMEM);
	if (file_is(r->file, SAMARA_INODE_HUGETLB)) {
		at = place_hugetlb(mm, r, r->file->inode->desc.hardwired_huge_log2);
	} else {
		if (file_is(r->file, SAMARA_INODE_DEV_ZERO))
			huge = !(r->flags & SAMARA_MAP_SHARED);
		else if (r->file)
			huge = r->file->inode->desc.huge_align;
		else if (!(r->flags & SAMARA_MAP_SHARED) && !r->hint && !(r->length & (HUGE_SIZE - 1)))
			huge = true;
		if (huge && !mm->vm->config.no_thp)
			at = place_huge(mm, r);
		if (!at)
			at = place_plain(mm, r, r->length);
	}
	if (place_is_error(at))
		return at;
	if (at > mm->layout.task_size - r->length)
		return place_error(SAMARA_ENOMEM);
	if (at & ~PAGE_MASK)
		return place_error(SAMARA_EINVAL);
	if (at < mm->vm->config.dac_mmap_min_addr && !mm_capable(mm, SAMARA_CAP_SYS_RAWIO))
		return place_error(SAMARA_EPERM);
	return at;
}
