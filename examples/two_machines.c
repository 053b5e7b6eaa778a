/* two_machines.c - no globals: two machines with different rules in one process. */
#include <stdio.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

static int64_t huge_map(const struct samara_config *config)
{
	struct samara *vm;
	struct samara_mm *mm;
	int64_t at;

	if (samara_create(samara_posix_single_port(), config, &vm) || samara_mm_create(vm, NULL, &mm))
		return 1;
	/* 16 GiB, on machines with 4 GiB */
	at = samara_mmap(mm, 0, 16ull << 30, SAMARA_PROT_READ | SAMARA_PROT_WRITE, SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS, NULL, 0);
	samara_mm_put(mm);
	samara_destroy(vm);
	return at;
}

int main(void)
{
	const struct samara_config careful = { .size = sizeof(careful), .overcommit_memory = 0 };
	const struct samara_config generous = { .size = sizeof(generous), .overcommit_memory = 1 };
	int64_t a = huge_map(&careful), b = huge_map(&generous);

	printf("careful machine:  %s\n", a == -SAMARA_ENOMEM ? "ENOMEM" : "mapped");
	printf("generous machine: %s\n", b > 0 ? "mapped" : "refused");
	return a == -SAMARA_ENOMEM && b > 0 ? 0 : 1;
}
