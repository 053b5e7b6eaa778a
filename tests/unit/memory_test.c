/* memory_test.c - what a newcomer would ask of memory, one question a test.  (Equality with the kernel is asked in
 * tests/linux.) */
#include <stdlib.h>
#include <string.h>
#include "tests/unit/support.h"

#define FRAMES 4096
#define must(call) assert_int_equal(call, 0)

struct ram {
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm;
	void *memory;
};

static void ram_open_with(struct ram *r, uint64_t frames, uint32_t format)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = frames, .first_pfn = 0x100, .table_format = format,
		.pkeys = format <= SAMARA_TABLE_X86_5 };
	struct samara_mm_params params = { .size = sizeof(params), .task_size = format == SAMARA_TABLE_SV39 ? 1ull << 38 : 0, .mmap_base = format == SAMARA_TABLE_SV39 ? 1ull << 37 : 0 };

	sim_init(&r->sim);
	r->memory = aligned_alloc(4096, frames * 4096);
	memset(r->memory, 0xa5, frames * 4096);
	config.memory = r->memory;
	must(samara_create(&r->sim.port, &config, &r->vm));
	must(samara_mm_create(r->vm, &params, &r->mm));
}

static void ram_open(struct ram *r)
{
	ram_open_with(r, FRAMES, SAMARA_TABLE_X86_4);
}

static void ram_close(struct ram *r)
{
	samara_mm_put(r->mm);
	samara_check_machine(r->vm);
	samara_destroy(r->vm);
	free(r->memory);
	assert_int_equal(r->sim.live_blocks, 0);
}

static void store(struct samara_mm *mm, uint64_t addr, uint64_t value)
{
	assert_int_equal(samara_store(mm, addr, &value, sizeof(value), NULL), sizeof(value));
}

static uint64_t load(struct samara_mm *mm, uint64_t addr)
{
	uint64_t value = ~0ull;

	assert_int_equal(samara_load(mm, addr, &value, sizeof(value), NULL), sizeof(value));
	return value;
}

static uint64_t anon_pages(struct samara_mm *mm)
{
	struct samara_mm_usage u;

	samara_mm_usage(mm, &u);
	return u.anon_pages;
}

static void test_first_touch(void **state)
{
	struct ram r;

	(void)state;
	for (uint32_t format = SAMARA_TABLE_X86_4; format <= SAMARA_TABLE_SV48; format++) {
		ram_open_with(&r, FRAMES, format);
		assert_int_equal(samara_mmap(r.mm, 0x100000, 16 * PAGE, RW, FIXED, NULL, 0), 0x100000);
		assert_int_equal(load(r.mm, 0x100010), 0);
		assert_int_equal(anon_pages(r.mm), 0); /* the page of zeroes */
		store(r.mm, 0x100ffc, 0x1122334455667788); /* across two pages */
		assert_int_equal(load(r.mm, 0x100ffc), 0x1122334455667788);
		assert_int_equal(load(r.mm, 0x101004), 0);
		assert_int_equal(anon_pages(r.mm), 2);
		samara_check_machine(r.vm);
		assert_int_equal(samara_munmap(r.mm, 0x101000, PAGE), 0);
		assert_int_equal(anon_pages(r.mm), 1);
		ram_close(&r);
	}
}

static void test_signals(void **state)
{
	struct ram r;
	struct samara_signal s;
	char byte = 1;

	(void)state;
	ram_open(&r);
	assert_int_equal(samara_load(r.mm, 0x100123, &byte, 1, &s), 0);
	assert_int_equal(s.error, -SAMARA_EFAULT);
	assert_int_equal(s.signo, SAMARA_SIGSEGV);
	assert_int_equal(s.code, SAMARA_SEGV_MAPERR);
	assert_int_equal(s.addr, 0x100123);
	samara_mmap(r.mm, 0x100000, 2 * PAGE, SAMARA_PROT_READ, FIXED, NULL, 0);
	assert_int_equal(samara_store(r.mm, 0x100fff, &byte, 1, &s), 0);
	assert_int_equal(s.code, SAMARA_SEGV_ACCERR);
	assert_int_equal(samara_fetch(r.mm, 0x100000, &byte, 1, &s), 0);
	assert_int_equal(s.code, SAMARA_SEGV_ACCERR);
	/* a run that ends in the middle: the bytes before the bad page were moved */
	char run[3 * PAGE];
	assert_int_equal(samara_load(r.mm, 0x100800, run, sizeof(run), &s), 2 * PAGE - 0x800);
	assert_int_equal(s.addr, 0x102000);
	must(samara_mprotect(r.mm, 0x100000, PAGE, SAMARA_PROT_NONE));
	assert_int_equal(samara_load(r.mm, 0x100000, &byte, 1, &s), 0);
	assert_int_equal(s.code, SAMARA_SEGV_ACCERR);
	ram_close(&r);
}

static void test_fork_copies_on_write(void **state)
{
	struct ram r;
	struct samara_mm *child, *grandchild;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	for (int i = 0; i < 8; i++)
		store(r.mm, 0x100000 + i * PAGE, 100 + i);
	must(samara_fork(r.mm, &child));
	samara_check_machine(r.vm);
	store(child, 0x101000, 1);
	store(r.mm, 0x102000, 2);
	assert_int_equal(load(r.mm, 0x101000), 101);
	assert_int_equal(load(child, 0x102000), 102);
	assert_int_equal(load(child, 0x101000), 1);
	must(samara_fork(child, &grandchild));
	store(child, 0x103000, 3);
	assert_int_equal(load(grandchild, 0x103000), 103);
	samara_check_machine(r.vm);
	samara_mm_put(child);
	samara_check_machine(r.vm);
	assert_int_equal(load(grandchild, 0x101000), 1);
	store(grandchild, 0x101000, 4);
	samara_check_machine(r.vm);
	samara_mm_put(grandchild);
	ram_close(&r);
}

/* A chain in which each generation writes and its parent goes: nothing may pile up. */
static void test_fork_chain_is_bounded(void **state)
{
	struct ram r;
	struct samara_usage early, late;
	int64_t blocks = 0;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	for (int generation = 0; generation < 1000; generation++) {
		struct samara_mm *child;

		store(r.mm, 0x100000 + (uint64_t)(generation % 8) * PAGE, (uint64_t)generation);
		must(samara_fork(r.mm, &child));
		store(child, 0x100000, (uint64_t)generation);
		samara_mm_put(r.mm);
		r.mm = child;
		sim_quiesce(&r.sim);
		if (generation == 10) {
			samara_usage(r.vm, &early);
			blocks = r.sim.live_blocks;
		}
	}
	samara_usage(r.vm, &late);
	assert_int_equal(late.free_pages, early.free_pages);
	assert_int_equal(r.sim.live_blocks, blocks);
	assert_int_equal(load(r.mm, 0x100000), 999);
	ram_close(&r);
}

static void test_mremap_moves_pages(void **state)
{
	struct ram r;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x400000, 1024 * PAGE, RW, FIXED, NULL, 0);
	for (int i = 0; i < 1024; i += 3)
		store(r.mm, 0x400000 + (uint64_t)i * PAGE, (uint64_t)i);
	assert_int_equal(samara_mremap(r.mm, 0x400000, 1024 * PAGE, 1024 * PAGE, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, 0x4000000), 0x4000000);
	samara_check_machine(r.vm);
	for (int i = 0; i < 1024; i += 3)
		assert_int_equal(load(r.mm, 0x4000000 + (uint64_t)i * PAGE), i);
	/* and not aligned alike */
	assert_int_equal(samara_mremap(r.mm, 0x4000000, 1024 * PAGE, 1024 * PAGE, SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, 0x8003000), 0x8003000);
	samara_check_machine(r.vm);
	for (int i = 0; i < 1024; i += 3)
		assert_int_equal(load(r.mm, 0x8003000 + (uint64_t)i * PAGE), i);
	must(samara_madvise(r.mm, 0x8003000, 512 * PAGE, SAMARA_MADV_DONTNEED));
	assert_int_equal(load(r.mm, 0x8003000 + 3 * PAGE), 0);
	ram_close(&r);
}

static void test_pins_survive_fork(void **state)
{
	struct ram r;
	struct samara_page page;
	struct samara_mm *child;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, 2 * PAGE, RW, FIXED, NULL, 0);
	store(r.mm, 0x100000, 7);
	assert_int_equal(samara_pin(r.mm, 0x100000, 1, SAMARA_WRITE, &page), 1);
	must(samara_fork(r.mm, &child));
	samara_check_machine(r.vm);
	*(uint64_t *)page.host = 8; /* a device writes */
	assert_int_equal(load(r.mm, 0x100000), 8);
	store(r.mm, 0x100008, 9);
	assert_int_equal(((uint64_t *)page.host)[1], 9); /* the parent still has the pinned frame */
	assert_int_equal(load(child, 0x100000), 7);
	samara_unpin(r.vm, &page, 1, 1);
	samara_mm_put(child);
	ram_close(&r);
}

/* A private mapping of a file: a copy that a child shares must become this space's own before it is pinned, also for
 * reading. */
static void test_pins_of_a_private_file(void **state)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .size_bytes = 2 * PAGE };
	struct samara_inode *inode;
	struct samara_file *file;
	struct samara_page page[2];
	struct samara_mm *child;
	struct ram r;

	(void)state;
	ram_open(&r);
	must(samara_inode_create(r.vm, &desc, &inode));
	must(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/file", &file));
	assert_int_equal(samara_mmap(r.mm, 0x100000, 2 * PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, file, 0), 0x100000);
	store(r.mm, 0x100000, 7);
	must(samara_fork(r.mm, &child));
	assert_int_equal(samara_pin(r.mm, 0x100000, 1, SAMARA_READ, page), 1);
	store(r.mm, 0x100000, 8);
	assert_int_equal(*(uint64_t *)page[0].host, 8);
	assert_int_equal(load(child, 0x100000), 7);
	samara_unpin(r.vm, page, 1, 0);
	/* for long: the file's page, too */
	assert_int_equal(samara_pin(r.mm, 0x101000, 1, SAMARA_READ | SAMARA_LONGTERM, page), 1);
	store(r.mm, 0x101000, 9);
	assert_int_equal(*(uint64_t *)page[0].host, 9);
	assert_int_equal(load(child, 0x101000), 0);
	samara_unpin(r.vm, page, 1, 0);
	samara_mm_put(child);
	samara_file_put(file);
	samara_inode_put(inode);
	ram_close(&r);
}

/* What a page that is pinned for reading is, and whether its holder sees what the guest writes later. */
static void test_pins_for_reading(void **state)
{
	struct samara_page page[2];
	struct samara_mm *child;
	struct ram r;

	(void)state;
	ram_open(&r);
	must(samara_mmap(r.mm, 0x100000, 4 * PAGE, RW, FIXED, NULL, 0) != 0x100000);
	/* never written to: the page of zeroes, as in Linux; for as long as one likes: the space's own */
	assert_int_equal(samara_pin(r.mm, 0x100000, 1, SAMARA_READ, &page[0]), 1);
	assert_int_equal(anon_pages(r.mm), 0);
	store(r.mm, 0x100000, 5);
	assert_int_equal(*(uint64_t *)page[0].host, 0);
	samara_unpin(r.vm, page, 1, 0);
	assert_int_equal(samara_pin(r.mm, 0x101000, 1, SAMARA_READ | SAMARA_LONGTERM, &page[0]), 1);
	store(r.mm, 0x101000, 6);
	assert_int_equal(*(uint64_t *)page[0].host, 6);
	samara_unpin(r.vm, page, 1, 0);
	assert_int_equal(load(r.mm, 0x102000), 0); /* the page of zeroes stands there */
	assert_int_equal(samara_pin(r.mm, 0x102000, 1, SAMARA_READ | SAMARA_LONGTERM, &page[0]), 1);
	store(r.mm, 0x102000, 7);
	assert_int_equal(*(uint64_t *)page[0].host, 7);
	samara_unpin(r.vm, page, 1, 0);
	/* shared since a fork: each side that pins gets a page of its own, and goes on with it */
	must(samara_fork(r.mm, &child));
	assert_int_equal(samara_pin(r.mm, 0x100000, 1, SAMARA_READ, &page[0]), 1);
	assert_int_equal(samara_pin(child, 0x100000, 1, SAMARA_READ, &page[1]), 1);
	assert_ptr_not_equal(page[0].host, page[1].host);
	store(r.mm, 0x100000, 8);
	store(child, 0x100000, 9);
	assert_int_equal(*(uint64_t *)page[0].host, 8);
	assert_int_equal(*(uint64_t *)page[1].host, 9);
	samara_check_machine(r.vm);
	samara_unpin(r.vm, page, 2, 0);
	samara_mm_put(child);
	ram_close(&r);
}

/* /proc/PID/mem lets a stack grow; process_vm_readv(2) and pins do not. */
static void test_forced_copies_grow_a_stack(void **state)
{
	struct samara_signal why;
	struct samara_page page;
	uint64_t word = 3;
	struct ram r;

	(void)state;
	ram_open(&r);
	must(samara_mmap(r.mm, 0x7ff00000, 4 * PAGE, RW, FIXED | SAMARA_MAP_GROWSDOWN, NULL, 0) != 0x7ff00000);
	assert_int_equal(samara_copy_from(r.mm, 0x7fefd000, &word, 8, 0, &why), 0);
	assert_int_equal(why.code, SAMARA_SEGV_MAPERR);
	assert_int_equal(samara_pin(r.mm, 0x7fefd000, 1, SAMARA_WRITE | SAMARA_FORCE, &page), -SAMARA_EFAULT);
	assert_int_equal(samara_copy_to(r.mm, 0x7fefd000, &word, 8, SAMARA_FORCE, NULL), 8);
	assert_int_equal(load(r.mm, 0x7fefd000), 3);
	/* the limit is the space's, and there is nothing to grow below it */
	must(samara_set_rlimit(r.mm, SAMARA_RLIMIT_STACK, (struct samara_rlimit){ 16 * PAGE, 16 * PAGE }));
	assert_int_equal(samara_copy_to(r.mm, 0x7fe00000, &word, 8, SAMARA_FORCE, &why), 0);
	assert_int_equal(why.error, -SAMARA_EFAULT);
	ram_close(&r);
}

/* The bytes that an iovec names, in order, are the guest's. */
static void iovec_is(struct samara_mm *mm, uint64_t addr, const struct samara_host_iovec *iov, size_t pieces, uint64_t covered)
{
	uint64_t done = 0;
	char page[4096];

	for (size_t i = 0; i < pieces; i++)
		for (uint64_t at = 0, part; at < iov[i].length; at += part, done += part) {
			part = iov[i].length - at < sizeof(page) ? iov[i].length - at : sizeof(page);
			assert_int_equal(samara_load(mm, addr + done, page, part, NULL), part);
			assert_memory_equal(page, (char *)iov[i].base + at, part);
		}
	assert_int_equal(done, covered);
}

static void test_pinned_iovec(void **state)
{
	struct samara_host_iovec iov[8];
	struct samara_page pages[8];
	size_t pieces, pinned;
	struct ram r;
	int64_t got;

	(void)state;
	ram_open(&r);
	must(samara_mmap(r.mm, 0x100000, 6 * PAGE, RW, FIXED, NULL, 0) != 0x100000);
	for (uint64_t i = 0; i < 6; i++)
		store(r.mm, 0x100000 + (i * 5 % 6) * PAGE + 8 * i, 77 * i); /* frames in no order */
	/* from inside a page to inside another */
	got = samara_pin_iovec(r.mm, 0x100010, 3 * PAGE, SAMARA_WRITE, iov, &pieces, pages, &pinned, 8);
	assert_int_equal(got, 3 * PAGE);
	assert_int_equal(pinned, 4);
	assert_in_range(pieces, 1, 4);
	iovec_is(r.mm, 0x100010, iov, pieces, (uint64_t)got);
	*(char *)iov[0].base = 'i';
	assert_int_equal(load(r.mm, 0x100010) & 0xff, 'i');
	samara_unpin(r.vm, pages, pinned, 1);
	/* as far as there is room, and as far as something is mapped */
	got = samara_pin_iovec(r.mm, 0x100ff0, 5 * PAGE, SAMARA_READ, iov, &pieces, pages, &pinned, 2);
	assert_int_equal(got, PAGE + 0x10);
	iovec_is(r.mm, 0x100ff0, iov, pieces, (uint64_t)got);
	samara_unpin(r.vm, pages, pinned, 0);
	got = samara_pin_iovec(r.mm, 0x105000, UINT64_MAX - 0x105000, SAMARA_READ, iov, &pieces, pages, &pinned, 8);
	assert_int_equal(got, PAGE);
	assert_int_equal(pinned, 1);
	samara_unpin(r.vm, pages, pinned, 0);
	/* one byte at the end of a page is one page */
	assert_int_equal(samara_pin_iovec(r.mm, 0x100fff, 1, SAMARA_READ, iov, &pieces, pages, &pinned, 8), 1);
	assert_int_equal(pinned, 1);
	samara_unpin(r.vm, pages, pinned, 0);
	assert_int_equal(samara_pin_iovec(r.mm, 0, UINT64_MAX, SAMARA_READ, iov, &pieces, pages, &pinned, 8), -SAMARA_EFAULT);
	assert_int_equal(samara_pin_iovec(r.mm, PAGE, UINT64_MAX, SAMARA_READ, iov, &pieces, pages, &pinned, 8), -SAMARA_EINVAL);
	assert_int_equal(samara_pin_iovec(r.mm, 0x100000, PAGE, SAMARA_READ, iov, &pieces, pages, &pinned, 0), -SAMARA_EINVAL);
	assert_int_equal(samara_pin_iovec(r.mm, 0x100000, PAGE, 1u << 20, iov, &pieces, pages, &pinned, 8), -SAMARA_EINVAL);
	assert_int_equal(samara_pin_iovec(r.mm, 0x100000, 0, SAMARA_READ, iov, &pieces, pages, &pinned, 8), 0);
	assert_int_equal(pieces + pinned, 0);
	ram_close(&r);
}

static void test_stack_grows(void **state)
{
	struct ram r;
	struct samara_signal s;
	char byte = 5;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x7000000, 4 * PAGE, RW, FIXED | SAMARA_MAP_GROWSDOWN, NULL, 0);
	store(r.mm, 0x6ff8000, 1);
	assert_int_equal(load(r.mm, 0x6ff8000), 1);
	assert_int_equal(samara_store(r.mm, 0x100000, &byte, 1, &s), 0);
	assert_int_equal(s.code, SAMARA_SEGV_MAPERR);
	ram_close(&r);
}

static void test_out_of_frames(void **state)
{
	struct ram r;
	struct samara_signal s;
	uint64_t done = 0;
	char byte = 1;

	(void)state;
	ram_open_with(&r, 64, SAMARA_TABLE_X86_4);
	samara_mmap(r.mm, 0x100000, 128 * PAGE, RW, FIXED, NULL, 0);
	while (samara_store(r.mm, 0x100000 + done * PAGE, &byte, 1, &s) == 1)
		done++;
	assert_int_equal(s.error, -SAMARA_ENOMEM);
	assert_true(done > 50);
	samara_check_machine(r.vm);
	must(samara_madvise(r.mm, 0x100000, PAGE, SAMARA_MADV_DONTNEED));
	assert_int_equal(samara_store(r.mm, 0x100000 + done * PAGE, &byte, 1, &s), 1);
	ram_close(&r);
}

static void test_guards_and_free(void **state)
{
	struct ram r;
	struct samara_signal s;
	unsigned char vec[4];
	char byte = 1;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, 4 * PAGE, RW, FIXED, NULL, 0);
	store(r.mm, 0x101000, 3);
	must(samara_madvise(r.mm, 0x101000, PAGE, SAMARA_MADV_GUARD_INSTALL));
	assert_int_equal(samara_store(r.mm, 0x101000, &byte, 1, &s), 0);
	assert_int_equal(s.signo, SAMARA_SIGSEGV);
	must(samara_madvise(r.mm, 0x100000, 4 * PAGE, SAMARA_MADV_DONTNEED));
	assert_int_equal(samara_store(r.mm, 0x101000, &byte, 1, &s), 0);
	must(samara_madvise(r.mm, 0x101000, PAGE, SAMARA_MADV_GUARD_REMOVE));
	assert_int_equal(load(r.mm, 0x101000), 0);
	store(r.mm, 0x102000, 9);
	must(samara_madvise(r.mm, 0x102000, PAGE, SAMARA_MADV_FREE));
	assert_int_equal(load(r.mm, 0x102000), 9); /* nobody was short of memory */
	must(samara_mincore(r.mm, 0x100000, 4 * PAGE, vec));
	assert_memory_equal(vec, "\0\1\1\0", 4);
	ram_close(&r);
}

static void test_atomics(void **state)
{
	struct ram r;
	uint64_t old;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, PAGE, RW, FIXED, NULL, 0);
	must(samara_atomic(r.mm, 0x100008, 4, SAMARA_ATOMIC_ADD, 5, &old, NULL));
	must(samara_atomic(r.mm, 0x100008, 4, SAMARA_ATOMIC_ADD, 5, &old, NULL));
	assert_int_equal(old, 5);
	must(samara_compare_exchange(r.mm, 0x100008, 8, 10, 77, &old, NULL));
	assert_int_equal(old, 10);
	must(samara_compare_exchange(r.mm, 0x100008, 8, 10, 78, &old, NULL));
	assert_int_equal(old, 77);
	assert_int_equal(load(r.mm, 0x100008), 77);
	assert_int_equal(samara_atomic(r.mm, 0x100001, 4, SAMARA_ATOMIC_ADD, 5, &old, NULL), -SAMARA_EINVAL);
	ram_close(&r);
}

/* One byte and two are parts of the word that they lie in, and leave the rest of it alone. */
static void test_narrow_atomics(void **state)
{
	struct ram r;
	uint64_t old;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, PAGE, RW, FIXED, NULL, 0);
	store(r.mm, 0x100000, 0x8877665544332211);
	must(samara_atomic(r.mm, 0x100003, 1, SAMARA_ATOMIC_ADD, 0xcc, &old, NULL)); /* 0x44 + 0xcc: the carry is lost */
	assert_int_equal(old, 0x44);
	must(samara_atomic(r.mm, 0x100006, 2, SAMARA_ATOMIC_XOR, 0xffff, &old, NULL));
	assert_int_equal(old, 0x8877);
	must(samara_atomic(r.mm, 0x100000, 1, SAMARA_ATOMIC_AND, 0x0f, &old, NULL));
	must(samara_atomic(r.mm, 0x100001, 1, SAMARA_ATOMIC_OR, 0x1110, &old, NULL)); /* the operand is one byte */
	must(samara_atomic(r.mm, 0x100004, 2, SAMARA_ATOMIC_EXCHANGE, 0xabcdef, &old, NULL));
	assert_int_equal(old, 0x6655);
	assert_int_equal(load(r.mm, 0x100000), 0x7788cdef10333201);
	must(samara_compare_exchange(r.mm, 0x100002, 1, 0x33, 0x99, &old, NULL));
	assert_int_equal(old, 0x33);
	must(samara_compare_exchange(r.mm, 0x100002, 1, 0x33, 0x77, &old, NULL));
	assert_int_equal(old, 0x99);
	assert_int_equal(load(r.mm, 0x100000), 0x7788cdef10993201);
	assert_int_equal(samara_atomic(r.mm, 0x100001, 2, SAMARA_ATOMIC_ADD, 5, &old, NULL), -SAMARA_EINVAL);
	ram_close(&r);
}

/* A space without a size of its own ends where its table's user half does. */
static void test_size_of_the_format(void **state)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = 512, .table_format = SAMARA_TABLE_SV39 };
	struct samara_mm_params large = { .size = sizeof(large), .task_size = 1ull << 39 };
	struct samara_mm_stat stat;
	struct samara_mm *mm;
	struct ram r;
	int64_t at;

	(void)state;
	sim_init(&r.sim);
	config.memory = r.memory = aligned_alloc(4096, 512 * 4096);
	must(samara_create(&r.sim.port, &config, &r.vm));
	must(samara_mm_create(r.vm, NULL, &r.mm));
	assert_int_equal(samara_mm_create(r.vm, &large, &mm), -SAMARA_EINVAL);
	samara_mm_stat(r.mm, &stat);
	assert_true(stat.mmap_base < 1ull << 38);
	at = samara_mmap(r.mm, 0, PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS, NULL, 0);
	assert_in_range(at, 1ull << 37, (1ull << 38) - PAGE);
	store(r.mm, (uint64_t)at, 39);
	assert_int_equal(samara_fault(r.mm, (uint64_t)at + (1ull << 39), SAMARA_READ, NULL), -SAMARA_EFAULT);
	assert_int_equal(samara_mmap(r.mm, 1ull << 38, PAGE, RW, FIXED, NULL, 0), -SAMARA_ENOMEM);
	ram_close(&r);
}

/* What a processor without Svadu sees: a fault on an entry that lacks only the dirty bit sets it. */
static void test_fault_marks_dirty(void **state)
{
	const uint64_t dirty = 1u << 6;
	struct ram r;
	uint64_t *entry;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, PAGE, RW, FIXED, NULL, 0);
	store(r.mm, 0x100000, 1);
	must(samara_madvise(r.mm, 0x100000, PAGE, SAMARA_MADV_FREE));
	entry = (uint64_t *)((char *)r.memory + (samara_table_root(r.mm) - 0x100) * 4096);
	for (int level = 3; level > 0; level--)
		entry = (uint64_t *)((char *)r.memory + ((entry[0x100000ull >> (12 + 9 * level) & 511] >> 12 & 0xffffffffff) - 0x100) * 4096);
	entry += 0x100;
	assert_int_equal(*entry & dirty, 0);
	must(samara_fault(r.mm, 0x100000, SAMARA_READ, NULL));
	assert_int_equal(*entry & dirty, 0);
	must(samara_fault(r.mm, 0x100000, SAMARA_WRITE, NULL));
	assert_int_equal(*entry & dirty, dirty);
	ram_close(&r);
}

/* MADV_POPULATE_READ and _WRITE, as a call. */
static void test_populate(void **state)
{
	struct ram r;

	(void)state;
	ram_open(&r);
	samara_mmap(r.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	must(samara_populate(r.mm, 0x100000, 8 * PAGE, SAMARA_READ));
	assert_int_equal(anon_pages(r.mm), 0);
	must(samara_populate(r.mm, 0x102000, 3 * PAGE, SAMARA_WRITE));
	assert_int_equal(anon_pages(r.mm), 3);
	assert_int_equal(samara_populate(r.mm, 0x100000, PAGE, SAMARA_EXEC), -SAMARA_EINVAL);
	assert_int_equal(samara_populate(r.mm, 0x200000, PAGE, SAMARA_READ), -SAMARA_ENOMEM);
	ram_close(&r);
}

/* Entries that stand follow pkey_mprotect, and new ones have the mapping's key: the whole check compares them (M2). */
static void test_protection_keys(void **state)
{
	struct ram r;
	int key;

	(void)state;
	ram_open(&r);
	key = samara_pkey_alloc(r.mm, 0, 0);
	assert_true(key > 0);
	samara_mmap(r.mm, 0x100000, 8 * PAGE, RW, FIXED, NULL, 0);
	store(r.mm, 0x100000, 1);
	assert_int_equal(load(r.mm, 0x101000), 0);
	must(samara_pkey_mprotect(r.mm, 0x100000, 4 * PAGE, RW, key));
	samara_check_machine(r.vm);
	store(r.mm, 0x102000, 2);
	assert_int_equal(load(r.mm, 0x103000), 0);
	samara_check_machine(r.vm);
	must(samara_pkey_mprotect(r.mm, 0x101000, 3 * PAGE, SAMARA_PROT_READ, 0));
	samara_check_machine(r.vm);
	assert_int_equal(load(r.mm, 0x102000), 2);
	ram_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_touch),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_fork_copies_on_write),
		cmocka_unit_test(test_fork_chain_is_bounded),
		cmocka_unit_test(test_mremap_moves_pages),
		cmocka_unit_test(test_pins_survive_fork),
		cmocka_unit_test(test_pins_of_a_private_file),
		cmocka_unit_test(test_pins_for_reading), cmocka_unit_test(test_forced_copies_grow_a_stack),
		cmocka_unit_test(test_pinned_iovec), cmocka_unit_test(test_stack_grows),
		cmocka_unit_test(test_out_of_frames),
		cmocka_unit_test(test_guards_and_free),
		cmocka_unit_test(test_atomics),
		cmocka_unit_test(test_narrow_atomics),
		cmocka_unit_test(test_size_of_the_format),
		cmocka_unit_test(test_fault_marks_dirty),
		cmocka_unit_test(test_populate),
		cmocka_unit_test(test_protection_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
