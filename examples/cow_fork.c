/* cow_fork.c - fork shares frames until somebody writes: what parent and child hold, before and after. */
#include <stdio.h>
#include <stdlib.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

enum { PAGES = 64 };

static const samara_va base = 0x100000;
static int failed;

/* One line of the table: resident pages of both, and how many of them are one frame. */
static void row(const char *when, struct samara *vm, struct samara_mm *parent, struct samara_mm *child, unsigned shared_wanted)
{
	struct samara_mm_usage p, c = { 0 };
	struct samara_usage all;
	unsigned shared = 0;

	samara_mm_usage(parent, &p);
	if (child)
		samara_mm_usage(child, &c);
	samara_usage(vm, &all);
	for (unsigned i = 0; child && i < PAGES; i++) {
		uint64_t a = 0, b = 0;

		samara_pagemap(parent, base + i * SAMARA_PAGE_SIZE, &a, 1);
		samara_pagemap(child, base + i * SAMARA_PAGE_SIZE, &b, 1);
		/* bit 63: present; the low 55 bits: the frame */
		shared += a >> 63 && b >> 63 && !((a ^ b) << 9);
	}
	printf("%-30s %7u %7u %7u %8u\n", when, (unsigned)p.anon_pages, (unsigned)c.anon_pages, shared, (unsigned)all.anon_pages);
	failed |= shared != shared_wanted;
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

	printf("%-30s %7s %7s %7s %8s\n", "pages", "parent", "child", "shared", "frames");
	row("the parent wrote to all", vm, parent, NULL, 0);
	if (samara_fork(parent, &child))
		return 1;
	row("fork", vm, parent, child, PAGES);
	for (unsigned i = 0; i < PAGES / 4; i++)
		samara_store(child, base + i * SAMARA_PAGE_SIZE, "c", 1, NULL);
	row("the child wrote to a quarter", vm, parent, child, PAGES - PAGES / 4);
	for (unsigned i = 0; i < PAGES / 2; i++) /* its first quarter is its own again: no copy */
		samara_store(parent, base + i * SAMARA_PAGE_SIZE, "P", 1, NULL);
	row("the parent wrote to half", vm, parent, child, PAGES / 2);
	failed |= first_byte(child, 0) != 'c' || first_byte(child, PAGES / 3) != 'p' || first_byte(parent, PAGES / 3) != 'P';
	samara_mm_put(child);
	row("the child is gone", vm, parent, NULL, 0);
	samara_mm_put(parent);
	samara_destroy(vm);
	free(config.memory);
	return failed;
}
