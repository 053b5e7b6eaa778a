/* fuzz_memory_print.c - what the C program of a difference needs beyond calls: accesses with their faults, bytes,
 * pages.
 *
 * It is put behind the common prelude (fuzz_print.c) and replaces its fault handler: a fault here keeps its signal,
 * code and address.  Bytes that are read are shown by a sum; in the end smaps, pagemap and the bytes that differed
 * are printed.
 */
#include <inttypes.h>
#include "fuzz_memory.h"

const char fuzz_memory_prelude[] =
"/* ---- memory ---- */\n\n"
"static struct { ul signo, code, addr; } fault;\n\n"
"static void on_access(int sig, siginfo_t *info, void *context)\n{\n"
"	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;\n"
"	fault.signo = (ul)sig;\n	fault.code = (ul)info->si_code;\n	fault.addr = (ul)info->si_addr;\n"
"	r[REG_RIP] = r[REG_RBX];\n}\n\n"
"static void ready_memory(void)\n{\n"
"	ul action[4] = { (ul)on_access, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000, (ul)restorer, 0 };\n"
"	SYS(SYS_rt_sigaction, SIGSEGV, action, 0, 8);\n	SYS(SYS_rt_sigaction, SIGBUS, action, 0, 8);\n"
"	SYS(SYS_prctl, 41, 1, 0, 0, 0); /* PR_SET_THP_DISABLE */\n}\n\n"
"static void hex(const char *label, ul v)\n{\n	char digits[32], *p = digits + sizeof(digits);\n"
"	*--p = 0;\n	do\n		*--p = \"0123456789abcdef\"[v % 16];\n	while (v /= 16);\n"
"	put(label);\n	put(\"0x\");\n	put(p);\n}\n\n"
"static void ends(int with_value, ul value)\n{\n"
"	if (fault.signo) {\n		hex(\" signal \", fault.signo);\n		hex(\" code \", fault.code);\n"
"		hex(\" address \", fault.addr);\n"
"	} else if (with_value) {\n		hex(\" = \", value);\n	}\n	put(\"\\n\");\n}\n\n"
"#define TRY(text) __asm__ volatile(\"lea 1f(%%rip), %%rbx\\n \" text \"\\n1:\" : \"+a\"(a), \"+d\"(d) : \"c\"(addr)\\\n"
"	: \"rbx\", \"memory\", \"cc\")\n"
"#define WIDTHS(n, one, two, four, eight) case n: TRY(one); break; case n + 1: TRY(two); break; \\\n"
"	case n + 2: TRY(four); break; case n + 3: TRY(eight); break\n"
"static ul access_(int what, ul addr, ul log2, ul a, ul d)\n{\n	fault.signo = 0;\n"
"	switch (what * 4 + (int)(log2 & 3)) {\n"
"	WIDTHS(0, \"movzbl (%%rcx), %%eax\", \"movzwl (%%rcx), %%eax\", \"movl (%%rcx), %%eax\", \"movq (%%rcx), %%rax\");\n"
"	WIDTHS(4, \"movb %%al, (%%rcx)\", \"movw %%ax, (%%rcx)\", \"movl %%eax, (%%rcx)\", \"movq %%rax, (%%rcx)\");\n"
"	WIDTHS(8, \"xchgb %%al, (%%rcx)\", \"xchgw %%ax, (%%rcx)\", \"xchgl %%eax, (%%rcx)\", \"xchgq %%rax, (%%rcx)\");\n"
"	WIDTHS(12, \"lock xaddb %%al, (%%rcx)\", \"lock xaddw %%ax, (%%rcx)\", \"lock xaddl %%eax, (%%rcx)\",\n"
"		\"lock xaddq %%rax, (%%rcx)\");\n"
"	WIDTHS(16, \"lock cmpxchgb %%dl, (%%rcx)\", \"lock cmpxchgw %%dx, (%%rcx)\", \"lock cmpxchgl %%edx, (%%rcx)\",\n"
"		\"lock cmpxchgq %%rdx, (%%rcx)\");\n	}\n"
"	return log2 % 4 < 3 ? a & ((1ul << (8 << log2 % 4)) - 1) : a;\n}\n"
"static unsigned char byte_of(ul *seed)\n{\n	*seed = *seed * 6364136223846793005ul + 1442695040888963407ul;\n"
"	return (unsigned char)(*seed >> 56);\n}\n"
"static ul sum_of(const char *bytes, ul n)\n{\n	ul sum = 0;\n	for (ul i = 0; i < n; i++)\n"
"		sum = sum * 31 + (unsigned char)bytes[i];\n"
"	return sum;\n}\n"
"__attribute__((unused)) static void word(const char *name, int what, ul addr, ul log2, ul a, ul d)\n{\n"
"	ul old = access_(what, addr, log2, a, d);\n	put(name);\n	ends(what != 1, old);\n}\n"
"__attribute__((unused)) static void run(const char *name, int what, ul addr, ul bytes, ul seed)\n{\n"
"	ul n = 0;\n	fault.signo = 0;\n"
"	for (; n < bytes; n++) {\n		ul got = access_(what, addr + n, 0, what ? byte_of(&seed) : 0, 0);\n"
"		if (fault.signo)\n			break;\n		text[n] = (char)got;\n	}\n"
"	put(name);\n	hex(\": bytes \", n);\n	if (!what)\n		hex(\", sum \", sum_of(text, n));\n	ends(0, 0);\n}\n"
"static void make_bytes(ul bytes, ul seed)\n{\n	for (ul i = 0; i < bytes; i++)\n"
"		text[i] = (char)byte_of(&seed);\n}\n"
"static long show_bytes(long n)\n{\n	if (n > 0)\n		hex(\"sum \", sum_of(text, (ul)n)), put(\", \");\n"
"	return n;\n}\n"
"__attribute__((unused)) static long pread_(int fd, ul at, ul bytes)\n{\n"
"	return show_bytes(SYS(SYS_pread64, fd, text, bytes, at));\n}\n"
"__attribute__((unused)) static long pwrite_(int fd, ul at, ul bytes, ul seed)\n{\n	make_bytes(bytes, seed);\n"
"	return SYS(SYS_pwrite64, fd, text, bytes, at);\n}\n"
"__attribute__((unused)) static long vm_(int write, ul addr, ul bytes, ul seed)\n{\n"
"	ul here[2] = { (ul)text, bytes }, there[2] = { addr, bytes };\n"
"	if (write)\n		make_bytes(bytes, seed);\n"
"	long n = SYS(write ? SYS_process_vm_writev : SYS_process_vm_readv, SYS(SYS_getpid), here, 1, there, 1, 0);\n"
"	return write ? n : show_bytes(n);\n}\n"
"__attribute__((unused)) static long mem_(int write, ul addr, ul bytes, ul seed)\n{\n"
"	long fd = SYS(SYS_open, \"/proc/self/mem\", write ? O_WRONLY : O_RDONLY);\n"
"	if (write)\n		make_bytes(bytes, seed);\n"
"	long n = SYS(write ? SYS_pwrite64 : SYS_pread64, fd, text, bytes, addr);\n"
"	SYS(SYS_close, fd);\n	return write ? n : show_bytes(n);\n}\n"
"__attribute__((unused)) static long mincore_(ul addr, ul bytes)\n{\n"
"	ul pages = bytes / 4096 + (bytes % 4096 != 0);\n"
"	if (pages >= sizeof(text))\n		return SYS(SYS_mincore, addr, bytes, text);\n"
"	long r = SYS(SYS_mincore, addr, bytes, text);\n	for (ul i = 0; !r && i < pages; i++)\n"
"		put(text[i] & 1 ? \"1\" : \"0\");\n"
"	put(\" \");\n	return r;\n}\n\n"
"static void print_memory(void)\n{\n	long n, fd = SYS(SYS_open, \"/proc/self/smaps\", O_RDONLY);\n"
"	while ((n = SYS(SYS_read, fd, text, sizeof(text))) > 0)\n		SYS(SYS_write, 1, text, n);\n	SYS(SYS_close, fd);\n"
"	fd = SYS(SYS_open, \"/proc/self/pagemap\", O_RDONLY);\n"
"	put(\"pagemap, without frame numbers:\\n\");\n"
"	for (ul at = 0x300000000000ul; at < 0x7ffff8000000ul; at += 4096) {\n		ul bits = 0;\n"
"		if (at == 0x300000080000ul)\n			at = 0x7ffff7f00000ul;\n"
"		SYS(SYS_pread64, fd, &bits, 8, at / 4096 * 8);\n		bits &= 0xe700000000000000ul;\n"
"		if (bits)\n			hex(\"\", at), hex(\" \", bits), put(\"\\n\");\n	}\n	SYS(SYS_close, fd);\n}\n\n"
"__attribute__((unused)) static void print_bytes(ul addr)\n{\n"
"	long fd = SYS(SYS_open, \"/proc/self/mem\", O_RDONLY);\n	ul two[2] = { 0, 0 };\n"
"	long n = SYS(SYS_pread64, fd, two, 16, addr);\n	hex(\"at \", addr);\n	if (n == 16)\n"
"		hex(\": \", two[0]), hex(\" \", two[1]);\n"
"	put(n == 16 ? \"\\n\" : \": cannot be read\\n\");\n	SYS(SYS_close, fd);\n}\n\n";

static void print_numbers(FILE *out, const struct fuzz_session *s, const uint64_t *a, int from, int to)
{
	for (int i = from; i < to; i++) {
		fputs(", ", out);
		fuzz_print_number(out, s, a[i]);
	}
}

/* A whole statement, for accesses; false: not one. */
bool fuzz_memory_print_access(FILE *out, const struct fuzz_session *s, const struct fuzz_op *op, size_t index)
{
	const char *name = fuzz_kind_name(op->kind);

	if (!fuzz_is_access(op->kind))
		return false;
	fprintf(out, "\tif (begin(%d)) {\n", op->proc);
	if (op->kind == FUZZ_READ_RUN || op->kind == FUZZ_WRITE_RUN) {
		fprintf(out, "\t\trun(\"%zu %s\", %d", index, name, op->kind == FUZZ_WRITE_RUN);
		print_numbers(out, s, op->a, 0, 3);
	} else {
		fprintf(out, "\t\tword(\"%zu %s\", %d", index, name, op->kind - FUZZ_READ_WORD);
		print_numbers(out, s, op->a, 0, 4);
	}
	fprintf(out, ");\n\t\t*turn = step;\n\t}\n");
	return true;
}

/* The expression of a call that the common printer does not know; false: not one. */
bool fuzz_memory_print_call(FILE *out, const struct fuzz_session *s, const struct fuzz_op *op)
{
	const char *name = fuzz_kind_name(op->kind);

	if (op->kind == FUZZ_MINCORE) {
		fprintf(out, "mincore_(");
		fuzz_print_number(out, s, op->a[0]);
		print_numbers(out, s, op->a, 1, 2);
	} else if (op->kind == FUZZ_PREAD || op->kind == FUZZ_PWRITE) {
		fprintf(out, "%s_(f%d", name, (int)op->a[0]);
		print_numbers(out, s, op->a, 1, fuzz_kind_args(op->kind));
	} else if (fuzz_is_remote(op->kind)) {
		bool write = op->kind == FUZZ_VM_WRITE || op->kind == FUZZ_MEM_WRITE;
		fprintf(out, "%s_(%d", op->kind == FUZZ_VM_READ || op->kind == FUZZ_VM_WRITE ? "vm" : "mem", write);
		print_numbers(out, s, op->a, 0, 3);
	} else if (fuzz_is_file_call(op->kind)) {
		fprintf(out, "SYS(SYS_%s, f%d", name, (int)op->a[0]);
		print_numbers(out, s, op->a, 1, fuzz_kind_args(op->kind));
	} else {
		return false;
	}
	fputc(')', out);
	return true;
}
