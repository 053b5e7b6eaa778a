/* trace_read.c - a line of a trace as an event; see trace.h.
 *
 * Every getter below takes the member's name, checks type and range, and on a mistake writes reader->error once;
 * callers go on with zeros and the line is refused at its end.  Nothing that was read is trusted to be small:
 * arrays are bounded by the line's own length, which stream.h bounds.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include "trace.h"

static void wrong(struct trace_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct trace_reader *r, const char *format, ...)
{
	va_list args;
	int n;

	if (*r->error)
		return;
	n = snprintf(r->error, sizeof(r->error), "%.120s:%zu: ", r->name, r->line);
	va_start(args, format);
	vsnprintf(r->error + n, sizeof(r->error) - (size_t)n, format, args);
	va_end(args);
}

/* ---- members ---- */

static bool parse_base(const char *text, unsigned base, uint64_t *value)
{
	uint64_t v = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned digit = *text >= '0' && *text <= '9' ? (unsigned)(*text - '0') :
			*text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a' + 10) : 99;

		if (digit >= base || v > (UINT64_MAX - digit) / base)
			return false;
		v = v * base + digit;
	}
	*value = v;
	return true;
}

static uint64_t word(struct trace_reader *r, const json_t *value, const char *key, unsigned base)
{
	uint64_t v = 0;

	if (!json_is_string(value) || !parse_base(json_string_value(value), base, &v))
		wrong(r, "`%s' is not %s number in a string", key, base == 16 ? "a hexadecimal" : "an octal");
	return v;
}

static uint64_t get_word(struct trace_reader *r, const json_t *o, const char *key, unsigned base, bool needed)
{
	const json_t *value = json_object_get(o, key);

	if (value)
		return word(r, value, key, base);
	if (needed)
		wrong(r, "`%s' is missing", key);
	return 0;
}

static int64_t get_int(struct trace_reader *r, const json_t *o, const char *key, int64_t low, int64_t high, bool needed)
{
	const json_t *value = json_object_get(o, key);
	int64_t v;

	if (!value) {
		if (needed)
			wrong(r, "`%s' is missing", key);
		return low > 0 ? low : 0;
	}
	v = json_is_integer(value) ? json_integer_value(value) : 0;
	if (!json_is_integer(value) || v < low || v > high) {
		wrong(r, "`%s' is not a whole number between %" PRId64 " and %" PRId64, key, low, high);
		return low > 0 ? low : 0;
	}
	return v;
}

static const char *get_text(struct trace_reader *r, struct event *ev, const json_t *o, const char *key, bool needed)
{
	const json_t *value = json_object_get(o, key);

	if (!value && !needed)
		return NULL;
	if (!json_is_string(value)) {
		wrong(r, "`%s' is %s", key, value ? "not a string" : "missing");
		return "";
	}
	return arena_text(&ev->arena, json_string_value(value), json_string_length(value));
}

static const json_t *get_array(struct trace_reader *r, const json_t *o, const char *key, bool needed)
{
	const json_t *value = json_object_get(o, key);

	if (!value && !needed)
		return NULL;
	if (!json_is_array(value)) {
		wrong(r, "`%s' is %s", key, value ? "not an array" : "missing");
		return NULL;
	}
	return value;
}

static const json_t *get_object(struct trace_reader *r, const json_t *o, const char *key, bool needed)
{
	const json_t *value = json_object_get(o, key);

	if (!value && !needed)
		return NULL;
	if (!json_is_object(value)) {
		wrong(r, "`%s' is %s", key, value ? "not an object" : "missing");
		return NULL;
	}
	return value;
}

static uint64_t *get_words(
	struct trace_reader *r, struct event *ev, const json_t *o, const char *key, bool needed, size_t *n)
{
	const json_t *array = get_array(r, o, key, needed);
	uint64_t *words;

	*n = json_array_size(array);
	if (!array)
		return NULL;
	words = arena_alloc(&ev->arena, (*n + 1) * sizeof(*words));
	for (size_t i = 0; i < *n; i++)
		words[i] = word(r, json_array_get(array, i), key, 16);
	return words;
}

static void get_pair(struct trace_reader *r, struct event *ev, const json_t *o, const char *key, uint64_t *pair)
{
	size_t n;
	uint64_t *words = get_words(r, ev, o, key, true, &n);

	if (words && n == 2)
		memcpy(pair, words, 16);
	else
		wrong(r, "`%s' wants two numbers", key);
}

static struct map_line *get_lines(
	struct trace_reader *r, struct event *ev, const json_t *array, const char *key, size_t *n)
{
	struct map_line *lines = arena_alloc(&ev->arena, (json_array_size(array) + 1) * sizeof(*lines));

	*n = json_array_size(array);
	for (size_t i = 0; i < *n && !*r->error; i++) {
		const json_t *text = json_array_get(array, i);

		if (!json_is_string(text) || map_line_parse(&lines[i], json_string_value(text), json_string_length(text)))
			wrong(r, "`%s', element %zu, is not a line of maps", key, i);
		else if (i && lines[i].start < lines[i - 1].end)
			wrong(r, "`%s', element %zu, overlaps the line before it or is out of order", key, i);
	}
	return lines;
}

static void get_change(struct trace_reader *r, struct event *ev, const json_t *o, struct maps_change *change)
{
	const json_t *come = get_array(r, o, "+", false);

	change->gone = get_words(r, ev, o, "-", false, &change->gone_n);
	for (size_t i = 1; i < change->gone_n; i++)
		if (change->gone[i] <= change->gone[i - 1])
			wrong(r, "`-' is out of order");
	if (come)
		change->come = get_lines(r, ev, come, "+", &change->come_n);
}

static struct samara_rlimit get_limit(struct trace_reader *r, struct event *ev, const json_t *o, const char *key)
{
	uint64_t pair[2] = { SAMARA_RLIM_INFINITY, SAMARA_RLIM_INFINITY };

	get_pair(r, ev, o, key, pair);
	return (struct samara_rlimit){ pair[0], pair[1] };
}

static void get_maps(struct trace_reader *r, struct event *ev, const json_t *o)
{
	const json_t *maps = get_array(r, o, "maps", true), *flags = get_array(r, o, "vf", false);
	const json_t *stat = get_object(r, o, "st", false);

	ev->have_maps = true;
	if (maps)
		ev->maps.line = get_lines(r, ev, maps, "maps", &ev->maps.n);
	ev->vmflags_n = json_array_size(flags);
	ev->vmflags = arena_alloc(&ev->arena, (ev->vmflags_n + 1) * sizeof(*ev->vmflags));
	for (size_t i = 0; i < ev->vmflags_n && !*r->error; i++) {
		const char *text = json_string_value(json_array_get(flags, i)), *space = text ? strchr(text, ' ') : NULL;
		char start[24];

		if (!space || space - text >= (long)sizeof(start)) {
			wrong(r, "`vf', element %zu, is not \"START FLAGS\"", i);
			break;
		}
		memcpy(start, text, (size_t)(space - text));
		start[space - text] = 0;
		if (!parse_base(start, 16, &ev->vmflags[i].start))
			wrong(r, "`vf', element %zu, has no start address", i);
		ev->vmflags[i].flags = intern(space + 1, strlen(space + 1));
	}
	if (stat) {
		struct ev_stat *st = &ev->stat;
		const struct {
			const char *key;
			int64_t *value;
		} member[] = {
			{ "Peak", &st->peak }, { "Size", &st->size }, { "Lck", &st->lck }, { "Pin", &st->pin }, { "Data", &st->data },
			{ "Stk", &st->stk }, { "Exe", &st->exe }, { "Lib", &st->lib },
		};

		st->have = true;
		for (size_t i = 0; i < sizeof(member) / sizeof(*member); i++)
			*member[i].value = json_object_get(stat, member[i].key) ?
				get_int(r, stat, member[i].key, -1, INT64_MAX, false) : -1;
	}
}

/* ---- kinds ---- */

static void get_file(struct trace_reader *r, struct event *ev, const json_t *o)
{
	struct ev_file *f = &ev->file;
	const char *dev = get_text(r, ev, o, "dev", true), *colon = dev ? strchr(dev, ':') : NULL;
	uint64_t major = 0, minor = 0;
	char text[16] = "";

	f->have = true;
	if (!colon || colon - dev >= (long)sizeof(text)) {
		wrong(r, "`dev' is not MAJOR:MINOR");
		return;
	}
	memcpy(text, dev, (size_t)(colon - dev));
	if (!parse_base(text, 16, &major) || !parse_base(colon + 1, 16, &minor) || major > UINT32_MAX || minor > UINT32_MAX)
		wrong(r, "`dev' is not MAJOR:MINOR");
	f->major = (uint32_t)major;
	f->minor = (uint32_t)minor;
	f->ino = (uint64_t)get_int(r, o, "ino", 0, INT64_MAX, true);
	f->size = (uint64_t)get_int(r, o, "size", 0, INT64_MAX, true);
	f->mode = (uint32_t)get_word(r, o, "mode", 8, true);
	f->rdev = get_word(r, o, "rdev", 16, false);
	f->open_flags = get_word(r, o, "fl", 8, true);
	f->fs = get_word(r, o, "fs", 16, false);
	f->id = (uint64_t)get_int(r, o, "id", 0, INT64_MAX, false);
	f->seals = (uint32_t)get_word(r, o, "seals", 16, false);
	f->noexec = get_int(r, o, "noexec", 0, 1, false);
	f->path = get_text(r, ev, o, "path", true);
	f->path = intern(f->path, strlen(f->path));
}

static void get_iov(struct trace_reader *r, struct event *ev, const json_t *array)
{
	ev->iov_n = json_array_size(array);
	ev->iov = arena_alloc(&ev->arena, (ev->iov_n + 1) * sizeof(*ev->iov));
	for (size_t i = 0; i < ev->iov_n; i++) {
		const json_t *pair = json_array_get(array, i);

		if (json_array_size(pair) != 2) {
			wrong(r, "`iov', element %zu, is not a pair", i);
			return;
		}
		ev->iov[i].base = word(r, json_array_get(pair, 0), "iov", 16);
		ev->iov[i].length = word(r, json_array_get(pair, 1), "iov", 16);
	}
}

static void read_call(struct trace_reader *r, struct event *ev, const json_t *o)
{
	const char *name = get_text(r, ev, o, "n", true);
	const json_t *result = json_object_get(o, "r"), *part;
	size_t n;
	uint64_t *words;
	int call;

	if (*r->error)
		return;
	call = call_by_name(name);
	if (call < 0) {
		wrong(r, "no call is named `%.40s'", name);
		return;
	}
	ev->call = (enum call_id)call;
	words = get_words(r, ev, o, "a", true, &n);
	if (!words || n > 6 || n < call_argc(ev->call)) {
		wrong(r, "`a' has %zu arguments, %s takes %u", n, name, call_argc(ev->call));
		return;
	}
	ev->argc = (unsigned)n;
	memcpy(ev->arg, words, n * sizeof(*words));
	if (json_is_integer(result))
		ev->result = get_int(r, o, "r", -4095, INT64_MAX, true);
	else
		ev->result = (int64_t)get_word(r, o, "r", 16, true);
	ev->path = get_text(r, ev, o, "path", false);
	if ((part = get_object(r, o, "f", false)))
		get_file(r, ev, part);
	if (json_object_get(o, "rl")) {
		get_pair(r, ev, o, "rl", ev->rlimit);
		ev->have_rlimit = true;
	}
	if ((part = get_object(r, o, "shm", false))) {
		ev->segment.have = true;
		ev->segment.bytes = (uint64_t)get_int(r, part, "segsz", 0, INT64_MAX, true);
		if (json_is_string(json_object_get(part, "key")))
			ev->segment.key = (uint32_t)get_word(r, part, "key", 16, false);
		else
			ev->segment.key = (uint32_t)get_int(r, part, "key", INT32_MIN, UINT32_MAX, false);
	}
	words = get_words(r, ev, o, "uf", false, &n);
	for (size_t i = 0; i < n && i < 4; i++)
		ev->uffd[i] = words[i];
	ev->uffd_id = (uint64_t)get_int(r, o, "ufid", 0, INT64_MAX, false);
	if (json_object_get(o, "nm"))
		ev->nodes = get_words(r, ev, o, "nm", true, &ev->nodes_n);
	if ((part = get_array(r, o, "iov", false)))
		get_iov(r, ev, part);
	ev->name = get_text(r, ev, o, "name", false);
	ev->target_mm = (uint32_t)get_int(r, o, "tmm", 0, UINT32_MAX, false);
	ev->result_flags = get_text(r, ev, o, "rvf", false);
	if (json_object_get(o, "cap")) {
		ev->have_credentials = true;
		ev->capabilities = get_word(r, o, "cap", 16, true);
		ev->euid = (uint32_t)get_int(r, o, "euid", 0, UINT32_MAX, true);
	}
	ev->race = (uint32_t)get_int(r, o, "race", 0, UINT32_MAX, false);
	if (call_is_fork(ev->call)) {
		ev->clone_flags = get_word(r, o, "fl", 16, false);
		ev->child_mm = (uint32_t)get_int(r, o, "cmm", 0, UINT32_MAX, false);
		if ((part = get_object(r, o, "cd", false)))
			get_change(r, ev, part, &ev->child_change);
	}
	ev->have_change = true;
	get_change(r, ev, o, &ev->change);
}

static void read_exec(struct trace_reader *r, struct event *ev, const json_t *o)
{
	const json_t *stat = get_object(r, o, "stat", true), *limits = get_object(r, o, "lim", true);
	struct ev_layout *l = &ev->layout;

	ev->old_mm = (uint32_t)get_int(r, o, "omm", 0, UINT32_MAX, false);
	ev->path = get_text(r, ev, o, "path", false);
	ev->exe = get_text(r, ev, o, "exe", false);
	ev->argv = get_text(r, ev, o, "argv", false);
	ev->personality = (uint32_t)get_word(r, o, "pers", 16, false);
	ev->euid = (uint32_t)get_int(r, o, "euid", 0, UINT32_MAX, false);
	ev->capabilities = get_word(r, o, "cap", 16, false);
	if (!stat || !limits)
		return;
	l->start_code = get_word(r, stat, "start_code", 16, false);
	l->end_code = get_word(r, stat, "end_code", 16, false);
	l->start_data = get_word(r, stat, "start_data", 16, false);
	l->end_data = get_word(r, stat, "end_data", 16, false);
	l->start_brk = l->brk = get_word(r, stat, "start_brk", 16, true);
	l->start_stack = get_word(r, stat, "start_stack", 16, true);
	l->arg_start = get_word(r, stat, "arg_start", 16, false);
	l->arg_end = get_word(r, stat, "arg_end", 16, false);
	l->env_start = get_word(r, stat, "env_start", 16, false);
	l->env_end = get_word(r, stat, "env_end", 16, false);
	ev->limit_data = get_limit(r, ev, limits, "DATA");
	ev->limit_stack = get_limit(r, ev, limits, "STACK");
	ev->limit_memlock = get_limit(r, ev, limits, "MEMLOCK");
	ev->limit_as = get_limit(r, ev, limits, "AS");
	get_maps(r, ev, o);
}

static void read_faults(struct trace_reader *r, struct event *ev, const json_t *o)
{
	size_t n;
	uint64_t *words = get_words(r, ev, o, "a", true, &n);

	ev->fault = arena_alloc(&ev->arena, (n + 1) * sizeof(*ev->fault));
	for (size_t i = 0; words && i < n; i++)
		ev->fault[i] = (struct ev_fault){ words[i], true };
	ev->fault_n = n;
}

static void read_machine(struct trace_reader *r, struct event *ev, const json_t *o)
{
	struct ev_machine *m = &ev->machine;

	m->have = true;
	m->total_pages = (uint64_t)get_int(r, o, "total_pages", 0, INT64_MAX, false);
	m->swap_pages = (uint64_t)get_int(r, o, "swap_pages", 0, INT64_MAX, false);
	m->overcommit_memory = (int)get_int(r, o, "overcommit_memory", 0, 2, false);
	m->overcommit_ratio = (uint32_t)get_int(r, o, "overcommit_ratio", 0, UINT32_MAX, false);
	m->overcommit_kbytes = (uint64_t)get_int(r, o, "overcommit_kbytes", 0, INT64_MAX, false);
	m->admin_reserve_kbytes = (uint64_t)get_int(r, o, "admin_reserve_kbytes", 0, INT64_MAX, false);
	m->user_reserve_kbytes = (uint64_t)get_int(r, o, "user_reserve_kbytes", 0, INT64_MAX, false);
	m->max_map_count = (uint32_t)get_int(r, o, "max_map_count", 0, UINT32_MAX, false);
	m->mmap_min_addr = (uint64_t)get_int(r, o, "mmap_min_addr", 0, INT64_MAX, false);
	m->dac_mmap_min_addr = (uint64_t)get_int(r, o, "dac_mmap_min_addr", 0, INT64_MAX, false);
	m->stack_guard_gap_pages = (uint32_t)get_int(r, o, "stack_guard_gap_pages", 0, UINT32_MAX, false);
	m->huge_pages_2m = (uint64_t)get_int(r, o, "huge_pages_2m", 0, INT64_MAX, false);
	m->huge_pages_1g = (uint64_t)get_int(r, o, "huge_pages_1g", 0, INT64_MAX, false);
	m->numa_nodes = (uint32_t)get_int(r, o, "numa_nodes", 0, 1024, false);
	m->no_thp = get_int(r, o, "no_thp", 0, 1, false);
	m->anon_vma_name = get_int(r, o, "anon_vma_name", 0, 1, false);
	m->soft_dirty = get_int(r, o, "soft_dirty", 0, 1, false);
	m->pkeys = get_int(r, o, "pkeys", 0, 1, false);
	m->no_ksm = get_int(r, o, "no_ksm", 0, 1, false);
	m->memory_failure = get_int(r, o, "memory_failure", 0, 1, false);
	m->no_vsyscall = get_int(r, o, "no_vsyscall", 0, 1, false);
	m->no_gbpages = get_int(r, o, "no_gbpages", 0, 1, false);
	m->no_zero_page = get_int(r, o, "no_zero_page", 0, 1, false);
}

static void read_end(struct trace_reader *r, struct event *ev, const json_t *o)
{
	ev->end_calls = (uint64_t)get_int(r, o, "calls", 0, INT64_MAX, false);
	ev->end_stops = (uint64_t)get_int(r, o, "stops", 0, INT64_MAX, false);
	ev->end_faults = (uint64_t)get_int(r, o, "pf", 0, INT64_MAX, false);
	ev->end_lost = (uint64_t)get_int(r, o, "lost", 0, INT64_MAX, false);
	ev->end_rc = (int)get_int(r, o, "rc", INT32_MIN, INT32_MAX, false);
	ev->end_seconds = json_number_value(json_object_get(o, "sec"));
	r->ended = true;
}

static void read_event(struct trace_reader *r, struct event *ev, const json_t *o)
{
	static const char *const names[] = { "", "hdr", "exec", "c", "grow", "pf", "af", "snap", "gone", "end" };
	const char *name = json_string_value(json_object_get(o, "e"));
	enum event_kind kind = EV_NOTHING;

	for (size_t i = 1; name && i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i], name))
			kind = (enum event_kind)i;
	if (!name) {
		wrong(r, "`e', the kind of the event, is missing");
		return;
	}
	event_reset(ev, kind);
	if (kind == EV_NOTHING)
		return; /* a later version may have more kinds */
	if (!r->begun && kind != EV_HDR) {
		wrong(r, "a trace begins with its `hdr' event");
		return;
	}
	if (kind != EV_HDR && kind != EV_END)
		ev->mm = (uint32_t)get_int(r, o, "mm", 1, UINT32_MAX, true);
	ev->tid = (int32_t)get_int(r, o, "t", 0, INT32_MAX, kind == EV_CALL || kind == EV_EXEC || kind == EV_GONE);
	switch (kind) {
	case EV_HDR:
		if (r->begun)
			wrong(r, "a second `hdr' event");
		r->begun = true;
		ev->version = (int)get_int(r, o, "v", 0, INT32_MAX, true);
		if (ev->version != 1)
			wrong(r, "version %d of the trace format; this samara reads version 1", ev->version);
		ev->every = (uint32_t)get_int(r, o, "n", 0, UINT32_MAX, false);
		ev->kernel = get_text(r, ev, o, "kernel", false);
		if (get_object(r, o, "cfg", false))
			read_machine(r, ev, json_object_get(o, "cfg"));
		break;
	case EV_EXEC:
		read_exec(r, ev, o);
		break;
	case EV_CALL:
		read_call(r, ev, o);
		break;
	case EV_GROW:
		ev->have_change = true;
		get_change(r, ev, o, &ev->change);
		break;
	case EV_PF:
	case EV_AF:
		read_faults(r, ev, o);
		break;
	case EV_SNAP:
		ev->path = get_text(r, ev, o, "why", false);
		get_maps(r, ev, o);
		break;
	case EV_GONE:
		ev->status = json_is_string(json_object_get(o, "st")) ? (int64_t)get_word(r, o, "st", 16, false) : 0;
		break;
	case EV_END:
		read_end(r, ev, o);
		break;
	default:
		break;
	}
}

int trace_next(struct trace_reader *r, struct event *ev)
{
	json_error_t error;
	json_t *o;
	char *line;
	size_t bytes;
	int rc = stream_line(r->in, &line, &bytes);

	r->line++;
	if (rc < 0) {
		wrong(r, "%s", stream_error(r->in));
		return -1;
	}
	if (!rc) {
		if (!r->ended)
			wrong(r, "the trace is truncated: it has no `end' event");
		return r->ended ? 0 : -1;
	}
	if (r->ended) {
		wrong(r, "something follows the `end' event");
		return -1;
	}
	o = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &error);
	if (!o) {
		wrong(r, "not JSON: %s (column %d)", error.text, error.column);
		return -1;
	}
	if (!json_is_object(o))
		wrong(r, "not a JSON object");
	else
		read_event(r, ev, o);
	json_decref(o);
	return *r->error ? -1 : 1;
}

int trace_open(struct trace_reader *r, const char *path)
{
	memset(r, 0, sizeof(*r));
	r->name = path;
	r->in = stream_read(path, r->error, sizeof(r->error));
	return r->in ? 0 : -1;
}

void trace_open_memory(struct trace_reader *r, const void *bytes, size_t n)
{
	memset(r, 0, sizeof(*r));
	r->name = "memory";
	r->in = stream_read_memory(bytes, n);
}

void trace_close(struct trace_reader *r)
{
	stream_close(r->in);
	r->in = NULL;
}
