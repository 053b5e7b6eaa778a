/* commands.h - the subcommands of the samara tool: each gets its own argv (argv[0] is its name) and returns an
 * exit code. */
#ifndef TOOL_COMMANDS_H
#define TOOL_COMMANDS_H

enum {
	EXIT_AGREED = 0,   /* agreed, or done */
	EXIT_DIFFERS = 1,  /* samara and the kernel differ */
	EXIT_MALFORMED = 2, /* wrong usage or malformed input */
	EXIT_MISSING = 77, /* a privilege or a feature is missing (test harnesses read it as "skipped") */
};

int cmd_verify(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_maps(int argc, char **argv);
int cmd_fuzz(int argc, char **argv);

/* "samara: MESSAGE" and a hint at the help; returns EXIT_MALFORMED. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A whole number in [low, high]; 0, or -1. */
int parse_number(const char *text, unsigned long low, unsigned long high, unsigned long *value);

#endif
