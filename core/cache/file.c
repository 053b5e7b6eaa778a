/* file.c - inodes and open files: what a mapping of a file refers to.
 *
 * Both are counted.  A mapping holds a reference on its file; a file holds one on its inode.  An inode counts its
 * shared mappings that may write, so a write seal can be refused while one exists.  Shared anonymous memory is an
 * inode of kind SHMEM that the core makes itself and that is charged whole, as the kernel does.
 */
#include "core/mm.h"

static const char shm_zero_path[] = "/dev/zero (deleted)";

int samara_inode_create(struct samara *vm, const struct samara_inode_desc *desc, struct samara_inode **out)
{
	struct samara_inode *inode;

	if (!vm || !desc || !out || desc->kind > SAMARA_INODE_UNMAPPABLE)
		return -SAMARA_EINVAL;
	if (desc->max_bytes && desc->size_bytes > desc->max_bytes)
		return -SAMARA_EINVAL;
	if (desc->kind == SAMARA_INODE_HUGETLB && desc->hardwired_huge_log2 != 21 && desc->hardwired_huge_log2 != 30)
		return -SAMARA_EINVAL;
	inode = vm_alloc(vm, sizeof(*inode));
	if (!inode)
		return -SAMARA_ENOMEM;
	inode->vm = vm;
	inode->refs = 1;
	inode->desc = *desc;
	if (!inode->desc.max_bytes)
		inode->desc.max_bytes = INT64_MAX;
	if (desc->ops)
		copy_bytes(&inode->ops, desc->ops, MIN(desc->ops->size, sizeof(inode->ops)));
	inode->desc.ops = &inode->ops;
	__atomic_add_fetch(&vm->objects, 1, __ATOMIC_RELAXED);
	*out = inode;
	return 0;
}

void samara_inode_get(struct samara_inode *inode)
{
	__atomic_add_fetch(&inode->refs, 1, __ATOMIC_RELAXED);
}

void samara_inode_put(struct samara_inode *inode)
{
	struct samara *vm = inode->vm;

	if (__atomic_sub_fetch(&inode->refs, 1, __ATOMIC_ACQ_REL))
		return;
	cache_destroy(inode);
	vm_uncharge(vm, inode->shmem_charged_pages);
	if (inode->huge_reserved)
		__atomic_add_fetch(&vm->huge_free[inode->desc.hardwired_huge_log2 == 30], inode->huge_reserved, __ATOMIC_RELAXED);
	if (inode->ops.release)
		inode->ops.release(inode->desc.self);
	__atomic_sub_fetch(&vm->objects, 1, __ATOMIC_RELAXED);
	vm_free(vm, inode, sizeof(*inode));
}

void samara_inode_set_size(struct samara_inode *inode, uint64_t size_bytes)
{
	STORE(inode->desc.size_bytes, MIN(size_bytes, inode->desc.max_bytes));
}

int samara_inode_add_seals(struct samara_inode *inode, uint32_t seals)
{
	const uint32_t known = SAMARA_F_SEAL_SEAL | SAMARA_F_SEAL_SHRINK | SAMARA_F_SEAL_GROW | SAMARA_F_SEAL_WRITE |
			       SAMARA_F_SEAL_FUTURE_WRITE | SAMARA_F_SEAL_EXEC;

	if ((inode->desc.kind != SAMARA_INODE_SHMEM && inode->desc.kind != SAMARA_INODE_HUGETLB) || (seals & ~known))
		return -SAMARA_EINVAL;
	if (LOAD(inode->desc.seals) & SAMARA_F_SEAL_SEAL)
		return -SAMARA_EPERM;
	if ((seals & SAMARA_F_SEAL_EXEC) && inode->desc.executable)
		seals |= SAMARA_F_SEAL_SHRINK | SAMARA_F_SEAL_GROW | SAMARA_F_SEAL_WRITE | SAMARA_F_SEAL_FUTURE_WRITE;
	if ((seals & SAMARA_F_SEAL_WRITE) && !(LOAD(inode->desc.seals) & SAMARA_F_SEAL_WRITE) && LOAD(inode->writable_mappings) > 0)
		return -SAMARA_EBUSY;
	__atomic_or_fetch(&inode->desc.seals, seals, __ATOMIC_RELAXED);
	return 0;
}

uint32_t samara_inode_seals(const struct samara_inode *inode)
{
	return LOAD(inode->desc.seals);
}

static int set_path(struct samara *vm, struct samara_file *file, const char *path)
{
	size_t bytes = text_length(path) + 1;
	char *copy = vm_alloc(vm, bytes);

	if (!copy)
		return -SAMARA_ENOMEM;
	copy_bytes(copy, path, bytes);
	if (file->path)
		vm_free(vm, file->path, file->path_bytes);
	file->path = copy;
	file->path_bytes = (uint32_t)bytes;
	return 0;
}

int samara_file_open(struct samara_inode *inode, unsigned fmode, const char *path, struct samara_file **out)
{
	struct samara *vm;
	struct samara_file *file;
	int err;

	if (!inode || !path || !out || (fmode & ~(unsigned)(SAMARA_FMODE_READ | SAMARA_FMODE_WRITE)))
		return -SAMARA_EINVAL;
	vm = inode->vm;
	file = vm_alloc(vm, sizeof(*file));
	if (!file)
		return -SAMARA_ENOMEM;
	err = set_path(vm, file, path);
	if (err) {
		vm_free(vm, file, sizeof(*file));
		return err;
	}
	file->inode = inode;
	file->refs = 1;
	file->fmode = fmode;
	file->errors_seen = LOAD(inode->cache.errors_told);
	samara_inode_get(inode);
	__atomic_add_fetch(&vm->objects, 1, __ATOMIC_RELAXED);
	*out = file;
	return 0;
}

void samara_file_get(struct samara_file *file)
{
	__atomic_add_fetch(&file->refs, 1, __ATOMIC_RELAXED);
}

void samara_file_put(struct samara_file *file)
{
	struct samara_inode *inode = file->inode;
	struct samara *vm = inode->vm;

	if (__atomic_sub_fetch(&file->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vm_free(vm, file->path, file->path_bytes);
	vm_free(vm, file, sizeof(*file));
	__atomic_sub_fetch(&vm->objects, 1, __ATOMIC_RELAXED);
	samara_inode_put(inode);
}

struct samara_inode *samara_file_inode(const struct samara_file *file)
{
	return file->inode;
}

int samara_file_set_path(struct samara_file *file, const char *path)
{
	return path ? set_path(file->inode->vm, file, path) : -SAMARA_EINVAL;
}

static bool counts_as_writable(uint64_t vm_flags)
{
	return (vm_flags & VM_SHARED) && (vm_flags & VM_MAYWRITE);
}

SAMARA_INTERNAL void file_vma_open(struct samara_file *file, uint64_t vm_flags)
{
	samara_file_get(file);
	if (counts_as_writable(vm_flags))
		__atomic_add_fetch(&file->inode->writable_mappings, 1, __ATOMIC_RELAXED);
}

SAMARA_INTERNAL void file_vma_close(struct samara_file *file, uint64_t vm_flags)
{
	if (counts_as_writable(vm_flags))
		__atomic_sub_fetch(&file->inode->writable_mappings, 1, __ATOMIC_RELAXED);
	samara_file_put(file);
}

/* Inode and file of the core's own; both references become the file's. */
static int own_file(struct samara *vm, const struct samara_inode_desc *desc, const char *path, struct samara_file **out)
{
	struct samara_inode *inode;
	int err = samara_inode_create(vm, desc, &inode);

	if (err)
		return err;
	err = samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, path, out);
	samara_inode_put(inode);
	return err;
}

SAMARA_INTERNAL int file_shmem_zero(struct samara *vm, const struct samara_mm *mm, uint64_t bytes, uint64_t vm_flags,
	struct samara_file **out)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .minor = vm->config.shmem_minor, .size_bytes = bytes,
		.ino = __atomic_add_fetch(&vm->next_shmem_ino, 1, __ATOMIC_RELAXED) };
	uint64_t pages = vm_flags & VM_NORESERVE ? 0 : bytes >> PAGE_SHIFT;
	int err = vm_charge(vm, mm, pages);

	if (err)
		return err;
	err = own_file(vm, &desc, shm_zero_path, out);
	if (err) {
		vm_uncharge(vm, pages);
		return err;
	}
	(*out)->inode->shmem_charged_pages = pages;
	(*out)->is_shm_zero = true;
	return 0;
}

/* Huge pages are promised when they are mapped: the inode holds as many of the pool's as its farthest mapping needs. */
SAMARA_INTERNAL int inode_reserve_huge(struct samara_inode *inode, uint64_t bytes)
{
	unsigned log2 = inode->desc.hardwired_huge_log2;
	uint64_t want = bytes >> log2, *pool = &inode->vm->huge_free[log2 == 30], free = LOAD(*pool), more;

	if (want <= inode->huge_reserved)
		return 0;
	more = want - inode->huge_reserved;
	do {
		if (free < more)
			return -SAMARA_ENOMEM;
	} while (!__atomic_compare_exchange_n(pool, &free, free - more, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	inode->huge_reserved = want;
	return 0;
}

SAMARA_INTERNAL int file_hugetlb_anon(struct samara *vm, uint64_t bytes, unsigned log2, struct samara_file **out)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_HUGETLB, .minor = vm->config.hugetlb_minor, .size_bytes = bytes,
		.ino = __atomic_add_fetch(&vm->next_shmem_ino, 1, __ATOMIC_RELAXED), .hardwired_huge_log2 = log2 & 63 };

	return own_file(vm, &desc, "/anon_hugepage (deleted)", out);
}
