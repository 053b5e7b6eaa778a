/* cache_support.h - a machine with memory and inodes on it, for the tests of core/cache.
 *
 * With CACHE_ALONE the cache is linked with frames and locks only: this header then stands for the machine, and no
 * mapping exists.
 */
#ifndef SAMARA_TESTS_CACHE_SUPPORT_H
#define SAMARA_TESTS_CACHE_SUPPORT_H

#include "core/mm.h"
#include "tests/unit/support.h"

#ifdef CACHE_ALONE
SAMARA_INTERNAL void *vm_alloc(const struct samara *vm, size_t bytes)
{
	void *memory = vm->port.alloc(vm->port.self, bytes);

	return memory ? memset(memory, 0, bytes) : NULL;
}

SAMARA_INTERNAL void vm_free(const struct samara *vm, void *memory, size_t bytes)
{
	vm->port.free(vm->port.self, memory, bytes);
}

SAMARA_INTERNAL _Noreturn void vm_panic(const struct samara *vm, const char *file, int line, const char *what)
{
	(void)vm;
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

SAMARA_INTERNAL void zap_file_range(struct samara_inode *inode, uint64_t first, uint64_t last, bool copies)
{
	(void)inode;
	(void)first;
	(void)last;
	(void)copies;
}

SAMARA_INTERNAL bool zap_page_clean(struct samara *vm, struct frame *page)
{
	(void)vm;
	(void)page;
	return false;
}

static inline int machine_make(const struct samara_port *port, const struct samara_config *config, struct samara **out)
{
	struct frames_config frames = { .base = config->memory, .count = config->memory_pages, .caches = config->cpus ?
		config->cpus : 1 };
	struct samara *vm = port->alloc(port->self, sizeof(*vm));
	int err;

	if (!vm)
		return -SAMARA_ENOMEM;
	memset(vm, 0, sizeof(*vm));
	vm->port = *port;
	vm->config = *config;
	vm->config.total_pages = 1 << 20;
	vm->config.overcommit_ratio = 50;
	vm->cpus = frames.caches;
	err = frames_init(&vm->frames, &vm->port, &frames);
	if (err)
		port->free(port->self, vm, sizeof(*vm));
	else
		*out = vm;
	return err;
}

static inline void machine_free(struct samara *vm)
{
	struct samara_port port = vm->port;

	assert_int_equal(vm->objects, 0);
	assert_int_equal(vm->committed_pages, 0);
	if (port.barrier)
		port.barrier(port.self);
	assert_int_equal(frames_check(&vm->frames, NULL), 0);
	frames_fini(&vm->frames);
	port.free(port.self, vm, sizeof(*vm));
}

#define FREE_AT_FIRST(vm) ((vm)->frames.count)
#else
static inline int machine_make(const struct samara_port *port, const struct samara_config *config, struct samara **out)
{
	return samara_create(port, config, out);
}

static inline void machine_free(struct samara *vm)
{
	samara_destroy(vm);
}

#define FREE_AT_FIRST(vm) ((vm)->frames.count - 1) /* the zero page */
#endif

struct yard {
	struct sim sim;
	struct samara *vm;
	void *memory;
};

static inline void yard_open(struct yard *y, uint64_t pages)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = pages };

	sim_init(&y->sim);
	y->memory = aligned_alloc(4096, pages * 4096);
	assert_non_null(y->memory);
	memset(y->memory, 0xcc, pages * 4096);
	config.memory = y->memory;
	assert_int_equal(machine_make(&y->sim.port, &config, &y->vm), 0);
}

static inline void yard_close(struct yard *y)
{
	assert_null(y->vm->inodes);
	assert_int_equal(frames_free(&y->vm->frames), FREE_AT_FIRST(y->vm));
	machine_free(y->vm);
	assert_int_equal(y->sim.live_blocks, 0);
	assert_int_equal(y->sim.live_bytes, 0);
	free(y->memory);
}

static inline void check_inode(struct samara_inode *inode)
{
	const char *wrong = cache_check(inode);

	if (wrong)
		fail_msg("%s", wrong);
}

static inline struct samara_file *file_make(struct samara *vm, const struct samara_inode_desc *desc)
{
	struct samara_inode *inode;
	struct samara_file *file;

	assert_int_equal(samara_inode_create(vm, desc, &inode), 0);
	assert_int_equal(samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "file", &file), 0);
	samara_inode_put(inode);
	return file;
}

static inline struct samara_file *shmem_make(struct samara *vm, uint64_t size, uint64_t max_pages)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .size_bytes = size, .max_pages = max_pages,
		.charge_pages = 1 };

	return file_make(vm, &desc);
}

/* -- an embedder's file: an array, and switches that make each callback fail -- */

#define DISK_PAGES 96u

struct disk {
	unsigned char bytes[DISK_PAGES * 4096];
	uint64_t size;
	unsigned reads, batches, batched, writes, syncs, punches, sizes, released; /* calls */
	int read_error, write_error, sync_error, punch_error, size_error;        /* what they return when not 0 */
	uint64_t bad_page;      /* with has_bad: reading this one fails with -EIO */
	bool has_bad, later;    /* later: read_page returns -EINPROGRESS */
	uint64_t asked[64];     /* indices that wait for disk_deliver */
	void *room[64];
	unsigned waiting;
};

static inline void disk_copy_out(struct disk *d, uint64_t index, void *page)
{
	assert_true(index < DISK_PAGES);
	memcpy(page, d->bytes + index * 4096, 4096);
	/* what lies behind the end is none of the callback's business */
	for (uint64_t at = index * 4096; at < (index + 1) * 4096; at++)
		if (at >= d->size)
			((unsigned char *)page)[at % 4096] = 0xee;
}

static inline int disk_read_page(void *self, uint64_t index, void *page)
{
	struct disk *d = self;

	d->reads++;
	if (d->read_error)
		return d->read_error;
	if (d->has_bad && d->bad_page == index)
		return -SAMARA_EIO;
	if (d->later) {
		d->asked[d->waiting] = index;
		d->room[d->waiting++] = page;
		return -SAMARA_EINPROGRESS;
	}
	disk_copy_out(d, index, page);
	return 0;
}

static inline int disk_read_pages(void *self, uint64_t index, void **pages, unsigned count)
{
	struct disk *d = self;
	unsigned i;

	d->batches++;
	if (d->read_error)
		return d->read_error;
	for (i = 0; i < count; i++) {
		if (d->has_bad && d->bad_page == index + i)
			break;
		disk_copy_out(d, index + i, pages[i]);
	}
	d->batched += i;
	return i ? (int)i : -SAMARA_EIO;
}

static inline int disk_write_page(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct disk *d = self;

	d->writes++;
	if (d->write_error)
		return d->write_error;
	assert_true(bytes > 0 && index * 4096 + bytes <= sizeof(d->bytes));
	for (unsigned i = bytes; i < 4096; i++)
		assert_int_equal(((const unsigned char *)page)[i], 0);
	memcpy(d->bytes + index * 4096, page, bytes);
	d->size = MAX(d->size, index * 4096 + bytes);
	return 0;
}

static inline int disk_sync(void *self)
{
	struct disk *d = self;

	d->syncs++;
	return d->sync_error;
}

static inline int disk_set_size(void *self, uint64_t size)
{
	struct disk *d = self;

	d->sizes++;
	if (d->size_error || size > sizeof(d->bytes))
		return d->size_error ? d->size_error : -SAMARA_ENOSPC;
	if (size < d->size)
		memset(d->bytes + size, 0, d->size - size);
	d->size = size;
	return 0;
}

static inline int disk_punch(void *self, uint64_t start, uint64_t end)
{
	struct disk *d = self;

	d->punches++;
	if (d->punch_error)
		return d->punch_error;
	end = MIN(end, d->size);
	if (start < end)
		memset(d->bytes + start, 0, end - start);
	return 0;
}

static inline void disk_release(void *self)
{
	((struct disk *)self)->released++;
}

static inline void disk_deliver(struct disk *d, struct samara_inode *inode, int error)
{
	for (unsigned i = 0; i < d->waiting; i++) {
		if (!error)
			disk_copy_out(d, d->asked[i], d->room[i]);
		samara_read_done(inode, d->asked[i], error);
	}
	d->waiting = 0;
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops), .release = disk_release, .read_page =
	disk_read_page,
	.read_pages = disk_read_pages, .write_page = disk_write_page, .sync = disk_sync, .set_size = disk_set_size,
		.punch = disk_punch };
static const struct samara_inode_ops disk_slow_ops = { .size = sizeof(disk_ops), .release = disk_release, .read_page =
	disk_read_page,
	.write_page = disk_write_page, .sync = disk_sync, .set_size = disk_set_size, .punch = disk_punch };

/* A file whose byte at `i` is i * 7 / 5 + 1. */
static inline unsigned char disk_byte(uint64_t i)
{
	return (unsigned char)(i * 7 / 5 + 1);
}

static inline struct samara_file *disk_file(struct samara *vm, struct disk *d, uint64_t size,
	const struct samara_inode_ops *ops)
{
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .size_bytes = size, .ops = ops, .self = d };

	memset(d, 0, sizeof(*d));
	d->size = size;
	for (uint64_t i = 0; i < size; i++)
		d->bytes[i] = disk_byte(i);
	return file_make(vm, &desc);
}

#endif
