/* remap.c - mremap(2): grow in place, shrink, move; several mappings at once when only moving.
 *
 *   same length, no flags        nothing to do
 *   shorter                      the tail is unmapped
 *   longer, room above           grows in place, may merge with what lies above; guard gaps are not looked at
 *   longer, no room              moves (MREMAP_MAYMOVE)
 *   MREMAP_FIXED                 the target is unmapped first, before checks that can still fail, as the kernel does
 *   MREMAP_FIXED, same length    every mapping of the range moves, gaps between them stay
 *   MREMAP_DONTUNMAP             the source stays mapped, its pages have gone
 *
 * Memory that was never faulted is as if mapped anew at its new place (pgoff follows the address); faulted memory keeps
 * its pgoff.
 */
#include "core/space/space.h"

struct remap {
	struct samara_mm *mm;
	uint64_t addr, old_length, new_length, flags, new_addr; /* lengths page aligned */
	vma_t *vma;
	bool shrinks;
	uint64_t delta; /* what the request grows or shrinks by */
	struct range *grown; /* locked memory that came: to be faulted in */
};

static bool wants_place(const struct remap *r)
{
	return r->flags & (SAMARA_MREMAP_FIXED | SAMARA_MREMAP_DONTUNMAP);
}

static int check_arguments(const struct remap *r)
{
	const uint64_t known = SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED | SAMARA_MREMAP_DONTUNMAP;
	uint64_t task_size = r->mm->layout.task_size;

	if ((r->flags & ~known) || (r->addr & ~PAGE_MASK) || !r->new_length || r->new_length > task_size)
		return -SAMARA_EINVAL;
	if (!wants_place(r))
		return 0;
	if (r->new_addr > task_size - r->new_length || (r->new_addr & ~PAGE_MASK) || !(r->flags & SAMARA_MREMAP_MAYMOVE))
		return -SAMARA_EINVAL;
	if ((r->flags & SAMARA_MREMAP_DONTUNMAP) && r->old_length != r->new_length)
		return -SAMARA_EINVAL;
	if (r->addr + r->old_length > r->new_addr && r->new_addr + r->new_length > r->addr)
		return -SAMARA_EINVAL;
	/* a move may cut source and target, each into three */
	if (r->mm->map_count + 2 >= r->mm->vm->config.max_map_count - 3)
		return -SAMARA_ENOMEM;
	return 0;
}

/* hugetlbfs: whole huge pages, and no growth (its reservation cannot). */
static int align_hugetlb(struct remap *r)
{
	uint64_t mask;

	if (!file_is(r->vma->file, SAMARA_INODE_HUGETLB))
		return 0;
	mask = (1ull << r->vma->file->inode->desc.hardwired_huge_log2) - 1;
	r->old_length = (r->old_length + mask) & ~mask;
	r->new_length = (r->new_length + mask) & ~mask;
	if (((r->addr | r->new_addr) & mask) || r->new_length > r->old_length)
		return -SAMARA_EINVAL;
	return 0;
}

static int check_vma(struct remap *r)
{
	const vma_t *vma = r->vma;
	uint64_t pgoff, delta;

	if (!vma)
		return -SAMARA_EFAULT;
	if (vma_sealed(vma))
		return -SAMARA_EPERM;
	if (align_hugetlb(r))
		return -SAMARA_EINVAL;
	if (!r->old_length && !(vma->flags & (VM_SHARED | VM_MAYSHARE)))
		return -SAMARA_EINVAL;
	if ((r->flags & SAMARA_MREMAP_DONTUNMAP) && (vma->flags & (VM_DONTEXPAND | VM_PFNMAP)))
		return -SAMARA_EINVAL;
	if (!wants_place(r) && r->new_length <= r->old_length)
		return 0;
	/* a tail that shrinking takes away may lie anywhere */
	if (MIN(r->old_length, r->new_length) > vma->end - r->addr)
		return -SAMARA_EFAULT;
	if (r->new_length <= r->old_length)
		return 0;
	delta = r->new_length - r->old_length;
	pgoff = vma->pgoff + ((r->addr - vma->start) >> PAGE_SHIFT);
	if (pgoff + (r->new_length >> PAGE_SHIFT) < pgoff)
		return -SAMARA_EINVAL;
	if (vma->flags & (VM_DONTEXPAND | VM_PFNMAP))
		return -SAMARA_EFAULT;
	if (!mm_may_lock(r->mm, vma->flags, delta))
		return -SAMARA_EAGAIN;
	if (!mm_may_expand(r->mm, vma->flags, delta >> PAGE_SHIFT))
		return -SAMARA_ENOMEM;
	return 0;
}

static uint64_t new_place(const struct remap *r)
{
	struct place_request where = { .length = r->new_length, .file = r->vma->file, .vm_flags = r->vma->flags,
		.pgoff = r->vma->pgoff + ((r->addr - r->vma->start) >> PAGE_SHIFT) };

	if (wants_place(r))
		where.hint = r->new_addr;
	if (r->flags & SAMARA_MREMAP_FIXED)
		where.flags |= SAMARA_MAP_FIXED;
	if (r->vma->flags & VM_MAYSHARE)
		where.flags |= SAMARA_MAP_SHARED;
	return place(r->mm, &where);
}

/* The copy of [addr, addr + old_length) at `at`, new_length long. */
static vma_t *copy_vma(struct remap *r, uint64_t at)
{
	struct samara_mm *mm = r->mm;
	vma_t *vma = r->vma, *copy;
	struct vma_spec spec = { .start = at, .end = at + r->new_length, .flags = vma->flags, .file = vma->file,
		.pgoff = vma->pgoff + ((r->addr - vma->start) >> PAGE_SHIFT), .private_data = vma->private_data,
		.extra = vma->extra, .anon_id = vma->anon_id, .inherited = vma->inherited, .anon = vma->anon };

	if (vma_is_anonymous(vma) && !vma->anon_id)
		spec.pgoff = at >> PAGE_SHIFT;
	copy = vma_merge_new(mm, &spec, mm_prev(mm, at), mm_find(mm, spec.end));
	if (!copy) {
		copy = vma_take(mm);
		vma_fill(copy, mm, &spec);
		mm_link(mm, copy);
	}
	(void)uffd_drop(mm, copy); /* without memory it stays registered */
	file_tell_open(spec.file, spec.start, spec.end);
	return copy;
}

/* The source goes; its charge went along with the copy. */
static int unmap_source(struct remap *r, bool accounted)
{
	struct unmap_plan plan;
	int err = unmap_check(r->mm, r->addr, r->addr + r->old_length, &plan);

	if (err)
		return err;
	if (accounted)
		vm_recharge(r->mm->vm, plan.accounted_pages);
	unmap_commit(r->mm, &plan, true);
	return 0;
}

static int64_t move(struct remap *r, uint64_t at)
{
	struct samara_mm *mm = r->mm;
	uint64_t new_pages = r->new_length >> PAGE_SHIFT, old_pages = r->old_length >> PAGE_SHIFT;
	/* the kernel asks for what a shrinking move gives up, too; it is not kept */
	uint64_t charge = r->flags & SAMARA_MREMAP_DONTUNMAP ? new_pages : r->delta >> PAGE_SHIFT;
	uint64_t peak = mm->peak_vm;
	bool accounted = r->vma->flags & VM_ACCOUNT, locked = r->vma->flags & VM_LOCKED, stays = r->flags & SAMARA_MREMAP_DONTUNMAP;
	uint64_t flags = r->vma->flags, moved;
	vma_t *copy;
	int err;

	if (mm->map_count >= mm->vm->config.max_map_count - 3)
		return -SAMARA_ENOMEM;
	if ((r->vma->start != r->addr && !vma_may_cut(r->vma, r->addr)) ||
	    (r->vma->end != r->addr + r->old_length && !vma_may_cut(r->vma, r->addr + r->old_length)))
		return -SAMARA_EINVAL;
	if (accounted) {
		err = mm_charge(mm, charge);
		if (err)
			return err;
	}
	err = mm_reserve(mm, 3);
	vma_lock_write(mm, r->vma);
	moved = MIN(r->old_length, r->new_length);
	if (!err)
		err = zap_move_prepare(mm, r->addr, at, moved);
	if (accounted && (err || r->shrinks))
		vm_uncharge(mm->vm, charge);
	if (err)
		return err;
	copy = copy_vma(r, at);
	/* found by the reverse maps in both places; in between nobody looks */
	if (mm_has_memory(mm) && moved) {
		vma_t *from = tree_get(&mm->tree, r->addr);

		rmap_lock_vma(from);
		zap_move(mm, r->addr, at, moved);
		rmap_unlock_vma(from);
	}
	mm_account(mm, flags, (int64_t)new_pages);
	if (locked)
		mm->locked_vm += new_pages;
	r->vma = tree_get(&mm->tree, r->addr);
	if (stays) {
		vma_set_flags(r->vma, r->vma->flags & ~VM_LOCKED_MASK);
		if (copy != r->vma && r->vma->start == r->addr && r->vma->end == r->addr + r->old_length) {
			vma_lock_write(mm, r->vma);
			if (r->vma->anon)
				rmap_leave_family(r->vma);
			r->vma->anon_id = 0;
			r->vma->inherited = false;
		}
	} else if (r->old_length) {
		(void)unmap_source(r, accounted);
	}
	/* that both were there for a moment is not told (VmPeak) */
	mm->peak_vm = MAX(peak, mm->total_vm);
	if (locked && new_pages > old_pages)
		*r->grown = (struct range){ at + r->old_length, at + r->new_length };
	return (int64_t)at;
}

static int64_t remap_to(struct remap *r)
{
	uint64_t at;
	int err;

	if (r->flags & SAMARA_MREMAP_FIXED) {
		err = mm_munmap(r->mm, r->new_addr, r->new_length);
		if (err)
			return err;
		r->vma = tree_get(&r->mm->tree, r->addr);
		if (!r->vma)
			return -SAMARA_EFAULT;
	}
	if (r->old_length > r->new_length) {
		err = mm_munmap(r->mm, r->addr + r->new_length, r->old_length - r->new_length);
		if (err)
			return err;
		r->old_length = r->new_length;
		r->vma = tree_get(&r->mm->tree, r->addr);
		if (!r->vma)
			return -SAMARA_EFAULT;
	}
	if ((r->flags & SAMARA_MREMAP_DONTUNMAP) && !mm_may_expand(r->mm, r->vma->flags, r->old_length >> PAGE_SHIFT))
		return -SAMARA_ENOMEM;
	at = new_place(r);
	if (place_is_error(at))
		return (int64_t)at;
	return move(r, at);
}

static bool room_above(const struct remap *r)
{
	uint64_t end = r->vma->end, delta = r->new_length - r->old_length;

	return end == r->addr + r->old_length && end + delta >= end && end + delta <= r->mm->layout.task_size &&
	       !mm_find_in(r->mm, end, end + delta);
}

static int grow_in_place(struct remap *r)
{
	struct samara_mm *mm = r->mm;
	vma_t *vma = r->vma;
	uint64_t end = vma->end, delta = r->new_length - r->old_length, pages = delta >> PAGE_SHIFT, flags = vma->flags;
	struct vma_spec spec = { .start = end, .end = end + delta, .flags = flags, .file = vma->file,
		.pgoff = vma->pgoff + vma_pages(vma), .private_data = vma->private_data, .extra = vma->extra,
		.anon_id = vma->anon_id, .anon = vma->anon }; /* what comes was in no fork: it may join an untouched neighbour */
	int err = flags & VM_ACCOUNT ? mm_charge(mm, pages) : 0;

	if (err)
		return err;
	err = mm_reserve(mm, 0);
	if (!err && !vma_merge_new(mm, &spec, vma, mm_next(mm, vma)))
		err = -SAMARA_ENOMEM;
	if (err) {
		vm_uncharge(mm->vm, flags & VM_ACCOUNT ? pages : 0);
		return err;
	}
	file_tell_open(spec.file, spec.start, spec.end);
	mm_account(mm, flags, (int64_t)pages);
	if (flags & VM_LOCKED) {
		mm->locked_vm += pages;
		*r->grown = (struct range){ end, end + delta };
	}
	return 0;
}

static int64_t remap_at(struct remap *r)
{
	uint64_t at;
	int err;

	if (r->new_length == r->old_length)
		return (int64_t)r->addr;
	if (r->new_length < r->old_length) {
		err = mm_munmap(r->mm, r->addr + r->new_length, r->old_length - r->new_length);
		return err ? err : (int64_t)r->addr;
	}
	if (room_above(r)) {
		err = grow_in_place(r);
		return err ? err : (int64_t)r->addr;
	}
	if (!(r->flags & SAMARA_MREMAP_MAYMOVE))
		return -SAMARA_ENOMEM;
	at = new_place(r);
	if (place_is_error(at))
		return (int64_t)at;
	return move(r, at);
}

/* Some mappings cannot be moved together with others: a descriptor must hear of it, or their file chooses places
 * itself. */
static bool moves_with_others(const vma_t *vma)
{
	return !(vma->flags & VM_UFFD_ALL) && !(vma->extra && vma->extra->shm) && !file_is(vma->file, SAMARA_INODE_DEVICE) &&
	       !file_is(vma->file, SAMARA_INODE_DEV_ZERO);
}

/* MREMAP_FIXED without a change of length: mapping by mapping, the distances between them kept. */
static int64_t remap_several(struct remap *r)
{
	uint64_t start = r->addr, end = r->addr + r->old_length, target = r->new_addr, last_end = start;
	int64_t result = -SAMARA_EFAULT;
	bool first = true;
	vma_t *vma;

	for (uint64_t at = start; (vma = mm_find_in(r->mm, at, end)); first = false) {
		uint64_t vma_start = vma->start, vma_end = vma->end;
		int64_t moved;

		r->addr = MAX(vma_start, start);
		if (first && r->addr != start)
			return -SAMARA_EFAULT;
		if (!moves_with_others(vma) && (!first || vma_end < end))
			return -SAMARA_EFAULT;
		r->vma = vma;
		r->new_addr = target + (first ? 0 : vma_start - last_end);
		r->old_length = r->new_length = MIN(end, vma_end) - r->addr;
		last_end = vma_end;
		moved = check_vma(r);
		if (!moved)
			moved = remap_to(r);
		if (moved < 0)
			return moved;
		if (first)
			result = moved;
		target = (uint64_t)moved + r->new_length;
		at = vma_end;
		if (at >= end)
			break;
	}
	return result;
}

SAMARA_INTERNAL int64_t mm_mremap(struct samara_mm *mm, uint64_t addr, uint64_t old_length, uint64_t new_length, uint64_t flags,
	uint64_t new_addr, struct range *grown)
{
	struct remap r = { .mm = mm, .addr = addr, .old_length = PAGE_ALIGN(old_length), .new_length = PAGE_ALIGN(new_length),
		.flags = flags, .new_addr = new_addr, .grown = grown };
	int64_t result = check_arguments(&r);

	r.shrinks = r.old_length > r.new_length;
	r.delta = r.shrinks ? r.old_length - r.new_length : r.new_length - r.old_length;
	if (result)
		return result;
	if ((flags & SAMARA_MREMAP_FIXED) && r.old_length == r.new_length)
		return remap_several(&r);
	r.vma = tree_get(&mm->tree, addr);
	result = check_vma(&r);
	if (result)
		return result;
	return wants_place(&r) ? remap_to(&r) : remap_at(&r);
}

int64_t samara_mremap_with(struct samara_write_guard *g, samara_va addr, uint64_t old_length, uint64_t new_length,
	uint64_t flags, samara_va new_addr)
{
	struct range grown = { 0 };
	int64_t at = mm_mremap(g->read.mm, addr, old_length, new_length, flags, new_addr, &grown);

	(void)mm_populate(g->read.mm, grown.start, grown.end, true);
	return at;
}

int64_t samara_mremap(struct samara_mm *mm, samara_va addr, uint64_t old_length, uint64_t new_length, uint64_t flags,
	samara_va new_addr)
{
	struct samara_write_guard g;
	struct range grown = { 0 };
	int64_t at;

	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	at = mm_mremap(mm, addr, old_length, new_length, flags, new_addr, &grown);
	(void)mm_unlock_and_populate(&g, grown, true);
	return at;
}
