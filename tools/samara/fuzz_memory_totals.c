/* fuzz_memory_totals.c - what /proc/PID says of a process in all: smaps_rollup, the memory lines of status, statm.
 *
 * Every line must be the same text once what the island adds on the kernel's side is taken off; smaps, which was just
 * compared, says how much that is.  Shares (Pss, Locked) are rounded down to kB, the island's and the whole, so that
 * they may be a kB apart.  Not compared, and counted as unjudged:
 *   - "Referenced" and "LazyFree", as in smaps;
 *   - "VmHWM": the kernel notes it when it happens to unmap, from counters that are exact only when they are summed.
 * "VmPeak" begins, for the first process, as that of the job that it was forked from.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuzz_memory.h"

#define TOTALS_BYTES 4096
#define LINE_BYTES 128

struct totals {
	char text[TOTALS_BYTES];
	size_t used;
};

static int take_text(void *self, const char *text, size_t bytes)
{
	struct totals *t = self;
	if (t->used + bytes >= sizeof(t->text))
		return 1;
	memcpy(t->text + t->used, text, bytes);
	t->used += bytes;
	t->text[t->used] = 0;
	return 0;
}

static bool kernel_text(const struct fuzz_worker *w, const char *name, struct totals *t)
{
	ssize_t got = fuzz_read_proc(w, name, t->text, sizeof(t->text));
	t->used = got < 0 ? 0 : (size_t)got;
	t->text[t->used] = 0;
	return got > 0;
}

/* kB of a line of the island's part of a text of smaps; 0: no such line. */
static uint64_t of_island(const char *smaps, size_t bytes, const char *label)
{
	char head[24];
	size_t n = strlen(label);
	snprintf(head, sizeof(head), "%llx-", FUZZ_ISLAND);
	const char *at = memmem(smaps, bytes, head, strlen(head)), *end = smaps + bytes;
	while (at && (at = memchr(at, '\n', (size_t)(end - at))) && ++at < end && *at >= 'A' && *at <= 'Z')
		if ((size_t)(end - at) > n && !memcmp(at, label, n) && at[n] == ':')
			return strtoull(at + n + 1, NULL, 10);
	return 0;
}

/* What the island has more on the kernel's side, in kB. */
static uint64_t excess(const struct fuzz_memory *m, const char *label)
{
	return of_island(m->kernel_text, m->kernel_bytes, label) - of_island(m->samara_text, m->samara_bytes, label);
}

static bool next_line(const char **at, char line[static LINE_BYTES])
{
	size_t n = strcspn(*at, "\n");
	if (!**at)
		return false;
	snprintf(line, LINE_BYTES, "%.*s", (int)n, *at);
	*at += n + ((*at)[n] != 0);
	return true;
}

/* The line with another number in the place of its own: "Label:   123 kB". */
static void with_number(const char *line, uint64_t kb, char out[static LINE_BYTES])
{
	size_t label = strcspn(line, ":") + 1, digits = label + strspn(line + label, " \t"), end = digits + strspn(line + digits, "0123456789");
	size_t tabs = label + strspn(line + label, "\t");
	snprintf(out, LINE_BYTES, "%.*s%*" PRIu64 "%s", (int)tabs, line, (int)(end - tabs), kb, line + end);
}

static const char *unjudged_total(const char *line)
{
	if (!strncmp(line, "Referenced:", 11))
		return "smaps_rollup lines Referenced: accessed bits age with the host's reclaim";
	if (!strncmp(line, "LazyFree:", 9))
		return "smaps_rollup lines LazyFree: wait for the host's batches of pages";
	if (!strncmp(line, "VmHWM:", 6))
		return "status lines VmHWM: noted when the host unmaps, from counters that are not exact";
	return NULL;
}

static bool differs(const char *what, const char *kernel, const char *samara, char *detail, size_t room)
{
	snprintf(detail, room, "in %s\nkernel: %s\nsamara: %s", what, kernel, samara);
	return false;
}

static bool rollup_agrees(struct fuzz_session *s, const struct totals *kernel, const struct totals *samara, char *detail, size_t room)
{
	const struct fuzz_memory *m = s->memory;
	const char *k = kernel->text, *g = samara->text;
	char k_line[LINE_BYTES], g_line[LINE_BYTES], label[24], want[LINE_BYTES], less[LINE_BYTES], more[LINE_BYTES];

	while (true) {
		bool k_more = next_line(&k, k_line), g_more = next_line(&g, g_line);
		if (!k_more && !g_more)
			return true;
		if (!k_more || !g_more)
			return differs("smaps_rollup", k_more ? k_line : "", g_more ? g_line : "", detail, room);
		snprintf(label, sizeof(label), "%.*s", (int)strcspn(k_line, ":"), k_line);
		const char *why = unjudged_total(k_line);
		if (why && !strncmp(g_line, label, strlen(label))) {
			if (s->stats)
				fuzz_stats_unjudged(s->stats, why);
			continue;
		}
		if (!strcmp(k_line, g_line))
			continue;
		if (!(*k_line >= 'A' && *k_line <= 'Z'))
			return differs("smaps_rollup", k_line, g_line, detail, room);
		/* the shares by kind are only in the whole: the island is shared memory */
		bool share = !strncmp(label, "Pss", 3) || !strcmp(label, "Locked");
		const char *island = !strcmp(label, "Pss_Shmem") ? "Pss" : label;
		uint64_t kb = strtoull(k_line + strlen(label) + 1, NULL, 10) - excess(m, island);
		with_number(k_line, kb, want);
		with_number(k_line, share ? kb - 1 : kb, less);
		with_number(k_line, share ? kb + 1 : kb, more);
		if (strcmp(want, g_line) && strcmp(less, g_line) && strcmp(more, g_line))
			return differs("smaps_rollup, without the fuzzer's own mapping", want, g_line, detail, room);
	}
}

static bool is_memory_line(const char *line)
{
	return !strncmp(line, "Vm", 2) || !strncmp(line, "Rss", 3);
}

static bool status_agrees(struct fuzz_session *s, unsigned proc, const struct totals *kernel, const struct totals *samara, char *detail,
	size_t room)
{
	const struct fuzz_memory *m = s->memory;
	const char *k = kernel->text, *g = samara->text;
	char k_line[LINE_BYTES], g_line[LINE_BYTES], want[LINE_BYTES];

	while (next_line(&k, k_line)) {
		if (!is_memory_line(k_line))
			continue;
		if (!next_line(&g, g_line))
			return differs("status", k_line, "", detail, room);
		size_t label = strcspn(k_line, ":") + 1;
		uint64_t kb = strtoull(k_line + label, NULL, 10);
		const char *why = unjudged_total(k_line);
		if (why && !strncmp(k_line, g_line, label)) {
			if (s->stats)
				fuzz_stats_unjudged(s->stats, why);
			continue;
		}
		if (!strncmp(k_line, "VmPeak:", 7) && kb <= s->proc[proc].peak_kb && !strncmp(g_line, "VmPeak:", 7))
			continue;
		if (!strncmp(k_line, "VmRSS:", 6) || !strncmp(k_line, "RssShmem:", 9))
			kb -= excess(m, "Rss");
		with_number(k_line, kb, want);
		if (strcmp(want, g_line))
			return differs("status", want, g_line, detail, room);
	}
	return !next_line(&g, g_line) || differs("status", "", g_line, detail, room);
}

/* size resident shared text lib data dt */
static bool statm_agrees(struct fuzz_session *s, const struct totals *kernel, const struct totals *samara, char *detail, size_t room)
{
	uint64_t v[7] = { 0 }, island = excess(s->memory, "Rss") / 4;
	char want[LINE_BYTES];
	const char *at = kernel->text;
	char *end;

	for (int i = 0; i < 7; i++, at = end)
		v[i] = strtoull(at, &end, 10);
	snprintf(want, sizeof(want), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", v[0],
		v[1] - island, v[2] - island, v[3], v[4], v[5], v[6]);
	return !strcmp(want, samara->text) || differs("statm", want, samara->text, detail, room);
}

static bool look_once(struct fuzz_session *s, unsigned proc, char what[static 64], char *detail, size_t room)
{
	static struct totals kernel[3], samara[3];
	struct fuzz_process *p = &s->proc[proc];

	for (int i = 0; i < 3; i++)
		samara[i].used = 0;
	snprintf(what, 64, "totals: cannot be read");
	if (!kernel_text(&p->worker, "smaps_rollup", &kernel[0]) || !kernel_text(&p->worker, "status", &kernel[1]) ||
		!kernel_text(&p->worker, "statm", &kernel[2]) || samara_view_smaps_rollup(p->mm, take_text, &samara[0]) ||
		samara_view_status(p->mm, take_text, &samara[1]) || samara_view_statm(p->mm, take_text, &samara[2]))
		return false;
	snprintf(what, 64, "smaps_rollup");
	if (!rollup_agrees(s, &kernel[0], &samara[0], detail, room))
		return false;
	snprintf(what, 64, "status");
	if (!status_agrees(s, proc, &kernel[1], &samara[1], detail, room))
		return false;
	snprintf(what, 64, "statm");
	return statm_agrees(s, &kernel[2], &samara[2], detail, room);
}

bool fuzz_totals_agree(struct fuzz_session *s, unsigned proc, char what[static 64], char *detail, size_t room)
{
	/* others may touch the island between two looks: then it is another time */
	for (int again = 0; !look_once(s, proc, what, detail, room); again++)
		if (again == 2 || !fuzz_smaps_agree(s, proc, what, detail, room))
			return false;
	if (s->stats)
		s->stats->totals++;
	return true;
}

uint64_t fuzz_peak_kb(const struct fuzz_worker *w)
{
	struct totals t;
	const char *at = kernel_text(w, "status", &t) ? strstr(t.text, "VmPeak:") : NULL;
	return at ? strtoull(at + 7, NULL, 10) : 0;
}
