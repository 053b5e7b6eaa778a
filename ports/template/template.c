/* template.c - a port to fill in: the contract of every member as a comment (include/samara/port.h has the whole text).
 *
 * It compiles, and it answers every request for memory with "none": a machine cannot be created on it until alloc and
 * free are written.  Those two are all that is required for one thread.
 */
#include "samara/port.h"

const struct samara_port *samara_template_port(void);

/* `bytes` > 0; aligned to 64; NULL when there is none now.  May be called with samara's locks held. */
static void *template_alloc(void *self, size_t bytes)
{
	(void)self;
	(void)bytes;
	return NULL;
}

/* What alloc gave, with the same `bytes`. */
static void template_free(void *self, void *memory, size_t bytes)
{
	(void)self;
	(void)memory;
	(void)bytes;
}

/* An invariant is broken; must not return. */
static void template_panic(void *self, const char *file, int line, const char *what)
{
	(void)self;
	(void)file;
	(void)line;
	(void)what;
	for (;;)
		;
}

const struct samara_port *samara_template_port(void)
{
	static const struct samara_port port = {
		.size = sizeof(port),
		.self = NULL, /* comes back as the first argument of every call */
		.alloc = template_alloc,
		.free = template_free,
		/* several threads: .wait and .wake (both), and for lookups without locks
		 * .read_lock, .read_unlock, .defer, .barrier (all) */
		/* frame caches and counters that threads do not share: .cpu; software TLBs and shadows of the page
		 * table: .invalidate, .changed; rights of protection keys that differ between threads: .pkru, .set_pkru
		 * (both) */
		/* threads that can be killed: .fatal_signal_pending, and -EINTR of a killable .wait */
		/* placements that differ from run to run: .random */
		.panic = template_panic,
	};

	return &port;
}
