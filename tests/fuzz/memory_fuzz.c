/* memory_fuzz.c - a libFuzzer target: bytes become requests, accesses and file operations on a machine with memory.
 *
 * What must hold: no input crashes the core, breaks an invariant (samara_check_machine every few steps and at the
 * end), or loses a frame or a block; a shared mapping shows what samara_file_read reads; a store that was made is
 * loaded again, at once and later; files and private pages hold what the flat model of memory_model.h says.
 * The machine is small, so that frames run out; the regular file's callbacks fail, come short or come later when the
 * input says so, and so does the n-th allocation.  Up to three address spaces descend from each other by fork.  The
 * port is the simulation's: one thread, a lock that is found taken is a panic.
 *
 * Build: -Dfuzzers=true, or clang -fsanitize=fuzzer,address,undefined -Iinclude -I. tests/fuzz/memory_fuzz.c \
 *     samara.c ports/sim/sim.c
 * With -DMEMORY_FUZZ_MAIN it is a plain program that runs the files named on its command line (or random bytes:
 *     --random N [SEED]).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/sim/sim.h"
#include "samara/samara.h"
#include "tests/fuzz/memory_model.h"

enum {
	FRAMES = 96, ARENA_PAGES = MODEL_PAGES, MAX_STEPS = 600, SPACES = MODEL_SPACES, FILES = MODEL_FILES,
	FILE_PAGES = 24, PINS = 8, CHECK_EVERY = 4,
};
enum { DISK, SHMEM };
#define ARENA 0x300000000000ull
#define PAGE SAMARA_PAGE_SIZE
#define ARENA_END (ARENA + ARENA_PAGES * PAGE)

/* The backing of the regular file.  `fail` has a bit for each callback that fails now. */
enum { FAIL_READ = 1, FAIL_WRITE = 2, FAIL_SYNC = 4, FAIL_MKWRITE = 8, FAIL_SIZE = 16, FAIL_PUNCH = 32, LATER = 64,
	SHORT = 128 };
struct disk {
	uint8_t bytes[FILE_PAGES * 4096];
	unsigned fail;
	uint64_t size;
	uint64_t asked[FILE_PAGES];
	void *room[FILE_PAGES];
	unsigned waiting;
};

struct world {
	struct sim sim;
	struct samara *vm;
	struct samara_mm *mm[SPACES];
	struct samara_inode *inode[FILES];
	struct samara_file *file[FILES];
	struct disk disk;
	struct model model;
	struct samara_page pin[PINS];
	unsigned pins, step;
};

static _Alignas(4096) uint8_t memory[FRAMES * 4096];
static struct world world;

static void broken(const char *what)
{
	fprintf(stderr, "memory_fuzz: step %u: %s\n", world.step, what);
	abort();
}

static void must(int err)
{
	if (err)
		broken("a call that cannot fail failed");
}

/* -- the file below -- */

static int disk_read_page(void *self, uint64_t index, void *page)
{
	struct disk *d = self;

	if (d->fail & FAIL_READ)
		return -SAMARA_EIO;
	if (index >= FILE_PAGES)
		broken("a page behind the file's largest size is read");
	if (d->fail & LATER) {
		d->asked[d->waiting] = index;
		d->room[d->waiting++] = page;
		return -SAMARA_EINPROGRESS;
	}
	memcpy(page, d->bytes + index * 4096, 4096);
	return 0;
}

static int disk_read_pages(void *self, uint64_t index, void **pages, unsigned count)
{
	struct disk *d = self;

	if (d->fail & (FAIL_READ | LATER))
		return -SAMARA_EIO;
	if (d->fail & SHORT)
		count = (count + 1) / 2;
	for (unsigned i = 0; i < count; i++)
		memcpy(pages[i], d->bytes + (index + i) * 4096, 4096);
	return (int)count;
}

static int disk_write_page(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct disk *d = self;

	if (d->fail & FAIL_WRITE) {
		world.model.file[DISK].lost = true;
		return -SAMARA_EIO;
	}
	if (!bytes || index * 4096 + bytes > d->size)
		broken("bytes behind the end of the file are written back");
	memcpy(d->bytes + index * 4096, page, bytes);
	return 0;
}

static int disk_sync(void *self)
{
	return ((struct disk *)self)->fail & FAIL_SYNC ? -SAMARA_EIO : 0;
}

static int disk_mkwrite(void *self, uint64_t index)
{
	(void)index;
	return ((struct disk *)self)->fail & FAIL_MKWRITE ? -SAMARA_ENOSPC : 0;
}

static int disk_set_size(void *self, uint64_t size)
{
	struct disk *d = self;

	if (size > sizeof(d->bytes))
		return -SAMARA_ENOSPC;
	if (size > d->size && (d->fail & FAIL_SIZE))
		return -SAMARA_ENOSPC;
	if (size < d->size)
		memset(d->bytes + size, 0, d->size - size);
	d->size = size;
	return 0;
}

static int disk_punch(void *self, uint64_t start, uint64_t end)
{
	struct disk *d = self;

	if (d->fail & FAIL_PUNCH)
		return -SAMARA_EOPNOTSUPP;
	end = end < d->size ? end : d->size;
	if (start < end)
		memset(d->bytes + start, 0, end - start);
	return 0;
}

static const struct samara_inode_ops disk_ops = { .size = sizeof(disk_ops), .read_page = disk_read_page,
	.read_pages = disk_read_pages, .write_page = disk_write_page, .sync = disk_sync, .page_mkwrite = disk_mkwrite,
	.set_size = disk_set_size, .punch = disk_punch };

static void deliver(struct world *w, int error)
{
	struct disk *d = &w->disk;

	for (unsigned i = 0; i < d->waiting; i++) {
		if (!error)
			memcpy(d->room[i], d->bytes + d->asked[i] * 4096, 4096);
		samara_read_done(w->inode[DISK], d->asked[i], error);
	}
	d->waiting = 0;
}

/* -- the machine -- */

static void make_world(struct world *w)
{
	struct samara_config config = { .size = sizeof(config), .memory = memory, .memory_pages = FRAMES,
		.first_pfn = 0x100, .max_map_count = 40, .pkeys = 1 };
	const struct samara_mm_params params = { .size = sizeof(params), .capabilities = 1ull << SAMARA_CAP_IPC_LOCK,
		.start_brk = ARENA - 64 * PAGE, .brk = ARENA - 64 * PAGE };
	const struct samara_inode_desc descs[FILES] = {
		{ .kind = SAMARA_INODE_REGULAR, .ops = &disk_ops, .self = &w->disk, .ino = 10,
			.size_bytes = 9 * PAGE + 100 },
		{ .kind = SAMARA_INODE_SHMEM, .ino = 11, .size_bytes = 9 * PAGE + 100, .charge_pages = 1,
			.max_pages = 20 },
	};

	memset(w, 0, sizeof(*w));
	sim_init(&w->sim);
	w->disk.size = descs[DISK].size_bytes;
	for (uint64_t i = 0; i < w->disk.size; i++)
		w->disk.bytes[i] = (uint8_t)(i * 7 / 5 + 1);
	w->model.file[DISK].size = w->model.file[SHMEM].size = w->disk.size;
	w->model.file[SHMEM].keeps_tail = true;
	memcpy(w->model.file[DISK].bytes, w->disk.bytes, sizeof(w->disk.bytes));
	must(samara_create(&w->sim.port, &config, &w->vm));
	must(samara_mm_create(w->vm, &params, &w->mm[0]));
	for (int i = 0; i < FILES; i++) {
		must(samara_inode_create(w->vm, &descs[i], &w->inode[i]));
		must(samara_file_open(w->inode[i], SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/file", &w->file[i]));
	}
}

/* A map to begin with, so that most accesses find something: eight pages of each kind. */
static void first_map(struct world *w)
{
	static const struct { int file; uint64_t flags; } kinds[] = {
		{ DISK, SAMARA_MAP_SHARED }, { SHMEM, SAMARA_MAP_SHARED }, { -1, SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS },
		{ DISK, SAMARA_MAP_PRIVATE }, { SHMEM, SAMARA_MAP_PRIVATE }, { DISK, SAMARA_MAP_SHARED },
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		samara_mmap(w->mm[0], ARENA + i * 8 * PAGE, 8 * PAGE, SAMARA_PROT_READ | SAMARA_PROT_WRITE,
			kinds[i].flags | SAMARA_MAP_FIXED, kinds[i].file < 0 ? NULL : w->file[kinds[i].file], i / 5 * 4 * PAGE);
}

static void check_model(struct world *w, int file, uint64_t page, int space, unsigned index)
{
	const char *wrong = model_check_file(&w->model, w->file[file], file, page);

	if (!wrong && w->mm[space])
		wrong = model_check_page(&w->model, w->mm[space], space, ARENA, index);
	if (wrong)
		broken(wrong);
}

static void end_world(struct world *w)
{
	w->disk.fail = 0;
	deliver(w, 0);
	for (unsigned i = 0; i < MODEL_PAGES * MODEL_SPACES; i++)
		check_model(w, i & 1, i / 2 % MODEL_FILE_PAGES, (int)(i / MODEL_PAGES), i % MODEL_PAGES);
	samara_check_machine(w->vm);
	samara_unpin(w->vm, w->pin, w->pins, 1);
	for (int i = 0; i < SPACES; i++)
		if (w->mm[i])
			samara_mm_put(w->mm[i]);
	samara_check_machine(w->vm);
	/* what is clean goes, and is read again */
	memset(w->mm, 0, sizeof(w->mm));
	samara_reclaim(w->vm, FRAMES);
	for (unsigned i = 0; i < FILES * FILE_PAGES; i++)
		check_model(w, i % FILES, i / FILES, 0, 0);
	for (int i = 0; i < FILES; i++) {
		samara_file_put(w->file[i]);
		samara_inode_put(w->inode[i]);
	}
	samara_destroy(w->vm);
	sim_quiesce(&w->sim);
	if (w->sim.live_blocks || w->sim.live_bytes)
		broken("memory is lost");
}

/* -- bytes of the input -- */

struct input {
	const uint8_t *at, *end;
};

static unsigned take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint64_t take_address(struct input *in)
{
	unsigned b = take(in);

	if (b >= 250)
		return (const uint64_t[]){ 0, ~0ull & ~4095ull, 0x7fffffffe000, ARENA_END,
			ARENA - PAGE, 1ull << 63 }[b - 250];
	return ARENA + b % ARENA_PAGES * PAGE;
}

static uint64_t take_length(struct input *in)
{
	unsigned b = take(in);

	if (b >= 250)
		return (const uint64_t[]){ 0, 1, 4097, 2 << 20, 1ull << 46, ~0ull - 4094 }[b - 250];
	return (b % 12 + 1) * PAGE;
}

static uint64_t take_flags(struct input *in)
{
	static const uint64_t kinds[] = { SAMARA_MAP_PRIVATE, SAMARA_MAP_SHARED,
		SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS,
		SAMARA_MAP_SHARED | SAMARA_MAP_ANONYMOUS };
	unsigned b = take(in);
	uint64_t flags = kinds[b & 3];

	if (b & 4)
		flags |= SAMARA_MAP_POPULATE;
	if ((b & 0x38) == 8)
		flags |= SAMARA_MAP_GROWSDOWN;
	if ((b & 0x38) == 16)
		flags |= SAMARA_MAP_LOCKED;
	if ((b & 0x38) == 24)
		flags |= SAMARA_MAP_NORESERVE;
	return b & 0xc0 ? flags | SAMARA_MAP_FIXED : flags;
}

static uint64_t take_offset(struct input *in)
{
	unsigned b = take(in);

	return b % FILE_PAGES * PAGE + (b >= 128 ? b * 37 % 4096 : 0);
}

/* -- what must be true of what was read -- */

static void check_signal(const struct samara_signal *s, size_t moved, size_t asked)
{
	if (moved == asked)
		return;
	switch (s->error) {
	case -SAMARA_ENOMEM:
	case -SAMARA_EAGAIN:
		return;
	case -SAMARA_EFAULT:
		if (s->signo == SAMARA_SIGBUS ? s->code == SAMARA_BUS_ADRERR :
		    s->signo == SAMARA_SIGSEGV && (s->code == SAMARA_SEGV_PKUERR ? s->pkey > 0 :
		    s->code == SAMARA_SEGV_MAPERR || s->code == SAMARA_SEGV_ACCERR))
			return;
	}
	broken("an access ends early without a reason");
}

/* A shared mapping of a file shows what reading the file gives. */
static void check_coherent(struct world *w, struct samara_mm *mm, uint64_t addr)
{
	struct place p = model_place(mm, addr);
	size_t left = 4096 - (p.offset & 4095);
	uint8_t mapped[64], read[64];
	int64_t n;

	if (!p.file || (p.file != w->file[0] && p.file != w->file[1]))
		return;
	if (samara_load(mm, addr, mapped, sizeof(mapped), NULL) != sizeof(mapped))
		return;
	n = samara_file_read(p.file, p.offset, read, left < sizeof(read) ? left : sizeof(read));
	if (n > 0 && memcmp(mapped, read, (size_t)n))
		broken("a shared mapping is not what the file reads as");
}

/* A store changed what it was meant to in its first page, and nothing else there. */
static void check_around(struct samara_mm *mm, uint64_t addr, const uint8_t *before, size_t moved)
{
	size_t from = addr & 4095, to = from + moved < 4096 ? from + moved : 4096;
	static uint8_t after[4096];

	if (samara_load(mm, addr & ~4095ull, after, sizeof(after), NULL) != sizeof(after))
		return;
	if (memcmp(before, after, from) || memcmp(before + to, after + to, sizeof(after) - to))
		broken("a store changed bytes beside it");
}

static void stored(struct world *w, unsigned which, uint64_t addr, const void *from, size_t bytes)
{
	model_stored(&w->model, w->file, w->mm[which], (int)which, ARENA, addr, from, bytes);
}

static void access_memory(struct world *w, unsigned which, struct input *in)
{
	struct samara_mm *mm = w->mm[which];
	unsigned kind = take(in), bytes = take(in) + 1u;
	uint64_t addr = take_address(in) + kind * 16 % 4096, old;
	uint8_t data[256], back[256];
	static uint8_t before[4096];
	struct samara_signal s;
	bool around;
	size_t moved;

	memset(data, (int)(w->step + kind), sizeof(data));
	switch (kind & 7) {
	case 0: case 1:
		around = kind & 8 && model_around(mm, addr, before);
		moved = samara_store(mm, addr, data, bytes, &s);
		check_signal(&s, moved, bytes);
		stored(w, which, addr, data, moved);
		if (around)
			check_around(mm, addr, before, moved);
		if (samara_load(mm, addr, back, moved, &s) == moved && memcmp(data, back, moved))
			broken("a store is not loaded again");
		break;
	case 2: case 3:
		moved = samara_load(mm, addr, data, bytes, &s);
		check_signal(&s, moved, bytes);
		break;
	case 4: (void)samara_fetch(mm, addr, data, bytes, &s); break;
	case 5:
		if (!samara_atomic(mm, addr & ~7ull, 8, SAMARA_ATOMIC_ADD, 1, &old, &s)) {
			old++;
			stored(w, which, addr & ~7ull, &old, 8);
		}
		break;
	case 6:
		moved = samara_copy_to(mm, addr, data, bytes, bytes & 1 ? SAMARA_FORCE : bytes & 2 ? SAMARA_NOWAIT : 0,
			&s);
		stored(w, which, addr, data, moved);
		break;
	case 7: (void)samara_copy_from(mm, addr, data, bytes, bytes & 1 ? SAMARA_FORCE : 0, &s); break;
	}
	check_coherent(w, mm, addr);
}

static void pin_or_unpin(struct world *w, struct samara_mm *mm, struct input *in)
{
	unsigned b = take(in);
	uint64_t addr = take_address(in);
	int64_t got;

	if (w->pins && (b & 1)) {
		w->pins--;
		samara_unpin(w->vm, &w->pin[w->pins], 1, b & 2);
		return;
	}
	if (w->pins == PINS)
		return;
	got = samara_pin(mm, addr, b & 4 ? PINS - w->pins : 1,
		b & 8 ? SAMARA_WRITE | (b & 16 ? SAMARA_FORCE : 0) : SAMARA_READ, w->pin + w->pins);
	if (got > 0)
		w->pins += (unsigned)got;
}

static void allocate(struct world *w, unsigned which, int mode, uint64_t at, uint64_t bytes)
{
	struct flat_file *flat = &w->model.file[which];

	if (samara_file_fallocate(w->file[which], mode, at, bytes))
		return;
	if (!(mode & SAMARA_FALLOC_FL_KEEP_SIZE))
		flat_grow(flat, at + bytes);
	if (mode & (SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_ZERO_RANGE))
		flat_zero(flat, at, at + bytes);
}

static void file_operation(struct world *w, struct input *in)
{
	unsigned b = take(in), bytes = take(in) * 60u + 1, which = b >> 7;
	struct samara_file *file = w->file[which];
	uint64_t at = take_offset(in);
	static uint8_t data[16 * 1024];
	int64_t n;

	switch (b & 15) {
	case 0: case 1:
		memset(data, (int)w->step, bytes);
		n = samara_file_write(file, at, data, bytes);
		if (n > 0)
			flat_write(&w->model.file[which], at, data, (uint64_t)n);
		break;
	case 2: samara_file_read(file, at, data, bytes); break;
	case 3: case 4:
		model_forget_all(&w->model);
		if (!samara_file_truncate(file, at))
			flat_cut(&w->model.file[which], at);
		break;
	case 5: allocate(w, which, SAMARA_FALLOC_FL_PUNCH_HOLE | SAMARA_FALLOC_FL_KEEP_SIZE, at, bytes); break;
	case 6:
		allocate(w, which, b & 16 ? SAMARA_FALLOC_FL_KEEP_SIZE : b & 32 ? SAMARA_FALLOC_FL_ZERO_RANGE : 0, at,
			bytes);
		break;
	case 7: samara_file_fsync(file); break;
	case 8: samara_file_drop(file, at, b & 16 ? 0 : bytes); break;
	case 9: samara_file_readahead(file, at, b & 16 ? 0 : bytes); break;
	case 10: samara_write_back(w->vm, b >> 4); break;
	case 11: samara_reclaim(w->vm, b >> 4); break;
	case 12: deliver(w, b & 16 ? -SAMARA_EIO : 0); break;
	case 13: case 14: w->disk.fail = take(in); break;
	case 15:
		samara_file_seek_data(file, at, b & 16);
		if (take(in) == 77) /* seldom: seals are for good */
			samara_inode_add_seals(w->inode[which], bytes & 31);
		break;
	}
}

static void spaces(struct world *w, unsigned which, struct input *in)
{
	unsigned b = take(in), to = b % SPACES;

	if (to == which)
		return;
	if (!w->mm[to]) {
		if (samara_fork(w->mm[which], &w->mm[to]))
			w->mm[to] = NULL;
		else
			model_fork(&w->model, w->mm[which], (int)which, (int)to, ARENA);
		return;
	}
	model_forget(&w->model, (int)to);
	if (b >= 240) {
		must(samara_exec(w->mm[to], NULL));
		return;
	}
	samara_mm_put(w->mm[to]);
	w->mm[to] = NULL;
}

static void advise(struct world *w, struct samara_mm *mm, uint64_t addr, uint64_t length, int advice)
{
	struct place before[ARENA_PAGES];
	uint64_t pages = (length + PAGE - 1) / PAGE;
	bool removes = advice == SAMARA_MADV_REMOVE && pages && pages <= ARENA_PAGES;

	for (uint64_t i = 0; removes && i < pages; i++)
		before[i] = model_place(mm, addr + i * PAGE);
	if (!samara_madvise(mm, addr, length, advice)) {
		if (removes)
			model_remove(&w->model, w->file, pages * PAGE, before);
	} else if (advice == SAMARA_MADV_REMOVE) {
		/* some of it may have been done */
		w->model.file[DISK].lost = w->model.file[SHMEM].lost = true;
	}
}

static void keys(struct samara_mm *mm, struct input *in)
{
	unsigned what = take(in), key = what >> 3 & 3;
	uint64_t addr, bytes;

	switch (what & 7) {
	case 0: samara_pkey_alloc(mm, 0, what >> 5 & 3); break;
	case 1: samara_pkey_free(mm, (int)key); break;
	case 2: case 3: samara_set_pkru(mm, what & 8 ? take(in) & 0xfcu : 0); break;
	default:
		addr = take_address(in);
		bytes = take_length(in);
		samara_pkey_mprotect(mm, addr, bytes, what & 32 ? SAMARA_PROT_READ | SAMARA_PROT_WRITE : what >> 6,
			(int)key);
		break;
	}
}

static void step(struct world *w, struct input *in)
{
	static const int advices[] = {
		SAMARA_MADV_DONTNEED, SAMARA_MADV_DONTNEED, SAMARA_MADV_FREE, SAMARA_MADV_REMOVE, SAMARA_MADV_WILLNEED,
		SAMARA_MADV_RANDOM, SAMARA_MADV_SEQUENTIAL, SAMARA_MADV_NORMAL, SAMARA_MADV_DONTFORK,
		SAMARA_MADV_WIPEONFORK, SAMARA_MADV_COLD, SAMARA_MADV_POPULATE_READ, SAMARA_MADV_POPULATE_WRITE,
		SAMARA_MADV_GUARD_INSTALL, SAMARA_MADV_GUARD_REMOVE, SAMARA_MADV_KEEPONFORK,
	};
	static unsigned char vec[ARENA_PAGES];
	unsigned what = take(in), which = (what >> 5) % SPACES;
	struct samara_mm *mm;
	uint64_t a, n, to, flags;

	if (!w->mm[which])
		which = w->mm[0] ? 0 : w->mm[1] ? 1 : 2;
	mm = w->mm[which];
	if ((what & 31) <= 10 || (what & 31) == 23 || (what & 31) == 25)
		model_forget(&w->model, (int)which); /* less is known than could be */
	switch (what & 31) {
	case 0: case 1: case 2: case 3:
		a = take_address(in);
		n = take_length(in);
		flags = take_flags(in);
		to = take(in);
		samara_mmap(mm, a, n, to >> 5 ? SAMARA_PROT_READ | SAMARA_PROT_WRITE |
			(to >> 5 == 1 ? SAMARA_PROT_EXEC : 0) : to & 7, flags,
			w->file[to & 1], (to >> 1) % 12 * PAGE);
		break;
	case 4: a = take_address(in); samara_munmap(mm, a, take_length(in)); break;
	case 5: case 6: a = take_address(in); n = take_length(in); samara_mprotect(mm, a, n, take(in) & 7); break;
	case 7: case 8:
		a = take_address(in);
		n = take_length(in);
		to = take_length(in);
		flags = take(in) & 7;
		samara_mremap(mm, a, n, to, flags, take_address(in));
		break;
	case 9: case 10: a = take_address(in); n = take_length(in); advise(w, mm, a, n, advices[take(in) & 15]); break;
	case 11: a = take_address(in); n = take_length(in); samara_mlock2(mm, a, n, take(in) & 1); break;
	case 12: a = take_address(in); samara_munlock(mm, a, take_length(in)); break;
	case 13:
		a = take_address(in);
		n = take_length(in);
		samara_msync(mm, a, n, (const uint64_t[]){ 4, 1, 2, 6 }[take(in) & 3]);
		break;
	case 14:
		a = take_address(in);
		n = take_length(in);
		samara_mincore(mm, a, n <= sizeof(vec) * PAGE ? n : 0, vec);
		break;
	case 15: case 16: spaces(w, which, in); break;
	case 17: case 18: pin_or_unpin(w, mm, in); break;
	case 19: case 20: case 21: case 22: file_operation(w, in); break;
	case 23: samara_brk(mm, ARENA - 64 * PAGE + take(in) % 16 * PAGE); break;
	case 24:
		a = take_address(in);
		n = take_length(in);
		samara_madvise(mm, a, n, SAMARA_MADV_POPULATE_READ + (int)(take(in) & 1));
		break;
	case 25:
		a = take_address(in);
		n = take_length(in);
		samara_remap_file_pages(mm, a, n, 0, take(in) % 12, 0);
		break;
	case 26: keys(mm, in); break;
	default: access_memory(w, which, in); break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, data + bytes };
	struct world *w = &world;

	make_world(w);
	if (bytes & 7)
		first_map(w);
	for (w->step = 0; w->step < MAX_STEPS && in.at < in.end; w->step++) {
		/* now and then an allocation of the step fails */
		w->sim.fail_at = *in.at >= 0xf8 ? 1 + (unsigned)(in.end - in.at) % 7 : 0;
		step(w, &in);
		w->sim.fail_at = 0;
		sim_quiesce(&w->sim);
		check_model(w, w->step & 1, w->step / 2 % FILE_PAGES, (int)(w->step % SPACES),
			w->step / SPACES % ARENA_PAGES);
		if (w->step % CHECK_EVERY == 0)
			samara_check_machine(w->vm);
	}
	end_world(w);
	return 0;
}

#ifdef MEMORY_FUZZ_MAIN
int main(int argc, char **argv)
{
	static uint8_t data[4096];

	if (argc >= 3 && !strcmp(argv[1], "--random")) {
		uint64_t x = argc > 3 ? strtoull(argv[3], NULL, 0) | 1 : 88172645463325252ull;

		for (long n = strtol(argv[2], NULL, 10); n > 0; n--) {
			for (size_t i = 0; i < sizeof(data); i++) {
				x ^= x << 13, x ^= x >> 7, x ^= x << 17;
				data[i] = (uint8_t)(x >> 24);
			}
			LLVMFuzzerTestOneInput(data, sizeof(data));
		}
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");

		if (!f)
			return 2;
		LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), f));
		fclose(f);
	}
	return 0;
}
#endif
