/* two_memories.c - two machines with memory in one process: one runs out of frames, the other does not notice. */
#include <stdio.h>
#include <stdlib.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

struct guest {
	struct samara *vm;
	struct samara_mm *mm;
	void *memory;
};

static const samara_va base = 0x100000;

static int guest_make(struct guest *g, uint64_t pages, uint32_t format)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = pages, .table_format = format,
		.overcommit_memory = 1 };

	g->memory = config.memory = aligned_alloc(SAMARA_PAGE_SIZE, pages * SAMARA_PAGE_SIZE);
	return !config.memory || samara_create(samara_posix_single_port(), &config, &g->vm) || samara_mm_create(g->vm, NULL, &g->mm) ||
	       samara_mmap(g->mm, base, 16 << 20, SAMARA_PROT_READ | SAMARA_PROT_WRITE,
			   SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED, NULL, 0) < 0;
}

/* How many pages could be written to, of 4096. */
static unsigned guest_fill(struct guest *g, char with, struct samara_signal *why)
{
	for (unsigned i = 0; i < 4096; i++)
		if (samara_store(g->mm, base + i * SAMARA_PAGE_SIZE, &with, 1, why) != 1)
			return i;
	return 4096;
}

static void guest_end(struct guest *g)
{
	samara_mm_put(g->mm);
	samara_destroy(g->vm);
	free(g->memory);
}

int main(void)
{
	struct samara_signal small_why, large_why;
	struct guest small, large;
	unsigned in_small, in_large;
	char a = 0, b = 0;

	/* an x86-64 with 1 MiB and a RISC-V with 32 MiB; both have the same addresses mapped */
	if (guest_make(&small, 256, SAMARA_TABLE_X86_4) || guest_make(&large, 8192, SAMARA_TABLE_SV39))
		return 1;
	in_small = guest_fill(&small, 's', &small_why);
	in_large = guest_fill(&large, 'l', &large_why);
	samara_load(small.mm, base, &a, 1, NULL);
	samara_load(large.mm, base, &b, 1, NULL);
	printf("small machine: %u pages, then %s; its first byte is '%c'\n", in_small,
		small_why.error == -SAMARA_ENOMEM ? "ENOMEM" : "?", a);
	printf("large machine: %u pages; its first byte is '%c'\n", in_large, b);
	guest_end(&small);
	guest_end(&large);
	return !(in_small > 200 && in_small < 256 && small_why.error == -SAMARA_ENOMEM && in_large == 4096 && a == 's' && b == 'l');
}
