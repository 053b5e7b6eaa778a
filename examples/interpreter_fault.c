/* interpreter_fault.c - an interpreter whose loads and stores go through samara: misses are answered, a wild store is
 * Linux's signal. */
#include <stdio.h>
#include <stdlib.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

/* The machine: 4 registers of 64 bits, instructions of 8 bytes in the guest's own memory. */
enum { SET, ADD, LOAD, STORE, LOOP, HALT };
struct insn {
	uint8_t op, a, b, from_b; /* from_b: ADD takes register b, not the value */
	int32_t value;
};

/* Stores 1..20000 over 40 pages, adds them up again; then writes to its own code, which is not writable. */
static const struct insn program[] = {
	{ SET, 0, 0, 0, 0x200000 }, { SET, 1, 0, 0, 20000 },                        /* r0: where, r1: what */
	{ STORE, 1, 0, 0, 0 }, { ADD, 0, 0, 0, 8 }, { LOOP, 1, 0, 0, -2 },
	{ SET, 0, 0, 0, 0x200000 }, { SET, 1, 0, 0, 20000 }, { SET, 3, 0, 0, 0 },
	{ LOAD, 2, 0, 0, 0 }, { ADD, 3, 2, 1, 0 }, { ADD, 0, 0, 0, 8 }, { LOOP, 1, 0, 0, -3 },
	{ SET, 0, 0, 0, 0x100000 }, { STORE, 3, 0, 0, 4 }, { HALT, 0, 0, 0, 0 },
};

/* Runs until HALT (0) or a signal (its number, and *why). */
static int run(struct samara_mm *mm, samara_va pc, uint64_t *r, struct samara_signal *why)
{
	struct insn i;

	for (;; pc += sizeof(i)) {
		if (samara_fetch(mm, pc, &i, sizeof(i), why) != sizeof(i))
			return why->signo;
		switch (i.op) {
		case SET: r[i.a] = (uint64_t)i.value; break;
		case ADD: r[i.a] += i.from_b ? r[i.b] : (uint64_t)i.value; break;
		case LOAD:
			if (samara_load(mm, r[i.b] + (uint64_t)i.value, &r[i.a], 8, why) != 8)
				return why->signo;
			break;
		case STORE:
			if (samara_store(mm, r[i.b] + (uint64_t)i.value, &r[i.a], 8, why) != 8)
				return why->signo;
			break;
		case LOOP:
			if (--r[i.a])
				pc += (uint64_t)(int64_t)i.value * sizeof(i) - sizeof(i);
			break;
		default: return 0;
		}
	}
}

int main(void)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = 1024 };
	const uint64_t anon = SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED;
	struct samara_signal why = { 0 };
	struct samara_mm_usage usage;
	struct samara_mm *mm;
	struct samara *vm;
	uint64_t r[4] = { 0 };
	int signo;

	config.memory = aligned_alloc(4096, config.memory_pages * 4096);
	if (!config.memory || samara_create(samara_posix_single_port(), &config, &vm) || samara_mm_create(vm, NULL, &mm))
		return 1;
	if (samara_mmap(mm, 0x100000, 4096, SAMARA_PROT_READ | SAMARA_PROT_WRITE, anon, NULL, 0) < 0 ||
	    samara_mmap(mm, 0x200000, 1 << 20, SAMARA_PROT_READ | SAMARA_PROT_WRITE, anon, NULL, 0) < 0)
		return 1;
	samara_store(mm, 0x100000, program, sizeof(program), NULL);
	samara_mprotect(mm, 0x100000, 4096, SAMARA_PROT_READ | SAMARA_PROT_EXEC);

	signo = run(mm, 0x100000, r, &why);
	samara_mm_usage(mm, &usage);
	printf("sum of what was stored: %llu, in %u pages\n", (unsigned long long)r[3], (unsigned)usage.anon_pages);
	printf("the wild store: signal %d (SIGSEGV), code %d (SEGV_ACCERR), si_addr %#llx\n", why.signo, why.code,
	       (unsigned long long)why.addr);
	samara_mm_put(mm);
	samara_destroy(vm);
	free(config.memory);
	return !(r[3] == 200010000 && signo == SAMARA_SIGSEGV && why.code == SAMARA_SEGV_ACCERR && why.addr == 0x100004);
}
