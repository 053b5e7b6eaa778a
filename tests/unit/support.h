/* support.h - what the tests share: cmocka, a machine on the simulation port, text of maps. */
#ifndef SAMARA_TESTS_SUPPORT_H
#define SAMARA_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ports/sim/sim.h"
#include "samara/samara.h"

#define PAGE SAMARA_PAGE_SIZE
#define RW (SAMARA_PROT_READ | SAMARA_PROT_WRITE)
#define ANON (SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS)
#define FIXED (ANON | SAMARA_MAP_FIXED)

/* A machine that starts and ends with nothing allocated. */
struct world {
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm;
};

static inline void world_open(struct world *w)
{
	const struct samara_mm_params params = { .size = sizeof(params), .personality = SAMARA_ADDR_NO_RANDOMIZE,
		.capabilities = ~0ull, .start_brk = 0x555555600000, .brk = 0x555555600000 };

	sim_init(&w->sim);
	assert_int_equal(samara_create(&w->sim.port, NULL, &w->vm), 0);
	assert_int_equal(samara_mm_create(w->vm, &params, &w->mm), 0);
}

static inline void world_close(struct world *w)
{
	samara_check(w->mm);
	samara_mm_put(w->mm);
	assert_int_equal(samara_committed_as(w->vm), 0);
	samara_destroy(w->vm);
	assert_int_equal(w->sim.live_blocks, 0);
	assert_int_equal(w->sim.live_bytes, 0);
}

struct text_buffer {
	char text[1 << 16];
	size_t used;
};

static inline int text_sink(void *self, const char *text, size_t bytes)
{
	struct text_buffer *b = self;

	assert_true(b->used + bytes < sizeof(b->text));
	memcpy(b->text + b->used, text, bytes);
	b->used += bytes;
	b->text[b->used] = 0;
	return 0;
}

static inline const char *maps_text(struct samara_mm *mm, struct text_buffer *b)
{
	b->used = 0;
	b->text[0] = 0;
	assert_int_equal(samara_view_maps(mm, text_sink, b), 0);
	return b->text;
}

#endif
