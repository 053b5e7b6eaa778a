/* leaked_guard.c - must not compile (clang): a write guard that is not given back on every path. */
#include "samara/samara.h"

int leaked(struct samara_mm *mm, int early);

int leaked(struct samara_mm *mm, int early)
{
	struct samara_write_guard g;

	samara_write_lock(mm, &g);
	if (early)
		return -1;
	samara_write_unlock(&g);
	return 0;
}
