/* format.c - the four formats, from the architecture manuals (Intel SDM volume 3 chapter 4, RISC-V privileged
 * chapter 10). */
#include "core/table/table.h"

#define BIT(n) ((uint64_t)1 << (n))

/* P 0, W 1, U 2, A 5, D 6, PS 7, 9-11 for software, frame number 12-51, protection key 59-62, no execute 63.
 * Branches allow everything: leaves decide. */
#define X86(levels_) { .pfn_mask = (BIT(52) - 1) & ~(BIT(12) - 1), .write = BIT(1), .user = BIT(2), .accessed = BIT(5), \
	.dirty = BIT(6), .exec = BIT(63), .inverted = BIT(63), .leaf_mask = BIT(7), .leaf_bits = BIT(0), .huge_bits = BIT(7), \
	.branch_bits = BIT(0) | BIT(1) | BIT(2) | BIT(5), .own = BIT(9), .pfn_left = 0, .levels = (levels_), .pkey_shift = 59 }

/* V 0, R 1, W 2, X 3, U 4, A 6, D 7, 8-9 for software, frame number 10-53.  An entry with one of R, W, X is a leaf, a
 * branch has nothing but V and the number; write without read is reserved, so every leaf has R. */
#define RISCV(levels_) { .pfn_mask = (BIT(54) - 1) & ~(BIT(10) - 1), .write = BIT(2), .user = BIT(4), .accessed = BIT(6), \
	.dirty = BIT(7), .exec = BIT(3), .inverted = 0, .leaf_mask = BIT(1) | BIT(2) | BIT(3), .leaf_bits = BIT(0) | BIT(1), \
	.huge_bits = 0, .branch_bits = BIT(0), .own = BIT(8), .pfn_left = 2, .levels = (levels_), .pkey_shift = 0 }

SAMARA_INTERNAL const struct table_format *table_format(enum table_kind kind)
{
	static const struct table_format formats[TABLE_FORMATS] = {
		[TABLE_X86_4] = X86(4), [TABLE_X86_5] = X86(5), [TABLE_SV39] = RISCV(3), [TABLE_SV48] = RISCV(4) };

	ASSERT((unsigned)kind < TABLE_FORMATS);
	return &formats[kind];
}

#undef X86
#undef RISCV
#undef BIT
