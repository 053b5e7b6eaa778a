/* fuzz_print.c - a failing program as C that plain gcc compiles: it shows the kernel's side, comments tell
 * samara's.
 *
 * The printed program turns randomisation off, opens what it needs, throws libc and everything else but its own
 * image, its stack and the vdso away (so that the kernel places mappings as it did for the fuzzer), and goes on
 * with system calls alone. Several processes run the same list and take turns.
 */
#include <inttypes.h>
#include <string.h>
#include "fuzz_memory.h"

static const char prelude[] =
"#define _GNU_SOURCE\n"
"#if defined(__GNUC__) && !defined(__clang__)\n"
"#pragma GCC optimize (\"no-stack-protector\", \"no-tree-loop-distribute-patterns\")\n"
"#endif\n"
"#include <fcntl.h>\n#include <linux/capability.h>\n#include <signal.h>\n#include <stddef.h>\n#include <stdlib.h>\n"
"#include <sys/ipc.h>\n#include <sys/mman.h>\n#include <sys/personality.h>\n#include <sys/shm.h>\n"
"#include <sys/syscall.h>\n#include <ucontext.h>\n#include <unistd.h>\n\n"
"typedef unsigned long ul;\n\n"
"static long sys_(long nr, ul a, ul b, ul c, ul d, ul e, ul f)\n{\n"
"	register ul r10 __asm__(\"r10\") = d, r8 __asm__(\"r8\") = e, r9 __asm__(\"r9\") = f;\n"
"	long result;\n"
"	__asm__ volatile(\"syscall\" : \"=a\"(result) : \"a\"(nr), \"D\"(a), \"S\"(b), \"d\"(c), \"r\"(r10), \"r\"(r8),\n"
"		\"r\"(r9) : \"rcx\", \"r11\", \"memory\");\n"
"	return result;\n}\n"
"#define SYS_ARGS(nr, a, b, c, d, e, f, ...) sys_(nr, (ul)(a), (ul)(b), (ul)(c), (ul)(d), (ul)(e), (ul)(f))\n"
"#define SYS(...) SYS_ARGS(__VA_ARGS__, 0, 0, 0, 0, 0, 0)\n\n"
"static char text[1 << 18];\n"
"static volatile int *turn; /* shared by the processes */\n"
"static int step, me;\n"
"static ul BRK;\n\n"
"static void put(const char *s)\n{\n	ul n = 0;\n	while (s[n])\n		n++;\n	SYS(SYS_write, 1, s, n);\n}\n\n"
"static void show(const char *what, long r)\n{\n"
"	char digits[32], *p = digits + sizeof(digits);\n"
"	int failed = r < 0 && r > -4096;\n"
"	ul v = failed ? (ul)-r : (ul)r, base = failed ? 10 : 16;\n"
"	*--p = 0;\n	*--p = '\\n';\n"
"	do\n		*--p = \"0123456789abcdef\"[v % base];\n	while (v /= base);\n"
"	put(what);\n	put(failed ? \" = errno \" : \" = 0x\");\n	put(p);\n}\n\n"
"/* Is the next step ours?  Then it is our turn when this returns. */\n"
"static int begin(int process)\n{\n	int k = step++;\n	if (process != me)\n		return 0;\n"
"	while (*turn != k)\n		SYS(SYS_sched_yield);\n	return 1;\n}\n"
"#define DO(process, what, call) do { if (begin(process)) { show(what, call); *turn = step; } } while (0)\n\n"
"__attribute__((unused)) static void fork_to(int child, const char *what)\n{\n	long r = SYS(SYS_fork);\n"
"	if (r == 0) {\n		me = child;\n		return;\n	}\n	show(what, r);\n	*turn = step;\n}\n\n"
"__attribute__((unused)) static void print_maps(void)\n{\n	long n, fd = SYS(SYS_open, \"/proc/self/maps\", O_RDONLY);\n"
"	put(\"maps:\\n\");\n	while ((n = SYS(SYS_read, fd, text, sizeof(text))) > 0)\n		SYS(SYS_write, 1, text, n);\n"
"	SYS(SYS_close, fd);\n}\n\n"
"/* A fault ends in -(signal * 100 + code). */\n"
"static void on_fault(int sig, siginfo_t *info, void *context)\n{\n"
"	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;\n"
"	r[REG_RIP] = r[REG_RBX];\n	r[REG_RAX] = -(sig * 100 + info->si_code);\n}\n"
"__asm__(\".text\\nrestorer: mov $15, %eax\\n syscall\\n\");\n"
"extern char restorer[] __attribute__((visibility(\"hidden\")));\n"
"__attribute__((unused)) static long store(ul address)\n{\n	long r = 0;\n"
"	__asm__ volatile(\"lea 1f(%%rip), %%rbx\\n lock orb $0, (%1)\\n1:\" : \"+a\"(r)\n"
"		: \"D\"(address) : \"rbx\", \"memory\", \"cc\");\n"
"	return r;\n}\n"
"__attribute__((unused)) static long load(ul address)\n{\n	long r = 0;\n"
"	__asm__ volatile(\"lea 1f(%%rip), %%rbx\\n movzbl (%1), %%ecx\\n1:\" : \"+a\"(r)\n"
"		: \"D\"(address) : \"rbx\", \"rcx\", \"memory\");\n"
"	return r;\n}\n"
"__attribute__((unused)) static long wrpkru(ul rights)\n{\n	long r = 0;\n"
"	__asm__ volatile(\"wrpkru\\n xor %%eax, %%eax\" : \"+a\"(rights) : \"c\"(0), \"d\"(0) : \"memory\", \"cc\");\n"
"	return r;\n}\n\n"
"__attribute__((unused)) static int file(const char *path, int flags, long bytes)\n{\n"
"	int fd = open(path, flags | O_CREAT * (bytes >= 0), 0600);\n"
"	if (bytes >= 0 && truncate(path, bytes) < 0)\n		return -1;\n	return fd;\n}\n"
"__attribute__((unused)) static int memfd(unsigned flags, long bytes, int seals)\n{\n"
"	int fd = memfd_create(\"fuzz\", flags);\n"
"	if (ftruncate(fd, bytes) < 0 || (seals && fcntl(fd, F_ADD_SEALS, seals) < 0))\n		return -1;\n	return fd;\n}\n"
"__attribute__((unused)) static int reopen(int fd)\n{\n	char path[] = \"/proc/self/fd/000\";\n"
"	path[14] += fd / 100;\n	path[15] += fd / 10 % 10;\n	path[16] += fd % 10;\n"
"	char *p = path[14] != '0' ? path + 14 : path[15] != '0' ? path + 15 : path + 16, *to = path + 14;\n"
"	while ((*to++ = *p++))\n		;\n	return open(path, O_RDONLY);\n}\n"
"__attribute__((unused)) static int pipe_end(void)\n{\n	int fd[2];\n	return pipe(fd) < 0 ? -1 : fd[0];\n}\n"
"__attribute__((unused)) static ul hard(int which)\n{\n	ul limit[2] = { 0, 0 };\n"
"	SYS(SYS_prlimit64, 0, which, 0, limit);\n	return limit[1];\n}\n"
"__attribute__((unused)) static int userfault(void)\n{\n	ul api[3] = { 0xaa, 1 << 7, 0 };\n"
"	int fd = SYS(SYS_userfaultfd, O_CLOEXEC | 1);\n	SYS(SYS_ioctl, fd, 0xc018aa3f, api);\n	return fd;\n}\n"
"__attribute__((unused)) static void drop(ul caps)\n{\n"
"	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };\n	struct __user_cap_data_struct data[2];\n"
"	SYS(SYS_capget, &head, data);\n	for (int i = 0; i < 2; i++) {\n"
"		data[i].effective &= ~(unsigned)(caps >> 32 * i);\n		data[i].permitted &= ~(unsigned)(caps >> 32 * i);\n	}\n"
"	SYS(SYS_capset, &head, data);\n}\n\n"
"/* Unmaps everything but this program, the stack and what the kernel put there.  No libc after this. */\n"
"extern char __executable_start[] __attribute__((visibility(\"hidden\")));\n"
"extern char _end[] __attribute__((visibility(\"hidden\")));\n"
"static int has(const char *line, const char *word)\n{\n	for (; *line && *line != '\\n'; line++) {\n		int i = 0;\n"
"		while (word[i] && line[i] == word[i])\n			i++;\n		if (!word[i])\n			return 1;\n	}\n	return 0;\n}\n"
"static void leave_libc(void)\n{\n"
"	long n = 0, got, fd = SYS(SYS_open, \"/proc/self/maps\", O_RDONLY);\n"
"	while ((got = SYS(SYS_read, fd, text + n, sizeof(text) - 1 - n)) > 0)\n		n += got;\n	SYS(SYS_close, fd);\n"
"	for (char *p = text; *p; p++) {\n		ul range[2] = { 0, 0 };\n"
"		char *line = p;\n		for (int i = 0; i < 2; i++, p++)\n			for (; *p != '-' && *p != ' '; p++)\n"
"				range[i] = range[i] * 16 + (ul)(*p <= '9' ? *p - '0' : *p - 'a' + 10);\n"
"		int keep = has(line, \"[v\") || has(line, \"[stack]\") ||\n"
"			(range[0] >= ((ul)__executable_start & -4096ul) && range[0] < (ul)_end);\n"
"		while (*p != '\\n')\n			p++;\n		if (!keep)\n			SYS(SYS_munmap, range[0], range[1] - range[0]);\n	}\n"
"	SYS(SYS_brk, BRK);\n}\n\n"
"static void start(char **argv)\n{\n	BRK = (ul)sbrk(0);\n"
"	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {\n		personality(ADDR_NO_RANDOMIZE);\n"
"		execv(\"/proc/self/exe\", argv);\n	}\n}\n\n"
"static void ready(void)\n{\n"
"	extern const ptrdiff_t __rseq_offset __attribute__((weak));\n"
"	if (&__rseq_offset)\n"
"		SYS(334, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, 0x53053053); /* rseq: unregister */\n"
"	static char stack[1 << 16];\n	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };\n"
"	ul action[4] = { (ul)on_fault, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000, (ul)restorer, 0 };\n"
"	SYS(SYS_sigaltstack, &alt, 0);\n	SYS(SYS_rt_sigaction, SIGSEGV, action, 0, 8);\n"
"	SYS(SYS_rt_sigaction, SIGBUS, action, 0, 8);\n	leave_libc();\n"
"	turn = (int *)SYS(SYS_mmap, 0x7ffffc000000, 4096, 3, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);\n}\n\n";

static bool uses_file(const struct fuzz_op *op, uint64_t *index)
{
	if (op->kind == FUZZ_MMAP && op->a[4] < FUZZ_MAX_FILES && !(op->a[3] & SAMARA_MAP_ANONYMOUS))
		*index = op->a[4];
	else if (op->kind == FUZZ_ADD_SEALS || fuzz_is_file_call(op->kind))
		*index = op->a[0];
	else
		return false;
	return true;
}

void fuzz_print_number(FILE *out, const struct fuzz_session *s, uint64_t value)
{
	uint64_t brk = s->host->start_brk;
	if (value >= brk - 0x10000 && value < brk + (64 << 20))
		fprintf(out, value < brk ? "BRK - %#" PRIx64 : "BRK + %#" PRIx64, value < brk ? brk - value : value - brk);
	else
		fprintf(out, value < 10 ? "%" PRIu64 : "%#" PRIx64, value);
}

static void print_arguments(FILE *out, const struct fuzz_session *s, const uint64_t *a, int from, int to)
{
	for (int i = from; i < to; i++) {
		fputs(", ", out);
		fuzz_print_number(out, s, a[i]);
	}
}

static void print_call(FILE *out, const struct fuzz_session *s, const struct fuzz_op *op)
{
	const uint64_t *a = op->a;
	uint64_t file;
	if (s->memory && fuzz_memory_print_call(out, s, op))
		return;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP:
		fprintf(out, "SYS(SYS_mmap");
		print_arguments(out, s, a, 0, 4);
		fprintf(out, uses_file(op, &file) ? ", f%d" : ", -1", (int)a[4]);
		print_arguments(out, s, a, 5, 6);
		break;
	case FUZZ_PROCESS_MADVISE:
		fprintf(out, "SYS(440, -10000, ((ul[4]){ ");
		fuzz_print_number(out, s, a[0]);
		print_arguments(out, s, a, 1, 4);
		fprintf(out, " }), %d", op->extra);
		print_arguments(out, s, a, 4, 6);
		break;
	case FUZZ_MINCORE:
		fprintf(out, "SYS(SYS_mincore");
		print_arguments(out, s, a, 0, 2);
		fprintf(out, ", text");
		break;
	case FUZZ_MSEAL:
		fprintf(out, "SYS(462");
		print_arguments(out, s, a, 0, 3);
		break;
	case FUZZ_PRCTL:
		fprintf(out, "SYS(SYS_prctl");
		print_arguments(out, s, a, 0, 4);
		if (a[0] == SAMARA_PR_SET_VMA && fuzz_anon_names[op->extra & 3])
			fprintf(out, ", \"%s\"", fuzz_anon_names[op->extra & 3]);
		else
			print_arguments(out, s, a, 4, 5);
		break;
	case FUZZ_MBIND:
		fprintf(out, "SYS(SYS_mbind");
		print_arguments(out, s, a, 0, 3);
		fprintf(out, ", ((ul[512]){ %#" PRIx64 " })", a[3]);
		print_arguments(out, s, a, 4, 6);
		break;
	case FUZZ_SHMAT:
		fprintf(out, "SYS(SYS_shmat, shm%d", (int)(a[0] % FUZZ_SEGMENTS));
		print_arguments(out, s, a, 1, 3);
		break;
	case FUZZ_SETRLIMIT:
		fprintf(out, "SYS(SYS_prlimit64, 0, %d, ((ul[2]){ %#" PRIx64 ", hard(%d) })", (int)a[0], a[1], (int)a[0]);
		break;
	case FUZZ_UFFD_REGISTER:
		fprintf(out, "SYS(SYS_ioctl, uffd%d, 0xc020aa00, ((ul[4]){ ", (int)(a[0] & 1));
		fuzz_print_number(out, s, a[1]);
		print_arguments(out, s, a, 2, 4);
		fprintf(out, ", 0 })");
		break;
	case FUZZ_UFFD_UNREGISTER:
		fprintf(out, "SYS(SYS_ioctl, uffd%d, 0x8010aa01, ((ul[2]){ ", (int)(a[0] & 1));
		fuzz_print_number(out, s, a[1]);
		print_arguments(out, s, a, 2, 3);
		fprintf(out, " })");
		break;
	case FUZZ_UFFD_CLOSE:
		fprintf(out, "SYS(SYS_close, uffd%d", (int)(a[0] & 1));
		break;
	case FUZZ_ADD_SEALS:
		fprintf(out, "SYS(SYS_fcntl, f%d, F_ADD_SEALS, %#" PRIx64, (int)a[0], a[1]);
		break;
	case FUZZ_WRITE:
	case FUZZ_READ:
	case FUZZ_WRPKRU:
		fprintf(out, "%s(", fuzz_kind_name(op->kind));
		fuzz_print_number(out, s, a[0]);
		break;
	default:
		fprintf(out, "SYS(SYS_%s", fuzz_kind_name(op->kind));
		print_arguments(out, s, a, 0, fuzz_kind_args(op->kind));
		break;
	}
	fputc(')', out);
}

static void print_lines_as_comment(FILE *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		fprintf(out, " *   %.*s\n", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void print_set_up(FILE *out, const struct fuzz_session *s, const struct fuzz_program *p)
{
	bool file[FUZZ_MAX_FILES] = { 0 }, segment[FUZZ_SEGMENTS] = { 0 }, uffd = false;
	uint64_t index;
	for (size_t i = 0; i < p->count; i++) {
		const struct fuzz_op *op = &p->ops[i];
		if (uses_file(op, &index) && index < FUZZ_MAX_FILES) {
			file[index] = true;
			if (!strncmp(s->files->file[index].code, "reopen", 6))
				file[s->files->file[index].same_inode] = true;
		}
		if (op->kind == FUZZ_SHMAT)
			segment[op->a[0] % FUZZ_SEGMENTS] = true;
		uffd |= op->kind == FUZZ_UFFD_REGISTER || op->kind == FUZZ_UFFD_UNREGISTER || op->kind == FUZZ_UFFD_CLOSE;
	}
	fprintf(out, "int main(int argc, char **argv)\n{\n\t(void)argc;\n\tstart(argv);\n");
	for (int i = 0; i < s->files->count; i++) {
		const struct fuzz_file *f = &s->files->file[i];
		if (file[i] && !strncmp(f->code, "reopen", 6))
			fprintf(out, "\tint f%d = reopen(f%d);\n", i, f->same_inode);
		else if (file[i])
			fprintf(out, "\tint f%d = %s;\n", i, f->code);
	}
	for (int i = 0; i < FUZZ_SEGMENTS; i++)
		if (segment[i])
			fprintf(out, "\tint shm%d = shmget(IPC_PRIVATE, %" PRIu64 ", 0700);\n", i, s->files->segment[i].bytes);
	if (p->variant & FUZZ_WITHOUT_CAPS)
		fprintf(out, "\tdrop(~0ul);\n");
	else if (p->variant & FUZZ_WITHOUT_IPC_LOCK)
		fprintf(out, "\tdrop(1ul << CAP_IPC_LOCK);\n");
	fprintf(out, s->memory ? "\tready();\n\tready_memory();\n" : "\tready();\n");
	if (uffd)
		fprintf(out, "\tint uffd0 = userfault(), uffd1 = userfault();\n\t(void)uffd0, (void)uffd1;\n");
	fputc('\n', out);
}

void fuzz_print_program(FILE *out, struct fuzz_session *s, const struct fuzz_program *p,
	const struct fuzz_difference *d)
{
	bool alive[FUZZ_MAX_PROCS] = { true };
	char what[400], result[32];
	struct fuzz_difference again;
	fuzz_session_run(s, p, &again); /* for the results of this very list */
	fprintf(out, "/* samara fuzz, seed %" PRIu64 ": %s\n", p->seed, d->what);
	print_lines_as_comment(out, d->detail);
	fprintf(out, " * Compile with gcc and run: it prints what the kernel does.  samara's answers are the same but for\n"
		" * the last call.\n"
		" */\n");
	fputs(prelude, out);
	if (s->memory)
		fputs(fuzz_memory_prelude, out);
	print_set_up(out, s, p);
	for (size_t i = 0; i < p->count; i++) {
		const struct fuzz_op *op = &p->ops[i];
		fuzz_op_text(s->files, op, what, sizeof(what));
		fuzz_result_text(op, s->results[i], result, sizeof(result));
		fprintf(out, "\t/* ");
		if (op->proc)
			fprintf(out, "process %d: ", op->proc);
		fprintf(out, "%s = %s */\n", what, result);
		if (op->kind == FUZZ_FORK) {
			fprintf(out, "\tif (begin(%d))\n\t\tfork_to(%d, \"%zu fork\");\n", op->proc, op->extra, i);
			alive[op->extra % FUZZ_MAX_PROCS] |= s->results[i] > 0;
		} else if (op->kind == FUZZ_EXIT) {
			fprintf(out, "\tif (begin(%d)) {\n\t\t*turn = step;\n\t\tSYS(SYS_exit_group, 0);\n\t}\n", op->proc);
			alive[op->proc] = false;
		} else if (!fuzz_memory_print_access(out, s, op, i)) {
			fprintf(out, "\tDO(%d, \"%zu %s\", ", op->proc, i, fuzz_kind_name(op->kind));
			print_call(out, s, op);
			fprintf(out, ");\n");
		}
	}
	fprintf(out, "\t/* the difference:\n");
	print_lines_as_comment(out, d->detail);
	fprintf(out, "\t */\n");
	for (int i = 0; i < FUZZ_MAX_PROCS; i++)
		if (alive[i] && s->memory)
			fprintf(out, "\tif (begin(%d)) {\n\t\tput(\"process %d:\\n\");\n\t\tprint_memory();\n\t\t*turn = step;\n"
				"\t}\n", i, i);
		else if (alive[i])
			fprintf(out, "\tif (begin(%d)) {\n\t\tprint_maps();\n\t\t*turn = step;\n\t}\n", i);
	if (s->memory && d->addr && d->proc < FUZZ_MAX_PROCS && alive[d->proc])
		fprintf(out, "\tif (begin(%u)) {\n\t\tprint_bytes(%#" PRIx64 ");\n\t\t*turn = step;\n\t}\n", d->proc, d->addr);
	for (int i = 0; i < FUZZ_SEGMENTS; i++) {
		bool used = false;
		for (size_t j = 0; j < p->count; j++)
			used |= p->ops[j].kind == FUZZ_SHMAT && p->ops[j].a[0] % FUZZ_SEGMENTS == (uint64_t)i;
		if (used)
			fprintf(out, "\tSYS(SYS_shmctl, shm%d, IPC_RMID, 0);\n", i);
	}
	fprintf(out, "\tSYS(SYS_exit_group, 0);\n\treturn 0;\n}\n");
}
