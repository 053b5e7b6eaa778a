/* bare.c - the bare port (bare.h).
 *
 * The heap is a list of free blocks in the order of their addresses.  A caller of free knows the size, so blocks in use
 * have no header; sizes are multiples of 64 bytes, which is also what a free block needs for its own words.  What
 * always holds: no two free blocks touch, and free_bytes is the sum of their sizes.
 */
#include "ports/bare/bare.h"

#define GRAIN 64u

struct bare_block {
	struct bare_block *next;
	size_t bytes;
};

static size_t grains(size_t bytes)
{
	return (bytes + GRAIN - 1) & ~(size_t)(GRAIN - 1);
}

/* First fit, from the end of a block that is larger: the list stays as it is. */
void *bare_alloc(struct bare *bare, size_t bytes)
{
	size_t need = grains(bytes);

	if (need < bytes)
		return NULL;
	for (struct bare_block **link = &bare->free; *link; link = &(*link)->next) {
		struct bare_block *block = *link;

		if (block->bytes < need)
			continue;
		block->bytes -= need;
		if (!block->bytes)
			*link = block->next;
		bare->free_bytes -= need;
		return (char *)block + block->bytes;
	}
	return NULL;
}

void bare_free(struct bare *bare, void *memory, size_t bytes)
{
	struct bare_block *before = NULL, *next = bare->free, *block = memory;

	while (next && next < block) {
		before = next;
		next = next->next;
	}
	block->bytes = grains(bytes);
	block->next = next;
	bare->free_bytes += block->bytes;
	if (before)
		before->next = block;
	else
		bare->free = block;
	if (next && (char *)block + block->bytes == (char *)next) {
		block->bytes += next->bytes;
		block->next = next->next;
	}
	if (before && (char *)before + before->bytes == (char *)block) {
		before->bytes += block->bytes;
		before->next = block->next;
	}
}

void bare_put(const struct bare *bare, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		while (!(bare->uart[5] & 0x20)) /* line status: room for a byte */
			;
		bare->uart[0] = (unsigned char)text[i];
	}
}

void bare_print(const struct bare *bare, const char *text)
{
	size_t bytes = 0;

	while (text[bytes])
		bytes++;
	bare_put(bare, text, bytes);
}

static void *port_alloc(void *self, size_t bytes)
{
	return bare_alloc(self, bytes);
}

static void port_free(void *self, void *memory, size_t bytes)
{
	bare_free(self, memory, bytes);
}

/* One page's fence (rs1 = its address) would leave branches of the table cached that may be gone: all of it. */
static void port_invalidate(void *self, struct samara_mm *mm, uint64_t start, uint64_t end)
{
	struct bare *bare = self;

	(void)mm;
	(void)start;
	(void)end;
	bare->fences++;
	bare_fence();
}

static void port_log(void *self, const char *line)
{
	bare_print(self, "samara: ");
	bare_print(self, line);
	bare_print(self, "\n");
}

static void port_panic(void *self, const char *file, int line, const char *what)
{
	struct bare *bare = self;
	char digits[12], *at = digits + sizeof(digits);

	*--at = 0;
	do
		*--at = (char)('0' + line % 10);
	while (line /= 10);
	bare_print(bare, "samara: panic at ");
	bare_print(bare, file);
	bare_print(bare, ":");
	bare_print(bare, at);
	bare_print(bare, ": ");
	bare_print(bare, what);
	bare_print(bare, "\n");
	bare->power_off(1);
}

void bare_init(struct bare *bare, void *heap, size_t bytes, volatile unsigned char *uart, void (*power_off)(int code))
{
	uintptr_t start = ((uintptr_t)heap + GRAIN - 1) & ~(uintptr_t)(GRAIN - 1);
	uintptr_t end = ((uintptr_t)heap + bytes) & ~(uintptr_t)(GRAIN - 1);

	*bare = (struct bare){ .uart = uart, .power_off = power_off };
	bare->port = (struct samara_port){ .size = sizeof(bare->port),
		.self = bare,
		.alloc = port_alloc,
		.free = port_free,
		.log = port_log,
		.panic = port_panic,
		.invalidate = port_invalidate };
	if (end <= start)
		return;
	bare->free = (struct bare_block *)start;
	*bare->free = (struct bare_block){ .bytes = end - start };
	bare->free_bytes = bare->heap_bytes = end - start;
}
