/* buddy.c - blocks of 2^order frames: a list of free heads for each order; a block that comes back joins its free
 * buddy.
 *
 * The buddy of a block differs from it in one bit of the pfn.  The lists are last in, first out.  Functions named
 * buddy_... expect the lock of the frames.  Only heads are written: a tail keeps FRAME_TAIL from the moment when its
 * block was joined (or from the zeroed descriptors) until a split makes it a head again.
 */
#include "core/frame/frame.h"

static void buddy_push(struct frames *f, struct frame *head, unsigned order)
{
	struct frame *first = f->list[order];

	STORE(head->kind, FRAME_FREE);
	head->order = (uint8_t)order;
	if (!order) {
		head->data = (uint64_t)(uintptr_t)f->pushed[f->pushes % FRAMES_AHEAD];
		f->pushed[f->pushes++ % FRAMES_AHEAD] = head;
	}
	head->prev = NULL;
	head->next = first;
	if (first)
		first->prev = head;
	f->list[order] = head;
	f->nonempty |= 1u << order;
}

static void buddy_pull(struct frames *f, struct frame *head)
{
	unsigned order = head->order;

	if (head->prev)
		head->prev->next = head->next;
	else
		f->list[order] = head->next;
	if (head->next)
		head->next->prev = head->prev;
	if (!f->list[order])
		f->nonempty &= ~(1u << order);
}

/* A block of exactly this order out of the lists, or NULL.  Its kind is still FRAME_FREE: the caller says what it
 * becomes. */
SAMARA_INTERNAL struct frame *buddy_take(struct frames *f, unsigned order)
{
	uint32_t larger = f->nonempty >> order;
	struct frame *head;
	unsigned at;

	if (!larger)
		return NULL;
	at = order + (unsigned)__builtin_ctz(larger);
	head = f->list[at];
	if (!at)
		__builtin_prefetch((const void *)(uintptr_t)head->data, 1);
	buddy_pull(f, head);
	while (at > order) {
		struct frame *upper = head + ((uint64_t)1 << --at);

		upper->flags = head->flags;
		buddy_push(f, upper, at);
	}
	head->order = (uint8_t)order;
	f->free_frames -= (uint64_t)1 << order;
	return head;
}

/* A block of head->order frames joins the lists. */
SAMARA_INTERNAL void buddy_give(struct frames *f, struct frame *head)
{
	uint64_t pfn = frame_pfn(f, head);
	unsigned order = head->order;

	f->free_frames += (uint64_t)1 << order;
	for (; order + 1 < FRAME_ORDERS; order++) {
		uint64_t other = pfn ^ (uint64_t)1 << order;
		struct frame *buddy;

		if (!pfn_in_span(f, other))
			break;
		buddy = pfn_frame(f, other);
		/* a buddy that is whole and free has this very order; a tail, a cached frame and one in use are not
		 * FRAME_FREE */
		if (LOAD(buddy->kind) != FRAME_FREE || buddy->order != order)
			break;
		buddy_pull(f, buddy);
		if (buddy < head) {
			struct frame *lower = buddy;

			buddy = head;
			head = lower;
			pfn = other;
		}
		head->flags &= buddy->flags;
		STORE(buddy->kind, FRAME_TAIL);
	}
	buddy_push(f, head, order);
}

SAMARA_INTERNAL struct frame *frame_alloc_block(struct frames *f, unsigned order, enum frame_kind kind, void *owner, bool zero)
{
	struct frame *head;

	ASSERT(order < FRAME_ORDERS);
	for (bool drained = false;; drained = true) {
		mutex_lock(&f->lock, f->port);
		head = buddy_take(f, order);
		if (head)
			STORE(head->kind, (uint8_t)kind); /* under the lock: a buddy that comes back looks at it */
		mutex_unlock(&f->lock, f->port);
		if (head)
			break;
		/* what is missing may lie in the caches, a frame at a time */
		if (drained)
			return NULL;
		frames_drain(f);
	}
	head->owner = owner;
	head->used = 0;
	head->marks = 0;
	if (zero && !(head->flags & FRAME_ZERO))
		zero_bytes(frame_host(f, head), (size_t)FRAME_BYTES << order);
	head->flags = 0;
	STORE(head->count, 1);
	return head;
}

SAMARA_INTERNAL void frame_block_free(struct frames *f, struct frame *head)
{
	ASSERT(head->kind >= FRAME_TABLE && LOAD(head->count) == 0);
	mutex_lock(&f->lock, f->port);
	head->owner = NULL;
	buddy_give(f, head);
	mutex_unlock(&f->lock, f->port);
}

SAMARA_INTERNAL void frame_block_split(struct frame *head, unsigned order)
{
	uint64_t frames = (uint64_t)1 << head->order, step = (uint64_t)1 << order;

	ASSERT(head->kind >= FRAME_TABLE && frame_refs(head) > 0 && order <= head->order);
	for (uint64_t i = step; i < frames; i += step) {
		struct frame *tail = head + i;

		tail->order = (uint8_t)order;
		tail->flags = 0;
		tail->owner = head->owner;
		tail->index = head->index + i;
		tail->data = head->data;
		tail->next = tail->prev = NULL;
		STORE(tail->count, LOAD(head->count));
		STORE(tail->kind, head->kind);
	}
	head->order = (uint8_t)order;
}
