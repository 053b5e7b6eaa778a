/* fuzz_session.c - one program in lock step: the kernel does an operation, samara does it, the two are compared.
 *
 * The order within a step: may it run (fuzz_judge.c), the worker does it, samara does it and checks its whole
 * structure, results are compared, then the maps of the operation's process (of every process at the end and now
 * and then).  A session ends at the first difference.  After a crash of the core samara's side is abandoned, never
 * torn down.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fuzz_memory.h"

#define FUZZ_PIDFD_SELF ((uint64_t)-10000)
enum { FUZZ_SESSION_SECONDS = 120, FUZZ_MEMORY_SECONDS = 20, FUZZ_ALL_MAPS_EVERY = 64 };

/* ---- crashes of the core ---- */

static struct fuzz_session *running;

static void on_crash(int signo)
{
	if (!running || !running->inside) {
		signal(signo, SIG_DFL);
		raise(signo);
		return;
	}
	snprintf(running->panic, sizeof(running->panic), signo == SIGALRM ? "does not return" : "signal %d", signo);
	siglongjmp(running->escape, 1);
}

static void on_alarm(int signo)
{
	if (running && running->inside)
		on_crash(signo);
	alarm(10);
}

void fuzz_catch_crashes(void)
{
	static char stack[1 << 16];
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP };
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	sigaltstack(&alt, NULL);
	struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER };
	for (size_t i = 0; i < FUZZ_ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	action.sa_handler = on_alarm;
	sigaction(SIGALRM, &action, NULL);
}

/* Calls of the core happen between `enter` (0; or 1 after a crash) and `leave`. */
#define ENTER(s) ((s)->inside = 1, sigsetjmp((s)->escape, 1))
#define LEAVE(s) ((s)->inside = 0)

static enum fuzz_verdict crashed(struct fuzz_session *s, const char *name, size_t index)
{
	LEAVE(s);
	memset(&s->guest, 0, sizeof(s->guest));
	for (int i = 0; i < FUZZ_MAX_PROCS; i++)
		s->proc[i].mm = NULL;
	s->difference.index = index;
	snprintf(s->difference.what, sizeof(s->difference.what), "%s: samara %.100s", name, s->panic);
	snprintf(s->difference.detail, sizeof(s->difference.detail), "samara: %s", s->panic);
	return FUZZ_DIFFERENT;
}

/* ---- begin ---- */

static uint64_t dropped_caps(unsigned variant, uint64_t have)
{
	if (variant & FUZZ_WITHOUT_CAPS)
		return have;
	if (variant & FUZZ_WITHOUT_IPC_LOCK)
		return have & (1ull << SAMARA_CAP_IPC_LOCK);
	return 0;
}

static int open_uffds(struct fuzz_session *s)
{
	struct fuzz_worker *w = &s->proc[0].worker;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };
	for (int i = 0; i < 2; i++) {
		int64_t fd, result;
		if (fuzz_worker_syscall(w, SYS_userfaultfd, (uint64_t[6]){ O_CLOEXEC | UFFD_USER_MODE_ONLY }, &fd) < 0)
			return -1;
		s->uffd[i] = (int)fd;
		if (fd < 0)
			continue;
		memcpy(w->box->data, &api, sizeof(api));
		uint64_t a[6] = { (uint64_t)fd, UFFDIO_API, (uint64_t)w->box->data };
		if (fuzz_worker_syscall(w, SYS_ioctl, a, &result) < 0)
			return -1;
		if (result < 0)
			s->uffd[i] = -1;
	}
	return 0;
}

static int learn_mmap_base(struct fuzz_session *s)
{
	struct fuzz_worker *w = &s->proc[0].worker;
	int64_t top, result;
	uint64_t a[6] = { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 };
	if (fuzz_worker_syscall(w, SYS_mmap, a, &top) < 0 || top < 0)
		return -1;
	s->mmap_base = (uint64_t)top + 4096;
	return fuzz_worker_syscall(w, SYS_munmap, (uint64_t[6]){ (uint64_t)top, 4096 }, &result);
}

static bool read_maps(struct fuzz_process *p)
{
	ssize_t got = fuzz_read_text(p->worker.maps_fd, p->text, FUZZ_TEXT_BYTES);
	if (got < 0)
		return false;
	p->bytes = (size_t)got;
	p->vmas = fuzz_parse_maps(p->text, p->vma, FUZZ_MAX_VMAS);
	return true;
}

int fuzz_session_begin(struct fuzz_session *s, unsigned variant)
{
	static char smaps[FUZZ_TEXT_BYTES];
	volatile uint64_t drop = dropped_caps(variant, s->host->capabilities);
	running = s;
	s->inos = 0;
	s->watched = s->forked = s->outside = false;
	s->panic[0] = 0;
	s->difference = (struct fuzz_difference){ .index = 0 };
	memset(&s->guest, 0, sizeof(s->guest));
	for (int i = 0; i < FUZZ_MAX_PROCS; i++) {
		struct fuzz_process *p = &s->proc[i];
		if (!p->text)
			p->text = malloc(FUZZ_TEXT_BYTES);
		*p = (struct fuzz_process){ .text = p->text, .worker = { .maps_fd = -1 } };
	}
	if (!s->samara_text)
		s->samara_text = malloc(FUZZ_TEXT_BYTES);
	if (!s->samara_text || !s->proc[FUZZ_MAX_PROCS - 1].text || fuzz_files_refresh(s->files) < 0)
		return -1;
	if (fuzz_worker_start(s->island, &s->proc[0].worker, drop, s->host->start_brk) < 0)
		return -1;
	if ((s->memory ? fuzz_memory_begin(s, variant) : open_uffds(s)) < 0 || learn_mmap_base(s) < 0)
		return -1;
	if (fuzz_read_proc(&s->proc[0].worker, "smaps", smaps, sizeof(smaps)) <= 0 || !read_maps(&s->proc[0]))
		return -1;
	s->proc[0].alive = true;
	s->proc[0].brk = s->host->start_brk;
	s->proc[0].peak_kb = s->memory ? fuzz_peak_kb(&s->proc[0].worker) : 0;
	alarm(s->memory ? FUZZ_MEMORY_SECONDS : FUZZ_SESSION_SECONDS);
	if (ENTER(s)) {
		crashed(s, "import", 0);
		return 1;
	}
	int err = fuzz_guest_create(s, smaps, s->mmap_base, s->host->capabilities & ~drop);
	LEAVE(s);
	return err < 0 ? -1 : 0;
}

/* ---- one operation in the kernel ---- */

static const long numbers[FUZZ_KINDS] = {
	[FUZZ_MMAP] = SYS_mmap, [FUZZ_MUNMAP] = SYS_munmap, [FUZZ_MPROTECT] = SYS_mprotect,
	[FUZZ_PKEY_MPROTECT] = SYS_pkey_mprotect, [FUZZ_PKEY_ALLOC] = SYS_pkey_alloc, [FUZZ_PKEY_FREE] = SYS_pkey_free,
	[FUZZ_MREMAP] = SYS_mremap, [FUZZ_BRK] = SYS_brk, [FUZZ_MADVISE] = SYS_madvise,
	[FUZZ_PROCESS_MADVISE] = 440, [FUZZ_MLOCK] = SYS_mlock, [FUZZ_MLOCK2] = SYS_mlock2, [FUZZ_MUNLOCK] = SYS_munlock,
	[FUZZ_MLOCKALL] = SYS_mlockall, [FUZZ_MUNLOCKALL] = SYS_munlockall, [FUZZ_MSYNC] = SYS_msync,
	[FUZZ_MINCORE] = SYS_mincore, [FUZZ_MSEAL] = 462, [FUZZ_REMAP_FILE_PAGES] = SYS_remap_file_pages,
	[FUZZ_PRCTL] = SYS_prctl, [FUZZ_MBIND] = SYS_mbind, [FUZZ_SHMAT] = SYS_shmat, [FUZZ_SHMDT] = SYS_shmdt,
	[FUZZ_SETRLIMIT] = SYS_prlimit64, [FUZZ_PERSONALITY] = SYS_personality, [FUZZ_UFFD_REGISTER] = SYS_ioctl,
	[FUZZ_UFFD_UNREGISTER] = SYS_ioctl, [FUZZ_UFFD_CLOSE] = SYS_close, [FUZZ_ADD_SEALS] = SYS_fcntl,
};

/* The system call's arguments; what pointers point to goes into the mailbox. */
static void kernel_arguments(struct fuzz_session *s, const struct fuzz_op *op, uint64_t a[6])
{
	struct fuzz_worker *w = &s->proc[op->proc].worker;
	unsigned char *data = w->box->data;
	memcpy(a, op->a, sizeof(op->a));
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		a[4] = a[4] < (uint64_t)s->files->count ? (uint64_t)s->files->file[a[4]].fd : (uint64_t)-1;
		break;
	case FUZZ_PROCESS_MADVISE:
		memcpy(data, op->a, 4 * sizeof(uint64_t));
		memcpy(a, (uint64_t[6]){ FUZZ_PIDFD_SELF, (uint64_t)data, op->extra, op->a[4], op->a[5] }, 6 * sizeof(*a));
		break;
	case FUZZ_MINCORE:
		a[2] = (uint64_t)s->island->vector;
		break;
	case FUZZ_PRCTL:
		if (op->a[0] == SAMARA_PR_SET_VMA) {
			const char *name = fuzz_anon_names[op->extra & 3];
			if (name)
				memcpy(data, name, strlen(name) + 1);
			a[4] = name ? (uint64_t)data : 0;
		}
		break;
	case FUZZ_MBIND:
		memcpy(data, &op->a[3], sizeof(uint64_t));
		memset(data + 8, 0, 4096 - 8);
		a[3] = (uint64_t)data;
		break;
	case FUZZ_SHMAT:
		a[0] = (uint64_t)s->files->segment[a[0] % FUZZ_SEGMENTS].id;
		break;
	case FUZZ_SETRLIMIT: {
		struct rlimit limit = { 0, 0 };
		getrlimit((__rlimit_resource_t)op->a[0], &limit);
		memcpy(data, (uint64_t[2]){ op->a[1], limit.rlim_max }, 16);
		memcpy(a, (uint64_t[6]){ 0, op->a[0], (uint64_t)data, 0 }, 6 * sizeof(*a));
		break;
	}
	case FUZZ_UFFD_REGISTER:
	case FUZZ_UFFD_UNREGISTER:
		memcpy(data, (uint64_t[4]){ op->a[1], op->a[2], op->a[3], 0 }, 32);
		a[1] = op->kind == FUZZ_UFFD_REGISTER ? UFFDIO_REGISTER : UFFDIO_UNREGISTER;
		a[2] = (uint64_t)data;
		a[0] = (uint64_t)s->uffd[op->a[0] & 1];
		break;
	case FUZZ_UFFD_CLOSE:
		a[0] = (uint64_t)s->uffd[op->a[0] & 1];
		break;
	case FUZZ_ADD_SEALS:
		a[0] = (uint64_t)s->files->file[op->a[0]].fd;
		a[1] = F_ADD_SEALS;
		a[2] = op->a[1];
		break;
	default:
		break;
	}
}

static int64_t touch_result(const struct fuzz_mailbox *box)
{
	if (!box->signo)
		return 0;
	if (box->signo == SIGBUS)
		return -SAMARA_EIO;
	/* 128: not even an address (not canonical) */
	return box->code == 1 || box->code == 128 ? -SAMARA_EFAULT : box->code == 4 ? -SAMARA_EPERM : -SAMARA_EACCES;
}

/* The child closes its copies of the userfaultfds, so that a close by their owner is the last one. */
static int kernel_fork(struct fuzz_island *island, struct fuzz_worker *parent, unsigned slot, struct fuzz_worker *child,
	int64_t *result, const int uffd[2])
{
	int64_t ignored;
	if (fuzz_worker_fork(island, parent, slot, child, result) < 0)
		return -1;
	for (int i = 0; *result > 0 && i < 2; i++)
		if (uffd[i] >= 0 && fuzz_worker_syscall(child, SYS_close, (uint64_t[6]){ (uint64_t)uffd[i] }, &ignored) < 0)
			return -1;
	return 0;
}

static int kernel_call(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_process *p = &s->proc[op->proc];
	uint64_t a[6];
	if (s->memory)
		s->memory->data_bytes = 0;
	if (fuzz_is_access(op->kind))
		return fuzz_access_kernel(s, op);
	if (fuzz_is_remote(op->kind)) {
		fuzz_remote_kernel(s, op);
		return 0;
	}
	if (fuzz_is_file_call(op->kind)) {
		s->kernel_result = fuzz_file_kernel(s, op);
		return 0;
	}
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_WRITE:
	case FUZZ_READ:
		if (fuzz_worker_ask(&p->worker, op->kind == FUZZ_WRITE ? FUZZ_DO_WRITE : FUZZ_DO_READ, 0, op->a) < 0)
			return -1;
		s->kernel_result = touch_result(p->worker.box);
		return 0;
	case FUZZ_WRPKRU:
		s->kernel_result = 0;
		return fuzz_worker_wrpkru(&p->worker, (uint32_t)op->a[0]);
	case FUZZ_FORK:
		return kernel_fork(s->island, &p->worker, op->extra, &s->proc[op->extra].worker, &s->kernel_result,
			s->uffd);
	case FUZZ_EXIT:
		fuzz_worker_kill(&p->worker);
		s->kernel_result = 0;
		return 0;
	default:
		kernel_arguments(s, op, a);
		if (fuzz_worker_syscall(&p->worker, (uint64_t)numbers[op->kind], a, &s->kernel_result) < 0)
			return -1;
		if (op->kind == FUZZ_PERSONALITY && s->kernel_result >= 0)
			s->kernel_result = 0; /* the old one */
		return 0;
	}
}

/* What later decisions of fuzz_allowed() need to know, from the kernel's answer. */
static void remember(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_process *p = &s->proc[op->proc];
	fuzz_traps_follow(s, op);
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		p->locked |= (op->a[3] & SAMARA_MAP_LOCKED) != 0;
		break;
	case FUZZ_MLOCK:
	case FUZZ_MLOCK2:
		p->locked = true;
		break;
	case FUZZ_MLOCKALL:
		if (s->kernel_result == 0) {
			p->locked = true;
			p->lock_future = (op->a[0] & SAMARA_MCL_FUTURE) != 0;
		}
		break;
	case FUZZ_MUNLOCKALL:
		p->lock_future = false;
		break;
	case FUZZ_SETRLIMIT:
		p->limited = true;
		break;
	case FUZZ_BRK:
		p->brk = (uint64_t)s->kernel_result;
		break;
	case FUZZ_UFFD_CLOSE:
		s->uffd[op->a[0] & 1] = -1;
		break;
	case FUZZ_FORK:
		if (s->kernel_result > 0) {
			s->proc[op->extra].alive = s->forked = true;
			s->proc[op->extra].brk = p->brk;
			s->proc[op->extra].limited = p->limited;
		}
		break;
	case FUZZ_EXIT:
		p->alive = false;
		if (op->proc == 0)
			s->uffd[0] = s->uffd[1] = -1; /* they act on the space that is gone */
		break;
	default:
		break;
	}
}

/* ---- comparing ---- */

static int take_text(void *self, const char *text, size_t bytes)
{
	struct fuzz_session *s = self;
	if (s->samara_bytes + bytes >= FUZZ_TEXT_BYTES)
		return 1;
	memcpy(s->samara_text + s->samara_bytes, text, bytes);
	s->samara_bytes += bytes;
	return 0;
}

/* Fills the class of a difference: short, and the same for the same cause where that can be told. */
static void name_call(const struct fuzz_op *op, char *text, size_t room)
{
	int advice = op->kind == FUZZ_MADVISE ? (int)op->a[2] : -1;
	if (op->kind == FUZZ_PRCTL)
		advice = (int)op->a[0];
	if (advice >= 0)
		snprintf(text, room, "%s(%d)", fuzz_kind_name(op->kind), advice);
	else
		snprintf(text, room, "%s", fuzz_kind_name(op->kind));
}

static void name_result(const struct fuzz_op *op, int64_t result, char *text, size_t room)
{
	if (result >= 0)
		snprintf(text, room, "%s", result ? "a value" : "0");
	else
		fuzz_result_text(op, result, text, room);
}

static bool compare_maps(struct fuzz_session *s, int i, const struct fuzz_op *op, size_t index)
{
	struct fuzz_difference *d = &s->difference;
	char name[48];
	s->samara_bytes = 0;
	samara_view_maps(s->proc[i].mm, take_text, s);
	if (s->stats)
		s->stats->maps++;
	if (fuzz_maps_agree(s, &s->proc[i], d->detail, sizeof(d->detail)))
		return true;
	d->index = index;
	d->kernel = s->kernel_result;
	d->samara = s->samara_result;
	name_call(op, name, sizeof(name));
	snprintf(d->what, sizeof(d->what), "%s: maps%s", name, i == op->proc ? "" : " of another process");
	return false;
}

static enum fuzz_verdict result_difference(struct fuzz_session *s, const struct fuzz_op *op, size_t index)
{
	struct fuzz_difference *d = &s->difference;
	char name[40], kernel[24], samara[24];
	name_call(op, name, sizeof(name));
	name_result(op, s->kernel_result, kernel, sizeof(kernel));
	name_result(op, s->samara_result, samara, sizeof(samara));
	d->index = index;
	d->kernel = s->kernel_result;
	d->samara = s->samara_result;
	snprintf(d->what, sizeof(d->what), "%s: result %s, samara %s", name, kernel, samara);
	fuzz_result_text(op, s->kernel_result, kernel, sizeof(kernel));
	fuzz_result_text(op, s->samara_result, samara, sizeof(samara));
	snprintf(d->detail, sizeof(d->detail), "kernel: %s\nsamara: %s", kernel, samara);
	return FUZZ_DIFFERENT;
}

/* --memory: what an access gave beyond its result. */
static bool access_agrees(struct fuzz_session *s, const struct fuzz_op *op, size_t index)
{
	struct fuzz_difference *d = &s->difference;
	const char *what = fuzz_access_difference(s, op, d->detail, sizeof(d->detail), &d->addr);
	if (!what)
		return true;
	d->index = index;
	d->proc = op->proc;
	d->kernel = s->kernel_result;
	d->samara = s->samara_result;
	snprintf(d->what, sizeof(d->what), "%s: %s", fuzz_kind_name(op->kind), what);
	return false;
}

/* The register of rights of protection keys: what requests do to it. */
static bool keys_agree(struct fuzz_session *s, const struct fuzz_op *op, size_t index)
{
	const struct fuzz_process *p = &s->proc[op->proc];
	struct fuzz_difference *d = &s->difference;

	if (!p->alive || !p->mm || !p->worker.box->keys || p->worker.box->pkru == samara_pkru(p->mm))
		return true;
	d->index = index;
	d->kernel = s->kernel_result;
	d->samara = s->samara_result;
	snprintf(d->what, sizeof(d->what), "%s: PKRU", fuzz_kind_name(op->kind));
	snprintf(d->detail, sizeof(d->detail), "kernel: PKRU %#x\nsamara: %#x", p->worker.box->pkru, samara_pkru(p->mm));
	return false;
}

static bool memory_agrees(struct fuzz_session *s, const struct fuzz_op *op, size_t index, bool end)
{
	struct fuzz_difference *d = &s->difference;
	char name[40], what[64];
	if (fuzz_memory_look(s, index, end, what))
		return true;
	name_call(op, name, sizeof(name));
	d->index = index;
	d->kernel = s->kernel_result;
	d->samara = s->samara_result;
	snprintf(d->what, sizeof(d->what), "%s: %s", end ? "end" : name, what);
	return false;
}

static enum fuzz_verdict broken(struct fuzz_session *s, const struct fuzz_op *op, size_t index)
{
	s->difference.index = index;
	snprintf(s->difference.what, sizeof(s->difference.what), "%s: the worker died", fuzz_kind_name(op->kind));
	s->difference.detail[0] = 0;
	return FUZZ_BROKEN;
}

enum fuzz_verdict fuzz_session_step(struct fuzz_session *s, const struct fuzz_op *op, size_t index)
{
	const char *unjudged;
	if (op->proc >= FUZZ_MAX_PROCS || op->kind >= FUZZ_KINDS || !fuzz_allowed(s, op)) {
		if (s->stats)
			s->stats->skipped++;
		s->done[index] = false;
		return FUZZ_SKIPPED;
	}
	if (kernel_call(s, op) < 0)
		return broken(s, op, index);
	remember(s, op);
	s->done[index] = true;
	s->results[index] = s->kernel_result;
	if (s->stats)
		fuzz_stats_op(s->stats, op, op->kind == FUZZ_FORK && s->kernel_result > 0 ? 0 : s->kernel_result);
	for (int i = 0; i < FUZZ_MAX_PROCS; i++) {
		bool due = i == op->proc || (op->kind == FUZZ_FORK && i == op->extra) || index % FUZZ_ALL_MAPS_EVERY == 0;
		if (due && s->proc[i].alive && !read_maps(&s->proc[i]))
			return broken(s, op, index);
	}
	if (ENTER(s))
		return crashed(s, fuzz_kind_name(op->kind), index);
	/* A child that samara could not make on a machine of few frames lives on at the kernel alone. */
	bool alone = s->memory && s->memory->starved && !s->proc[op->proc].mm;
	s->samara_result = alone ? 0 : fuzz_guest_call(s, op);
	if (s->memory && fuzz_memory_starved(s, op)) {
		for (int i = 0; i < FUZZ_MAX_PROCS; i++)
			if (s->proc[i].mm)
				samara_check(s->proc[i].mm);
		memory_agrees(s, op, index, false);
		LEAVE(s);
		return FUZZ_SAME;
	}
	if (s->memory && !access_agrees(s, op, index)) {
		LEAVE(s);
		return FUZZ_DIFFERENT;
	}
	if (!fuzz_results_agree(s, op, &unjudged)) {
		LEAVE(s);
		return result_difference(s, op, index);
	}
	if (unjudged && s->stats)
		fuzz_stats_unjudged(s->stats, unjudged);
	if (!keys_agree(s, op, index)) {
		LEAVE(s);
		return FUZZ_DIFFERENT;
	}
	for (int i = 0; i < FUZZ_MAX_PROCS; i++) {
		bool due = i == op->proc || (op->kind == FUZZ_FORK && i == op->extra) || index % FUZZ_ALL_MAPS_EVERY == 0;
		if (!due || !s->proc[i].alive || !s->proc[i].mm)
			continue;
		samara_check(s->proc[i].mm);
		if (!compare_maps(s, i, op, index)) {
			LEAVE(s);
			return FUZZ_DIFFERENT;
		}
	}
	bool same = !s->memory || memory_agrees(s, op, index, false);
	LEAVE(s);
	return same ? FUZZ_SAME : FUZZ_DIFFERENT;
}

/* ---- end ---- */

static enum fuzz_verdict end_samara(struct fuzz_session *s, size_t index, bool compare)
{
	struct fuzz_op end = { .kind = FUZZ_EXIT };
	s->kernel_result = s->samara_result = 0;
	if (ENTER(s))
		return crashed(s, "end", index);
	bool starved = s->memory && s->memory->starved;
	for (int i = 0; compare && !starved && i < FUZZ_MAX_PROCS; i++) {
		if (!s->proc[i].alive || !read_maps(&s->proc[i]))
			continue;
		end.proc = (uint8_t)i;
		if (!compare_maps(s, i, &end, index)) {
			LEAVE(s);
			return FUZZ_DIFFERENT;
		}
	}
	if (compare && s->memory && !memory_agrees(s, &end, index, true)) {
		LEAVE(s);
		return FUZZ_DIFFERENT;
	}
	fuzz_guest_destroy(s);
	LEAVE(s);
	if (s->guest.live_bytes) {
		s->difference.index = index;
		snprintf(s->difference.what, sizeof(s->difference.what), "end: samara lost memory");
		snprintf(s->difference.detail, sizeof(s->difference.detail), "samara: %" PRIu64 " bytes were not given back",
			s->guest.live_bytes);
		return FUZZ_DIFFERENT;
	}
	return FUZZ_SAME;
}

enum fuzz_verdict fuzz_session_end(struct fuzz_session *s, size_t index, bool compare)
{
	enum fuzz_verdict verdict = s->guest.vm ? end_samara(s, index, compare) : FUZZ_SAME;
	alarm(0);
	for (int i = 0; i < FUZZ_MAX_PROCS; i++) {
		if (s->proc[i].worker.box)
			fuzz_worker_kill(&s->proc[i].worker);
		s->proc[i].alive = false;
		s->proc[i].mm = NULL;
	}
	running = NULL;
	return verdict;
}

enum fuzz_verdict fuzz_session_run(struct fuzz_session *s, const struct fuzz_program *p, struct fuzz_difference *out)
{
	int begun = fuzz_session_begin(s, p->variant);
	enum fuzz_verdict verdict = begun == 0 ? FUZZ_SAME : begun > 0 ? FUZZ_DIFFERENT : FUZZ_BROKEN;
	for (size_t i = 0; i < p->count && (verdict == FUZZ_SAME || verdict == FUZZ_SKIPPED); i++)
		verdict = fuzz_session_step(s, &p->ops[i], i);
	bool clean = verdict == FUZZ_SAME || verdict == FUZZ_SKIPPED;
	struct fuzz_difference found = s->difference;
	enum fuzz_verdict last = fuzz_session_end(s, p->count, clean);
	*out = clean ? s->difference : found;
	return clean ? last : verdict;
}
