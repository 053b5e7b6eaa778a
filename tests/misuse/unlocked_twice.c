/* unlocked_twice.c - must not compile (clang): a guard given back twice. */
#include "samara/samara.h"

void twice(struct samara_mm *mm);

void twice(struct samara_mm *mm)
{
	struct samara_read_guard g;

	samara_read_lock(mm, &g);
	samara_read_unlock(&g);
	samara_read_unlock(&g);
}
