/* fuzz.c - `samara fuzz`: random programs of memory calls, on the kernel and on samara in lock step.
 *
 * This file reads the options, makes the process repeatable (no address randomisation, by executing itself again)
 * and prints the result.  fuzz.h says how the parts fit together.  Exit: 0 no difference, 1 differences, 2 usage,
 * 77 the host lacks something that the fuzzer needs.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <time.h>
#include <unistd.h>
#include "fuzz_memory.h"

enum { EXIT_USAGE = 2, EXIT_CANNOT = 77 };

static const char usage[] =
	"usage: samara fuzz [--memory] [--ops N] [--seed S] [--jobs J] [--time SECONDS] [--shrink SECONDS] [--json]\n"
	"  --memory       programs also load, store and change files; data, signals, smaps, pagemap and status are compared, too\n"
	"  --ops N        operations in all (default 100000); a program has up to 1000, each from one seed\n"
	"  --seed S       the first seed (default: the clock); the same seed is the same program\n"
	"  --jobs J       processes at the same time (default: processors)\n"
	"  --time T       stop after T seconds\n"
	"  --shrink T     spend at most T seconds on making one failing program small (default 20)\n"
	"  --json         one JSON object on standard output\n";

static int bad_usage(const char *what)
{
	if (what)
		fprintf(stderr, "samara fuzz: %s\n", what);
	fputs(usage, stderr);
	return EXIT_USAGE;
}

static bool parse_count(const char *text, uint64_t least, uint64_t *out)
{
	char *end;
	errno = 0;
	if (*text < '0' || *text > '9')
		return false;
	unsigned long long value = strtoull(text, &end, 0);
	if (errno || *end || value < least)
		return false;
	*out = value;
	return true;
}

static bool parse_seconds(const char *text, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return end != text && !*end && *out > 0 && *out < 1e9;
}

/* 0, or the exit status. */
static int parse_options(int argc, char **argv, struct fuzz_options *o)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' }, { "seed", required_argument, NULL, 's' },
		{ "jobs", required_argument, NULL, 'j' }, { "time", required_argument, NULL, 't' },
		{ "shrink", required_argument, NULL, 'k' }, { "json", no_argument, NULL, 'J' },
		{ "memory", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	uint64_t jobs = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	*o = (struct fuzz_options){ .ops = 100000, .seed = (uint64_t)t.tv_sec * 1000003 % 1000000000, .shrink_seconds = 20 };
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		if (c == 'o' && !parse_count(optarg, 1, &o->ops))
			return bad_usage("--ops wants a number above 0");
		if (c == 's' && !parse_count(optarg, 0, &o->seed))
			return bad_usage("--seed wants a number");
		if (c == 'j' && (!parse_count(optarg, 1, &jobs) || jobs > FUZZ_MAX_JOBS))
			return bad_usage("--jobs wants a number from 1 to 256");
		if (c == 't' && !parse_seconds(optarg, &o->seconds))
			return bad_usage("--time wants seconds");
		if (c == 'k' && !parse_seconds(optarg, &o->shrink_seconds))
			return bad_usage("--shrink wants seconds");
		if (c == 'J')
			o->json = true;
		if (c == 'm')
			o->memory = true;
		if (c == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (c == '?')
			return bad_usage(NULL);
	}
	if (optind < argc)
		return bad_usage("unexpected argument");
	o->jobs = (unsigned)jobs;
	return 0;
}

static int cannot(const char *what)
{
	fprintf(stderr, "samara fuzz: cannot run here: %s\n", what);
	return EXIT_CANNOT;
}

/* Without randomisation: the personality holds from the next execve on, so execute this very command again. */
static int execute_again(void)
{
	static char line[1 << 16];
	char *argv[256];
	int argc = 0;
	FILE *f = fopen("/proc/self/cmdline", "re");
	size_t got = f ? fread(line, 1, sizeof(line) - 1, f) : 0;
	if (f)
		fclose(f);
	if (!got)
		return cannot("/proc is not mounted");
	for (size_t at = 0; at < got && argc < 255; at += strlen(line + at) + 1)
		argv[argc++] = line + at;
	argv[argc] = NULL;
	if (getenv("SAMARA_FUZZ_AGAIN"))
		return cannot("personality(ADDR_NO_RANDOMIZE) does not hold");
	setenv("SAMARA_FUZZ_AGAIN", "1", 1);
	if (personality(ADDR_NO_RANDOMIZE) < 0)
		return cannot("personality(ADDR_NO_RANDOMIZE) is not permitted");
	execv("/proc/self/exe", argv);
	return cannot("execve of /proc/self/exe fails");
}

static void print_classes(FILE *out, const struct fuzz_shared *shared)
{
	if (shared->classes)
		fprintf(out, "\ndifferences by class (count, first seed)\n");
	for (size_t i = 0; i < shared->classes; i++)
		fprintf(out, "%7" PRIu64 " %10" PRIu64 "  %s\n", shared->class[i].count, shared->class[i].seed,
			shared->class[i].what);
}

static void print_json_reports(int fd)
{
	char line[1 << 16];
	FILE *f = fdopen(fd, "r");
	bool fresh = true, first = true;
	printf("\"reports\":[");
	if (f && lseek(fd, 0, SEEK_SET) == 0) {
		while (fgets(line, sizeof(line), f)) {
			size_t n = strlen(line);
			bool last = n && line[n - 1] == '\n';
			printf("%s%.*s", fresh && !first ? "," : "", (int)(n - last), line);
			first = false;
			fresh = last;
		}
	}
	printf("]");
}

int cmd_fuzz(int argc, char **argv)
{
	static struct fuzz_host host;
	static struct fuzz_stats total;
	struct fuzz_options options;
	int status = parse_options(argc, argv, &options);
	if (status)
		return status;
	int now = personality(0xffffffff);
	if (now < 0)
		return cannot("personality() is not permitted");
	if (!(now & ADDR_NO_RANDOMIZE))
		return execute_again();
	unsetenv("SAMARA_FUZZ_AGAIN");
	if (now & (READ_IMPLIES_EXEC | ADDR_COMPAT_LAYOUT))
		return cannot("the personality has READ_IMPLIES_EXEC or ADDR_COMPAT_LAYOUT set");
	if (options.memory && fuzz_memory_missing())
		return cannot(fuzz_memory_missing());
	fuzz_host_learn(&host);
	if (!host.start_brk || !host.start_stack)
		return cannot("/proc/self/stat does not show the heap's and the stack's start");
	struct fuzz_shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int report_fd = options.json ? memfd_create("reports", MFD_CLOEXEC) : STDOUT_FILENO;
	if (shared == MAP_FAILED || report_fd < 0)
		return cannot("no shared memory");
	if (!options.json)
		fprintf(stderr, "fuzz: seed %" PRIu64 "\n", options.seed);
	if (fuzz_jobs_run(&options, &host, shared, report_fd, &total) < 0)
		return cannot("no job could set itself up");
	if (options.json) {
		printf("{\"seed\":%" PRIu64 ",", options.seed);
		fuzz_stats_print_json(stdout, &total);
		printf(",");
		print_json_reports(report_fd);
		printf("}\n");
	} else {
		fuzz_stats_print(stdout, &total);
		print_classes(stdout, shared);
		printf("fuzz: %" PRIu64 " operations, %" PRIu64 " seeds, %" PRIu64 " differences\n", total.ops, total.seeds,
			total.differences);
	}
	return total.differences || shared->broken ? 1 : 0;
}
