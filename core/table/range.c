/* range.c - every downgrade: entries that go, lose rights or move, a range at a time, gathered until they are
 * flushed.
 *
 * The order is what makes it safe, and nobody can get it wrong because there is one way: entries change under the
 * page's lock and are written down; the flush raises the generation, has the range invalidated, and only then lets
 * go of frames and of pages of the table.  A gather that is full is flushed between two locks, never under one.
 * The recursion goes by pages of the table, so its depth is the number of levels, and empty pages are passed over.
 */
#include "core/table/table.h"

struct range_op {
	struct table_gather *gather;
	struct downgrade how;
	uint64_t floor, ceiling;
};

SAMARA_INTERNAL void gather_begin(struct table_gather *g, struct table *t, const struct table_sink *sink,
	struct table_change *changes, unsigned max, unsigned cache)
{
	ASSERT(max > 0);
	*g = (struct table_gather){ .table = t, .sink = sink, .changes = changes, .max = max, .cache = cache,
		.start = UINT64_MAX, .end = 0 };
}

static inline void gather_range(struct table_gather *g, uint64_t start, uint64_t end)
{
	g->start = MIN(g->start, start);
	g->end = MAX(g->end, end);
}

static void table_page_reclaim(struct samara_rcu_head *head)
{
	struct frame *page = CONTAINER_OF(head, struct frame, rcu);
	struct frames *frames = page->owner;

	page->next = page->prev = NULL;
	page->index = page->data = 0;
	frame_put_zero(frames, 0, page);
}

/* An empty page that no branch names any more: software walkers may still be inside. */
SAMARA_INTERNAL void table_page_free(struct frames *frames, unsigned cache, struct frame *page)
{
	const struct samara_port *port = frames->port;

	if (!port->defer) {
		frame_put_zero(frames, cache, page);
		return;
	}
	page->owner = frames;
	port->defer(port->self, &page->rcu, table_page_reclaim);
}

SAMARA_INTERNAL void gather_flush(struct table_gather *g)
{
	if (g->start < g->end) {
		__atomic_add_fetch(&g->table->generation, 1, __ATOMIC_SEQ_CST);
		if (g->sink->invalidate)
			g->sink->invalidate(g->sink->self, g->start, g->end);
		g->start = UINT64_MAX;
		g->end = 0;
	}
	if (g->count && g->sink->changed)
		g->sink->changed(g->sink->self, g->changes, g->count);
	g->count = 0;
	while (g->tables) {
		struct frame *page = g->tables;

		g->tables = page->next;
		page->next = NULL;
		table_page_free(g->table->frames, g->cache, page);
	}
}

static inline struct table_change change_of(uint64_t addr, unsigned i, unsigned level, unsigned how, uint64_t old)
{
	return (struct table_change){ (addr + ((uint64_t)i << level_shift(level))) | level | how, old };
}

/* The locked page of `slot` has `count` entries fewer, or (`into`) more. */
static void count_used(struct table *t, const uint64_t *slot, unsigned count, unsigned level, bool more)
{
	struct frame *page = host_frame(t->frames, slot);

	STORE(page->used, more ? page->used + count : page->used - count);
	if (level && count)
		__atomic_fetch_add(&t->huge, more ? count : -count, __ATOMIC_RELAXED);
}

/* Entries go: the loop that munmap and MADV_DONTNEED consist of. */
static inline __attribute__((always_inline)) unsigned range_clear(struct table_gather *g, uint64_t *slot, unsigned count,
	unsigned level, uint64_t addr, bool hardware)
{
	struct table_change *change = g->changes + g->count, *limit = g->changes + g->max, *first = change;
	uint64_t seen = 0;
	unsigned i;

	for (i = 0; i < count; i++) {
		uint64_t old = LOAD(slot[i]);

		if (!old || (UNLIKELY(g->keep_soft) && !entry_present(old)))
			continue;
		if (UNLIKELY(change == limit))
			break;
		if (hardware)
			old = __atomic_exchange_n(&slot[i], 0, __ATOMIC_ACQ_REL);
		else
			STORE(slot[i], 0);
		seen |= old;
		*change++ = change_of(addr, i, level, 0, old);
	}
	if (change != first) {
		unsigned cleared = (unsigned)(change - first);

		count_used(g->table, slot, cleared, level, false);
		g->count += cleared;
		if (entry_present(seen))
			gather_range(g, first->addr & ~(uint64_t)TABLE_CHANGE_BITS,
				(change[-1].addr & ~(uint64_t)TABLE_CHANGE_BITS) + level_bytes(level));
	}
	return i;
}

/* Entries go to other slots, which are locked, too: mremap. */
static inline __attribute__((always_inline)) unsigned range_move(struct table_gather *g, uint64_t *slot, uint64_t *into,
	unsigned count, unsigned level, uint64_t addr, bool hardware, bool journal)
{
	uint64_t seen = 0, there = 0;
	unsigned i, moved = 0;

	for (i = 0; i < count; i++) {
		uint64_t old = LOAD(slot[i]);

		if (!old)
			continue;
		if (journal && UNLIKELY(g->count == g->max))
			break;
		if (hardware)
			old = __atomic_exchange_n(&slot[i], 0, __ATOMIC_ACQ_REL);
		else
			STORE(slot[i], 0);
		there |= LOAD(into[i]);
		STORE_RELEASE(into[i], old);
		seen |= old;
		moved++;
		if (journal)
			g->changes[g->count++] = change_of(addr, i, level, TABLE_CHANGE_MOVED, old);
	}
	ASSERT(!there);
	count_used(g->table, slot, moved, level, false);
	count_used(g->table, into, moved, level, true);
	if (entry_present(seen))
		gather_range(g, addr, addr + ((uint64_t)i << level_shift(level)));
	return i;
}

/* Entries stay with other bits: mprotect, fork, tracking. */
static inline __attribute__((always_inline)) uint64_t kept(uint64_t old, const struct downgrade *how, uint64_t write)
{
	return (old & how->keep) | how->set | (old & how->write_where ? write : 0);
}

/* What an entry loses, as bits. */
static inline uint64_t lost_bits(const struct table *t, uint64_t old, uint64_t new)
{
	const uint64_t inverted = t->format.inverted;

	return ((old ^ inverted) & ~(new ^ inverted)) | ((old ^ new) & table_pkey_bits(t, 15)); /* another key: other rights */
}

/* Somebody changes entries without the lock, or hears of each. */
static unsigned range_keep_told(struct table_gather *g, const struct downgrade *how, uint64_t *slot, unsigned count, unsigned level,
	uint64_t addr)
{
	const bool hardware = g->table->hardware, journal = g->sink->journal;
	const uint64_t write = g->table->format.write;
	uint64_t lost = 0;
	unsigned i;

	for (i = 0; i < count; i++) {
		uint64_t old = LOAD(slot[i]), new = kept(old, how, write), less;

		if (!(old & ENTRY_PRESENT) || new == old)
			continue;
		if (journal && UNLIKELY(g->count == g->max))
			break;
		if (hardware) {
			while (!__atomic_compare_exchange_n(&slot[i], &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				new = kept(old, how, write);
		} else {
			STORE(slot[i], new);
		}
		less = lost_bits(g->table, old, new);
		lost |= less;
		if (journal && less)
			g->changes[g->count++] = change_of(addr, i, level, TABLE_CHANGE_KEPT, old);
	}
	if (lost)
		gather_range(g, addr, addr + ((uint64_t)i << level_shift(level)));
	return i;
}

/* Nobody does.  What is lost by any entry is told from the bits that all had and those that some had. */
static inline __attribute__((always_inline)) unsigned range_keep(struct table_gather *g, const struct downgrade *how, uint64_t *slot,
	unsigned count, unsigned level, uint64_t addr, bool gives)
{
	const uint64_t keep = how->keep, set = how->set, where = how->write_where, write = g->table->format.write;
	uint64_t some = 0, all = UINT64_MAX;

	for (unsigned i = 0; i < count; i++) {
		uint64_t old = LOAD(slot[i]);

		if (!(old & ENTRY_PRESENT))
			continue;
		some |= old;
		all &= old;
		STORE(slot[i], (old & keep) | set | (gives && (old & where) ? write : 0));
	}
	if (some && (lost_bits(g->table, some, (some & keep) | set) | lost_bits(g->table, all, (all & keep) | set)))
		gather_range(g, addr, addr + ((uint64_t)count << level_shift(level)));
	return count;
}

SAMARA_INTERNAL unsigned range_downgrade(struct table_gather *g, const struct downgrade *how, uint64_t *slot, unsigned count,
	unsigned level, uint64_t addr)
{
	const bool hardware = g->table->hardware, journal = g->sink->journal;

	switch (how->kind) {
	case DOWNGRADE_CLEAR:
		return hardware ? range_clear(g, slot, count, level, addr, true) : range_clear(g, slot, count, level, addr, false);
	case DOWNGRADE_MOVE:
		return hardware || journal ? range_move(g, slot, how->into, count, level, addr, hardware, journal) :
					     range_move(g, slot, how->into, count, level, addr, false, false);
	default:
		break;
	}
	if (hardware || journal)
		return range_keep_told(g, how, slot, count, level, addr);
	return how->write_where ? range_keep(g, how, slot, count, level, addr, true) :
				  range_keep(g, how, slot, count, level, addr, false);
}

/* A branch of `level` is cut off; what it named is for the caller.  Not locked. */
SAMARA_INTERNAL void range_detach(struct table_gather *g, uint64_t *slot, unsigned level, uint64_t addr)
{
	struct table *t = g->table;
	struct frame *page = table_lock(t, slot);

	STORE(*slot, 0);
	STORE(page->used, page->used - 1);
	table_unlock(t, page);
	/* hardware caches branches too, also empty ones */
	addr &= ~(level_bytes(level) - 1);
	gather_range(g, addr, addr + level_bytes(level));
}

/* An empty page goes if nobody else has a mapping in what it covers. */
static void range_free_empty(struct range_op *op, uint64_t *slot, uint64_t *child, unsigned level, uint64_t addr)
{
	struct table_gather *g = op->gather;
	struct frame *page = host_frame(g->table->frames, child);
	uint64_t start = addr & ~(level_bytes(level) - 1);

	if (start < op->floor || start + level_bytes(level) > op->ceiling || LOAD(page->used))
		return;
	range_detach(g, slot, level, addr);
	__atomic_sub_fetch(&g->table->pages, 1, __ATOMIC_RELAXED);
	page->next = g->tables;
	g->tables = page;
}

static void range_run(struct range_op *op, uint64_t *slot, unsigned count, unsigned level, uint64_t addr)
{
	struct table_gather *g = op->gather;

	for (;;) {
		struct frame *page = table_lock(g->table, slot);
		unsigned done = 0;

		/* above level 0 a leaf may have been split since the caller looked */
		if (level == 0 || entry_leaf(g->table, *slot, level)) {
			done = range_downgrade(g, &op->how, slot, count, level, addr);
		} else {
			done = count;
		}
		table_unlock(g->table, page);
		if (done == count)
			return;
		slot += done;
		count -= done;
		addr += (uint64_t)done << level_shift(level);
		gather_flush(g);
	}
}

static int range_descend(struct range_op *op, uint64_t *entries, unsigned level, uint64_t start, uint64_t end)
{
	struct table_gather *g = op->gather;
	struct table *t = g->table;
	uint64_t next;

	if (level == 0) {
		if (LOAD(host_frame(t->frames, entries)->used))
			range_run(op, entries + level_index(start, 0), (unsigned)((end - start) >> FRAME_SHIFT), 0, start);
		return 0;
	}
	for (; start < end; start = next) {
		uint64_t *slot = entries + level_index(start, level), entry = LOAD_ACQUIRE(*slot);

		next = level_next(start, level, end);
		if (!entry)
			continue;
		if (entry_leaf(t, entry, level)) {
			if (next - start == level_bytes(level)) {
				range_run(op, slot, 1, level, start);
				entry = LOAD_ACQUIRE(*slot);
			} else {
				int err = table_split(g, start, level);

				if (err)
					return err;
				entry = LOAD_ACQUIRE(*slot);
			}
		}
		if (entry_branch(t, entry, level)) {
			uint64_t *child = entry_page(t, entry);
			int err = range_descend(op, child, level - 1, start, next);

			if (err)
				return err;
			if (op->how.kind == DOWNGRADE_CLEAR)
				range_free_empty(op, slot, child, level, start);
		}
	}
	return 0;
}

static int range_apply(struct range_op *op, uint64_t start, uint64_t end)
{
	struct table *t = op->gather->table;
	int err;

	ASSERT(!((start | end) & (FRAME_BYTES - 1)) && start <= end && end <= table_span(t));
	if (start == end)
		return 0;
	err = table_split_edges(op->gather, start, end);
	return err ? err : range_descend(op, t->root, t->format.levels - 1u, start, end);
}

static int range_split_at(struct table_gather *g, uint64_t addr)
{
	for (;;) {
		struct table_spot spot = table_walk(g->table, addr);
		int err;

		if (!spot.level || !entry_present(spot.entry) || !(addr & (level_bytes(spot.level) - 1)))
			return 0;
		err = table_split(g, addr, spot.level);
		if (err)
			return err;
	}
}

SAMARA_INTERNAL int table_split_edges(struct table_gather *g, uint64_t start, uint64_t end)
{
	int err;

	if (LIKELY(!LOAD(g->table->huge)))
		return 0;
	err = range_split_at(g, start);
	return err || end == table_span(g->table) ? err : range_split_at(g, end);
}

SAMARA_INTERNAL int table_unmap(struct table_gather *g, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling)
{
	struct range_op op = { .gather = g, .how = { .kind = DOWNGRADE_CLEAR }, .floor = floor, .ceiling = ceiling };

	return range_apply(&op, start, end);
}

SAMARA_INTERNAL int table_protect(struct table_gather *g, uint64_t start, uint64_t end, unsigned rights, unsigned pkey,
	bool everywhere)
{
	const struct table_format *f = &g->table->format;
	struct range_op op = { .gather = g };

	op.how.keep = ~(f->user | f->exec | (rights & TABLE_WRITE ? 0 : f->write) | table_pkey_bits(g->table, 15));
	op.how.set = (table_rights_bits(g->table, rights & (TABLE_USER | TABLE_EXEC)) ^ f->inverted) & (f->user | f->exec);
	op.how.set |= table_pkey_bits(g->table, pkey);
	if (rights & TABLE_WRITE)
		op.how.write_where = everywhere ? ENTRY_PRESENT : f->own;
	return range_apply(&op, start, end);
}

static struct downgrade losing(const struct table *t, unsigned rights)
{
	uint64_t bits = table_rights_bits(t, rights);

	return (struct downgrade){ .kind = DOWNGRADE_KEEP, .keep = ~bits, .set = bits & t->format.inverted };
}

SAMARA_INTERNAL int table_drop_bits(struct table_gather *g, uint64_t start, uint64_t end, unsigned rights)
{
	struct range_op op = { .gather = g, .how = losing(g->table, rights) };

	return range_apply(&op, start, end);
}

SAMARA_INTERNAL uint64_t table_clear_one(struct table_gather *g, uint64_t *slot, uint64_t addr, unsigned level)
{
	const struct downgrade how = { .kind = DOWNGRADE_CLEAR };

	ASSERT(g->count < g->max);
	if (!*slot)
		return 0;
	(void)range_downgrade(g, &how, slot, 1, level, addr);
	return g->changes[g->count - 1].old;
}

SAMARA_INTERNAL uint64_t table_drop_one(struct table_gather *g, uint64_t *slot, uint64_t addr, unsigned level, unsigned rights)
{
	const struct downgrade how = losing(g->table, rights);
	uint64_t old = LOAD(*slot);

	ASSERT(!g->sink->journal || g->count < g->max);
	(void)range_downgrade(g, &how, slot, 1, level, addr);
	return old;
}

static int range_each(struct table *t, const uint64_t *entries, unsigned level, uint64_t start, uint64_t end, table_each_fn *each,
	void *self)
{
	uint64_t next;

	if (level == 0)
		return each(self, start, 0, entries + level_index(start, 0), (unsigned)((end - start) >> FRAME_SHIFT));
	for (; start < end; start = next) {
		const uint64_t *slot = entries + level_index(start, level);
		uint64_t entry = LOAD_ACQUIRE(*slot);
		int err = 0;

		next = level_next(start, level, end);
		if (entry_branch(t, entry, level))
			err = range_each(t, entry_page(t, entry), level - 1, start, next, each, self);
		else if (entry)
			err = each(self, start, level, slot, 1);
		if (err)
			return err;
	}
	return 0;
}

SAMARA_INTERNAL int table_each(struct table *t, uint64_t start, uint64_t end, table_each_fn *each, void *self)
{
	ASSERT(!((start | end) & (FRAME_BYTES - 1)) && start <= end && end <= table_span(t));
	return start < end ? range_each(t, t->root, t->format.levels - 1u, start, end, each, self) : 0;
}
