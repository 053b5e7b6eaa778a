/* memory_model.h - what memory_fuzz.c expects to find: two flat files, and a byte of each private page.
 *
 * A file is an array.  What is stored through a shared mapping, written, cut or punched is done to the array too, and
 * reading the file must give the array, until bytes were lost on purpose (a write-back that the input made fail).
 * Behind its end the array keeps what a mapping left in the last page: files of a disk zero it when they grow, shared
 * memory does not.
 *
 * Of a private page that was stored to, the first byte is known, until the space's map changes, or a file is cut,
 * which takes private copies too.  fork hands the knowledge on.
 */
#ifndef SAMARA_TESTS_MEMORY_MODEL_H
#define SAMARA_TESTS_MEMORY_MODEL_H

#include <stdbool.h>
#include <string.h>

#include "samara/samara.h"

enum { MODEL_FILE_PAGES = 64, MODEL_PAGES = 48, MODEL_SPACES = 3, MODEL_FILES = 2 };
#define MODEL_FILE_BYTES (MODEL_FILE_PAGES * 4096ull)

struct flat_file {
	uint8_t bytes[MODEL_FILE_BYTES];
	uint64_t size;
	bool keeps_tail; /* shared memory */
	bool lost;
};

struct private_page {
	bool known;
	uint8_t byte;
};

struct model {
	struct flat_file file[MODEL_FILES];
	struct private_page page[MODEL_SPACES][MODEL_PAGES];
};

static inline void model_forget(struct model *m, int space)
{
	memset(m->page[space], 0, sizeof(m->page[space]));
}

static inline void model_forget_all(struct model *m)
{
	memset(m->page, 0, sizeof(m->page));
}

/* -- files -- */

static inline void flat_zero(struct flat_file *f, uint64_t from, uint64_t to)
{
	to = to < MODEL_FILE_BYTES ? to : MODEL_FILE_BYTES;
	if (from < to)
		memset(f->bytes + from, 0, to - from);
}

static inline void flat_grow(struct flat_file *f, uint64_t size)
{
	if (size <= f->size)
		return;
	if (!f->keeps_tail)
		flat_zero(f, f->size, MODEL_FILE_BYTES);
	f->size = size;
}

static inline void flat_cut(struct flat_file *f, uint64_t size)
{
	flat_grow(f, size);
	if (size < f->size)
		flat_zero(f, size, MODEL_FILE_BYTES);
	f->size = size;
}

static inline void flat_write(struct flat_file *f, uint64_t at, const void *from, uint64_t bytes)
{
	flat_grow(f, at + bytes);
	memcpy(f->bytes + at, from, bytes);
}

/* -- mappings -- */

struct place {
	struct samara_file *file; /* of a shared mapping; else NULL */
	struct samara_file *copied; /* of a private one */
	uint64_t offset, flags;
	bool mapped;
};

static inline struct place model_place(struct samara_mm *mm, uint64_t addr)
{
	struct samara_read_guard g;
	const struct samara_vma *vma;
	struct place p = { .file = NULL };

	samara_read_lock(mm, &g);
	vma = samara_find_vma(&g, addr);
	if (vma && samara_vma_start(vma) <= addr) {
		p.mapped = true;
		p.flags = samara_vma_flags(vma);
		p.offset = samara_vma_pgoff(vma) * 4096 + (addr - samara_vma_start(vma));
		if (p.flags & SAMARA_VM_SHARED)
			p.file = samara_vma_file(vma);
		else
			p.copied = samara_vma_file(vma);
	}
	samara_read_unlock(&g);
	return p;
}

/* `bytes` were stored at `addr`; the map is as it was before. */
static inline void model_stored(struct model *m, struct samara_file *const *files, struct samara_mm *mm, int space,
	uint64_t arena, uint64_t addr, const uint8_t *from, uint64_t bytes)
{
	while (bytes) {
		uint64_t part = 4096 - (addr & 4095), index = (addr - arena) / 4096;
		struct place p = model_place(mm, addr);

		part = part < bytes ? part : bytes;
		for (int i = 0; i < MODEL_FILES; i++)
			if (p.file == files[i])
				memcpy(m->file[i].bytes + p.offset, from, part);
		if (p.mapped && !(p.flags & SAMARA_VM_SHARED) && addr >= arena && index < MODEL_PAGES && !(addr & 4095))
			m->page[space][index] = (struct private_page){ true, *from };
		addr += part;
		from += part;
		bytes -= part;
	}
}

/* What the child of a fork has of its parent. */
static inline void model_fork(struct model *m, struct samara_mm *parent, int from, int to, uint64_t arena)
{
	memcpy(m->page[to], m->page[from], sizeof(m->page[to]));
	for (unsigned i = 0; i < MODEL_PAGES; i++)
		if (model_place(parent, arena + i * 4096ull).flags & (SAMARA_VM_WIPEONFORK | SAMARA_VM_DONTCOPY))
			m->page[to][i].known = false;
}

/* MADV_REMOVE was done to pages that were at these places. */
static inline void model_remove(struct model *m, struct samara_file *const *files, uint64_t length,
	const struct place *before)
{
	for (uint64_t i = 0; i * 4096 < length; i++)
		for (int k = 0; k < MODEL_FILES; k++)
			if (before[i].file == files[k])
				flat_zero(&m->file[k], before[i].offset, before[i].offset + 4096);
}

/* -- what must hold -- */

/* The page at `addr` as it must be around what is going to be stored to it; false: nobody can tell.  What is private
 * and not there yet is what its file reads as, without a load that would map it. */
static inline bool model_around(struct samara_mm *mm, uint64_t addr, uint8_t *page)
{
	struct place p = model_place(mm, addr);
	uint64_t word = 0;

	addr &= ~4095ull;
	if (!p.copied || samara_pagemap(mm, addr, &word, 1) != 1 || word >> 63)
		return samara_load(mm, addr, page, 4096, NULL) == 4096;
	memset(page, 0, 4096);
	return samara_file_read(p.copied, p.offset & ~4095ull, page, 4096) > 0;
}

/* NULL, or what is wrong.  A read that comes short or fails says nothing: pages may be unreadable, or frames out. */
static inline const char *model_check_file(struct model *m, struct samara_file *file, int which, uint64_t page)
{
	struct flat_file *f = &m->file[which];
	uint8_t bytes[4096];
	int64_t n = samara_file_read(file, page * 4096, bytes, sizeof(bytes));
	uint64_t left = f->size > page * 4096 ? f->size - page * 4096 : 0;

	if (f->lost || n < 0)
		return NULL;
	if ((uint64_t)n > (left < 4096 ? left : 4096))
		return "a file is longer than it should be";
	return n && memcmp(bytes, f->bytes + page * 4096, (size_t)n) ? "a file does not hold what was put there" : NULL;
}

static inline const char *model_check_page(struct model *m, struct samara_mm *mm, int space, uint64_t arena,
	unsigned index)
{
	const struct private_page *p = &m->page[space][index];
	uint8_t byte;

	if (!p->known || samara_load(mm, arena + index * 4096ull, &byte, 1, NULL) != 1 || byte == p->byte)
		return NULL;
	return "a private page does not hold what was stored there";
}

#endif
