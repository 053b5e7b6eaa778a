/* protect.c - mprotect(2) and pkey_mprotect(2).
 *
 * The range is walked VMA by VMA; each is checked and changed before the next is looked at, so a failure leaves the
 * earlier ones changed: that is what the kernel does, and its errno is that of the first bad VMA.  A private mapping
 * that becomes writable is charged; one that stops being writable gives its charge back only when it never held a page.
 */
#include "core/space/space.h"

static int protect_one(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, uint64_t flags, vma_t **out)
{
	uint64_t old = vma->flags, pages = (end - start) >> PAGE_SHIFT, charged = 0;
	int err;

	*out = vma;
	if (vma_sealed(vma))
		return -SAMARA_EPERM;
	if (flags == old)
		return 0;
	if (flags & VM_WRITE) {
		if (!mm_may_expand(mm, flags, pages) && mm_may_expand(mm, old, pages))
			return -SAMARA_ENOMEM;
		if (!(old & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE))) {
			err = mm_charge(mm, pages);
			if (err)
				return err;
			charged = pages;
			flags |= VM_ACCOUNT;
		}
	} else if ((old & VM_ACCOUNT) && vma_is_anonymous(vma) && !vma->anon_id) {
		flags &= ~VM_ACCOUNT;
	}
	err = vma_modify(mm, vma, start, end, flags, vma->extra, out);
	if (err) {
		vm_uncharge(mm->vm, charged);
		return err;
	}
	zap_protect(mm, *out, start, end);
	if ((old & VM_ACCOUNT) && !(flags & VM_ACCOUNT))
		vm_uncharge(mm->vm, pages);
	mm_account(mm, old, -(int64_t)pages);
	mm_account(mm, flags, (int64_t)pages);
	/* a locked private mapping gets its own pages as soon as it may be written */
	if ((old & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && (flags & VM_WRITE))
		(void)mm_populate(mm, start, end, true);
	return 0;
}

/* PROT_GROWSDOWN, PROT_GROWSUP: the range begins or ends where the stack does. */
static int apply_grows(vma_t *vma, uint64_t grows, uint64_t *start, uint64_t end)
{
	if (grows & SAMARA_PROT_GROWSDOWN) {
		if (vma->start >= end)
			return -SAMARA_ENOMEM;
		*start = vma->start;
		return vma->flags & VM_GROWSDOWN ? 0 : -SAMARA_EINVAL;
	}
	if (vma->start > *start)
		return -SAMARA_ENOMEM;
	return grows & SAMARA_PROT_GROWSUP ? -SAMARA_EINVAL : 0;
}

/* Without a key of the caller's the VMA keeps its own; execute-only memory has one of its own, and loses it with
 * that. */
static int key_for(struct samara_mm *mm, const vma_t *vma, uint64_t prot, int pkey)
{
	int key = (int)vma_pkey(vma);

	if (pkey != -1)
		return pkey;
	if (prot == SAMARA_PROT_EXEC) {
		int only = mm_execute_only_pkey(mm);

		if (only > 0)
			return only;
	}
	if ((vma->flags & VM_ACCESS) == VM_EXEC && key == mm->execute_only_pkey)
		return 0;
	return key;
}

SAMARA_INTERNAL int mm_mprotect(struct samara_mm *mm, uint64_t start, uint64_t length, uint64_t prot, int pkey)
{
	const uint64_t grows = prot & (SAMARA_PROT_GROWSDOWN | SAMARA_PROT_GROWSUP);
	bool read_implies_exec = (mm->personality & SAMARA_READ_IMPLIES_EXEC) && (prot & SAMARA_PROT_READ);
	uint64_t end;
	vma_t *vma;
	int err;

	prot &= ~grows;
	if (grows == (SAMARA_PROT_GROWSDOWN | SAMARA_PROT_GROWSUP) || (start & ~PAGE_MASK))
		return -SAMARA_EINVAL;
	if (!length)
		return 0;
	end = start + PAGE_ALIGN(length);
	if (end <= start)
		return -SAMARA_ENOMEM;
	if (prot & ~(SAMARA_PROT_READ | SAMARA_PROT_WRITE | SAMARA_PROT_EXEC | SAMARA_PROT_SEM))
		return -SAMARA_EINVAL;
	if (pkey != -1 && (!mm->vm->config.pkeys || pkey < 0 || pkey > 15 || !(mm->pkeys >> pkey & 1) ||
			   pkey == mm->execute_only_pkey))
		return -SAMARA_EINVAL;
	tree_focus(&mm->tree, start);
	vma = mm_find(mm, start);
	if (!vma)
		return -SAMARA_ENOMEM;
	err = apply_grows(vma, grows, &start, end);
	while (!err) {
		uint64_t flags, to = MIN(vma->end, end), want = prot;

		if (read_implies_exec && (vma->flags & VM_MAYEXEC))
			want |= SAMARA_PROT_EXEC;
		flags = prot_to_vm(want, 0) | (vma->flags & ~VM_ACCESS);
		flags = (flags & ~VM_PKEY_MASK) | (uint64_t)key_for(mm, vma, want, pkey) << VM_PKEY_SHIFT;
		/* the may-rights stand four bits above the rights */
		if (flags & ~(flags >> 4) & VM_ACCESS)
			return -SAMARA_EACCES;
		if (mm_denies_write_exec(mm, vma->flags, flags))
			return -SAMARA_EACCES;
		err = protect_one(mm, vma, start, to, flags, &vma);
		if (err)
			return err;
		start = to;
		if (start < vma->end)
			start = MAX(start, MIN(vma->end, end));
		if (start >= end)
			return 0;
		vma = mm_find(mm, start);
		if (!vma || vma->start != start)
			err = -SAMARA_ENOMEM;
	}
	return err;
}

int samara_mprotect_with(struct samara_write_guard *g, samara_va addr, uint64_t length, uint64_t prot)
{
	return mm_mprotect(g->read.mm, addr, length, prot, -1);
}

int samara_mprotect(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot)
{
	return samara_pkey_mprotect(mm, addr, length, prot, -1);
}

int samara_pkey_mprotect(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t prot, int pkey)
{
	struct samara_write_guard g;
	int err;

	if (samara_write_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	err = mm_mprotect(mm, addr, length, prot, pkey);
	samara_write_unlock(&g);
	return err;
}
