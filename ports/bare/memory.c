/* memory.c - what a compiler may call even in freestanding code.  Build it with -fno-tree-loop-distribute-patterns, or
 * a loop here may become a call of itself. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *memory, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

typedef uint64_t __attribute__((may_alias)) word;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	if ((((uintptr_t)t | (uintptr_t)f) & 7) == 0)
		for (; bytes >= 8; bytes -= 8, t += 8, f += 8)
			*(word *)(void *)t = *(const word *)(const void *)f;
	while (bytes--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	if ((uintptr_t)to - (uintptr_t)from >= bytes)
		return memcpy(to, from, bytes);
	while (bytes--)
		t[bytes] = f[bytes];
	return to;
}

void *memset(void *memory, int byte, size_t bytes)
{
	unsigned char *m = memory;
	uint64_t all = 0x0101010101010101ull * (unsigned char)byte;

	if (((uintptr_t)m & 7) == 0)
		for (; bytes >= 8; bytes -= 8, m += 8)
			*(word *)(void *)m = all;
	while (bytes--)
		*m++ = (unsigned char)byte;
	return memory;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const unsigned char *x = a, *y = b;

	for (; bytes; bytes--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}
