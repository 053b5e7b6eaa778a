/* tracer_files.c - which open file a descriptor is.
 *
 * Two mappings merge only when they come from the same open of a file, so each open gets a number.  The tracer
 * keeps a copy of the descriptor (pidfd_getfd(2)) of regular files and compares with kcmp(2): as long as the copy
 * is held, the kernel cannot reuse the open file, and equal means equal.  A copy could be noticed by the program
 * in two ways, and is not held then: a file open for writing cannot be executed (released before every exec), and
 * a lock lives until the last copy is closed (never held). What is not held is compared with the descriptor where
 * it was last seen, which is right unless that number was closed and the same file opened again under it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "tracer_state.h"

enum { HELD_MAX = 4096, BUCKETS = 4096, F_GET_SEALS_NUMBER = 1034, PIDFD_THREAD_FLAG = O_EXCL };
enum { MAGIC_TMPFS = 0x01021994, MAGIC_HUGETLBFS = 0x958458f6 };

struct open_file {
	struct open_file *next;
	struct ev_file known;
	int held;              /* our copy, or -1 */
	pid_t tid, tgid;       /* where it was last seen */
	int fd;
	uint64_t used;
};

struct open_files {
	struct open_file *bucket[BUCKETS];
	struct open_file *recent[64]; /* by tgid and descriptor: the likely answer */
	uint64_t last_id, clock;
	int held_n;
	int pidfd;             /* of pidfd_tid, the last one asked for */
	pid_t pidfd_tid;
};

struct open_files *open_files_create(void)
{
	struct open_files *files = must_alloc(sizeof(*files));

	memset(files, 0, sizeof(*files));
	files->pidfd = -1;
	return files;
}

static void let_go(struct open_files *files, struct open_file *file)
{
	if (file->held >= 0) {
		close(file->held);
		file->held = -1;
		files->held_n--;
	}
}

void open_files_destroy(struct open_files *files)
{
	if (!files)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (files->bucket[i]) {
			struct open_file *file = files->bucket[i];

			files->bucket[i] = file->next;
			let_go(files, file);
			free(file);
		}
	if (files->pidfd >= 0)
		close(files->pidfd);
	free(files);
}

void open_files_release_writable(struct open_files *files)
{
	for (size_t i = 0; i < BUCKETS && files->held_n; i++)
		for (struct open_file *file = files->bucket[i]; file; file = file->next)
			if (file->known.open_flags & O_ACCMODE)
				let_go(files, file);
}

static void release_oldest(struct open_files *files)
{
	struct open_file *oldest = NULL;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct open_file *file = files->bucket[i]; file; file = file->next)
			if (file->held >= 0 && (!oldest || file->used < oldest->used))
				oldest = file;
	if (oldest)
		let_go(files, oldest);
}

static bool same_open(const struct open_file *file, pid_t tid, int fd)
{
	if (file->held >= 0)
		return !syscall(SYS_kcmp, getpid(), tid, KCMP_FILE, (unsigned long)file->held, (unsigned long)fd);
	return !syscall(SYS_kcmp, file->tid, tid, KCMP_FILE, (unsigned long)file->fd, (unsigned long)fd);
}

static int copy_descriptor(struct open_files *files, pid_t tid, pid_t tgid, int fd)
{
	int copy;

	if (files->pidfd < 0 || files->pidfd_tid != tid) {
		if (files->pidfd >= 0)
			close(files->pidfd);
		files->pidfd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD_FLAG);
		if (files->pidfd < 0)
			files->pidfd = (int)syscall(SYS_pidfd_open, tgid, 0);
		files->pidfd_tid = tid;
	}
	copy = files->pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, files->pidfd, fd, 0);
	if (copy < 0 && errno == ESRCH && files->pidfd >= 0) {
		close(files->pidfd); /* the number was reused by a new thread */
		files->pidfd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD_FLAG);
		copy = files->pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, files->pidfd, fd, 0);
	}
	if (copy >= 0)
		fcntl(copy, F_SETFD, FD_CLOEXEC);
	return copy;
}

static bool has_lock(pid_t tid, int fd)
{
	char path[64], text[1024];
	ssize_t n;
	int info;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", tid, fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return true;
	n = read(info, text, sizeof(text) - 1);
	close(info);
	if (n <= 0)
		return true;
	text[n] = 0;
	return strstr(text, "lock:") != NULL;
}

static const char *path_of(int copy)
{
	char link[64], path[8192];
	ssize_t n;
	size_t out = 0;
	char text[sizeof(path) * 4];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", copy);
	n = readlink(link, path, sizeof(path));
	if (n < 0)
		return intern("?", 1);
	for (ssize_t i = 0; i < n; i++) { /* maps prints a newline as \012 */
		if (path[i] == '\n') {
			memcpy(text + out, "\\012", 4);
			out += 4;
		} else {
			text[out++] = path[i];
		}
	}
	return intern(text, out);
}

static void describe(int copy, struct ev_file *f)
{
	struct stat st;
	struct statfs fs;

	f->have = true;
	if (!fstat(copy, &st)) {
		f->major = major(st.st_dev);
		f->minor = minor(st.st_dev);
		f->ino = st.st_ino;
		f->size = (uint64_t)st.st_size;
		f->mode = st.st_mode;
		f->rdev = st.st_rdev;
	}
	if (!fstatfs(copy, &fs)) {
		f->fs = (uint64_t)(unsigned long)fs.f_type & 0xffffffff;
		f->noexec = fs.f_flags & ST_NOEXEC;
	}
	f->open_flags = (uint64_t)(unsigned)fcntl(copy, F_GETFL);
	if (f->fs == MAGIC_TMPFS || f->fs == MAGIC_HUGETLBFS) {
		int seals = fcntl(copy, F_GET_SEALS_NUMBER);

		f->seals = seals < 0 ? 0 : (uint32_t)seals;
	}
	f->path = path_of(copy);
}

static struct open_file **recent_slot(struct open_files *files, pid_t tgid, int fd)
{
	return &files->recent[((unsigned)tgid * 31u + (unsigned)fd) % 64];
}

static struct open_file *find_known(struct open_files *files, const struct ev_file *f, pid_t tid, int fd)
{
	for (struct open_file *file = files->bucket[f->ino % BUCKETS]; file; file = file->next)
		if (file->known.ino == f->ino && file->known.major == f->major && file->known.minor == f->minor &&
		    file->known.open_flags == f->open_flags && same_open(file, tid, fd))
			return file;
	return NULL;
}

void open_files_identify(struct open_files *files, pid_t tid, pid_t tgid, int fd, struct ev_file *out)
{
	struct open_file *file, **recent = recent_slot(files, tgid, fd);
	struct ev_file f = { 0 };
	int copy;

	memset(out, 0, sizeof(*out));
	if (fd < 0)
		return;
	file = *recent;
	if (file && file->held >= 0 && same_open(file, tid, fd)) {
		describe(file->held, &f);
		copy = -1;
	} else {
		copy = copy_descriptor(files, tid, tgid, fd);
		if (copy < 0)
			return; /* a bad descriptor for the program as well */
		describe(copy, &f);
		file = find_known(files, &f, tid, fd);
	}
	if (!file) {
		file = must_alloc(sizeof(*file));
		memset(file, 0, sizeof(*file));
		file->held = -1;
		file->next = files->bucket[f.ino % BUCKETS];
		files->bucket[f.ino % BUCKETS] = file;
		f.id = ++files->last_id;
		if (S_ISREG(f.mode) && copy >= 0 && !has_lock(tid, fd)) {
			if (files->held_n >= HELD_MAX)
				release_oldest(files);
			file->held = copy;
			files->held_n++;
			copy = -1;
		}
	} else {
		f.id = file->known.id;
	}
	if (copy >= 0)
		close(copy);
	file->known = f;
	file->tid = tid;
	file->tgid = tgid;
	file->fd = fd;
	file->used = ++files->clock;
	*recent = file;
	*out = f;
}
