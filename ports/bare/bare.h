/* bare.h - the port for a RISC-V machine without an operating system: metadata from a piece of RAM, sfence.vma, a 16550
 * UART.
 *
 *      static struct bare bare;
 *      bare_init(&bare, heap, heap_bytes, (volatile unsigned char *)0x10000000, power_off);
 *      config.memory = ram; config.first_pfn = (uintptr_t)ram >> 12; config.hardware_walks = 1;
 *      samara_create(&bare.port, &config, &vm);
 *
 * For one hart that enters samara with interrupts off (a kernel that is not preempted): one thread at a time, so there
 * is nothing to sleep on, no reader beside a writer, and what is deferred is reclaimed at once.  A second hart needs
 * wait and wake (or one lock around every call), and an invalidate that interrupts the other hart.
 *
 * memory.c is for programs without a C library: the memcpy, memset, memmove and memcmp that a compiler may call.
 */
#ifndef SAMARA_PORTS_BARE_H
#define SAMARA_PORTS_BARE_H

#include "samara/port.h"

struct bare_block;

struct bare {
	struct samara_port port;
	struct bare_block *free; /* by address; neighbours are one block */
	size_t free_bytes, heap_bytes;
	uint64_t fences;         /* calls of invalidate */
	volatile unsigned char *uart;
	void (*power_off)(int code);
};

/* `power_off` must not return; panic calls it with 1. */
void bare_init(struct bare *bare, void *heap, size_t bytes, volatile unsigned char *uart, void (*power_off)(int code));
/* Memory of the same kind for the embedder: aligned to 64 bytes, NULL when there is none. */
void *bare_alloc(struct bare *bare, size_t bytes);
void bare_free(struct bare *bare, void *memory, size_t bytes);
void bare_put(const struct bare *bare, const char *text, size_t bytes);
void bare_print(const struct bare *bare, const char *text);

/* Everything that this hart has cached of page tables, entries that were not valid among it. */
static inline void bare_fence(void)
{
	__asm__ volatile("sfence.vma" ::: "memory");
}

#endif
