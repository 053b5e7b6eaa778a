/* frame_test.c - core/frame: blocks, caches, counts, zero, and that all memory comes back as the largest blocks. */
#include "core/frame/frame.h"
#include "tests/unit/support.h"

#define HUGE_ALIGN ((size_t)2 << 20)

struct yard {
	struct sim sim;
	struct frames frames;
	void *memory;
};

static void yard_open(struct yard *y, uint64_t count, uint64_t first_pfn, unsigned caches, bool zeroed)
{
	size_t bytes = (count * FRAME_BYTES + HUGE_ALIGN - 1) & ~(HUGE_ALIGN - 1);
	struct frames_config config = { .count = count, .first_pfn = first_pfn, .caches = caches, .zeroed = zeroed };

	sim_init(&y->sim);
	y->memory = aligned_alloc(HUGE_ALIGN, bytes);
	assert_non_null(y->memory);
	memset(y->memory, zeroed ? 0 : 0xcc, bytes);
	config.base = y->memory;
	assert_int_equal(frames_init(&y->frames, &y->sim.port, &config), 0);
}

static void yard_check(struct yard *y)
{
	const struct frame *bad = NULL;

	assert_int_equal(frames_check(&y->frames, &bad), 0);
}

/* All is free and joined as far as the span allows: as many blocks as frames_init made. */
static unsigned yard_blocks(struct yard *y)
{
	unsigned blocks = 0;

	for (uint64_t at = 0; at < y->frames.count; at += (uint64_t)1 << y->frames.map[at].order)
		blocks++;
	return blocks;
}

static void yard_close(struct yard *y, unsigned blocks)
{
	assert_true(frames_drain(&y->frames));
	yard_check(y);
	assert_int_equal(frames_free(&y->frames), y->frames.count);
	assert_int_equal(yard_blocks(y), blocks);
	frames_fini(&y->frames);
	assert_int_equal(y->sim.live_blocks, 0);
	free(y->memory);
}

static void test_setup_fails(void **state)
{
	static _Alignas(4096) unsigned char memory[16 * 4096];
	struct frames_config config = { .base = memory, .count = 16 };
	struct frames f;
	struct sim sim;

	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		sim_init(&sim);
		sim.fail_at = n;
		assert_int_equal(frames_init(&f, &sim.port, &config), -SAMARA_ENOMEM);
		assert_int_equal(sim.live_blocks, 0);
	}
	sim_init(&sim);
	config.count = 0;
	assert_int_equal(frames_init(&f, &sim.port, &config), -SAMARA_EINVAL);
	config.count = 16;
	config.base = memory + 8;
	assert_int_equal(frames_init(&f, &sim.port, &config), -SAMARA_EINVAL);
	config.base = memory;
	config.caches = FRAME_CACHES_MAX + 1;
	assert_int_equal(frames_init(&f, &sim.port, &config), -SAMARA_EINVAL);
	config.caches = 1;
	config.first_pfn = UINT64_MAX;
	assert_int_equal(frames_init(&f, &sim.port, &config), -SAMARA_EINVAL);
}

static void test_arithmetic(void **state)
{
	struct yard y;
	unsigned blocks;

	(void)state;
	yard_open(&y, 100, 1000, 1, false);
	blocks = yard_blocks(&y);
	for (uint64_t i = 0; i < 100; i++) {
		struct frame *frame = pfn_frame(&y.frames, 1000 + i);

		assert_ptr_equal(frame, y.frames.map + i);
		assert_int_equal(frame_pfn(&y.frames, frame), 1000 + i);
		assert_ptr_equal(frame_host(&y.frames, frame), (char *)y.memory + i * FRAME_BYTES);
		assert_ptr_equal(host_frame(&y.frames, (char *)y.memory + i * FRAME_BYTES + 4095), frame);
	}
	assert_false(pfn_in_span(&y.frames, 999));
	assert_false(pfn_in_span(&y.frames, 1100));
	yard_close(&y, blocks);
}

/* Random blocks come and go; none overlaps another; at the end all is one again. */
static void run_blocks(uint64_t count, uint64_t first_pfn, unsigned caches)
{
	static struct frame *held[4096];
	struct yard y;
	unsigned blocks, n = 0;
	uint64_t used = 0;

	yard_open(&y, count, first_pfn, caches, false);
	blocks = yard_blocks(&y);
	yard_check(&y);
	for (unsigned step = 0; step < 30000; step++) {
		uint64_t r = y.sim.port.random(&y.sim);
		unsigned cache = (unsigned)(r >> 40) % caches;

		if (n && (r & 1 || n == ARRAY_SIZE(held))) {
			unsigned i = (unsigned)(r >> 8) % n;
			struct frame *frame = held[i];
			uint64_t *words = frame_host(&y.frames, frame);

			assert_int_equal(words[0], frame_pfn(&y.frames, frame));
			assert_int_equal(words[(512u << frame->order) - 1], frame_pfn(&y.frames, frame));
			used -= (uint64_t)1 << frame->order;
			held[i] = held[--n];
			frame_put(&y.frames, cache, frame);
		} else {
			unsigned order = r & 6 ? 0 : (unsigned)(r >> 16) % 10;
			struct frame *frame = order ? frame_alloc_block(&y.frames, order, FRAME_ANON, &y, false) :
						      frame_alloc(&y.frames, cache, FRAME_ANON, &y, false);
			uint64_t *words;

			if (!frame)
				continue;
			assert_int_equal(frame->order, order);
			assert_int_equal(frame_pfn(&y.frames, frame) & ((1u << order) - 1), 0);
			words = frame_host(&y.frames, frame);
			words[0] = words[(512u << order) - 1] = frame_pfn(&y.frames, frame);
			used += (uint64_t)1 << order;
			held[n++] = frame;
		}
		assert_int_equal(frames_free(&y.frames), count - used);
		if (step % 1000 == 0) {
			yard_check(&y);
			assert_int_equal(frames_owned(&y.frames, FRAME_ANON, &y), used);
		}
	}
	while (n)
		frame_put(&y.frames, 0, held[--n]);
	yard_close(&y, blocks);
}

static void test_blocks(void **state)
{
	(void)state;
	run_blocks(8192, 0, 1);
	run_blocks(8192, 1 << 18, 3);
	run_blocks(3001, 37, 4);
	run_blocks(700, 511, 2);
}

static void test_exhausted(void **state)
{
	static struct frame *held[1100]; /* a batch has room for all that it wants */
	const unsigned all = 1000;
	struct yard y;
	unsigned blocks, n;

	(void)state;
	yard_open(&y, all, 3, 4, false);
	blocks = yard_blocks(&y);
	for (unsigned round = 0; round < 4; round++) {
		for (n = 0; n < all; n++) {
			held[n] = frame_alloc(&y.frames, round, FRAME_FILE, held, n % 2);
			assert_non_null(held[n]);
			if (n % 2)
				assert_memory_equal(frame_host(&y.frames, held[n]), (char[64]){ 0 }, 64);
			memset(frame_host(&y.frames, held[n]), 0x77, FRAME_BYTES);
		}
		assert_null(frame_alloc(&y.frames, round, FRAME_FILE, held, false));
		assert_null(frame_alloc_block(&y.frames, 0, FRAME_FILE, held, false));
		assert_int_equal(frames_free(&y.frames), 0);
		yard_check(&y);
		/* they come back into several caches, and a large block is still to be had */
		while (n)
			n--, frame_put(&y.frames, n % 4, held[n]);
		yard_check(&y);
		held[0] = frame_alloc_block(&y.frames, 8, FRAME_HUGE, NULL, true);
		assert_non_null(held[0]);
		frame_put(&y.frames, 0, held[0]);
	}
	assert_int_equal(frame_alloc_batch(&y.frames, 1, FRAME_ANON, &y, true, held, 300), 300);
	assert_int_equal(frame_alloc_batch(&y.frames, 2, FRAME_ANON, &y, true, held + 300, 800), 700);
	yard_check(&y);
	for (n = 0; n < all; n++)
		frame_put(&y.frames, 1, held[n]);
	yard_close(&y, blocks);
}

static void test_hottest_first(void **state)
{
	struct yard y;
	struct frame *a, *b, *c;
	unsigned blocks;

	(void)state;
	yard_open(&y, 1024, 0, 2, false);
	blocks = yard_blocks(&y);
	a = frame_alloc(&y.frames, 0, FRAME_ANON, &y, false);
	b = frame_alloc(&y.frames, 0, FRAME_ANON, &y, false);
	assert_ptr_equal(b, a + 1); /* dealt in order */
	frame_put(&y.frames, 0, a);
	c = frame_alloc(&y.frames, 0, FRAME_ANON, &y, false);
	assert_ptr_equal(c, a);
	frame_put(&y.frames, 0, b);
	frame_put(&y.frames, 0, c);
	yard_close(&y, blocks);
}

static void test_zero(void **state)
{
	struct yard y;
	struct frame *frame;
	unsigned blocks;
	char *bytes;

	(void)state;
	yard_open(&y, 2048, 512, 1, true);
	blocks = yard_blocks(&y);
	frame = frame_alloc(&y.frames, 0, FRAME_ANON, &y, true);
	bytes = frame_host(&y.frames, frame);
	for (unsigned i = 0; i < FRAME_BYTES; i++)
		assert_int_equal(bytes[i], 0);
	/* known to be zero: not touched again */
	frame_put_zero(&y.frames, 0, frame);
	assert_true(frame->flags & FRAME_ZERO);
	yard_check(&y);
	assert_ptr_equal(frame_alloc(&y.frames, 0, FRAME_ANON, &y, false), frame);
	memset(bytes, 1, FRAME_BYTES);
	frame_put(&y.frames, 0, frame);
	assert_false(frame->flags & FRAME_ZERO);
	assert_ptr_equal(frame_alloc(&y.frames, 0, FRAME_ANON, &y, true), frame);
	for (unsigned i = 0; i < FRAME_BYTES; i++)
		assert_int_equal(bytes[i], 0);
	memset(bytes, 2, FRAME_BYTES);
	frame_put(&y.frames, 0, frame);
	/* joined with zero ones the whole is not known to be zero */
	assert_true(frames_drain(&y.frames));
	yard_check(&y);
	frame = frame_alloc_block(&y.frames, 9, FRAME_HUGE, &y, true);
	bytes = frame_host(&y.frames, frame);
	for (unsigned i = 0; i < FRAME_BYTES << 9; i++)
		if (bytes[i])
			fail();
	frame_put(&y.frames, 0, frame);
	yard_close(&y, blocks);
}

static void test_counts(void **state)
{
	struct yard y;
	struct frame *frame;
	unsigned blocks;

	(void)state;
	yard_open(&y, 64, 0, 1, false);
	blocks = yard_blocks(&y);
	frame = frame_alloc(&y.frames, 0, FRAME_ANON, &y, false);
	frame_map_own(&y.frames, frame);
	assert_int_equal(frame_refs(frame), 1);
	assert_int_equal(frame_maps(frame), 1);
	frame_map(&y.frames, frame);
	frame_get(&y.frames, frame);
	assert_int_equal(frame_refs(frame), 3);
	assert_int_equal(frame_maps(frame), 2);
	frame_unmap(&y.frames, 0, frame);
	frame_unmap(&y.frames, 0, frame);
	assert_int_equal(frame->kind, FRAME_ANON); /* a reference is left */
	assert_int_equal(frame_maps(frame), 0);
	frame_put(&y.frames, 0, frame);
	assert_int_equal(frame->kind, FRAME_CACHED);
	yard_close(&y, blocks);
}

static void test_split(void **state)
{
	struct yard y;
	struct frame *head;
	unsigned blocks;

	(void)state;
	yard_open(&y, 2048, 0, 1, false);
	blocks = yard_blocks(&y);
	head = frame_alloc_block(&y.frames, 10, FRAME_HUGE, &y, false);
	head->index = 7;
	frame_get(&y.frames, head);
	frame_block_split(head, 9);
	yard_check(&y);
	frame_block_split(head, 0);
	yard_check(&y);
	assert_int_equal(frames_owned(&y.frames, FRAME_HUGE, &y), 1024);
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(frame_refs(head + i), 2);
		assert_int_equal(head[i].index, 7 + i);
		frame_put(&y.frames, 0, head + i);
		frame_put(&y.frames, 0, head + i);
	}
	head += 512;
	assert_int_equal(head->order, 9);
	assert_int_equal(head->index, 7 + 512);
	frame_put(&y.frames, 0, head);
	frame_put(&y.frames, 0, head);
	yard_close(&y, blocks);
}

/* A span of more than a GiB: descriptors only, the memory behind them is never touched. */
static void test_gigabyte(void **state)
{
	struct frames_config config = { .base = (void *)(uintptr_t)(1ull << 40), .count = (1 << 18) + 5000, .caches = 1 };
	struct frames f;
	struct sim sim;
	struct frame *giga, *one;

	(void)state;
	sim_init(&sim);
	assert_int_equal(frames_init(&f, &sim.port, &config), 0);
	giga = frame_alloc_block(&f, FRAME_ORDER_1G, FRAME_HUGE, NULL, false);
	assert_non_null(giga);
	assert_null(frame_alloc_block(&f, FRAME_ORDER_1G, FRAME_HUGE, NULL, false));
	frame_put(&f, 0, giga);
	one = pfn_frame(&f, 1000);
	for (unsigned i = 0; i < 2; i++) {
		giga = frame_alloc(&f, 0, FRAME_ANON, NULL, false);
		assert_non_null(giga);
		frame_put(&f, 0, giga);
		frames_drain(&f);
	}
	assert_int_equal(one->kind, FRAME_TAIL);
	giga = frame_alloc_block(&f, FRAME_ORDER_1G, FRAME_HUGE, NULL, false);
	assert_non_null(giga);
	assert_int_equal(frames_check(&f, NULL), 0);
	frame_put(&f, 0, giga);
	frames_fini(&f);
	assert_int_equal(sim.live_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_setup_fails), cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_exhausted), cmocka_unit_test(test_hottest_first), cmocka_unit_test(test_zero),
		cmocka_unit_test(test_counts), cmocka_unit_test(test_split), cmocka_unit_test(test_gigabyte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
