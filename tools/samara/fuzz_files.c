/* fuzz_files.c - the files and SysV segments that a job maps, opened once, described for both sides.
 *
 * Each entry says how it is opened here, how the reproducer opens it, and what samara must be told of it.  Memfds
 * that operations can seal are opened anew for every program; everything else never changes what a mapping can
 * see, so it serves a whole job.  Segments are marked for destruction at once and live as long as the job is
 * attached to them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuzz.h"

enum { SMALL = 5 * 4096 + 100, LARGE = 6 << 20 };

int fuzz_file_at(const struct fuzz_files *files, const char *name, int flags, long bytes)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", files->directory, name);
	int fd = open(path, O_CREAT | O_CLOEXEC | flags, 0600);
	if (fd >= 0 && bytes >= 0 && ftruncate(fd, bytes) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int open_small(const struct fuzz_files *f) { return fuzz_file_at(f, "small", O_RDWR, SMALL); }
static int open_small_again(const struct fuzz_files *f) { return fuzz_file_at(f, "small", O_RDWR, -1); }
static int open_small_ro(const struct fuzz_files *f) { return fuzz_file_at(f, "small", O_RDONLY, -1); }
static int open_small_wo(const struct fuzz_files *f) { return fuzz_file_at(f, "small", O_WRONLY, -1); }
static int open_large(const struct fuzz_files *f) { return fuzz_file_at(f, "large", O_RDWR, LARGE); }
static int open_empty(const struct fuzz_files *f) { return fuzz_file_at(f, "empty", O_RDWR, 0); }
static int open_append_fd(const struct fuzz_files *f) { return fuzz_file_at(f, "small", O_RDWR | O_APPEND, -1); }

static int set_append_only(int fd)
{
	int flags;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -1;
	flags |= FS_APPEND_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int open_append_only(const struct fuzz_files *f)
{
	/* without a name, because an append-only file with one cannot be removed when the job is killed */
	int fd = open(f->directory, O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0 && (ftruncate(fd, SMALL) < 0 || set_append_only(fd) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int open_noexec(const struct fuzz_files *f)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/noexec", f->directory);
	mkdir(path, 0700);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("samara-fuzz", path, "tmpfs", MS_NOEXEC, "size=1m") < 0)
		return -1;
	return fuzz_file_at(f, "noexec/file", O_RDWR, SMALL);
}

static int open_shm(const struct fuzz_files *f)
{
	char path[128];
	snprintf(path, sizeof(path), "/dev/shm/%s", strrchr(f->directory, '/') + 1);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, SMALL) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int fuzz_memfd(unsigned flags, long bytes, int seals)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | flags);
	if (fd >= 0 && (ftruncate(fd, bytes) < 0 || (seals && fcntl(fd, F_ADD_SEALS, seals) < 0))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int open_memfd(const struct fuzz_files *f) { (void)f; return fuzz_memfd(MFD_ALLOW_SEALING, 16 * 4096, 0); }
static int open_memfd_plain(const struct fuzz_files *f) { (void)f; return fuzz_memfd(0, 3 << 20, 0); }
static int open_memfd_write(const struct fuzz_files *f)
{
	(void)f;
	return fuzz_memfd(MFD_ALLOW_SEALING, 16 * 4096, F_SEAL_WRITE);
}
static int open_memfd_future(const struct fuzz_files *f)
{
	(void)f;
	return fuzz_memfd(MFD_ALLOW_SEALING, 16 * 4096, F_SEAL_FUTURE_WRITE);
}
static int open_memfd_all(const struct fuzz_files *f)
{
	(void)f;
	return fuzz_memfd(MFD_ALLOW_SEALING, 16 * 4096, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
}

static int open_memfd_ro(const struct fuzz_files *f)
{
	for (int i = 0; i < f->count; i++)
		if (!strcmp(f->file[i].name, "memfd")) {
			char path[64];
			snprintf(path, sizeof(path), "/proc/self/fd/%d", f->file[i].fd);
			return open(path, O_RDONLY | O_CLOEXEC);
		}
	return -1;
}

static int open_memfd_huge(const struct fuzz_files *f) { (void)f; return fuzz_memfd(MFD_HUGETLB, 4 << 20, 0); }
static int open_zero(const struct fuzz_files *f) { (void)f; return open("/dev/zero", O_RDWR | O_CLOEXEC); }
static int open_zero_ro(const struct fuzz_files *f) { (void)f; return open("/dev/zero", O_RDONLY | O_CLOEXEC); }
static int open_directory(const struct fuzz_files *f) { return open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

static int open_pipe(const struct fuzz_files *f)
{
	int fd[2];
	(void)f;
	if (pipe2(fd, O_CLOEXEC) < 0)
		return -1;
	close(fd[1]);
	return fd[0];
}

enum { R = SAMARA_FMODE_READ, W = SAMARA_FMODE_WRITE, RW = R | W };

static const struct fuzz_recipe map_recipes[] = {
	{ "small", "file(\"/tmp/fuzz-small\", O_RDWR, 20580)", open_small, SAMARA_INODE_REGULAR, RW, 0, 0, 0, 0, NULL },
	{ "small opened again", "file(\"/tmp/fuzz-small\", O_RDWR, 20580)", open_small_again, SAMARA_INODE_REGULAR, RW,
		0, 0, 0, 0, "small" },
	{ "small O_RDONLY", "file(\"/tmp/fuzz-small\", O_RDONLY, 20580)", open_small_ro, SAMARA_INODE_REGULAR, R,
		0, 0, 0, 0, "small" },
	{ "small O_WRONLY", "file(\"/tmp/fuzz-small\", O_WRONLY, 20580)", open_small_wo, SAMARA_INODE_REGULAR, W,
		0, 0, 0, 0, "small" },
	{ "small O_APPEND", "file(\"/tmp/fuzz-small\", O_RDWR | O_APPEND, 20580)", open_append_fd, SAMARA_INODE_REGULAR, RW,
		0, 0, 0, 0, "small" },
	{ "6 MiB", "file(\"/tmp/fuzz-large\", O_RDWR, 6291456)", open_large, SAMARA_INODE_REGULAR, RW, 0, 0, 0, 0, NULL },
	{ "empty", "file(\"/tmp/fuzz-empty\", O_RDWR, 0)", open_empty, SAMARA_INODE_REGULAR, RW, 0, 0, 0, 0, NULL },
	{ "append-only inode", "file(\"/tmp/fuzz-append\", O_RDWR | O_APPEND, 20580) /* after chattr +a */", open_append_only,
		SAMARA_INODE_REGULAR, RW, 0, 1, 0, 0, NULL },
	{ "on a noexec mount", "file(\"/run/fuzz-noexec\", O_RDWR, 20580) /* a noexec tmpfs */", open_noexec,
		SAMARA_INODE_SHMEM, RW, 0, 0, 1, 0, NULL },
	{ "tmpfs", "file(\"/dev/shm/fuzz-shm\", O_RDWR, 20580)", open_shm, SAMARA_INODE_SHMEM, RW, 0, 0, 0, 0, NULL },
	{ "memfd", "memfd(2, 65536, 0)", open_memfd, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "memfd O_RDONLY", "reopen(memfd(2, 65536, 0)) /* the same memfd */", open_memfd_ro, SAMARA_INODE_SHMEM, R,
		1, 0, 0, 0, "memfd" },
	{ "memfd 3 MiB", "memfd(0, 3145728, 0)", open_memfd_plain, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "memfd F_SEAL_WRITE", "memfd(2, 65536, 8)", open_memfd_write, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "memfd F_SEAL_FUTURE_WRITE", "memfd(2, 65536, 16)", open_memfd_future, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "memfd F_SEAL_SEAL", "memfd(2, 65536, 7)", open_memfd_all, SAMARA_INODE_SHMEM, RW, 1, 0, 0, 0, NULL },
	{ "memfd MFD_HUGETLB", "memfd(4, 4194304, 0)", open_memfd_huge, SAMARA_INODE_HUGETLB, RW, 1, 0, 0, 21, NULL },
	{ "/dev/zero", "file(\"/dev/zero\", O_RDWR, -1)", open_zero, SAMARA_INODE_DEV_ZERO, RW, 0, 0, 0, 0, NULL },
	{ "/dev/zero O_RDONLY", "file(\"/dev/zero\", O_RDONLY, -1)", open_zero_ro, SAMARA_INODE_DEV_ZERO, R,
		0, 0, 0, 0, "/dev/zero" },
	{ "directory", "file(\"/tmp\", O_DIRECTORY, -1)", open_directory, SAMARA_INODE_UNMAPPABLE, R, 0, 0, 0, 0, NULL },
	{ "pipe", "pipe_end()", open_pipe, SAMARA_INODE_UNMAPPABLE, R, 0, 0, 1, 0, NULL },
};
_Static_assert(FUZZ_ARRAY_SIZE(map_recipes) <= FUZZ_MAX_FILES, "FUZZ_MAX_FILES is too small");

/* What maps will print and samara must know, asked of the open file itself. */
static int describe(struct fuzz_file *file)
{
	char link[64];
	struct stat st;
	struct statfs fs;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->fd);
	ssize_t got = readlink(link, file->path, sizeof(file->path) - 1);
	if (got < 0 || fstat(file->fd, &st) < 0 || fstatfs(file->fd, &fs) < 0)
		return -1;
	file->path[got] = 0;
	file->major = major(st.st_dev);
	file->minor = minor(st.st_dev);
	file->ino = st.st_ino;
	file->executable = (st.st_mode & 0111) != 0;
	file->bytes = (uint64_t)st.st_size;
	file->huge_align = file->kind == SAMARA_INODE_REGULAR && fs.f_type == EXT4_SUPER_MAGIC;
	bool memory = file->kind == SAMARA_INODE_SHMEM || file->kind == SAMARA_INODE_HUGETLB;
	int seals = memory ? fcntl(file->fd, F_GET_SEALS) : -1;
	file->seals = seals >= 0 ? (uint32_t)seals : 0;
	return 0;
}

static int open_one(struct fuzz_files *files, int i)
{
	const struct fuzz_recipe *r = &files->recipes[i];
	struct fuzz_file *file = &files->file[i];
	*file = (struct fuzz_file){ .name = r->name, .code = r->code, .fresh = r->fresh, .same_inode = -1, .kind = r->kind,
		.fmode = r->fmode, .append_only = r->append_only, .noexec = r->noexec, .huge_log2 = r->huge_log2 };
	for (int j = 0; r->same_inode && j < i; j++)
		if (!strcmp(files->recipes[j].name, r->same_inode))
			file->same_inode = j;
	file->fd = r->open(files);
	if (file->fd >= 0 && describe(file) < 0) {
		close(file->fd);
		file->fd = -1;
	}
	return file->fd < 0 ? -1 : 0;
}

static int open_segments(struct fuzz_files *files)
{
	static const uint64_t sizes[FUZZ_SEGMENTS] = { 4096, 3 * 4096 + 100, 8 * 4096 };
	for (int i = 0; i < FUZZ_SEGMENTS; i++) {
		struct fuzz_segment *seg = &files->segment[i];
		if (seg->at)
			shmdt(seg->at);
		*seg = (struct fuzz_segment){ .id = shmget(IPC_PRIVATE, sizes[i], 0700), .bytes = sizes[i] };
		if (seg->id < 0)
			return -1;
		void *p = shmat(seg->id, NULL, 0);
		shmctl(seg->id, IPC_RMID, NULL);
		if (p == (void *)-1)
			return -1;
		seg->at = p;
	}
	return 0;
}

int fuzz_files_open(struct fuzz_files *files, const struct fuzz_recipe *recipes, int count)
{
	*files = (struct fuzz_files){ .recipes = recipes ? recipes : map_recipes };
	if (!recipes)
		count = FUZZ_ARRAY_SIZE(map_recipes);
	snprintf(files->directory, sizeof(files->directory), "/tmp/samara-fuzz-XXXXXX");
	if (!mkdtemp(files->directory))
		return -1;
	for (int i = 0; i < count; i++) {
		open_one(files, i);
		files->count = i + 1;
	}
	return files->file[0].fd < 0 || open_segments(files) < 0 ? -1 : 0;
}

int fuzz_files_refresh(struct fuzz_files *files)
{
	for (int i = 0; i < files->count; i++) {
		if (!files->file[i].fresh || files->file[i].fd < 0)
			continue;
		close(files->file[i].fd);
		if (open_one(files, i) < 0)
			return -1;
	}
	return files->recipes == map_recipes ? 0 : open_segments(files);
}

void fuzz_files_close(struct fuzz_files *files)
{
	static const char *const names[] = { "small", "large", "empty", "noexec/file" };
	char path[160];
	if (!files->directory[0])
		return;
	for (int i = 0; i < files->count; i++) {
		if (files->file[i].fd >= 0)
			close(files->file[i].fd);
	}
	for (size_t i = 0; i < FUZZ_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", files->directory, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/noexec", files->directory);
	umount2(path, MNT_DETACH);
	rmdir(path);
	snprintf(path, sizeof(path), "/dev/shm/%s", strrchr(files->directory, '/') + 1);
	unlink(path);
	rmdir(files->directory);
	files->directory[0] = 0;
}
