/* host_file.c - host_file.h: the callbacks of a REGULAR inode, made of pread, pwrite, fdatasync, ftruncate and
 * fallocate.
 *
 * Several pages are read by one preadv; with liburing, when nobody else uses the file's ring just then, as a few
 * reads at once.  Signals interrupt nothing: EINTR begins the rest again.  A file that is shorter on the host than
 * samara thinks reads as zero there.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#include <pthread.h>
#endif

#include "ports/posix/host_file.h"

#define HOST_PAGE 4096u
#define HOST_MANY 64u      /* pages of one call */
#define HOST_RING_PART 8u  /* pages of one read of the ring */
#define HOST_RING_DEPTH (HOST_MANY / HOST_RING_PART)

struct host_file {
	int fd;
#ifdef HAVE_LIBURING
	struct io_uring ring;
	int has_ring;
	pthread_mutex_t ring_lock;
#endif
};

/* Bytes that were read, less than asked for at the end of the file only, or after an error that follows bytes. */
static ssize_t host_pread(int fd, char *to, size_t bytes, off_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(fd, to + done, bytes - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int host_read_page(void *self, uint64_t index, void *page)
{
	struct host_file *host = self;
	ssize_t n;
	size_t done = 0;

	/* again after a short count: an error that came behind some bytes shows itself now */
	do {
		n = host_pread(host->fd, (char *)page + done, HOST_PAGE - done, (off_t)(index * HOST_PAGE + done));
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	} while (n && done < HOST_PAGE);
	memset((char *)page + done, 0, HOST_PAGE - done);
	return 0;
}

#ifdef HAVE_LIBURING
/* Reads of HOST_RING_PART pages at once; pages from the first that were read whole.  -EAGAIN: the ring is in use, or
 * does not work. */
static int host_ring_read(struct host_file *host, uint64_t index, const struct iovec *iov, unsigned count)
{
	unsigned parts = (count + HOST_RING_PART - 1) / HOST_RING_PART, queued = 0, whole = 0;
	int result[HOST_RING_DEPTH];

	if (!host->has_ring || pthread_mutex_trylock(&host->ring_lock))
		return -EAGAIN;
	for (unsigned i = 0; i < parts; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&host->ring);
		unsigned first = i * HOST_RING_PART, pages = count - first < HOST_RING_PART ? count - first :
			HOST_RING_PART;

		result[i] = -EAGAIN;
		if (!sqe)
			break;
		io_uring_prep_readv(sqe, host->fd, iov + first, pages, (index + first) * HOST_PAGE);
		io_uring_sqe_set_data(sqe, &result[i]);
		queued++;
	}
	while (queued) {
		struct io_uring_cqe *cqe;
		int err = io_uring_submit_and_wait(&host->ring, 1);

		if (err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY) {
			/* reads that were queued may still write to the pages: the ring goes,
				and with it all of them */
			io_uring_queue_exit(&host->ring);
			host->has_ring = 0;
			break;
		}
		while (!io_uring_peek_cqe(&host->ring, &cqe)) {
			*(int *)io_uring_cqe_get_data(cqe) = cqe->res;
			io_uring_cqe_seen(&host->ring, cqe);
			queued--;
		}
	}
	pthread_mutex_unlock(&host->ring_lock);
	for (unsigned i = 0; i < parts; i++) {
		unsigned first = i * HOST_RING_PART, pages = count - first < HOST_RING_PART ? count - first :
			HOST_RING_PART;

		whole += result[i] > 0 ? (unsigned)result[i] / HOST_PAGE : 0;
		if (result[i] != (int)(pages * HOST_PAGE))
			break;
	}
	return whole ? (int)whole : -EAGAIN;
}
#endif

/* Pages from the first that are whole come at once; the one after them (the end of the file lies in it, or an error)
 * by itself. */
static int host_read_pages(void *self, uint64_t index, void **pages, unsigned count)
{
	struct host_file *host = self;
	struct iovec iov[HOST_MANY];
	int whole = -EAGAIN;

	if (count > HOST_MANY)
		count = HOST_MANY;
	for (unsigned i = 0; i < count; i++)
		iov[i] = (struct iovec){ .iov_base = pages[i], .iov_len = HOST_PAGE };
#ifdef HAVE_LIBURING
	whole = host_ring_read(host, index, iov, count);
#endif
	if (whole < 0) {
		ssize_t n;

		do {
			n = preadv(host->fd, iov, (int)count, (off_t)(index * HOST_PAGE));
		} while (n < 0 && errno == EINTR);
		whole = n < 0 ? 0 : (int)(n / HOST_PAGE);
	}
	if ((unsigned)whole < count) {
		int err = host_read_page(self, index + (unsigned)whole, pages[whole]);

		if (err && !whole)
			return err;
		whole += !err;
	}
	return whole;
}

static int host_write_page(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct host_file *host = self;
	uint32_t done = 0;

	while (done < bytes) {
		ssize_t n = pwrite(host->fd, (const char *)page + done, bytes - done,
			(off_t)(index * HOST_PAGE + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;
		done += (uint32_t)n;
	}
	return 0;
}

static int host_sync(void *self)
{
	struct host_file *host = self;

	return fdatasync(host->fd) ? -errno : 0;
}

static int host_set_size(void *self, uint64_t size_bytes)
{
	struct host_file *host = self;

	while (ftruncate(host->fd, (off_t)size_bytes))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int host_punch(void *self, uint64_t start, uint64_t end)
{
	struct host_file *host = self;

	while (fallocate(host->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start)))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void host_free(struct host_file *host)
{
#ifdef HAVE_LIBURING
	if (host->has_ring)
		io_uring_queue_exit(&host->ring);
	pthread_mutex_destroy(&host->ring_lock);
#endif
	close(host->fd);
	free(host);
}

static void host_release(void *self)
{
	host_free(self);
}

static const struct samara_inode_ops host_ops = {
	.size = sizeof(host_ops),
	.release = host_release,
	.read_page = host_read_page,
	.read_pages = host_read_pages,
	.write_page = host_write_page,
	.sync = host_sync,
	.set_size = host_set_size,
	.punch = host_punch,
};

static int host_open(const char *path, int flags, struct host_file **out, struct stat *st)
{
	struct host_file *host = calloc(1, sizeof(*host));
	int err = 0;

	if (!host)
		return -ENOMEM;
	/* a page that is written in part is read first, whatever the opener may do with it */
	if ((flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	host->fd = open(path, (flags & ~O_APPEND) | O_CLOEXEC, 0666);
	if (host->fd < 0) {
		err = -errno;
		free(host);
		return err;
	}
#ifdef HAVE_LIBURING
	pthread_mutex_init(&host->ring_lock, NULL);
	host->has_ring = !io_uring_queue_init(HOST_RING_DEPTH, &host->ring, 0);
#endif
	if (fstat(host->fd, st))
		err = -errno;
	else if (!S_ISREG(st->st_mode))
		err = -EINVAL;
	if (err) {
		host_free(host);
		return err;
	}
	*out = host;
	return 0;
}

int samara_host_file_open(struct samara *vm, const char *path, int flags, struct samara_file **file)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .ops = &host_ops };
	unsigned fmode = (flags & O_ACCMODE) == O_RDONLY ? SAMARA_FMODE_READ :
			 (flags & O_ACCMODE) == O_WRONLY ? SAMARA_FMODE_WRITE : SAMARA_FMODE_READ | SAMARA_FMODE_WRITE;
	struct samara_inode *inode;
	struct host_file *host = NULL;
	struct stat st;
	int err;

	if (!vm || !path || !file)
		return -EINVAL;
	err = host_open(path, flags, &host, &st);
	if (err)
		return err;
	desc.self = host;
	desc.major = major(st.st_dev);
	desc.minor = minor(st.st_dev);
	desc.ino = st.st_ino;
	desc.size_bytes = (uint64_t)st.st_size;
	desc.executable = (st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0;
	err = samara_inode_create(vm, &desc, &inode);
	if (err) {
		host_free(host);
		return err;
	}
	err = samara_file_open(inode, fmode, path, file);
	/* the file's own reference stays; without a file this is the last, and releases the descriptor */
	samara_inode_put(inode);
	return err;
}
