/* rmap.h - the reverse map: from a page of a file, or a frame of anonymous memory, to the entries that map it.
 *
 * Two interval treaps of VMAs, keyed by the page offsets that they map: one in every inode (all mappings of the file,
 * shared and private), one in every `struct anon` (all VMAs that may hold pages of one family of private memory: the
 * VMA that was written to first, what was split off or moved from it, and its copies in forked children).  The links
 * are part of the VMA, so linking cannot fail, and a family is as large as the VMAs that live: a chain of a thousand
 * forks whose parents have gone holds one member.
 *
 * What always holds (core/fault/check.c; docs/invariants.md):
 *   R1  a VMA with a file other than /dev/zero's is in its inode's map, at the offsets of its range; no other is;
 *   R2  a VMA with an `anon` is in that family's map; anon_id is not zero then;
 *   R3  every entry that maps a frame is found by rmap_frame_each: for a file's frame through its inode and index, for an
 *       anonymous one through its family (frame->owner) and page offset (frame->index).
 *
 * Locks.  The lock of a map is held for writing while a VMA's range changes (rmap_open to rmap_close) and while mremap
 * moves entries; a walker holds it for reading and takes page-table locks inside.  Order: mmap_lock, VMA lock, page
 * lock, file map, anon, table: nobody takes a page lock under the lock of a map.  A walker needs no mmap_lock: it looks
 * at page tables inside the port's read-side section, which a page that goes outlives.
 */
#ifndef SAMARA_CORE_RMAP_H
#define SAMARA_CORE_RMAP_H

#include "core/base/base.h"
#include "core/base/lock.h"

struct samara;
struct samara_inode;
struct samara_vma;
struct samara_mm;
struct frame;

struct rmap_link {
	struct samara_vma *left, *right;
	uint64_t last; /* the highest page offset mapped in this subtree, inclusive */
};

struct rmap {
	struct rwlock lock;
	uint32_t count;          /* members */
	struct samara_vma *root;
};

/* A family of private memory.  Lives as long as it has members or holders (anon_get). */
struct anon {
	struct rmap map;
	uint32_t refs; /* atomic: members and holders */
	struct samara *vm;
};

/* family.c.  A family with one holder, or NULL. */
SAMARA_INTERNAL struct anon *anon_create(struct samara *vm);
SAMARA_INTERNAL void anon_get(struct anon *anon);
SAMARA_INTERNAL void anon_put(struct anon *anon);

/* family.c.  A VMA joins the maps that its file and anon name, or leaves them.  The holder of its write lock; takes the
 * locks.  Both do nothing for what the VMA does not have. */
SAMARA_INTERNAL void rmap_link_vma(struct samara_vma *vma);
SAMARA_INTERNAL void rmap_unlink_vma(struct samara_vma *vma);
/* The VMA (already in its file's map) gets a family: it takes a reference of its own. */
SAMARA_INTERNAL void rmap_join_family(struct samara_vma *vma, struct anon *anon);
SAMARA_INTERNAL void rmap_leave_family(struct samara_vma *vma);
/* Around a change of start, end or pgoff: between them nobody walks, and the VMA is in no map. */
SAMARA_INTERNAL void rmap_open(struct samara_vma *vma);
SAMARA_INTERNAL void rmap_close(struct samara_vma *vma);
/* NULL, or what is broken of the maps that the VMA is in; nobody at work.  *links: how many it is in; *members: of
 * those whose root it is.  Over all VMAs of a machine both are the same. */
SAMARA_INTERNAL const char *rmap_check_vma(struct samara_vma *vma, uint64_t *links, uint64_t *members);
/* Into its maps, whose locks the caller has by another VMA that is in the same: a child's beside its parent's. */
SAMARA_INTERNAL void rmap_enter_vma(struct samara_vma *vma);
/* Keep every walker of this VMA's maps out, while its entries are moved or copied. */
SAMARA_INTERNAL void rmap_lock_vma(struct samara_vma *vma);
SAMARA_INTERNAL void rmap_unlock_vma(struct samara_vma *vma);

/* treap.c.  The lock is the caller's; `anonymous` says which of a VMA's two links. */
SAMARA_INTERNAL void treap_insert(struct samara_vma **root, struct samara_vma *vma, bool anonymous);
SAMARA_INTERNAL void treap_remove(struct samara_vma **root, struct samara_vma *vma, bool anonymous);
/* Every member that maps any of the pages first..last (inclusive), ascending by first page.  Stops when fn returns
 * non-zero, and returns that. */
typedef int treap_each_fn(void *self, struct samara_vma *vma);
SAMARA_INTERNAL int treap_each(struct samara_vma *root, uint64_t first, uint64_t last, bool anonymous, treap_each_fn *each, void *self);
SAMARA_INTERNAL const char *treap_check(const struct rmap *map, const struct samara_vma *vma, bool anonymous, uint64_t *members);

/* walk.c.  Every mapping of pages first..last of a file: [start, end) is the part of the VMA that maps them.  Lock
 * taken for reading. */
typedef int rmap_range_fn(void *self, struct samara_vma *vma, uint64_t start, uint64_t end);
SAMARA_INTERNAL int rmap_file_each(struct samara_inode *inode, uint64_t first, uint64_t last, rmap_range_fn *each, void *self);
/* Every entry that maps `frame`: `slot` is its place, in a page of the page table that is locked.  The frame's page is
 * locked, or the caller holds a reference on it and can live with a moment's picture. */
typedef int rmap_entry_fn(void *self, struct samara_vma *vma, uint64_t addr, uint64_t *slot);
SAMARA_INTERNAL int rmap_frame_each(struct samara *vm, struct frame *frame, rmap_entry_fn *each, void *self);
/* How many entries rmap_frame_each finds. */
SAMARA_INTERNAL uint32_t rmap_frame_count(struct samara *vm, struct frame *frame);

#endif
