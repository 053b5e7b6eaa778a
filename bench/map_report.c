/* map_report.c - the table of bench-map: rows, verdicts, text and JSON. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "bench/map.h"

struct results *results;
volatile uint64_t sink;

static int row_at;

void add(const struct world *w, const char *name, long n, double value, double ship, double stretch, double then,
	const char *unit)
{
	struct row *row = &results->rows[row_at++];

	snprintf(row->name, sizeof(row->name), "%s", name);
	row->unit = unit;
	row->n = n;
	row->ship = ship;
	row->stretch = stretch;
	row->kernel_then = then;
	row->more_is_better = stretch > ship;
	row->value[w->kind] = value;
	if (row_at > results->count)
		results->count = row_at;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), by_value);
	return values[count / 2];
}

static const char *verdict(const struct row *row, double value)
{
	if (!row->ship || !value)
		return "";
	if (row->more_is_better)
		return value >= row->stretch ? "best" : value >= row->ship ? "ok" : "miss";
	return value <= row->stretch ? "best" : value <= row->ship ? "ok" : "miss";
}

/* What the machine of the targets would have shown, by the kernel's own figure there and here; only of times. */
static double scaled(const struct row *row, double slower)
{
	double now = row->value[WORLD_KERNEL], factor = row->kernel_then && now ? now / row->kernel_then : slower;

	return *row->unit == 'x' || *row->unit == 'B' ? row->value[WORLD_POSIX] : row->value[WORLD_POSIX] / factor;
}

/* How much slower the kernel is now than then: the median of the rows. */
static double slowness(void)
{
	double factors[64];
	int count = 0;

	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];

		if (row->kernel_then && row->value[WORLD_KERNEL] && *row->unit != 'x')
			factors[count++] = row->value[WORLD_KERNEL] / row->kernel_then;
	}
	return count ? median(factors, count) : 1;
}

/* A number, or blanks where nothing was measured. */
static void put_cell(int width, double value)
{
	if (value)
		printf(" %*.*f", width, value < 10 ? 2 : 1, value);
	else
		printf(" %*s", width, "");
}

void print_table(void)
{
	double slower = slowness();

	printf("this machine's kernel is %.2f times as slow as that of the targets (median of the rows)\n", slower);
	printf("%-36s %7s %3s %8s %8s %8s %7s %7s %7s %5s %8s %5s\n", "operation", "n", "", "samara", "1 thread", "kernel",
	       "/kernel", "ship", "stretch", "", "scaled", "");
	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];
		const double *v = row->value;
		double equal = scaled(row, slower);

		printf("%-36s %7ld %3s", row->name, row->n, row->unit);
		for (int kind = 0; kind < WORLDS; kind++)
			put_cell(8, v[kind]);
		put_cell(7, v[WORLD_KERNEL] ? v[WORLD_POSIX] / v[WORLD_KERNEL] : 0);
		put_cell(7, row->ship);
		put_cell(7, row->stretch);
		printf(" %5s", verdict(row, v[WORLD_POSIX]));
		put_cell(8, equal);
		printf(" %5s\n", verdict(row, equal));
	}
}

void print_json(void)
{
	double slower = slowness();

	printf("{\"bench\": \"map\", \"kernel_slowness\": %.3f, \"rows\": [", slower);
	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];
		const double *v = row->value;

		printf("%s\n  {\"name\": \"%s\", \"n\": %ld, \"unit\": \"%s\", \"samara\": %.3f, \"single\": %.3f, \"kernel\": %.3f, "
		       "\"ship\": %.4g, \"stretch\": %.4g, \"scaled\": %.3f, \"verdict\": \"%s\", \"scaled_verdict\": \"%s\"}",
		       i ? "," : "", row->name, row->n, row->unit, v[WORLD_POSIX], v[WORLD_SINGLE], v[WORLD_KERNEL], row->ship,
		       row->stretch, scaled(row, slower), verdict(row, v[WORLD_POSIX]), verdict(row, scaled(row, slower)));
	}
	printf("\n]}\n");
}
