/* cache.h - file pages: what of an inode is in memory, shared by every mapping and by samara_file_read and _write.
 *
 * A page of the cache is a frame of kind FRAME_FILE whose owner is the inode and whose index is its page offset; the
 * cache holds one reference.  Its state is in frame->marks (PAGE_...), its lock is frame->lock.  What always holds
 * (cache_check, as far as docs/invariants.md says; the rest of C2 and C4 are its C6 and C7, which tests find):
 *
 *   C1  the index maps each offset to at most one frame, and that frame's owner and index say so;
 *   C2  a page is up to date before anybody but the holder of its lock sees its bytes, and stays so until it leaves
 *       the cache;
 *   C3  a page of REGULAR or DEVICE inodes that is dirty is tagged dirty in the index, with all nodes above it;
 *   C4  no page at or behind the end of the file is in the cache once samara_file_truncate returned, but what
 *       fallocate reserved there (SHMEM; zeroes, and nobody maps it); the bytes of the last page behind the end are
 *       zero whenever a mapping sees the page for the first time, and are never written to the file;
 *   C5  `pages` is the number of pages, `dirty` that of the tagged ones.
 *
 * Locks.  Lookups (cache_find) need none: the index is read under RCU and a reference is only taken on a frame that
 * still has one.  Changes of the index hold `lock`.  The page lock is held while a page is read, written back or taken
 * out; whoever maps a page holds it and looks, under it, whether the page is still in the cache (cache_page_here).
 * The inode's `size_lock` is held for writing by truncate, punch and writes that grow the file, for reading by other
 * writes and by write-back, so that nothing is written to a file whose end or holes are just moving.  Order:
 * size_lock, page lock, file map (rmap), page table, `lock`, the list of inodes.  Several pages are locked at once
 * only by who has just made them.
 *
 * A page that left the cache has no owner.  cache_mark_dirty reads the owner, so its caller has the page locked or
 * knows that the inode lives (a mapping of it does).
 *
 * A page whose read_page returned -EINPROGRESS stays locked (PAGE_READING) and holds a reference on its inode until
 * samara_read_done.  With a port that cannot wait nobody waits for it: -EAGAIN.
 *
 * SHMEM has no file below it: a page that is not there is zeroes, a page that is there is all there is, so it never
 * leaves for want of memory, and dirty is a mark only.  A SHMEM page that is not up to date was reserved by
 * fallocate: it counts, and is a hole for readers.  REGULAR and DEVICE inodes read and write through the embedder's
 * callbacks.
 */
#ifndef SAMARA_CORE_CACHE_H
#define SAMARA_CORE_CACHE_H

#include "core/frame/frame.h"
#include "core/rmap/rmap.h"
#include "samara/file.h"

enum page_marks {
	PAGE_UPTODATE = 1,
	PAGE_DIRTY = 2,
	PAGE_WRITEBACK = 4,   /* being written; set and cleared with the page lock held or by the writer's completion */
	PAGE_ERROR = 8,       /* reading failed; the next reader tries again */
	PAGE_REFERENCED = 16, /* used since somebody asked */
	PAGE_READAHEAD = 32,  /* using it starts the next readahead */
	PAGE_LAZYFREE = 64,   /* anonymous: MADV_FREE */
	PAGE_SHMEM = 256,     /* of an inode of kind SHMEM; from the beginning on, also when it has left the cache */
	PAGE_READING = 128,   /* read_page was called and has not ended; the page is locked */
};

struct cache_node;
struct samara_mm;

struct cache {
	uint32_t lock;
	uint32_t height;         /* levels of nodes; 0: empty */
	struct cache_node *root;
	uint64_t pages, dirty;
	uint64_t error_count;    /* write-back errors so far */
	/* error_count when somebody was last told: who opens the file later has not missed those before */
	uint64_t errors_told;
	int last_error;
	uint64_t reservations;   /* calls of fallocate so far: names the pages of one of them */
};

struct samara_inode {
	struct samara *vm;
	uint32_t refs;              /* atomic */
	int32_t writable_mappings;  /* atomic: shared mappings that may write */
	struct samara_inode_desc desc;
	struct samara_inode_ops ops;
	uint64_t shmem_charged_pages; /* shared anonymous memory is charged whole at creation */
	uint64_t huge_reserved;       /* pages taken from the pool */
	struct rmap map;              /* every mapping of it */
	struct rwlock size_lock;
	struct cache cache;
	struct samara_inode *next, *prev; /* the machine's inodes with pages, for reclaim; under vm->inodes_lock */
};

struct samara_file {
	struct samara_inode *inode;
	uint32_t refs; /* atomic */
	uint32_t fmode;
	char *path;
	uint32_t path_bytes; /* of the allocation */
	bool is_shm_zero;  /* made by the core for shared anonymous memory */
	uint64_t errors_seen; /* cache.error_count at the last fsync: an error is told once to each file */
	uint64_t readahead_index, readahead_pages; /* where the last sequential read stopped; only a hint */
};

/* -- file.c: inodes and files (the public calls of file.h) -- */
SAMARA_INTERNAL int file_shmem_zero(struct samara *vm, const struct samara_mm *mm, uint64_t bytes, uint64_t vm_flags,
	struct samara_file **out);
SAMARA_INTERNAL int file_hugetlb_anon(struct samara *vm, uint64_t bytes, unsigned log2, struct samara_file **out);
/* the pool holds pages up to here: -ENOMEM */
SAMARA_INTERNAL int inode_reserve_huge(struct samara_inode *inode, uint64_t bytes);
/* a mapping comes: its count, its reference */
SAMARA_INTERNAL void file_vma_open(struct samara_file *file, uint64_t vm_flags);
SAMARA_INTERNAL void file_vma_close(struct samara_file *file, uint64_t vm_flags);

/* The file's owner hears what is mapped beside his mmap operation, and what is no longer. */
static inline void file_tell_open(const struct samara_file *file, uint64_t start, uint64_t end)
{
	if (file && file->inode->ops.open)
		file->inode->ops.open(file->inode->desc.self, start, end);
}

static inline void file_tell_close(const struct samara_file *file, uint64_t start, uint64_t end)
{
	if (file && file->inode->ops.close)
		file->inode->ops.close(file->inode->desc.self, start, end);
}

static inline bool file_is(const struct samara_file *file, enum samara_inode_kind kind)
{
	return file && file->inode->desc.kind == kind;
}

static inline uint64_t inode_pages(const struct samara_inode *inode) /* pages that lie before the end of the file */
{
	uint64_t bytes = LOAD_ACQUIRE(inode->desc.size_bytes);

	return (bytes >> FRAME_SHIFT) + ((bytes & (FRAME_BYTES - 1)) != 0);
}

/* Dirty pages are written to something: REGULAR and DEVICE. */
static inline bool inode_has_backing(const struct samara_inode *inode)
{
	return inode->desc.kind == SAMARA_INODE_REGULAR || inode->desc.kind == SAMARA_INODE_DEVICE;
}

/* memfd_create(2), F_ADD_SEALS: neither written nor punched, nor mapped shared for writing any more. */
static inline bool inode_write_sealed(const struct samara_inode *inode)
{
	return LOAD(inode->desc.seals) & (SAMARA_F_SEAL_WRITE | SAMARA_F_SEAL_FUTURE_WRITE);
}

/* -- index.c: the radix tree of pages (64 slots a node, dirty tags) -- */
/* The page at `index` with a reference of the caller's, or NULL.  No lock needed. */
SAMARA_INTERNAL struct frame *cache_find(struct samara_inode *inode, uint64_t index);
/* cache->lock is taken inside.  -EEXIST (somebody was faster; *there has a reference then), -ENOMEM. */
SAMARA_INTERNAL int cache_insert(struct samara_inode *inode, uint64_t index, struct frame *frame, struct frame **there);
/* page locked; drops the cache's reference */
SAMARA_INTERNAL void cache_remove(struct samara_inode *inode, struct frame *frame);
SAMARA_INTERNAL void cache_tag_dirty(struct samara_inode *inode, uint64_t index, bool dirty);
/* The next pages at or after `index`, up to `last` inclusive, each with a reference: how many (0: none). */
SAMARA_INTERNAL unsigned cache_find_many(struct samara_inode *inode, uint64_t index, uint64_t last, bool dirty_only,
	struct frame **out, unsigned room);
SAMARA_INTERNAL const char *cache_check(struct samara_inode *inode);
SAMARA_INTERNAL void cache_unlist(struct samara_inode *inode); /* it leaves the machine's list */
/* The next inode of the machine that has had pages, with a reference; the one on `prev` is dropped.  NULL: no more. */
SAMARA_INTERNAL struct samara_inode *cache_next_inode(struct samara *vm, struct samara_inode *prev);

/* -- page.c: one page, made and filled -- */
enum cache_how {
	CACHE_LOCK = 1,    /* leave the page locked */
	CACHE_NOWAIT = 2,  /* -EAGAIN rather than wait for a read or a lock; the read was started */
	CACHE_NOCREATE = 4, /* only what is there and up to date: -ENOENT */
	CACHE_BLANK = 8,   /* the caller overwrites all of it: do not read; implies CACHE_LOCK; returned not up to date
	                    * if new: page_fill_done when it is */
	CACHE_GROW = 16,   /* offsets behind the end of the file are allowed (a write that grows it) */
	CACHE_RANDOM = 32, CACHE_SEQUENTIAL = 64, /* madvise: no readahead, more readahead */
	CACHE_FAULT = 128, /* counts as a mapping's use: readahead follows the window around it */
	CACHE_KILLABLE = 256, /* a wait for a page may be given up: -EINTR */
};
/* The page at `index`, up to date, with a reference.  -ERANGE: behind the end of the file.  -ENOMEM: no frame
 * (reclaim was tried) or no memory.  -ENOSPC: (shmem) no charge, or the file system is full.  -EAGAIN: CACHE_NOWAIT,
 * or a port that cannot wait.  -EINTR: CACHE_KILLABLE.  Any errno of the embedder's read_page.  `file` may be NULL: no
 * readahead state. */
SAMARA_INTERNAL int cache_get(struct samara_inode *inode, struct samara_file *file, uint64_t index, unsigned how,
	struct frame **out);
/* Page locked: is it (still) the page of this offset, before the end of the file? */
static inline bool cache_page_here(const struct samara_inode *inode, const struct frame *page, uint64_t index)
{
	return LOAD(page->kind) == FRAME_FILE && page->owner == inode && page->index == index &&
		index < inode_pages(inode);
}
/* Bring pages first..last in, as far as frames are free; errors are not told. */
SAMARA_INTERNAL void cache_read_ahead(struct samara_inode *inode, uint64_t first, uint64_t last);
/* A page for `index` that is not up to date, locked, with a reference; `reclaim`: try hard.  -EEXIST (*out has a
 * reference, is not locked), -ENOMEM, -ENOSPC. */
SAMARA_INTERNAL int page_make(struct samara_inode *inode, uint64_t index, bool zero, bool reclaim, struct frame **out);
SAMARA_INTERNAL void page_fill_done(struct frame *page); /* page locked, every byte is written: up to date */
/* page locked: bytes behind the end of the file */
SAMARA_INTERNAL void page_zero_tail(struct samara_inode *inode, struct frame *page);
/* A page was or may have been changed; callable under a page-table lock. */
SAMARA_INTERNAL void cache_mark_dirty(struct frame *page);
SAMARA_INTERNAL void page_lock(struct samara *vm, struct frame *page);
SAMARA_INTERNAL int page_lock_killable(struct samara *vm, struct frame *page); /* 0, or -EINTR and it is not locked */
SAMARA_INTERNAL bool page_trylock(struct samara *vm, struct frame *page);
SAMARA_INTERNAL void page_unlock(struct samara *vm, struct frame *page);

static inline void page_set(struct frame *page, uint32_t marks)
{
	__atomic_or_fetch(&page->marks, marks, __ATOMIC_ACQ_REL);
}

/* The marks before. */
static inline uint32_t page_clear(struct frame *page, uint32_t marks)
{
	return __atomic_fetch_and(&page->marks, ~marks, __ATOMIC_ACQ_REL);
}

static inline bool page_has(const struct frame *page, uint32_t mark)
{
	return LOAD_ACQUIRE(page->marks) & mark;
}

/* -- writeback.c -- */
/* Takes size_lock for reading.  Dirty pages first..last are cleaned (their entries write-protected through the
 * reverse map) and written.  The first error; later pages are written all the same, and a page that failed stays
 * clean and counted in cache.error_count, as Linux does. */
SAMARA_INTERNAL int cache_write_back(struct samara_inode *inode, uint64_t first, uint64_t last);
/* msync, fsync: write back, sync, and the error that this open of the file has not been told yet. */
SAMARA_INTERNAL int file_sync_pages(struct samara_file *file, uint64_t first, uint64_t last);
/* Clean pages that nobody maps or holds are given back, oldest inode first: how many frames. */
SAMARA_INTERNAL uint64_t cache_reclaim(struct samara *vm, uint64_t want);
/* One page, with a reference of the caller's, which is dropped: true when it left the cache.  Waits for nothing. */
SAMARA_INTERNAL bool cache_evict(struct samara_inode *inode, struct frame *page);
/* Dirty pages are written so that some can be reclaimed: how many were.  No page is locked; `held`: the inode whose
 * size_lock the caller holds, or NULL.  For who got -ENOMEM from cache_get and may wait. */
SAMARA_INTERNAL uint64_t cache_make_room(struct samara *vm, struct samara_inode *held);
/* An error of write-back that this file has not been told: once, a negative errno, or 0. */
SAMARA_INTERNAL int file_take_error(struct samara_file *file);
SAMARA_INTERNAL void cache_note_error(struct samara_inode *inode, int error);

/* -- truncate.c -- */
/* Pages first..last (inclusive) leave the mappings (private copies stay) and the cache, unwritten. */
SAMARA_INTERNAL void cache_drop_range(struct samara_inode *inode, uint64_t first, uint64_t last);
/* Both take size_lock; seals count.  EFBIG EPERM, -EAGAIN with a port that cannot wait for a page that is being read,
 * what the callbacks say. */
SAMARA_INTERNAL int inode_truncate(struct samara_inode *inode, uint64_t size_bytes);
/* bytes: MADV_REMOVE, FALLOC_FL_PUNCH_HOLE */
SAMARA_INTERNAL int inode_punch(struct samara_inode *inode, uint64_t start, uint64_t end);
/* size_lock held for writing: the file becomes larger; set_size is asked. */
SAMARA_INTERNAL int inode_grow(struct samara_inode *inode, uint64_t size_bytes);
/* The bytes behind the end of the file in its last page, before the file grows over them. */
SAMARA_INTERNAL void inode_zero_old_tail(struct samara_inode *inode);
/* With a port that cannot wait: the page with the end of the file is being read, and cannot be zeroed. */
SAMARA_INTERNAL bool inode_tail_is_busy(struct samara_inode *inode);
/* the last reference is gone: every page goes, unwritten */
SAMARA_INTERNAL void cache_destroy(struct samara_inode *inode);

/* What the cache asks of the mappings (core/fault/zap.c): entries of pages first..last go; private copies too when
 * `copies`. */
SAMARA_INTERNAL void zap_file_range(struct samara_inode *inode, uint64_t first, uint64_t last, bool copies);
/* Page locked: every entry of it loses write and dirty; true: one was dirty. */
SAMARA_INTERNAL bool zap_page_clean(struct samara *vm, struct frame *page);

#endif
