/* vma.h - looking at the map: guards, VMAs, iterators.
 *
 * Changing an address space takes a write guard, looking at it takes a read guard.  A guard is a value on the caller's
 * stack and belongs to one address space, so a call that takes a guard takes no separate address space and
 * cannot be given the wrong one.  The write guard embeds the read guard: whoever may write may read (&g.read).
 * A `const struct samara_vma *` obtained under a guard dies with the guard, and with the next change made under it.
 *
 *      struct samara_read_guard g;
 *      samara_read_lock(mm, &g);
 *      for (const struct samara_vma *v = samara_find_vma(&g, 0); v; v = samara_next_vma(&g, v))
 *              ... samara_vma_start(v) ...
 *      samara_read_unlock(&g);
 */
#ifndef SAMARA_VMA_H
#define SAMARA_VMA_H

#include <stddef.h>
#include <stdint.h>
#include "samara/annotate.h"

typedef uint64_t samara_va; /* an address inside a samara_mm, never a host pointer */

struct samara_mm;
struct samara_vma;
struct samara_file;

struct SAMARA_CAPABILITY("mmap_lock") samara_read_guard {
	struct samara_mm *mm;
};

struct samara_write_guard {
	struct samara_read_guard read;
};

void samara_read_lock(struct samara_mm *mm, struct samara_read_guard *g) SAMARA_ACQUIRE_SHARED(*g);
void samara_read_unlock(struct samara_read_guard *g) SAMARA_RELEASE_SHARED(*g);
void samara_write_lock(struct samara_mm *mm, struct samara_write_guard *g) SAMARA_ACQUIRE(g->read);
void samara_write_unlock(struct samara_write_guard *g) SAMARA_RELEASE(g->read);
/* Killable: 0, or -EINTR when the port gave the wait up (port.h); then nothing is held. */
int samara_read_lock_killable(struct samara_mm *mm, struct samara_read_guard *g) SAMARA_TRY_ACQUIRE_SHARED(0, *g);
int samara_write_lock_killable(struct samara_mm *mm, struct samara_write_guard *g) SAMARA_TRY_ACQUIRE(0, g->read);
/* The write guard becomes a read guard without a moment in between; `g` must not be used again. */
void samara_write_downgrade(struct samara_write_guard *g, struct samara_read_guard *r)
	SAMARA_RELEASE(g->read) SAMARA_ACQUIRE_SHARED(*r);

/* VMA flags.  Names are those of the kernel and of proc(5), VmFlags; the numbers are samara's own. */
#define SAMARA_VM_READ 0x1ull
#define SAMARA_VM_WRITE 0x2ull
#define SAMARA_VM_EXEC 0x4ull
#define SAMARA_VM_SHARED 0x8ull
#define SAMARA_VM_MAYREAD 0x10ull
#define SAMARA_VM_MAYWRITE 0x20ull
#define SAMARA_VM_MAYEXEC 0x40ull
#define SAMARA_VM_MAYSHARE 0x80ull
#define SAMARA_VM_GROWSDOWN 0x100ull
#define SAMARA_VM_PFNMAP 0x400ull
#define SAMARA_VM_LOCKED 0x2000ull
#define SAMARA_VM_IO 0x4000ull
#define SAMARA_VM_SEQ_READ 0x8000ull
#define SAMARA_VM_RAND_READ 0x10000ull
#define SAMARA_VM_DONTCOPY 0x20000ull
#define SAMARA_VM_DONTEXPAND 0x40000ull
#define SAMARA_VM_LOCKONFAULT 0x80000ull
#define SAMARA_VM_ACCOUNT 0x100000ull
#define SAMARA_VM_NORESERVE 0x200000ull
#define SAMARA_VM_HUGETLB 0x400000ull
#define SAMARA_VM_SYNC 0x800000ull
#define SAMARA_VM_WIPEONFORK 0x2000000ull
#define SAMARA_VM_DONTDUMP 0x4000000ull
#define SAMARA_VM_SOFTDIRTY 0x8000000ull
#define SAMARA_VM_MIXEDMAP 0x10000000ull
#define SAMARA_VM_HUGEPAGE 0x20000000ull
#define SAMARA_VM_NOHUGEPAGE 0x40000000ull
#define SAMARA_VM_MERGEABLE 0x80000000ull
#define SAMARA_VM_UFFD_MISSING 0x100000000ull
#define SAMARA_VM_UFFD_WP 0x200000000ull
#define SAMARA_VM_UFFD_MINOR 0x400000000ull
#define SAMARA_VM_DROPPABLE 0x800000000ull
#define SAMARA_VM_SEALED 0x1000000000ull
#define SAMARA_VM_MAYBE_GUARD 0x2000000000ull /* has had guard regions */
#define SAMARA_VM_PKEY_SHIFT 40
#define SAMARA_VM_PKEY_MASK (0xfull << SAMARA_VM_PKEY_SHIFT)

/* The first VMA that ends after `addr`, or NULL: the kernel's find_vma. */
const struct samara_vma *samara_find_vma(const struct samara_read_guard *g, samara_va addr) SAMARA_READS(*g);
/* The first VMA that overlaps [start, end), or NULL. */
const struct samara_vma *samara_find_vma_intersection(const struct samara_read_guard *g, samara_va start, samara_va end)
	SAMARA_READS(*g);
/* As samara_find_vma; *prev becomes the VMA before it (or before the end of the map), or NULL. */
const struct samara_vma *samara_find_vma_prev(const struct samara_read_guard *g, samara_va addr,
	const struct samara_vma **prev) SAMARA_READS(*g);
const struct samara_vma *samara_next_vma(const struct samara_read_guard *g, const struct samara_vma *vma) SAMARA_READS(*g);
const struct samara_vma *samara_prev_vma(const struct samara_read_guard *g, const struct samara_vma *vma) SAMARA_READS(*g);

/* Walking many VMAs: cheaper than samara_next_vma.  Initialised under a guard and used while that guard is held; it
 * stays valid across changes made under the same write guard and goes on behind what it yielded last.  _next yields
 * VMAs that end after `from`, ascending; _prev those that start before it, descending; NULL at either end.  The two may
 * be mixed.
 *
 *      struct samara_vma_iter it;
 *      samara_vma_iter_init(&it, &g, 0);
 *      while ((v = samara_vma_iter_next(&it)))
 *              ...
 */
struct samara_vma_iter {
	uint64_t place[8]; /* samara's own */
};
void samara_vma_iter_init(struct samara_vma_iter *iter, const struct samara_read_guard *g, samara_va from) SAMARA_READS(*g);
const struct samara_vma *samara_vma_iter_next(struct samara_vma_iter *iter);
const struct samara_vma *samara_vma_iter_prev(struct samara_vma_iter *iter);

samara_va samara_vma_start(const struct samara_vma *vma);
samara_va samara_vma_end(const struct samara_vma *vma); /* exclusive */
uint64_t samara_vma_flags(const struct samara_vma *vma);
uint64_t samara_vma_pgoff(const struct samara_vma *vma); /* pages */
struct samara_file *samara_vma_file(const struct samara_vma *vma); /* NULL: anonymous; no reference is taken */
void *samara_vma_private(const struct samara_vma *vma);
/* Whether a write fault has given the VMA an anonymous history (Linux: vma->anon_vma is set). */
int samara_vma_faulted(const struct samara_vma *vma);

/* What lookup without any lock saw: a copy, taken at one instant during the call. */
struct samara_vma_view {
	samara_va start, end;
	uint64_t vm_flags;
	uint64_t pgoff;
};
/* Looks `addr` up under RCU, without mmap_lock.  1 and *view when a VMA contains addr, else 0.  Never waits for a
 * writer longer than that writer's one store; may run beside any change. */
int samara_lookup(struct samara_mm *mm, samara_va addr, struct samara_vma_view *view);

#endif
