/* table.h - page tables in the hardware's own format, held in frames: what an access finds.
 *
 * Four formats: x86-64 with four and five levels, RISC-V Sv39 and Sv48.  They agree in what costs time - 512 entries
 * of eight bytes a page, bit 0 means present, a frame number in the middle - so one code serves all, and a format is
 * a line of masks (struct table_format, copied into the table).  Compiling the code once for each format was
 * weighed: the loops over entries keep the masks in registers either way, a walk gains under a nanosecond of its
 * four to nine, and an embedder would pay for four copies of the code.  Masks it is; what all formats share is a
 * constant.
 *
 * Levels are counted from the leaves: level 0 maps 4 KiB, 1 maps 2 MiB, 2 maps 1 GiB.  An entry is zero (nothing),
 * present (a leaf, or a branch to a page of the next level), or a software entry: any other number with bit 0 clear,
 * at level 0 only, whose meaning is the caller's.  A page that nobody may access (PROT_NONE) is a leaf without the
 * user bit.  What always holds (table_check proves all but P5):
 *
 *   P1  Every page of the table is a frame of kind FRAME_TABLE whose owner is this table, at the right level,
 *       counted in `pages`; no two branches name the same.
 *   P2  `used` in its descriptor is the number of its entries that are not zero.
 *   P3  `huge` counts the leaves above level 0; they are aligned.
 *   P4  No page is locked while nobody is at work.
 *   P5  An entry loses rights, goes or moves only through range.c: range_downgrade for leaves, range_detach for
 *       branches. Both write down in the gather what others may still have cached.
 *
 * Who may do what.  Entries of a page change under the lock word in its descriptor (split locks), one such lock at a
 * time (but in copy.c and move.c); looking needs no lock.  Pages are added by anybody who holds something that keeps
 * their range mapped (mmap_lock or the VMA's lock).  Pages are taken away only by a caller who owns the whole range
 * that they cover: table_unmap is told from where to where (floor, ceiling) nobody else has a mapping.  So nobody can
 * be inside a page that goes.  Hardware, or a software walker on another processor, may still be: the page is freed
 * after the invalidation. A table with `hardware` set expects accessed and dirty bits to be set by somebody without the
 * lock, and changes present entries by atomic operations; without it they are plain stores, five nanoseconds a page
 * cheaper.
 *
 * A software walker looks at pages and locks their words inside the port's read-side section (RCU): a page that goes is
 * memory until it has left, and all zero, so that it finds nothing there.
 *
 * Nothing here calls the port, except to sleep on a lock and to defer the freeing of a page.  Sharing leaf pages
 * between tables is not done yet; it fits in as a page whose frame has more than one reference, to be copied where
 * table_ensure and range.c descend.
 */
#ifndef SAMARA_CORE_TABLE_H
#define SAMARA_CORE_TABLE_H

#include "core/frame/frame.h"

#define TABLE_LEVELS_MAX 5u
#define TABLE_LEAF_LEVEL_MAX 2u
#define TABLE_ENTRIES 512u
#define ENTRY_PRESENT ((uint64_t)1)

struct table_format {
	uint64_t pfn_mask;    /* where an entry holds the frame number */
	uint64_t write, user, accessed, dirty;
	uint64_t exec;        /* the bit that says something about execution */
	uint64_t inverted;    /* the bits that take rights away when set: x86-64's no-execute */
	uint64_t leaf_mask;   /* above level 0: a leaf has one of them */
	uint64_t leaf_bits;   /* what every leaf has */
	uint64_t huge_bits;   /* and one above level 0 */
	uint64_t branch_bits; /* what every branch has */
	uint64_t own;         /* a bit that the hardware leaves to software */
	uint8_t pfn_left;     /* physical address = (entry & pfn_mask) << pfn_left */
	uint8_t levels;
	uint8_t pkey_shift;   /* four bits of protection key; 0: none */
};

enum table_kind { TABLE_X86_4, TABLE_X86_5, TABLE_SV39, TABLE_SV48, TABLE_FORMATS };

enum table_rights { /* what a leaf says, in any format; reading is always there */
	TABLE_WRITE = 1, TABLE_EXEC = 2, TABLE_USER = 4, TABLE_ACCESSED = 8, TABLE_DIRTY = 16,
	TABLE_OWN = 32 /* no other entry maps this frame: fork takes it away, together with write */
};

struct table {
	struct table_format format;
	uint64_t *root;
	struct frames *frames;
	_Alignas(64) uint64_t generation; /* atomic; grows before anything that was downgraded is released: for software TLBs */
	uint32_t pages;      /* atomic; with the root */
	uint32_t huge;       /* atomic */
	bool hardware;
};

/* An entry that went or changed: what the port hears of (port.h). */
#define table_change samara_entry_change
#define TABLE_CHANGE_LEVEL SAMARA_CHANGE_LEVEL
#define TABLE_CHANGE_KEPT SAMARA_CHANGE_KEPT
#define TABLE_CHANGE_MOVED SAMARA_CHANGE_MOVED
#define TABLE_CHANGE_BITS 0xfffu

struct table_sink {
	void *self;
	/* Nobody may use an old translation of [start, end) once this returned.  NULL: nobody caches any. */
	void (*invalidate)(void *self, uint64_t start, uint64_t end);
	/* Called after that: entries that are gone, present and software ones; their frames may be released now. */
	void (*changed)(void *self, const struct table_change *changes, unsigned count);
	/* A huge leaf at `level` is about to become 512 smaller ones: the counts of its frame follow.  Page locked.
	 * NULL: nothing to do. */
	void (*split)(void *self, uint64_t addr, uint64_t old, unsigned level);
	bool journal; /* `changed` hears of kept and moved entries too */
};

/* What was downgraded and not yet flushed. */
struct table_gather {
	struct table *table;
	const struct table_sink *sink;
	struct table_change *changes;
	unsigned count, max, cache;
	uint64_t start, end;  /* to be invalidated; empty: start > end */
	bool keep_soft;       /* clearing passes over software entries */
	struct frame *tables; /* pages that go */
};

/* format.c */
SAMARA_INTERNAL const struct table_format *table_format(enum table_kind kind);

/* build.c.  `cache`: the frame cache to use. */
SAMARA_INTERNAL int table_init(struct table *t, struct frames *frames, enum table_kind kind, bool hardware, unsigned cache);
SAMARA_INTERNAL void table_fini(struct table *t, unsigned cache); /* no leaf is left: else a trap */
/* The slot for addr in a page of `level`, with all pages on the way.  -ENOMEM: nothing was added.  -EEXIST: a leaf
 * above covers addr; *slot is that. */
SAMARA_INTERNAL int table_ensure(struct table *t, unsigned cache, uint64_t addr, unsigned level, uint64_t **slot);
/* An entry that is new, or replaces a software entry, or gives the same frame more rights: needs no invalidation.
 * Page locked. */
SAMARA_INTERNAL void table_install(struct table *t, struct frame *page, uint64_t *slot, unsigned level, uint64_t entry);
/* A huge leaf that covers addr becomes 512 leaves of the level below, which translate the same.  -ENOMEM. */
SAMARA_INTERNAL int table_split(struct table_gather *g, uint64_t addr, unsigned level);

/* range.c.  All addresses aligned to pages, below table_span.  Where a huge leaf is cut, its pieces are made first;
 * only that can fail: -ENOMEM before anything changed.  table_split_edges does it ahead, and then the call cannot
 * fail. */
SAMARA_INTERNAL void gather_begin(struct table_gather *g, struct table *t, const struct table_sink *sink,
	struct table_change *changes, unsigned max, unsigned cache);
SAMARA_INTERNAL void gather_flush(struct table_gather *g); /* also ends it */
SAMARA_INTERNAL void table_page_free(struct frames *frames, unsigned cache, struct frame *page);
SAMARA_INTERNAL int table_split_edges(struct table_gather *g, uint64_t start, uint64_t end);
/* Pages of the table that lie wholly in [floor, ceiling) and are empty after go too; equal: none does. */
SAMARA_INTERNAL int table_unmap(struct table_gather *g, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling);
/* The rights of every leaf become TABLE_USER and TABLE_EXEC of `rights`, its protection key `pkey`; without TABLE_WRITE
 * write goes, with it write stays where it is and comes where nobody else can see it (TABLE_OWN), or `everywhere`: the
 * rest is the fault's decision. */
SAMARA_INTERNAL int table_protect(struct table_gather *g, uint64_t start, uint64_t end, unsigned rights, unsigned pkey,
	bool everywhere);
/* Bits (as the enum has them) that every leaf loses: write for tracking, accessed for ageing, dirty for write-back. */
SAMARA_INTERNAL int table_drop_bits(struct table_gather *g, uint64_t start, uint64_t end, unsigned rights);
/* One entry that names a frame is taken away or loses bits; page locked.  For reclaim.  The old one. */
SAMARA_INTERNAL uint64_t table_clear_one(struct table_gather *g, uint64_t *slot, uint64_t addr, unsigned level);
SAMARA_INTERNAL uint64_t table_drop_one(struct table_gather *g, uint64_t *slot, uint64_t addr, unsigned level, unsigned rights);
/* Every run of entries, without locks: count entries of one page of `level`, zero ones among them.  Stops at the
 * first that is not 0. */
typedef int table_each_fn(void *self, uint64_t addr, unsigned level, const uint64_t *entries, unsigned count);
SAMARA_INTERNAL int table_each(struct table *t, uint64_t start, uint64_t end, table_each_fn *each, void *self);
/* The bottom of all of it (P5): the one function through which leaves are downgraded, `count` slots from `slot`, all in
 * one page of `level` that is locked, the first for addr.  Returns how many slots it did: fewer than `count` when the
 * gather is full; then flush without the lock and go on. */
struct downgrade {
	enum { DOWNGRADE_KEEP, DOWNGRADE_CLEAR, DOWNGRADE_MOVE } kind;
	uint64_t keep, set;   /* KEEP: present leaves become (old & keep) | set */
	uint64_t write_where; /* KEEP: those that had one of these bits may write; 0: none comes to */
	uint64_t *into;       /* MOVE: where they go: zero slots of one page, that is locked, too */
};
SAMARA_INTERNAL unsigned range_downgrade(struct table_gather *g, const struct downgrade *how, uint64_t *slot, unsigned count,
	unsigned level, uint64_t addr);
SAMARA_INTERNAL void range_detach(struct table_gather *g, uint64_t *slot, unsigned level, uint64_t addr);

/* copy.c: fork.  Every entry of [start, end) goes into `to` too, and so do pages without entries; `private`: write goes
 * on both sides.  `each` sees the new entries before anybody else does, a run of one page at a time, the old page
 * locked: it counts frames (frame_map), or puts others in.  It returns 0, or an error after it made zero of every entry
 * that it did not count.  On an error, and on -ENOMEM, `to` has the part before; the caller unmaps that.  Rights that the
 * old side lost stay lost: a fault gives them back. */
typedef int table_copy_fn(void *self, uint64_t addr, unsigned level, uint64_t *entries, unsigned count);
SAMARA_INTERNAL int table_copy(struct table *to, struct table_gather *g, uint64_t start, uint64_t end, bool private,
	table_copy_fn *each, void *self);

/* move.c: mremap.  Ranges do not overlap; nothing is mapped in the new one, and both belong to the caller wholly.
 * Whole pages of the table move where both are aligned alike.  -ENOMEM before anything moved. */
SAMARA_INTERNAL int table_move(struct table_gather *g, uint64_t from, uint64_t to, uint64_t bytes);
/* The same in two steps, between which nobody else may change either range: the second cannot fail.  Pages of the table
 * that are empty then stay, for who may keep the old range mapped (MREMAP_DONTUNMAP; VmPTE) or unmaps it anyway. */
SAMARA_INTERNAL int table_move_prepare(struct table_gather *g, uint64_t from, uint64_t to, uint64_t bytes);
SAMARA_INTERNAL void table_move_commit(struct table_gather *g, uint64_t from, uint64_t to, uint64_t bytes);

/* check.c.  Nobody else at work.  0 or the number of the broken invariant. */
SAMARA_INTERNAL int table_check(struct table *t);

/* -- arithmetic -- */

static inline unsigned level_shift(unsigned level)
{
	return FRAME_SHIFT + 9 * level;
}

static inline uint64_t level_bytes(unsigned level)
{
	return (uint64_t)1 << level_shift(level);
}

static inline unsigned level_index(uint64_t addr, unsigned level)
{
	return (unsigned)(addr >> level_shift(level)) & (TABLE_ENTRIES - 1);
}

/* The end of the slot of `level` that holds addr, or `end` if that comes first. */
static inline uint64_t level_next(uint64_t addr, unsigned level, uint64_t end)
{
	uint64_t next = (addr | (level_bytes(level) - 1)) + 1;

	return MIN(next, end);
}

static inline uint64_t table_span(const struct table *t)
{
	return level_bytes(t->format.levels);
}

static inline bool entry_present(uint64_t entry)
{
	return entry & ENTRY_PRESENT;
}

static inline bool entry_leaf(const struct table *t, uint64_t entry, unsigned level)
{
	return (entry & ENTRY_PRESENT) && (level == 0 || (entry & t->format.leaf_mask));
}

static inline bool entry_branch(const struct table *t, uint64_t entry, unsigned level)
{
	return (entry & ENTRY_PRESENT) && level && !(entry & t->format.leaf_mask);
}

static inline uint64_t entry_pfn(const struct table *t, uint64_t entry)
{
	return (entry & t->format.pfn_mask) << t->format.pfn_left >> FRAME_SHIFT;
}

static inline struct frame *entry_frame(const struct table *t, uint64_t entry)
{
	return pfn_frame(t->frames, entry_pfn(t, entry));
}

/* The page that a branch names. */
static inline uint64_t *entry_page(const struct table *t, uint64_t entry)
{
	return physical_host(t->frames, (entry & t->format.pfn_mask) << t->format.pfn_left);
}

static inline uint64_t table_pfn_bits(const struct table *t, uint64_t pfn)
{
	return pfn << FRAME_SHIFT >> t->format.pfn_left;
}

/* The bits of an entry that stand for these rights, where those that are inverted count as rights when clear. */
static inline uint64_t table_rights_bits(const struct table *t, unsigned rights)
{
	const struct table_format *f = &t->format;

	return (rights & TABLE_WRITE ? f->write : 0) | (rights & TABLE_EXEC ? f->exec : 0) | (rights & TABLE_USER ? f->user : 0) |
	       (rights & TABLE_ACCESSED ? f->accessed : 0) | (rights & TABLE_DIRTY ? f->dirty : 0) | (rights & TABLE_OWN ? f->own : 0);
}

static inline uint64_t entry_make(const struct table *t, uint64_t pfn, unsigned rights, unsigned level)
{
	return (table_rights_bits(t, rights) ^ t->format.inverted) | t->format.leaf_bits | table_pfn_bits(t, pfn) |
	       (level ? t->format.huge_bits : 0);
}

static inline unsigned entry_rights(const struct table *t, uint64_t entry)
{
	const struct table_format *f = &t->format;
	uint64_t e = entry ^ f->inverted;

	return (e & f->write ? TABLE_WRITE : 0) | (e & f->exec ? TABLE_EXEC : 0) | (e & f->user ? TABLE_USER : 0) |
	       (e & f->accessed ? TABLE_ACCESSED : 0) | (e & f->dirty ? TABLE_DIRTY : 0) | (e & f->own ? TABLE_OWN : 0);
}

/* A protection key as part of an entry; 0 where the format has none. */
static inline unsigned entry_pkey(const struct table *t, uint64_t entry)
{
	return t->format.pkey_shift ? (unsigned)(entry >> t->format.pkey_shift) & 15 : 0;
}
static inline uint64_t table_pkey_bits(const struct table *t, unsigned pkey)
{
	return t->format.pkey_shift ? (uint64_t)(pkey & 15) << t->format.pkey_shift : 0;
}

/* -- looking: no lock needed -- */

struct table_spot {
	uint64_t *slot;
	uint64_t entry; /* as it was seen: a leaf, zero, or a software entry */
	unsigned level;
};

/* The leaf for addr, or where the way to it ends. */
static inline struct table_spot table_walk(const struct table *t, uint64_t addr)
{
	uint64_t *page = t->root;

	for (unsigned level = t->format.levels - 1u;; level--) {
		uint64_t *slot = page + level_index(addr, level);
		uint64_t entry = LOAD_ACQUIRE(*slot);

		if (level == 0 || !(entry & ENTRY_PRESENT) || (entry & t->format.leaf_mask))
			return (struct table_spot){ slot, entry, level };
		page = entry_page(t, entry);
	}
}

/* A present entry was used: accessed and, by a write, dirty.  `entry` is what it is; page locked. */
static inline void table_mark(const struct table *t, uint64_t *slot, uint64_t entry, bool write)
{
	uint64_t marks = t->format.accessed | (write ? t->format.dirty : 0);

	if (LIKELY(!(marks & ~entry)))
		return;
	if (t->hardware)
		__atomic_or_fetch(slot, marks, __ATOMIC_RELAXED);
	else
		STORE(*slot, entry | marks);
}

/* -- the lock of the page that holds a slot: afterwards look at *slot again -- */

static inline struct frame *table_lock(const struct table *t, const uint64_t *slot)
{
	struct frame *page = host_frame(t->frames, slot);

	mutex_lock(&page->lock, t->frames->port);
	return page;
}

static inline void table_unlock(const struct table *t, struct frame *page)
{
	mutex_unlock(&page->lock, t->frames->port);
}

#endif
