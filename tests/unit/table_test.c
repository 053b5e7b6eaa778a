/* table_test.c - core/table: all four formats against an array of pages, with a translation cache that is only ever
 * emptied by invalidate(), every allocation failed in turn, nothing left at the end. */
#include "core/table/table.h"
#include "tests/unit/support.h"

#define FRAMES 8192u
#define PAGES 4096u                          /* the model's window: eight pages of leaves */
#define BASE (((uint64_t)1 << 30) - (8 << 20)) /* half of it on each side of a GiB */
#define OUTSIDE ((uint64_t)1 << 20)          /* frame numbers of device memory */
#define RIGHTS (TABLE_WRITE | TABLE_EXEC | TABLE_USER)
#define WINDOW_END (BASE + PAGES * FRAME_BYTES)

struct ground {
	struct sim sim;
	struct frames frames;
	void *memory;
	struct table table;
	struct table_sink sink;
	struct table_change changes[64];
	struct table_gather gather;
	uint64_t cached[PAGES]; /* what a TLB may hold: leaves as they were for 4 KiB, 0: nothing */
	uint64_t model[PAGES];  /* the leaf cut to 4 KiB, a software entry, or 0 */
	uint64_t gone;          /* entries that `changed` reported as gone */
	unsigned splits;
};

static uint64_t dice(struct ground *w, uint64_t sides)
{
	return (w->sim.port.random(&w->sim) >> 11) % sides;
}

static void sink_invalidate(void *self, uint64_t start, uint64_t end)
{
	struct ground *w = self;

	assert_true(start < end);
	for (unsigned i = 0; i < PAGES; i++)
		if (BASE + i * FRAME_BYTES >= start && BASE + i * FRAME_BYTES < end)
			w->cached[i] = 0;
}

static void sink_changed(void *self, const struct table_change *changes, unsigned count)
{
	struct ground *w = self;

	for (unsigned n = 0; n < count; n++) {
		uint64_t addr = changes[n].addr & ~(uint64_t)TABLE_CHANGE_BITS, old = changes[n].old;
		unsigned level = changes[n].addr & TABLE_CHANGE_LEVEL;

		if (changes[n].addr & (TABLE_CHANGE_KEPT | TABLE_CHANGE_MOVED)) {
			assert_true(w->sink.journal);
			continue;
		}
		w->gone++;
		if (!entry_present(old))
			continue;
		/* nobody can use the frame any more */
		for (uint64_t i = 0; i < level_bytes(level) >> FRAME_SHIFT; i++)
			if (addr >= BASE && (addr - BASE) / FRAME_BYTES + i < PAGES)
				assert_int_equal(w->cached[(addr - BASE) / FRAME_BYTES + i], 0);
		if (pfn_in_span(&w->frames, entry_pfn(&w->table, old)))
			frame_unmap(&w->frames, w->gather.cache, entry_frame(&w->table, old));
	}
}

static void sink_split(void *self, uint64_t addr, uint64_t old, unsigned level)
{
	struct ground *w = self;

	assert_int_equal(addr & (level_bytes(level) - 1), 0);
	if (pfn_in_span(&w->frames, entry_pfn(&w->table, old)))
		frame_block_split(entry_frame(&w->table, old), 9 * (level - 1));
	w->splits++;
}

static void ground_gather(struct ground *w, unsigned max)
{
	gather_begin(&w->gather, &w->table, &w->sink, w->changes, max, 0);
}

static void ground_open(struct ground *w, enum table_kind kind, bool hardware, bool journal)
{
	struct frames_config config = { .count = FRAMES, .first_pfn = 512, .caches = 2 };

	memset(w, 0, sizeof(*w));
	sim_init(&w->sim);
	config.base = w->memory = aligned_alloc((size_t)2 << 20, FRAMES * FRAME_BYTES);
	assert_non_null(w->memory);
	memset(w->memory, 0xcc, FRAMES * FRAME_BYTES);
	assert_int_equal(frames_init(&w->frames, &w->sim.port, &config), 0);
	w->sink = (struct table_sink){ w, sink_invalidate, sink_changed, sink_split, journal };
	assert_int_equal(table_init(&w->table, &w->frames, kind, hardware, 0), 0);
	ground_gather(w, ARRAY_SIZE(w->changes));
}

static void ground_close(struct ground *w)
{
	ground_gather(w, 7);
	assert_int_equal(table_unmap(&w->gather, 0, table_span(&w->table), 0, UINT64_MAX), 0);
	gather_flush(&w->gather);
	assert_int_equal(table_check(&w->table), 0);
	assert_int_equal(w->table.pages, 1);
	assert_int_equal(w->table.huge, 0);
	table_fini(&w->table, 0);
	sim_quiesce(&w->sim); /* pages that waited for readers */
	assert_true(frames_drain(&w->frames));
	assert_int_equal(frames_check(&w->frames, NULL), 0);
	assert_int_equal(frames_free(&w->frames), FRAMES);
	frames_fini(&w->frames);
	assert_int_equal(w->sim.live_blocks, 0);
	free(w->memory);
}

/* What a walk finds, as a leaf of 4 KiB. */
static uint64_t small_entry(const struct table *t, uint64_t addr)
{
	struct table_spot spot = table_walk(t, addr);

	if (!spot.level || !entry_present(spot.entry))
		return spot.entry;
	return entry_make(t, entry_pfn(t, spot.entry) + ((addr & (level_bytes(spot.level) - 1)) >> FRAME_SHIFT),
		entry_rights(t, spot.entry), 0);
}

static void ground_verify(struct ground *w, bool cache)
{
	const struct table *t = &w->table;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t entry = small_entry(t, BASE + i * FRAME_BYTES), was = w->cached[i];

		if (entry != w->model[i])
			fail_msg("page %u: %llx, not %llx", i, (unsigned long long)entry, (unsigned long long)w->model[i]);
		/* a translation that was not invalidated may say less than the table, never more */
		if (was) {
			assert_true(entry_present(entry));
			assert_int_equal(entry_pfn(t, was), entry_pfn(t, entry));
			assert_int_equal(entry_rights(t, was) & RIGHTS & ~entry_rights(t, entry), 0);
		}
		if (cache)
			w->cached[i] = entry_present(entry) ? entry : 0;
	}
}

static uint64_t leaf_with(const struct table *t, uint64_t entry, unsigned add, unsigned drop)
{
	return entry_make(t, entry_pfn(t, entry), (entry_rights(t, entry) | add) & ~drop, 0);
}

static int put_page(struct ground *w, unsigned i, unsigned rights)
{
	struct frame *frame = frame_alloc(&w->frames, 1, FRAME_ANON, w, false), *page;
	uint64_t *slot;
	int err;

	if (!frame)
		return -SAMARA_ENOMEM;
	err = table_ensure(&w->table, 1, BASE + i * FRAME_BYTES, 0, &slot);
	if (err) {
		frame_put(&w->frames, 1, frame);
		return err;
	}
	page = table_lock(&w->table, slot);
	w->model[i] = entry_make(&w->table, frame_pfn(&w->frames, frame), rights, 0);
	frame_map_own(&w->frames, frame);
	table_install(&w->table, page, slot, 0, w->model[i]);
	table_unlock(&w->table, page);
	return 0;
}

static void put_entry(struct ground *w, unsigned i, uint64_t entry)
{
	uint64_t *slot;
	struct frame *page;

	assert_int_equal(table_ensure(&w->table, 0, BASE + i * FRAME_BYTES, 0, &slot), 0);
	page = table_lock(&w->table, slot);
	table_install(&w->table, page, slot, 0, entry);
	table_unlock(&w->table, page);
	w->model[i] = entry;
}

/* A huge leaf of 2 MiB at a place where nothing is. */
static void put_huge(struct ground *w, unsigned i, uint64_t pfn, unsigned rights)
{
	uint64_t addr = BASE + i * FRAME_BYTES, *slot;
	struct frame *page;

	assert_int_equal(table_unmap(&w->gather, addr, addr + level_bytes(1), addr, addr + level_bytes(1)), 0);
	gather_flush(&w->gather);
	assert_int_equal(table_ensure(&w->table, 0, addr, 1, &slot), 0);
	page = table_lock(&w->table, slot);
	table_install(&w->table, page, slot, 1, entry_make(&w->table, pfn, rights, 1));
	table_unlock(&w->table, page);
	for (unsigned n = 0; n < 512; n++)
		w->model[i + n] = entry_make(&w->table, pfn + n, rights, 0);
}

static int copy_each(void *self, uint64_t addr, unsigned level, uint64_t *entries, unsigned count)
{
	struct ground *w = self;

	(void)addr;
	(void)level;
	for (unsigned i = 0; i < count; i++)
		if (entry_present(entries[i]) && pfn_in_span(&w->frames, entry_pfn(&w->table, entries[i])))
			frame_map(&w->frames, entry_frame(&w->table, entries[i]));
	return 0;
}

static void run_fork(struct ground *w, enum table_kind kind, bool private)
{
	struct table child;
	struct table_gather gather;
	struct table_change changes[16];
	struct table_sink sink = { w, NULL, sink_changed, NULL, false };
	static uint64_t cached[PAGES];

	if (table_init(&child, &w->frames, kind, false, 0))
		fail();
	assert_int_equal(table_copy(&child, &w->gather, BASE, WINDOW_END, private, copy_each, w), 0);
	gather_flush(&w->gather);
	for (unsigned i = 0; i < PAGES; i++) {
		if (private && entry_present(w->model[i]))
			w->model[i] = leaf_with(&w->table, w->model[i], 0, TABLE_WRITE | TABLE_OWN);
		if (small_entry(&child, BASE + i * FRAME_BYTES) != w->model[i])
			fail_msg("child page %u", i);
	}
	assert_int_equal(table_check(&child), 0);
	assert_int_equal(child.huge, w->table.huge);
	/* the child's frames go; the parent's cache of translations has nothing to do with it */
	memcpy(cached, w->cached, sizeof(cached));
	memset(w->cached, 0, sizeof(w->cached));
	gather_begin(&gather, &child, &sink, changes, ARRAY_SIZE(changes), 0);
	assert_int_equal(table_unmap(&gather, BASE, WINDOW_END, 0, UINT64_MAX), 0);
	gather_flush(&gather);
	memcpy(w->cached, cached, sizeof(cached));
	assert_int_equal(child.pages, 1);
	table_fini(&child, 0);
}

static void run_move(struct ground *w)
{
	unsigned n = 1 + (unsigned)dice(w, PAGES / 2), from = (unsigned)dice(w, PAGES - 2 * n + 1), to;
	uint64_t addr;

	if (dice(w, 2)) { /* whole tables */
		n = 512 * (1 + (unsigned)dice(w, 3));
		from = 512 * (unsigned)dice(w, (PAGES - 2 * n) / 512 + 1);
	}
	to = from + n + (unsigned)dice(w, PAGES - 2 * n - from + 1);
	if (dice(w, 2) && from % 512 == 0)
		to &= ~511u;
	if (to < from + n)
		to = from + n;
	if (dice(w, 2)) {
		unsigned swap = from;

		from = to, to = swap;
	}
	addr = BASE + to * FRAME_BYTES;
	assert_int_equal(table_unmap(&w->gather, addr, addr + n * FRAME_BYTES, addr, addr + n * FRAME_BYTES), 0);
	gather_flush(&w->gather);
	assert_int_equal(table_move(&w->gather, BASE + from * FRAME_BYTES, addr, n * FRAME_BYTES), 0);
	gather_flush(&w->gather);
	memcpy(w->model + to, w->model + from, n * sizeof(w->model[0]));
	memset(w->model + from, 0, n * sizeof(w->model[0]));
}

static void step(struct ground *w, enum table_kind kind)
{
	struct table *t = &w->table;
	unsigned i = (unsigned)dice(w, PAGES), n = 1 + (unsigned)dice(w, dice(w, 2) ? 12 : PAGES), rights;
	uint64_t start, end, what = dice(w, 100);

	n = MIN(n, PAGES - i);
	start = BASE + i * FRAME_BYTES;
	end = start + n * FRAME_BYTES;
	rights = (unsigned)dice(w, 64);
	if (what < 45) {
		for (n = MIN(n, 20); n; n--, i++) {
			if (!w->model[i])
				assert_int_equal(put_page(w, i, rights), 0);
			else if (entry_present(w->model[i]) && table_walk(t, BASE + i * FRAME_BYTES).level == 0)
				put_entry(w, i, leaf_with(t, w->model[i], rights, 0));
		}
	} else if (what < 50) {
		if (!w->model[i])
			put_entry(w, i, (dice(w, 1000) + 1) << 12 | 2);
	} else if (what < 55) {
		put_huge(w, i & ~511u, OUTSIDE + 512 * dice(w, 100), rights);
	} else if (what < 68) {
		bool all = dice(w, 2), none = dice(w, 2);

		assert_int_equal(table_unmap(&w->gather, start, end, none ? 0 : all ? BASE : start,
			none ? 0 : all ? WINDOW_END : end), 0);
		memset(w->model + i, 0, n * sizeof(w->model[0]));
	} else if (what < 80) {
		bool everywhere = dice(w, 4) == 0;

		assert_int_equal(table_protect(&w->gather, start, end, rights, 0, everywhere), 0);
		for (; n; n--, i++) {
			bool writable = (rights & TABLE_WRITE) && (everywhere || (entry_rights(t, w->model[i]) & TABLE_OWN));

			if (entry_present(w->model[i]))
				w->model[i] = leaf_with(t, w->model[i], (rights & (TABLE_USER | TABLE_EXEC)) |
					(writable ? TABLE_WRITE : 0), ~rights & RIGHTS);
		}
	} else if (what < 88) {
		assert_int_equal(table_drop_bits(&w->gather, start, end, rights), 0);
		for (; n; n--, i++)
			if (entry_present(w->model[i]))
				w->model[i] = leaf_with(t, w->model[i], 0, rights);
	} else if (what < 94) {
		struct table_spot spot = table_walk(t, start);

		if (spot.entry && spot.level == 0) {
			struct frame *page = table_lock(t, spot.slot);

			if (dice(w, 2)) {
				assert_int_equal(table_clear_one(&w->gather, spot.slot, start, 0), spot.entry);
				w->model[i] = 0;
			} else {
				assert_int_equal(table_drop_one(&w->gather, spot.slot, start, 0, rights), spot.entry);
				if (entry_present(spot.entry))
					w->model[i] = leaf_with(t, spot.entry, 0, rights);
			}
			table_unlock(t, page);
		}
	} else if (what < 97) {
		run_move(w);
	} else {
		run_fork(w, kind, dice(w, 2));
	}
	gather_flush(&w->gather);
}

static void run_model(enum table_kind kind)
{
	for (unsigned round = 0; round < 4; round++) {
		struct ground *w = malloc(sizeof(*w));

		assert_non_null(w);
		ground_open(w, kind, round & 1, round & 2);
		for (unsigned n = 0; n < 1500; n++) {
			ground_gather(w, 1 + (unsigned)dice(w, ARRAY_SIZE(w->changes)));
			step(w, kind);
			ground_verify(w, dice(w, 2));
			assert_int_equal(table_check(&w->table), 0);
			if (n % 100 == 0)
				assert_int_equal(frames_check(&w->frames, NULL), 0);
		}
		assert_int_equal(frames_owned(&w->frames, FRAME_TABLE, &w->table), w->table.pages);
		assert_true(w->splits > 0 && w->gone > 0 && w->table.generation > 0);
		ground_close(w);
		free(w);
	}
}

static void test_x86_4(void **state) { (void)state; run_model(TABLE_X86_4); }
static void test_x86_5(void **state) { (void)state; run_model(TABLE_X86_5); }
static void test_sv39(void **state) { (void)state; run_model(TABLE_SV39); }
static void test_sv48(void **state) { (void)state; run_model(TABLE_SV48); }

/* The bits as the manuals have them. */
static void test_formats(void **state)
{
	struct table t = { .format = *table_format(TABLE_X86_4) };

	(void)state;
	assert_true(entry_make(&t, 0x12345, TABLE_WRITE | TABLE_USER, 0) == 0x8000000012345007ull);
	assert_true(entry_make(&t, 0x200, TABLE_EXEC | TABLE_DIRTY | TABLE_ACCESSED, 1) == 0x2000e1ull);
	assert_true(table_pkey_bits(&t, 15) == 15ull << 59);
	t.format = *table_format(TABLE_SV39);
	assert_true(entry_make(&t, 0x12345, TABLE_WRITE | TABLE_USER, 0) == (0x12345ull << 10 | 0x17));
	assert_true(entry_make(&t, 0x200, TABLE_EXEC | TABLE_DIRTY | TABLE_ACCESSED, 1) == (0x200ull << 10 | 0xcb));
	assert_true(table_span(&t) == 1ull << 39);
	for (unsigned kind = 0; kind < TABLE_FORMATS; kind++) {
		t.format = *table_format(kind);
		for (unsigned rights = 0; rights < 64; rights++) {
			for (unsigned level = 0; level < 3; level++) {
				uint64_t entry = entry_make(&t, (uint64_t)level << 18, rights, level);

				assert_int_equal(entry_rights(&t, entry), rights);
				assert_int_equal(entry_pfn(&t, entry), (uint64_t)level << 18);
				assert_true(entry_leaf(&t, entry, level) && !entry_branch(&t, entry, level));
			}
		}
		assert_true(entry_branch(&t, t.format.branch_bits | table_pfn_bits(&t, 77), 1));
	}
}

/* A GiB in one leaf is cut where an unmap needs it; what is left translates as before. */
static void test_gigabyte(void **state)
{
	struct ground *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (unsigned kind = 0; kind < TABLE_FORMATS; kind++) {
		const uint64_t giga = (uint64_t)1 << 30, at = 5 * giga, hole = at + 3 * FRAME_BYTES + (100 << 20);
		uint64_t *slot;
		struct frame *page;

		ground_open(w, kind, kind & 1, false);
		assert_int_equal(table_ensure(&w->table, 0, at, 2, &slot), 0);
		page = table_lock(&w->table, slot);
		table_install(&w->table, page, slot, 2, entry_make(&w->table, OUTSIDE, RIGHTS, 2));
		table_unlock(&w->table, page);
		assert_int_equal(table_ensure(&w->table, 0, at + 4096, 0, &slot), -SAMARA_EEXIST);
		assert_int_equal(table_unmap(&w->gather, hole, hole + FRAME_BYTES, 0, 0), 0);
		gather_flush(&w->gather);
		assert_int_equal(w->table.huge, 511);
		assert_int_equal(w->splits, 2);
		assert_int_equal(table_check(&w->table), 0);
		for (uint64_t addr = at; addr < at + giga; addr += addr == hole ? 4096 : 4096 * 33) {
			uint64_t entry = small_entry(&w->table, addr);

			if (addr == hole)
				assert_int_equal(entry, 0);
			else
				assert_int_equal(entry_pfn(&w->table, entry), OUTSIDE + ((addr - at) >> 12));
		}
		assert_int_equal(small_entry(&w->table, hole), 0);
		/* all of it elsewhere: one entry of the page above */
		assert_int_equal(table_move(&w->gather, at, at + 3 * giga, giga), 0);
		gather_flush(&w->gather);
		assert_int_equal(w->splits, 2);
		assert_int_equal(table_walk(&w->table, at).entry, 0);
		assert_int_equal(entry_pfn(&w->table, small_entry(&w->table, at + 3 * giga + 8192)), OUTSIDE + 2);
		assert_int_equal(table_check(&w->table), 0);
		ground_close(w);
	}
	free(w);
}

/* A huge page of real frames: split by a partial unmap, every frame comes back. */
static void test_huge_frames(void **state)
{
	struct ground *w = malloc(sizeof(*w));
	struct frame *head;

	(void)state;
	assert_non_null(w);
	ground_open(w, TABLE_X86_4, false, false);
	head = frame_alloc_block(&w->frames, 9, FRAME_ANON, w, true);
	assert_non_null(head);
	frame_map_own(&w->frames, head);
	put_huge(w, 512, frame_pfn(&w->frames, head), RIGHTS);
	assert_int_equal(table_unmap(&w->gather, BASE + 600 * FRAME_BYTES, BASE + 700 * FRAME_BYTES, 0, 0), 0);
	gather_flush(&w->gather);
	assert_int_equal(frames_owned(&w->frames, FRAME_ANON, w), 412);
	assert_int_equal(table_check(&w->table), 0);
	assert_int_equal(frames_check(&w->frames, NULL), 0);
	ground_close(w);
	free(w);
}

static int count_each(void *self, uint64_t addr, unsigned level, const uint64_t *entries, unsigned count)
{
	uint64_t *sum = self;

	(void)addr;
	for (unsigned i = 0; i < count; i++)
		*sum += entry_present(entries[i]) ? level_bytes(level) >> FRAME_SHIFT : 0;
	return *sum > 1000 ? -SAMARA_EINVAL : 0;
}

static void test_each(void **state)
{
	struct ground *w = malloc(sizeof(*w));
	uint64_t sum = 0;

	(void)state;
	assert_non_null(w);
	ground_open(w, TABLE_X86_4, false, false);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(put_page(w, 500 + i, RIGHTS), 0);
	put_huge(w, 1024, OUTSIDE, RIGHTS);
	assert_int_equal(table_each(&w->table, 0, table_span(&w->table), count_each, &sum), 0);
	assert_int_equal(sum, 552);
	sum = 990;
	assert_int_equal(table_each(&w->table, 0, table_span(&w->table), count_each, &sum), -SAMARA_EINVAL);
	ground_close(w);
	free(w);
}

/* -- every allocation fails in turn: exactly `left` frames are to be had -- */

static struct frame *hoard_all(struct ground *w, unsigned left)
{
	struct frame *list = NULL, *frame;

	while ((frame = frame_alloc(&w->frames, 0, FRAME_EMBEDDER, w, false)) != NULL) {
		frame->next = list;
		list = frame;
	}
	for (; left; left--) {
		frame = list;
		list = frame->next;
		frame_put(&w->frames, 0, frame);
	}
	return list;
}

static void hoard_end(struct ground *w, struct frame *list)
{
	while (list) {
		struct frame *next = list->next;

		frame_put(&w->frames, 0, list);
		list = next;
	}
}

enum scene { SCENE_FAULT, SCENE_UNMAP, SCENE_PROTECT, SCENE_MOVE, SCENE_MOVE_HUGE, SCENE_FORK, SCENES };

/* One try with `left` frames.  Returns the error. */
static int scene_try(struct ground *w, enum table_kind kind, enum scene scene, unsigned left)
{
	struct frame *hoard;
	struct table child;
	uint64_t pages, free_before, far = 600ull << 21;
	int err = -1;

	ground_open(w, kind, false, false);
	for (unsigned i = 500; i < 530; i++)
		assert_int_equal(put_page(w, i, RIGHTS), 0);
	for (unsigned i = 2040; i < 2060; i++)
		assert_int_equal(put_page(w, i, RIGHTS), 0);
	put_huge(w, 1024, OUTSIDE, RIGHTS);
	put_huge(w, 2560, OUTSIDE + 512, RIGHTS);
	if (scene == SCENE_FORK)
		assert_int_equal(table_init(&child, &w->frames, kind, false, 0), 0);
	ground_verify(w, true);
	hoard = hoard_all(w, left);
	pages = w->table.pages;
	free_before = frames_free(&w->frames);
	assert_int_equal(free_before, left);
	switch (scene) {
	case SCENE_FAULT: {
		uint64_t *slot;

		err = table_ensure(&w->table, 0, table_span(&w->table) / 2 - 4096, 0, &slot);
		break;
	}
	case SCENE_UNMAP:
		err = table_unmap(&w->gather, BASE + 1030 * FRAME_BYTES, BASE + 2561 * FRAME_BYTES, 0, 0);
		if (!err)
			memset(w->model + 1030, 0, 1531 * sizeof(w->model[0]));
		break;
	case SCENE_PROTECT:
		err = table_protect(&w->gather, BASE + 1030 * FRAME_BYTES, BASE + 2561 * FRAME_BYTES, 0, 0, false);
		for (unsigned i = 1030; !err && i < 2561; i++)
			if (w->model[i])
				w->model[i] = leaf_with(&w->table, w->model[i], 0, RIGHTS);
		break;
	case SCENE_MOVE: /* not aligned alike: leaf by leaf, the huge one is cut */
		err = table_move(&w->gather, BASE + 500 * FRAME_BYTES, far + 3 * FRAME_BYTES, 1560 * FRAME_BYTES);
		break;
	case SCENE_MOVE_HUGE:
		err = table_move(&w->gather, BASE, far, PAGES * FRAME_BYTES);
		break;
	case SCENE_FORK:
		err = table_copy(&child, &w->gather, BASE, WINDOW_END, false, copy_each, w);
		break;
	default:
		break;
	}
	gather_flush(&w->gather);
	assert_true(err == 0 || err == -SAMARA_ENOMEM);
	assert_int_equal(table_check(&w->table), 0);
	assert_int_equal(frames_check(&w->frames, NULL), 0);
	if (scene == SCENE_FAULT && err) {
		assert_int_equal(w->table.pages, pages);
		assert_int_equal(frames_free(&w->frames), free_before);
	}
	if (scene == SCENE_FORK) {
		struct table_gather gather;

		assert_int_equal(table_check(&child), 0);
		memset(w->cached, 0, sizeof(w->cached));
		gather_begin(&gather, &child, &w->sink, w->changes, 5, 0);
		assert_int_equal(table_unmap(&gather, 0, table_span(&child), 0, UINT64_MAX), 0);
		gather_flush(&gather);
		table_fini(&child, 0);
		sim_quiesce(&w->sim);
		assert_int_equal(frames_free(&w->frames), free_before + 1);
	}
	if (!err && (scene == SCENE_MOVE || scene == SCENE_MOVE_HUGE)) {
		unsigned first = scene == SCENE_MOVE ? 500 : 0, n = scene == SCENE_MOVE ? 1560 : PAGES;
		uint64_t to = scene == SCENE_MOVE ? far + 3 * FRAME_BYTES : far;

		for (unsigned i = 0; i < n; i++)
			assert_true(small_entry(&w->table, to + i * FRAME_BYTES) == w->model[first + i]);
		assert_int_equal(w->splits != 0, scene == SCENE_MOVE);
		memset(w->model + first, 0, n * sizeof(w->model[0]));
	}
	ground_verify(w, false); /* after an error: all as it was */
	hoard_end(w, hoard);
	ground_close(w);
	return err;
}

static void test_exhausted(void **state)
{
	struct ground *w = malloc(sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (unsigned kind = 0; kind < TABLE_FORMATS; kind++) {
		for (unsigned scene = 0; scene < SCENES; scene++) {
			unsigned left = 0;

			while (scene_try(w, kind, scene, left))
				assert_true(++left < 50);
			assert_true(left > 0 || scene == SCENE_MOVE_HUGE);
		}
	}
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats), cmocka_unit_test(test_x86_4), cmocka_unit_test(test_x86_5),
		cmocka_unit_test(test_sv39), cmocka_unit_test(test_sv48), cmocka_unit_test(test_gigabyte),
		cmocka_unit_test(test_huge_frames), cmocka_unit_test(test_each), cmocka_unit_test(test_exhausted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
