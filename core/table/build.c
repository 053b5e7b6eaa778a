/* build.c - pages of a page table: the root, the pages on the way to an entry, a huge leaf that becomes a page.
 *
 * Pages come zeroed and are attached when they are complete: a chain of missing pages is linked in private and
 * becomes reachable by one store into the page above.  So a failure has nothing to undo in the table, and a walker
 * sees all or nothing.
 */
#include "core/table/table.h"

static inline void build_count(uint32_t *counter, uint32_t delta)
{
	__atomic_add_fetch(counter, delta, __ATOMIC_RELAXED);
}

static struct frame *build_page(struct table *t, unsigned cache, unsigned level)
{
	struct frame *page = frame_alloc(t->frames, cache, FRAME_TABLE, t, true);

	if (page) {
		page->level = (uint8_t)level;
		page->used = 0;
	}
	return page;
}

static inline uint64_t build_branch(const struct table *t, const struct frame *page)
{
	return t->format.branch_bits | table_pfn_bits(t, frame_pfn(t->frames, page));
}

SAMARA_INTERNAL int table_init(struct table *t, struct frames *frames, enum table_kind kind, bool hardware, unsigned cache)
{
	struct frame *root;

	zero_bytes(t, sizeof(*t));
	t->format = *table_format(kind);
	t->frames = frames;
	t->hardware = hardware;
	root = build_page(t, cache, t->format.levels - 1u);
	if (!root)
		return -SAMARA_ENOMEM;
	t->root = frame_host(frames, root);
	t->pages = 1;
	return 0;
}

/* Everything below a page, and the page, which is all zero afterwards. */
static void build_release(struct table *t, unsigned cache, uint64_t *entries, unsigned level)
{
	struct frame *page = host_frame(t->frames, entries);

	for (unsigned i = 0; i < TABLE_ENTRIES && page->used; i++) {
		if (!entries[i])
			continue;
		ASSERT(entry_branch(t, entries[i], level));
		build_release(t, cache, entry_page(t, entries[i]), level - 1);
		entries[i] = 0;
		page->used--;
	}
	t->pages--;
	frame_put_zero(t->frames, cache, page);
}

SAMARA_INTERNAL void table_fini(struct table *t, unsigned cache)
{
	if (!t->root)
		return;
	ASSERT(t->huge == 0);
	build_release(t, cache, t->root, t->format.levels - 1u);
	ASSERT(t->pages == 0);
	t->root = NULL;
}

/* Pages of the levels above - 1 down to `level` on the way to addr, linked; chain[0] is the highest.  False: no
 * memory. */
static bool build_chain(struct table *t, unsigned cache, uint64_t addr, unsigned above, unsigned level, struct frame **chain)
{
	unsigned count = above - level;

	for (unsigned i = 0; i < count; i++) {
		chain[i] = build_page(t, cache, above - 1 - i);
		if (!chain[i]) {
			while (i--)
				frame_put_zero(t->frames, cache, chain[i]);
			return false;
		}
	}
	for (unsigned i = 0; i + 1 < count; i++) {
		uint64_t *entries = frame_host(t->frames, chain[i]);

		entries[level_index(addr, above - 1 - i)] = build_branch(t, chain[i + 1]);
		chain[i]->used = 1;
	}
	return true;
}

static void build_drop_chain(struct table *t, unsigned cache, uint64_t addr, unsigned above, unsigned count, struct frame **chain)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t *entries = frame_host(t->frames, chain[i]);

		entries[level_index(addr, above - 1 - i)] = 0;
		frame_put_zero(t->frames, cache, chain[i]);
	}
}

SAMARA_INTERNAL int table_ensure(struct table *t, unsigned cache, uint64_t addr, unsigned level, uint64_t **slot)
{
	uint64_t *entries = t->root;
	unsigned at = t->format.levels - 1u;

	while (at > level) {
		uint64_t *branch = entries + level_index(addr, at);
		uint64_t entry = LOAD_ACQUIRE(*branch);
		struct frame *chain[TABLE_LEVELS_MAX], *page;

		if (LIKELY(entry_branch(t, entry, at))) {
			entries = entry_page(t, entry);
			at--;
			continue;
		}
		if (entry) {
			*slot = branch;
			return -SAMARA_EEXIST;
		}
		if (!build_chain(t, cache, addr, at, level, chain))
			return -SAMARA_ENOMEM;
		page = table_lock(t, branch);
		if (LIKELY(!*branch)) {
			build_count(&t->pages, at - level);
			STORE(page->used, page->used + 1);
			STORE_RELEASE(*branch, build_branch(t, chain[0]));
			table_unlock(t, page);
		} else {
			/* somebody was faster: look again at what he built */
			table_unlock(t, page);
			build_drop_chain(t, cache, addr, at, at - level, chain);
		}
	}
	*slot = entries + level_index(addr, level);
	return 0;
}

SAMARA_INTERNAL void table_install(struct table *t, struct frame *page, uint64_t *slot, unsigned level, uint64_t entry)
{
	uint64_t old = *slot, rights = t->format.write | t->format.user | t->format.exec;

	ASSERT(page->level == level && page->owner == t && LOAD(page->lock) && entry);
	if (!old) {
		STORE(page->used, page->used + 1);
	} else if (entry_present(old)) {
		/* only more rights, and accessed and dirty bits stay */
		ASSERT(entry_leaf(t, old, level) && !((old ^ entry) & t->format.pfn_mask));
		ASSERT(!((old ^ t->format.inverted) & ~(entry ^ t->format.inverted) & rights));
		if (t->hardware) {
			uint64_t marks = t->format.accessed | t->format.dirty;

			while (!__atomic_compare_exchange_n(slot, &old, entry | (old & marks), false, __ATOMIC_RELEASE,
							    __ATOMIC_RELAXED))
				;
			return;
		}
	}
	ASSERT(level == 0 || (entry_leaf(t, entry, level) && level <= TABLE_LEAF_LEVEL_MAX &&
			      !(entry_pfn(t, entry) & ((level_bytes(level) >> FRAME_SHIFT) - 1))));
	if (level && !old)
		build_count(&t->huge, 1);
	STORE_RELEASE(*slot, entry);
}

SAMARA_INTERNAL int table_split(struct table_gather *g, uint64_t addr, unsigned level)
{
	struct table *t = g->table;
	struct frame *child = build_page(t, g->cache, level - 1), *page;
	struct table_spot spot = table_walk(t, addr);
	uint64_t *entries, seen, step = table_pfn_bits(t, level_bytes(level - 1) >> FRAME_SHIFT);

	if (!child)
		return -SAMARA_ENOMEM;
	entries = frame_host(t->frames, child);
	page = table_lock(t, spot.slot);
	seen = LOAD(*spot.slot);
	if (spot.level != level || !entry_leaf(t, seen, level)) {
		table_unlock(t, page);
		frame_put_zero(t->frames, g->cache, child);
		return 0;
	}
	addr &= ~(level_bytes(level) - 1);
	child->used = TABLE_ENTRIES;
	/* the counts first: once the small entries can be found, somebody may take one away */
	if (g->sink->split)
		g->sink->split(g->sink->self, addr, seen, level);
	do { /* again when hardware marked it meanwhile */
		uint64_t small = level == 1 ? seen & ~t->format.huge_bits : seen;

		for (unsigned i = 0; i < TABLE_ENTRIES; i++)
			entries[i] = small + i * step;
	} while (!__atomic_compare_exchange_n(spot.slot, &seen, build_branch(t, child), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	build_count(&t->pages, 1);
	build_count(&t->huge, level == 1 ? (uint32_t)-1 : TABLE_ENTRIES - 1);
	table_unlock(t, page);
	/* the translations are the same; that two sizes of one page are cached at once is what some hardware forbids */
	g->start = MIN(g->start, addr);
	g->end = MAX(g->end, addr + level_bytes(level));
	return 0;
}
