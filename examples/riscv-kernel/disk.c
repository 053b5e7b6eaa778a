/* disk.c - files: the programs, and one file of text that can be written to, in memory that only read_page and
 * write_page touch.
 *
 * An inode lives while something has the file open or mapped; when the last reference goes, what was written back is
 * what the next open finds. */
#include "kernel.h"

#define TEXT_ROOM (64 << 10)
#define TEXT_NAME "disk.txt"

struct disk_file {
	const char *name;
	unsigned char *data;
	uint64_t bytes, room;
	uint64_t ino;
	struct samara_inode *inode; /* no reference: until release */
};

static unsigned char text[TEXT_ROOM];
static const uint32_t vdso[] = { 0x08b00893, 0x00000073 }; /* li a7, rt_sigreturn; ecall */
static struct disk_file files[16];

static int disk_read_page(void *self, uint64_t index, void *page)
{
	struct disk_file *f = self;
	uint64_t at = index * PAGE;

	if (at < f->bytes)
		__builtin_memcpy(page, f->data + at, MIN(PAGE, f->bytes - at));
	return 0;
}

static int disk_write_page(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct disk_file *f = self;

	if (index * PAGE + bytes > f->room)
		return -SAMARA_EIO;
	__builtin_memcpy(f->data + index * PAGE, page, bytes);
	return 0;
}

/* What a smaller size cuts off is zero when the file grows again. */
static int disk_set_size(void *self, uint64_t size_bytes)
{
	struct disk_file *f = self;

	if (size_bytes > f->room)
		return -SAMARA_ENOSPC;
	if (size_bytes < f->bytes)
		__builtin_memset(f->data + size_bytes, 0, f->bytes - size_bytes);
	f->bytes = size_bytes;
	return 0;
}

static void disk_release(void *self)
{
	struct disk_file *f = self;

	f->inode = NULL;
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops),
	.release = disk_release,
	.read_page = disk_read_page,
	.write_page = disk_write_page,
	.set_size = disk_set_size };

/* A thousand lines of ten bytes; the test makes the same file. */
void disk_reset(void)
{
	unsigned n = 0;

	__builtin_memset(text, 0, sizeof(text));
	for (unsigned i = 0; i < 1000; i++) {
		__builtin_memcpy(text + i * 10, "line 0000\n", 10);
		for (unsigned digit = 0, left = i; digit < 4; digit++, left /= 10)
			text[i * 10 + 8 - digit] = (unsigned char)('0' + left % 10);
	}
	files[n++] = (struct disk_file){ .name = TEXT_NAME, .data = text, .bytes = 10000, .room = TEXT_ROOM, .ino = 2 };
	/* without room: only ever opened for reading */
	files[n++] = (struct disk_file){
		.name = DISK_VDSO, .data = (unsigned char *)(uintptr_t)vdso, .bytes = sizeof(vdso), .ino = 3
	};
	for (const struct disk_program *p = disk_programs; p->name; p++, n++) {
		if (n == sizeof(files) / sizeof(files[0]))
			kernel_panic("too many programs");
		files[n] = (struct disk_file){ .name = p->name, .data = (unsigned char *)(uintptr_t)p->start,
			.bytes = (uint64_t)(p->end - p->start), .ino = n + 2 };
	}
}

int disk_open(const char *name, unsigned fmode, struct samara_file **out)
{
	struct disk_file *f = files;
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .ops = &disk_ops, .major = 254 };
	struct samara_inode *made = NULL;
	int err;

	for (;; f++) {
		const char *a = f->name, *b = name;

		if (f == files + sizeof(files) / sizeof(files[0]) || !a)
			return -SAMARA_ENOENT;
		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			break;
	}
	if ((fmode & SAMARA_FMODE_WRITE) && !f->room)
		return -SAMARA_EACCES;
	if (!f->inode) {
		desc.self = f;
		desc.ino = f->ino;
		desc.size_bytes = f->bytes;
		err = samara_inode_create(kernel.vm, &desc, &made);
		if (err)
			return err;
		f->inode = made;
	}
	err = samara_file_open(f->inode, fmode, f->name, out);
	if (made)
		samara_inode_put(made);
	return err;
}

int disk_memfd(const char *name, bool sealable, struct samara_file **out)
{
	static uint64_t ino = 1000;
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .minor = 1, .ino = ++ino, .charge_pages = 1,
		.seals = sealable ? 0 : SAMARA_F_SEAL_SEAL };
	struct samara_inode *inode;
	int err = samara_inode_create(kernel.vm, &desc, &inode);

	if (err)
		return err;
	err = samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, name, out);
	samara_inode_put(inode);
	return err;
}

/* close(2): mappings may still hold the file; dirty pages go to the disk first. */
void file_put(struct open_file *open)
{
	if (--open->refs)
		return;
	(void)samara_file_fsync(open->file);
	samara_file_put(open->file);
	bare_free(&kernel.bare, open, sizeof(*open));
}
