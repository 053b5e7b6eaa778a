/* fuzz_memory_files.c - the files of programs with memory, and the operations that change them from the side.
 *
 * All of them are shmem (memfd, tmpfs) or /dev/zero, so that what is resident depends on the program alone; all are
 * opened anew for every program, empty of pages.  The job itself makes the calls, on its own descriptors; it never
 * maps a file, so that counts of mappings are the program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz_memory.h"

#define PAGE 4096ull

static int open_tmpfs(const struct fuzz_files *f)
{
	char path[128];
	snprintf(path, sizeof(path), "/dev/shm/%s", strrchr(f->directory, '/') + 1);
	unlink(path);
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, 5 * 4096 + 100) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int open_tmpfs_again(const struct fuzz_files *f)
{
	char path[128];
	snprintf(path, sizeof(path), "/dev/shm/%s", strrchr(f->directory, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int open_memfd_16(const struct fuzz_files *f) { (void)f; return fuzz_memfd(MFD_ALLOW_SEALING, 16 * 4096, 0); }
static int open_memfd_3(const struct fuzz_files *f) { (void)f; return fuzz_memfd(0, 3 * 4096 - 1, 0); }
static int open_memfd_0(const struct fuzz_files *f) { (void)f; return fuzz_memfd(MFD_ALLOW_SEALING, 0, 0); }
static int open_dev_zero(const struct fuzz_files *f) { (void)f; return open("/dev/zero", O_RDWR | O_CLOEXEC); }

static int open_memfd_16_ro(const struct fuzz_files *f)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->file[0].fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int open_memfd_sealed(const struct fuzz_files *f)
{
	(void)f;
	return fuzz_memfd(MFD_ALLOW_SEALING, 8 * 4096, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK);
}

enum { R = SAMARA_FMODE_READ, W = SAMARA_FMODE_WRITE, RW = R | W };

const struct fuzz_recipe fuzz_memory_recipes[] = {
	{ "memfd of 16 pages", "memfd(2, 65536, 0)", open_memfd_16, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "memfd of 16 pages O_RDONLY", "reopen(memfd(2, 65536, 0)) /* the same memfd */", open_memfd_16_ro,
		SAMARA_INODE_SHMEM, R, 1, 0, 0, 0, "memfd of 16 pages" },
	{ "memfd of 12287 bytes", "memfd(0, 12287, 0)", open_memfd_3, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "empty memfd", "memfd(2, 0, 0)", open_memfd_0, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "sealed memfd", "memfd(2, 32768, 18)", open_memfd_sealed, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "tmpfs", "file(\"/dev/shm/fuzz-shm\", O_RDWR | O_TRUNC, 20580)", open_tmpfs, SAMARA_INODE_SHMEM, RW,
		1, 0, 0, 0, NULL },
	{ "tmpfs opened again", "file(\"/dev/shm/fuzz-shm\", O_RDWR, -1)", open_tmpfs_again, SAMARA_INODE_SHMEM, RW,
		1, 0, 0, 0, "tmpfs" },
	{ "/dev/zero", "file(\"/dev/zero\", O_RDWR, -1)", open_dev_zero, SAMARA_INODE_DEV_ZERO, RW, 0, 0, 0, 0, NULL },
};
const int fuzz_memory_recipe_count = FUZZ_ARRAY_SIZE(fuzz_memory_recipes);

bool fuzz_is_file_call(unsigned kind)
{
	return kind >= FUZZ_PREAD && kind <= FUZZ_LSEEK;
}

int64_t fuzz_file_kernel(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	const uint64_t *a = op->a;
	int fd = s->files->file[a[0]].fd;
	int64_t n;

	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_PREAD:
		n = pread(fd, m->kernel_data, a[2], (off_t)a[1]);
		break;
	case FUZZ_PWRITE:
		fuzz_fill(m->kernel_data, a[2], a[3]);
		n = pwrite(fd, m->kernel_data, a[2], (off_t)a[1]);
		break;
	case FUZZ_FTRUNCATE:
		n = ftruncate(fd, (off_t)a[1]);
		break;
	case FUZZ_FALLOCATE:
		n = fallocate(fd, (int)a[1], (off_t)a[2], (off_t)a[3]);
		break;
	default:
		n = lseek(fd, (off_t)a[1], (int)a[2]);
		break;
	}
	return n < 0 ? -errno : n;
}

int64_t fuzz_file_samara(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	const uint64_t *a = op->a;
	struct samara_file *file = s->guest.file[a[0]];
	int64_t n;

	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_PREAD:
		n = samara_file_read(file, a[1], m->samara_data, a[2]);
		if (n == s->kernel_result && n > 0)
			m->data_bytes = (size_t)n;
		return n;
	case FUZZ_PWRITE:
		fuzz_fill(m->samara_data, a[2], a[3]);
		return samara_file_write(file, a[1], m->samara_data, a[2]);
	case FUZZ_FTRUNCATE:
		return samara_file_truncate(file, a[1]);
	case FUZZ_FALLOCATE:
		return samara_file_fallocate(file, (int)a[1], a[2], a[3]);
	default:
		return samara_file_seek_data(file, a[1], a[2] == SEEK_HOLE);
	}
}

/* What a file holds and how long it is: both sides read on until they get nothing. */
static bool bytes_agree(struct fuzz_session *s, int i, char *detail, size_t room)
{
	struct fuzz_memory *m = s->memory;
	const char *name = s->files->file[i].name;

	for (uint64_t at = 0;;) {
		int64_t k = pread(s->files->file[i].fd, m->kernel_data, sizeof(m->kernel_data), (off_t)at);
		int64_t g = samara_file_read(s->guest.file[i], at, m->samara_data, sizeof(m->samara_data));
		k = k < 0 ? -errno : k;
		if (k != g) {
			snprintf(detail, room, "kernel: %s, reading at %#" PRIx64 ": %" PRId64 "\nsamara: %" PRId64, name, at, k,
				g);
			return false;
		}
		if (k <= 0)
			return true;
		for (int64_t j = 0; j < k; j++) {
			if (m->kernel_data[j] == m->samara_data[j])
				continue;
			snprintf(detail, room, "kernel: %s, byte at %#" PRIx64 " is %#x\nsamara: %#x", name, at + (uint64_t)j,
				m->kernel_data[j], m->samara_data[j]);
			return false;
		}
		at += (uint64_t)k;
	}
}

bool fuzz_files_agree(struct fuzz_session *s, bool content, char *detail, size_t room)
{
	for (int i = 0; i < s->files->count; i++) {
		const struct fuzz_file *f = &s->files->file[i];
		struct stat st;
		uint64_t pages, dirty;

		if (f->fd < 0 || f->kind != SAMARA_INODE_SHMEM || f->same_inode >= 0 || fstat(f->fd, &st) < 0)
			continue;
		samara_inode_usage(s->guest.inode[i], &pages, &dirty);
		if (pages != (uint64_t)st.st_blocks / 8) {
			snprintf(detail, room, "kernel: %s has %" PRIu64 " pages\nsamara: %" PRIu64, f->name,
				(uint64_t)st.st_blocks / 8, pages);
			return false;
		}
		if (content && !bytes_agree(s, i, detail, room))
			return false;
	}
	return true;
}
