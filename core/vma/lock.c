/* lock.c - the lock of one VMA: what a fault holds instead of mmap_lock.
 *
 * A fault finds the VMA under RCU, counts itself into `lock`, and then looks whether the VMA is the one it wanted.  A
 * change of the map marks each VMA that it touches: it waits until nobody is counted in, writes mm->lock_seq into the
 * VMA, and from then on whoever counts himself in sees that and goes away again.  Giving mmap_lock back raises
 * mm->lock_seq, which frees all marked VMAs at once.
 *
 *   vma->lock       readers, or VMA_WRITER while a writer waits for them (then no reader comes in)
 *   vma->lock_seq   equal to mm->lock_seq: write-locked.  Written by the holder of mmap_lock alone.
 *
 * So a change pays one atomic operation a VMA, a fault two.  tests/spin/vma_lock.pml is the model of it.
 */
#include "core/mm.h"

SAMARA_INTERNAL void vma_lock_write_slow(struct samara_mm *mm, vma_t *vma)
{
	const struct samara_port *port = mm_port(mm);
	uint32_t seen;

	if (!port->wait) {
		ASSERT(vma->lock == 0);
		vma->lock_seq = mm->lock_seq;
		return;
	}
	seen = __atomic_fetch_or(&vma->lock, VMA_WRITER, __ATOMIC_ACQUIRE) | VMA_WRITER;
	while (seen != VMA_WRITER) {
		(void)port->wait(port->self, &vma->lock, seen, 0);
		seen = LOAD_ACQUIRE(vma->lock);
	}
	STORE(vma->lock_seq, mm->lock_seq);
	STORE_RELEASE(vma->lock, 0);
}

SAMARA_INTERNAL void vma_lock_write(struct samara_mm *mm, vma_t *vma)
{
	if (mm_has_memory(mm) && vma->lock_seq != mm->lock_seq)
		vma_lock_write_slow(mm, vma);
}

/* Every VMA that was write-locked since is free again: by whoever is about to give mmap_lock back. */
SAMARA_INTERNAL void vma_unlock_all(struct samara_mm *mm)
{
	uint32_t seq = mm->lock_seq + 1;

	if (UNLIKELY(!seq)) {
		vma_slabs_forget_seq(mm);
		seq = 1;
	}
	STORE_RELEASE(mm->lock_seq, seq);
}

SAMARA_INTERNAL void vma_unlock_read(struct samara_mm *mm, vma_t *vma)
{
	const struct samara_port *port = mm_port(mm);

	if (!port->wait) {
		vma->lock--;
		return;
	}
	if (UNLIKELY(__atomic_sub_fetch(&vma->lock, 1, __ATOMIC_RELEASE) == VMA_WRITER))
		port->wake(port->self, &vma->lock, 1);
	OTHERS_MAY_COME();
}

SAMARA_INTERNAL bool vma_lock_read(struct samara_mm *mm, vma_t *vma)
{
	uint32_t seen = LOAD(vma->lock);

	if (!mm_port(mm)->wait) {
		vma->lock++;
		return true;
	}
	do {
		if (UNLIKELY(seen & VMA_WRITER))
			return false;
	} while (UNLIKELY(!__atomic_compare_exchange_n(&vma->lock, &seen, seen + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)));
	if (UNLIKELY(LOAD(vma->lock_seq) == LOAD_ACQUIRE(mm->lock_seq))) {
		vma_unlock_read(mm, vma);
		return false;
	}
	return true;
}

/* The VMA that holds addr, counted into; NULL: there is none, or it is changing: the caller takes mmap_lock and
 * looks. */
SAMARA_INTERNAL vma_t *vma_find_locked(struct samara_mm *mm, uint64_t addr)
{
	const struct samara_port *port = mm_port(mm);
	vma_t *vma;

	if (port->read_lock)
		port->read_lock(port->self);
	vma = tree_lookup(&mm->tree, addr);
	OTHERS_MAY_COME();
	if (vma && !vma_lock_read(mm, vma))
		vma = NULL;
	/* the slot may have become another VMA, or none, before we were counted in.  If it is ours, now it stays; if
	 * not, nothing keeps its slab, so we leave it before the read-side section ends */
	if (vma && (LOAD(vma->mm) != mm || addr < LOAD(vma->start) || addr >= LOAD(vma->end))) {
		vma_unlock_read(mm, vma);
		vma = NULL;
	}
	if (port->read_unlock)
		port->read_unlock(port->self);
	return vma;
}
