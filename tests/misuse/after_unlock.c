/* after_unlock.c - must not compile (clang): a guard used after it was given back. */
#include "samara/samara.h"

int after(struct samara_mm *mm);

int after(struct samara_mm *mm)
{
	struct samara_write_guard g;

	samara_write_lock(mm, &g);
	samara_write_unlock(&g);
	return samara_munmap_with(&g, 0x1000, 0x1000);
}
