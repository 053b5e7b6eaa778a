/* fuzz_memory_pages.c - every page of both sides: pagemap's bits, and the bytes of those that are there.
 *
 * Compared bits of /proc/PID/pagemap: present, swapped (a guard marker is shown so), file page or shared anonymous,
 * guard region, write-protected for userfaultfd, exclusively mapped.  Not compared: the frame number, soft-dirty
 * (not every kernel has it). Bytes are read past rights (/proc/PID/mem, SAMARA_FORCE), and only of pages that are
 * present on both sides, so that looking brings no page.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "fuzz_memory.h"

#define PAGE 4096ull
#define PRESENT (1ull << 63)
#define COMPARED ((uint64_t)(PRESENT | 1ull << 62 | 1ull << 61 | 1ull << 58 | 1ull << 57 | 1ull << 56))
enum { WORDS = 512 };

static const char *bit_name(uint64_t bits)
{
	static const struct { uint64_t bit; const char *name; } names[] = {
		{ PRESENT, "present" }, { 1ull << 58, "guard" }, { 1ull << 62, "swapped" }, { 1ull << 61, "file" },
		{ 1ull << 56, "exclusive" },
	};
	for (size_t i = 0; i < FUZZ_ARRAY_SIZE(names); i++)
		if (bits & names[i].bit)
			return names[i].name;
	return "write-protected";
}

static bool bytes_agree(struct fuzz_process *p, int fd, uint64_t addr, char *detail, size_t room, uint64_t *where)
{
	unsigned char kernel[PAGE], samara[PAGE];
	struct samara_signal why = { 0 };

	if (pread(fd, kernel, PAGE, (off_t)addr) != (ssize_t)PAGE)
		return true; /* not even the kernel's debugger may look */
	size_t got = samara_copy_from(p->mm, addr, samara, PAGE, SAMARA_FORCE, &why);
	if (got == PAGE && !memcmp(kernel, samara, PAGE))
		return true;
	size_t i = 0;
	while (i < got && kernel[i] == samara[i])
		i++;
	*where = addr + i;
	if (i < got)
		snprintf(detail, room, "kernel: byte at %#" PRIx64 " is %#x\nsamara: %#x", addr + i, kernel[i], samara[i]);
	else
		snprintf(detail, room, "kernel: the page at %#" PRIx64 " can be read\nsamara: %s", addr,
			fuzz_errno_name(-why.error));
	return false;
}

static bool words_agree(struct fuzz_session *s, struct fuzz_process *p, int maps, int mem, uint64_t addr, size_t count,
	char what[static 64], char *detail, size_t room, uint64_t *where)
{
	uint64_t kernel[WORDS], samara[WORDS];
	size_t bytes = count * sizeof(uint64_t), got;

	if (pread(maps, kernel, bytes, (off_t)(addr / PAGE * 8)) != (ssize_t)bytes)
		return true;
	got = samara_pagemap(p->mm, addr, samara, count);
	if (got != count) {
		snprintf(what, 64, "pagemap: short");
		snprintf(detail, room, "kernel: %zu words from %#" PRIx64 "\nsamara: %zu", count, addr, got);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t differ = (kernel[i] ^ samara[i]) & COMPARED;
		*where = addr + i * PAGE;
		if (differ) {
			snprintf(what, 64, "pagemap: %s", bit_name(differ));
			snprintf(detail, room, "kernel: pagemap at %#" PRIx64 " is %#" PRIx64 "\nsamara: %#" PRIx64, *where,
				kernel[i] & COMPARED, samara[i] & COMPARED);
			return false;
		}
		if (mem < 0 || !(kernel[i] & PRESENT))
			continue;
		if (s->stats)
			s->stats->pages++;
		if (!bytes_agree(p, mem, *where, detail, room, where)) {
			snprintf(what, 64, "bytes of a page");
			return false;
		}
	}
	if (s->stats)
		s->stats->words += count;
	return true;
}

bool fuzz_pages_agree(struct fuzz_session *s, unsigned proc, bool content, char what[static 64], char *detail,
	size_t room, uint64_t *addr)
{
	struct fuzz_process *p = &s->proc[proc];
	int maps = fuzz_open_proc(&p->worker, "pagemap", O_RDONLY), mem = content ? fuzz_open_proc(&p->worker, "mem", O_RDONLY) : -1;
	bool same = maps >= 0;

	if (maps < 0)
		snprintf(what, 64, "pagemap: cannot be read");
	for (int i = 0; same && i < p->vmas; i++) {
		const struct fuzz_vma *v = &p->vma[i];
		/* Of a mapping too large to be filled, only the ends were reached. */
		for (uint64_t at = v->start, n; same && !v->foreign && at < v->end; at += n * PAGE) {
			if (at - v->start >= 8 * WORDS * PAGE && v->end - at > WORDS * PAGE)
				at = v->end - WORDS * PAGE;
			n = (v->end - at) / PAGE < WORDS ? (v->end - at) / PAGE : WORDS;
			same = words_agree(s, p, maps, mem, at, n, what, detail, room, addr);
		}
	}
	if (maps >= 0)
		close(maps);
	if (mem >= 0)
		close(mem);
	return same;
}
