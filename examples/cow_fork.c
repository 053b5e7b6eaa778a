/* cow_fork.c - fork shares frames until somebody writes: what parent and child hold, page by page, before and after. */
#include <stdio.h>
#include <stdlib.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

enum { PAGES = 64 };

static const samara_va base = 0x100000;
static int failed;

static uint64_t frame_of(struct samara_mm *mm, unsigned page)
{
	uint64_t word = 0;

	if (mm)
		samara_pagemap(mm, base + page * SAMARA_PAGE_SIZE, &word, 1);
	return word >> 63 ? word << 9 : 0; /* bit 63: present; the low 55 bits: the frame */
}

/* One side's pages: '=' is a frame that the other side has too, a letter one of its own. */
static unsigned side(const char *who, char own, struct samara_mm *mm, struct samara_mm *other)
{
	struct samara_mm_usage usage;
	unsigned shared = 0;

	printf("  %-6s ", who);
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t frame = frame_of(mm, i);
		int both = frame && frame == frame_of(other, i);

		shared += both;
		putchar(!frame ? '.' : both ? '=' : own);
	}
	samara_mm_usage(mm, &usage);
	printf("  %u pages\n", (unsigned)usage.anon_pages);
	return shared;
}

static void picture(const char *when, struct samara *vm, struct samara_mm *parent, struct samara_mm *child, unsigned wanted)
{
	struct samara_usage all;
	unsigned shared;

	samara_usage(vm, &all);
	printf("%s: %u frames\n", when, (unsigned)all.anon_pages);
	shared = side("parent", 'p', parent, child);
	if (child)
		side("child", 'c', child, parent);
	failed |= shared != wanted;
}

static char first_byte(struct samara_mm *mm, unsigned page)
{
	char c = 0;

	samara_load(mm, base + page * SAMARA_PAGE_SIZE, &c, 1, NULL);
	return c;
}

int main(void)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = 1024 };
	struct samara_mm *parent, *child;
	struct samara *vm;

	config.memory = aligned_alloc(SAMARA_PAGE_SIZE, config.memory_pages * SAMARA_PAGE_SIZE);
	if (!config.memory || samara_create(samara_posix_port(), &config, &vm) || samara_mm_create(vm, NULL, &parent))
		return 1;
	if (samara_mmap(parent, base, PAGES * SAMARA_PAGE_SIZE, SAMARA_PROT_READ | SAMARA_PROT_WRITE,
			SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, NULL, 0) < 0)
		return 1;
	for (unsigned i = 0; i < PAGES; i++)
		samara_store(parent, base + i * SAMARA_PAGE_SIZE, "p", 1, NULL);

	puts("a page each:  = one frame, seen by both   p, c a frame of the parent's, of the child's own");
	picture("the parent wrote to all", vm, parent, NULL, 0);
	if (samara_fork(parent, &child))
		return 1;
	picture("fork", vm, parent, child, PAGES);
	for (unsigned i = 0; i < PAGES / 4; i++)
		samara_store(child, base + i * SAMARA_PAGE_SIZE, "c", 1, NULL);
	picture("the child wrote to a quarter", vm, parent, child, PAGES - PAGES / 4);
	for (unsigned i = 0; i < PAGES / 2; i++) /* its first quarter is its own again: no copy */
		samara_store(parent, base + i * SAMARA_PAGE_SIZE, "P", 1, NULL);
	picture("the parent wrote to half", vm, parent, child, PAGES / 2);
	failed |= first_byte(child, 0) != 'c' || first_byte(child, PAGES / 3) != 'p' || first_byte(parent, PAGES / 3) != 'P';
	samara_mm_put(child);
	picture("the child is gone", vm, parent, NULL, 0);
	samara_mm_put(parent);
	samara_destroy(vm);
	free(config.memory);
	return failed;
}
