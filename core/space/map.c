/* map.c - mmap(2): check, place, reserve, commit.
 *
 * The order of the checks is the order of errors that a caller sees:
 *
 *   length -> offset overflow -> max_map_count -> placement -> NOREPLACE -> lock rights and limits -> the file's policy, or the
 *   anonymous type -> write-and-execute denial -> what is replaced may go -> RLIMIT_AS, RLIMIT_DATA -> commit charge -> memory -> driver
 *
 * Until the driver is asked nothing is lost: a MAP_FIXED that fails leaves what it would have replaced, at most cut at
 * the edges.  A driver that refuses leaves a gap there.  Both are the kernel's own behaviour.
 */
#include "core/space/space.h"

#define LEGACY_FLAGS                                                                                                        \
	(SAMARA_MAP_SHARED | SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_DENYWRITE |          \
	 SAMARA_MAP_EXECUTABLE | SAMARA_MAP_UNINITIALIZED | SAMARA_MAP_GROWSDOWN | SAMARA_MAP_LOCKED |                      \
	 SAMARA_MAP_NORESERVE | SAMARA_MAP_POPULATE | SAMARA_MAP_NONBLOCK | SAMARA_MAP_STACK | SAMARA_MAP_HUGETLB |         \
	 SAMARA_MAP_32BIT | SAMARA_MAP_ABOVE4G | (21ul | 30ul) << SAMARA_MAP_HUGE_SHIFT)

/* A request on its way: what is known so far. */
struct mapping_build {
	const struct map_request *request;
	struct vma_spec spec;
	struct samara_file *file; /* request's, or one made for shared or huge anonymous memory */
	bool own_file;            /* then its reference is ours */
	struct unmap_plan replaced;
	bool gathered;            /* what is replaced was looked at and may go */
	uint64_t charged_pages;
};

SAMARA_INTERNAL uint64_t prot_to_vm(uint64_t prot, int pkey)
{
	uint64_t flags = 0;

	if (prot & SAMARA_PROT_READ)
		flags |= VM_READ;
	if (prot & SAMARA_PROT_WRITE)
		flags |= VM_WRITE;
	if (prot & SAMARA_PROT_EXEC)
		flags |= VM_EXEC;
	if (pkey > 0)
		flags |= (uint64_t)pkey << VM_PKEY_SHIFT & VM_PKEY_MASK;
	return flags;
}

static uint64_t map_flags_to_vm(const struct samara_mm *mm, uint64_t flags)
{
	uint64_t vm = 0;

	if (flags & SAMARA_MAP_GROWSDOWN)
		vm |= VM_GROWSDOWN;
	if (flags & SAMARA_MAP_LOCKED)
		vm |= VM_LOCKED;
	if (flags & SAMARA_MAP_SYNC)
		vm |= VM_SYNC;
	if ((flags & SAMARA_MAP_STACK) && !mm->vm->config.no_thp)
		vm |= VM_NOHUGEPAGE;
	return vm;
}

/* Memory-deny-write-execute, prctl(PR_SET_MDWE): no mapping becomes executable that was not born so, none is both. */
SAMARA_INTERNAL bool mm_denies_write_exec(const struct samara_mm *mm, uint64_t old_flags, uint64_t new_flags)
{
	if (!(mm->mdwe & SAMARA_PR_MDWE_REFUSE_EXEC_GAIN) || !(new_flags & VM_EXEC))
		return false;
	if (new_flags & VM_WRITE)
		return true;
	return !(old_flags & VM_EXEC);
}

/* Offsets and lengths that the file can have. */
static bool file_range_ok(const struct samara_file *file, uint64_t pgoff, uint64_t length)
{
	enum samara_inode_kind kind = file->inode->desc.kind;
	uint64_t max = file->inode->desc.max_bytes;

	if (kind == SAMARA_INODE_DEVICE || kind == SAMARA_INODE_DEV_ZERO || kind == SAMARA_INODE_UNMAPPABLE)
		max = UINT64_MAX;
	if (length > max)
		return false;
	return pgoff <= (max - length) >> PAGE_SHIFT;
}

static int check_shared(struct mapping_build *b, bool validate)
{
	const struct samara_inode_desc *d = &b->file->inode->desc;
	uint64_t flags = b->request->flags;

	if (validate) {
		uint64_t known = LEGACY_FLAGS | (d->sync || d->kind == SAMARA_INODE_REGULAR ? SAMARA_MAP_SYNC : 0);

		if (flags & ~known)
			return -SAMARA_EOPNOTSUPP;
	}
	if (b->request->prot & SAMARA_PROT_WRITE) {
		if (!(b->file->fmode & SAMARA_FMODE_WRITE))
			return -SAMARA_EACCES;
		if (d->swapfile)
			return -SAMARA_ETXTBSY;
	}
	if (d->append_only && (b->file->fmode & SAMARA_FMODE_WRITE))
		return -SAMARA_EACCES;
	b->spec.flags |= VM_SHARED | VM_MAYSHARE;
	if (!(b->file->fmode & SAMARA_FMODE_WRITE))
		b->spec.flags &= ~(VM_MAYWRITE | VM_SHARED);
	return 0;
}

static int check_file(struct mapping_build *b)
{
	const struct samara_inode_desc *d = &b->file->inode->desc;
	uint64_t type = b->request->flags & SAMARA_MAP_TYPE;
	int err = 0;

	if (!file_range_ok(b->file, b->spec.pgoff, b->spec.end - b->spec.start))
		return -SAMARA_EOVERFLOW;
	if (type == SAMARA_MAP_SHARED || type == SAMARA_MAP_SHARED_VALIDATE)
		err = check_shared(b, type == SAMARA_MAP_SHARED_VALIDATE);
	else if (type != SAMARA_MAP_PRIVATE)
		err = -SAMARA_EINVAL;
	if (err)
		return err;
	if (!(b->file->fmode & SAMARA_FMODE_READ))
		return -SAMARA_EACCES;
	if (d->noexec) {
		if (b->spec.flags & VM_EXEC)
			return -SAMARA_EPERM;
		b->spec.flags &= ~VM_MAYEXEC;
	}
	if (d->kind == SAMARA_INODE_UNMAPPABLE)
		return -SAMARA_ENODEV;
	if (b->spec.flags & VM_GROWSDOWN)
		return -SAMARA_EINVAL;
	if (inode_write_sealed(b->file->inode)) {
		if ((b->spec.flags & VM_SHARED) && (b->spec.flags & VM_WRITE))
			return -SAMARA_EPERM;
		if (b->spec.flags & VM_SHARED)
			b->spec.flags &= ~VM_MAYWRITE;
	}
	return 0;
}

static int check_anonymous(struct mapping_build *b)
{
	uint64_t flags = b->request->flags;

	switch (flags & SAMARA_MAP_TYPE) {
	case SAMARA_MAP_SHARED:
		if (b->spec.flags & VM_GROWSDOWN)
			return -SAMARA_EINVAL;
		b->spec.pgoff = 0;
		b->spec.flags |= VM_SHARED | VM_MAYSHARE;
		return 0;
	case SAMARA_MAP_DROPPABLE:
		/* memory that may vanish needs no reserve, and neither survives fork nor is worth dumping */
		if ((flags & (SAMARA_MAP_LOCKED | SAMARA_MAP_HUGETLB)) || (b->spec.flags & VM_GROWSDOWN))
			return -SAMARA_EINVAL;
		b->spec.flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
		b->spec.pgoff = b->spec.start >> PAGE_SHIFT;
		return 0;
	case SAMARA_MAP_PRIVATE:
		b->spec.pgoff = b->spec.start >> PAGE_SHIFT;
		return 0;
	}
	return -SAMARA_EINVAL;
}

/* log2 of the huge page that the size bits name; 0: the machine has none such. */
static unsigned huge_log2(const struct samara *vm, uint64_t flags)
{
	unsigned bits = flags >> SAMARA_MAP_HUGE_SHIFT & SAMARA_MAP_HUGE_MASK;

	if (bits == 0)
		return 21;
	return bits == 21 || (bits == 30 && !vm->config.no_gbpages) ? bits : 0;
}

/* MAP_ANONYMOUS | MAP_HUGETLB is a file of hugetlbfs from here on; done before the lock in Linux, so before every other
 * check. */
static int make_huge_file(struct samara_mm *mm, struct mapping_build *b, uint64_t *length)
{
	unsigned log2 = huge_log2(mm->vm, b->request->flags);
	uint64_t size;
	int err;

	if (!log2)
		return -SAMARA_EINVAL;
	size = 1ull << log2;
	*length = (*length + size - 1) & ~(size - 1);
	err = file_hugetlb_anon(mm->vm, *length, log2, &b->file);
	b->own_file = !err;
	return err;
}

/* Everything up to the point where things may be taken away; fills spec and replaced. */
static int check(struct samara_mm *mm, struct mapping_build *b, uint64_t length)
{
	const struct map_request *r = b->request;
	uint64_t flags = r->flags, prot = r->prot, pgoff = r->pgoff, at;
	struct place_request where;
	int err, pkey = 0;

	if (!length)
		return -SAMARA_EINVAL;
	if ((prot & SAMARA_PROT_READ) && (mm->personality & SAMARA_READ_IMPLIES_EXEC) && !(b->file && b->file->inode->desc.noexec))
		prot |= SAMARA_PROT_EXEC;
	if (flags & SAMARA_MAP_FIXED_NOREPLACE)
		flags |= SAMARA_MAP_FIXED;
	where = (struct place_request){ .hint = r->addr, .flags = flags, .file = b->file };
	if (!(flags & SAMARA_MAP_FIXED)) {
		where.hint &= PAGE_MASK;
		if (where.hint && where.hint < mm->vm->config.mmap_min_addr)
			where.hint = mm->vm->config.mmap_min_addr;
	}
	length = PAGE_ALIGN(length);
	if (!length)
		return -SAMARA_ENOMEM;
	if (pgoff + (length >> PAGE_SHIFT) < pgoff)
		return -SAMARA_EOVERFLOW;
	if (mm->map_count > mm->vm->config.max_map_count)
		return -SAMARA_ENOMEM;
	if (prot == SAMARA_PROT_EXEC)
		pkey = mm_execute_only_pkey(mm);
	b->spec.flags = prot_to_vm(prot, pkey) | map_flags_to_vm(mm, flags) | mm->def_flags | VM_MAY_ALL | r->vm_flags;
	where.length = length;
	where.pgoff = !b->file && (flags & SAMARA_MAP_TYPE) == SAMARA_MAP_SHARED ? 0 : pgoff;
	where.vm_flags = b->spec.flags;
	at = place(mm, &where);
	if (place_is_error(at))
		return (int)(int64_t)at;
	if ((flags & SAMARA_MAP_FIXED_NOREPLACE) && mm_find_in(mm, at, at + length))
		return -SAMARA_EEXIST;
	if ((flags & SAMARA_MAP_LOCKED) && !mm_can_lock(mm))
		return -SAMARA_EPERM;
	if (!mm_may_lock(mm, b->spec.flags, length))
		return -SAMARA_EAGAIN;
	b->spec.start = at;
	b->spec.end = at + length;
	b->spec.pgoff = pgoff;
	b->spec.extra = r->extra;
	err = b->file ? check_file(b) : check_anonymous(b);
	if (err)
		return err;
	if ((flags & SAMARA_MAP_NORESERVE) && (mm->vm->config.overcommit_memory != 2 || file_is(b->file, SAMARA_INODE_HUGETLB)))
		b->spec.flags |= VM_NORESERVE;
	if (file_is(b->file, SAMARA_INODE_HUGETLB))
		b->spec.flags |= VM_HUGETLB | VM_DONTEXPAND;
	if (mm_denies_write_exec(mm, b->spec.flags, b->spec.flags))
		return -SAMARA_EACCES;
	err = unmap_check(mm, at, at + length, &b->replaced);
	b->gathered = !err;
	return err;
}

/* Limits, charge, memory: all that can fail before the commit.  Undone by release(). */
static int reserve(struct samara_mm *mm, struct mapping_build *b)
{
	uint64_t pages = (b->spec.end - b->spec.start) >> PAGE_SHIFT;
	int err;

	if (!mm_may_expand(mm, b->spec.flags, pages - b->replaced.pages))
		return -SAMARA_ENOMEM;
	if (vma_is_accountable(b->file, b->spec.flags)) {
		uint64_t net = pages - b->replaced.accounted_pages;

		err = mm_charge(mm, net);
		if (err)
			return err;
		b->charged_pages = net;
		b->spec.flags |= VM_ACCOUNT;
	}
	return mm_reserve(mm, 2);
}

static int map_hugetlb(struct mapping_build *b)
{
	struct samara_inode *inode = b->file->inode;
	uint64_t pages = (b->spec.end - b->spec.start) >> PAGE_SHIFT;

	if (b->spec.pgoff & ((1ull << (inode->desc.hardwired_huge_log2 - PAGE_SHIFT)) - 1))
		return -SAMARA_EINVAL;
	return b->spec.flags & VM_NORESERVE ? 0 : inode_reserve_huge(inode, (b->spec.pgoff + pages) << PAGE_SHIFT);
}

/* What the kind of memory has to say: shared anonymous memory gets its file, hugetlbfs promises its pages, a driver's
 * mmap operation may refuse, or change flags, offset and private data. */
static int ask_driver(struct samara_mm *mm, struct mapping_build *b)
{
	const struct samara_inode *inode;
	struct samara_mapping m;
	int err;

	if ((!b->file || file_is(b->file, SAMARA_INODE_DEV_ZERO)) && (b->spec.flags & VM_SHARED)) {
		err = file_shmem_zero(mm->vm, mm, b->spec.end - b->spec.start, b->spec.flags, &b->file);
		b->own_file = !err;
		return err;
	}
	if (!b->file)
		return 0;
	if (file_is(b->file, SAMARA_INODE_HUGETLB))
		return map_hugetlb(b);
	inode = b->file->inode;
	m = (struct samara_mapping){ .start = b->spec.start, .end = b->spec.end, .pgoff = b->spec.pgoff, .vm_flags = b->spec.flags,
		.file = b->file };
	/* file systems that know DAX refuse MAP_SYNC without it at last, also where unknown flags are passed over */
	if ((b->spec.flags & VM_SYNC) && inode->desc.kind == SAMARA_INODE_REGULAR && !inode->desc.sync)
		return -SAMARA_EOPNOTSUPP;
	if (!inode->ops.mmap)
		return 0;
	err = inode->ops.mmap(inode->desc.self, &m);
	b->spec.pgoff = m.pgoff;
	b->spec.flags = m.vm_flags;
	b->spec.private_data = m.private_data;
	return err;
}

static void release(struct samara_mm *mm, struct mapping_build *b)
{
	vm_uncharge(mm->vm, b->charged_pages);
	if (b->own_file)
		samara_file_put(b->file);
}

/* Cannot fail. */
static void commit(struct samara_mm *mm, struct mapping_build *b)
{
	uint64_t pages = (b->spec.end - b->spec.start) >> PAGE_SHIFT;
	struct tree_entry prev, next;
	vma_t *vma;

	/* the charge was net of what goes: keep the machine's sum whole while the old part gives its pages back */
	if (b->replaced.first) {
		if (b->spec.flags & VM_ACCOUNT)
			vm_recharge(mm->vm, b->replaced.accounted_pages);
		unmap_commit(mm, &b->replaced, true);
	}
	/* neighbours that do not touch it are not looked at: their memory is seldom in the cache */
	tree_around(&mm->tree, b->spec.start, &prev, &next);
	b->spec.file = b->file;
	vma = vma_merge_new(mm, &b->spec, prev.end == b->spec.start ? prev.value : NULL,
			    next.start == b->spec.end ? next.value : NULL);
	if (!vma) {
		vma = vma_take(mm);
		vma_fill(vma, mm, &b->spec);
		mm_link(mm, vma);
	}
	mm_account(mm, b->spec.flags, (int64_t)pages);
	if (b->spec.flags & VM_LOCKED) {
		if (b->spec.flags & (VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE))
			vma_set_flags(vma, vma->flags & ~VM_LOCKED_MASK);
		else
			mm->locked_vm += pages;
	}
	if (b->own_file)
		samara_file_put(b->file);
}

/* Field by field: clearing the whole of it first costs more than all checks. */
static void begin(struct mapping_build *b, const struct map_request *request)
{
	b->request = request;
	b->file = request->file;
	b->own_file = false;
	b->gathered = false;
	b->charged_pages = 0;
	b->spec.file = NULL;
	b->spec.private_data = NULL;
	b->spec.anon_id = 0;
	b->spec.inherited = false;
	b->spec.anon = NULL;
}

SAMARA_INTERNAL int64_t mm_mmap(struct samara_mm *mm, const struct map_request *request, bool *populate)
{
	struct mapping_build b;
	uint64_t length = request->length;
	int err = 0;

	begin(&b, request);
	if (!b.file && (request->flags & SAMARA_MAP_HUGETLB))
		err = make_huge_file(mm, &b, &length);
	if (!err)
		err = check(mm, &b, length);
	if (!err)
		err = reserve(mm, &b);
	if (err) {
		release(mm, &b);
		if (b.gathered)
			unmap_leave_cuts(mm, &b.replaced, true);
		return err;
	}
	err = ask_driver(mm, &b);
	if (err) {
		/* by then the kernel has closed what stood here, and leaves a gap */
		release(mm, &b);
		unmap_commit(mm, &b.replaced, true);
		return err;
	}
	commit(mm, &b);
	*populate = (b.spec.flags & VM_LOCKED) ||
		    (request->flags & (SAMARA_MAP_POPULATE | SAMARA_MAP_NONBLOCK)) == SAMARA_MAP_POPULATE;
	return (int64_t)b.spec.start;
}
