/* file.h - things that can be mapped: inodes and open files.
 *
 * Two objects, as in Linux.  A `struct samara_inode` is the thing itself: its identity (device, number), its size,
 * its seals, how its file system maps it.  A `struct samara_file` is one open of it (open(2)'s "open file
 * description"): two mappings merge only when they come from the same open.  Both are counted: the embedder holds
 * one reference from creation until its put, every mapping holds one more.
 *
 * Locks: the calls of this page may be made from any thread; none takes a lock of an address space.
 */
#ifndef SAMARA_FILE_H
#define SAMARA_FILE_H

#include <stddef.h>
#include <stdint.h>
#include "samara/abi.h"

struct samara;
struct samara_inode;
struct samara_file;
struct samara_mapping;

enum samara_inode_kind {
	SAMARA_INODE_REGULAR,  /* a file of an ordinary file system */
	SAMARA_INODE_SHMEM,    /* tmpfs, memfd, shared anonymous memory, SysV segment */
	SAMARA_INODE_DEV_ZERO, /* /dev/zero: shared becomes fresh shmem, private becomes anonymous memory */
	SAMARA_INODE_HUGETLB,  /* hugetlbfs */
	SAMARA_INODE_DEVICE,   /* a driver decides, see `mmap` below */
	SAMARA_INODE_UNMAPPABLE, /* pipe, socket, directory, ...: mmap gives ENODEV */
};

/* What a driver's mmap callback sees and may change (the fields of Linux's vm_area_desc). */
struct samara_mapping {
	uint64_t start, end;    /* bytes, half-open; as placed */
	uint64_t pgoff;         /* pages; may be changed */
	uint64_t vm_flags;      /* SAMARA_VM_*; may be changed: a second merge attempt follows */
	struct samara_file *file;
	void *private_data;     /* becomes the VMA's; VMAs with different private data never merge */
};

struct samara_inode_ops {
	size_t size; /* sizeof(struct samara_inode_ops) of the caller; members beyond it count as absent */
	/* The file's mmap operation: 0 or a negative errno, which samara_mmap returns.  Called with the write guard held;
	 * must not call back into the same address space.  Absent: the kind's default. */
	int (*mmap)(void *self, struct samara_mapping *mapping);
	/* The VMA is gone from a file whose VMAs have a close operation; such VMAs never merge. */
	void (*close)(void *self, uint64_t start, uint64_t end);
	/* The last reference to the inode was dropped. */
	void (*release)(void *self);
};

struct samara_inode_desc {
	enum samara_inode_kind kind;
	const struct samara_inode_ops *ops; /* may be NULL */
	void *self;
	uint32_t major, minor;  /* as maps shows them, hexadecimal */
	uint64_t ino;
	uint64_t size_bytes;    /* i_size; samara_inode_set_size() changes it */
	uint64_t max_bytes;     /* s_maxbytes; 0: Linux's usual 2^63-1 */
	uint32_t seals;         /* SAMARA_F_SEAL_* */
	unsigned swapfile : 1;  /* in use as swap: shared writable mappings give ETXTBSY */
	unsigned append_only : 1; /* the inode's append-only attribute: shared writable mappings give EACCES */
	unsigned noexec : 1;    /* on a noexec mount: PROT_EXEC gives EPERM and VM_MAYEXEC is cleared */
	unsigned sync : 1;      /* supports MAP_SYNC (DAX) */
	unsigned huge_align : 1; /* its file system aligns mappings for huge pages, as ext4 does */
	unsigned executable : 1; /* has an execute permission bit: F_SEAL_EXEC then implies the seals against writing */
	unsigned hardwired_huge_log2 : 6; /* HUGETLB: log2 of the page size in bytes */
};

enum { SAMARA_FMODE_READ = 1, SAMARA_FMODE_WRITE = 2 };

/* -ENOMEM, -EINVAL (a kind that does not exist, a size beyond max_bytes).  *out has one reference. */
int samara_inode_create(struct samara *vm, const struct samara_inode_desc *desc, struct samara_inode **out);
void samara_inode_get(struct samara_inode *inode);
void samara_inode_put(struct samara_inode *inode);
void samara_inode_set_size(struct samara_inode *inode, uint64_t size_bytes);
/* fcntl(F_ADD_SEALS).  -EPERM when F_SEAL_SEAL is set, -EBUSY for F_SEAL_WRITE while a writable shared mapping exists,
 * -EINVAL for an unknown seal or an inode that cannot be sealed. */
int samara_inode_add_seals(struct samara_inode *inode, uint32_t seals);
uint32_t samara_inode_seals(const struct samara_inode *inode);

/* One open of `inode`.  `fmode` is SAMARA_FMODE_*.  `path` is what maps prints (copied; " (deleted)" included by the caller).
 * -ENOMEM, -EINVAL.  *out has one reference and holds one on the inode. */
int samara_file_open(struct samara_inode *inode, unsigned fmode, const char *path, struct samara_file **out);
void samara_file_get(struct samara_file *file);
void samara_file_put(struct samara_file *file);
struct samara_inode *samara_file_inode(const struct samara_file *file);
/* The path that maps prints from now on: rename or unlink.  -ENOMEM. */
int samara_file_set_path(struct samara_file *file, const char *path);

#endif
