/* host_file_test.c - ports/posix/host_file: what samara reads, writes, cuts and punches is what the host's file then
 * holds. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ports/posix/host_file.h"
#include "tests/unit/cache_support.h"

#define HOST_BYTES (100u * 4096 + 1234)

static unsigned char model[HOST_BYTES + 8 * 4096], seen[HOST_BYTES + 8 * 4096];
static char name[64];

static int host_make(uint64_t bytes)
{
	int fd;

	snprintf(name, sizeof(name), "/tmp/samara-host-XXXXXX");
	fd = mkstemp(name);
	assert_true(fd >= 0);
	/* a test that fails leaves no file behind; the descriptor still names it */
	assert_int_equal(unlink(name), 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	memset(model, 0, sizeof(model));
	for (uint64_t i = 0; i < bytes; i++)
		model[i] = disk_byte(i);
	assert_int_equal(write(fd, model, bytes), bytes);
	return fd;
}

static void host_done(int fd)
{
	close(fd);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_read(void **state)
{
	unsigned before = open_descriptors();
	int fd = host_make(HOST_BYTES);
	struct samara_file *file;
	struct stat st;
	struct yard y;

	(void)state;
	yard_open(&y, 64);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(samara_host_file_open(y.vm, name, O_RDONLY, &file), 0);
	assert_int_equal(file->inode->desc.ino, st.st_ino);
	assert_int_equal(file->inode->desc.major, major(st.st_dev));
	assert_int_equal(file->inode->desc.minor, minor(st.st_dev));
	assert_int_equal(samara_file_read(file, 0, seen, sizeof(seen)), HOST_BYTES);
	assert_memory_equal(seen, model, HOST_BYTES);
	/* one by one, out of order */
	samara_reclaim(y.vm, 1000);
	for (uint64_t i = 100; i > 0; i -= 4) {
		assert_int_equal(samara_file_read(file, i * 4096, seen, 4096), MIN(4096u, HOST_BYTES - i * 4096));
		assert_memory_equal(seen, model + i * 4096, MIN(4096u, HOST_BYTES - i * 4096));
	}
	assert_int_equal(samara_file_write(file, 0, "x", 1), -SAMARA_EBADF);
	check_inode(file->inode);
	/* the host's file became shorter behind our back: zeroes */
	samara_reclaim(y.vm, 1000);
	assert_int_equal(truncate(name, 10 * 4096 + 10), 0);
	memset(model + 10 * 4096 + 10, 0, sizeof(model) - 10 * 4096 - 10);
	assert_int_equal(samara_file_read(file, 0, seen, sizeof(seen)), HOST_BYTES);
	assert_memory_equal(seen, model, HOST_BYTES);
	samara_file_put(file);
	host_done(fd);
	yard_close(&y);
	assert_int_equal(open_descriptors(), before);
}

static void test_write(void **state)
{
	int fd = host_make(HOST_BYTES);
	struct samara_file *file;
	struct stat st;
	uint64_t size = HOST_BYTES;
	struct yard y;

	(void)state;
	yard_open(&y, 48); /* fewer frames than pages */
	assert_int_equal(samara_host_file_open(y.vm, name, O_RDWR | O_APPEND, &file), 0);
	for (unsigned step = 0; step < 2000; step++) {
		uint64_t r = y.sim.port.random(&y.sim), at = r % HOST_BYTES, bytes = (r >> 24) % 20000;

		switch (r >> 50 & 7) {
		case 0:
			assert_int_equal(samara_file_truncate(file, at), 0);
			memset(model + at, 0, sizeof(model) - at);
			size = at;
			break;
		case 1:
			assert_int_equal(samara_file_fallocate(file, 3, at, bytes + 1), 0);
			memset(model + at, 0, bytes + 1);
			break;
		case 2:
			assert_int_equal(samara_file_fsync(file), 0);
			assert_int_equal(fstat(fd, &st), 0);
			assert_int_equal(st.st_size, size);
			assert_int_equal(pread(fd, seen, sizeof(seen), 0), size);
			assert_memory_equal(seen, model, size);
			break;
		case 3:
			assert_int_equal(samara_file_read(file, at, seen, bytes), at < size ? MIN(bytes, size - at) :
				0);
			assert_memory_equal(seen, model + at, at < size ? MIN(bytes, size - at) : 0);
			break;
		default:
			bytes++;
			for (uint64_t i = 0; i < bytes; i++)
				model[at + i] = (unsigned char)(r >> 32 ^ i);
			assert_int_equal(samara_file_write(file, at, model + at, bytes), bytes);
			size = MAX(size, at + bytes);
		}
		check_inode(file->inode);
	}
	samara_file_put(file);
	host_done(fd);
	yard_close(&y);
}

static void test_errors(void **state)
{
	unsigned before = open_descriptors();
	int fd = host_make(10000);
	struct samara_file *file;
	struct yard y;
	char byte;

	(void)state;
	yard_open(&y, 64);
	assert_int_equal(samara_host_file_open(y.vm, "/nowhere/at/all", O_RDONLY, &file), -ENOENT);
	assert_int_equal(samara_host_file_open(y.vm, "/tmp", O_RDONLY, &file), -EINVAL);
	assert_int_equal(samara_host_file_open(y.vm, "/dev/null", O_RDWR, &file), -EINVAL);
	assert_int_equal(samara_host_file_open(y.vm, NULL, O_RDONLY, &file), -EINVAL);
	for (unsigned n = 1; n <= 3; n++) {
		y.sim.fail_at = n;
		assert_int_equal(samara_host_file_open(y.vm, name, O_RDONLY, &file), -ENOMEM);
		y.sim.fail_at = 0;
		assert_int_equal(open_descriptors(), before + 1);
	}
	/* a descriptor that can only be written to by its user is one for reading below */
	assert_int_equal(samara_host_file_open(y.vm, name, O_WRONLY, &file), 0);
	assert_int_equal(samara_file_read(file, 0, &byte, 1), -SAMARA_EBADF);
	assert_int_equal(samara_file_write(file, 5000, "middle", 6), 6);
	assert_int_equal(samara_file_fsync(file), 0);
	assert_int_equal(pread(fd, seen, sizeof(seen), 0), 10000);
	memcpy(model + 5000, "middle", 6);
	assert_memory_equal(seen, model, 10000);
	samara_file_put(file);
	/* reading fails: /proc/self/mem is a regular file whose first page is EIO */
	assert_int_equal(samara_host_file_open(y.vm, "/proc/self/mem", O_RDONLY, &file), 0);
	samara_inode_set_size(file->inode, 16 * 4096);
	assert_int_equal(samara_file_read(file, 0, seen, 4096), -SAMARA_EIO);
	assert_int_equal(samara_file_read(file, 0, seen, 16 * 4096), -SAMARA_EIO);
	check_inode(file->inode);
	samara_file_put(file);
	host_done(fd);
	yard_close(&y);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read), cmocka_unit_test(test_write), cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
