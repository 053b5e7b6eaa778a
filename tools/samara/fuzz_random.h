/* fuzz_random.h - drawing numbers: all of them from one state, so that a seed is a program. */
#ifndef SAMARA_TOOLS_FUZZ_RANDOM_H
#define SAMARA_TOOLS_FUZZ_RANDOM_H

#include "fuzz.h"

static inline uint64_t below(uint64_t *r, uint64_t n)
{
	return fuzz_random(r) % n;
}

static inline bool chance(uint64_t *r, unsigned percent)
{
	return below(r, 100) < percent;
}

#define PICK(r, array) ((array)[below(r, FUZZ_ARRAY_SIZE(array))])

#endif
