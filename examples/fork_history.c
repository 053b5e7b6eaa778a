/* fork_history.c - why merging needs to know of faults: the same map, once written to before fork, once not. */
#include <stdio.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

#define RW (SAMARA_PROT_READ | SAMARA_PROT_WRITE)
#define FIXED (SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED)

/* VMAs in the child after it mapped right behind what it inherited. */
static unsigned child_vmas(int touch_first)
{
	struct samara_mm_stat stat;
	struct samara_mm *parent, *child;
	struct samara *vm;

	if (samara_create(samara_posix_port(), NULL, &vm) || samara_mm_create(vm, NULL, &parent))
		return 0;
	samara_mmap(parent, 0x100000, 0x2000, RW, FIXED, NULL, 0);
	if (touch_first)
		samara_touch(parent, 0x100000, 1);
	if (samara_fork(parent, &child))
		return 0;
	samara_mmap(child, 0x102000, 0x2000, RW, FIXED, NULL, 0);
	samara_mm_stat(child, &stat);
	samara_mm_put(child);
	samara_mm_put(parent);
	samara_destroy(vm);
	return stat.map_count;
}

int main(void)
{
	unsigned untouched = child_vmas(0), touched = child_vmas(1);

	printf("never written to: %u mapping; written to before fork: %u mappings\n", untouched, touched);
	return untouched == 1 && touched == 2 ? 0 : 1;
}
