/* frame.h - memory in frames of 4 KiB: descriptors, blocks of 2^order frames, caches of single ones.
 *
 * A machine has one `struct frames` over one span of host memory that the embedder gives.  Frame number `pfn` is
 * what a page-table entry carries; pfn, descriptor and host address are arithmetic from each other.  What always
 * holds (frames_check proves it):
 *
 *   F1  The span is cut into blocks without holes: each has a head, aligned to its size by pfn, and tails
 *       (FRAME_TAIL) behind it.  Merging and splitting touch heads only, so they cost the same for 2 MiB and for 1
 *       GiB.
 *   F2  A head is free in exactly one place - a buddy list (FRAME_FREE) or a cache (FRAME_CACHED) - or it has an
 *       owner, and a reference count that is not zero.
 *   F3  Two free buddies of one order are one block of the next, up to the largest order.
 *   F4  free_frames is the sum over the buddy lists; a cache's frames are the ones on its stack.
 *   F5  FRAME_ZERO on a free head: all bytes of the block are zero.  Splitting passes it on, merging needs it of
 *       both.
 *
 * Who may touch what.  The lists and kind, order, links of free heads: holders of `lock` (buddy.c).  A cache: whoever
 * took its word (cache.c).  Everything in the descriptor of a frame in use but `count` and `lock` belongs to its
 * owner.  `count` is atomic: references in the low half, entries that map the frame in the high half, so that
 * mapping one more time (fork, a page at a time) is one atomic operation and not two.  The lock word is never reset.
 *
 * A cache is tried, never waited for: a thread that finds it taken goes to the buddy lists, so giving it back is a
 * plain store.  In return an allocation may fail although a free frame lies in a cache whose holder is being
 * preempted right now.
 */
#ifndef SAMARA_CORE_FRAME_H
#define SAMARA_CORE_FRAME_H

#include "core/base/base.h"
#include "core/frame/mutex.h"
#include "samara/abi.h"
#include "samara/port.h"

#define FRAME_SHIFT 12u
#define FRAME_BYTES ((uint64_t)1 << FRAME_SHIFT)
#define FRAME_ORDERS 19u       /* 4 KiB (0) to 1 GiB (18) */
#define FRAME_ORDER_2M 9u
#define FRAME_ORDER_1G 18u
#define FRAME_CACHE_MAX 126u   /* frames in one cache: a cache is 1 KiB */
#define FRAME_CACHE_ORDER 5u   /* what moves between a cache and the lists at once: 2^5 frames */
#define FRAME_CACHES_MAX 64u
#define FRAMES_AHEAD 8u

enum frame_kind {
	FRAME_TAIL = 0, /* of a block; zeroed memory is all tails */
	FRAME_FREE,     /* head in a buddy list */
	FRAME_CACHED,   /* single frame in a cache */
	/* in use; `owner` points to ... */
	FRAME_TABLE,    /* a struct table: a page of its page table */
	FRAME_ANON,     /* whatever the anonymous memory is reached by */
	FRAME_FILE,     /* a file object: a page of its cache */
	FRAME_HUGE,     /* the pool of huge pages */
	FRAME_EMBEDDER, /* the embedder's own */
	FRAME_KINDS
};

#define FRAME_ZERO 1u /* flags: all bytes are zero; only says something about free frames */

struct frame {
	uint64_t count; /* atomic; references low, entries that map it high */
	uint8_t kind, order, flags;
	uint8_t level;  /* table pages: 0 is the leaf level */
	uint32_t lock;  /* table pages: of the entries, and of `used`; file pages: the page lock */
	void *owner;
	union {
		struct {
			struct frame *next, *prev; /* the buddy list, else the owner's */
			uint64_t index;            /* the owner's: page offset */
			uint64_t data;             /* the owner's; of a free single frame see frames.pushed */
		};
		struct samara_rcu_head rcu; /* a page of a page table that waits for its readers to go */
	};
	union {
		uint32_t used; /* table pages: entries that are not zero */
		uint32_t pins; /* others: references that hold the frame where it is mapped (samara_pin); atomic */
	};
	uint32_t marks; /* the owner's, atomic: PAGE_... of core/cache/cache.h */
};

_Static_assert(sizeof(struct frame) == 64, "a cache line");

#define FRAME_ONE_MAP ((uint64_t)1 << 32)

struct frame_cache {
	uint32_t taken;
	uint32_t count;
	uint32_t cold; /* how many at the bottom came from the lists and were not used since */
	uint32_t pad;
	struct frame *stack[FRAME_CACHE_MAX]; /* the hottest last */
};

_Static_assert(sizeof(struct frame_cache) == 1024, "whole cache lines");

struct frames {
	uintptr_t delta;   /* host address = delta + physical address, wrapping */
	struct frame *map; /* descriptors, by pfn - first_pfn */
	uint64_t first_pfn, count;
	const struct samara_port *port;
	struct frame_cache *caches;
	uint32_t cache_count;
	uint32_t threads;  /* the port can wait: atomics are needed */
	uint32_t lock;     /* of what follows */
	uint32_t nonempty; /* orders that have a free block, bit set */
	struct frame *list[FRAME_ORDERS];
	/* The single frames that were pushed last.  Each names in `data` the one that was pushed FRAMES_AHEAD before
	 * it, which will most often be popped as long after it: its descriptor can be on its way by then. */
	struct frame *pushed[FRAMES_AHEAD];
	uint32_t pushes;
	uint64_t free_frames; /* in the lists */
};

struct frames_config {
	void *base;         /* host memory, aligned to 4 KiB; to 2 MiB where huge pages of the host shall help */
	uint64_t count;     /* frames */
	uint64_t first_pfn; /* the number of the first: what hardware that walks the tables will see */
	unsigned caches;    /* 0 means 1 */
	bool zeroed;        /* the memory is known to be zero (fresh from mmap) */
};

/* span.c.  The port must outlive the frames.  -EINVAL, -ENOMEM. */
SAMARA_INTERNAL int frames_init(struct frames *f, const struct samara_port *port, const struct frames_config *config);
SAMARA_INTERNAL void frames_fini(struct frames *f); /* every frame is free: else a trap */
SAMARA_INTERNAL uint64_t frames_free(const struct frames *f); /* lists and caches; exact when nobody allocates */
SAMARA_INTERNAL uint64_t frames_owned(const struct frames *f, enum frame_kind kind, const void *owner);
/* Nobody else at work.  0, or the number of the broken invariant (1 to 5) and its frame in *bad. */
SAMARA_INTERNAL int frames_check(const struct frames *f, const struct frame **bad);

/* buddy.c: blocks.  `zero`: their bytes are zero.  NULL: none to be had. */
SAMARA_INTERNAL struct frame *frame_alloc_block(struct frames *f, unsigned order, enum frame_kind kind, void *owner, bool zero);
SAMARA_INTERNAL void frame_block_free(struct frames *f, struct frame *head); /* count is zero */
/* A block in use becomes smaller ones in use, each with the head's count, kind, owner and rising index: for
 * splitting a huge page. */
SAMARA_INTERNAL void frame_block_split(struct frame *head, unsigned order);
/* lock held */
SAMARA_INTERNAL struct frame *buddy_take(struct frames *f, unsigned order);
SAMARA_INTERNAL void buddy_give(struct frames *f, struct frame *head);

/* cache.c: single frames.  `cache` is below cache_count, best a number of the CPU or thread; any is right. */
SAMARA_INTERNAL struct frame *frame_alloc(struct frames *f, unsigned cache, enum frame_kind kind, void *owner, bool zero);
/* Up to `want` at once, for populate: how many there were. */
SAMARA_INTERNAL unsigned frame_alloc_batch(struct frames *f, unsigned cache, enum frame_kind kind, void *owner, bool zero,
	struct frame **out, unsigned want);
SAMARA_INTERNAL void frame_release(struct frames *f, unsigned cache, struct frame *frame); /* count is zero */
/* As many as the array has, all single and with count zero. */
SAMARA_INTERNAL void frame_release_many(struct frames *f, unsigned cache, struct frame *const *frames, unsigned count);
SAMARA_INTERNAL bool frames_drain(struct frames *f); /* every cache into the lists; false: one was taken all the time */

/* -- arithmetic -- */

static inline bool pfn_in_span(const struct frames *f, uint64_t pfn)
{
	return pfn - f->first_pfn < f->count;
}

static inline struct frame *pfn_frame(const struct frames *f, uint64_t pfn)
{
	ASSERT(pfn_in_span(f, pfn));
	return f->map + (pfn - f->first_pfn);
}

static inline uint64_t frame_pfn(const struct frames *f, const struct frame *frame)
{
	return f->first_pfn + (uint64_t)(frame - f->map);
}

static inline void *physical_host(const struct frames *f, uint64_t physical)
{
	return (void *)(f->delta + (uintptr_t)physical);
}

static inline void *frame_host(const struct frames *f, const struct frame *frame)
{
	return physical_host(f, frame_pfn(f, frame) << FRAME_SHIFT);
}

/* The descriptor of the frame that holds this byte of the span. */
static inline struct frame *host_frame(const struct frames *f, const void *host)
{
	return pfn_frame(f, (uint64_t)((uintptr_t)host - f->delta) >> FRAME_SHIFT);
}

/* -- counts: a reference keeps the frame, an entry that maps it holds one -- */

static inline uint64_t frame_count_add(const struct frames *f, struct frame *frame, uint64_t delta)
{
	if (f->threads)
		return __atomic_add_fetch(&frame->count, delta, __ATOMIC_ACQ_REL);
	return frame->count += delta;
}

static inline uint32_t frame_refs(const struct frame *frame)
{
	return (uint32_t)LOAD(frame->count);
}

static inline uint32_t frame_maps(const struct frame *frame)
{
	return (uint32_t)(LOAD(frame->count) >> 32);
}

static inline void frame_get(const struct frames *f, struct frame *frame)
{
	uint64_t count = frame_count_add(f, frame, 1);

	ASSERT((uint32_t)count > 1);
	(void)count;
}

/* One entry more that maps it, with the entry's reference. */
static inline void frame_map(const struct frames *f, struct frame *frame)
{
	uint64_t count = frame_count_add(f, frame, FRAME_ONE_MAP + 1);

	ASSERT((uint32_t)count > 1);
	(void)count;
}

/* The same, while the page of the table with an entry that maps it is locked.  Mapped there alone and held by nobody
 * else: others can come to hold it through that entry only, and the count needs no atomic operation. */
static inline void frame_map_again(const struct frames *f, struct frame *frame)
{
	if (LIKELY(frame->kind == FRAME_ANON && LOAD_ACQUIRE(frame->count) == FRAME_ONE_MAP + 1))
		STORE(frame->count, 2 * (FRAME_ONE_MAP + 1));
	else
		frame_map(f, frame);
}

/* The reference that the caller has becomes that of an entry: a new frame's first mapping. */
static inline void frame_map_own(const struct frames *f, struct frame *frame)
{
	frame_count_add(f, frame, FRAME_ONE_MAP);
}

/* One reference less; the last frees. */
static inline void frame_put(struct frames *f, unsigned cache, struct frame *frame)
{
	uint64_t count = frame_count_add(f, frame, (uint64_t)-1);

	ASSERT((uint32_t)count != UINT32_MAX);
	if ((uint32_t)count == 0)
		frame_release(f, cache, frame);
}

/* One entry less, and its reference. */
static inline void frame_unmap(struct frames *f, unsigned cache, struct frame *frame)
{
	uint64_t count = frame_count_add(f, frame, (uint64_t)0 - FRAME_ONE_MAP - 1);

	ASSERT((uint32_t)(count >> 32) != UINT32_MAX && (uint32_t)count != UINT32_MAX);
	if ((uint32_t)count == 0)
		frame_release(f, cache, frame);
}

/* The last reference, by one who knows that all bytes are zero again (an emptied page of a page table). */
static inline void frame_put_zero(struct frames *f, unsigned cache, struct frame *frame)
{
	frame->flags |= FRAME_ZERO;
	frame_put(f, cache, frame);
}

#endif
