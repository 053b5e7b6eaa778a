/* look_under_guard.c - look first, then change, with nobody in between: the write guard lends its read half. */
#include <stdio.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

#define RW (SAMARA_PROT_READ | SAMARA_PROT_WRITE)
#define ANON (SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS)

int main(void)
{
	struct samara_write_guard g;
	struct samara *vm;
	struct samara_mm *mm;
	unsigned sealed = 0;

	if (samara_create(samara_posix_port(), NULL, &vm) || samara_mm_create(vm, NULL, &mm))
		return 1;
	for (samara_va at = 0x100000; at < 0x110000; at += 0x4000)
		samara_mmap(mm, at, 0x2000, RW, ANON | SAMARA_MAP_FIXED, NULL, 0);

	samara_write_lock(mm, &g);
	for (samara_va at = 0; ; ) {
		const struct samara_vma *vma = samara_find_vma(&g.read, at);

		if (!vma)
			break;
		at = samara_vma_end(vma); /* the pointer dies with the next change */
		sealed += samara_mprotect_with(&g, samara_vma_start(vma), at - samara_vma_start(vma), SAMARA_PROT_READ) == 0;
	}
	samara_write_unlock(&g);

	printf("%u mappings made read-only in one go\n", sealed);
	samara_mm_put(mm);
	samara_destroy(vm);
	return sealed == 4 ? 0 : 1;
}
