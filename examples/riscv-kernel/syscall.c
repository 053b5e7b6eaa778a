/* syscall.c - system calls: Linux's numbers on RISC-V, most of them one call of samara. */
#include "kernel.h"

enum { EMFILE = 24 };
enum { F_ADD_SEALS = 1033, F_GET_SEALS = 1034 };

static struct open_file *descriptor(struct process *p, uint64_t fd)
{
	return fd < DESCRIPTORS + 3 ? p->open[fd] : NULL;
}

static bool is_console(const struct process *p, uint64_t fd)
{
	return fd < 3 && !p->open[fd];
}

static int64_t install_file(struct process *p, struct samara_file *file)
{
	for (int fd = 3; fd < DESCRIPTORS + 3; fd++) {
		if (p->open[fd])
			continue;
		p->open[fd] = bare_alloc(&kernel.bare, sizeof(struct open_file));
		if (!p->open[fd])
			break;
		*p->open[fd] = (struct open_file){ .file = file, .refs = 1 };
		return fd;
	}
	samara_file_put(file);
	return -EMFILE;
}

/* A string of the program: -EFAULT, -E2BIG. */
static int copy_string(struct process *p, uint64_t at, char *to, size_t room)
{
	for (size_t i = 0; i < room; i++) {
		if (samara_load(p->mm, at + i, to + i, 1, NULL) != 1)
			return -SAMARA_EFAULT;
		if (!to[i])
			return 0;
	}
	return -SAMARA_E2BIG;
}

static int64_t do_open(struct process *p, uint64_t name_at, uint64_t flags)
{
	static const unsigned modes[4] = { SAMARA_FMODE_READ, SAMARA_FMODE_WRITE,
		SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, 0 };
	struct samara_file *file;
	char name[64];
	int err = copy_string(p, name_at, name, sizeof(name));

	if (!err)
		err = disk_open(name, modes[flags & 3], &file);
	return err ? err : install_file(p, file);
}

static int64_t do_memfd(struct process *p, uint64_t name_at, uint64_t flags)
{
	char path[80] = "/memfd:";
	struct samara_file *file;
	int err = copy_string(p, name_at, path + 7, 60);
	size_t end = 7;

	if (err)
		return err;
	while (path[end])
		end++;
	__builtin_memcpy(path + end, " (deleted)", 11);
	err = disk_memfd(path, flags & 2, &file);
	return err ? err : install_file(p, file);
}

/* read, write, pread, pwrite: a page at a time through the kernel. */
static int64_t transfer(struct process *p, uint64_t fd, uint64_t at, uint64_t bytes, const uint64_t *offset, bool write)
{
	static char page[PAGE];
	struct open_file *open = descriptor(p, fd);
	uint64_t position = offset ? *offset : open ? open->position : 0, done = 0;
	int64_t moved = 0;

	if (!open && !(write && is_console(p, fd)))
		return -SAMARA_EBADF;
	while (done < bytes) {
		size_t now = MIN(bytes - done, PAGE);

		if (write && samara_load(p->mm, at + done, page, now, NULL) != now) {
			moved = -SAMARA_EFAULT;
			break;
		}
		if (!open)
			bare_put(&kernel.bare, page, now);
		moved = !open ? (int64_t)now : write ? samara_file_write(open->file, position + done, page, now) :
			samara_file_read(open->file, position + done, page, now);
		if (moved <= 0)
			break;
		if (!write && samara_store(p->mm, at + done, page, (size_t)moved, NULL) != (size_t)moved) {
			moved = -SAMARA_EFAULT;
			break;
		}
		done += (uint64_t)moved;
		if ((size_t)moved < now)
			break;
	}
	if (open && !offset)
		open->position += done;
	return done ? (int64_t)done : moved;
}

static int64_t do_mmap(struct process *p, const uint64_t *a)
{
	struct open_file *open = a[3] & SAMARA_MAP_ANONYMOUS ? NULL : descriptor(p, a[4]);

	return samara_mmap(p->mm, a[0], a[1], a[2], a[3], open ? open->file : NULL, a[5]);
}

static int64_t do_mincore(struct process *p, uint64_t addr, uint64_t length, uint64_t vec_at)
{
	unsigned char vec[64];
	uint64_t pages = (length + PAGE - 1) / PAGE;

	for (uint64_t i = 0; i < pages || !i; i += sizeof(vec)) {
		uint64_t now = MIN(pages - i, sizeof(vec));
		int err = samara_mincore(p->mm, addr + i * PAGE, now * PAGE, vec);

		if (err)
			return err;
		if (samara_store(p->mm, vec_at + i, vec, now, NULL) != now)
			return -SAMARA_EFAULT;
	}
	return 0;
}

static int64_t do_fcntl(struct process *p, uint64_t fd, uint64_t what, uint64_t value)
{
	struct open_file *open = descriptor(p, fd);

	if (!open)
		return -SAMARA_EBADF;
	if (what == F_ADD_SEALS)
		return samara_inode_add_seals(samara_file_inode(open->file), (uint32_t)value);
	if (what == F_GET_SEALS)
		return samara_inode_seals(samara_file_inode(open->file));
	return -SAMARA_EINVAL;
}

static int64_t do_close(struct process *p, uint64_t fd)
{
	struct open_file *open = descriptor(p, fd);

	if (!open)
		return -SAMARA_EBADF;
	p->open[fd] = NULL;
	file_put(open);
	return 0;
}

static int64_t file_call(struct process *p, uint64_t number, const uint64_t *a)
{
	struct open_file *open = descriptor(p, a[0]);

	if (!open)
		return -SAMARA_EBADF;
	return number == 46 ? samara_file_truncate(open->file, a[1]) : samara_file_fsync(open->file);
}

static int64_t dispatch(struct process *p, uint64_t number, const uint64_t *a)
{
	struct samara_mm *mm = p->mm;

	switch (number) {
	case 25: return do_fcntl(p, a[0], a[1], a[2]);
	case 46: case 82: return file_call(p, number, a); /* ftruncate, fsync */
	case 56: return do_open(p, a[1], a[2]);
	case 57: return do_close(p, a[0]);
	case 63: case 64: return transfer(p, a[0], a[1], a[2], NULL, number == 64);
	case 67: case 68: return transfer(p, a[0], a[1], a[2], &a[3], number == 68);
	case 124: return 0; /* sched_yield: others come first, see below */
	case 132: return signal_stack(p, a[0], a[1]);
	case 134: return signal_action(p, a[0], a[1], a[2], a[3]);
	case 172: return p->pid;
	case 214: return (int64_t)samara_brk(mm, a[0]);
	case 215: return samara_munmap(mm, a[0], a[1]);
	case 216: return samara_mremap(mm, a[0], a[1], a[2], a[3], a[4]);
	case 220: return (a[0] & ~0xffull) ? -SAMARA_EINVAL : process_fork(p, a[1]);
	case 222: return do_mmap(p, a);
	case 226: return samara_mprotect(mm, a[0], a[1], a[2]);
	case 227: return samara_msync(mm, a[0], a[1], a[2]);
	case 228: return samara_mlock(mm, a[0], a[1]);
	case 229: return samara_munlock(mm, a[0], a[1]);
	case 232: return do_mincore(p, a[0], a[1], a[2]);
	case 233: return samara_madvise(mm, a[0], a[1], (int)a[2]);
	case 260: return a[2] ? -SAMARA_EINVAL : process_wait(p, (int64_t)a[0], a[1]);
	case 279: return do_memfd(p, a[0], a[1]);
	}
	return -SAMARA_ENOSYS;
}

void system_call(struct process *p)
{
	uint64_t *x = p->frame.x, number = x[A7];
	int64_t result;

	if (number == 139) {
		signal_return(p);
		return;
	}
	if (number == 93 || number == 94) {
		process_exit(p, (int)(x[A0] & 0xff) << 8);
		return;
	}
	x[PC] += 4;
	result = dispatch(p, number, x + A0);
	if (p->state == WAITING) {
		x[PC] -= 4;
		return;
	}
	x[A0] = (uint64_t)result;
	if (number == 124)
		process_run();
}
