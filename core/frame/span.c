/* span.c - the whole of a machine's frames: set up, taken down, counted, checked.
 *
 * Setting up writes one list entry for each of the largest aligned blocks, and zeroed descriptors for the rest.  The
 * functions that look at every frame (frames_owned, frames_check) expect that nobody else is at work.
 */
#include "core/frame/frame.h"

static void span_cut(struct frames *f, bool zeroed)
{
	uint64_t at = 0;

	while (at < f->count) {
		uint64_t pfn = f->first_pfn + at;
		unsigned order = FRAME_ORDERS - 1;

		if (pfn)
			order = MIN(order, (unsigned)__builtin_ctzll(pfn));
		while ((uint64_t)1 << order > f->count - at)
			order--;
		f->map[at].order = (uint8_t)order;
		f->map[at].flags = zeroed ? FRAME_ZERO : 0;
		buddy_give(f, &f->map[at]);
		at += (uint64_t)1 << order;
	}
}

SAMARA_INTERNAL int frames_init(struct frames *f, const struct samara_port *port, const struct frames_config *config)
{
	unsigned caches = config->caches ? config->caches : 1;
	uint64_t last = config->first_pfn + config->count;

	zero_bytes(f, sizeof(*f));
	/* 40 bits of pfn are what every format can carry */
	if (!config->base || (uintptr_t)config->base % FRAME_BYTES || !config->count || last < config->count ||
	    last > (uint64_t)1 << 40 || config->count > SIZE_MAX / sizeof(struct frame) || caches > FRAME_CACHES_MAX)
		return -SAMARA_EINVAL;
	f->map = port->alloc(port->self, (size_t)config->count * sizeof(struct frame));
	if (!f->map)
		return -SAMARA_ENOMEM;
	f->caches = port->alloc(port->self, caches * sizeof(struct frame_cache));
	if (!f->caches) {
		port->free(port->self, f->map, (size_t)config->count * sizeof(struct frame));
		f->map = NULL;
		return -SAMARA_ENOMEM;
	}
	zero_bytes(f->map, (size_t)config->count * sizeof(struct frame));
	zero_bytes(f->caches, caches * sizeof(struct frame_cache));
	f->port = port;
	f->threads = port->wait != NULL;
	f->cache_count = caches;
	f->first_pfn = config->first_pfn;
	f->count = config->count;
	f->delta = (uintptr_t)config->base - (uintptr_t)(config->first_pfn << FRAME_SHIFT);
	span_cut(f, config->zeroed);
	return 0;
}

SAMARA_INTERNAL void frames_fini(struct frames *f)
{
	if (!f->map)
		return;
	ASSERT(frames_free(f) == f->count);
	f->port->free(f->port->self, f->caches, f->cache_count * sizeof(struct frame_cache));
	f->port->free(f->port->self, f->map, (size_t)f->count * sizeof(struct frame));
	zero_bytes(f, sizeof(*f));
}

SAMARA_INTERNAL uint64_t frames_free(const struct frames *f)
{
	uint64_t sum = LOAD(f->free_frames);

	for (unsigned i = 0; i < f->cache_count; i++)
		sum += LOAD(f->caches[i].count);
	return sum;
}

SAMARA_INTERNAL uint64_t frames_owned(const struct frames *f, enum frame_kind kind, const void *owner)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < f->count; at += (uint64_t)1 << f->map[at].order)
		if (f->map[at].kind == kind && f->map[at].owner == owner)
			sum += (uint64_t)1 << f->map[at].order;
	return sum;
}

/* One block of the span: 0, or which invariant it breaks. */
static int span_check_block(const struct frames *f, const struct frame *head)
{
	uint64_t pfn = frame_pfn(f, head), size = (uint64_t)1 << head->order;

	if (head->kind == FRAME_TAIL || head->kind >= FRAME_KINDS || head->order >= FRAME_ORDERS || pfn & (size - 1) ||
	    size > f->first_pfn + f->count - pfn)
		return 1;
	for (uint64_t i = 1; i < size; i++)
		if (head[i].kind != FRAME_TAIL)
			return 1;
	if (head->kind >= FRAME_TABLE)
		return frame_refs(head) ? 0 : 2;
	if (LOAD(head->count) || head->owner)
		return 2;
	if (head->kind == FRAME_CACHED)
		return head->order ? 2 : 0;
	if (head->order + 1u < FRAME_ORDERS && pfn_in_span(f, pfn ^ size)) {
		const struct frame *buddy = pfn_frame(f, pfn ^ size);

		if (buddy->kind == FRAME_FREE && buddy->order == head->order)
			return 3;
	}
	if (head->flags & FRAME_ZERO) {
		const uint64_t *word = frame_host(f, head);

		/* the first and last line of each frame: a whole GiB would take a second */
		for (uint64_t i = 0; i < size; i++)
			for (unsigned w = 0; w < 8; w++)
				if (word[i * 512 + w] | word[i * 512 + 504 + w])
					return 5;
	}
	return 0;
}

SAMARA_INTERNAL int frames_check(const struct frames *f, const struct frame **bad)
{
	uint64_t free = 0, cached = 0, listed = 0, stacked = 0;
	const struct frame *where = NULL;
	int broken = 0;

	for (uint64_t at = 0; at < f->count && !broken; at += (uint64_t)1 << f->map[at].order) {
		where = &f->map[at];
		broken = span_check_block(f, where);
		free += where->kind == FRAME_FREE ? (uint64_t)1 << where->order : 0;
		cached += where->kind == FRAME_CACHED;
	}
	for (unsigned order = 0; order < FRAME_ORDERS && !broken; order++) {
		const struct frame *prev = NULL;

		broken = (f->list[order] != NULL) == (f->nonempty >> order & 1) ? 0 : 4;
		for (const struct frame *head = f->list[order]; head && !broken; prev = head, head = head->next) {
			where = head;
			if (head->kind != FRAME_FREE || head->order != order || head->prev != prev)
				broken = 2;
			listed += (uint64_t)1 << order;
		}
	}
	for (unsigned i = 0; i < f->cache_count && !broken; i++) {
		for (unsigned n = 0; n < f->caches[i].count && !broken; n++) {
			where = f->caches[i].stack[n];
			broken = where->kind == FRAME_CACHED ? 0 : 2;
		}
		stacked += f->caches[i].count;
	}
	if (!broken && (free != listed || listed != f->free_frames || cached != stacked))
		broken = 4;
	if (broken && bad)
		*bad = where;
	return broken;
}
