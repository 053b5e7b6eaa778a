/* judge_maps.c - the judge's comparison of maps, and how an address space begins and is rebuilt.
 *
 * Two lines agree when every member is equal, but for what only the kernel can know: the number of a shmem inode
 * that samara made itself (bound once, then held to) and the path of a file that was renamed or unlinked meanwhile
 * (taken over).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "judge_state.h"

static int take_text(void *self, const char *text, size_t bytes)
{
	struct judge *judge = self;

	judge->text = must_grow(judge->text, &judge->text_room, judge->text_n + bytes + 1, 1);
	memcpy(judge->text + judge->text_n, text, bytes);
	judge->text_n += bytes;
	return 0;
}

void view_space(struct judge *judge, struct judged *space)
{
	size_t bad;

	judge->text_n = 0;
	samara_view_maps(space->mm, take_text, judge);
	bad = maps_parse(&judge->ours, judge->text, judge->text_n);
	if (bad)
		fprintf(stderr, "samara: line %zu of samara's own maps is malformed\n", bad);
}

/* The file's name as the kernel has it now. */
static void rename_file(struct judged *space, const struct map_line *theirs)
{
	struct samara_read_guard g;
	const struct samara_vma *vma;
	struct samara_file *file = NULL;

	samara_read_lock(space->mm, &g);
	vma = samara_find_vma(&g, theirs->start);
	if (vma && samara_vma_start(vma) == theirs->start)
		file = samara_vma_file(vma);
	if (file)
		samara_file_get(file);
	samara_read_unlock(&g);
	if (file) {
		samara_file_set_path(file, theirs->path);
		samara_file_put(file);
	}
}

static bool same_line(struct judge *judge, struct judged *space, const struct map_line *theirs, struct map_line *ours)
{
	if (map_line_equal(theirs, ours))
		return true;
	if (theirs->start != ours->start || theirs->end != ours->end || theirs->offset != ours->offset ||
	    memcmp(theirs->perm, ours->perm, 4) || theirs->major != ours->major || theirs->minor != ours->minor)
		return false;
	if (theirs->ino != ours->ino) {
		/* only files that samara made itself have numbers of its own */
		if (theirs->path != ours->path || theirs->major || !theirs->ino || !ours->ino ||
			strncmp(theirs->path, "/dev/zero", 9))
			return false;
		if (!files_bind(judge->files, ours->ino, theirs->ino))
			return false;
		ours->ino = theirs->ino;
	}
	if (theirs->path != ours->path) {
		if (!theirs->ino || *theirs->path == '[')
			return false;
		rename_file(space, theirs);
		ours->path = theirs->path;
	}
	return true;
}

bool same_maps(struct judge *judge, struct judged *space, const struct maps *kernel, const char *text, size_t text_n)
{
	bool same = kernel->n == judge->ours.n, exact = true;

	if (text && text_n == judge->text_n && !memcmp(text, judge->text, text_n))
		return true;
	for (size_t i = 0; i < kernel->n && i < judge->ours.n; i++) {
		exact = exact && map_line_equal(&kernel->line[i], &judge->ours.line[i]);
		if (!same_line(judge, space, &kernel->line[i], &judge->ours.line[i]))
			same = false;
	}
	if (!same)
		return false;
	/* every member is equal: then so is every byte, or samara prints a line in another form */
	return !text || !exact;
}

bool same_window(struct judge *judge, struct judged *space, uint64_t low, uint64_t high)
{
	const struct maps *kernel = &space->kernel;
	size_t at = maps_find(kernel, low), stop;
	struct samara_read_guard g;
	const struct samara_vma *vma;
	struct map_line ours[64];
	size_t n = 0;
	bool whole = true;

	if (at)
		at--;
	for (stop = at; stop < kernel->n && kernel->line[stop].start <= high; stop++)
		;
	if (stop < kernel->n && kernel->line[stop].start < 1ull << 47)
		stop++;
	while (stop > at && kernel->line[stop - 1].start >= 1ull << 47)
		stop--;
	if (stop - at > sizeof(ours) / sizeof(*ours))
		whole = false;
	samara_read_lock(space->mm, &g);
	vma = samara_find_vma(&g, at && at < kernel->n ? kernel->line[at].start : 0);
	for (; whole && vma && n < stop - at; vma = samara_next_vma(&g, vma)) {
		char line[8192];
		size_t bytes = samara_view_maps_line(&g, vma, line, sizeof(line));

		if (map_line_parse(&ours[n++], line, bytes))
			whole = false;
	}
	/* the line after the window must not begin inside it */
	if (whole && vma && n == stop - at && stop < kernel->n && samara_vma_start(vma) < kernel->line[stop].start)
		whole = false;
	samara_read_unlock(&g);
	if (whole && n == stop - at) {
		for (size_t i = 0; i < n; i++)
			if (!same_line(judge, space, &kernel->line[at + i], &ours[i]))
				whole = false;
		if (whole) {
			struct samara_mm_stat stat;
			size_t count = kernel->n;

			while (count && kernel->line[count - 1].start >= 1ull << 47)
				count--;
			samara_mm_stat(space->mm, &stat);
			if (stat.map_count == count)
				return true;
		}
	}
	view_space(judge, space);
	return same_maps(judge, space, kernel, NULL, 0);
}

static bool may_merge(const struct map_line *a, const struct map_line *b)
{
	return a->end == b->start && !memcmp(a->perm, b->perm, 4) && a->ino == b->ino && a->major == b->major &&
	       a->minor == b->minor && (!a->ino || a->offset + (a->end - a->start) == b->offset);
}

static void coalesce(struct maps *to, const struct maps *from)
{
	to->n = 0;
	for (size_t i = 0; i < from->n; i++) {
		if (to->n && may_merge(&to->line[to->n - 1], &from->line[i]))
			to->line[to->n - 1].end = from->line[i].end;
		else
			*maps_push(to) = from->line[i];
	}
}

bool only_merging(const struct maps *kernel, const struct maps *ours)
{
	struct maps a = { 0 }, b = { 0 };
	bool same;

	coalesce(&a, kernel);
	coalesce(&b, ours);
	same = a.n == b.n;
	for (size_t i = 0; same && i < a.n; i++)
		same = a.line[i].start == b.line[i].start && a.line[i].end == b.line[i].end &&
			!memcmp(a.line[i].perm, b.line[i].perm, 4);
	maps_free(&a);
	maps_free(&b);
	return same;
}

/* ---- beginning and rebuilding ---- */

static const char *flags_of_line(const struct event *ev, uint64_t start)
{
	for (size_t i = 0; ev && i < ev->vmflags_n; i++)
		if (ev->vmflags[i].start == start)
			return ev->vmflags[i].flags;
	return NULL;
}

static uint64_t flags_of_perm(const struct map_line *line)
{
	uint64_t flags = SAMARA_VM_MAYREAD | SAMARA_VM_MAYWRITE | SAMARA_VM_MAYEXEC;

	if (line->perm[0] == 'r')
		flags |= SAMARA_VM_READ;
	if (line->perm[1] == 'w')
		flags |= SAMARA_VM_WRITE;
	if (line->perm[2] == 'x')
		flags |= SAMARA_VM_EXEC;
	if (line->perm[3] == 's')
		flags |= SAMARA_VM_SHARED | SAMARA_VM_MAYSHARE;
	else if (line->perm[1] == 'w')
		flags |= SAMARA_VM_ACCOUNT;
	return flags;
}

static bool is_special(const char *path)
{
	return *path == '[' && strcmp(path, "[heap]") && strcmp(path, "[stack]") && strncmp(path, "[anon", 5);
}

static int install(struct judge *judge, struct judged *space, const struct map_line *line, uint64_t flags,
	struct samara_file *file, bool faulted)
{
	struct samara_install what = {
		.start = line->start, .end = line->end, .vm_flags = flags, .file = file, .pgoff = line->offset >> SAMARA_PAGE_SHIFT,
		.special = is_special(line->path) ? line->path : NULL, .faulted = faulted,
	};

	if (!file && line->ino) {
		what.file = files_of_line(judge->files, line, space->open, line->perm[1] == 'w' && line->perm[3] == 's');
		if (!what.file)
			return -SAMARA_ENOMEM;
	}
	return samara_install(space->mm, &what);
}

/* mmap_base is the end of what exec mapped highest below the stack: ld.so, or the vdso of a static program. */
static uint64_t base_of(const struct event *ev)
{
	uint64_t base = 0;

	for (size_t i = 0; i < ev->maps.n; i++)
		if (ev->maps.line[i].end <= ev->layout.start_stack && ev->maps.line[i].start >> 47 == 0)
			base = ev->maps.line[i].end;
	return base;
}

int begin_space(struct judge *judge, struct judged *space, const struct event *ev)
{
	const struct ev_layout *l = &ev->layout;
	struct samara_mm_params params = {
		.size = sizeof(params), .mmap_base = base_of(ev), .personality = ev->personality, .capabilities = ev->capabilities,
		.euid = ev->euid, .data = ev->limit_data, .stack = ev->limit_stack, .memlock = ev->limit_memlock, .as = ev->limit_as,
		.start_code = l->start_code, .end_code = l->end_code, .start_data = l->start_data, .end_data = l->end_data,
		.start_brk = l->start_brk, .brk = l->brk, .start_stack = l->start_stack, .arg_start = l->arg_start,
		.arg_end = l->arg_end, .env_start = l->env_start, .env_end = l->env_end,
	};
	int err;

	if (ev->personality & SAMARA_ADDR_COMPAT_LAYOUT) {
		/* bottom-up: the first thing mapped there stands at the base */
		for (size_t i = ev->maps.n; i-- > 0;)
			if (ev->maps.line[i].start >= 0x2a0000000000ull && ev->maps.line[i].end <= params.mmap_base)
				params.legacy_base = ev->maps.line[i].start;
	}
	space->params = params;
	space->open = ++judge->opens;
	err = samara_mm_create(judge->vm, &params, &space->mm);
	if (err) {
		snprintf(judge->error, sizeof(judge->error), "samara_mm_create: %s", errno_name(-err) ? errno_name(-err) : "failed");
		return -1;
	}
	for (size_t i = 0; i < ev->maps.n; i++) {
		const struct map_line *line = &ev->maps.line[i];
		const char *flags = flags_of_line(ev, line->start);

		if (line->start >> 47)
			continue; /* [vsyscall]: the view's own line */
		err = install(judge, space, line, flags ? vmflags_parse(flags) : flags_of_perm(line), NULL, false);
		if (err) {
			snprintf(judge->error, sizeof(judge->error), "samara_install of %" PRIx64 "-%" PRIx64 ": %s", line->start,
				line->end, errno_name(-err) ? errno_name(-err) : "failed");
			return -1;
		}
	}
	return 0;
}

struct old_vma {
	uint64_t start, end, flags;
	struct samara_file *file;
	bool faulted;
};

/* What the rebuilt mappings keep of samara's own: flags that maps does not show, the open file, whether it was
 * touched. */
static struct old_vma *remember(struct judged *space, size_t *n)
{
	struct old_vma *old = NULL;
	size_t room = 0;
	struct samara_read_guard g;

	*n = 0;
	samara_read_lock(space->mm, &g);
	for (const struct samara_vma *v = samara_find_vma(&g, 0); v; v = samara_next_vma(&g, v)) {
		old = must_grow(old, &room, *n + 1, sizeof(*old));
		old[(*n)++] = (struct old_vma){ samara_vma_start(v), samara_vma_end(v), samara_vma_flags(v), samara_vma_file(v),
			samara_vma_faulted(v) };
		if (samara_vma_file(v))
			samara_file_get(samara_vma_file(v));
	}
	samara_read_unlock(&g);
	return old;
}

static bool same_inode(struct judge *judge, struct judged *space, struct samara_file *file, const struct map_line *line)
{
	for (size_t i = 0; i < judge->ours.n; i++) {
		struct samara_read_guard g;
		const struct samara_vma *vma;
		bool mine;

		if (judge->ours.line[i].ino != line->ino || judge->ours.line[i].major != line->major ||
		    judge->ours.line[i].minor != line->minor)
			continue;
		samara_read_lock(space->mm, &g);
		vma = samara_find_vma(&g, judge->ours.line[i].start);
		mine = vma && samara_vma_file(vma) == file;
		samara_read_unlock(&g);
		if (mine)
			return true;
	}
	return false;
}

void rebuild_space(struct judge *judge, struct judged *space, const struct maps *kernel)
{
	const uint64_t rights = SAMARA_VM_READ | SAMARA_VM_WRITE | SAMARA_VM_EXEC | SAMARA_VM_SHARED | SAMARA_VM_MAYSHARE |
		SAMARA_VM_ACCOUNT;
	struct samara_mm_params params = space->params;
	struct samara_mm_stat stat;
	size_t n;
	struct old_vma *old;
	bool *mine;

	samara_mm_stat(space->mm, &stat);
	view_space(judge, space);
	old = remember(space, &n);
	mine = must_alloc(kernel->n * sizeof(*mine) + 1);
	for (size_t i = 0, j = 0; i < kernel->n; i++) {
		while (j < n && old[j].end <= kernel->line[i].start)
			j++;
		mine[i] = j < n && old[j].start < kernel->line[i].end && old[j].file && kernel->line[i].ino &&
			same_inode(judge, space, old[j].file, &kernel->line[i]);
	}
	params.brk = stat.brk;
	params.start_brk = stat.start_brk;
	for (size_t i = 0; i < kernel->n; i++)
		if (!strcmp(kernel->line[i].path, "[heap]") && kernel->line[i].end > params.brk)
			params.brk = kernel->line[i].end;
	params.data = samara_get_rlimit(space->mm, SAMARA_RLIMIT_DATA);
	params.stack = samara_get_rlimit(space->mm, SAMARA_RLIMIT_STACK);
	params.memlock = samara_get_rlimit(space->mm, SAMARA_RLIMIT_MEMLOCK);
	params.as = samara_get_rlimit(space->mm, SAMARA_RLIMIT_AS);
	if (samara_exec(space->mm, &params)) {
		judge_count_unjudged(judge, "an address space that could not be rebuilt", 1);
		goto out;
	}
	for (size_t i = 0, j = 0; i < kernel->n; i++) {
		const struct map_line *line = &kernel->line[i];
		uint64_t flags = flags_of_perm(line), at;
		bool faulted = false;
		struct samara_file *file = NULL;

		if (line->start >> 47)
			continue;
		while (j < n && old[j].end <= line->start)
			j++;
		if (j < n && old[j].start < line->end) {
			bool was_shared = old[j].flags & SAMARA_VM_SHARED;

			faulted = old[j].faulted;
			if (was_shared == (line->perm[3] == 's'))
				flags = (old[j].flags & ~rights) | (flags & rights);
			file = mine[i] ? old[j].file : NULL;
		}
		if (!faulted && judge->oracle.anonymous && line->perm[3] == 'p' &&
		    judge->oracle.anonymous(judge->oracle.self, space->id, line->start, line->end, &at) == 1)
			faulted = true;
		if (install(judge, space, line, flags, file, faulted))
			judge_count_unjudged(judge, "a mapping that could not be rebuilt", 1);
	}
	space->doubt = "merging in an address space that was rebuilt";
out:
	for (size_t i = 0; i < n; i++)
		if (old[i].file)
			samara_file_put(old[i].file);
	free(old);
	free(mine);
}

bool untold_touch(struct judge *judge, struct judged *space)
{
	size_t n;
	struct old_vma *old;
	bool found = false;

	if (!judge->oracle.anonymous)
		return false;
	old = remember(space, &n);
	for (size_t i = 0; i < n; i++) {
		uint64_t at;

		if (!found && !old[i].faulted && !(old[i].flags & SAMARA_VM_SHARED) &&
		    judge->oracle.anonymous(judge->oracle.self, space->id, old[i].start, old[i].end, &at) == 1)
			found = true;
		if (old[i].file)
			samara_file_put(old[i].file);
	}
	free(old);
	return found;
}

/* ---- VmFlags and status ---- */

void compare_flags(struct judge *judge, struct judged *space, const struct event *ev)
{
	struct samara_read_guard g;
	char ours[256] = "", what[96] = "", theirs[256] = "";

	samara_read_lock(space->mm, &g);
	for (size_t i = 0; i < ev->vmflags_n && !*what; i++) {
		const struct samara_vma *vma = samara_find_vma(&g, ev->vmflags[i].start);
		size_t n;

		if (ev->vmflags[i].start >> 47 || !vma || samara_vma_start(vma) != ev->vmflags[i].start)
			continue;
		n = samara_view_vmflags(&g, vma, ours, sizeof(ours) - 1);
		while (n && ours[n - 1] == ' ')
			n--;
		ours[n] = 0;
		if (strcmp(ours, ev->vmflags[i].flags)) {
			snprintf(what, sizeof(what), "VmFlags of the mapping at %" PRIx64, ev->vmflags[i].start);
			snprintf(theirs, sizeof(theirs), "%s", ev->vmflags[i].flags);
		}
	}
	samara_read_unlock(&g);
	if (*what)
		difference(judge, space, ev, what, theirs, ours, NULL);
}

void compare_status(struct judge *judge, struct judged *space, const struct event *ev)
{
	const struct ev_stat *st = &ev->stat;
	struct samara_mm_stat stat;

	if (!st->have)
		return;
	samara_mm_stat(space->mm, &stat);
	const struct {
		const char *name;
		int64_t theirs;
		uint64_t ours_pages;
	} row[] = {
		{ "VmSize", st->size, stat.size_pages },
		{ "VmLck", st->lck, stat.locked_pages },
		{ "VmData", st->data, stat.data_pages },
		{ "VmStk", st->stk, stat.stack_pages },
		{ "VmExe", st->exe, stat.text_pages },
		{ "VmLib", st->lib, stat.lib_pages },
	};
	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		char theirs[40], ours[40];

		if (row[i].theirs < 0 || (uint64_t)row[i].theirs == row[i].ours_pages * 4)
			continue;
		snprintf(theirs, sizeof(theirs), "%" PRId64 " kB", row[i].theirs);
		snprintf(ours, sizeof(ours), "%" PRIu64 " kB", row[i].ours_pages * 4);
		difference(judge, space, ev, row[i].name, theirs, ours, NULL);
		return;
	}
}
