/* text.h - writing text into a fixed buffer: hexadecimal, decimal, padding.  Never overruns: what does not fit is
 * cut. */
#ifndef SAMARA_CORE_TEXT_H
#define SAMARA_CORE_TEXT_H

#include "core/base/base.h"

struct text {
	char *at;
	size_t used, room;
};

static inline void text_char(struct text *t, char c)
{
	if (t->used < t->room)
		t->at[t->used++] = c;
}

static inline void text_string(struct text *t, const char *s)
{
	while (*s)
		text_char(t, *s++);
}

static inline void text_hex(struct text *t, uint64_t value, unsigned width)
{
	unsigned digits = value ? (63 - (unsigned)__builtin_clzll(value)) / 4 + 1 : 1;

	digits = MAX(digits, width);
	while (digits-- > 0)
		text_char(t, "0123456789abcdef"[value >> (digits * 4) & 15]);
}

static inline void text_decimal(struct text *t, uint64_t value, unsigned width)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (width > n) {
		text_char(t, ' ');
		width--;
	}
	while (n > 0)
		text_char(t, digits[--n]);
}

static inline void text_pad(struct text *t, size_t column)
{
	do
		text_char(t, ' ');
	while (t->used < column && t->used < t->room);
}

#endif
