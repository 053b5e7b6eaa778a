/* maps_svg.c - an address space as a picture; see maps_svg.h.
 *
 * One pass makes rows (mappings and the gaps between them, from high to low), another prints them; a row's height
 * depends on its own size only, so pictures of neighbouring moments can be laid over each other.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "maps_svg.h"

enum { WIDTH = 910, LEFT = 190, BOX = 560, TOP = 96, TEXT_HEIGHT = 15, LABEL_MAX_BYTES = 74 };

struct row {
	const struct map_line *line; /* NULL: a gap */
	uint64_t start, end;
	int y, height;
};

static int log2_floor(uint64_t n)
{
	int log = 0;

	while (n >>= 1)
		log++;
	return log;
}

static int height_of(bool gap, uint64_t bytes)
{
	int log = log2_floor(bytes >> 12 ? bytes >> 12 : 1);

	return gap ? 8 + log : TEXT_HEIGHT + log * 2;
}

static void print_size(FILE *out, uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = (double)bytes;
	int i = 0;

	while (n >= 1024 && i < 6) {
		n /= 1024;
		i++;
	}
	fprintf(out, n < 10 && n != (double)(int)n ? "%.1f %s" : "%.0f %s", n, unit[i]);
}

static void print_escaped(FILE *out, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes && text[i]; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '<')
			fputs("&lt;", out);
		else if (c == '>')
			fputs("&gt;", out);
		else if (c == '&')
			fputs("&amp;", out);
		else if (c == '"')
			fputs("&quot;", out);
		else
			fputc(c < 0x20 ? '?' : c, out);
	}
}

static const char *colour_of(const char *perm)
{
	bool r = perm[0] == 'r', w = perm[1] == 'w', x = perm[2] == 'x';

	if (w && x)
		return "#d9669f";
	if (x)
		return "#f0a35c";
	if (w)
		return "#86c98a";
	return r ? "#8fb8de" : "#d4d4d4";
}

static void print_legend(FILE *out)
{
	static const struct {
		const char *perm, *what;
	} item[] = {
		{ "r--p", "read" },
		{ "rw-p", "write" },
		{ "r-xp", "execute" },
		{ "rwxp", "write + execute" },
		{ "---p", "no access" },
	};
	int x = 20;

	for (size_t i = 0; i < sizeof(item) / sizeof(*item); i++) {
		fprintf(out, "<rect x='%d' y='46' width='16' height='14' fill='%s' stroke='#555'/>", x, colour_of(item[i].perm));
		fprintf(out, "<text x='%d' y='58'>%s</text>\n", x + 22, item[i].what);
		x += 40 + (int)strlen(item[i].what) * 8;
	}
	fprintf(out, "<rect x='%d' y='46' width='16' height='14' fill='none' stroke='#222' stroke-width='2.5'/>"
		"<text x='%d' y='58'>shared</text>\n", x, x + 22);
	fprintf(out,
		"<rect x='%d' y='46' width='16' height='14' fill='url(#gap)'/><text x='%d' y='58'>gap (heights: log "
		"scale)"
		"</text>\n",
		x + 90, x + 112);
}

static void print_gap(FILE *out, const struct row *row)
{
	fprintf(out, "<rect x='%d' y='%d' width='%d' height='%d' fill='url(#gap)'/>", LEFT, row->y, BOX, row->height);
	fprintf(out, "<text x='%d' y='%d' class='s'>", LEFT + BOX + 10, row->y + row->height / 2 + 4);
	print_size(out, row->end - row->start);
	fputs(" free</text>\n", out);
}

static void print_mapping(FILE *out, const struct row *row)
{
	const struct map_line *line = row->line;
	const char *label = *line->path ? line->path : "anonymous";
	size_t bytes = strlen(label), skip = bytes > LABEL_MAX_BYTES ? bytes - LABEL_MAX_BYTES : 0;
	int middle = row->y + row->height / 2 + 4;
	bool shared = line->perm[3] == 's';

	while (skip && ((unsigned char)label[skip] & 0xc0) == 0x80)
		skip++;
	fputs("<g><title>", out);
	fprintf(out, "%" PRIx64 "-%" PRIx64 " %.4s offset %" PRIx64 " ", line->start, line->end, line->perm, line->offset);
	print_escaped(out, label, bytes);
	fprintf(out, "</title><rect x='%d' y='%d' width='%d' height='%d' fill='%s' stroke='%s' stroke-width='%s'/>",
		LEFT, row->y, BOX, row->height, colour_of(line->perm), shared ? "#222" : "#777",
		shared ? "2.5" : "1");
	fprintf(out, "<text x='%d' y='%d' text-anchor='end' class='m'>%" PRIx64 "</text>", LEFT - 8,
		row->y + row->height, line->start);
	fprintf(out, "<text x='%d' y='%d'%s>%s", LEFT + 8, middle, *line->path ? "" : " class='a'", skip ? "…" : "");
	print_escaped(out, label + skip, bytes - skip);
	fprintf(out, "</text><text x='%d' y='%d' class='m'>%.4s ", LEFT + BOX + 10, middle, line->perm);
	print_size(out, line->end - line->start);
	fputs("</text></g>\n", out);
}

void maps_svg(FILE *out, const struct maps *maps, const char *title)
{
	struct row *row = must_alloc((maps->n * 2 + 2) * sizeof(*row));
	size_t n = 0;
	int y = TOP;
	uint64_t above = 0;

	for (size_t i = maps->n; i-- > 0;) {
		const struct map_line *line = &maps->line[i];

		if (above && above > line->end)
			row[n++] = (struct row){ .start = line->end, .end = above };
		row[n++] = (struct row){ .line = line, .start = line->start, .end = line->end };
		above = line->start;
	}
	if (above)
		row[n++] = (struct row){ .start = 0, .end = above };
	for (size_t i = 0; i < n; i++) {
		row[i].y = y;
		row[i].height = height_of(!row[i].line, row[i].end - row[i].start);
		y += row[i].height + 1;
	}
	fprintf(out, "<?xml version='1.0' encoding='UTF-8'?>\n<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
		"viewBox='0 0 %d %d'>\n", WIDTH, y + 30, WIDTH, y + 30);
	fputs("<style>text{font:12px sans-serif;fill:#111}.m{font-family:monospace;font-size:11px}.s{font-size:11px;fill:#777}"
	      ".a{fill:#555;font-style:italic}.h{font-size:15px;font-weight:bold}</style>\n", out);
	fputs("<defs><pattern id='gap' width='7' height='7' patternUnits='userSpaceOnUse' "
	      "patternTransform='rotate(45)'>"
	      "<rect width='7' height='7' fill='#fff'/><line x1='0' y1='0' x2='0' y2='7' stroke='#ccc' "
	      "stroke-width='2'/></pattern>"
	      "</defs>\n<rect width='100%' height='100%' fill='#fff'/>\n<text x='20' y='28' class='h'>",
		out);
	print_escaped(out, title, strlen(title));
	fputs("</text>\n", out);
	print_legend(out);
	fprintf(out, "<text x='20' y='84' class='s'>%zu mappings; high addresses on top</text>\n", maps->n);
	for (size_t i = 0; i < n; i++) {
		if (row[i].line)
			print_mapping(out, &row[i]);
		else
			print_gap(out, &row[i]);
	}
	fputs("</svg>\n", out);
	free(row);
}
