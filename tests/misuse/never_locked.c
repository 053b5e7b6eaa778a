/* never_locked.c - must not compile (clang): a guard filled in by hand. */
#include "samara/samara.h"

int never(struct samara_mm *mm);

int never(struct samara_mm *mm)
{
	struct samara_write_guard g = { { mm } };

	return samara_munmap_with(&g, 0x1000, 0x1000);
}
