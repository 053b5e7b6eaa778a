/* cache.c - single frames without the lock of the lists: a few stacks, the frame that came back last goes out first.
 *
 * The frame on top is the one whose bytes and descriptor are warm.  An empty stack takes a block of
 * 2^FRAME_CACHE_ORDER frames out of the lists and deals it in ascending order, so that memory that is touched in
 * order lies in order; a full one gives its bottom, the coldest, back.  A frame in a stack is FRAME_CACHED, so its
 * buddies do not join with it.
 */
#include "core/frame/frame.h"

#define CACHE_BLOCK (1u << FRAME_CACHE_ORDER)
#define CACHE_ZERO 8u /* cold frames that are zeroed at once */
#define DRAIN_ROUNDS 1000 /* looks at a cache that somebody holds: longer than a holder that runs */

static inline bool cache_try(const struct frames *f, struct frame_cache *cache)
{
	if (!f->threads) {
		ASSERT(!cache->taken);
		cache->taken = 1;
		return true;
	}
	return !LOAD(cache->taken) && !__atomic_exchange_n(&cache->taken, 1, __ATOMIC_ACQUIRE);
}

static inline void cache_leave(struct frame_cache *cache)
{
	STORE_RELEASE(cache->taken, 0);
}

static inline struct frame_cache *cache_at(const struct frames *f, unsigned cache)
{
	ASSERT(cache < f->cache_count);
	return &f->caches[cache];
}

/* The cache is taken and empty. */
static void cache_refill(struct frames *f, struct frame_cache *cache)
{
	struct frame *head;

	mutex_lock(&f->lock, f->port);
	head = buddy_take(f, FRAME_CACHE_ORDER);
	if (head) {
		uint8_t flags = head->flags;

		for (unsigned i = 0; i < CACHE_BLOCK; i++) {
			struct frame *frame = head + CACHE_BLOCK - 1 - i;

			STORE(frame->kind, FRAME_CACHED);
			frame->order = 0;
			frame->flags = flags;
			cache->stack[cache->count + i] = frame;
		}
		STORE(cache->count, CACHE_BLOCK);
		cache->cold = CACHE_BLOCK;
	} else {
		/* only crumbs are left */
		while (cache->count < CACHE_BLOCK / 4 && (head = buddy_take(f, 0)) != NULL) {
			STORE(head->kind, FRAME_CACHED);
			cache->stack[cache->count++] = head;
		}
		cache->cold = cache->count;
	}
	mutex_unlock(&f->lock, f->port);
}

/* How many frames from stack[0] on lie in a row and are a block as they stand: what was dealt in order mostly comes
 * back in order. */
static unsigned cache_run(const struct frames *f, struct frame *const *stack, unsigned count)
{
	uint64_t pfn = frame_pfn(f, stack[0]);
	unsigned order = 0, have = 1;

	while (order < FRAME_CACHE_ORDER && !(pfn & (uint64_t)1 << order) && 2u << order <= count) {
		while (have < 2u << order && stack[have] == stack[0] + have)
			have++;
		if (have < 2u << order)
			break;
		order++;
	}
	return 1u << order;
}

/* `run` frames in a row become one block; lock held. */
static void cache_give_run(struct frames *f, struct frame *head, unsigned run)
{
	for (unsigned i = 1; i < run; i++) {
		head->flags &= head[i].flags;
		STORE(head[i].kind, FRAME_TAIL);
	}
	head->order = (uint8_t)__builtin_ctz(run);
	buddy_give(f, head);
}

/* The `count` coldest frames of a cache that is taken go back to the lists. */
static void cache_spill(struct frames *f, struct frame_cache *cache, unsigned count)
{
	mutex_lock(&f->lock, f->port);
	for (unsigned i = 0, run; i < count; i += run) {
		run = cache_run(f, cache->stack + i, count - i);
		cache_give_run(f, cache->stack[i], run);
	}
	mutex_unlock(&f->lock, f->port);
	cache->count -= count;
	cache->cold -= MIN(cache->cold, count);
	for (unsigned i = 0; i < cache->count; i++)
		cache->stack[i] = cache->stack[i + count];
}

static inline void cache_dress(const struct frames *f, struct frame *frame, enum frame_kind kind, void *owner, bool zero)
{
	if (zero && !(frame->flags & FRAME_ZERO))
		zero_page(frame_host(f, frame));
	frame->flags = 0;
	frame->used = 0;
	frame->marks = 0;
	frame->owner = owner;
	STORE(frame->count, 1);
	/* last, for a buddy that comes back and looks */
	STORE(frame->kind, (uint8_t)kind);
}

/* The frame on top came from the lists and was not used since: its bytes are far away, and so are those of the next.
 * Zeroed one by one, each waits for its own (whoever zeroes takes a lock next, which waits for all stores); a few in
 * one go wait once. */
static void cache_zero_cold(const struct frames *f, struct frame_cache *cache)
{
	unsigned count = MIN(CACHE_ZERO, cache->count);

	for (unsigned i = 1; i <= count; i++) {
		struct frame *frame = cache->stack[cache->count - i];

		if (!(frame->flags & FRAME_ZERO))
			zero_page(frame_host(f, frame));
		frame->flags |= FRAME_ZERO;
	}
}

SAMARA_INTERNAL struct frame *frame_alloc(struct frames *f, unsigned index, enum frame_kind kind, void *owner, bool zero)
{
	struct frame_cache *cache = cache_at(f, index);
	struct frame *frame = NULL;
	const char *ahead = NULL;

	if (UNLIKELY(!cache_try(f, cache)))
		return frame_alloc_block(f, 0, kind, owner, zero);
	if (UNLIKELY(!cache->count))
		cache_refill(f, cache);
	if (LIKELY(cache->count)) {
		if (cache->count <= cache->cold) {
			if (zero && !(cache->stack[cache->count - 1]->flags & FRAME_ZERO))
				cache_zero_cold(f, cache);
			cache->cold = cache->count - 1;
			ahead = !zero && cache->cold ? frame_host(f, cache->stack[cache->cold - 1]) : NULL;
		}
		frame = cache->stack[--cache->count];
		if (cache->count)
			__builtin_prefetch(cache->stack[cache->count - 1], 1);
	}
	cache_leave(cache);
	if (UNLIKELY(!frame))
		return frame_alloc_block(f, 0, kind, owner, zero);
	cache_dress(f, frame, kind, owner, zero);
	if (ahead)
		for (unsigned i = 0; i < FRAME_BYTES; i += 64)
			__builtin_prefetch(ahead + i, 1);
	return frame;
}

SAMARA_INTERNAL unsigned frame_alloc_batch(struct frames *f, unsigned index, enum frame_kind kind, void *owner, bool zero,
	struct frame **out, unsigned want)
{
	struct frame_cache *cache = cache_at(f, index);
	unsigned got = 0;

	if (cache_try(f, cache)) {
		while (got < want) {
			if (!cache->count)
				cache_refill(f, cache);
			if (!cache->count)
				break;
			out[got++] = cache->stack[--cache->count];
		}
		cache->cold = MIN(cache->cold, cache->count);
		cache_leave(cache);
		for (unsigned i = 0; i < got; i++)
			cache_dress(f, out[i], kind, owner, zero);
	}
	for (; got < want; got++) {
		out[got] = frame_alloc_block(f, 0, kind, owner, zero);
		if (!out[got])
			break;
	}
	return got;
}

SAMARA_INTERNAL void frame_release(struct frames *f, unsigned index, struct frame *frame)
{
	struct frame_cache *cache = cache_at(f, index);

	ASSERT(frame->kind >= FRAME_TABLE && LOAD(frame->count) == 0);
	if (UNLIKELY(frame->order || !cache_try(f, cache))) {
		frame_block_free(f, frame);
		return;
	}
	if (UNLIKELY(cache->count == FRAME_CACHE_MAX))
		cache_spill(f, cache, 2 * CACHE_BLOCK);
	frame->owner = NULL;
	STORE(frame->kind, FRAME_CACHED);
	cache->stack[cache->count++] = frame;
	cache_leave(cache);
}

SAMARA_INTERNAL void frame_release_many(struct frames *f, unsigned index, struct frame *const *frames, unsigned count)
{
	struct frame_cache *cache = cache_at(f, index);

	if (UNLIKELY(!cache_try(f, cache))) {
		for (unsigned i = 0; i < count; i++)
			frame_block_free(f, frames[i]);
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		struct frame *frame = frames[i];

		if (UNLIKELY(cache->count == FRAME_CACHE_MAX))
			cache_spill(f, cache, 2 * CACHE_BLOCK);
		frame->owner = NULL;
		STORE(frame->kind, FRAME_CACHED);
		cache->stack[cache->count++] = frame;
	}
	cache_leave(cache);
}

SAMARA_INTERNAL bool frames_drain(struct frames *f)
{
	bool all = true;

	for (unsigned i = 0; i < f->cache_count; i++) {
		struct frame_cache *cache = &f->caches[i];
		int round = 0;

		while (!cache_try(f, cache) && round < DRAIN_ROUNDS)
			round++;
		if (round == DRAIN_ROUNDS) {
			all = false;
			continue;
		}
		cache_spill(f, cache, cache->count);
		cache_leave(cache);
	}
	return all;
}
