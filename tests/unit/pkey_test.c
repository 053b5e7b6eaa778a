/* pkey_test.c - protection keys: what is given out, what requests do to the register of rights, and who asks it.
 *
 * The rules are the kernel's: `samara fuzz --memory` compares registers, signals and keys with it on processors that
 * have them; here they are asked everywhere. */
#include "support.h"

#define FRAMES 512
#define AT 0x100000
#define NO_ACCESS 1u
#define NO_WRITE 2u
#define PKRU_FIRST 0x55555554u
#define BITS(key, rights) ((uint32_t)(rights) << 2 * (key))

struct keyed {
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm;
	void *memory;
	uint32_t pkru; /* of the thread, when the port has one */
};

static uint32_t thread_pkru(void *self)
{
	struct sim *sim = self;

	return ((struct keyed *)(void *)((char *)sim - offsetof(struct keyed, sim)))->pkru;
}

static void thread_set_pkru(void *self, uint32_t pkru)
{
	struct sim *sim = self;

	((struct keyed *)(void *)((char *)sim - offsetof(struct keyed, sim)))->pkru = pkru;
}

static void keyed_open(struct keyed *k, bool of_threads)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES, .pkeys = 1 };

	sim_init(&k->sim);
	if (of_threads) {
		k->sim.port.pkru = thread_pkru;
		k->sim.port.set_pkru = thread_set_pkru;
		k->pkru = PKRU_FIRST;
	}
	config.memory = k->memory = aligned_alloc(4096, FRAMES * 4096);
	assert_int_equal(samara_create(&k->sim.port, &config, &k->vm), 0);
	assert_int_equal(samara_mm_create(k->vm, NULL, &k->mm), 0);
}

static void keyed_close(struct keyed *k)
{
	samara_mm_put(k->mm);
	samara_check_machine(k->vm);
	samara_destroy(k->vm);
	free(k->memory);
	assert_int_equal(k->sim.live_blocks, 0);
}

/* How a load or a store of a byte ends: 0, or the code of the SIGSEGV; `key` is what the signal names. */
static int ends(struct samara_mm *mm, bool write, uint64_t addr, int key)
{
	struct samara_signal why;
	char byte = 1;
	size_t done = write ? samara_store(mm, addr, &byte, 1, &why) : samara_load(mm, addr, &byte, 1, &why);

	if (done == 1)
		return 0;
	assert_int_equal(why.signo, SAMARA_SIGSEGV);
	assert_int_equal(why.addr, addr);
	assert_int_equal(why.pkey, key);
	return why.code;
}

static void test_accesses_ask(void **state)
{
	struct keyed k;
	int key;

	for (int of_threads = 0; of_threads < 2; of_threads++) {
		keyed_open(&k, of_threads);
		samara_mmap(k.mm, AT, 4 * PAGE, RW, FIXED, NULL, 0);
		key = samara_pkey_alloc(k.mm, 0, 0);
		assert_int_equal(key, 1);
		assert_int_equal(samara_pkey_mprotect(k.mm, AT, 4 * PAGE, RW, key), 0);
		assert_int_equal(ends(k.mm, true, AT, 0), 0); /* a page is there from here on, at AT + PAGE none */
		samara_set_pkru(k.mm, BITS(key, NO_WRITE));
		for (uint64_t at = AT; at <= AT + PAGE; at += PAGE) {
			uint64_t old;
			struct samara_signal why;

			assert_int_equal(ends(k.mm, true, at, key), SAMARA_SEGV_PKUERR);
			assert_int_equal(samara_atomic(k.mm, at, 8, SAMARA_ATOMIC_ADD, 1, &old, &why), -SAMARA_EFAULT);
			assert_int_equal(why.code, SAMARA_SEGV_PKUERR);
		}
		assert_int_equal(ends(k.mm, false, AT, 0), 0);
		assert_int_equal(ends(k.mm, false, AT + PAGE, 0), 0);
		samara_set_pkru(k.mm, BITS(key, NO_ACCESS));
		assert_int_equal(ends(k.mm, false, AT, key), SAMARA_SEGV_PKUERR);
		assert_int_equal(ends(k.mm, true, AT + 2 * PAGE, key), SAMARA_SEGV_PKUERR);
		/* the key is named even where the mapping allows nothing; a hole has no key */
		assert_int_equal(samara_pkey_mprotect(k.mm, AT, PAGE, SAMARA_PROT_NONE, key), 0);
		assert_int_equal(ends(k.mm, false, AT, key), SAMARA_SEGV_PKUERR);
		assert_int_equal(ends(k.mm, false, AT + 8 * PAGE, 0), SAMARA_SEGV_MAPERR);
		samara_set_pkru(k.mm, 0);
		assert_int_equal(ends(k.mm, false, AT, 0), SAMARA_SEGV_ACCERR);
		assert_int_equal(ends(k.mm, true, AT + PAGE, 0), 0);
		keyed_close(&k);
	}
	(void)state;
}

/* Populate and pins are the thread's own accesses; a fetch of instructions and somebody else's copies are not asked. */
static void test_who_is_asked(void **state)
{
	struct keyed k;
	struct samara_page page;
	char byte = 0;
	int key;

	(void)state;
	keyed_open(&k, false);
	samara_mmap(k.mm, AT, 4 * PAGE, RW, FIXED, NULL, 0);
	key = samara_pkey_alloc(k.mm, 0, NO_WRITE);
	assert_int_equal(samara_pkey_mprotect(k.mm, AT, 4 * PAGE, RW | SAMARA_PROT_EXEC, key), 0);
	assert_int_equal(samara_populate(k.mm, AT, PAGE, SAMARA_READ), 0);
	assert_int_equal(samara_populate(k.mm, AT, PAGE, SAMARA_WRITE), -SAMARA_EINVAL);
	assert_int_equal(samara_mlock(k.mm, AT, PAGE), -SAMARA_ENOMEM);
	assert_int_equal(samara_pin(k.mm, AT, 1, SAMARA_WRITE, &page), -SAMARA_EFAULT);
	samara_set_pkru(k.mm, BITS(key, NO_ACCESS));
	assert_int_equal(samara_populate(k.mm, AT, PAGE, SAMARA_READ), -SAMARA_EINVAL);
	assert_int_equal(samara_pin(k.mm, AT, 1, SAMARA_READ, &page), -SAMARA_EFAULT);
	assert_int_equal(samara_pin(k.mm, AT, 1, SAMARA_READ | SAMARA_FORCE, &page), 1);
	samara_unpin(k.vm, &page, 1, 0);
	assert_int_equal(samara_fetch(k.mm, AT + PAGE, &byte, 1, NULL), 1);
	assert_int_equal(samara_copy_to(k.mm, AT, &byte, 1, 0, NULL), 1);
	assert_int_equal(samara_copy_from(k.mm, AT + 2 * PAGE, &byte, 1, 0, NULL), 1);
	assert_int_equal(samara_fault(k.mm, AT + 3 * PAGE, SAMARA_READ, NULL), -SAMARA_EFAULT);
	assert_int_equal(samara_fault(k.mm, AT + 3 * PAGE, SAMARA_READ | SAMARA_FORCE, NULL), 0);
	keyed_close(&k);
}

static void test_requests_change_the_register(void **state)
{
	struct keyed k;
	struct samara_mm *child;
	const struct samara_mm_params params = { .size = sizeof(params) };

	(void)state;
	keyed_open(&k, false);
	assert_int_equal(samara_pkru(k.mm), PKRU_FIRST);
	/* the first execute-only mapping takes a key, and the right to load by it */
	samara_set_pkru(k.mm, 0);
	samara_mmap(k.mm, AT, PAGE, SAMARA_PROT_EXEC, FIXED, NULL, 0);
	assert_int_equal(samara_pkru(k.mm), BITS(1, NO_ACCESS));
	assert_int_equal(ends(k.mm, false, AT, 1), SAMARA_SEGV_PKUERR);
	samara_set_pkru(k.mm, BITS(1, 3));
	assert_int_equal(samara_mprotect(k.mm, AT, PAGE, SAMARA_PROT_EXEC), 0);
	assert_int_equal(samara_pkru(k.mm), BITS(1, 3)); /* it had none already */
	samara_set_pkru(k.mm, BITS(1, NO_WRITE));
	assert_int_equal(samara_mprotect(k.mm, AT, PAGE, SAMARA_PROT_EXEC), 0);
	assert_int_equal(samara_pkru(k.mm), BITS(1, NO_ACCESS));
	/* pkey_alloc sets both bits of its key, and no others; key 0 can be given back, and is the lowest then */
	assert_int_equal(samara_pkey_alloc(k.mm, 0, NO_WRITE), 2);
	assert_int_equal(samara_pkru(k.mm), BITS(1, NO_ACCESS) | BITS(2, NO_WRITE));
	assert_int_equal(samara_pkey_free(k.mm, 1), -SAMARA_EINVAL);
	assert_int_equal(samara_pkey_free(k.mm, 2), 0);
	assert_int_equal(samara_pkey_alloc(k.mm, 0, 0), 2);
	assert_int_equal(samara_pkru(k.mm), BITS(1, NO_ACCESS));
	assert_int_equal(samara_pkey_free(k.mm, 0), 0);
	assert_int_equal(samara_pkey_alloc(k.mm, 0, 0), 0);
	for (int key = 3; key < 16; key++)
		assert_int_equal(samara_pkey_alloc(k.mm, 0, 0), key);
	assert_int_equal(samara_pkey_alloc(k.mm, 0, 0), -SAMARA_ENOSPC);
	assert_int_equal(samara_pkey_alloc(k.mm, 0, 4), -SAMARA_EINVAL);
	assert_int_equal(samara_pkey_alloc(k.mm, 1, 0), -SAMARA_EINVAL);
	/* a child goes on with the rights, each on its own; exec begins anew */
	assert_int_equal(samara_fork(k.mm, &child), 0);
	assert_int_equal(samara_pkru(child), BITS(1, NO_ACCESS));
	samara_set_pkru(child, 0);
	assert_int_equal(ends(child, false, AT, 0), 0);
	assert_int_equal(ends(k.mm, false, AT, 1), SAMARA_SEGV_PKUERR);
	assert_int_equal(samara_exec(child, &params), 0);
	assert_int_equal(samara_pkru(child), PKRU_FIRST);
	assert_int_equal(samara_pkey_alloc(child, 0, 0), 1);
	samara_mm_put(child);
	keyed_close(&k);
}

/* Sealed memory is not discarded by who could not write to it (mseal(2)). */
static void test_seals_ask(void **state)
{
	struct keyed k;
	int key;

	(void)state;
	keyed_open(&k, false);
	samara_mmap(k.mm, AT, PAGE, RW, FIXED, NULL, 0);
	key = samara_pkey_alloc(k.mm, 0, NO_WRITE);
	assert_int_equal(samara_pkey_mprotect(k.mm, AT, PAGE, RW, key), 0);
	assert_int_equal(samara_madvise(k.mm, AT, PAGE, SAMARA_MADV_DONTNEED), 0);
	assert_int_equal(samara_mseal(k.mm, AT, PAGE, 0), 0);
	assert_int_equal(samara_madvise(k.mm, AT, PAGE, SAMARA_MADV_DONTNEED), -SAMARA_EPERM);
	samara_set_pkru(k.mm, 0);
	assert_int_equal(samara_madvise(k.mm, AT, PAGE, SAMARA_MADV_DONTNEED), 0);
	keyed_close(&k);
}

static void test_what_cannot_be(void **state)
{
	struct sim sim;
	struct samara *vm;
	struct samara_config config = { .size = sizeof(config), .pkeys = 1, .table_format = SAMARA_TABLE_SV39 };

	(void)state;
	sim_init(&sim);
	assert_int_equal(samara_create(&sim.port, &config, &vm), -SAMARA_EINVAL); /* such entries have no key */
	sim.port.pkru = thread_pkru;
	assert_int_equal(samara_create(&sim.port, NULL, &vm), -SAMARA_EINVAL); /* a register that cannot be written */
	assert_int_equal(sim.live_blocks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accesses_ask),
		cmocka_unit_test(test_who_is_asked),
		cmocka_unit_test(test_requests_change_the_register),
		cmocka_unit_test(test_seals_ask),
		cmocka_unit_test(test_what_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
