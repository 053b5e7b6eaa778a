/* fuzz_shrink.c - makes a failing program small: fewer operations first, then simpler arguments.
 *
 * Delta debugging over the list, then each argument is tried with plainer values, then the list again.  A step is
 * kept when the program still ends in a difference of the same class.  Addresses are concrete, so a removed
 * operation may move later placements; therefore a chosen address is early turned into MAP_FIXED at the place that
 * the kernel chose.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "fuzz.h"

struct shrinker {
	struct fuzz_session *session;
	struct fuzz_program *best, *trial;
	struct fuzz_difference *difference;
	int64_t results[FUZZ_MAX_OPS]; /* of the best program */
	double deadline;
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Does the trial still show it?  Then it is the best one, cut after the operation that shows it. */
static bool still_fails(struct shrinker *sh)
{
	struct fuzz_difference d;
	if (now() > sh->deadline || *sh->session->stop)
		return false;
	if (fuzz_session_run(sh->session, sh->trial, &d) < FUZZ_DIFFERENT || strcmp(d.what, sh->difference->what))
		return false;
	size_t kept = 0;
	for (size_t i = 0; i < sh->trial->count && i <= d.index; i++) {
		if (!sh->session->done[i] && i != d.index)
			continue; /* was left out anyway */
		sh->trial->ops[kept] = sh->trial->ops[i];
		sh->results[kept++] = sh->session->results[i];
	}
	sh->trial->count = kept;
	*sh->best = *sh->trial;
	*sh->difference = d;
	sh->difference->index = d.index >= kept && kept ? kept - 1 : d.index;
	return true;
}

static bool without(struct shrinker *sh, size_t from, size_t count)
{
	*sh->trial = *sh->best;
	size_t rest = sh->trial->count - from - count;
	memmove(&sh->trial->ops[from], &sh->trial->ops[from + count], rest * sizeof(sh->trial->ops[0]));
	sh->trial->count -= count;
	return still_fails(sh);
}

static bool fewer_operations(struct shrinker *sh)
{
	bool any = false;
	for (size_t chunk = sh->best->count / 2; chunk >= 1; chunk /= 2) {
		/* From the back: later operations depend on earlier ones, not the other way round. */
		for (size_t end = sh->best->count; end > 0 && now() < sh->deadline;) {
			size_t from = end > chunk ? end - chunk : 0, before = sh->best->count;
			if (without(sh, from, end - from)) {
				any = true;
				end = from < sh->best->count ? from : sh->best->count;
			} else {
				end = from;
			}
			if (sh->best->count > before)
				break;
		}
	}
	return any;
}

static bool with_argument(struct shrinker *sh, size_t i, int arg, uint64_t value)
{
	if (i >= sh->best->count || sh->best->ops[i].a[arg] == value)
		return false;
	*sh->trial = *sh->best;
	sh->trial->ops[i].a[arg] = value;
	return still_fails(sh);
}

static bool is_address(const struct fuzz_op *op, int arg)
{
	if (op->kind == FUZZ_UFFD_REGISTER || op->kind == FUZZ_UFFD_UNREGISTER || op->kind == FUZZ_SHMAT)
		return arg == 1;
	return arg == 0 || (op->kind == FUZZ_MREMAP && arg == 4);
}

static bool is_length(const struct fuzz_op *op, int arg)
{
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MREMAP: return arg == 1 || arg == 2;
	case FUZZ_PROCESS_MADVISE: return arg == 1 || arg == 3;
	case FUZZ_UFFD_REGISTER: case FUZZ_UFFD_UNREGISTER: return arg == 2;
	case FUZZ_PRCTL: return arg == 3;
	case FUZZ_PREAD: case FUZZ_PWRITE: return arg == 2;
	case FUZZ_FALLOCATE: return arg == 3;
	default: return arg == 1;
	}
}

static bool is_index(const struct fuzz_op *op, int arg)
{
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP: return arg == 4;
	case FUZZ_UFFD_REGISTER: case FUZZ_UFFD_UNREGISTER: case FUZZ_UFFD_CLOSE: case FUZZ_SHMAT: case FUZZ_ADD_SEALS:
	case FUZZ_PRCTL: case FUZZ_SETRLIMIT:
	case FUZZ_PREAD: case FUZZ_PWRITE: case FUZZ_FTRUNCATE: case FUZZ_FALLOCATE: case FUZZ_LSEEK:
		return arg == 0;
	default: return false;
	}
}

static bool fixed_places(struct shrinker *sh)
{
	bool any = false;
	for (size_t i = 0; i < sh->best->count; i++) {
		struct fuzz_op *op = &sh->best->ops[i];
		if (op->kind != FUZZ_MMAP || (op->a[3] & SAMARA_MAP_FIXED) || (sh->results[i] < 0 && sh->results[i] > -4096))
			continue;
		*sh->trial = *sh->best;
		sh->trial->ops[i].a[0] = (uint64_t)sh->results[i];
		sh->trial->ops[i].a[3] |= SAMARA_MAP_FIXED;
		any |= still_fails(sh);
	}
	return any;
}

static bool simpler_operation(struct shrinker *sh, size_t i)
{
	bool any = false;
	struct fuzz_op op = sh->best->ops[i];
	if (op.kind == FUZZ_MMAP && op.a[4] != (uint64_t)-1) {
		*sh->trial = *sh->best;
		sh->trial->ops[i].a[4] = (uint64_t)-1;
		sh->trial->ops[i].a[5] = 0;
		sh->trial->ops[i].a[3] |= SAMARA_MAP_ANONYMOUS;
		any |= still_fails(sh);
		any |= with_argument(sh, i, 4, 0);
	}
	for (int arg = 0; arg < fuzz_kind_args(op.kind) && i < sh->best->count; arg++) {
		uint64_t value = op.a[arg];
		if (is_index(&op, arg))
			continue;
		if (is_address(&op, arg)) {
			any |= with_argument(sh, i, arg, value & ~4095ull);
			continue;
		}
		bool simple = is_length(&op, arg) ?
			value <= 4096 || with_argument(sh, i, arg, 4096) || with_argument(sh, i, arg, 8192) :
			with_argument(sh, i, arg, 0);
		any |= simple && value > 4096;
		if (simple)
			continue;
		for (uint64_t bit = 1ull << 63; bit && i < sh->best->count; bit >>= 1)
			if (sh->best->ops[i].a[arg] & bit)
				any |= with_argument(sh, i, arg, sh->best->ops[i].a[arg] & ~bit);
	}
	return any;
}

static bool simpler_arguments(struct shrinker *sh)
{
	bool any = false;
	if (sh->best->variant) {
		*sh->trial = *sh->best;
		sh->trial->variant = 0;
		any |= still_fails(sh);
	}
	for (size_t i = sh->best->count; i-- > 0 && now() < sh->deadline;)
		if (i < sh->best->count)
			any |= simpler_operation(sh, i);
	return any;
}

void fuzz_shrink(struct fuzz_session *s, struct fuzz_program *p, struct fuzz_difference *d, double seconds)
{
	struct fuzz_stats *stats = s->stats;
	struct shrinker *sh = calloc(1, sizeof(*sh));
	if (!sh || !(sh->trial = malloc(sizeof(*sh->trial)))) {
		free(sh);
		return;
	}
	s->stats = NULL;
	sh->session = s;
	sh->best = p;
	sh->difference = d;
	sh->deadline = now() + seconds;
	*sh->trial = *p;
	if (still_fails(sh)) {
		fewer_operations(sh);
		for (int round = 0; round < 4 && now() < sh->deadline; round++) {
			bool better = fixed_places(sh);
			better |= simpler_arguments(sh);
			better |= fewer_operations(sh);
			if (!better)
				break;
		}
	}
	s->stats = stats;
	free(sh->trial);
	free(sh);
}
