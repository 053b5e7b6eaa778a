/* good_guard.c - the control: right use of guards compiles under the same flags that reject the others. */
#include "samara/samara.h"

int64_t good(struct samara_mm *mm);

int64_t good(struct samara_mm *mm)
{
	struct samara_write_guard g;
	int64_t at;

	samara_write_lock(mm, &g);
	at = samara_mmap_with(&g, 0, 4096, 3, 0x22, NULL, 0);
	samara_write_unlock(&g);
	return at;
}
