/* cache_test.c - core/cache: the index, pages, reading and writing, write-back, truncate; what they promise about
 * content and errors is asked of the kernel in the same breath, on a memfd, a small tmpfs, and a file of the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/cache_support.h"

static uint64_t usage_pages(struct samara_inode *inode)
{
	uint64_t pages, dirty;

	samara_inode_usage(inode, &pages, &dirty);
	return pages;
}

static uint64_t usage_dirty(struct samara_inode *inode)
{
	uint64_t pages, dirty;

	samara_inode_usage(inode, &pages, &dirty);
	return dirty;
}

static void put(struct yard *y, struct frame *page)
{
	frame_put(&y->vm->frames, 0, page);
}

/* -- index.c -- */

#define SPOTS 400u

/* Offsets that are dense, sparse, and as far out as a file reaches. */
static uint64_t spot(unsigned i)
{
	return i < 200 ? i : i < 300 ? (uint64_t)(i - 199) * 4097 : ((uint64_t)1 << 51) - 1 - (uint64_t)(i - 300) * 65;
}

static void test_index(void **state)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .size_bytes = INT64_MAX };
	bool has[SPOTS] = { false }, dirty[SPOTS] = { false };
	struct samara_inode *inode;
	struct frame *page, *there, *many[SPOTS];
	struct yard y;

	(void)state;
	yard_open(&y, 1024);
	assert_int_equal(samara_inode_create(y.vm, &desc, &inode), 0);
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t r = y.sim.port.random(&y.sim);
		unsigned i = (unsigned)(r >> 20) % SPOTS, n = 0, got;
		uint64_t first = spot((unsigned)(r >> 40) % SPOTS), last = first + (r >> 50) * 1000;

		if (step % 1000 < 500 ? r & 3 : !(r & 3)) {
			int err = page_make(inode, spot(i), true, false, &page);

			assert_int_equal(err, has[i] ? -SAMARA_EEXIST : 0);
			if (!err) {
				page_fill_done(page);
				page_unlock(y.vm, page);
			}
			assert_int_equal(page->index, spot(i));
			if (r & 4) {
				cache_mark_dirty(page);
				dirty[i] = true;
			}
			put(&y, page);
			has[i] = true;
		} else if (has[i]) {
			page = cache_find(inode, spot(i));
			assert_non_null(page);
			if (dirty[i] && (r & 8)) {
				cache_tag_dirty(inode, spot(i), false);
				page_clear(page, PAGE_DIRTY);
			} else {
				page_lock(y.vm, page);
				cache_remove(inode, page);
				page_unlock(y.vm, page);
				has[i] = false;
			}
			dirty[i] = false;
			put(&y, page);
		} else {
			assert_null(cache_find(inode, spot(i)));
		}
		check_inode(inode);
		got = cache_find_many(inode, first, last, r & 16, many, SPOTS);
		for (unsigned k = 0; k < SPOTS; k++)
			n += spot(k) >= first && spot(k) <= last && (r & 16 ? dirty[k] : has[k]);
		assert_int_equal(got, n);
		for (unsigned k = 0; k < got; k++) {
			assert_true(many[k]->index >= first && many[k]->index <= last);
			assert_true(!k || many[k]->index > many[k - 1]->index);
			put(&y, many[k]);
		}
		if (step % 64 == 0)
			sim_quiesce(&y.sim);
	}
	/* one that is there already comes with a reference, and nothing else changes */
	assert_int_equal(page_make(inode, 1u << 20, false, false, &page), 0);
	page_fill_done(page);
	page_unlock(y.vm, page);
	assert_int_equal(page_make(inode, 1u << 20, false, false, &there), -SAMARA_EEXIST);
	assert_ptr_equal(page, there);
	assert_int_equal(frame_refs(page), 3);
	put(&y, page);
	put(&y, page);
	samara_inode_put(inode);
	yard_close(&y);
}

/* Each allocation of an insertion fails: nothing is left behind. */
static void test_index_no_memory(void **state)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .size_bytes = INT64_MAX, .charge_pages = 1 };
	const uint64_t far = ((uint64_t)1 << 51) - 1;
	struct samara_inode *inode;
	struct frame *page;
	struct yard y;
	unsigned failed;

	(void)state;
	yard_open(&y, 64);
	for (unsigned with = 0; with < 2; with++) {
		assert_int_equal(samara_inode_create(y.vm, &desc, &inode), 0);
		if (with) {
			assert_int_equal(cache_get(inode, NULL, 0, 0, &page), 0);
			put(&y, page);
		}
		for (failed = 0;; failed++) {
			int64_t blocks;
			int err;

			sim_quiesce(&y.sim);
			blocks = y.sim.live_blocks;
			y.sim.fail_at = failed + 1;
			err = cache_get(inode, NULL, far, 0, &page);
			y.sim.fail_at = 0;
			check_inode(inode);
			if (!err)
				break;
			assert_int_equal(err, -SAMARA_ENOMEM);
			sim_quiesce(&y.sim);
			assert_int_equal(y.sim.live_blocks, blocks);
			assert_int_equal(usage_pages(inode), with);
			assert_int_equal(samara_inode_seals(inode), 0);
			assert_int_equal(y.vm->committed_pages, with);
		}
		assert_true(failed >= 8);
		put(&y, page);
		samara_inode_put(inode);
	}
	yard_close(&y);
}

/* -- the kernel beside us -- */

#define TWIN_BYTES (20u * 4096)

struct twin {
	struct samara_file *file;
	int fd;
	bool backed; /* blocks are the disk's business */
};

static int64_t host_result(int64_t result)
{
	return result < 0 ? -errno : result;
}

static void twin_same(struct twin *t)
{
	static unsigned char ours[TWIN_BYTES + 4096], theirs[TWIN_BYTES + 4096];
	struct samara_inode *inode = t->file->inode;
	struct stat st;
	int64_t n;

	assert_int_equal(fstat(t->fd, &st), 0);
	assert_int_equal(inode->desc.size_bytes, st.st_size);
	n = pread(t->fd, theirs, sizeof(theirs), 0);
	assert_int_equal(samara_file_read(t->file, 0, ours, sizeof(ours)), n);
	assert_memory_equal(ours, theirs, (size_t)n);
	if (!t->backed)
		assert_int_equal(usage_pages(inode), st.st_blocks / 8);
	check_inode(inode);
}

/* One random request to both. */
static void twin_step(struct yard *y, struct twin *t, bool back)
{
	static unsigned char ours[TWIN_BYTES], theirs[TWIN_BYTES];
	uint64_t r = y->sim.port.random(&y->sim), s = y->sim.port.random(&y->sim);
	uint64_t offset = s % TWIN_BYTES, bytes = (s >> 20) % (TWIN_BYTES - offset);
	int modes[] = { 0, 1, 3, 3, 3 }, mode = modes[(r >> 16) % 5];

	if (s >> 60 & 1)
		offset &= ~4095ull;
	if (s >> 61 & 1)
		bytes &= ~4095ull;
	switch (r % 8) {
	case 0:
	case 1:
		memset(ours, (int)(r >> 8 | 1), bytes);
		assert_int_equal(samara_file_write(t->file, offset, ours, bytes),
				 host_result(pwrite(t->fd, ours, bytes, (off_t)offset)));
		break;
	case 2: {
		int64_t n = host_result(pread(t->fd, theirs, bytes, (off_t)offset));

		assert_int_equal(samara_file_read(t->file, offset, ours, bytes), n);
		if (n > 0)
			assert_memory_equal(ours, theirs, (size_t)n);
		break;
	}
	case 3:
		assert_int_equal(samara_file_truncate(t->file, offset), host_result(ftruncate(t->fd, (off_t)offset)));
		break;
	case 4:
	case 5:
		if (t->backed && mode != 3 && bytes)
			mode = r >> 24 & 1 ? SAMARA_FALLOC_FL_ZERO_RANGE | (mode & 1) : mode;
		assert_int_equal(samara_file_fallocate(t->file, mode, offset, bytes),
				 host_result(fallocate(t->fd, mode, (off_t)offset, (off_t)bytes)));
		break;
	case 6:
		if (!t->backed)
			assert_int_equal(samara_file_seek_data(t->file, offset, r >> 8 & 1),
					 host_result(lseek(t->fd, (off_t)offset, r >> 8 & 1 ? SEEK_HOLE : SEEK_DATA)));
		break;
	default:
		if (back) {
			samara_write_back(y->vm, r >> 8 & 7);
			samara_reclaim(y->vm, r >> 16 & 31);
			if (r >> 24 & 1)
				assert_int_equal(samara_file_fsync(t->file), 0);
		}
	}
}

static void test_like_memfd(void **state)
{
	struct twin t = { .fd = memfd_create("twin", 0) };
	struct yard y;

	(void)state;
	yard_open(&y, 128);
	t.file = shmem_make(y.vm, 0, 0);
	for (unsigned step = 0; step < 20000; step++) {
		twin_step(&y, &t, false);
		twin_same(&t);
	}
	samara_file_put(t.file);
	close(t.fd);
	yard_close(&y);
}

/* A file system of eight pages: short writes, ENOSPC, nothing reserved in part. */
static void test_like_small_tmpfs(void **state)
{
	char where[] = "/tmp/samara-cache-XXXXXX", name[64];
	struct twin t;
	struct yard y;

	(void)state;
	assert_non_null(mkdtemp(where));
	if (mount("tmpfs", where, "tmpfs", 0, "size=32k")) {
		rmdir(where);
		skip();
	}
	snprintf(name, sizeof(name), "%s/f", where);
	t = (struct twin){ .fd = open(name, O_RDWR | O_CREAT, 0600) };
	/* what is open stays; nothing is left behind, however this ends */
	assert_int_equal(umount2(where, MNT_DETACH), 0);
	rmdir(where);
	assert_true(t.fd >= 0);
	yard_open(&y, 128);
	t.file = shmem_make(y.vm, 0, 8);
	for (unsigned step = 0; step < 20000; step++) {
		twin_step(&y, &t, false);
		twin_same(&t);
	}
	samara_file_put(t.file);
	close(t.fd);
	yard_close(&y);
}

/* A file of the disk that has no name any more, so that a test that fails leaves none behind. */
static int nameless_file(void)
{
	char name[] = "/tmp/samara-cache-XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	assert_int_equal(unlink(name), 0);
	return fd;
}

/* A file with an embedder below it, few frames, write-back and reclaim at any time, against a file of the disk. */
static void run_like_disk(const struct samara_inode_ops *ops)
{
	static struct disk disk;
	struct twin t = { .fd = nameless_file(), .backed = true };
	struct yard y;

	yard_open(&y, 16);
	t.file = disk_file(y.vm, &disk, 0, ops);
	for (unsigned step = 0; step < 15000; step++) {
		twin_step(&y, &t, true);
		twin_same(&t);
		assert_true(disk.size <= t.file->inode->desc.size_bytes);
	}
	assert_int_equal(samara_file_fsync(t.file), 0);
	assert_int_equal(usage_dirty(t.file->inode), 0);
	assert_int_equal(disk.size, t.file->inode->desc.size_bytes);
	samara_file_put(t.file);
	assert_int_equal(disk.released, 1);
	assert_true(disk.writes > 1000 && disk.punches > 100);
	close(t.fd);
	yard_close(&y);
}

static void test_like_disk(void **state)
{
	(void)state;
	run_like_disk(&disk_ops);
	run_like_disk(&disk_slow_ops);
}

/* A mapping stored behind the end of the file, in its last page; then the file grows over it, in three ways, or is
 * written back. */
static void test_tail_like_kernel(void **state)
{
	static struct disk disk;
	struct yard y;

	(void)state;
	yard_open(&y, 64);
	for (unsigned round = 0; round < 8; round++) {
		bool backed = round & 1;
		struct twin t = { .fd = backed ? nameless_file() : memfd_create("tail", 0), .backed = backed };
		struct frame *page;
		char *host, *map;

		t.file = backed ? disk_file(y.vm, &disk, 0, &disk_ops) : shmem_make(y.vm, 0, 0);
		assert_int_equal(samara_file_write(t.file, 0, "begin", 5), pwrite(t.fd, "begin", 5, 0));
		assert_int_equal(samara_file_truncate(t.file, 100), ftruncate(t.fd, 100));
		map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, t.fd, 0);
		assert_ptr_not_equal(map, MAP_FAILED);
		assert_int_equal(cache_get(t.file->inode, NULL, 0, CACHE_LOCK, &page), 0);
		host = frame_host(&y.vm->frames, page);
		map[200] = host[200] = 'z';
		map[50] = host[50] = 'a';
		cache_mark_dirty(page);
		page_unlock(y.vm, page);
		switch (round / 2) {
		case 0:
			assert_int_equal(samara_file_truncate(t.file, 300), ftruncate(t.fd, 300));
			break;
		case 1:
			assert_int_equal(samara_file_write(t.file, 250, "end", 3), pwrite(t.fd, "end", 3, 250));
			break;
		case 2:
			assert_int_equal(samara_file_fallocate(t.file, 0, 0, 300), fallocate(t.fd, 0, 0, 300));
			break;
		default:
			assert_int_equal(samara_file_fsync(t.file), fsync(t.fd));
		}
		twin_same(&t);
		assert_memory_equal(host, map, 4096);
		/* cut in the middle of the page: zero, where it is mapped */
		assert_int_equal(samara_file_truncate(t.file, 10), ftruncate(t.fd, 10));
		assert_memory_equal(host, map, 4096);
		put(&y, page);
		munmap(map, 4096);
		samara_file_put(t.file);
		close(t.fd);
	}
	yard_close(&y);
}

/* -- errors and seals -- */

static void test_errors_like_memfd(void **state)
{
	static const uint64_t edges[] = { 0, 1, 4095, 4096, 10000, INT64_MAX - 4096, INT64_MAX - 5, INT64_MAX,
		(uint64_t)INT64_MAX + 1, UINT64_MAX };
	static const int modes[] = { 0, 1, 2, 3, 4, 8, 9, 16, 17, 18, 19, 32, 33, 64, 65, 66, 128, 129, 256 };
	char path[64], byte = 0, to[8];
	struct samara_file *file[3];
	int fd[3] = { memfd_create("errors", 0) };
	struct yard y;

	(void)state;
	yard_open(&y, 128);
	assert_int_equal(ftruncate(fd[0], 10000), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[0]);
	fd[1] = open(path, O_RDONLY);
	fd[2] = open(path, O_WRONLY);
	file[0] = shmem_make(y.vm, 10000, 0);
	assert_int_equal(samara_file_open(file[0]->inode, SAMARA_FMODE_READ, "r", &file[1]), 0);
	assert_int_equal(samara_file_open(file[0]->inode, SAMARA_FMODE_WRITE, "w", &file[2]), 0);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned a = 0; a < ARRAY_SIZE(edges); a++) {
			off_t at = (off_t)edges[a];

			for (unsigned n = 0; n < 8; n += 7) {
				assert_int_equal(samara_file_read(file[i], edges[a], to, n),
						 host_result(pread(fd[i], to, n, at)));
				assert_int_equal(samara_file_write(file[i], edges[a], &byte, n / 7),
						 host_result(pwrite(fd[i], &byte, n / 7, at)));
			}
			for (unsigned m = 0; m < ARRAY_SIZE(modes); m++)
				for (unsigned b = 0; b < ARRAY_SIZE(edges); b++) {
					if (edges[b] > 1 << 20 && edges[b] <= INT64_MAX &&
						(edges[a] + edges[b]) <= INT64_MAX)
						continue; /* would be done: more memory than there is */
					assert_int_equal(samara_file_fallocate(file[i], modes[m], edges[a], edges[b]),
							 host_result(fallocate(fd[i], modes[m], at, (off_t)edges[b])));
				}
			/* in the very last pages the kernel's own arithmetic gives out */
			for (int hole = 0; hole < 2 && (edges[a] < 1 << 20 || edges[a] > INT64_MAX); hole++)
				assert_int_equal(samara_file_seek_data(file[0], edges[a], hole),
						 host_result(lseek(fd[0], at, hole ? SEEK_HOLE : SEEK_DATA)));
			assert_int_equal(samara_file_truncate(file[i], edges[a]), host_result(ftruncate(fd[i], at)));
			assert_int_equal(samara_file_truncate(file[0], 10000), ftruncate(fd[0], 10000));
			check_inode(file[0]->inode);
		}
	for (unsigned i = 0; i < 3; i++) {
		samara_file_put(file[i]);
		close(fd[i]);
	}
	yard_close(&y);
}

static void test_seals_like_memfd(void **state)
{
	static char bytes[16384];
	struct yard y;

	(void)state;
	yard_open(&y, 64);
	for (uint32_t seals = 0; seals < 32; seals += 2) {
		struct twin t = { .fd = memfd_create("seals", MFD_ALLOW_SEALING) };

		t.file = shmem_make(y.vm, 0, 0);
		assert_int_equal(samara_file_write(t.file, 0, "some bytes", 10), pwrite(t.fd, "some bytes", 10, 0));
		assert_int_equal(samara_file_truncate(t.file, 10000), ftruncate(t.fd, 10000));
		assert_int_equal(samara_inode_add_seals(t.file->inode, seals), fcntl(t.fd, F_ADD_SEALS, seals));
#define BOTH(ours, theirs) do { assert_int_equal(ours, host_result(theirs)); twin_same(&t); } while (0)
		BOTH(samara_file_write(t.file, 0, bytes, 1), pwrite(t.fd, bytes, 1, 0));
		BOTH(samara_file_write(t.file, 0, bytes, 0), pwrite(t.fd, bytes, 0, 0));
		BOTH(samara_file_write(t.file, 1000, bytes, 10000), pwrite(t.fd, bytes, 10000, 1000));
		BOTH(samara_file_write(t.file, 9000, bytes, 4096), pwrite(t.fd, bytes, 4096, 9000));
		BOTH(samara_file_write(t.file, 20000, bytes, 1), pwrite(t.fd, bytes, 1, 20000));
		BOTH(samara_file_fallocate(t.file, 0, 0, 5000), fallocate(t.fd, 0, 0, 5000));
		BOTH(samara_file_fallocate(t.file, 0, 0, 30000), fallocate(t.fd, 0, 0, 30000));
		BOTH(samara_file_fallocate(t.file, 1, 0, 40000), fallocate(t.fd, 1, 0, 40000));
		BOTH(samara_file_fallocate(t.file, 3, 0, 4096), fallocate(t.fd, 3, 0, 4096));
		BOTH(samara_file_fallocate(t.file, 3, 35000, 4096), fallocate(t.fd, 3, 35000, 4096));
		BOTH(samara_file_truncate(t.file, 10000), ftruncate(t.fd, 10000));
		BOTH(samara_file_truncate(t.file, 5000), ftruncate(t.fd, 5000));
		BOTH(samara_file_truncate(t.file, 50000), ftruncate(t.fd, 50000));
#undef BOTH
		samara_file_put(t.file);
		close(t.fd);
	}
	yard_close(&y);
}

/* What only an embedder's file can refuse, and what is no file. */
static void test_other_errors(void **state)
{
	static const struct { enum samara_inode_kind kind; int truncate, allocate; } kinds[] = {
		{ SAMARA_INODE_UNMAPPABLE, -SAMARA_EINVAL, -SAMARA_ENODEV }, { SAMARA_INODE_HUGETLB, -SAMARA_EINVAL,
			-SAMARA_ENODEV },
	};
	static struct disk disk;
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .max_bytes = 100000,
		.hardwired_huge_log2 = 21 };
	struct samara_file *file;
	char byte = 1;
	struct yard y;

	(void)state;
	yard_open(&y, 64);
	file = file_make(y.vm, &desc); /* no callbacks at all */
	assert_int_equal(samara_file_write(file, 100000, &byte, 1), -SAMARA_EFBIG);
	assert_int_equal(samara_file_write(file, 99999, "ab", 2), 1);
	assert_int_equal(samara_file_truncate(file, 100001), -SAMARA_EFBIG);
	assert_int_equal(samara_file_fallocate(file, 0, 99999, 2), -SAMARA_EFBIG);
	assert_int_equal(samara_file_fallocate(file, 3, 0, 4096), -SAMARA_EOPNOTSUPP);
	assert_int_equal(samara_file_fallocate(file, 16, 0, 4096), -SAMARA_EOPNOTSUPP);
	/* written pages stay, dirty */
	assert_int_equal(samara_file_fsync(file), 0);
	assert_int_equal(samara_reclaim(y.vm, 100), 0);
	assert_int_equal(usage_dirty(file->inode), 1);
	assert_int_equal(samara_file_read(file, 99999, &byte, 1), 1);
	assert_int_equal(byte, 'a');
	assert_int_equal(samara_file_seek_data(file, 5, 0), 5);
	assert_int_equal(samara_file_seek_data(file, 5, 1), 100000);
	samara_file_put(file);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		desc.kind = kinds[i].kind;
		file = file_make(y.vm, &desc);
		assert_int_equal(samara_file_read(file, 0, &byte, 1), -SAMARA_EINVAL);
		assert_int_equal(samara_file_write(file, 0, &byte, 1), -SAMARA_EINVAL);
		assert_int_equal(samara_file_truncate(file, 1), kinds[i].truncate);
		assert_int_equal(samara_file_fallocate(file, 0, 0, 1), kinds[i].allocate);
		samara_file_put(file);
	}
	/* refusals leave everything as it was */
	file = disk_file(y.vm, &disk, 10000, &disk_ops);
	disk.size_error = -SAMARA_EDQUOT;
	assert_int_equal(samara_file_write(file, 9999, "xy", 2), -SAMARA_EDQUOT);
	assert_int_equal(samara_file_truncate(file, 5000), -SAMARA_EDQUOT);
	assert_int_equal(samara_file_truncate(file, 50000), -SAMARA_EDQUOT);
	assert_int_equal(samara_file_fallocate(file, 0, 0, 50000), -SAMARA_EDQUOT);
	assert_int_equal(samara_file_truncate(file, 10000), 0); /* the same size: nobody is asked */
	assert_int_equal(file->inode->desc.size_bytes, 10000);
	disk.size_error = 0;
	assert_int_equal(samara_file_write(file, 5000, "dirty", 5), 5);
	disk.punch_error = -SAMARA_EIO;
	assert_int_equal(samara_file_fallocate(file, 3, 4096, 4096), -SAMARA_EIO);
	assert_int_equal(samara_file_fallocate(file, 16, 0, 50000), -SAMARA_EIO);
	assert_int_equal(file->inode->desc.size_bytes, 10000);
	for (uint64_t at = 0; at < 10000; at++) {
		assert_int_equal(samara_file_read(file, at, &byte, 1), 1);
		assert_int_equal((unsigned char)byte, at >= 5000 && at < 5005 ? "dirty"[at - 5000] : disk_byte(at));
	}
	check_inode(file->inode);
	samara_file_put(file);
	yard_close(&y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index), cmocka_unit_test(test_index_no_memory), cmocka_unit_test(test_like_memfd),
		cmocka_unit_test(test_like_small_tmpfs), cmocka_unit_test(test_like_disk),
		cmocka_unit_test(test_tail_like_kernel), cmocka_unit_test(test_errors_like_memfd),
		cmocka_unit_test(test_seals_like_memfd), cmocka_unit_test(test_other_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
