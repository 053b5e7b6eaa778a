/* main.c - the samara command: a table of subcommands.
 *
 * Exit codes: 0 agreed or done, 1 differences were found, 2 wrong usage or malformed input, 77 a privilege or
 * feature is missing (the message says which).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "commands.h"
#include "samara/samara.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *synopsis, *what;
} commands[] = {
	{ "verify", cmd_verify, "[--keep-going] [--maps-every N] [--json] -- PROG ARGS...",
		"run a program, give each memory call to samara too, compare" },
	{ "record", cmd_record, "-o FILE [--maps-every N] -- PROG ARGS...",
		"write a trace (FILE.xz and FILE.zst are compressed)" },
	{ "replay", cmd_replay, "[--keep-going] [--json] FILE...",
		"give recorded traces to samara, compare; needs no privilege" },
	{ "maps", cmd_maps, "TRACE [--at N | --mm M] [--svg FILE] [--json]",
		"show an address space at a recorded moment" },
	{ "fuzz", cmd_fuzz, "[--memory] [OPTIONS]", "random programs on the kernel and on samara (samara fuzz --help)" },
};

enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

static void help(FILE *out)
{
	fputs("samara: the Linux address space as a library, compared with the real one\n\nusage:\n", out);
	for (int i = 0; i < COMMANDS; i++)
		fprintf(out, "  samara %s %s\n      %s\n", commands[i].name, commands[i].synopsis, commands[i].what);
	fputs("  samara --help | --version\n\nexit codes: 0 agreed or done, 1 differences, 2 wrong usage or malformed input,\n"
	      "            77 a privilege or feature is missing\nmore: man samara\n", out);
}

int usage_error(const char *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "samara %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	for (int i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, command))
			fprintf(stderr, "usage: samara %s %s\n", command, commands[i].synopsis);
	return EXIT_MALFORMED;
}

int parse_number(const char *text, unsigned long low, unsigned long high, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 0);
	return errno || end == text || *end || *text == '-' || *value < low || *value > high ? -1 : 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		help(stderr);
		return EXIT_MALFORMED;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		help(stdout);
		return EXIT_AGREED;
	}
	if (!strcmp(name, "--version")) {
		printf("samara %d.%d\n", SAMARA_VERSION_MAJOR, SAMARA_VERSION_MINOR);
		return EXIT_AGREED;
	}
	for (int i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, name))
			continue;
		if (argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h")) && commands[i].run != cmd_fuzz) {
			printf("usage: samara %s %s\n%s\n", name, commands[i].synopsis, commands[i].what);
			return EXIT_AGREED;
		}
		return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "samara: no command `%s' (samara --help lists them)\n", name);
	return EXIT_MALFORMED;
}
