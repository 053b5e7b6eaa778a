/* memory_fail_test.c - every allocation, every frame and every callback of what touches memory, failed in turn.
 *
 * For each request: build a fixed scene (a space with private, shared and file memory, a forked sibling, a pinned
 * page), make one thing fail, run the request.  What fails: the n-th allocation of metadata; the frames, of which only
 * k are left; the n-th callback of the file; or a fatal signal is there from the n-th look for one on.  n and k count
 * up until nothing failed.  After a failure maps, smaps and
 * contents of both spaces are as before, but for requests marked `partial`, which do part of their work in Linux too (a
 * read fault maps neighbours first); in every case the whole machine is consistent, and the end finds nothing left.
 */
#include "tests/unit/support.h"

#define FRAMES 512
#define must(call) assert_true((int64_t)(call) >= 0)
#define A 0x1000000ull /* private anonymous, shared with the sibling since the fork */
#define B 0x2000000ull /* the file, shared */
#define C 0x3000000ull /* the file, private */
#define D 0x4000000ull /* shared anonymous */
#define STACK 0x7000000ull
#define PAGES 8

struct scene {
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm, *sibling, *hoarder, *child;
	struct samara_inode *inode;
	struct samara_file *file;
	struct samara_page pinned, more[2];
	int64_t more_pinned;
	void *memory;
	uint64_t hoarded;
	char disk[PAGES][4096];
	unsigned calls, fail_call; /* callbacks so far; the one that fails */
	bool failed;
};

static int callback(struct scene *s)
{
	s->failed |= ++s->calls == s->fail_call;
	return s->calls == s->fail_call ? -SAMARA_EIO : 0;
}

static int disk_read(void *self, uint64_t index, void *page)
{
	struct scene *s = self;

	memcpy(page, s->disk[index % PAGES], 4096);
	return callback(s);
}

static int disk_write(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct scene *s = self;
	int err = callback(s);

	if (!err)
		memcpy(s->disk[index % PAGES], page, bytes);
	return err;
}

static int disk_mkwrite(void *self, uint64_t index)
{
	(void)index;
	return callback(self);
}

static int disk_sync(void *self)
{
	return callback(self);
}

static int disk_size(void *self, uint64_t bytes)
{
	(void)bytes;
	return callback(self);
}

static int disk_punch(void *self, uint64_t start, uint64_t end)
{
	(void)start;
	(void)end;
	return callback(self);
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops), .read_page = disk_read, .write_page = disk_write,
	.page_mkwrite = disk_mkwrite, .sync = disk_sync, .set_size = disk_size, .punch = disk_punch };

static void put(struct samara_mm *mm, uint64_t addr, uint64_t value)
{
	assert_int_equal(samara_store(mm, addr, &value, sizeof(value), NULL), sizeof(value));
}

static void scene_open(struct scene *s)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES };
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull, .personality = SAMARA_ADDR_NO_RANDOMIZE,
		.start_brk = 0x8000000, .brk = 0x8000000 };
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .ino = 7, .size_bytes = PAGES * PAGE - 100, .ops = &disk_ops, .self = s };

	memset(s, 0, sizeof(*s));
	sim_init(&s->sim);
	config.memory = s->memory = aligned_alloc(4096, FRAMES * PAGE);
	memset(s->memory, 0x5a, FRAMES * PAGE);
	for (int i = 0; i < PAGES; i++)
		memset(s->disk[i], 'a' + i, 4096);
	must(samara_create(&s->sim.port, &config, &s->vm));
	must(samara_mm_create(s->vm, &params, &s->mm));
	must(samara_mm_create(s->vm, &params, &s->hoarder));
	must(samara_inode_create(s->vm, &desc, &s->inode));
	must(samara_file_open(s->inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/disk", &s->file));
	must(samara_mmap(s->mm, A, PAGES * PAGE, RW, FIXED, NULL, 0));
	must(samara_mmap(s->mm, B, PAGES * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_FIXED, s->file, 0));
	must(samara_mmap(s->mm, C, PAGES * PAGE, RW, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED, s->file, 0));
	must(samara_mmap(s->mm, D, PAGES * PAGE, RW, SAMARA_MAP_SHARED | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, NULL, 0));
	must(samara_mmap(s->mm, STACK, 2 * PAGE, RW, FIXED | SAMARA_MAP_GROWSDOWN, NULL, 0));
	must(samara_madvise(s->mm, B, PAGES * PAGE, SAMARA_MADV_RANDOM));
	must(samara_madvise(s->mm, C, PAGES * PAGE, SAMARA_MADV_RANDOM));
	for (uint64_t i = 0; i < 6; i++)
		put(s->mm, A + i * PAGE, 100 + i);
	put(s->mm, B + PAGE, 1);
	put(s->mm, C + 2 * PAGE, 2);
	put(s->mm, D + 3 * PAGE, 3);
	must(samara_pin(s->mm, A + 5 * PAGE, 1, SAMARA_WRITE, &s->pinned));
	must(samara_fork(s->mm, &s->sibling));
	put(s->mm, A, 7);
	put(s->sibling, A + PAGE, 8);
	must(samara_mmap(s->hoarder, 0x1000000, FRAMES * PAGE, RW, FIXED, NULL, 0));
	s->calls = 0;
}

/* Leave `left` frames. */
static void hoard(struct scene *s, uint64_t left)
{
	struct samara_usage u;

	for (;;) {
		sim_quiesce(&s->sim);
		samara_usage(s->vm, &u);
		if (u.free_pages <= left)
			return;
		put(s->hoarder, 0x1000000 + s->hoarded++ * PAGE, 1);
	}
}

static void scene_close(struct scene *s)
{
	if (s->more_pinned > 0)
		samara_unpin(s->vm, s->more, (size_t)s->more_pinned, 0);
	samara_unpin(s->vm, &s->pinned, 1, 0);
	if (s->child)
		samara_mm_put(s->child);
	samara_mm_put(s->hoarder);
	samara_mm_put(s->sibling);
	samara_mm_put(s->mm);
	samara_file_put(s->file);
	samara_inode_put(s->inode);
	samara_check_machine(s->vm);
	assert_int_equal(samara_committed_as(s->vm), 0);
	samara_destroy(s->vm);
	assert_int_equal(s->sim.live_blocks, 0);
	free(s->memory);
}

/* Contents of everything, as both spaces see it; reading them brings pages in, so this is the last look. */
static uint64_t contents(struct scene *s)
{
	static const uint64_t areas[] = { A, B, C, D };
	struct samara_mm *spaces[] = { s->mm, s->sibling };
	uint64_t hash = 0xcbf29ce484222325ull;
	unsigned char page[4096];

	samara_munmap(s->hoarder, 0x1000000, FRAMES * PAGE);
	sim_quiesce(&s->sim);
	s->fail_call = 0;
	for (size_t i = 0; i < 2; i++)
		for (size_t a = 0; a < sizeof(areas) / sizeof(areas[0]); a++)
			for (uint64_t p = 0; p < PAGES; p++) {
				size_t n = samara_load(spaces[i], areas[a] + p * PAGE, page, sizeof(page), NULL);

				for (size_t b = 0; b < n; b++)
					hash = (hash ^ page[b]) * 0x100000001b3ull;
				hash = (hash ^ n) * 0x100000001b3ull;
			}
	return hash;
}

static int64_t stored(struct samara_mm *mm, uint64_t addr)
{
	struct samara_signal why;
	char byte = 'x';

	return samara_store(mm, addr, &byte, 1, &why) == 1 ? 0 : why.error;
}

static int64_t loaded(struct samara_mm *mm, uint64_t addr)
{
	struct samara_signal why;
	char byte;

	return samara_load(mm, addr, &byte, 1, &why) == 1 ? 0 : why.error;
}

static int64_t do_fork(struct scene *s) { return samara_fork(s->mm, &s->child); }
static int64_t do_touch(struct scene *s) { return stored(s->mm, A + 7 * PAGE); }
static int64_t do_cow(struct scene *s) { return stored(s->mm, A + 2 * PAGE); }
static int64_t do_far_touch(struct scene *s)
{
	int64_t at = samara_mmap(s->mm, 0x500000000000, PAGE, RW, FIXED, NULL, 0);

	return at < 0 ? at : stored(s->mm, (uint64_t)at);
}
static int64_t do_load_file(struct scene *s) { return loaded(s->mm, B + 5 * PAGE); }
static int64_t do_store_file(struct scene *s) { return stored(s->mm, B + 5 * PAGE); }
static int64_t do_mkwrite(struct scene *s)
{
	int64_t err = loaded(s->mm, B + 6 * PAGE);

	return err ? err : stored(s->mm, B + 6 * PAGE);
}
static int64_t do_cow_file(struct scene *s) { return stored(s->mm, C + 5 * PAGE); }
static int64_t do_store_shared(struct scene *s) { return stored(s->mm, D + 6 * PAGE); }
static int64_t do_stack(struct scene *s) { return stored(s->mm, STACK - 3 * PAGE); }
static int64_t do_populate(struct scene *s) { return samara_mmap(s->mm, 0x6000000, 20 * PAGE, RW, FIXED | SAMARA_MAP_POPULATE, NULL, 0); }
static int64_t do_populate_advice(struct scene *s) { return samara_madvise(s->mm, A, PAGES * PAGE, SAMARA_MADV_POPULATE_WRITE); }
static int64_t do_mremap(struct scene *s) { return samara_mremap(s->mm, A, PAGES * PAGE, 2 * PAGES * PAGE, SAMARA_MREMAP_MAYMOVE, 0); }
static int64_t do_mprotect(struct scene *s) { return samara_mprotect(s->mm, A + PAGE, PAGE, SAMARA_PROT_READ); }
static int64_t do_munmap(struct scene *s) { return samara_munmap(s->mm, A + PAGE, PAGE); }
static int64_t do_guard(struct scene *s) { return samara_madvise(s->mm, A + PAGE, 6 * PAGE, SAMARA_MADV_GUARD_INSTALL); }
static int64_t do_mlock(struct scene *s) { return samara_mlock(s->mm, A, PAGES * PAGE); }
static int64_t do_remove(struct scene *s) { return samara_madvise(s->mm, D, 4 * PAGE, SAMARA_MADV_REMOVE); }
static int64_t do_pin(struct scene *s) { return s->more_pinned = samara_pin(s->mm, A + 2 * PAGE, 2, SAMARA_READ, s->more); }
static int64_t do_write(struct scene *s)
{
	char data[5000];

	memset(data, 'w', sizeof(data));
	return samara_file_write(s->file, 3 * PAGE + 7, data, sizeof(data));
}
static int64_t do_read(struct scene *s)
{
	char data[5000];

	return samara_file_read(s->file, 3 * PAGE + 7, data, sizeof(data));
}
static int64_t do_truncate(struct scene *s) { return samara_file_truncate(s->file, 2 * PAGE + 5); }
static int64_t do_punch(struct scene *s)
{
	return samara_file_fallocate(s->file, SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE, PAGE + 5, 3 * PAGE);
}
static int64_t do_msync(struct scene *s) { return samara_msync(s->mm, B, PAGES * PAGE, SAMARA_MS_SYNC); }
static int64_t do_fsync(struct scene *s) { return samara_file_fsync(s->file); }
static int64_t do_copy_to(struct scene *s)
{
	struct samara_signal why;
	char data[3 * 4096] = "copied";

	return samara_copy_to(s->mm, A + 2 * PAGE, data, sizeof(data), SAMARA_FORCE, &why) == sizeof(data) ? 0 : why.error;
}

static const struct request {
	const char *name;
	int64_t (*run)(struct scene *s);
	bool partial;
} requests[] = {
	{ "fork", do_fork, false }, { "first touch", do_touch, false }, { "copy on write", do_cow, false }, { "far touch", do_far_touch, true },
	{ "load of a file", do_load_file, true }, { "store to a file", do_store_file, true }, { "page_mkwrite", do_mkwrite, true },
	{ "private copy of a file", do_cow_file, true }, { "store to shared memory", do_store_shared, false }, { "stack", do_stack, true },
	{ "MAP_POPULATE", do_populate, true }, { "MADV_POPULATE_WRITE", do_populate_advice, true }, { "mremap", do_mremap, false },
	{ "mprotect", do_mprotect, false }, { "munmap", do_munmap, false }, { "guards", do_guard, true }, { "mlock", do_mlock, true },
	{ "MADV_REMOVE", do_remove, true }, { "pin", do_pin, true }, { "write", do_write, true }, { "read", do_read, true },
	{ "truncate", do_truncate, false }, { "punch", do_punch, true }, { "msync", do_msync, true }, { "fsync", do_fsync, true },
	{ "copy_to", do_copy_to, true },
};

enum way { METADATA, FRAMES_LEFT, CALLBACKS, KILLED, WAYS };

static bool may_return(enum way way, const struct request *r, int64_t err)
{
	if (way == KILLED)
		return err == -SAMARA_EINTR;
	if (err == -SAMARA_ENOMEM || err == -SAMARA_EAGAIN || err == -SAMARA_ENOSPC)
		return true;
	if (r->run == do_stack && err == -SAMARA_EFAULT)
		return true; /* whatever keeps a stack from growing is SIGSEGV */
	return way == CALLBACKS && (err == -SAMARA_EIO || err == -SAMARA_EFAULT);
}

static bool met(enum way way, const struct scene *s, int64_t result)
{
	switch (way) {
	case METADATA:
		return s->sim.failures > 0;
	case CALLBACKS:
		return s->failed;
	case KILLED:
		return s->sim.kills > 0;
	default:
		return result < 0 && result > -4096;
	}
}

struct look {
	struct text_buffer maps, smaps, sibling;
	uint64_t charge;
};

static void look_at(struct scene *s, struct look *l)
{
	l->maps.used = l->smaps.used = l->sibling.used = 0;
	must(samara_view_maps(s->mm, text_sink, &l->maps));
	must(samara_view_smaps(s->mm, text_sink, &l->smaps));
	must(samara_view_smaps(s->sibling, text_sink, &l->sibling));
	l->charge = (uint64_t)samara_committed_as(s->vm);
}

static void same_text(const char *name, const char *what, const struct text_buffer *a, const struct text_buffer *b)
{
	if (a->used != b->used || memcmp(a->text, b->text, a->used))
		fail_msg("%s: %s changed by a request that failed:\n%.*s\n->\n%.*s", name, what, (int)a->used, a->text, (int)b->used, b->text);
}

/* True: something failed. */
static bool run_once(const struct request *r, enum way way, unsigned n, uint64_t untouched)
{
	static struct scene s;
	static struct look before, after;
	int64_t result;
	bool failed;

	scene_open(&s);
	if (way == FRAMES_LEFT)
		hoard(&s, n);
	look_at(&s, &before);
	if (way == METADATA)
		s.sim.fail_at = n + 1;
	else if (way == CALLBACKS)
		s.fail_call = n + 1;
	else if (way == KILLED)
		s.sim.kill_at = n + 1;
	result = r->run(&s);
	failed = met(way, &s, result);
	s.sim.fail_at = s.sim.kill_at = 0;
	if (result < 0 && result > -4096 && !may_return(way, r, result))
		fail_msg("%s: %lld", r->name, (long long)result);
	samara_check_machine(s.vm);
	if (result < 0 && result > -4096 && !r->partial) {
		look_at(&s, &after);
		same_text(r->name, "maps", &before.maps, &after.maps);
		same_text(r->name, "smaps", &before.smaps, &after.smaps);
		same_text(r->name, "the sibling", &before.sibling, &after.sibling);
		assert_int_equal(before.charge, after.charge);
		if (contents(&s) != untouched)
			fail_msg("%s: contents changed by a request that failed", r->name);
	}
	scene_close(&s);
	return failed;
}

static uint64_t untouched_contents(void)
{
	static struct scene s;
	uint64_t hash;

	scene_open(&s);
	hash = contents(&s);
	scene_close(&s);
	return hash;
}

static void fail_all(enum way way)
{
	uint64_t untouched = untouched_contents();
	unsigned sum = 0;

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		unsigned n = 0;

		while (run_once(&requests[i], way, n, untouched))
			assert_true(++n < 400);
		sum += n;
	}
	if (sum < 6) /* most requests find what they need in reserve */
		fail_msg("only %u failures were met", sum);
}

static void test_metadata(void **state) { (void)state; fail_all(METADATA); }
static void test_frames(void **state) { (void)state; fail_all(FRAMES_LEFT); }
static void test_callbacks(void **state) { (void)state; fail_all(CALLBACKS); }
static void test_killed(void **state) { (void)state; fail_all(KILLED); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metadata), cmocka_unit_test(test_frames), cmocka_unit_test(test_callbacks), cmocka_unit_test(test_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
