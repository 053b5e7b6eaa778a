/* judge_call.c - one call of the trace, made on samara.
 *
 * What the kernel alone can know is taken from its answer, and only that: what a driver does with its mapping,
 * where MAP_32BIT's random start lies, whether a limit or a capability was changed.
 */
#include <stdlib.h>
#include <string.h>
#include "judge_state.h"

enum { UFFDIO_REGISTER_NR = 0, UFFDIO_UNREGISTER_NR = 1, UFFDIO_COPY_NR = 3, UFFDIO_ZEROPAGE_NR = 4, UFFDIO_MOVE_NR = 5,
	UFFDIO_POISON_NR = 8 };
enum { MINCORE_MAX_PAGES = 64 << 20 };
#define MAP_32BIT_BASE 0x40000000ull
#define MAP_32BIT_RANDOM 0x1fffull

/* MAP_32BIT starts its search at 0x40000000 plus up to 0x1fff random pages.  The bits are an input (port->random):
 * those that lead to the kernel's answer, if any do; samara must then find exactly that address. */
static uint64_t random_for(int64_t result, bool huge_aligned)
{
	uint64_t pages;

	if (result_is_error(result) || (uint64_t)result < MAP_32BIT_BASE)
		return 0;
	pages = ((uint64_t)result - MAP_32BIT_BASE) >> SAMARA_PAGE_SHIFT;
	/* memory that is aligned for huge pages was found below and moved up; from its own place it would move on by
	 * a whole one */
	if (huge_aligned && pages)
		pages--;
	return pages < MAP_32BIT_RANDOM ? pages : MAP_32BIT_RANDOM;
}

static int64_t do_mmap(struct judge *judge, struct judged *space, const struct event *ev)
{
	const uint64_t *a = ev->arg;
	const bool huge = (a[3] & (SAMARA_MAP_ANONYMOUS | SAMARA_MAP_SHARED)) == SAMARA_MAP_ANONYMOUS && !a[0] &&
		!(a[1] & 0x1fffff);
	struct samara_file *file = NULL;
	int64_t answer;

	if (!(a[3] & SAMARA_MAP_ANONYMOUS)) {
		file = files_open(judge->files, &ev->file, ev->mm, (int)a[4]);
		if (files_is_driver(&ev->file))
			files_driver_answer(judge->files, result_is_error(ev->result) ? (int)ev->result : 0,
				ev->result_flags ? vmflags_parse(ev->result_flags) : 0);
	}
	judge->random = a[3] & SAMARA_MAP_32BIT ? random_for(ev->result, huge) : 0;
	answer = samara_mmap(space->mm, a[0], a[1], a[2], a[3], file, a[5]);
	judge->random = 0;
	return answer;
}

static enum verdict do_mincore(struct judged *space, const struct event *ev, int64_t *answer, const char **kind)
{
	const uint64_t *a = ev->arg;
	uint64_t pages = a[1] / SAMARA_PAGE_SIZE + !!(a[1] & (SAMARA_PAGE_SIZE - 1));
	unsigned char *vec;

	if (ev->result == -SAMARA_EFAULT)
		return NO_EFFECT; /* the vector's own address */
	if (pages > MINCORE_MAX_PAGES) {
		*kind = "mincore of more than 256 GiB";
		return ev->result ? NO_EFFECT : NOT_JUDGED;
	}
	vec = must_alloc((size_t)pages + 1);
	*answer = samara_mincore(space->mm, a[0], a[1], vec);
	free(vec);
	return JUDGED;
}

static enum verdict do_prctl(struct judged *space, const struct event *ev, int64_t *answer, const char **kind)
{
	const uint64_t *a = ev->arg;

	switch ((int)a[0]) {
	case SAMARA_PR_SET_MM:
		if (a[1] > SAMARA_PR_SET_MM_ENV_END) {
			*kind = "prctl(PR_SET_MM) of a file, a vector or a whole map";
			return result_is_error(ev->result) ? NO_EFFECT : NOT_JUDGED;
		}
		/* fallthrough */
	case SAMARA_PR_SET_VMA:
	case SAMARA_PR_SET_THP_DISABLE:
	case SAMARA_PR_SET_MDWE:
		*answer = samara_prctl(space->mm, (int)a[0], a[1], a[2], a[3], a[4], ev->name);
		return JUDGED;
	default:
		return NO_EFFECT;
	}
}

static enum verdict do_shmat(struct judge *judge, struct judged *space, const struct event *ev, int64_t *answer,
	const char **kind)
{
	struct samara_inode *segment;
	char path[40];

	if (!ev->segment.have) {
		*kind = "shmat of a segment that could not be looked at";
		return result_is_error(ev->result) ? NO_EFFECT : NOT_JUDGED;
	}
	if (ev->result == -SAMARA_EACCES || ev->result == -SAMARA_EIDRM)
		return NO_EFFECT; /* who may use a segment is not the map's affair */
	segment = files_segment(judge->files, (uint32_t)ev->arg[0], &ev->segment);
	if (!segment) {
		*kind = "out of memory";
		return NOT_JUDGED;
	}
	snprintf(path, sizeof(path), "/SYSV%08x (deleted)", ev->segment.key);
	*answer = samara_shmat(space->mm, segment, intern(path, strlen(path)), ev->arg[1], (int)ev->arg[2]);
	return JUDGED;
}

static void touch_range(struct judged *space, uint64_t start, uint64_t length)
{
	struct samara_read_guard g;
	uint64_t at = start, end = start + length < start ? UINT64_MAX : start + length;

	for (;;) {
		const struct samara_vma *vma;
		uint64_t vma_start = 0, vma_end = 0;

		samara_read_lock(space->mm, &g);
		vma = samara_find_vma(&g, at);
		if (vma) {
			vma_start = samara_vma_start(vma);
			vma_end = samara_vma_end(vma);
		}
		samara_read_unlock(&g);
		if (!vma || vma_start >= end)
			return;
		samara_touch(space->mm, vma_start > at ? vma_start : at, 1);
		at = vma_end;
	}
}

static enum verdict do_uffd(struct judged *space, const struct event *ev, int64_t *answer)
{
	void *context = (void *)(uintptr_t)(ev->uffd_id + 1);

	if (ev->file.have && !strstr(ev->file.path, "userfaultfd"))
		return NO_EFFECT;
	switch (ev->arg[1] & 0xff) {
	case UFFDIO_REGISTER_NR:
		if (ev->result == -SAMARA_EFAULT)
			return NO_EFFECT;
		*answer = samara_uffd_register(space->mm, context, ev->uffd[0], ev->uffd[1], ev->uffd[2]);
		space->uffd = true;
		return JUDGED;
	case UFFDIO_UNREGISTER_NR:
		if (ev->result == -SAMARA_EFAULT)
			return NO_EFFECT;
		*answer = samara_uffd_unregister(space->mm, context, ev->uffd[0], ev->uffd[1]);
		return JUDGED;
	case UFFDIO_COPY_NR:
	case UFFDIO_MOVE_NR:
		if (!result_is_error(ev->result))
			touch_range(space, ev->uffd[0], ev->uffd[2]);
		return NO_EFFECT;
	case UFFDIO_ZEROPAGE_NR:
	case UFFDIO_POISON_NR:
		if (!result_is_error(ev->result))
			touch_range(space, ev->uffd[0], ev->uffd[1]);
		return NO_EFFECT;
	default:
		return NO_EFFECT;
	}
}

static enum verdict do_process_madvise(
	struct judge *judge, struct judged *space, const struct event *ev, int64_t *answer, const char **kind)
{
	struct judged *target = ev->target_mm ? judged_find(judge, ev->target_mm) : space;

	if (!target || !target->mm) {
		*kind = "process_madvise on a process that is not followed";
		return NOT_JUDGED;
	}
	if (!ev->iov && ev->arg[2])
		return NO_EFFECT; /* bad vector, bad descriptor */
	if (ev->result == -SAMARA_EBADF || ev->result == -SAMARA_EFAULT)
		return NO_EFFECT;
	*answer = samara_process_madvise(target->mm, ev->iov, ev->iov_n, (int)ev->arg[3], ev->arg[4], target == space);
	return JUDGED;
}

static enum verdict do_seals(struct judge *judge, const struct event *ev, int64_t *answer)
{
	struct samara_file *file;

	if ((uint32_t)ev->arg[1] != 1033 || !ev->file.have)
		return NO_EFFECT;
	file = files_open(judge->files, &ev->file, ev->mm, (int)ev->arg[0]);
	if (!file || !(ev->file.open_flags & 3))
		return NO_EFFECT; /* EPERM: not open for writing */
	*answer = samara_inode_add_seals(samara_file_inode(file), (uint32_t)ev->arg[2]);
	return JUDGED;
}

static void do_rlimit(struct judge *judge, struct judged *space, const struct event *ev)
{
	int which = (int)ev->arg[ev->call == CALL_prlimit64];
	struct judged *target = ev->target_mm ? judged_find(judge, ev->target_mm) : space;

	if (ev->result || !ev->have_rlimit || !target || !target->mm)
		return;
	if (which == SAMARA_RLIMIT_DATA || which == SAMARA_RLIMIT_STACK || which == SAMARA_RLIMIT_MEMLOCK ||
	    which == SAMARA_RLIMIT_AS)
		samara_set_rlimit(target->mm, which, (struct samara_rlimit){ ev->rlimit[0], ev->rlimit[1] });
}

enum verdict judge_perform(struct judge *judge, struct judged *space, const struct event *ev, int64_t *answer,
	const char **kind)
{
	struct samara_mm *mm = space->mm;
	const uint64_t *a = ev->arg;

	switch (ev->call) {
	case CALL_mmap:
		*answer = do_mmap(judge, space, ev);
		return JUDGED;
	case CALL_munmap:
		*answer = samara_munmap(mm, a[0], a[1]);
		return JUDGED;
	case CALL_mprotect:
		*answer = samara_mprotect(mm, a[0], a[1], a[2]);
		return JUDGED;
	case CALL_pkey_mprotect:
		*answer = samara_pkey_mprotect(mm, a[0], a[1], a[2], (int)a[3]);
		return JUDGED;
	case CALL_pkey_alloc:
		*answer = samara_pkey_alloc(mm, a[0], a[1]);
		return JUDGED;
	case CALL_pkey_free:
		*answer = samara_pkey_free(mm, (int)a[0]);
		return JUDGED;
	case CALL_mremap:
		*answer = samara_mremap(mm, a[0], a[1], a[2], a[3], a[4]);
		return JUDGED;
	case CALL_brk:
		*answer = (int64_t)samara_brk(mm, a[0]);
		return JUDGED;
	case CALL_madvise:
		*answer = samara_madvise(mm, a[0], a[1], (int)a[2]);
		return JUDGED;
	case CALL_process_madvise:
		return do_process_madvise(judge, space, ev, answer, kind);
	case CALL_mlock:
		*answer = samara_mlock(mm, a[0], a[1]);
		return JUDGED;
	case CALL_mlock2:
		*answer = samara_mlock2(mm, a[0], a[1], a[2]);
		return JUDGED;
	case CALL_munlock:
		*answer = samara_munlock(mm, a[0], a[1]);
		return JUDGED;
	case CALL_mlockall:
		*answer = samara_mlockall(mm, a[0]);
		return JUDGED;
	case CALL_munlockall:
		*answer = samara_munlockall(mm);
		return JUDGED;
	case CALL_msync:
		*answer = samara_msync(mm, a[0], a[1], a[2]);
		return JUDGED;
	case CALL_mincore:
		return do_mincore(space, ev, answer, kind);
	case CALL_mseal:
		*answer = samara_mseal(mm, a[0], a[1], a[2]);
		return JUDGED;
	case CALL_remap_file_pages:
		*answer = samara_remap_file_pages(mm, a[0], a[1], a[2], a[3], a[4]);
		return JUDGED;
	case CALL_prctl:
		return do_prctl(space, ev, answer, kind);
	case CALL_mbind:
		if (a[3] && !ev->nodes && ev->result == -SAMARA_EFAULT)
			return NO_EFFECT;
		/* maxnode counts bits; the words that were read may be fewer than it claims */
		*answer = samara_mbind(mm, a[0], a[1], a[2], ev->nodes, ev->nodes_n * 64 + 1 < a[4] ? ev->nodes_n * 64 + 1 : a[4],
			a[5]);
		return JUDGED;
	case CALL_set_mempolicy_home_node:
		*kind = "set_mempolicy_home_node";
		return result_is_error(ev->result) ? NO_EFFECT : NOT_JUDGED;
	case CALL_shmat:
		return do_shmat(judge, space, ev, answer, kind);
	case CALL_shmdt:
		*answer = samara_shmdt(mm, a[0]);
		return JUDGED;
	case CALL_fcntl:
		return do_seals(judge, ev, answer);
	case CALL_ioctl:
		return do_uffd(space, ev, answer);
	case CALL_setrlimit:
	case CALL_prlimit64:
		do_rlimit(judge, space, ev);
		return NO_EFFECT;
	case CALL_personality:
		if (!result_is_error(ev->result) && (uint32_t)a[0] != UINT32_MAX)
			samara_set_personality(mm, (uint32_t)a[0]);
		return NO_EFFECT;
	case CALL_setuid:
	case CALL_setreuid:
	case CALL_setresuid:
	case CALL_setfsuid:
	case CALL_capset:
		if (ev->have_credentials)
			samara_set_credentials(mm, ev->capabilities, ev->euid);
		return NO_EFFECT;
	default:
		return NO_EFFECT; /* shmget, shmctl, set_mempolicy: nothing in the map depends on them */
	}
}

/* Page faults in time order.  A write to a private writable mapping is its first touch, if it has none; a fault in
 * the hole below a stack makes it grow (or not: samara decides, the next comparison shows).  What was told by
 * PAGEMAP_SCAN is a touch whatever the mapping's rights are now. */
void judge_touch(struct judge *judge, struct judged *space, const struct event *ev)
{
	bool told = ev->kind == EV_AF;

	for (size_t i = 0; i < ev->fault_n; i++) {
		const struct ev_fault *fault = &ev->fault[i];
		struct samara_read_guard g;
		const struct samara_vma *vma;
		bool inside = false, grows = false, fresh = false;

		samara_read_lock(space->mm, &g);
		vma = samara_find_vma(&g, fault->addr);
		if (vma) {
			uint64_t flags = samara_vma_flags(vma);

			inside = samara_vma_start(vma) <= fault->addr;
			grows = !inside && flags & SAMARA_VM_GROWSDOWN;
			fresh = !samara_vma_faulted(vma) && !(flags & SAMARA_VM_SHARED) &&
				(told || flags & SAMARA_VM_WRITE || judge->no_zero_page);
		}
		samara_read_unlock(&g);
		if (grows && !samara_expand_stack(space->mm, fault->addr))
			inside = true;
		if (!inside || !fresh || !(fault->write || told || judge->no_zero_page))
			continue;
		samara_touch(space->mm, fault->addr, fault->write || told);
		if (space->racing && !told)
			space->doubt = "merging after another thread's first touch during a call";
		if (told && space->calls)
			space->doubt = "merging after a page that came without a fault";
	}
}
