/* fuzz_traps.c - where in a process filling a page may fail: guard regions and userfaultfd ranges.
 *
 * A short list of ranges for each process, kept on the safe side: a range stays until it is unmapped or replaced,
 * moves along with mremap, is copied by fork.  When the list is full the whole process counts as trapped.
 */
#include <string.h>
#include "fuzz.h"

bool fuzz_trapped(const struct fuzz_process *p, uint64_t start, uint64_t bytes)
{
	uint64_t end;
	if (p->traps > FUZZ_MAX_TRAPS)
		return true;
	if (__builtin_add_overflow(start, bytes, &end))
		end = ~0ull;
	for (int i = 0; i < p->traps; i++)
		if (p->trap[i].start < end && start < p->trap[i].end)
			return true;
	return false;
}

static void add(struct fuzz_process *p, uint64_t start, uint64_t bytes)
{
	uint64_t end;
	if (__builtin_add_overflow(start, bytes, &end) || end > ~0ull - 4095)
		end = ~0ull;
	else
		end = (end + 4095) & ~4095ull;
	for (int i = 0; i < p->traps && i < FUZZ_MAX_TRAPS; i++)
		if (p->trap[i].start <= start && end <= p->trap[i].end)
			return;
	if (p->traps < FUZZ_MAX_TRAPS) {
		p->trap[p->traps].start = start & ~4095ull;
		p->trap[p->traps].end = end;
	}
	p->traps += p->traps <= FUZZ_MAX_TRAPS;
}

static void subtract(struct fuzz_process *p, uint64_t start, uint64_t bytes)
{
	uint64_t end = start + ((bytes + 4095) & ~4095ull);
	if (p->traps > FUZZ_MAX_TRAPS || end < start)
		return;
	for (int i = 0; i < p->traps;) {
		uint64_t from = p->trap[i].start, to = p->trap[i].end;
		if (to <= start || end <= from) {
			i++;
		} else if (start <= from && to <= end) {
			p->trap[i] = p->trap[--p->traps];
		} else if (start <= from) {
			p->trap[i++].start = end;
		} else {
			p->trap[i++].end = start;
			if (end < to)
				add(p, end, to - end);
		}
		if (p->traps > FUZZ_MAX_TRAPS)
			return;
	}
}

/* After the kernel's answer. */
void fuzz_traps_follow(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_process *p = &s->proc[op->proc];
	const uint64_t *a = op->a;
	bool moved, failed = s->kernel_result < 0 && s->kernel_result > -4096;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		if (!failed)
			subtract(p, (uint64_t)s->kernel_result, a[1]);
		break;
	case FUZZ_MUNMAP:
		if (!failed)
			subtract(p, a[0], a[1]);
		break;
	case FUZZ_MREMAP: /* a batch may fail half way, and leaves the target as it was where the source has holes */
		moved = fuzz_trapped(p, a[0], a[1]) || (s->watched && a[2] > a[1]);
		if (moved)
			add(p, failed ? a[4] : (uint64_t)s->kernel_result, a[1] > a[2] ? a[1] : a[2]);
		break;
	case FUZZ_MADVISE:
		if (a[2] == SAMARA_MADV_GUARD_INSTALL)
			add(p, a[0], a[1]);
		else if (a[2] == SAMARA_MADV_GUARD_REMOVE && !failed && !s->watched)
			subtract(p, a[0], a[1]);
		break;
	case FUZZ_PROCESS_MADVISE:
		if (a[4] == SAMARA_MADV_GUARD_INSTALL) {
			add(p, a[0], a[1]);
			add(p, a[2], a[3]);
		}
		break;
	case FUZZ_UFFD_REGISTER:
		if (!failed)
			add(p, a[1], a[2]);
		s->watched = true;
		break;
	case FUZZ_WRITE:
	case FUZZ_READ: /* may have grown a stack, which keeps its userfaultfd */
		for (int i = 0; s->watched && i < p->vmas; i++) {
			if (a[0] < p->vma[i].start && (i == 0 || a[0] >= p->vma[i - 1].end))
				add(p, a[0], p->vma[i].start - a[0]);
		}
		break;
	case FUZZ_FORK:
		if (!failed) {
			memcpy(s->proc[op->extra].trap, p->trap, sizeof(p->trap));
			s->proc[op->extra].traps = p->traps;
		}
		break;
	default:
		break;
	}
}
