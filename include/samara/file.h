/* file.h - things that can be mapped: inodes and open files.
 *
 * Two objects, as in Linux.  A `struct samara_inode` is the thing itself: its identity (device, number), its size,
 * its seals, how its file system maps it.  A `struct samara_file` is one open of it (open(2)'s "open file
 * description"): two mappings merge only when they come from the same open.  Both are counted: the embedder holds
 * one reference from creation until its put, every mapping holds one more.
 *
 * Locks: the calls of this page may be made from any thread; none takes a lock of an address space (docs/locking.md).
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
	/* The file's mmap operation: 0 or a negative errno, which samara_mmap returns.  Called with the write guard
	 * held; must not call back into the same address space.  Absent: the kind's default. */
	int (*mmap)(void *self, struct samara_mapping *mapping);
	/* [start, end) of a space is no longer mapped: munmap, what replaces it, the place that mremap left, exit, exec.
	 * Ranges, not VMAs: mmap, open and close together tell what is mapped, however it is cut or joined.  Called with
	 * the write guard held, as mmap.  VMAs of a file with it are never taken away by a merge, as Linux has it. */
	void (*close)(void *self, uint64_t start, uint64_t end);
	/* The last reference to the inode was dropped. */
	void (*release)(void *self);

	/* Memory: what is below the page cache of REGULAR and DEVICE inodes.  Indices are pages of 4096 bytes.  All may
	 * sleep.  They are called with locks held: of the pages that they are about; in a fault of the VMA, or of
	 * mmap_lock for reading; in mprotect (of locked memory), and in calls under a write guard of the caller's, of
	 * mmap_lock for writing.  So they must not call samara for an address space that may be the one at work, nor
	 * touch this inode's pages through samara, nor wait for a thread that may do either.  Absent read_page: the
	 * file reads as zeroes.  Absent write_page: written pages stay in the cache, dirty.
	 *
	 * read_page fills `page`; what lies behind the end of the file is zeroed by samara.  0, or a negative errno (a
	 * fault becomes SIGBUS, samara_file_read returns it).  -EINPROGRESS: the page comes later; `page` stays valid
	 * until samara_read_done is called for the index, from any thread. */
	int (*read_page)(void *self, uint64_t index, void *page);
	/* Several at once, for readahead: pages[i] is page index + i.  How many of them were read, from the first, or
	 * an errno.  Absent: read_page. */
	int (*read_pages)(void *self, uint64_t index, void **pages, unsigned count);
	/* Write one page back: `bytes` of it lie before the end of the file.  0, or an errno, which fsync and msync
	 * report once to each file. */
	int (*write_page)(void *self, uint64_t index, const void *page, uint32_t bytes);
	/* After a write-back that somebody waits for: make it durable. */
	int (*sync)(void *self);
	/* A page is about to become writable in a shared mapping (allocate its block now).  An error is SIGBUS;
	 * -ENOSPC, -EDQUOT, too. */
	int (*page_mkwrite)(void *self, uint64_t index);
	/* The size is about to change (truncate, fallocate, a write that makes the file larger: then once, with the
	 * size that it is going to have; again with the real one if the write comes short); refuse with an errno.  What
	 * a smaller size cut off must read as zero when the file grows again. */
	int (*set_size)(void *self, uint64_t size_bytes);
	/* A hole: [start, end) reads as zeroes from now on; whole pages are given up.  Absent: fallocate and
	 * MADV_REMOVE give -EOPNOTSUPP. */
	int (*punch)(void *self, uint64_t start, uint64_t end);
	/* [start, end) of a space is mapped, and mmap was not asked: fork made it in a child, or mremap in a new place or
	 * behind the old one.  The counterpart of close; called as mmap, when nothing can fail any more. */
	void (*open)(void *self, uint64_t start, uint64_t end);
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
	unsigned charge_pages : 1; /* SHMEM: each page is charged to the machine's commit when it comes (memfd, tmpfs), not
	                            * the size at creation */
	uint64_t max_pages;     /* SHMEM: the file system's size limit: a page more is ENOSPC, SIGBUS in a mapping; 0: none */
};

enum { SAMARA_FMODE_READ = 1, SAMARA_FMODE_WRITE = 2 };

/* -ENOMEM, -EINVAL (a kind that does not exist, a size beyond max_bytes).  *out has one reference. */
int samara_inode_create(struct samara *vm, const struct samara_inode_desc *desc, struct samara_inode **out);
void samara_inode_get(struct samara_inode *inode);
void samara_inode_put(struct samara_inode *inode);
/* The size as it is now, for machines that are a map only, and where the embedder's file grew by itself; pages are not
 * touched (samara_file_truncate does that). */
void samara_inode_set_size(struct samara_inode *inode, uint64_t size_bytes);
/* fcntl(F_ADD_SEALS).  -EPERM when F_SEAL_SEAL is set, -EBUSY for F_SEAL_WRITE while a writable shared mapping exists,
 * -EINVAL for an unknown seal or an inode that cannot be sealed. */
int samara_inode_add_seals(struct samara_inode *inode, uint32_t seals);
uint32_t samara_inode_seals(const struct samara_inode *inode);

/* One open of `inode`.  `fmode` is SAMARA_FMODE_*.  `path` is what maps prints (copied; " (deleted)" included by the
 * caller).  -ENOMEM, -EINVAL.  *out has one reference and holds one on the inode. */
int samara_file_open(struct samara_inode *inode, unsigned fmode, const char *path, struct samara_file **out);
void samara_file_get(struct samara_file *file);
void samara_file_put(struct samara_file *file);
struct samara_inode *samara_file_inode(const struct samara_file *file);
/* ---- reading and writing, coherent with every mapping (machines with memory; else -ENOSYS) ---- */

/* pread(2), pwrite(2): bytes moved, short at the end of the file or where an error comes later, else the errno: EBADF
 * (fmode), EINVAL (offset beyond INT64_MAX), EFBIG, EPERM (seals), ENOSPC or ENOMEM (no frame), EINTR (port.h,
 * fatal_signal_pending), EAGAIN (below), EIO or what read_page returned. */
int64_t samara_file_read(struct samara_file *file, uint64_t offset, void *to, size_t bytes);
int64_t samara_file_write(struct samara_file *file, uint64_t offset, const void *from, size_t bytes);
/* ftruncate(2): pages behind the new end leave every mapping (private copies too) and the cache; an access there is
 * SIGBUS.  EINVAL (also a file that is not open for writing) EFBIG EPERM (F_SEAL_SHRINK, F_SEAL_GROW), EAGAIN
 * (below). */
int samara_file_truncate(struct samara_file *file, uint64_t size_bytes);
/* fallocate(2) with mode 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE
 * (not SHMEM, as in tmpfs).  EINVAL EOPNOTSUPP EBADF ENODEV EFBIG EPERM ENOSPC ENOMEM, EAGAIN: with a port that cannot wait, a page of the
 * range is being read (-EINPROGRESS); so do read, write and truncate then. */
int samara_file_fallocate(struct samara_file *file, int mode, uint64_t offset, uint64_t length);
/* fsync(2), and sync_file_range(2)'s waiting part: every dirty page is written; an error that happened since this file
 * last asked is returned once. */
int samara_file_fsync(struct samara_file *file);
/* posix_fadvise(POSIX_FADV_DONTNEED) and _WILLNEED: clean unmapped pages of the range go, or pages are read ahead. */
int samara_file_drop(struct samara_file *file, uint64_t offset, uint64_t length);
int samara_file_readahead(struct samara_file *file, uint64_t offset, uint64_t length);
/* mincore(2) for the file itself: is the page of this offset in the cache? */
int samara_file_cached(struct samara_file *file, uint64_t offset);
/* lseek(SEEK_DATA), lseek(SEEK_HOLE) of shmem: -ENXIO. */
int64_t samara_file_seek_data(struct samara_file *file, uint64_t offset, int hole);
/* The page of a read_page that returned -EINPROGRESS is there (error 0) or cannot be had (a negative errno). */
void samara_read_done(struct samara_inode *inode, uint64_t index, int error);
/* Write back dirty pages of every file of the machine, as the kernel's timer does: at most `pages` (0: all).  How many
 * were written. */
uint64_t samara_write_back(struct samara *vm, uint64_t pages);
/* Give clean, unmapped file pages back: how many. */
uint64_t samara_reclaim(struct samara *vm, uint64_t pages);
/* Pages that an inode has in the cache, and dirty ones. */
void samara_inode_usage(struct samara_inode *inode, uint64_t *pages, uint64_t *dirty);

/* The path that maps prints from now on: rename or unlink.  -ENOMEM. */
int samara_file_set_path(struct samara_file *file, const char *path);

#endif
