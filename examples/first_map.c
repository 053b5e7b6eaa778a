/* first_map.c - a machine, an address space, three calls, and the text that Linux would show. */
#include <stdio.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

static int print(void *self, const char *text, size_t bytes)
{
	(void)self;
	return fwrite(text, 1, bytes, stdout) == bytes ? 0 : -1;
}

int main(void)
{
	struct samara *vm;
	struct samara_mm *mm;
	int64_t at;

	if (samara_create(samara_posix_port(), NULL, &vm) || samara_mm_create(vm, NULL, &mm))
		return 1;
	at = samara_mmap(mm, 0, 1 << 20, SAMARA_PROT_READ | SAMARA_PROT_WRITE, SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS, NULL, 0);
	if (at < 0)
		return 1;
	samara_mprotect(mm, (samara_va)at + 0x4000, 0x1000, SAMARA_PROT_READ); /* splits */
	samara_munmap(mm, (samara_va)at + 0x8000, 0x1000);                    /* a hole */
	samara_view_maps(mm, print, NULL);
	samara_mm_put(mm);
	samara_destroy(vm);
	return 0;
}
