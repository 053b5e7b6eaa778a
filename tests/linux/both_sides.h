/* both_sides.h - one test body, run on the kernel that we stand on and on samara, step by step the same.
 *
 * A body makes a file (two opens of it), makes address spaces, and asks: maps, loads, stores, reads, writes.  Every step returns a
 * number and leaves a line in the run's log; the body states what it expects, and the logs of both sides must be equal.
 *
 * An address space of the kernel is a process of its own that is told what to do over a socket and catches its signals; operations on
 * the file are made by the test itself.  samara's regular file lies in an array (struct disk), whose callbacks fail on demand; its
 * shared memory file is an inode of kind SHMEM.
 */
#ifndef SAMARA_TESTS_BOTH_SIDES_H
#define SAMARA_TESTS_BOTH_SIDES_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/support.h"

#define SPACES 4
#define OPENS 4
#define AT 0x200000000000ull /* where bodies map */
#define FRAMES 1024
#define DISK_PAGES 64u
#define SIGNAL(signo, code) (-(1000 + (signo) * 10 + (code))) /* as the result of a load or store */
#define BUS SIGNAL(SAMARA_SIGBUS, SAMARA_BUS_ADRERR)
#define SEGV_ACC SIGNAL(SAMARA_SIGSEGV, SAMARA_SEGV_ACCERR)

enum kind { DISK, MEMFD, LOOP }; /* LOOP: ext2 on a loop device whose image lies on a small tmpfs; for samara the same as DISK */
enum side { KERNEL, SAMARA };

struct disk {
	unsigned char bytes[DISK_PAGES * 4096];
	uint64_t size;
	int write_error;
};

struct run {
	enum side side;
	enum kind kind;
	char log[1 << 15];
	size_t used;
	/* kernel */
	int fd[OPENS], socket[SPACES], far[SPACES];
	pid_t pid[SPACES];
	bool ours[SPACES]; /* a child of this process, to be waited for */
	char dir[64], path[96];
	/* samara */
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm[SPACES];
	struct samara_inode *inode;
	struct samara_file *file[OPENS];
	struct disk disk;
	void *memory;
};

typedef void body(struct run *r);

static inline int64_t note(struct run *r, const char *what, int64_t value)
{
	int n = snprintf(r->log + r->used, sizeof(r->log) - r->used, "%s = %lld\n", what, (long long)value);

	assert_true(n > 0 && r->used + (size_t)n < sizeof(r->log));
	r->used += (size_t)n;
	return value;
}

static inline void same_at(struct run *r, int64_t value, int64_t expected, const char *text, int line)
{
	if (value != expected)
		fail_msg("%s, line %d: %s is %lld, not %lld; the steps so far:\n%s", r->side == KERNEL ? "the kernel" : "samara", line, text,
			(long long)value, (long long)expected, r->log);
}
#define same(value, expected) same_at(r, (value), (expected), #value, __LINE__)

/* -- the kernel's address spaces -- */

struct ask {
	enum { ASK_MMAP, ASK_MUNMAP, ASK_MPROTECT, ASK_LOAD, ASK_STORE, ASK_MSYNC, ASK_MADVISE, ASK_MINCORE, ASK_MLOCK, ASK_FORK } what;
	uint64_t addr, length, prot, flags, offset;
	int fd, number; /* advice, byte, the new space */
};

struct answer {
	int64_t result;
	uint64_t where;
	unsigned char vec[64];
};

static sigjmp_buf after_signal;
static siginfo_t signal_seen;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	signal_seen = *info;
	siglongjmp(after_signal, 1);
}

static int64_t touch_byte(const struct ask *a, struct answer *to)
{
	volatile unsigned char *byte = (volatile unsigned char *)(uintptr_t)a->addr;

	if (sigsetjmp(after_signal, 1)) {
		to->where = (uint64_t)(uintptr_t)signal_seen.si_addr;
		return SIGNAL(signal_seen.si_signo, signal_seen.si_code);
	}
	if (a->what == ASK_LOAD)
		return *byte;
	*byte = (unsigned char)a->number;
	return 0;
}

static int64_t or_errno(int64_t result)
{
	return result == -1 ? -errno : result;
}

static int64_t obey(const struct ask *a, struct answer *to, struct run *r, int *socket)
{
	void *addr = (void *)(uintptr_t)a->addr;
	pid_t pid;

	switch (a->what) {
	case ASK_MMAP:
		return or_errno((int64_t)(intptr_t)mmap(addr, a->length, (int)a->prot, (int)a->flags, a->fd, (off_t)a->offset));
	case ASK_MUNMAP: return or_errno(munmap(addr, a->length));
	case ASK_MPROTECT: return or_errno(mprotect(addr, a->length, (int)a->prot));
	case ASK_MSYNC: return or_errno(msync(addr, a->length, (int)a->flags));
	case ASK_MADVISE: return or_errno(madvise(addr, a->length, a->number));
	case ASK_MINCORE: return or_errno(mincore(addr, a->length, to->vec));
	case ASK_MLOCK: return or_errno(mlock(addr, a->length));
	case ASK_LOAD: case ASK_STORE: return touch_byte(a, to);
	case ASK_FORK:
		pid = fork();
		if (!pid) {
			*socket = r->far[a->number];
			return 0;
		}
		return or_errno(pid);
	}
	return -ENOSYS;
}

/* A process of its own from here on. */
static _Noreturn void serve(struct run *r, int space)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int socket = r->far[space];
	struct ask a;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (int i = 0; i < SPACES; i++)
		close(r->socket[i]);
	while (read(socket, &a, sizeof(a)) == sizeof(a)) {
		struct answer to = { .where = 0 };
		int before = socket;

		to.result = obey(&a, &to, r, &socket);
		/* the new child has nobody who waits for an answer yet */
		if (socket == before && write(socket, &to, sizeof(to)) != sizeof(to))
			break;
	}
	_exit(0);
}

static struct answer ask(struct run *r, int space, const struct ask *a)
{
	struct answer to;

	assert_int_equal(write(r->socket[space], a, sizeof(*a)), sizeof(*a));
	assert_int_equal(read(r->socket[space], &to, sizeof(to)), sizeof(to));
	return to;
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

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops), .read_page = disk_read_page, .write_page = disk_write_page,
	.set_size = disk_set_size, .punch = disk_punch };

/* -- a run begins and ends -- */

/* Shell, for what needs several programs; true: it worked. */
static inline bool shell(const char *format, const char *a)
{
	char command[512];

	snprintf(command, sizeof(command), format, a, a, a, a, a);
	return system(command) == 0;
}

/* A file system on a loop device, in a mount namespace of this process: what it writes reaches DIR/t/image, as long as the tmpfs has room.
 * False: this host does not let us. */
static inline bool loop_make(struct run *r)
{
	static bool apart;

	if (!apart && (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)))
		return false;
	apart = true;
	return shell("exec 2>/dev/null; PATH=$PATH:/sbin:/usr/sbin; cd %s && mkdir t m && mount -t tmpfs -o size=4m none t && truncate -s 16m t/image && "
		     "mke2fs -q -F -t ext2 -b 4096 t/image && mount -o loop,errors=continue t/image m", r->dir);
}

static inline void loop_drop(struct run *r)
{
	(void)shell("exec 2>/dev/null; PATH=$PATH:/sbin:/usr/sbin; cd %s && umount m; umount t; rm -rf m t", r->dir);
}

/* False: this kernel cannot be asked. */
static inline bool kernel_begin(struct run *r)
{
	for (int i = 0; i < SPACES; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		r->socket[i] = pair[0];
		r->far[i] = pair[1];
	}
	snprintf(r->dir, sizeof(r->dir), "/tmp/samara-promises-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	if (r->kind == LOOP && !loop_make(r)) {
		loop_drop(r);
		return false;
	}
	snprintf(r->path, sizeof(r->path), r->kind == LOOP ? "%s/m/file" : "%s/file", r->dir);
	r->fd[0] = r->kind == MEMFD ? memfd_create("promises", MFD_ALLOW_SEALING | MFD_CLOEXEC) : open(r->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(r->fd[0] >= 0);
	if (r->kind == MEMFD)
		snprintf(r->path, sizeof(r->path), "/proc/self/fd/%d", r->fd[0]);
	for (int i = 1; i < OPENS; i++)
		r->fd[i] = -1;
	return true;
}

static inline void samara_begin(struct run *r)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = FRAMES };
	struct samara_inode_desc desc = { .kind = r->kind == MEMFD ? SAMARA_INODE_SHMEM : SAMARA_INODE_REGULAR, .charge_pages = r->kind == MEMFD };

	sim_init(&r->sim);
	config.memory = r->memory = aligned_alloc(4096, FRAMES * 4096);
	assert_non_null(r->memory);
	assert_int_equal(samara_create(&r->sim.port, &config, &r->vm), 0);
	if (r->kind != MEMFD) {
		desc.ops = &disk_ops;
		desc.self = &r->disk;
	}
	assert_int_equal(samara_inode_create(r->vm, &desc, &r->inode), 0);
	assert_int_equal(samara_file_open(r->inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/file", &r->file[0]), 0);
}

static inline void run_end(struct run *r)
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
		if (r->kind == DISK)
			unlink(r->path);
		if (r->kind == LOOP)
			loop_drop(r);
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

/* The body on both sides; skipped on the kernel's (and said so) where this host does not offer what the kind needs. */
static inline void on_both(enum kind kind, body *steps)
{
	static struct run kernel, samara;

	memset(&kernel, 0, sizeof(kernel));
	memset(&samara, 0, sizeof(samara));
	kernel.side = KERNEL;
	samara.side = SAMARA;
	kernel.kind = samara.kind = kind;
	if (kernel_begin(&kernel)) {
		steps(&kernel);
		run_end(&kernel);
	} else {
		print_message("(the kernel is not asked: no loop device can be mounted here)\n");
	}
	samara_begin(&samara);
	steps(&samara);
	run_end(&samara);
	if (kernel.used)
		assert_string_equal(kernel.log, samara.log);
}

/* -- steps on address spaces -- */

static inline void space_new(struct run *r, int space)
{
	struct samara_mm_params params = { .size = sizeof(params), .capabilities = ~0ull };

	if (r->side == SAMARA) {
		assert_int_equal(samara_mm_create(r->vm, &params, &r->mm[space]), 0);
		return;
	}
	r->pid[space] = fork();
	assert_true(r->pid[space] >= 0);
	if (!r->pid[space])
		serve(r, space);
	r->ours[space] = true;
}

static inline void space_fork(struct run *r, int from, int to)
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
static inline int64_t map(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t prot, uint64_t flags, int file, uint64_t page)
{
	struct ask a = { .what = ASK_MMAP, .addr = addr, .length = pages * PAGE, .prot = prot, .flags = flags | SAMARA_MAP_FIXED, .offset = page * PAGE,
		.fd = file < 0 ? -1 : r->fd[file] };
	int64_t at;

	if (file < 0)
		a.flags |= SAMARA_MAP_ANONYMOUS;
	at = r->side == KERNEL ? ask(r, space, &a).result :
		samara_mmap(r->mm[space], addr, a.length, prot, a.flags, file < 0 ? NULL : r->file[file], a.offset);
	return note(r, "map", at == (int64_t)addr ? 0 : at);
}

static inline int64_t unmap(struct run *r, int space, uint64_t addr, uint64_t pages)
{
	struct ask a = { .what = ASK_MUNMAP, .addr = addr, .length = pages * PAGE };

	return note(r, "unmap", r->side == KERNEL ? ask(r, space, &a).result : samara_munmap(r->mm[space], addr, a.length));
}

static inline int64_t protect(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t prot)
{
	struct ask a = { .what = ASK_MPROTECT, .addr = addr, .length = pages * PAGE, .prot = prot };

	return note(r, "protect", r->side == KERNEL ? ask(r, space, &a).result : samara_mprotect(r->mm[space], addr, a.length, prot));
}

static inline int64_t flush(struct run *r, int space, uint64_t addr, uint64_t pages, uint64_t flags)
{
	struct ask a = { .what = ASK_MSYNC, .addr = addr, .length = pages * PAGE, .flags = flags };

	return note(r, "msync", r->side == KERNEL ? ask(r, space, &a).result : samara_msync(r->mm[space], addr, a.length, flags));
}

static inline int64_t advise(struct run *r, int space, uint64_t addr, uint64_t pages, int advice)
{
	struct ask a = { .what = ASK_MADVISE, .addr = addr, .length = pages * PAGE, .number = advice };

	return note(r, "madvise", r->side == KERNEL ? ask(r, space, &a).result : samara_madvise(r->mm[space], addr, a.length, advice));
}

static inline int64_t lock_pages(struct run *r, int space, uint64_t addr, uint64_t pages)
{
	struct ask a = { .what = ASK_MLOCK, .addr = addr, .length = pages * PAGE };

	return note(r, "mlock", r->side == KERNEL ? ask(r, space, &a).result : samara_mlock(r->mm[space], addr, a.length));
}

/* What mincore(2) says of up to 60 pages, the first as the lowest bit. */
static inline int64_t in_core(struct run *r, int space, uint64_t addr, uint64_t pages)
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

/* A byte, or the signal that came instead; its address must be the byte's. */
static inline int64_t get(struct run *r, int space, uint64_t addr)
{
	struct ask a = { .what = ASK_LOAD, .addr = addr };
	struct samara_signal s;
	unsigned char byte;

	if (r->side == KERNEL) {
		struct answer to = ask(r, space, &a);

		if (to.result < 0)
			same(to.where, addr);
		return note(r, "load", to.result);
	}
	if (samara_load(r->mm[space], addr, &byte, 1, &s) == 1)
		return note(r, "load", byte);
	same(s.error, -SAMARA_EFAULT);
	same(s.addr, addr);
	return note(r, "load", SIGNAL(s.signo, s.code));
}

static inline int64_t put(struct run *r, int space, uint64_t addr, int value)
{
	struct ask a = { .what = ASK_STORE, .addr = addr, .number = value };
	unsigned char byte = (unsigned char)value;
	struct samara_signal s;

	if (r->side == KERNEL) {
		struct answer to = ask(r, space, &a);

		if (to.result < 0)
			same(to.where, addr);
		return note(r, "store", to.result);
	}
	if (samara_store(r->mm[space], addr, &byte, 1, &s) == 1)
		return note(r, "store", 0);
	same(s.error, -SAMARA_EFAULT);
	same(s.addr, addr);
	return note(r, "store", SIGNAL(s.signo, s.code));
}

/* The sum in kB of the lines of smaps whose names begin with `name` or `other`, for the mapping that begins at `addr`. */
static inline int64_t from_smaps(struct run *r, int space, uint64_t addr, const char *name, const char *other)
{
	static struct text_buffer text;
	char start[32], *line;
	int64_t sum = 0;

	text.used = 0;
	if (r->side == KERNEL) {
		char path[64];
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/smaps", (int)r->pid[space]);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		while ((n = read(fd, text.text + text.used, sizeof(text.text) - 1 - text.used)) > 0)
			text.used += (size_t)n;
		close(fd);
		text.text[text.used] = 0;
	} else {
		assert_int_equal(samara_view_smaps(r->mm[space], text_sink, &text), 0);
	}
	snprintf(start, sizeof(start), "%llx-", (unsigned long long)addr);
	line = strstr(text.text, start);
	assert_non_null(line);
	while ((line = strchr(line, '\n')) != NULL && strncmp(++line, "VmFlags", 7))
		if (!strncmp(line, name, strlen(name)) || (other && !strncmp(line, other, strlen(other))))
			sum += strtol(strchr(line, ':') + 1, NULL, 10);
	return note(r, name, sum);
}

static inline int64_t dirty_kb(struct run *r, int space, uint64_t addr)
{
	return from_smaps(r, space, addr, "Shared_Dirty:", "Private_Dirty:");
}

/* -- steps on the file -- */

/* Another open of it. */
static inline void file_open(struct run *r, int file, unsigned fmode)
{
	if (r->side == SAMARA) {
		assert_int_equal(samara_file_open(r->inode, fmode, "/file", &r->file[file]), 0);
		return;
	}
	r->fd[file] = open(r->path, (fmode & SAMARA_FMODE_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	assert_true(r->fd[file] >= 0);
}

static inline int64_t file_cut(struct run *r, int file, uint64_t size)
{
	return note(r, "ftruncate", r->side == KERNEL ? or_errno(ftruncate(r->fd[file], (off_t)size)) : samara_file_truncate(r->file[file], size));
}

static inline int64_t file_hole(struct run *r, int file, uint64_t offset, uint64_t length)
{
	const int mode = SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE;

	return note(r, "punch", r->side == KERNEL ? or_errno(fallocate(r->fd[file], mode, (off_t)offset, (off_t)length)) :
		samara_file_fallocate(r->file[file], mode, offset, length));
}

static inline int64_t file_allocate(struct run *r, int file, uint64_t offset, uint64_t length)
{
	return note(r, "fallocate", r->side == KERNEL ? or_errno(fallocate(r->fd[file], 0, (off_t)offset, (off_t)length)) :
		samara_file_fallocate(r->file[file], 0, offset, length));
}

/* `count` times the byte. */
static inline int64_t file_put(struct run *r, int file, uint64_t offset, int value, size_t count)
{
	static unsigned char bytes[1 << 16];

	assert_true(count <= sizeof(bytes));
	memset(bytes, value, count);
	return note(r, "write", r->side == KERNEL ? or_errno(pwrite(r->fd[file], bytes, count, (off_t)offset)) :
		samara_file_write(r->file[file], offset, bytes, count));
}

/* The byte there; -1: the end of the file. */
static inline int64_t file_get(struct run *r, int file, uint64_t offset)
{
	unsigned char byte = 0;
	int64_t n = r->side == KERNEL ? or_errno(pread(r->fd[file], &byte, 1, (off_t)offset)) : samara_file_read(r->file[file], offset, &byte, 1);

	return note(r, "read", n == 1 ? byte : n == 0 ? -1 : n - 1000000);
}

static inline int64_t file_sync(struct run *r, int file)
{
	return note(r, "fsync", r->side == KERNEL ? or_errno(fsync(r->fd[file])) : samara_file_fsync(r->file[file]));
}

static inline int64_t file_seal(struct run *r, uint32_t seals)
{
	return note(r, "seal", r->side == KERNEL ? or_errno(fcntl(r->fd[0], F_ADD_SEALS, seals)) : samara_inode_add_seals(r->inode, seals));
}

/* Is a run of 64 times the byte on the disk below the file system? */
static inline int64_t on_disk(struct run *r, int value)
{
	unsigned char pattern[64];
	const void *found = NULL;

	memset(pattern, value, sizeof(pattern));
	if (r->side == KERNEL) {
		static unsigned char image[1 << 16];
		char path[96];
		int fd;

		snprintf(path, sizeof(path), "%s/t/image", r->dir);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		while (!found) {
			ssize_t n = read(fd, image, sizeof(image));

			if (n <= 0)
				break;
			found = memmem(image, (size_t)n, pattern, sizeof(pattern));
		}
		close(fd);
	} else {
		found = memmem(r->disk.bytes, sizeof(r->disk.bytes), pattern, sizeof(pattern));
	}
	return note(r, "on disk", found != NULL);
}

/* From now on the disk has no room for new blocks, or has it again. */
static inline void disk_breaks(struct run *r, bool breaks)
{
	if (r->side == SAMARA)
		r->disk.write_error = breaks ? -SAMARA_EIO : 0;
	else if (breaks)
		(void)shell("exec 2>/dev/null; cat /dev/zero >%s/t/filler", r->dir);
	else
		(void)shell("rm %s/t/filler", r->dir);
}

#endif
