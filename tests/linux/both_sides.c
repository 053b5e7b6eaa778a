/* both_sides.c - the steps of both_sides.h: made by the kernel, or by samara. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/linux/both_sides.h"

#define FRAMES 1024u
#define TIGHT_FRAMES 40u

int64_t note(struct run *r, const char *what, int64_t value)
{
	int n = snprintf(r->log + r->used, sizeof(r->log) - r->used, "%s = %lld\n", what, (long long)value);

	assert_true(n > 0 && r->used + (size_t)n < sizeof(r->log));
	r->used += (size_t)n;
	return value;
}

void same_at(struct run *r, int64_t value, int64_t expected, const char *text, int line)
{
	if (value != expected)
		fail_msg("%s, line %d: %s is %lld, not %lld; the steps so far:\n%s",
			r->side == KERNEL ? "the kernel" : "samara", line, text, (long long)value, (long long)expected,
			r->log);
}
/* -- samara's file -- */

static int disk_read_page(void *self, uint64_t index, void *page)
{
	const struct disk *d = self;

	memcpy(page, d->bytes + index * 4096, 4096);
	return 0;
}

static int disk_write_page(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct disk *d = self;

	if (d->write_error)
		return d->write_error;
	memcpy(d->bytes + index * 4096, page, bytes);
	return 0;
}

static int disk_set_size(void *self, uint64_t size)
{
	struct disk *d = self;

	if (size > sizeof(d->bytes))
		return -SAMARA_ENOSPC;
	if (size < d->size)
		memset(d->bytes + size, 0, d->size - size);
	d->size = size;
	return 0;
}

static int disk_punch(void *self, uint64_t start, uint64_t end)
{
	struct disk *d = self;

	end = end < d->size ? end : d->size;
	if (start < end)
		memset(d->bytes + start, 0, end - start);
	return 0;
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops),
	.read_page = disk_read_page,
	.write_page = disk_write_page,
	.set_size = disk_set_size,
	.punch = disk_punch };

/* -- a run begins and ends -- */

/* Shell, for what needs several programs; true: it worked. */
static bool shell(const char *format, const char *a)
{
	char command[512];

	snprintf(command, sizeof(command), format, a, a, a, a, a);
	return system(command) == 0;
}

/* A mount namespace of this process' own; false: this host does not let us. */
static bool stand_apart(void)
{
	static bool apart;

	if (!apart && (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)))
		return false;
	return apart = true;
}

/* What the device writes reaches DIR/t/image, as long as that tmpfs has room. */
static bool loop_make(struct run *r)
{
	return stand_apart() &&
		shell("exec 2>/dev/null; PATH=$PATH:/sbin:/usr/sbin; cd %s && mkdir t m && mount -t tmpfs -o size=4m "
		      "none t && "
		      "truncate -s 16m t/image && mke2fs -q -F -t ext2 -b 4096 t/image && mount -o "
		      "loop,errors=continue t/image m",
			r->dir);
}

static bool tmpfs_make(struct run *r)
{
	char options[32];

	snprintf(r->path, sizeof(r->path), "%s/m", r->dir);
	snprintf(options, sizeof(options), "size=%u", SMALL_PAGES * 4096);
	return stand_apart() && !mkdir(r->path, 0700) && !mount("none", r->path, "tmpfs", 0, options);
}

static void mounts_drop(struct run *r)
{
	(void)shell("exec 2>/dev/null; PATH=$PATH:/sbin:/usr/sbin; cd %s && umount m; umount t; rm -rf m t", r->dir);
}

/* False: this kernel cannot be asked. */
static bool kernel_begin(struct run *r)
{
	for (int i = 0; i < SPACES; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		r->socket[i] = pair[0];
		r->far[i] = pair[1];
	}
	snprintf(r->dir, sizeof(r->dir), "/tmp/samara-promises-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	for (int i = 0; i < OPENS; i++)
		r->fd[i] = -1;
	if ((r->kind == LOOP && !loop_make(r)) || (r->kind == TMPFS && !tmpfs_make(r))) {
		mounts_drop(r);
		rmdir(r->dir);
		return false;
	}
	if (r->kind == SEGMENT) {
		r->segment = shmget(IPC_PRIVATE, SEGMENT_BYTES, IPC_CREAT | 0600);
		assert_true(r->segment >= 0);
		return true;
	}
	snprintf(r->path, sizeof(r->path), r->kind == LOOP || r->kind == TMPFS ? "%s/m/file" : "%s/file", r->dir);
	r->fd[0] = r->kind == MEMFD ? memfd_create("promises", MFD_ALLOW_SEALING | MFD_CLOEXEC)
				    : open(r->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(r->fd[0] >= 0);
	/* gone from its folder at once: nothing is left, whatever happens */
	if (r->kind == DISK || r->kind == TIGHT)
		assert_int_equal(unlink(r->path), 0);
	if (r->kind != LOOP && r->kind != TMPFS) {
		snprintf(r->path, sizeof(r->path), "/proc/self/fd/%d", r->fd[0]);
		rmdir(r->dir);
	}
	return true;
}

static void samara_begin(struct run *r)
{
	uint64_t frames = r->kind == TIGHT ? TIGHT_FRAMES : FRAMES;
	struct samara_config config = { .size = sizeof(config), .memory_pages = frames };
	bool disk = r->kind == DISK || r->kind == TIGHT || r->kind == LOOP;
	struct samara_inode_desc desc = { .kind = disk ? SAMARA_INODE_REGULAR : SAMARA_INODE_SHMEM,
		.charge_pages = !disk };

	sim_init(&r->sim);
	config.memory = r->memory = aligned_alloc(4096, frames * 4096);
	assert_non_null(r->memory);
	assert_int_equal(samara_create(&r->sim.port, &config, &r->vm), 0);
	if (disk) {
		desc.ops = &disk_ops;
		desc.self = &r->disk;
	}
	if (r->kind == TMPFS)
		desc.max_pages = SMALL_PAGES;
	if (r->kind == SEGMENT)
		desc.size_bytes = SEGMENT_BYTES;
	assert_int_equal(samara_inode_create(r->vm, &desc, &r->inode), 0);
	assert_int_equal(samara_file_open(r->inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/file", &r->file[0]), 0);
}

static void run_end(struct run *r)
{
	if (r->side == KERNEL) {
		for (int i = 0; i < SPACES; i++) {
			close(r->socket[i]);
			close(r->far[i]);
			if (r->ours[i])
				waitpid(r->pid[i], NULL, 0);
		}
		for (int i = 0; i < OPENS; i++)
			if (r->fd[i] >= 0)
				close(r->fd[i]);
		if (r->kind == LOOP || r->kind == TMPFS)
			mounts_drop(r);
		if (r->kind == SEGMENT)
			shmctl(r->segment, IPC_RMID, NULL);
		rmdir(r->dir);
		return;
	}
	samara_check_machine(r->vm);
	for (int i = 0; i < SPACES; i++)
		if (r->mm[i])
			samara_mm_put(r->mm[i]);
	for (int i = 0; i < OPENS; i++)
		if (r->file[i])
			samara_file_put(r->file[i]);
	samara_inode_put(r->inode);
	samara_destroy(r->vm);
	assert_int_equal(r->sim.live_blocks, 0);
	free(r->memory);
}

bool on_both(enum kind kind, body *steps)
{
	static struct run kernel, samara;
	bool asked;

	memset(&kernel, 0, sizeof(kernel));
	memset(&samara, 0, sizeof(samara));
	kernel.side = KERNEL;
	samara.side = SAMARA;
	kernel.kind = samara.kind = kind;
	asked = kernel_begin(&kernel);
	if (asked) {
		steps(&kernel);
		run_end(&kernel);
	}
	samara_begin(&samara);
	steps(&samara);
	run_end(&samara);
	if (asked)
		assert_string_equal(kernel.log, samara.log);
	return asked;
}

/* -- steps on address spaces -- */

void space_new(struct run *r, int space)
{
	struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull };

	if (r->side == SAMARA)
		assert_int_equal(samara_mm_create(r->vm, &params, &r->mm[space]), 0);
	else
		kernel_space(r, space);
}

void space_fork(struct run *r, int from, int to)
{
	struct ask a = { .what = ASK_FORK, .number = to };

	if (r->side == SAMARA) {
		assert_int_equal(samara_fork(r->mm[from], &r->mm[to]), 0);
		return;
	}
	r->pid[to] = (pid_t)ask(r, from, &a).result;
	assert_true(r->pid[to] > 0);
}

/* The address must be the one asked for: 0, or a negative errno.  `file` -1: anonymous. */
int64_t map(
	struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t prot, uint64_t flags, int file, uint64_t page)
{
	struct ask a = { .what = ASK_MMAP,
		.addr = addr,
		.length = pages * PAGE,
		.prot = prot,
		.flags = flags | SAMARA_MAP_FIXED,
		.offset = page * PAGE,
		.fd = file < 0 ? -1 : r->fd[file] };
	int64_t at;

	if (file < 0)
		a.flags |= SAMARA_MAP_ANONYMOUS;
	at = r->side == KERNEL
		? ask(r, space, &a).result
		: samara_mmap(r->mm[space], addr, a.length, prot, a.flags, file < 0 ? NULL : r->file[file], a.offset);
	return note(r, "map", at == (int64_t)addr ? 0 : at);
}

int64_t unmap(struct run *r, int space, uint64_t addr, uint64_t pages)
{
	struct ask a = { .what = ASK_MUNMAP, .addr = addr, .length = pages * PAGE };

	return note(
		r, "unmap", r->side == KERNEL ? ask(r, space, &a).result : samara_munmap(r->mm[space], addr, a.length));
}

int64_t protect(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t prot)
{
	struct ask a = { .what = ASK_MPROTECT, .addr = addr, .length = pages * PAGE, .prot = prot };

	return note(r, "protect",
		r->side == KERNEL ? ask(r, space, &a).result : samara_mprotect(r->mm[space], addr, a.length, prot));
}

int64_t flush(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t flags)
{
	struct ask a = { .what = ASK_MSYNC, .addr = addr, .length = pages * PAGE, .flags = flags };

	return note(r, "msync",
		r->side == KERNEL ? ask(r, space, &a).result : samara_msync(r->mm[space], addr, a.length, flags));
}

int64_t advise(struct run *r, int space, uint64_t addr, uint64_t pages, int advice)
{
	struct ask a = { .what = ASK_MADVISE, .addr = addr, .length = pages * PAGE, .number = advice };

	return note(r, "madvise",
		r->side == KERNEL ? ask(r, space, &a).result : samara_madvise(r->mm[space], addr, a.length, advice));
}

/* What mincore(2) says of up to 60 pages, the first as the lowest bit. */
int64_t in_core(struct run *r, int space, uint64_t addr, uint64_t pages)
{
	struct ask a = { .what = ASK_MINCORE, .addr = addr, .length = pages * PAGE };
	struct answer to;
	int64_t bits = 0;

	if (r->side == KERNEL)
		to = ask(r, space, &a);
	else
		to.result = samara_mincore(r->mm[space], addr, a.length, to.vec);
	if (to.result)
		return note(r, "mincore", to.result);
	for (uint64_t i = 0; i < pages; i++)
		bits |= (int64_t)(to.vec[i] & 1) << i;
	return note(r, "mincore", bits);
}

/* A signal's address must be the byte's. */
static int64_t access_on_kernel(struct run *r, int space, const struct ask *a)
{
	struct answer to = ask(r, space, a);

	if (to.result < 0)
		same(to.where, a->addr);
	return to.result;
}

static int64_t signal_of(struct run *r, const struct samara_signal *s, uint64_t addr)
{
	same(s->error, -SAMARA_EFAULT);
	same(s->addr, addr);
	return SIGNAL(s->signo, s->code);
}

/* A byte, or the signal that came instead. */
int64_t get(struct run *r, int space, uint64_t addr)
{
	const struct ask a = { .what = ASK_LOAD, .addr = addr };
	struct samara_signal s;
	unsigned char byte;

	if (r->side == KERNEL)
		return note(r, "load", access_on_kernel(r, space, &a));
	if (samara_load(r->mm[space], addr, &byte, 1, &s) == 1)
		return note(r, "load", byte);
	return note(r, "load", signal_of(r, &s, addr));
}

int64_t put(struct run *r, int space, uint64_t addr, int value)
{
	const struct ask a = { .what = ASK_STORE, .addr = addr, .number = value };
	unsigned char byte = (unsigned char)value;
	struct samara_signal s;

	if (r->side == KERNEL)
		return note(r, "store", access_on_kernel(r, space, &a));
	if (samara_store(r->mm[space], addr, &byte, 1, &s) == 1)
		return note(r, "store", 0);
	return note(r, "store", signal_of(r, &s, addr));
}

/* /proc/PID/NAME, or samara's. */
static char *view_text(struct run *r, int space, const char *name, int (*view)(struct samara_mm *mm, samara_sink *sink, void *self))
{
	static struct text_buffer text;

	text.used = 0;
	if (r->side == KERNEL) {
		char path[64];
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)r->pid[space], name);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		while ((n = read(fd, text.text + text.used, sizeof(text.text) - 1 - text.used)) > 0)
			text.used += (size_t)n;
		close(fd);
		text.text[text.used] = 0;
	} else {
		assert_int_equal(view(r->mm[space], text_sink, &text), 0);
	}
	return text.text;
}

/* A line of status, in kB; no line of the log: the numbers of two processes are their own. */
int64_t from_status(struct run *r, int space, const char *name)
{
	const char *line = strstr(view_text(r, space, "status", samara_view_status), name);

	assert_non_null(line);
	return strtol(strchr(line, ':') + 1, NULL, 10);
}

/* The sum in kB of the lines of smaps whose names begin with `name` or `other`, for the mapping that begins at `addr`.
 */
int64_t from_smaps(struct run *r, int space, uint64_t addr, const char *name, const char *other)
{
	char start[32], *line, *text = view_text(r, space, "smaps", samara_view_smaps);
	int64_t sum = 0;

	snprintf(start, sizeof(start), "%llx-", (unsigned long long)addr);
	line = strstr(text, start);
	assert_non_null(line);
	while ((line = strchr(line, '\n')) != NULL && strncmp(++line, "VmFlags", 7))
		if (!strncmp(line, name, strlen(name)) || (other && !strncmp(line, other, strlen(other))))
			sum += strtol(strchr(line, ':') + 1, NULL, 10);
	return note(r, name, sum);
}

int64_t dirty_kb(struct run *r, int space, uint64_t addr)
{
	return from_smaps(r, space, addr, "Shared_Dirty:", "Private_Dirty:");
}

/* -- steps on the file -- */

/* Another open of it. */
void file_open(struct run *r, int file, unsigned fmode)
{
	if (r->side == SAMARA) {
		assert_int_equal(samara_file_open(r->inode, fmode, "/file", &r->file[file]), 0);
		return;
	}
	r->fd[file] = open(r->path, (fmode & SAMARA_FMODE_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	assert_true(r->fd[file] >= 0);
}

int64_t file_cut(struct run *r, int file, uint64_t size)
{
	return note(r, "ftruncate",
		r->side == KERNEL ? or_errno(ftruncate(r->fd[file], (off_t)size))
				  : samara_file_truncate(r->file[file], size));
}

int64_t file_hole(struct run *r, int file, uint64_t offset, uint64_t length)
{
	const int mode = SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE;

	return note(r, "punch",
		r->side == KERNEL ? or_errno(fallocate(r->fd[file], mode, (off_t)offset, (off_t)length))
				  : samara_file_fallocate(r->file[file], mode, offset, length));
}

int64_t file_allocate(struct run *r, int file, uint64_t offset, uint64_t length)
{
	return note(r, "fallocate",
		r->side == KERNEL ? or_errno(fallocate(r->fd[file], 0, (off_t)offset, (off_t)length))
				  : samara_file_fallocate(r->file[file], 0, offset, length));
}

/* `count` times the byte. */
int64_t file_put(struct run *r, int file, uint64_t offset, int value, size_t count)
{
	static unsigned char bytes[1 << 18];

	assert_true(count <= sizeof(bytes));
	memset(bytes, value, count);
	return note(r, "write",
		r->side == KERNEL ? or_errno(pwrite(r->fd[file], bytes, count, (off_t)offset))
				  : samara_file_write(r->file[file], offset, bytes, count));
}

/* The byte there; -1: the end of the file. */
int64_t file_get(struct run *r, int file, uint64_t offset)
{
	unsigned char byte = 0;
	int64_t n = r->side == KERNEL ? or_errno(pread(r->fd[file], &byte, 1, (off_t)offset))
				      : samara_file_read(r->file[file], offset, &byte, 1);

	return note(r, "read", n == 1 ? byte : n == 0 ? -1 : n - 1000000);
}

int64_t file_sync(struct run *r, int file)
{
	return note(r, "fsync", r->side == KERNEL ? or_errno(fsync(r->fd[file])) : samara_file_fsync(r->file[file]));
}

int64_t file_seal(struct run *r, uint32_t seals)
{
	return note(r, "seal",
		r->side == KERNEL ? or_errno(fcntl(r->fd[0], F_ADD_SEALS, seals))
				  : samara_inode_add_seals(r->inode, seals));
}

/* Blocks of the loop device's image that hold 64 times the byte; `punch`: they become holes. */
static unsigned image_blocks(const struct run *r, int value, bool punch)
{
	static unsigned char block[4096];
	unsigned char pattern[64];
	unsigned found = 0;
	char path[96];
	int fd;

	memset(pattern, value, sizeof(pattern));
	snprintf(path, sizeof(path), "%s/t/image", r->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	for (off_t at = 0; pread(fd, block, sizeof(block), at) == sizeof(block); at += (off_t)sizeof(block)) {
		if (!memmem(block, sizeof(block), pattern, sizeof(pattern)))
			continue;
		found++;
		if (punch)
			assert_int_equal(
				fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, sizeof(block)), 0);
	}
	close(fd);
	return found;
}

int64_t on_disk(struct run *r, int value)
{
	unsigned char pattern[64];

	memset(pattern, value, sizeof(pattern));
	return note(r, "on disk",
		r->side == KERNEL ? image_blocks(r, value, false) != 0
				  : memmem(r->disk.bytes, sizeof(r->disk.bytes), pattern, sizeof(pattern)) != NULL);
}

void disk_breaks(struct run *r, int value)
{
	if (r->side == SAMARA) {
		r->disk.write_error = -SAMARA_ENOSPC;
		return;
	}
	/* what has room already, the file system's own blocks, stays writable */
	assert_true(image_blocks(r, value, true) > 0);
	(void)shell("exec 2>/dev/null; cat /dev/zero >%s/t/filler", r->dir);
}

void disk_heals(struct run *r)
{
	if (r->side == SAMARA)
		r->disk.write_error = 0;
	else
		assert_true(shell("rm %s/t/filler", r->dir));
}

void write_back(struct run *r)
{
	if (r->side == KERNEL)
		(void)syncfs(r->fd[0]); /* its result tells of the file system, and is not the file's news */
	else
		samara_write_back(r->vm, 0);
}

/* -- System V -- */

int64_t attach(struct run *r, int space, uint64_t addr, int flags)
{
	struct ask a = { .what = ASK_SHMAT, .addr = addr, .flags = (uint64_t)flags, .number = r->segment };
	int64_t at = r->side == KERNEL ? ask(r, space, &a).result
				       : samara_shmat(r->mm[space], r->inode, "/SYSV00000000 (deleted)", addr, flags);

	return note(r, "shmat", at == (int64_t)addr ? 0 : at);
}

int64_t detach(struct run *r, int space, uint64_t addr)
{
	struct ask a = { .what = ASK_SHMDT, .addr = addr };

	return note(r, "shmdt", r->side == KERNEL ? ask(r, space, &a).result : samara_shmdt(r->mm[space], addr));
}
