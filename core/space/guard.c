/* guard.c - guards of mmap_lock, and looking at the map under them or under RCU.
 *
 * A guard says in its type what its holder may do; the lock itself is core/base/lock.h.  samara_lookup takes no lock:
 * it finds the VMA under RCU, copies what it needs between two looks at the VMA's seq, and falls back to the
 * read lock when a writer keeps it from getting a steady picture.
 */
#include "core/space/space.h"

#define LOOKUP_TRIES 8

void samara_read_lock(struct samara_mm *mm, struct samara_read_guard *g) SAMARA_NO_ANALYSIS
{
	(void)lock_read(&mm->mmap_lock, mm_port(mm), 0);
	g->mm = mm;
}

void samara_read_unlock(struct samara_read_guard *g) SAMARA_NO_ANALYSIS
{
	struct samara_mm *mm = g->mm;

	g->mm = NULL;
	lock_read_unlock(&mm->mmap_lock, mm_port(mm));
}

void samara_write_lock(struct samara_mm *mm, struct samara_write_guard *g) SAMARA_NO_ANALYSIS
{
	(void)lock_write(&mm->mmap_lock, mm_port(mm), 0);
	g->read.mm = mm;
}

void samara_write_unlock(struct samara_write_guard *g) SAMARA_NO_ANALYSIS
{
	struct samara_mm *mm = g->read.mm;

	g->read.mm = NULL;
	MM_CHECK(mm);
	vma_unlock_all(mm);
	lock_write_unlock(&mm->mmap_lock, mm_port(mm));
}

int samara_read_lock_killable(struct samara_mm *mm, struct samara_read_guard *g) SAMARA_NO_ANALYSIS
{
	int err = lock_read(&mm->mmap_lock, mm_port(mm), 1);

	g->mm = err ? NULL : mm;
	return err;
}

int samara_write_lock_killable(struct samara_mm *mm, struct samara_write_guard *g) SAMARA_NO_ANALYSIS
{
	int err = lock_write(&mm->mmap_lock, mm_port(mm), 1);

	g->read.mm = err ? NULL : mm;
	return err;
}

void samara_write_downgrade(struct samara_write_guard *g, struct samara_read_guard *r) SAMARA_NO_ANALYSIS
{
	struct samara_mm *mm = g->read.mm;

	MM_CHECK(mm);
	vma_unlock_all(mm);
	g->read.mm = NULL;
	r->mm = mm;
	lock_downgrade(&mm->mmap_lock, mm_port(mm));
}

SAMARA_INTERNAL vma_t *mm_find_in(const struct samara_mm *mm, uint64_t start, uint64_t end)
{
	struct tree_entry entry = tree_ceiling(&mm->tree, start);

	return entry.value && entry.start < end ? entry.value : NULL;
}

SAMARA_INTERNAL vma_t *mm_prev(const struct samara_mm *mm, uint64_t addr)
{
	return addr ? tree_floor(&mm->tree, addr - 1).value : NULL;
}

SAMARA_INTERNAL vma_t *mm_next(const struct samara_mm *mm, const vma_t *vma)
{
	vma_t *next = tree_behind(&mm->tree, vma);

	return LIKELY(next) ? next : mm_find(mm, vma->end);
}

const struct samara_vma *samara_find_vma(const struct samara_read_guard *g, samara_va addr)
{
	return tree_ceiling_value(&g->mm->tree, addr);
}

const struct samara_vma *samara_find_vma_intersection(const struct samara_read_guard *g, samara_va start, samara_va end)
{
	return start < end ? mm_find_in(g->mm, start, end) : NULL;
}

const struct samara_vma *samara_find_vma_prev(const struct samara_read_guard *g, samara_va addr,
	const struct samara_vma **prev)
{
	vma_t *vma = mm_find(g->mm, addr);

	*prev = mm_prev(g->mm, vma ? vma->start : UINT64_MAX);
	return vma;
}

const struct samara_vma *samara_next_vma(const struct samara_read_guard *g, const struct samara_vma *vma)
{
	return mm_next(g->mm, vma);
}

const struct samara_vma *samara_prev_vma(const struct samara_read_guard *g, const struct samara_vma *vma)
{
	return mm_prev(g->mm, vma->start);
}

samara_va samara_vma_start(const struct samara_vma *vma)
{
	return vma->start;
}

samara_va samara_vma_end(const struct samara_vma *vma)
{
	return vma->end;
}

uint64_t samara_vma_flags(const struct samara_vma *vma)
{
	return vma->flags;
}

uint64_t samara_vma_pgoff(const struct samara_vma *vma)
{
	return vma->pgoff;
}

struct samara_file *samara_vma_file(const struct samara_vma *vma)
{
	return vma->file;
}

void *samara_vma_private(const struct samara_vma *vma)
{
	return vma->private_data;
}

int samara_vma_faulted(const struct samara_vma *vma)
{
	return vma->anon_id != 0;
}

/* 1: a steady picture of the VMA that holds addr; 0: nothing is there; -1: look again. */
static int lookup_once(const struct samara_mm *mm, uint64_t addr, struct samara_vma_view *view)
{
	const vma_t *vma = tree_lookup(&mm->tree, addr);
	const struct samara_mm *owner;
	uint32_t seq;

	if (!vma)
		return 0;
	seq = LOAD_ACQUIRE(vma->seq);
	if (seq & 1)
		return -1;
	owner = LOAD_ACQUIRE(vma->mm);
	view->start = LOAD_ACQUIRE(vma->start);
	view->end = LOAD_ACQUIRE(vma->end);
	view->vm_flags = LOAD_ACQUIRE(vma->flags);
	view->pgoff = LOAD_ACQUIRE(vma->pgoff);
	if (LOAD(vma->seq) != seq)
		return -1;
	return owner == mm && view->start <= addr && addr < view->end ? 1 : -1;
}

int samara_lookup(struct samara_mm *mm, samara_va addr, struct samara_vma_view *view)
{
	const struct samara_port *port = mm_port(mm);
	struct samara_read_guard g;
	const vma_t *vma;
	int found = -1;

	if (port->read_lock)
		port->read_lock(port->self);
	for (int i = 0; found < 0 && i < LOOKUP_TRIES; i++)
		found = lookup_once(mm, addr, view);
	if (port->read_unlock)
		port->read_unlock(port->self);
	if (LIKELY(found >= 0))
		return found;
	samara_read_lock(mm, &g);
	vma = tree_get(&mm->tree, addr);
	if (vma)
		*view = (struct samara_vma_view){ vma->start, vma->end, vma->flags, vma->pgoff };
	samara_read_unlock(&g);
	return vma != NULL;
}
