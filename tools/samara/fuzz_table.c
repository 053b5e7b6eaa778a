/* fuzz_table.c - what a run of `samara fuzz` covered: calls by name and errno, flags by count, results that were
 * not judged.
 */
#include <inttypes.h>
#include <string.h>
#include "fuzz_memory.h"

void fuzz_stats_op(struct fuzz_stats *stats, const struct fuzz_op *op, int64_t result)
{
	unsigned column = 0;
	if (result < 0 && result > -4096)
		column = result >= -FUZZ_MAX_ERRNO ? (unsigned)-result : FUZZ_MAX_ERRNO + 1;
	stats->ops++;
	stats->calls[op->kind][column]++;
	for (size_t i = 0; i < fuzz_flag_count; i++)
		if (fuzz_flags[i].kind == op->kind && fuzz_flag_seen(&fuzz_flags[i], op))
			stats->flags[i]++;
}

void fuzz_stats_unjudged(struct fuzz_stats *stats, const char *why)
{
	for (size_t i = 0; i < FUZZ_UNJUDGED_KINDS; i++) {
		if (!stats->unjudged[i].why)
			stats->unjudged[i].why = why; /* a string literal: the same in every job */
		if (stats->unjudged[i].why == why) {
			stats->unjudged[i].count++;
			return;
		}
	}
}

void fuzz_stats_add(struct fuzz_stats *to, const struct fuzz_stats *from)
{
	to->ops += from->ops;
	to->seeds += from->seeds;
	to->differences += from->differences;
	to->skipped += from->skipped;
	to->maps += from->maps;
	to->smaps += from->smaps;
	to->totals += from->totals;
	to->words += from->words;
	to->pages += from->pages;
	for (size_t k = 0; k < FUZZ_KINDS; k++)
		for (size_t e = 0; e < FUZZ_MAX_ERRNO + 2; e++)
			to->calls[k][e] += from->calls[k][e];
	for (size_t i = 0; i < FUZZ_MAX_FLAGS; i++)
		to->flags[i] += from->flags[i];
	for (size_t i = 0; i < FUZZ_UNJUDGED_KINDS && from->unjudged[i].why; i++)
		for (size_t j = 0; j < FUZZ_UNJUDGED_KINDS; j++) {
			if (!to->unjudged[j].why)
				to->unjudged[j].why = from->unjudged[i].why;
			if (to->unjudged[j].why == from->unjudged[i].why) {
				to->unjudged[j].count += from->unjudged[i].count;
				break;
			}
		}
}

static uint64_t calls_of(const struct fuzz_stats *stats, unsigned kind)
{
	uint64_t sum = 0;
	for (size_t e = 0; e < FUZZ_MAX_ERRNO + 2; e++)
		sum += stats->calls[kind][e];
	return sum;
}

static const char *column_name(unsigned kind, unsigned column)
{
	static char text[32];
	if (column == FUZZ_MAX_ERRNO + 1)
		return "other";
	if (column == 0)
		return "ok";
	struct fuzz_op op = { .kind = (uint8_t)kind };
	fuzz_result_text(&op, -(int64_t)column, text, sizeof(text));
	return text;
}

static bool shown(const struct fuzz_stats *stats, unsigned kind)
{
	return stats->memory ? fuzz_memory_kind(kind) : kind < FUZZ_MAP_KINDS;
}

void fuzz_stats_print(FILE *out, const struct fuzz_stats *stats)
{
	fprintf(out, "%-17s %9s  results\n", "call", "count");
	for (unsigned k = 0; k < FUZZ_KINDS; k++) {
		if (!shown(stats, k))
			continue;
		fprintf(out, "%-17s %9" PRIu64 " ", fuzz_kind_name(k), calls_of(stats, k));
		for (unsigned e = 0; e < FUZZ_MAX_ERRNO + 2; e++)
			if (stats->calls[k][e])
				fprintf(out, " %s %" PRIu64, column_name(k, e), stats->calls[k][e]);
		fputc('\n', out);
	}
	fprintf(out, "\nflags and advice\n");
	for (size_t i = 0; i < fuzz_flag_count;) {
		unsigned kind = fuzz_flags[i].kind;
		if (!shown(stats, kind)) {
			i++;
			continue;
		}
		int width = fprintf(out, "%-17s", fuzz_kind_name(kind));
		for (; i < fuzz_flag_count && fuzz_flags[i].kind == kind; i++) {
			char item[80];
			int n = snprintf(item, sizeof(item), " %s %" PRIu64 ";", fuzz_flags[i].name, stats->flags[i]);
			if (width + n > 118)
				width = fprintf(out, "\n%-17s", "") - 1;
			width += n;
			fputs(item, out);
		}
		fputc('\n', out);
	}
	fprintf(out, "\nmaps texts compared: %" PRIu64 "; operations left out for the host's sake: %" PRIu64 "\n", stats->maps,
		stats->skipped);
	if (stats->memory)
		fprintf(out, "smaps texts compared: %" PRIu64 "; smaps_rollup, status and statm: %" PRIu64
			"; words of pagemap: %" PRIu64 "; pages of bytes: %" PRIu64 "\n",
			stats->smaps, stats->totals, stats->words, stats->pages);
	for (size_t i = 0; i < FUZZ_UNJUDGED_KINDS && stats->unjudged[i].why; i++)
		fprintf(out, "unjudged: %" PRIu64 " %s\n", stats->unjudged[i].count, stats->unjudged[i].why);
}

static void json_text(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", *text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

void fuzz_stats_print_json(FILE *out, const struct fuzz_stats *stats)
{
	fprintf(out, "\"operations\":%" PRIu64 ",\"seeds\":%" PRIu64 ",\"differences\":%" PRIu64 ",\"skipped\":%" PRIu64
		",\"maps\":%" PRIu64, stats->ops, stats->seeds, stats->differences, stats->skipped, stats->maps);
	if (stats->memory)
		fprintf(out, ",\"smaps\":%" PRIu64 ",\"totals\":%" PRIu64 ",\"words\":%" PRIu64 ",\"pages\":%" PRIu64, stats->smaps, stats->totals, stats->words,
			stats->pages);
	fprintf(out, ",\"calls\":{");
	for (unsigned k = 0; k < FUZZ_KINDS; k++) {
		const char *comma = "";
		if (!shown(stats, k))
			continue;
		fprintf(out, "%s\"%s\":{", k ? "," : "", fuzz_kind_name(k));
		for (unsigned e = 0; e < FUZZ_MAX_ERRNO + 2; e++)
			if (stats->calls[k][e]) {
				fprintf(out, "%s\"%s\":%" PRIu64, comma, column_name(k, e), stats->calls[k][e]);
				comma = ",";
			}
		fputc('}', out);
	}
	fprintf(out, "},\"flags\":{");
	for (size_t i = 0; i < fuzz_flag_count; i++)
		if (shown(stats, fuzz_flags[i].kind))
			fprintf(out, "%s\"%s %s\":%" PRIu64, i ? "," : "", fuzz_kind_name(fuzz_flags[i].kind), fuzz_flags[i].name,
				stats->flags[i]);
	fprintf(out, "},\"unjudged\":{");
	for (size_t i = 0; i < FUZZ_UNJUDGED_KINDS && stats->unjudged[i].why; i++) {
		fputs(i ? "," : "", out);
		json_text(out, stats->unjudged[i].why);
		fprintf(out, ":%" PRIu64, stats->unjudged[i].count);
	}
	fputc('}', out);
}
