/* read_guard_writes.c - must not compile (gcc and clang): a read guard given to a call that changes the map. */
#include "samara/samara.h"

int writes(struct samara_mm *mm);

int writes(struct samara_mm *mm)
{
	struct samara_read_guard g;
	int err;

	samara_read_lock(mm, &g);
	err = samara_munmap_with(&g, 0x1000, 0x1000);
	samara_read_unlock(&g);
	return err;
}
