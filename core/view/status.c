/* status.c - the memory lines of /proc/PID/status and /proc/PID/statm that depend on ranges (proc(5)). */
#include "core/fault/fault.h"
#include "core/view/text.h"

void samara_mm_stat(struct samara_mm *mm, struct samara_mm_stat *out)
{
	const struct mm_layout *l = &mm->layout;
	struct samara_read_guard g;
	uint64_t text;

	samara_read_lock(mm, &g);
	text = (PAGE_ALIGN(l->end_code) - (l->start_code & PAGE_MASK)) >> PAGE_SHIFT;
	text = MIN(text, mm->exec_vm);
	*out = (struct samara_mm_stat){ .size_pages = mm->total_vm, .peak_pages = MAX(mm->peak_vm, mm->total_vm),
		.locked_pages = mm->locked_vm, .data_pages = mm->data_vm, .stack_pages = mm->stack_vm, .exec_pages = mm->exec_vm,
		.text_pages = text, .lib_pages = mm->exec_vm - text, .map_count = mm->map_count, .start_code = l->start_code,
		.end_code = l->end_code, .start_data = l->start_data, .end_data = l->end_data, .start_brk = l->start_brk,
		.brk = l->brk, .start_stack = l->start_stack, .mmap_base = l->mmap_base };
	samara_read_unlock(&g);
}

static int status_line(samara_sink *sink, void *self, const char *label, uint64_t pages)
{
	char line[64];
	struct text t = { .at = line, .room = sizeof(line) };

	text_string(&t, label);
	text_string(&t, ":\t");
	text_decimal(&t, pages << (PAGE_SHIFT - 10), 8);
	text_string(&t, " kB\n");
	return sink(self, line, t.used);
}

/* VmHWM .. RssShmem: what is there, on machines with memory. */
static int resident_lines(struct samara_mm *mm, samara_sink *sink, void *self)
{
	struct samara_mm_usage u;
	int err;

	samara_mm_usage(mm, &u);
	err = status_line(sink, self, "VmHWM", u.resident_peak_pages);
	if (!err)
		err = status_line(sink, self, "VmRSS", u.anon_pages + u.file_pages + u.shmem_pages);
	if (!err)
		err = status_line(sink, self, "RssAnon", u.anon_pages);
	if (!err)
		err = status_line(sink, self, "RssFile", u.file_pages);
	if (!err)
		err = status_line(sink, self, "RssShmem", u.shmem_pages);
	return err;
}

int samara_view_status(struct samara_mm *mm, samara_sink *sink, void *self)
{
	struct samara_mm_stat s;
	int err;

	samara_mm_stat(mm, &s);
	err = status_line(sink, self, "VmPeak", s.peak_pages);
	if (!err)
		err = status_line(sink, self, "VmSize", s.size_pages);
	if (!err)
		err = status_line(sink, self, "VmLck", s.locked_pages);
	if (!err)
		err = status_line(sink, self, "VmPin", s.pinned_pages);
	if (!err && mm_has_memory(mm))
		err = resident_lines(mm, sink, self);
	if (!err)
		err = status_line(sink, self, "VmData", s.data_pages);
	if (!err)
		err = status_line(sink, self, "VmStk", s.stack_pages);
	if (!err)
		err = status_line(sink, self, "VmExe", s.text_pages);
	if (!err)
		err = status_line(sink, self, "VmLib", s.lib_pages);
	if (!err && mm_has_memory(mm))
		err = status_line(sink, self, "VmPTE", LOAD(mm->table.pages) - 1);
	if (!err && mm_has_memory(mm))
		err = status_line(sink, self, "VmSwap", 0);
	return err;
}

/* size resident shared text lib data dt; a map without memory has nothing resident */
int samara_view_statm(struct samara_mm *mm, samara_sink *sink, void *self)
{
	const struct mm_layout *l = &mm->layout;
	char line[160];
	struct text t = { .at = line, .room = sizeof(line) };
	struct samara_mm_stat s;
	struct samara_mm_usage u;

	samara_mm_stat(mm, &s);
	samara_mm_usage(mm, &u);
	text_decimal(&t, s.size_pages, 0);
	text_char(&t, ' ');
	text_decimal(&t, u.anon_pages + u.file_pages + u.shmem_pages, 0);
	text_char(&t, ' ');
	text_decimal(&t, u.file_pages + u.shmem_pages, 0);
	text_char(&t, ' ');
	text_decimal(&t, (PAGE_ALIGN(l->end_code) - (l->start_code & PAGE_MASK)) >> PAGE_SHIFT, 0);
	text_string(&t, " 0 ");
	text_decimal(&t, s.data_pages + s.stack_pages, 0);
	text_string(&t, " 0\n");
	return sink(self, line, t.used);
}
