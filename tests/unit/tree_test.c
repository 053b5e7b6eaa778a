/* tree_test.c - the maple tree against a naive model, a sorted array of ranges.
 *
 * Every random run is seeded and repeats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/tree/tree.h"

/* -- a port that counts, and fails on demand -- */

struct test_port {
	struct samara_port port;
	long live_blocks, live_bytes;
	long fail_in; /* the n-th allocation from now fails; 0: none does */
	long calls;
};

static void *counted_alloc(void *self, size_t bytes)
{
	struct test_port *test = self;
	void *memory;

	test->calls++;
	if (test->fail_in && --test->fail_in == 0)
		return NULL;
	if (posix_memalign(&memory, 64, bytes))
		return NULL;
	memset(memory, 0xa5, bytes);
	test->live_blocks++;
	test->live_bytes += (long)bytes;
	return memory;
}

static void counted_free(void *self, void *memory, size_t bytes)
{
	struct test_port *test = self;

	memset(memory, 0x5a, bytes);
	test->live_blocks--;
	test->live_bytes -= (long)bytes;
	free(memory);
}

static void test_port_init(struct test_port *test)
{
	*test = (struct test_port){ .port = { .size = sizeof(test->port), .self = test, .alloc = counted_alloc,
					      .free = counted_free } };
}

static void assert_sound(const struct tree *tree)
{
	const char *broken = tree_check(tree);

	if (broken)
		fail_msg("%s", broken);
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return (random_next(state) >> 20) % limit;
}

/* -- the model -- */

struct model {
	struct tree_entry *at;
	size_t count, room;
};

/* The first entry that ends after `index`. */
static size_t model_after(const struct model *model, uint64_t index)
{
	size_t low = 0, high = model->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (model->at[middle].end > index)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void model_store(struct model *model, uint64_t start, uint64_t end, void *value)
{
	size_t from = model_after(model, start), to = from, pieces = 0, after;
	struct tree_entry piece[3];

	while (to < model->count && model->at[to].start < end)
		to++;
	if (to > from && model->at[from].start < start)
		piece[pieces++] = (struct tree_entry){ model->at[from].start, start, model->at[from].value };
	if (value)
		piece[pieces++] = (struct tree_entry){ start, end, value };
	if (to > from && model->at[to - 1].end > end)
		piece[pieces++] = (struct tree_entry){ end, model->at[to - 1].end, model->at[to - 1].value };
	after = model->count - (to - from) + pieces;
	if (after + 4 > model->room) {
		model->room = after * 2 + 16;
		model->at = realloc(model->at, model->room * sizeof(*model->at));
		assert_non_null(model->at);
	}
	memmove(model->at + from + pieces, model->at + to, (model->count - to) * sizeof(*model->at));
	memcpy(model->at + from, piece, pieces * sizeof(*piece));
	model->count = after;
}

static bool model_gap(const struct model *model, uint64_t low, uint64_t high, uint64_t size, bool highest,
		      struct tree_entry *gap)
{
	bool found = false;

	for (size_t i = 0; i <= model->count; i++) {
		uint64_t start = i ? model->at[i - 1].end : 0;
		uint64_t end = i < model->count ? model->at[i].start : UINT64_MAX;

		start = MAX(start, low);
		end = MIN(end, high);
		if (start < end && end - start >= size) {
			*gap = (struct tree_entry){ start, end, NULL };
			found = true;
			if (!highest)
				return true;
		}
	}
	return found;
}

static void assert_entry(struct tree_entry got, const struct model *model, size_t slot)
{
	if (slot >= model->count) {
		assert_null(got.value);
		return;
	}
	assert_true(got.start == model->at[slot].start);
	assert_true(got.end == model->at[slot].end);
	assert_ptr_equal(got.value, model->at[slot].value);
}

static void compare_at(const struct tree *tree, const struct model *model, uint64_t index)
{
	size_t slot = model_after(model, index);
	bool inside = slot < model->count && model->at[slot].start <= index;
	void *value = inside ? model->at[slot].value : NULL;
	struct tree_entry prev, next;

	assert_ptr_equal(tree_get(tree, index), value);
	assert_ptr_equal(tree_get(tree, index), value);
	assert_ptr_equal(tree_lookup(tree, index), value);
	assert_entry(tree_ceiling(tree, index), model, slot);
	tree_around(tree, index, &prev, &next);
	assert_entry(next, model, slot);
	assert_entry(prev, model, slot ? slot - 1 : SIZE_MAX);
	assert_entry(tree_floor(tree, index), model, inside ? slot : slot ? slot - 1 : SIZE_MAX);
}

static void compare_gap(const struct tree *tree, const struct model *model, uint64_t low, uint64_t high, uint64_t size)
{
	struct tree_entry got = { 1, 2, NULL }, want = { 3, 4, NULL };

	for (int highest = 0; highest < 2; highest++) {
		bool expect = model_gap(model, low, high, size, highest, &want);
		bool found = highest ? tree_gap_highest(tree, low, high, size, &got) :
				       tree_gap_lowest(tree, low, high, size, &got);

		assert_int_equal(found, expect);
		if (found) {
			assert_true(got.start == want.start);
			assert_true(got.end == want.end);
		}
	}
}

static void compare_all(const struct tree *tree, const struct model *model)
{
	struct tree_iter iter;
	size_t slot = 0;

	assert_sound(tree);
	assert_int_equal(tree_count(tree), model->count);
	assert_int_equal(tree_is_empty(tree), model->count == 0);
	tree_iter_init(&iter, tree, 0);
	while (tree_iter_next(&iter))
		assert_entry(iter.at, model, slot++);
	assert_int_equal(slot, model->count);
	while (tree_iter_prev(&iter))
		assert_entry(iter.at, model, --slot);
	assert_int_equal(slot, 0);
}

static void *tag(uint64_t number)
{
	return (void *)(uintptr_t)((number << 4) + 16);
}

static void finish(struct tree *tree, const struct test_port *test, struct model *model)
{
	tree_destroy(tree);
	assert_int_equal(test->live_blocks, 0);
	free(model->at);
}

/* -- the tests -- */

struct shape {
	uint64_t span, unit, longest;
	unsigned erase; /* of 100 stores */
	unsigned wide; /* of 1000 stores: many entries at once */
	long operations;
	unsigned reserve;
};

static void run_random(const struct shape *shape, uint64_t seed)
{
	struct test_port test;
	struct model model = { NULL, 0, 0 };
	struct tree tree;

	test_port_init(&test);
	tree_init(&tree, &test.port);
	for (long i = 0; i < shape->operations; i++) {
		uint64_t length = (1 + random_below(&seed, shape->longest)) * shape->unit;
		uint64_t start = random_below(&seed, shape->span) * shape->unit, index;
		void *value = random_below(&seed, 100) < shape->erase ? NULL : tag((uint64_t)i);

		if (random_below(&seed, 1000) < shape->wide)
			length = (1 + random_below(&seed, shape->span / 3 + 1)) * shape->unit;
		if (start + length < start)
			length = UINT64_MAX - start;
		assert_int_equal(tree_reserve(&tree, shape->reserve), 0);
		test.fail_in = 1; /* reserved: nothing may be allocated */
		tree_store(&tree, start, start + length, value);
		test.fail_in = 0;
		model_store(&model, start, start + length, value);
		index = start + random_below(&seed, length + 2 * shape->unit) - shape->unit;
		compare_at(&tree, &model, index);
		if (i % 16 == 0)
			compare_at(&tree, &model, random_below(&seed, shape->span + 2) * shape->unit);
		if (i % 64 == 0)
			assert_sound(&tree);
		if (i % 256 == 0) {
			uint64_t low = random_below(&seed, shape->span) * shape->unit;

			compare_gap(&tree, &model, 0, UINT64_MAX, 1 + random_below(&seed, shape->span) * shape->unit);
			compare_gap(&tree, &model, low, low + random_below(&seed, shape->span) * shape->unit,
				    1 + random_below(&seed, shape->longest * 4) * shape->unit);
			compare_gap(&tree, &model, low, UINT64_MAX, shape->unit);
			compare_gap(&tree, &model, 0, low, 1 + random_below(&seed, shape->longest) * shape->unit);
		}
		if (i % 4096 == 0) {
			compare_all(&tree, &model);
			tree_trim(&tree);
			assert_int_equal(tree_bytes(&tree, NULL), test.live_bytes);
		}
	}
	compare_all(&tree, &model);
	/* Empty it again in pieces, in random order: everything collapses. */
	while (model.count) {
		size_t slot = random_below(&seed, model.count);
		struct tree_entry entry = model.at[slot];

		assert_int_equal(tree_reserve(&tree, 1), 0);
		tree_store(&tree, entry.start, entry.end, NULL);
		model_store(&model, entry.start, entry.end, NULL);
		if (model.count % (model.count > 1000 ? 1024 : 32) == 0)
			compare_all(&tree, &model);
	}
	compare_all(&tree, &model);
	finish(&tree, &test, &model);
}

static void test_random_small(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 120; seed++)
		run_random(&(struct shape){ 60, 4096, 8, 30, 20, 2000, 1 }, seed);
}

static void test_random_shapes(void **state)
{
	static const struct shape shapes[] = {
		{ 20000, 4096, 4, 30, 1, 150000, 1 }, { 20000, 4096, 4, 55, 0, 150000, 3 },
		{ 20000, 1, 12, 45, 2, 150000, 2 },
		/* Packed and wide leaves side by side. */
		{ 1ull << 44, 1ull << 20, 3, 40, 1, 100000, 1 }, { 1ull << 40, 4096, 1ull << 20, 30, 1, 100000, 1 },
		{ 3000, 1ull << 50, 3, 40, 5, 100000, 1 },
		/* Three levels and more. */
		{ 1ull << 30, 4096, 4, 10, 0, 30000, 1 }, { 200000, 4096, 2, 10, 0, 60000, 1 },
		{ 200000, 4096, 2, 30, 1, 60000, 40 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		run_random(&shapes[i], 11 + i);
}

static void test_edges(void **state)
{
	struct test_port test;
	struct model model = { NULL, 0, 0 };
	struct tree tree;
	struct tree_iter iter;
	static const uint64_t edge[] = { 0, 1, 2, 63, 4096, 1ull << 32, 1ull << 63,
					 UINT64_MAX - 2, UINT64_MAX - 1, UINT64_MAX };
	uint64_t seed = 5;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	assert_true(tree_is_empty(&tree));
	assert_int_equal(test.calls, 0);
	for (size_t i = 0; i < ARRAY_SIZE(edge); i++)
		compare_at(&tree, &model, edge[i]);
	compare_gap(&tree, &model, 5, 5, 1);
	compare_gap(&tree, &model, 0, UINT64_MAX, UINT64_MAX);
	tree_iter_init(&iter, &tree, 0);
	assert_null(tree_iter_next(&iter));
	assert_null(tree_iter_prev(&iter));
	tree_store(&tree, 0, UINT64_MAX, NULL);
	for (long round = 0; round < 20000; round++) {
		size_t a = random_below(&seed, ARRAY_SIZE(edge) - 1);
		size_t b = a + 1 + random_below(&seed, ARRAY_SIZE(edge) - a - 1);
		void *value = random_below(&seed, 3) ? tag((uint64_t)round) : NULL;

		assert_int_equal(tree_reserve(&tree, 1), 0);
		tree_store(&tree, edge[a], edge[b], value);
		model_store(&model, edge[a], edge[b], value);
		for (size_t i = 0; i < ARRAY_SIZE(edge); i++)
			compare_at(&tree, &model, edge[i]);
		for (size_t i = 0; i + 1 < ARRAY_SIZE(edge); i++)
			compare_gap(&tree, &model, edge[i], UINT64_MAX, edge[a] + 1);
		compare_all(&tree, &model);
	}
	finish(&tree, &test, &model);
}

static void fill(struct tree *tree, struct model *model, uint64_t first, long step, long count)
{
	for (long i = 0; i < count; i++) {
		uint64_t start = first + (uint64_t)(i * step);

		assert_int_equal(tree_reserve(tree, 1), 0);
		tree_store(tree, start, start + 0x1000, tag((uint64_t)i));
		if (model)
			model_store(model, start, start + 0x1000, tag((uint64_t)i));
	}
	assert_sound(tree);
}

static double bytes_per_entry(const struct tree *tree)
{
	size_t reserve;

	return (double)(tree_bytes(tree, &reserve) - reserve) / (double)tree_count(tree);
}

static void test_dense(void **state)
{
	struct test_port test;
	struct tree tree;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	for (long step = -0x2000; step <= 0x2000; step += 0x4000) {
		fill(&tree, NULL, 1ull << 40, step, 100000);
		assert_true(bytes_per_entry(&tree) < 20);
		tree_destroy(&tree);
	}
	assert_int_equal(test.live_blocks, 0);
}

/* Iterate while entries vanish, appear and change under the iterator. */
static void test_iterate_and_store(void **state)
{
	struct test_port test;
	struct model model = { NULL, 0, 0 };
	struct tree tree;
	struct tree_iter iter;
	uint64_t seed = 77;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	for (int round = 0; round < 60; round++) {
		bool forward = round & 1;
		uint64_t at, end;

		fill(&tree, &model, 1ull << 30, 0x3000, 400);
		tree_iter_init(&iter, &tree, forward ? 0 : UINT64_MAX);
		at = forward ? 0 : UINT64_MAX;
		while (forward ? tree_iter_next(&iter) : tree_iter_prev(&iter)) {
			size_t slot = model_after(&model, forward ? at : 0);

			if (!forward) {
				slot = model.count;
				while (slot && model.at[slot - 1].start >= at)
					slot--;
				slot--;
			}
			assert_entry(iter.at, &model, slot);
			at = forward ? iter.at.end : iter.at.start;
			if (random_below(&seed, 3) == 0)
				continue;
			/* Around the place: the entry itself, or some of its neighbours. */
			end = iter.at.start + random_below(&seed, 8) * 0x1000 + 0x800;
			assert_int_equal(tree_reserve(&tree, 1), 0);
			if (random_below(&seed, 2)) {
				tree_store(&tree, iter.at.start - 0x1800, end, NULL);
				model_store(&model, iter.at.start - 0x1800, end, NULL);
			} else {
				void *value = tag(random_below(&seed, 1000));

				tree_store(&tree, iter.at.end + 0x800, iter.at.end + 0x900, value);
				model_store(&model, iter.at.end + 0x800, iter.at.end + 0x900, value);
			}
		}
		assert_true(forward ? at >= (model.count ? model.at[model.count - 1].end : 0) :
				      at <= (model.count ? model.at[0].start : UINT64_MAX));
		compare_all(&tree, &model);
	}
	/* Forth and back. */
	tree_iter_init(&iter, &tree, 0);
	tree_iter_next(&iter);
	tree_iter_next(&iter);
	assert_entry(iter.at, &model, 1);
	tree_iter_prev(&iter);
	assert_entry(iter.at, &model, 0);
	assert_null(tree_iter_prev(&iter));
	assert_non_null(tree_iter_next(&iter));
	assert_entry(iter.at, &model, 0);
	finish(&tree, &test, &model);
}

/* One hole of each size among full ranges, and every limit around it. */
static void test_gap_search(void **state)
{
	struct test_port test;
	struct model model = { NULL, 0, 0 };
	struct tree tree;
	uint64_t seed = 99;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	fill(&tree, &model, 0x10000, 0x2000, 3000);
	for (int round = 0; round < 250; round++) {
		uint64_t start = 0x10000 + random_below(&seed, 3000) * 0x2000;
		uint64_t size = random_below(&seed, 12) * 0x1000 + 0x1000;
		bool erase = random_below(&seed, 2);

		assert_int_equal(tree_reserve(&tree, 1), 0);
		tree_store(&tree, start, start + size, erase ? NULL : tag(7));
		model_store(&model, start, start + size, erase ? NULL : tag(7));
		for (int i = 0; i < 24; i++) {
			uint64_t low = random_below(&seed, 3100) * 0x2000 + random_below(&seed, 3) * 0x800;
			uint64_t high = random_below(&seed, 3100) * 0x2000 + random_below(&seed, 3) * 0x800;

			compare_gap(&tree, &model, low, high, 1 + random_below(&seed, 10) * 0x1000);
			compare_gap(&tree, &model, 0, high, 1 + random_below(&seed, 16) * 0x1000);
			compare_gap(&tree, &model, low, 0x10000 + 3000 * 0x2000, random_below(&seed, 16) * 0x1000 + 1);
		}
	}
	finish(&tree, &test, &model);
}

struct copy_state {
	struct model model;
	const struct model *from;
	size_t at, stop_at;
	unsigned skip;
};

static void *copy_value(void *arg, void *value, bool *stop)
{
	struct copy_state *copy = arg;
	struct tree_entry entry = copy->from->at[copy->at++];

	assert_ptr_equal(entry.value, value);
	if (copy->stop_at && copy->at == copy->stop_at) {
		*stop = true;
		return NULL;
	}
	if (copy->skip && copy->at % copy->skip == 0)
		return NULL;
	entry.value = (char *)value + 1;
	model_store(&copy->model, entry.start, entry.end, entry.value);
	return entry.value;
}

static void test_duplicate(void **state)
{
	static const long sizes[] = { 0, 1, 2, 18, 19, 20, 39, 40, 379, 380, 381, 759, 760, 761, 5000, 40000 };
	struct test_port test, other;
	struct tree tree, twin;

	(void)state;
	test_port_init(&test);
	test_port_init(&other);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct model model = { NULL, 0, 0 };

		tree_init(&tree, &test.port);
		fill(&tree, &model, 1ull << 33, i & 1 ? 0x1000 : 0x2000, sizes[i]);
		for (unsigned skip = 0; skip < 4; skip++) {
			struct copy_state copy = { { NULL, 0, 0 }, &model, 0, 0, skip };
			long calls = other.calls;

			tree_init(&twin, &other.port);
			assert_int_equal(tree_duplicate(&twin, &tree, copy_value, &copy), 0);
			compare_all(&twin, &copy.model);
			if (sizes[i] == 40000 && !skip)
				assert_true(bytes_per_entry(&twin) < 20);
			fill(&twin, &copy.model, 1ull << 32, 0x3000, 100); /* and it lives on */
			compare_all(&twin, &copy.model);
			tree_destroy(&twin);
			assert_int_equal(other.live_blocks, 0);
			free(copy.model.at);
			if (sizes[i] > 6000)
				continue;
			calls = other.calls - calls;
			for (long fail = 1; fail < calls; fail = fail < 40 ? fail + 1 : fail + 7) {
				struct copy_state again = { { NULL, 0, 0 }, &model, 0, 0, skip };
				int error;

				tree_init(&twin, &other.port);
				other.fail_in = fail;
				error = tree_duplicate(&twin, &tree, copy_value, &again);
				if (error) {
					assert_int_equal(error, -12);
					assert_true(tree_is_empty(&twin));
					assert_sound(&twin);
					assert_int_equal(other.live_blocks, 0);
				}
				other.fail_in = 0;
				tree_destroy(&twin);
				free(again.model.at);
			}
			if (sizes[i] > 2) {
				struct copy_state again = { { NULL, 0, 0 }, &model, 0, (size_t)sizes[i] / 2 + 1, skip };

				tree_init(&twin, &other.port);
				assert_int_equal(tree_duplicate(&twin, &tree, copy_value, &again), -12);
				assert_true(tree_is_empty(&twin));
				assert_int_equal(other.live_blocks, 0);
				free(again.model.at);
			}
		}
		assert_sound(&tree);
		tree_destroy(&tree);
		free(model.at);
	}
	assert_int_equal(test.live_blocks, 0);
}

/* Each allocation fails once: the store is not tried, the tree is as it was, and the next try works. */
static void test_reserve_fails(void **state)
{
	struct test_port test;
	struct model model = { NULL, 0, 0 };
	struct tree tree;
	uint64_t seed = 4242;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	for (long i = 0; i < 20000; i++) {
		unsigned stores = 1 + (unsigned)random_below(&seed, 5);
		int error;

		test.fail_in = 1 + (long)random_below(&seed, 4);
		error = tree_reserve(&tree, stores);
		if (error) {
			assert_int_equal(error, -12);
			if (i % 64 == 0)
				compare_all(&tree, &model);
			test.fail_in = 0;
			assert_int_equal(tree_reserve(&tree, stores), 0);
		}
		test.fail_in = 1;
		while (stores--) {
			uint64_t start = random_below(&seed, 1 << 16) * 0x1000;
			uint64_t end = start + (1 + random_below(&seed, 3)) * 0x1000;
			void *value = random_below(&seed, 4) ? tag((uint64_t)i) : NULL;

			tree_store(&tree, start, end, value);
			model_store(&model, start, end, value);
		}
		test.fail_in = 0;
		if (i % 128 == 0)
			tree_trim(&tree);
		if (i % 512 == 0)
			compare_all(&tree, &model);
	}
	compare_all(&tree, &model);
	tree_trim(&tree);
	assert_int_equal(test.live_bytes, tree_bytes(&tree, NULL));
	finish(&tree, &test, &model);
}

/* A reservation is a level: asking again allocates nothing. */
static void test_reserve_level(void **state)
{
	struct test_port test;
	struct tree tree;
	long calls;
	size_t reserve;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	fill(&tree, NULL, 1ull << 32, 0x2000, 1000);
	calls = test.calls;
	for (int i = 0; i < 1000; i++) {
		tree_store(&tree, 1ull << 33, (1ull << 33) + 0x1000, tag(1));
		tree_store(&tree, 1ull << 33, (1ull << 33) + 0x1000, NULL);
		assert_int_equal(tree_reserve(&tree, 1), 0);
	}
	assert_int_equal(test.calls, calls);
	tree_trim(&tree);
	tree_bytes(&tree, &reserve);
	assert_int_equal(reserve, 0);
	tree_destroy(&tree);
	assert_int_equal(test.live_blocks, 0);
}

/* Runs in order, upwards and downwards, then erased in order: the shapes that programs make. */
static void test_runs(void **state)
{
	struct test_port test;
	struct model model = { NULL, 0, 0 };
	struct tree tree;

	(void)state;
	test_port_init(&test);
	tree_init(&tree, &test.port);
	for (int kind = 0; kind < 8; kind++) {
		uint64_t base = 1ull << 40;

		fill(&tree, &model, base, kind & 1 ? 0x1000 : -0x2000, 4000);
		fill(&tree, &model, base + (1ull << 36), kind & 1 ? -0x1000 : 0x3000, 4000);
		if (kind & 2) {
			while (model.count) {
				struct tree_entry entry = model.at[kind & 4 ? 0 : model.count - 1];

				assert_int_equal(tree_reserve(&tree, 1), 0);
				tree_store(&tree, entry.start, entry.end, NULL);
				model_store(&model, entry.start, entry.end, NULL);
				if (model.count % 16 == 0)
					assert_sound(&tree);
			}
		}
		compare_all(&tree, &model);
	}
	assert_int_equal(tree_reserve(&tree, 1), 0);
	tree_store(&tree, 1, UINT64_MAX, tag(1));
	model_store(&model, 1, UINT64_MAX, tag(1));
	compare_all(&tree, &model);
	finish(&tree, &test, &model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_random_small),
		cmocka_unit_test(test_random_shapes),
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_iterate_and_store),
		cmocka_unit_test(test_gap_search),
		cmocka_unit_test(test_duplicate),
		cmocka_unit_test(test_reserve_fails),
		cmocka_unit_test(test_reserve_level),
		cmocka_unit_test(test_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
