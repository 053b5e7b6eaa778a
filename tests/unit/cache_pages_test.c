/* cache_pages_test.c - core/cache: what pages cost and when: callbacks that fail or come later, readahead, reclaim,
 * errors of write-back, and each allocation failing in turn.
 */
#include "tests/unit/cache_support.h"

static struct disk disk;

static void put(struct yard *y, struct frame *page)
{
	frame_put(&y->vm->frames, 0, page);
}

static void get(struct yard *y, struct samara_file *file, uint64_t index, unsigned how)
{
	struct frame *page;

	assert_int_equal(cache_get(file->inode, file, index, how, &page), 0);
	put(y, page);
}

static void expect_bytes(struct samara_file *file, uint64_t offset, uint64_t bytes)
{
	static unsigned char to[DISK_PAGES * 4096];

	assert_int_equal(samara_file_read(file, offset, to, bytes), bytes);
	for (uint64_t i = 0; i < bytes; i++)
		if (to[i] != disk_byte(offset + i))
			fail_msg("byte %llu is wrong", (unsigned long long)(offset + i));
}

static uint64_t pages_of(struct samara_file *file)
{
	uint64_t pages, dirty;

	samara_inode_usage(file->inode, &pages, &dirty);
	return pages;
}

static uint64_t dirty_of(struct samara_file *file)
{
	uint64_t pages, dirty;

	samara_inode_usage(file->inode, &pages, &dirty);
	return dirty;
}

static void test_get(void **state)
{
	struct samara_file *file;
	struct frame *page, *again;
	struct yard y;
	unsigned char *bytes;

	(void)state;
	yard_open(&y, 128);
	file = disk_file(y.vm, &disk, 10000, &disk_slow_ops);
	assert_int_equal(cache_get(file->inode, file, 3, 0, &page), -SAMARA_ERANGE);
	assert_int_equal(cache_get(file->inode, file, 0, CACHE_NOCREATE, &page), -SAMARA_ENOENT);
	assert_int_equal(disk.reads, 0);
	assert_int_equal(samara_file_cached(file, 8192), 0);
	assert_int_equal(cache_get(file->inode, NULL, 2, CACHE_LOCK, &page), 0);
	assert_int_equal(disk.reads, 1);
	assert_true(cache_page_here(file->inode, page, 2));
	assert_int_equal(samara_file_cached(file, 8192), 1);
	bytes = frame_host(&y.vm->frames, page);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(bytes[i], 8192 + i < 10000 ? disk_byte(8192 + i) : 0);
	assert_int_equal(cache_get(file->inode, NULL, 2, CACHE_LOCK | CACHE_NOWAIT, &again), -SAMARA_EAGAIN);
	assert_int_equal(cache_get(file->inode, NULL, 2, CACHE_NOWAIT | CACHE_NOCREATE, &again), 0);
	assert_ptr_equal(page, again);
	put(&y, again);
	page_unlock(y.vm, page);
	put(&y, page);
	/* behind the end: nothing to read, zeroes */
	assert_int_equal(cache_get(file->inode, NULL, 3, CACHE_GROW | CACHE_LOCK, &page), 0);
	assert_int_equal(disk.reads, 1);
	bytes = frame_host(&y.vm->frames, page);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(bytes[i], 0);
	cache_remove(file->inode, page);
	assert_false(cache_page_here(file->inode, page, 3));
	page_unlock(y.vm, page);
	put(&y, page);
	/* to be overwritten: not read */
	assert_int_equal(cache_get(file->inode, NULL, 1, CACHE_BLANK, &page), 0);
	assert_int_equal(disk.reads, 1);
	assert_false(page_has(page, PAGE_UPTODATE));
	memset(frame_host(&y.vm->frames, page), 'x', 4096);
	page_fill_done(page);
	page_unlock(y.vm, page);
	put(&y, page);
	check_inode(file->inode);
	samara_file_put(file);
	assert_int_equal(disk.released, 1);
	yard_close(&y);
}

static void test_read_fails(void **state)
{
	struct samara_file *file;
	struct frame *page;
	struct yard y;
	char byte;

	(void)state;
	for (unsigned many = 0; many < 2; many++) {
		yard_open(&y, 128);
		file = disk_file(y.vm, &disk, 40 * 4096, many ? &disk_ops : &disk_slow_ops);
		disk.read_error = -SAMARA_EIO;
		assert_int_equal(samara_file_read(file, 4096, &byte, 1), -SAMARA_EIO);
		assert_int_equal(samara_file_write(file, 4096, &byte, 1), -SAMARA_EIO);
		assert_int_equal(cache_get(file->inode, NULL, 1, CACHE_NOCREATE, &page), -SAMARA_ENOENT);
		assert_int_equal(samara_file_cached(file, 4096), 0);
		check_inode(file->inode);
		/* the next one tries again */
		disk.read_error = 0;
		expect_bytes(file, 4096, 1);
		/* a bad page in the window harms those that were asked for no more than itself */
		disk.has_bad = true;
		disk.bad_page = 6;
		for (uint64_t i = 0; i < 6; i++)
			expect_bytes(file, i * 4096, 4096);
		assert_int_equal(samara_file_read(file, 6 * 4096, &byte, 1), -SAMARA_EIO);
		for (uint64_t i = 7; i < 40; i++)
			expect_bytes(file, i * 4096, 4096);
		check_inode(file->inode);
		disk.has_bad = false;
		expect_bytes(file, 0, 40 * 4096);
		/* short: what came before the error */
		assert_int_equal(samara_reclaim(y.vm, 1000), 40);
		assert_int_equal(pages_of(file), 0);
		disk.has_bad = true;
		{
			static char to[40 * 4096];

			assert_int_equal(samara_file_read(file, 100, to, sizeof(to) - 100), 6 * 4096 - 100);
		}
		check_inode(file->inode);
		samara_file_put(file);
		yard_close(&y);
	}
}

/* A write far behind the end zeroes the rest of the last page: while that is being read, the write comes too early. */
static void test_growth_while_the_tail_is_read(void **state)
{
	struct samara_file *file;
	struct yard y;

	(void)state;
	yard_open(&y, 128);
	file = disk_file(y.vm, &disk, 4096 + 100, &disk_slow_ops);
	disk.later = true;
	assert_int_equal(samara_file_read(file, 4096, (char[1]){ 0 }, 1), -SAMARA_EAGAIN);
	assert_int_equal(samara_file_write(file, 5 * 4096, "far", 3), -SAMARA_EAGAIN);
	assert_int_equal(disk.sizes, 0);
	disk_deliver(&disk, file->inode, 0);
	disk.later = false;
	assert_int_equal(samara_file_write(file, 5 * 4096, "far", 3), 3);
	assert_int_equal(file->inode->desc.size_bytes, 5 * 4096 + 3);
	expect_bytes(file, 0, 4096 + 100);
	samara_file_put(file);
	yard_close(&y);
}

/* With a port that cannot wait, a page that comes later is -EAGAIN until it is there. */
static void test_read_later(void **state)
{
	static char to[3 * 4096];
	struct samara_file *file;
	struct samara_inode *inode;
	struct yard y;

	(void)state;
	yard_open(&y, 128);
	file = disk_file(y.vm, &disk, 10 * 4096, &disk_slow_ops);
	inode = file->inode;
	disk.later = true;
	assert_int_equal(samara_file_read(file, 3 * 4096, to, 10), -SAMARA_EAGAIN);
	assert_int_equal(disk.waiting, 1);
	assert_int_equal(samara_file_read(file, 3 * 4096, to, 10), -SAMARA_EAGAIN);
	assert_int_equal(samara_file_write(file, 3 * 4096, to, 10), -SAMARA_EAGAIN);
	assert_int_equal(disk.waiting, 1);
	check_inode(inode);
	/* neither may its page be taken away meanwhile */
	assert_int_equal(samara_file_truncate(file, 4096), -SAMARA_EAGAIN);
	assert_int_equal(samara_file_fallocate(file, 3, 0, 10 * 4096), -SAMARA_EAGAIN);
	assert_int_equal(samara_reclaim(y.vm, 10), 0);
	assert_int_equal(inode->desc.size_bytes, 10 * 4096);
	samara_read_done(inode, 5, 0); /* news of a page that nobody asked for */
	disk_deliver(&disk, inode, 0);
	samara_read_done(inode, 3, -SAMARA_EIO); /* twice */
	expect_bytes(file, 3 * 4096, 10);
	/* from the start: the window comes with it */
	assert_int_equal(samara_file_read(file, 0, to, sizeof(to)), -SAMARA_EAGAIN);
	assert_int_equal(disk.waiting, 3);
	disk_deliver(&disk, inode, 0);
	expect_bytes(file, 0, 3 * 4096);
	/* an error: the next reader asks again */
	assert_int_equal(samara_file_read(file, 8 * 4096, to, 10), -SAMARA_EAGAIN);
	disk_deliver(&disk, inode, -SAMARA_EIO);
	check_inode(inode);
	assert_int_equal(samara_file_read(file, 8 * 4096, to, 10), -SAMARA_EAGAIN);
	/* the inode waits for its page, though nobody has the file any more */
	samara_file_put(file);
	assert_int_equal(disk.released, 0);
	disk_deliver(&disk, inode, 0);
	assert_int_equal(disk.released, 1);
	yard_close(&y);
}

static void test_readahead(void **state)
{
	static const unsigned windows[] = { 4, 8, 16, 32 };
	struct samara_file *file, *other;
	unsigned sum = 0;
	struct yard y;

	(void)state;
	yard_open(&y, 256);
	file = disk_file(y.vm, &disk, 90 * 4096, &disk_ops);
	/* in order: windows that double; the second half of each begins the next */
	for (unsigned w = 0; w < ARRAY_SIZE(windows); w++) {
		unsigned begin = w ? sum - windows[w - 1] / 2 : 0;

		for (uint64_t i = w > 1 ? sum - windows[w - 1] - windows[w - 2] / 2 : 0; i < begin; i++)
			expect_bytes(file, i * 4096, 1);
		assert_int_equal(pages_of(file), sum);
		expect_bytes(file, (uint64_t)begin * 4096, 1);
		sum += windows[w];
		assert_int_equal(pages_of(file), sum);
		assert_int_equal(disk.batches, w + 1);
	}
	assert_int_equal(disk.reads, 0);
	expect_bytes(file, 0, 90 * 4096);
	assert_int_equal(pages_of(file), 90);
	assert_int_equal(samara_reclaim(y.vm, 1000), 90);
	/* out of order: that page alone */
	disk.batches = disk.reads = 0;
	for (uint64_t i = 80; i > 0; i -= 8)
		expect_bytes(file, i * 4096, 4096);
	assert_int_equal(pages_of(file), 10);
	assert_int_equal(disk.batches, 0);
	assert_int_equal(disk.reads, 10);
	assert_int_equal(samara_reclaim(y.vm, 1000), 10);
	assert_int_equal(samara_file_open(file->inode, SAMARA_FMODE_READ, "other", &other), 0);
	get(&y, other, 0, CACHE_RANDOM);
	get(&y, other, 1, CACHE_RANDOM);
	assert_int_equal(pages_of(file), 2);
	/* a fault out of order brings its block */
	get(&y, other, 21, CACHE_FAULT);
	assert_int_equal(pages_of(file), 10);
	assert_int_equal(samara_file_cached(other, 16 * 4096), 1);
	assert_int_equal(samara_file_cached(other, 24 * 4096), 0);
	/* one that follows on doubles */
	get(&y, other, 24, CACHE_FAULT);
	assert_int_equal(pages_of(file), 26);
	get(&y, other, 60, CACHE_SEQUENTIAL);
	assert_int_equal(pages_of(file), 30);
	get(&y, other, 89, CACHE_FAULT);
	assert_int_equal(pages_of(file), 32); /* the block of 88, up to the end */
	assert_int_equal(samara_reclaim(y.vm, 1000), 32);
	/* asked for: as much as frames are free, and no more */
	assert_int_equal(samara_file_readahead(other, 4096, 20 * 4096), 0);
	assert_int_equal(pages_of(file), 20);
	assert_int_equal(samara_file_readahead(other, 0, 0), 0);
	assert_int_equal(pages_of(file), 90);
	assert_int_equal(samara_file_readahead(other, 91 * 4096, 4096), 0);
	assert_int_equal(samara_file_readahead(other, 0, UINT64_MAX), -SAMARA_EINVAL);
	/* clean whole pages go */
	assert_int_equal(samara_file_write(file, 3 * 4096, "x", 1), 1);
	assert_int_equal(samara_file_drop(other, 1, 5 * 4096), 0);
	assert_int_equal(pages_of(file), 87);
	assert_int_equal(samara_file_cached(file, 0), 1);
	assert_int_equal(samara_file_cached(file, 3 * 4096), 1);
	assert_int_equal(samara_file_cached(file, 4 * 4096), 0);
	assert_int_equal(samara_file_drop(other, 4096, 0), 0);
	assert_int_equal(pages_of(file), 2);
	check_inode(file->inode);
	samara_file_put(other);
	samara_file_put(file);
	yard_close(&y);
}

static void test_reclaim(void **state)
{
	static char bytes[DISK_PAGES * 4096];
	struct samara_file *file, *shmem;
	struct frame *held, *page;
	uint64_t pages;
	unsigned n;
	struct yard y;

	(void)state;
	yard_open(&y, 64);
	file = disk_file(y.vm, &disk, 90 * 4096, &disk_ops);
	shmem = shmem_make(y.vm, 64 * 4096, 0);
	/* larger than memory: old pages make room for new ones */
	expect_bytes(file, 0, 90 * 4096);
	assert_true(pages_of(file) <= 64);
	check_inode(file->inode);
	/* one that was used gets a second chance, one that is held stays */
	pages = pages_of(file);
	assert_int_equal(samara_reclaim(y.vm, 1000), pages);
	assert_int_equal(pages_of(file), 0);
	assert_int_equal(cache_get(file->inode, NULL, 5, 0, &held), 0);
	expect_bytes(file, 7 * 4096, 1);
	assert_int_equal(samara_file_readahead(file, 10 * 4096, 4096), 0);
	assert_int_equal(samara_reclaim(y.vm, 1), 1);
	assert_int_equal(samara_file_cached(file, 10 * 4096), 0);
	assert_int_equal(samara_reclaim(y.vm, 1000), 1);
	assert_int_equal(pages_of(file), 1);
	assert_int_equal(samara_file_cached(file, 5 * 4096), 1);
	/* written to from end to end with fewer frames than pages: write-back makes room */
	memset(bytes, 'w', sizeof(bytes));
	assert_int_equal(samara_file_write(file, 0, bytes, 90 * 4096), 90 * 4096);
	assert_true(disk.writes > 20);
	put(&y, held);
	assert_int_equal(samara_file_fsync(file), 0);
	assert_int_equal(dirty_of(file), 0);
	assert_memory_equal(disk.bytes, bytes, 90 * 4096);
	/* pages of shmem never go; when all frames are theirs there is no memory */
	for (n = 0; samara_file_write(shmem, n * 4096ull, bytes, 4096) == 4096; n++)
		;
	assert_int_equal(n, FREE_AT_FIRST(y.vm));
	assert_int_equal(samara_file_write(shmem, n * 4096ull, bytes, 4096), -SAMARA_ENOMEM);
	assert_int_equal(cache_get(file->inode, NULL, 1, 0, &page), -SAMARA_ENOMEM);
	assert_int_equal(samara_file_read(file, 0, bytes, 1), -SAMARA_ENOMEM);
	assert_int_equal(samara_reclaim(y.vm, 1000), 0);
	assert_int_equal(samara_file_fallocate(shmem, 0, 0, 65 * 4096), -SAMARA_ENOMEM);
	assert_int_equal(shmem->inode->desc.size_bytes, 64 * 4096);
	assert_int_equal(pages_of(shmem), n);
	check_inode(file->inode);
	check_inode(shmem->inode);
	assert_int_equal(samara_file_truncate(shmem, 0), 0);
	assert_int_equal(y.vm->committed_pages, 0);
	assert_int_equal(samara_file_read(file, 0, bytes, 1), 1);
	samara_file_put(shmem);
	samara_file_put(file);
	yard_close(&y);
}

/* Commit is charged a page at a time, and none is left when it cannot be. */
static void test_commit(void **state)
{
	static char bytes[20 * 4096];
	struct samara_file *shmem;
	struct yard y;

	(void)state;
	yard_open(&y, 64);
	shmem = shmem_make(y.vm, 20 * 4096, 0);
	y.vm->config.overcommit_memory = 2;
	y.vm->config.overcommit_kbytes = 10 * 4 + 4;
	assert_int_equal(samara_file_write(shmem, 0, bytes, sizeof(bytes)), 10 * 4096);
	assert_int_equal(samara_file_write(shmem, 10 * 4096, bytes, 1), -SAMARA_ENOSPC);
	assert_int_equal(samara_file_fallocate(shmem, 3, 0, 4 * 4096), 0);
	assert_int_equal(y.vm->committed_pages, 6);
	assert_int_equal(samara_file_fallocate(shmem, 0, 10 * 4096, 5 * 4096), -SAMARA_ENOSPC);
	assert_int_equal(y.vm->committed_pages, 6);
	assert_int_equal(samara_file_fallocate(shmem, 0, 10 * 4096, 4 * 4096), 0);
	check_inode(shmem->inode);
	samara_file_put(shmem);
	assert_int_equal(y.vm->committed_pages, 0);
	yard_close(&y);
}

static void test_write_back(void **state)
{
	struct samara_file *file, *two, *later;
	struct yard y;

	(void)state;
	yard_open(&y, 128);
	file = disk_file(y.vm, &disk, 10 * 4096 + 100, &disk_ops);
	assert_int_equal(samara_file_open(file->inode, SAMARA_FMODE_READ, "two", &two), 0);
	for (uint64_t i = 0; i < 11; i++)
		assert_int_equal(samara_file_write(file, i * 4096 + 10, "dirty", 5), 5);
	assert_int_equal(dirty_of(file), 11);
	assert_int_equal(samara_write_back(y.vm, 3), 3);
	assert_int_equal(disk.writes, 3);
	assert_int_equal(dirty_of(file), 8);
	check_inode(file->inode);
	assert_int_equal(cache_write_back(file->inode, 4, 5), 0);
	assert_int_equal(disk.writes, 5);
	assert_int_equal(samara_write_back(y.vm, 0), 6);
	assert_int_equal(disk.size, 10 * 4096 + 100); /* not a byte behind the end */
	assert_int_equal(disk.syncs, 0);
	assert_int_equal(samara_file_fsync(file), 0);
	assert_int_equal(disk.syncs, 1);
	/* an error: told once to each that was open, whoever met it; the page is clean */
	assert_int_equal(samara_file_write(file, 0, "again", 5), 5);
	disk.write_error = -SAMARA_EIO;
	assert_int_equal(samara_write_back(y.vm, 0), 1);
	assert_int_equal(dirty_of(file), 0);
	disk.write_error = 0;
	/* an open after the error, but before anybody was told, is told, too */
	assert_int_equal(samara_file_open(file->inode, SAMARA_FMODE_READ, "later", &later), 0);
	assert_int_equal(samara_file_fsync(file), -SAMARA_EIO);
	assert_int_equal(samara_file_fsync(file), 0);
	assert_int_equal(samara_file_fsync(two), -SAMARA_EIO);
	assert_int_equal(samara_file_fsync(two), 0);
	assert_int_equal(samara_file_fsync(later), -SAMARA_EIO);
	samara_file_put(later);
	assert_int_equal(samara_file_open(file->inode, SAMARA_FMODE_READ, "later", &later), 0);
	assert_int_equal(samara_file_fsync(later), 0);
	samara_file_put(later);
	/* the others are written all the same */
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(samara_file_write(file, i * 4096, "third", 5), 5);
	disk.write_error = -SAMARA_ENOSPC;
	disk.writes = 0;
	assert_int_equal(cache_write_back(file->inode, 0, UINT64_MAX), -SAMARA_ENOSPC);
	assert_int_equal(disk.writes, 5);
	disk.write_error = 0;
	assert_int_equal(samara_file_fsync(file), -SAMARA_ENOSPC);
	disk.sync_error = -SAMARA_EIO;
	assert_int_equal(samara_file_fsync(file), -SAMARA_EIO);
	disk.sync_error = 0;
	assert_int_equal(samara_file_fsync(file), 0);
	check_inode(file->inode);
	samara_file_put(two);
	samara_file_put(file);
	yard_close(&y);
}

/* Each allocation of each call fails in turn: an errno, and the file is what it was. */
static void test_no_memory(void **state)
{
	static char before[64 * 4096], after[64 * 4096];
	struct samara_file *file;
	struct yard y;

	(void)state;
	yard_open(&y, 256);
	for (unsigned call = 0; call < 6; call++) {
		for (unsigned n = 1;; n++) {
			int64_t result = 0, size, done;
			uint64_t pages;

			if (call < 3)
				file = shmem_make(y.vm, 5000, 0);
			else
				file = disk_file(y.vm, &disk, 5000, call & 1 ? &disk_ops : &disk_slow_ops);
			assert_int_equal(samara_file_write(file, 0, "begin", 5), 5);
			size = samara_file_read(file, 0, before, sizeof(before));
			pages = pages_of(file);
			y.sim.failures = 0;
			y.sim.fail_at = n;
			switch (call) {
			case 0:
			case 3:
				result = samara_file_write(file, 63 * 4096, "far", 3);
				break;
			case 1:
				result = samara_file_fallocate(file, 0, 62 * 4096, 8 * 4096);
				break;
			case 4:
				result = samara_file_read(file, 4096, after, 1);
				break;
			case 5:
				result = samara_file_readahead(file, 0, 0);
				break;
			default:
				result = samara_file_write(file, 4000ull << 12, "far", 3);
			}
			y.sim.fail_at = 0;
			check_inode(file->inode);
			done = result;
			if (y.sim.failures && done < 0) {
				assert_int_equal(done, -SAMARA_ENOMEM);
				assert_int_equal(samara_file_read(file, 0, after, sizeof(after)), size);
				assert_memory_equal(before, after, (size_t)size);
				assert_int_equal(pages_of(file), pages);
			}
			samara_file_put(file);
			sim_quiesce(&y.sim);
			if (!y.sim.failures)
				break;
		}
	}
	yard_close(&y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get), cmocka_unit_test(test_read_fails), cmocka_unit_test(test_read_later),
		cmocka_unit_test(test_growth_while_the_tail_is_read),
		cmocka_unit_test(test_readahead), cmocka_unit_test(test_reclaim), cmocka_unit_test(test_commit),
		cmocka_unit_test(test_write_back), cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
