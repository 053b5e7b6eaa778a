/* event.c - one event of a trace in memory, and a call as a line of C; see event.h. */
#include <inttypes.h>
#include <string.h>
#include "event.h"

static const struct {
	const char *name;
	unsigned argc;
	const char *format;
} calls[CALL_COUNT] = {
#define X(name, argc, format) { #name, argc, format },
	CALLS(X)
#undef X
};

struct bit_name {
	uint64_t bit;
	const char *name;
};

static const struct bit_name prot_names[] = {
	{ SAMARA_PROT_READ, "PROT_READ" }, { SAMARA_PROT_WRITE, "PROT_WRITE" }, { SAMARA_PROT_EXEC, "PROT_EXEC" },
	{ SAMARA_PROT_SEM, "PROT_SEM" }, { SAMARA_PROT_GROWSDOWN, "PROT_GROWSDOWN" }, { SAMARA_PROT_GROWSUP, "PROT_GROWSUP" },
	{ 0, NULL },
};
static const struct bit_name map_names[] = {
	{ SAMARA_MAP_SHARED, "MAP_SHARED" },
	{ SAMARA_MAP_PRIVATE, "MAP_PRIVATE" },
	{ SAMARA_MAP_FIXED, "MAP_FIXED" },
	{ SAMARA_MAP_ANONYMOUS, "MAP_ANONYMOUS" },
	{ SAMARA_MAP_32BIT, "MAP_32BIT" },
	{ SAMARA_MAP_DROPPABLE, "MAP_DROPPABLE" },
	{ SAMARA_MAP_ABOVE4G, "MAP_ABOVE4G" },
	{ SAMARA_MAP_GROWSDOWN, "MAP_GROWSDOWN" },
	{ SAMARA_MAP_DENYWRITE, "MAP_DENYWRITE" },
	{ SAMARA_MAP_EXECUTABLE, "MAP_EXECUTABLE" },
	{ SAMARA_MAP_LOCKED, "MAP_LOCKED" },
	{ SAMARA_MAP_NORESERVE, "MAP_NORESERVE" },
	{ SAMARA_MAP_POPULATE, "MAP_POPULATE" },
	{ SAMARA_MAP_NONBLOCK, "MAP_NONBLOCK" },
	{ SAMARA_MAP_STACK, "MAP_STACK" },
	{ SAMARA_MAP_HUGETLB, "MAP_HUGETLB" },
	{ SAMARA_MAP_SYNC, "MAP_SYNC" },
	{ SAMARA_MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE" },
	{ 0, NULL },
};
static const struct bit_name mremap_names[] = {
	{ SAMARA_MREMAP_MAYMOVE, "MREMAP_MAYMOVE" }, { SAMARA_MREMAP_FIXED, "MREMAP_FIXED" },
	{ SAMARA_MREMAP_DONTUNMAP, "MREMAP_DONTUNMAP" }, { 0, NULL },
};
static const struct bit_name seal_names[] = {
	{ SAMARA_F_SEAL_SEAL, "F_SEAL_SEAL" },
	{ SAMARA_F_SEAL_SHRINK, "F_SEAL_SHRINK" },
	{ SAMARA_F_SEAL_GROW, "F_SEAL_GROW" },
	{ SAMARA_F_SEAL_WRITE, "F_SEAL_WRITE" },
	{ SAMARA_F_SEAL_FUTURE_WRITE, "F_SEAL_FUTURE_WRITE" },
	{ SAMARA_F_SEAL_EXEC, "F_SEAL_EXEC" },
	{ 0, NULL },
};
static const struct bit_name advice_names[] = {
	{ 0, "MADV_NORMAL" },
	{ 1, "MADV_RANDOM" },
	{ 2, "MADV_SEQUENTIAL" },
	{ 3, "MADV_WILLNEED" },
	{ 4, "MADV_DONTNEED" },
	{ 8, "MADV_FREE" },
	{ 9, "MADV_REMOVE" },
	{ 10, "MADV_DONTFORK" },
	{ 11, "MADV_DOFORK" },
	{ 12, "MADV_MERGEABLE" },
	{ 13, "MADV_UNMERGEABLE" },
	{ 14, "MADV_HUGEPAGE" },
	{ 15, "MADV_NOHUGEPAGE" },
	{ 16, "MADV_DONTDUMP" },
	{ 17, "MADV_DODUMP" },
	{ 18, "MADV_WIPEONFORK" },
	{ 19, "MADV_KEEPONFORK" },
	{ 20, "MADV_COLD" },
	{ 21, "MADV_PAGEOUT" },
	{ 22, "MADV_POPULATE_READ" },
	{ 23, "MADV_POPULATE_WRITE" },
	{ 24, "MADV_DONTNEED_LOCKED" },
	{ 25, "MADV_COLLAPSE" },
	{ 100, "MADV_HWPOISON" },
	{ 101, "MADV_SOFT_OFFLINE" },
	{ 102, "MADV_GUARD_INSTALL" },
	{ 103, "MADV_GUARD_REMOVE" },
	{ 0, NULL },
};
static const struct bit_name errno_names[] = {
	{ 1, "EPERM" }, { 2, "ENOENT" }, { 3, "ESRCH" }, { 4, "EINTR" }, { 5, "EIO" }, { 7, "E2BIG" }, { 8, "ENOEXEC" },
	{ 9, "EBADF" }, { 10, "ECHILD" }, { 11, "EAGAIN" }, { 12, "ENOMEM" }, { 13, "EACCES" }, { 14, "EFAULT" },
	{ 16, "EBUSY" }, { 17, "EEXIST" }, { 19, "ENODEV" }, { 20, "ENOTDIR" }, { 22, "EINVAL" }, { 26, "ETXTBSY" },
	{ 28, "ENOSPC" }, { 38, "ENOSYS" }, { 43, "EIDRM" }, { 75, "EOVERFLOW" }, { 95, "EOPNOTSUPP" }, { 133, "EHWPOISON" },
	{ 512, "ERESTARTSYS" }, { 513, "ERESTARTNOINTR" }, { 514, "ERESTARTNOHAND" }, { 516, "ERESTART_RESTARTBLOCK" },
	{ 0, NULL },
};

void event_reset(struct event *ev, enum event_kind kind)
{
	struct arena arena = ev->arena;

	arena_reset(&arena);
	memset(ev, 0, sizeof(*ev));
	ev->arena = arena;
	ev->kind = kind;
}

void event_free(struct event *ev)
{
	arena_free(&ev->arena);
	memset(ev, 0, sizeof(*ev));
}

void event_set_maps(struct event *ev, const struct maps *maps)
{
	ev->have_maps = true;
	ev->maps.n = ev->maps.room = maps->n;
	ev->maps.line = arena_alloc(&ev->arena, maps->n * sizeof(*maps->line));
	if (maps->n)
		memcpy(ev->maps.line, maps->line, maps->n * sizeof(*maps->line));
}

const char *call_name(enum call_id id)
{
	return (unsigned)id < CALL_COUNT ? calls[id].name : "?";
}

unsigned call_argc(enum call_id id)
{
	return (unsigned)id < CALL_COUNT ? calls[id].argc : 0;
}

int call_by_name(const char *name)
{
	for (int i = 0; i < CALL_COUNT; i++)
		if (!strcmp(calls[i].name, name))
			return i;
	return -1;
}

bool call_is_fork(enum call_id id)
{
	return id == CALL_fork || id == CALL_vfork || id == CALL_clone || id == CALL_clone3;
}

bool result_is_error(int64_t result)
{
	return result < 0 && result >= -4095;
}

const char *errno_name(int number)
{
	for (const struct bit_name *e = errno_names; e->name; e++)
		if (e->bit == (uint64_t)number)
			return e->name;
	return NULL;
}

const char *result_text(int64_t result, char *text, size_t room)
{
	if (result_is_error(result)) {
		const char *name = errno_name((int)-result);

		if (name)
			snprintf(text, room, "-1 %s", name);
		else
			snprintf(text, room, "-1 errno %d", (int)-result);
	} else if (result >= 0 && result < 4096) {
		snprintf(text, room, "%" PRId64, result);
	} else {
		snprintf(text, room, "0x%" PRIx64, (uint64_t)result);
	}
	return text;
}

static void print_bits(FILE *out, uint64_t value, const struct bit_name *names, const char *none)
{
	const char *between = "";

	if (!value) {
		fputs(none, out);
		return;
	}
	for (; names->name; names++)
		if (value & names->bit) {
			fprintf(out, "%s%s", between, names->name);
			value &= ~names->bit;
			between = "|";
		}
	if (value)
		fprintf(out, "%s0x%" PRIx64, between, value);
}

static void print_map_flags(FILE *out, uint64_t value)
{
	uint64_t type = value & SAMARA_MAP_TYPE;

	if (type == SAMARA_MAP_SHARED_VALIDATE) {
		fputs("MAP_SHARED_VALIDATE", out);
		value &= ~SAMARA_MAP_TYPE;
		if (!value)
			return;
		fputc('|', out);
	}
	print_bits(out, value, map_names, "0");
}

static void print_argument(FILE *out, char format, uint64_t value)
{
	switch (format) {
	case 'd':
		fprintf(out, "%d", (int)value);
		return;
	case 'P':
		print_bits(out, value, prot_names, "PROT_NONE");
		return;
	case 'F':
		print_map_flags(out, value);
		return;
	case 'R':
		print_bits(out, value, mremap_names, "0");
		return;
	case 'S':
		print_bits(out, value, seal_names, "0");
		return;
	case 'A':
		for (const struct bit_name *a = advice_names; a->name; a++)
			if (a->bit == value) {
				fputs(a->name, out);
				return;
			}
		fprintf(out, "%d", (int)value);
		return;
	case 'p':
		if (!value) {
			fputs("NULL", out);
			return;
		}
		/* fallthrough */
	default:
		fprintf(out, value ? "0x%" PRIx64 : "%" PRIx64, value);
	}
}

void event_print_call(FILE *out, const struct event *ev)
{
	const char *format = (unsigned)ev->call < CALL_COUNT ? calls[ev->call].format : "";

	fprintf(out, "%s(", call_name(ev->call));
	for (unsigned i = 0; i < ev->argc && format[i]; i++) {
		if (i)
			fputs(", ", out);
		print_argument(out, format[i], ev->arg[i]);
	}
	fputc(')', out);
	if (ev->file.have)
		fprintf(out, " /* %s */", ev->file.path);
	else if (ev->path)
		fprintf(out, " /* %s */", ev->path);
}
