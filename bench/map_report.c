/* map_report.c - the table of bench-map and bench-memory: rows, verdicts, text and JSON. */
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

void add_floor(double floor, bool targets_are_multiples)
{
	struct row *row = &results->rows[row_at - 1];

	if (floor)
		row->floor = floor;
	row->of_floor = targets_are_multiples;
}

/* The targets in the row's unit. */
static double target(const struct row *row, double value)
{
	return row->of_floor ? value * row->floor : value;
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
	return value <= target(row, row->stretch) ? "best" : value <= target(row, row->ship) ? "ok" : "miss";
}

/* What the machine of the targets would have shown, by the kernel's own figure there and here; only of times.  A row
 * with a floor stays as it is: the floor says how fast this machine is, and a kernel in a virtual machine pays for its
 * page tables twice. */
static double scaled(const struct row *row, double slower)
{
	double now = row->value[WORLD_KERNEL], factor = row->kernel_then && now ? now / row->kernel_then : slower;

	return *row->unit == 'x' || *row->unit == 'B' || row->floor ? row->value[WORLD_POSIX] : row->value[WORLD_POSIX] / factor;
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
	bool floors = false;

	for (int i = 0; i < results->count; i++)
		floors |= results->rows[i].floor != 0;
	printf("this machine's kernel is %.2f times as slow as that of the targets (median of the rows)\n", slower);
	printf("%-36s %7s %3s %8s %8s %8s %7s", "operation", "n", "", "samara", "1 thread", "kernel", "/kernel");
	if (floors)
		printf(" %7s %7s", "floor", "/floor");
	printf(" %7s %7s %5s %8s %5s\n", "ship", "stretch", "", "scaled", "");
	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];
		const double *v = row->value;
		double equal = scaled(row, slower);

		printf("%-36s %7ld %3s", row->name, row->n, row->unit);
		for (int kind = 0; kind < WORLDS; kind++)
			put_cell(8, v[kind]);
		put_cell(7, v[WORLD_KERNEL] ? v[WORLD_POSIX] / v[WORLD_KERNEL] : 0);
		if (floors) {
			put_cell(7, row->floor);
			put_cell(7, row->floor ? v[WORLD_POSIX] / row->floor : 0);
		}
		put_cell(7, target(row, row->ship));
		put_cell(7, target(row, row->stretch));
		printf(" %5s", verdict(row, v[WORLD_POSIX]));
		put_cell(8, equal);
		printf(" %5s\n", verdict(row, equal));
	}
}

void print_json(const char *bench)
{
	double slower = slowness();

	printf("{\"bench\": \"%s\", \"kernel_slowness\": %.3f, \"rows\": [", bench, slower);
	for (int i = 0; i < results->count; i++) {
		const struct row *row = &results->rows[i];
		const double *v = row->value;

		printf("%s\n  {\"name\": \"%s\", \"n\": %ld, \"unit\": \"%s\", \"samara\": %.3f, \"single\": %.3f, \"kernel\": %.3f, ",
		       i ? "," : "", row->name, row->n, row->unit, v[WORLD_POSIX], v[WORLD_SINGLE], v[WORLD_KERNEL]);
		if (row->floor)
			printf("\"floor\": %.3f, ", row->floor);
		printf("\"ship\": %.4g, \"stretch\": %.4g, \"scaled\": %.3f, \"verdict\": \"%s\", \"scaled_verdict\": \"%s\"}",
		       target(row, row->ship), target(row, row->stretch), scaled(row, slower), verdict(row, v[WORLD_POSIX]),
		       verdict(row, scaled(row, slower)));
	}
	printf("\n]}\n");
}
