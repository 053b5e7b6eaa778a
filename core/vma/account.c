/* account.c - what may be used: commit accounting, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, and the counts that status
 * shows.
 *
 * The machine's commit charge is one atomic number; each address space's counts belong to the holder of its write
 * guard.  Documentation: Documentation/mm/overcommit-accounting, setrlimit(2), proc(5).
 */
#include "core/mm.h"

SAMARA_INTERNAL uint64_t mm_limit(const struct samara_mm *mm, int limit)
{
	return LOAD(mm->limits[limit].cur);
}

static uint64_t commit_limit(const struct samara *vm)
{
	const struct samara_config *c = &vm->config;
	uint64_t huge = c->huge_pages_2m * 512 + c->huge_pages_1g * 512 * 512;
	uint64_t pages = c->overcommit_kbytes ? c->overcommit_kbytes >> (PAGE_SHIFT - 10)
					      : (c->total_pages - MIN(huge, c->total_pages)) * c->overcommit_ratio / 100;

	return pages + c->swap_pages;
}

SAMARA_INTERNAL int vm_charge_many(struct samara *vm, const struct samara_mm *mm, uint64_t pages, uint64_t largest)
{
	const struct samara_config *c = &vm->config;
	int64_t now = __atomic_add_fetch(&vm->committed_pages, (int64_t)pages, __ATOMIC_RELAXED);
	uint64_t allowed;

	if (c->overcommit_memory == 1)
		return 0;
	if (c->overcommit_memory == 0) {
		if (largest <= c->total_pages + c->swap_pages)
			return 0;
	} else {
		uint64_t reserve = 0;

		allowed = commit_limit(vm);
		if (mm && !mm_capable(mm, SAMARA_CAP_SYS_ADMIN))
			reserve += c->admin_reserve_kbytes >> (PAGE_SHIFT - 10);
		if (mm)
			reserve += MIN(mm->total_vm / 32, c->user_reserve_kbytes >> (PAGE_SHIFT - 10));
		allowed -= MIN(reserve, allowed);
		if (now < 0 || (uint64_t)now < allowed)
			return 0;
	}
	vm_uncharge(vm, pages);
	return -SAMARA_ENOMEM;
}

SAMARA_INTERNAL int vm_charge(struct samara *vm, const struct samara_mm *mm, uint64_t pages)
{
	return vm_charge_many(vm, mm, pages, pages);
}

SAMARA_INTERNAL void vm_uncharge(struct samara *vm, uint64_t pages)
{
	if (pages)
		__atomic_sub_fetch(&vm->committed_pages, (int64_t)pages, __ATOMIC_RELAXED);
}

/* Pages that were allowed for before are charged again; cannot fail. */
SAMARA_INTERNAL void vm_recharge(struct samara *vm, uint64_t pages)
{
	if (pages)
		__atomic_add_fetch(&vm->committed_pages, (int64_t)pages, __ATOMIC_RELAXED);
}

SAMARA_INTERNAL int mm_charge(struct samara_mm *mm, uint64_t pages)
{
	return vm_charge(mm->vm, mm, pages);
}

/* Private and writable, not a stack: what RLIMIT_DATA counts. */
SAMARA_INTERNAL bool vma_is_data(uint64_t flags)
{
	return (flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) == VM_WRITE;
}

SAMARA_INTERNAL bool vma_is_accountable(const struct samara_file *file, uint64_t flags)
{
	if (file_is(file, SAMARA_INODE_HUGETLB))
		return false;
	return (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE;
}

/* `pages` is net of what a MAP_FIXED takes away first. */
SAMARA_INTERNAL bool mm_may_expand(const struct samara_mm *mm, uint64_t flags, uint64_t pages)
{
	uint64_t limit;

	if (mm->total_vm + pages > mm_limit(mm, LIMIT_AS) >> PAGE_SHIFT)
		return false;
	if (!vma_is_data(flags))
		return true;
	limit = mm_limit(mm, LIMIT_DATA);
	pages += mm->data_vm;
	if (pages <= limit >> PAGE_SHIFT)
		return true;
	/* programs that set a soft limit of zero and go on with the hard one (valgrind did) are let through */
	return limit == 0 && pages <= mm->limits[LIMIT_DATA].max >> PAGE_SHIFT;
}

SAMARA_INTERNAL void mm_account(struct samara_mm *mm, uint64_t flags, int64_t pages)
{
	mm->total_vm += (uint64_t)pages;
	if (mm->total_vm > mm->peak_vm)
		mm->peak_vm = mm->total_vm;
	if ((flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN)) == VM_EXEC)
		mm->exec_vm += (uint64_t)pages;
	else if (flags & VM_GROWSDOWN)
		mm->stack_vm += (uint64_t)pages;
	else if (vma_is_data(flags))
		mm->data_vm += (uint64_t)pages;
}

SAMARA_INTERNAL bool mm_can_lock(const struct samara_mm *mm)
{
	return mm_limit(mm, LIMIT_MEMLOCK) != 0 || mm_capable(mm, SAMARA_CAP_IPC_LOCK);
}

SAMARA_INTERNAL bool mm_may_lock(const struct samara_mm *mm, uint64_t flags, uint64_t bytes)
{
	if (!(flags & VM_LOCKED) || mm_capable(mm, SAMARA_CAP_IPC_LOCK))
		return true;
	return (bytes >> PAGE_SHIFT) + mm->locked_vm <= mm_limit(mm, LIMIT_MEMLOCK) >> PAGE_SHIFT;
}

int64_t samara_committed_as(const struct samara *vm)
{
	return LOAD(vm->committed_pages);
}

uint64_t samara_commit_limit(const struct samara *vm)
{
	return commit_limit(vm);
}
