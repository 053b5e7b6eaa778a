/* fuzz_memory_smaps.c - /proc/PID/smaps of both sides, line by line.
 *
 * Every line of every mapping must be the same text, with these exceptions, which are counted as unjudged:
 *   - "Referenced": accessed bits are the processor's and age with the host's reclaim;
 *   - "LazyFree": MADV_FREE takes effect on it when the host empties a per-processor batch of pages;
 *   - counts of the island: the job and the other workers touch it, too.
 * The anonymous pages of all mappings together must also be what samara_mm_usage says.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuzz_memory.h"

static int take_smaps(void *self, const char *text, size_t bytes)
{
	struct fuzz_memory *m = self;
	if (m->samara_bytes + bytes >= FUZZ_MEMORY_TEXT_BYTES)
		return 1;
	memcpy(m->samara_text + m->samara_bytes, text, bytes);
	m->samara_bytes += bytes;
	return 0;
}

static bool begins(const char *line, size_t bytes, const char *word)
{
	size_t n = strlen(word);
	return bytes >= n && !memcmp(line, word, n);
}

/* The first line of a mapping: "start-end perms ...", in small hexadecimal digits; the others begin with a capital. */
static bool is_header(const char *line, size_t bytes)
{
	return bytes && !(*line >= 'A' && *line <= 'Z');
}

static const char *unjudged_line(const char *line, size_t bytes, bool island)
{
	if (begins(line, bytes, "Referenced:"))
		return "smaps lines Referenced: accessed bits age with the host's reclaim";
	if (begins(line, bytes, "LazyFree:"))
		return "smaps lines LazyFree: wait for the host's batches of pages";
	if (island && !begins(line, bytes, "Size:") && !begins(line, bytes, "VmFlags:"))
		return "smaps lines of the fuzzer's own mapping";
	return NULL;
}

static void name_line(const char *line, size_t bytes, char what[static 64])
{
	const char *colon = memchr(line, ':', bytes);
	if (is_header(line, bytes) || !colon)
		snprintf(what, 64, "smaps: mappings");
	else
		snprintf(what, 64, "smaps: %.*s", (int)(colon - line), line);
}

bool fuzz_smaps_agree(struct fuzz_session *s, unsigned proc, char what[static 64], char *detail, size_t room)
{
	struct fuzz_memory *m = s->memory;
	struct fuzz_process *p = &s->proc[proc];
	ssize_t got = fuzz_read_proc(&p->worker, "smaps", m->kernel_text, FUZZ_MEMORY_TEXT_BYTES);
	uint64_t anon = 0;
	bool island = false;
	int head = 0;
	const char *header = "";

	m->samara_bytes = 0;
	m->kernel_bytes = got < 0 ? 0 : (size_t)got;
	int err = samara_view_smaps(p->mm, take_smaps, m);
	if (got < 0 || err) {
		snprintf(what, 64, "smaps: cannot be read");
		snprintf(detail, room, "kernel: %zd\nsamara: %d", got, err);
		return false;
	}
	if (s->stats)
		s->stats->smaps++;
	const char *k = m->kernel_text, *k_end = k + got, *g = m->samara_text, *g_end = g + m->samara_bytes;
	while (k < k_end || g < g_end) {
		const char *k_line = memchr(k, '\n', (size_t)(k_end - k)), *g_line = memchr(g, '\n', (size_t)(g_end - g));
		size_t k_bytes = (size_t)((k_line ? k_line : k_end) - k), g_bytes = (size_t)((g_line ? g_line : g_end) - g);
		bool first = is_header(k, k_bytes);

		if (first) {
			island = strtoull(k, NULL, 16) == FUZZ_ISLAND;
			header = k;
			head = (int)k_bytes;
		}
		if (begins(k, k_bytes, "Anonymous:"))
			anon += strtoull(k + 10, NULL, 10) / 4;
		const char *why = unjudged_line(k, k_bytes, island);
		bool same = why ? k_bytes > 10 && g_bytes > 10 && !memcmp(k, g, strcspn(k, ":")) :
			fuzz_lines_agree(s, k, k_bytes, g, g_bytes);
		if (!same) {
			name_line(k, k_bytes, what);
			snprintf(detail, room, "%s%.*s%skernel: %.*s\nsamara: %.*s", first ? "" : "in ", first ? 0 : head, header,
				first ? "" : "\n", (int)k_bytes, k, (int)g_bytes, g);
			return false;
		}
		if (why && s->stats)
			fuzz_stats_unjudged(s->stats, why);
		k += k_bytes + (k_line ? 1 : 0);
		g += g_bytes + (g_line ? 1 : 0);
	}
	struct samara_mm_usage usage;
	samara_mm_usage(p->mm, &usage);
	if (usage.anon_pages != anon) {
		snprintf(what, 64, "anonymous pages in all");
		snprintf(detail, room, "kernel: %" PRIu64 "\nsamara: %" PRIu64, anon, usage.anon_pages);
		return false;
	}
	return true;
}
