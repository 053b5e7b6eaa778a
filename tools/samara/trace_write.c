/* trace_write.c - an event as a line of a trace.
 *
 * Names are bytes and JSON strings are UTF-8: a byte that is not part of valid UTF-8 is written as \ooo, as maps
 * does for a newline.  Members that are zero or absent are left out, but those that the format promises.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include "trace.h"

/* Length of the valid UTF-8 sequence at `p`, or 0. */
static size_t utf8_bytes(const unsigned char *p)
{
	size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
	    (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static json_t *text_json(const char *text)
{
	json_t *value;
	char *copy;
	size_t out = 0;

	if (!text)
		text = "";
	value = json_string(text);
	if (value)
		return value;
	copy = must_alloc(strlen(text) * 4 + 1);
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		size_t n = utf8_bytes(p);

		if (n) {
			memcpy(copy + out, p, n);
			out += n;
			p += n;
		} else {
			out += (size_t)sprintf(copy + out, "\\%03o", *p++);
		}
	}
	copy[out] = 0;
	value = json_string(copy);
	free(copy);
	return value;
}

static json_t *number(uint64_t value, const char *format)
{
	char text[32];

	snprintf(text, sizeof(text), format, value);
	return json_string(text);
}

static json_t *hex(uint64_t value)
{
	return number(value, "%" PRIx64);
}

static json_t *octal(uint64_t value)
{
	return number(value, "%" PRIo64);
}

static void set(json_t *object, const char *key, json_t *value)
{
	json_object_set_new_nocheck(object, key, value);
}

static void set_int(json_t *object, const char *key, uint64_t value)
{
	set(object, key, json_integer((json_int_t)value));
}

static json_t *line_json(const struct map_line *line)
{
	size_t room = MAPS_LINE_ROOM + strlen(line->path);
	char *text = must_alloc(room);
	json_t *value;

	map_line_print(line, text, room);
	value = text_json(text);
	free(text);
	return value;
}

static void set_change(json_t *object, const struct maps_change *change)
{
	if (change->gone_n) {
		json_t *gone = json_array();

		for (size_t i = 0; i < change->gone_n; i++)
			json_array_append_new(gone, hex(change->gone[i]));
		set(object, "-", gone);
	}
	if (change->come_n) {
		json_t *come = json_array();

		for (size_t i = 0; i < change->come_n; i++)
			json_array_append_new(come, line_json(&change->come[i]));
		set(object, "+", come);
	}
}

static json_t *file_json(const struct ev_file *f)
{
	json_t *o = json_object();
	char dev[32];

	snprintf(dev, sizeof(dev), "%02x:%02x", f->major, f->minor);
	set(o, "dev", json_string(dev));
	set_int(o, "ino", f->ino);
	set_int(o, "size", f->size);
	set(o, "mode", octal(f->mode));
	set(o, "rdev", hex(f->rdev));
	set(o, "fl", octal(f->open_flags));
	set(o, "fs", hex(f->fs));
	set(o, "path", text_json(f->path));
	if (f->id)
		set_int(o, "id", f->id);
	if (f->seals)
		set(o, "seals", hex(f->seals));
	if (f->noexec)
		set_int(o, "noexec", 1);
	return o;
}

static json_t *words_json(const uint64_t *words, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, hex(words[i]));
	return array;
}

static void set_call(json_t *o, const struct event *ev)
{
	set(o, "n", json_string(call_name(ev->call)));
	set(o, "a", words_json(ev->arg, ev->argc));
	set(o, "r", result_is_error(ev->result) ? json_integer(ev->result) : hex((uint64_t)ev->result));
	if (ev->path)
		set(o, "path", text_json(ev->path));
	if (ev->file.have)
		set(o, "f", file_json(&ev->file));
	if (ev->have_rlimit)
		set(o, "rl", words_json(ev->rlimit, 2));
	if (ev->segment.have) {
		json_t *shm = json_object();

		set_int(shm, "segsz", ev->segment.bytes);
		set(shm, "mode", octal(ev->segment.mode));
		set(shm, "key", hex(ev->segment.key));
		set(o, "shm", shm);
	}
	if (ev->call == CALL_ioctl) {
		set(o, "uf", words_json(ev->uffd, 4));
		set_int(o, "ufid", ev->uffd_id);
	}
	if (ev->nodes)
		set(o, "nm", words_json(ev->nodes, ev->nodes_n));
	if (ev->iov) {
		json_t *iov = json_array();

		for (size_t i = 0; i < ev->iov_n; i++)
			json_array_append_new(iov, words_json((const uint64_t[]){ ev->iov[i].base, ev->iov[i].length }, 2));
		set(o, "iov", iov);
	}
	if (ev->name)
		set(o, "name", text_json(ev->name));
	if (ev->target_mm)
		set_int(o, "tmm", ev->target_mm);
	if (ev->result_flags)
		set(o, "rvf", text_json(ev->result_flags));
	if (ev->have_credentials) {
		set(o, "cap", hex(ev->capabilities));
		set_int(o, "euid", ev->euid);
	}
	if (ev->race)
		set_int(o, "race", ev->race);
	if (call_is_fork(ev->call)) {
		set(o, "fl", hex(ev->clone_flags));
		if (ev->child_mm)
			set_int(o, "cmm", ev->child_mm);
		if (ev->child_mm && ev->child_mm != ev->mm) {
			json_t *child = json_object();

			set_change(child, &ev->child_change);
			set(o, "cd", child);
		}
	}
	if (ev->have_change)
		set_change(o, &ev->change);
}

static void set_faults(json_t *o, const struct event *ev)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ev->fault_n; i++)
		json_array_append_new(array, hex(ev->fault[i].addr & ~4095ull));
	set(o, "a", array);
}

static void set_maps(json_t *o, const struct event *ev)
{
	json_t *maps = json_array(), *flags = json_array();

	for (size_t i = 0; i < ev->maps.n; i++)
		json_array_append_new(maps, line_json(&ev->maps.line[i]));
	set(o, "maps", maps);
	for (size_t i = 0; i < ev->vmflags_n; i++) {
		char text[256];

		snprintf(text, sizeof(text), "%" PRIx64 " %s", ev->vmflags[i].start, ev->vmflags[i].flags);
		json_array_append_new(flags, json_string(text));
	}
	if (ev->vmflags_n)
		set(o, "vf", flags);
	else
		json_decref(flags);
	if (ev->stat.have) {
		const struct ev_stat *st = &ev->stat;
		json_t *stat = json_object();

		set(stat, "Peak", json_integer(st->peak));
		set(stat, "Size", json_integer(st->size));
		set(stat, "Lck", json_integer(st->lck));
		set(stat, "Pin", json_integer(st->pin));
		set(stat, "Data", json_integer(st->data));
		set(stat, "Stk", json_integer(st->stk));
		set(stat, "Exe", json_integer(st->exe));
		set(stat, "Lib", json_integer(st->lib));
		set(o, "st", stat);
	}
}

static json_t *limit_json(struct samara_rlimit limit)
{
	return words_json((const uint64_t[]){ limit.cur, limit.max }, 2);
}

static void set_exec(json_t *o, const struct event *ev)
{
	const struct ev_layout *l = &ev->layout;
	json_t *stat = json_object(), *limits = json_object();
	char personality[16];

	set_int(o, "omm", ev->old_mm);
	set(o, "path", text_json(ev->path));
	set(o, "exe", text_json(ev->exe));
	set(o, "argv", text_json(ev->argv));
	set(stat, "start_code", hex(l->start_code));
	set(stat, "end_code", hex(l->end_code));
	set(stat, "start_stack", hex(l->start_stack));
	set(stat, "start_data", hex(l->start_data));
	set(stat, "end_data", hex(l->end_data));
	set(stat, "start_brk", hex(l->start_brk));
	set(stat, "arg_start", hex(l->arg_start));
	set(stat, "arg_end", hex(l->arg_end));
	set(stat, "env_start", hex(l->env_start));
	set(stat, "env_end", hex(l->env_end));
	set(o, "stat", stat);
	snprintf(personality, sizeof(personality), "%08x", ev->personality);
	set(o, "pers", json_string(personality));
	set_int(o, "euid", ev->euid);
	set(o, "cap", hex(ev->capabilities));
	set(limits, "DATA", limit_json(ev->limit_data));
	set(limits, "STACK", limit_json(ev->limit_stack));
	set(limits, "MEMLOCK", limit_json(ev->limit_memlock));
	set(limits, "AS", limit_json(ev->limit_as));
	set(o, "lim", limits);
	set_maps(o, ev);
}

static json_t *machine_json(const struct ev_machine *m)
{
	json_t *o = json_object();

	set_int(o, "total_pages", m->total_pages);
	set_int(o, "swap_pages", m->swap_pages);
	set_int(o, "overcommit_memory", (uint64_t)m->overcommit_memory);
	set_int(o, "overcommit_ratio", m->overcommit_ratio);
	set_int(o, "overcommit_kbytes", m->overcommit_kbytes);
	set_int(o, "admin_reserve_kbytes", m->admin_reserve_kbytes);
	set_int(o, "user_reserve_kbytes", m->user_reserve_kbytes);
	set_int(o, "max_map_count", m->max_map_count);
	set_int(o, "mmap_min_addr", m->mmap_min_addr);
	set_int(o, "dac_mmap_min_addr", m->dac_mmap_min_addr);
	set_int(o, "stack_guard_gap_pages", m->stack_guard_gap_pages);
	set_int(o, "huge_pages_2m", m->huge_pages_2m);
	set_int(o, "huge_pages_1g", m->huge_pages_1g);
	set_int(o, "numa_nodes", m->numa_nodes);
	set_int(o, "no_thp", m->no_thp);
	set_int(o, "anon_vma_name", m->anon_vma_name);
	set_int(o, "soft_dirty", m->soft_dirty);
	set_int(o, "pkeys", m->pkeys);
	set_int(o, "no_ksm", m->no_ksm);
	set_int(o, "memory_failure", m->memory_failure);
	set_int(o, "no_vsyscall", m->no_vsyscall);
	set_int(o, "no_gbpages", m->no_gbpages);
	set_int(o, "no_zero_page", m->no_zero_page);
	return o;
}

int trace_write(struct stream *out, const struct event *ev)
{
	static const char *const names[] = { "", "hdr", "exec", "c", "grow", "pf", "af", "snap", "gone", "end" };
	json_t *o = json_object();
	char *text;
	int rc;

	set(o, "e", json_string(names[ev->kind]));
	if (ev->kind != EV_HDR && ev->kind != EV_END)
		set_int(o, "mm", ev->mm);
	if (ev->kind == EV_CALL || ev->kind == EV_EXEC || ev->kind == EV_GONE)
		set(o, "t", json_integer(ev->tid));
	switch (ev->kind) {
	case EV_HDR:
		set_int(o, "v", 1);
		set_int(o, "n", ev->every);
		set(o, "kernel", text_json(ev->kernel));
		if (ev->machine.have)
			set(o, "cfg", machine_json(&ev->machine));
		break;
	case EV_EXEC:
		set_exec(o, ev);
		break;
	case EV_CALL:
		set_call(o, ev);
		break;
	case EV_GROW:
		set_change(o, &ev->change);
		break;
	case EV_PF:
	case EV_AF:
		set_faults(o, ev);
		break;
	case EV_SNAP:
		set(o, "why", text_json(ev->path));
		set_maps(o, ev);
		break;
	case EV_GONE:
		set(o, "st", hex((uint64_t)ev->status));
		break;
	case EV_END:
		set_int(o, "calls", ev->end_calls);
		set_int(o, "stops", ev->end_stops);
		set_int(o, "pf", ev->end_faults);
		set_int(o, "lost", ev->end_lost);
		set(o, "sec", json_real(ev->end_seconds));
		set(o, "rc", json_integer(ev->end_rc));
		break;
	default:
		break;
	}
	text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
	json_decref(o);
	if (!text)
		return -1;
	rc = stream_put(out, text, strlen(text)) || stream_put(out, "\n", 1) ? -1 : 0;
	free(text);
	return rc;
}
