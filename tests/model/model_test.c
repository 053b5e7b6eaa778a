/* model_test.c - random requests against a model that fits on one screen: an array with the state of every page.
 *
 * The model knows nothing of VMAs: a page is unmapped or has rights, and requests act page by page with mmap(2)'s,
 * munmap(2)'s and mprotect(2)'s words.  After every request samara's map, expanded to pages, must be the array, and the
 * whole check must hold.
 */
#include "tests/unit/support.h"

#define BASE 0x100000ull
#define PAGES 96
#define UNMAPPED 0xff

static unsigned char model[PAGES];

static uint64_t rng_state = 88172645463325252ull;

static unsigned random_below(unsigned n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)(rng_state >> 11) % n;
}

static void model_map(unsigned at, unsigned pages, unsigned prot)
{
	memset(model + at, (int)prot, pages);
}

static void model_unmap(unsigned at, unsigned pages)
{
	memset(model + at, UNMAPPED, pages);
}

/* Stops at the first hole; a hole at the start changes nothing. */
static int model_protect(unsigned at, unsigned pages, unsigned prot)
{
	for (unsigned i = at; i < at + pages; i++) {
		if (model[i] == UNMAPPED)
			return -SAMARA_ENOMEM;
		model[i] = (unsigned char)prot;
	}
	return 0;
}

static void compare(struct samara_mm *mm)
{
	unsigned char pages[PAGES];
	struct samara_read_guard g;

	memset(pages, UNMAPPED, sizeof(pages));
	samara_read_lock(mm, &g);
	for (const struct samara_vma *v = samara_find_vma(&g, BASE); v && samara_vma_start(v) < BASE + PAGES * PAGE;
	     v = samara_next_vma(&g, v))
		for (uint64_t a = samara_vma_start(v); a < samara_vma_end(v); a += PAGE)
			pages[(a - BASE) / PAGE] = (unsigned char)(samara_vma_flags(v) & 7);
	samara_read_unlock(&g);
	assert_memory_equal(pages, model, sizeof(model));
}

static void test_random_requests(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	memset(model, UNMAPPED, sizeof(model));
	for (unsigned step = 0; step < 200000; step++) {
		unsigned at = random_below(PAGES), pages = 1 + random_below(PAGES - at), prot = random_below(8);
		uint64_t addr = BASE + at * PAGE, bytes = pages * PAGE - random_below(2) * random_below((unsigned)PAGE);

		pages = (unsigned)((bytes + PAGE - 1) / PAGE);
		switch (random_below(6)) {
		case 0: case 1:
			assert_int_equal(samara_mmap(w.mm, addr, bytes, prot, FIXED, NULL, 0), addr);
			model_map(at, pages, prot);
			break;
		case 2:
			assert_int_equal(samara_munmap(w.mm, addr, bytes), 0);
			model_unmap(at, pages);
			break;
		case 3: case 4:
			assert_int_equal(samara_mprotect(w.mm, addr, bytes, prot), model_protect(at, pages, prot));
			break;
		case 5:
			(void)samara_touch(w.mm, addr, 1);
			break;
		}
		compare(w.mm);
	}
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_requests) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
