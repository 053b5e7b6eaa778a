/* requests_fuzz.c - a libFuzzer target: bytes become requests on samara alone, the whole structure is checked
 * after each.
 *
 * There is no kernel to compare with; what must hold is that no input crashes the core, breaks an invariant, or
 * loses memory.  Two address spaces at most live at the same time, so that fork, exit and shared objects are
 * reached.  The port is malloc without locks: a lock that is left taken is a panic, deferred memory goes at once,
 * so sanitizers see every use of it.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined -Iinclude -I. tests/fuzz/requests_fuzz.c core/[a-z]*\/[a-z]*.c
 * With -DREQUESTS_FUZZ_MAIN it is a plain program that runs the files named on its command line (or random bytes:
 *     --random N).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "samara/samara.h"

enum { ARENA_PAGES = 64, MAX_REQUESTS = 400, FILES = 4 };
#define ARENA 0x300000000000ull
#define PAGE 4096ull

static uint64_t live_bytes;
static unsigned fail_in; /* the n-th allocation from now fails; 0: none */

static void *port_alloc(void *self, size_t bytes)
{
	(void)self;
	if (fail_in && --fail_in == 0)
		return NULL;
	live_bytes += bytes;
	return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
}

static void port_free(void *self, void *memory, size_t bytes)
{
	(void)self;
	live_bytes -= bytes;
	free(memory);
}

static void port_panic(void *self, const char *file, int line, const char *what)
{
	(void)self;
	fprintf(stderr, "samara panics: %s:%d: %s\n", file, line, what);
	abort();
}

struct input {
	const uint8_t *at, *end;
};

static unsigned take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* Mostly the arena; the top values of a byte are the edges of the address space. */
static uint64_t take_address(struct input *in)
{
	static const uint64_t edges[] = { 0, 1, PAGE, 0x10000, 0x40000000, 0x7fffffffe000, 0x7ffffffff000,
		0x800000000000, 1ull << 63,
		~0ull, ~0ull - 4095, 0x555555556000, ARENA + 1, ARENA - PAGE * 256, ARENA + ARENA_PAGES * PAGE, 0x7ffff7ff0000 };
	unsigned b = take(in);
	if (b >= 240)
		return edges[b - 240];
	return ARENA + (b % ARENA_PAGES) * PAGE + (b >= 224 ? b : 0);
}

static uint64_t take_length(struct input *in)
{
	static const uint64_t hostile[] = { 0, 1, 4095, 2 << 20, 4 << 20, 1ull << 30, 1ull << 40, 1ull << 46, 1ull << 47,
		0x7ffffffff000,
		1ull << 63, ~0ull, ~0ull - 4094, ~0ull - 4095, (2 << 20) + PAGE, 0x1234567 };
	unsigned b = take(in);
	return b >= 240 ? hostile[b - 240] : (b % 16 + 1) * PAGE + (b >= 230 ? 100 : 0);
}

static uint64_t take_flags(struct input *in)
{
	uint64_t low = take(in);
	return low | (uint64_t)take(in) << 8 | (uint64_t)(take(in) & 0x1f) << 16;
}

struct world {
	struct samara *vm;
	struct samara_mm *mm[2];
	struct samara_inode *inode[FILES];
	struct samara_file *file[FILES];
	int context[2];
};

static void must(int err)
{
	if (err)
		abort();
}

static void make_world(struct world *w)
{
	static const struct samara_inode_desc descs[FILES] = {
		{ .kind = SAMARA_INODE_REGULAR, .major = 8, .ino = 10, .size_bytes = 5 * PAGE + 1, .huge_align = 1 },
		{ .kind = SAMARA_INODE_SHMEM, .minor = 1, .ino = 11, .size_bytes = 16 * PAGE },
		{ .kind = SAMARA_INODE_DEV_ZERO, .minor = 6, .ino = 5 },
		{ .kind = SAMARA_INODE_HUGETLB, .minor = 15, .ino = 12, .size_bytes = 4 << 20, .hardwired_huge_log2 = 21 },
	};
	struct samara_port port = { .size = sizeof(port), .alloc = port_alloc, .free = port_free, .panic = port_panic };
	struct samara_config config = { .size = sizeof(config), .max_map_count = 60, .anon_vma_name = 1, .pkeys = 1 };
	struct samara_mm_params params = { .size = sizeof(params), .start_brk = 0x555555555000, .brk = 0x555555555000,
		.start_stack = 0x7fffffffe000, .capabilities = 1ull << SAMARA_CAP_IPC_LOCK };
	must(samara_create(&port, &config, &w->vm));
	must(samara_mm_create(w->vm, &params, &w->mm[0]));
	for (int i = 0; i < FILES; i++) {
		must(samara_inode_create(w->vm, &descs[i], &w->inode[i]));
		must(samara_file_open(w->inode[i], SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/file", &w->file[i]));
	}
	struct samara_install stack = { .start = 0x7ffffffde000, .end = 0x7ffffffff000,
		.vm_flags = SAMARA_VM_READ | SAMARA_VM_WRITE |
		SAMARA_VM_MAYREAD | SAMARA_VM_MAYWRITE | SAMARA_VM_MAYEXEC | SAMARA_VM_GROWSDOWN | SAMARA_VM_ACCOUNT, .faulted = 1 };
	must(samara_install(w->mm[0], &stack));
}

static void end_world(struct world *w)
{
	for (int i = 0; i < 2; i++)
		if (w->mm[i])
			samara_mm_put(w->mm[i]);
	for (int i = 0; i < FILES; i++) {
		samara_file_put(w->file[i]);
		samara_inode_put(w->inode[i]);
	}
	samara_destroy(w->vm);
	if (live_bytes) {
		fprintf(stderr, "%llu bytes lost\n", (unsigned long long)live_bytes);
		abort();
	}
}

static void set_limit(struct samara_mm *mm, struct input *in)
{
	static const int which[] = { SAMARA_RLIMIT_DATA, SAMARA_RLIMIT_STACK, SAMARA_RLIMIT_MEMLOCK, SAMARA_RLIMIT_AS };
	int resource = which[take(in) % 4];
	struct samara_rlimit limit = samara_get_rlimit(mm, resource);
	unsigned b = take(in);
	limit.cur = b & 1 ? limit.max : b * 8 * PAGE;
	samara_set_rlimit(mm, resource, limit);
}

static int ignore_text(void *self, const char *text, size_t bytes)
{
	(void)self, (void)text, (void)bytes;
	return 0;
}

static void request(struct world *w, struct input *in)
{
	unsigned what = take(in), which = what >> 7 && w->mm[1] ? 1 : 0;
	struct samara_mm *mm = w->mm[which];
	uint64_t a = take_address(in), n = take_length(in);
	switch (what & 31) {
	case 0: case 1: case 2: case 3: case 4: {
		uint64_t prot = take(in) & 15, flags = take_flags(in), pgoff = take(in) % 20;
		samara_mmap(mm, a, n, prot, flags, w->file[take(in) % FILES], pgoff * PAGE);
		break;
	}
	case 5: case 6: samara_munmap(mm, a, n); break;
	case 7: case 8: samara_mprotect(mm, a, n, take(in) & 7); break;
	case 9:
		samara_set_pkru(mm, (take(in) & 3) * 0x55555554u);
		samara_pkey_mprotect(mm, a, n, take(in) & 15, (int)(take(in) % 18) - 1);
		break;
	case 10: case 11: case 12: {
		uint64_t to = take_length(in), flags = take(in) & 15;
		samara_mremap(mm, a, n, to, flags, take_address(in));
		break;
	}
	case 13: samara_brk(mm, 0x555555555000 + take(in) * PAGE / 4); break;
	case 14: case 15: samara_madvise(mm, a, n, (int)(take(in) % 105)); break;
	case 16: samara_mlock2(mm, a, n, take(in) & 3); break;
	case 17: samara_munlock(mm, a, n); break;
	case 18: samara_mlockall(mm, take(in) & 7); break;
	case 19: samara_munlockall(mm); break;
	case 20: samara_msync(mm, a, n, take(in) & 15); break;
	case 21: samara_mseal(mm, a, n, take(in) & 128); break;
	case 22: samara_remap_file_pages(mm, a, n, 0, take(in) % 20, 0); break;
	case 23: {
		static const char *const names[] = { NULL, "a name", "bad[", "" };
		samara_prctl(mm, SAMARA_PR_SET_VMA, 0, a, n, 0, names[take(in) & 3]);
		break;
	}
	case 24: {
		uint64_t nodes[16] = { take(in) };
		samara_mbind(mm, a, n, take(in) % 8, nodes, take(in) % 65, take(in) & 7);
		break;
	}
	case 25: samara_shmat(mm, w->inode[1], "/SYSV00000000 (deleted)", a, (int)(take(in) & 15) << 12); break;
	case 26: samara_shmdt(mm, a); break;
	case 27: set_limit(mm, in); break;
	case 28: samara_uffd_register(mm, &w->context[take(in) & 1], a, n, take(in) & 7); break;
	case 29: samara_uffd_unregister(mm, &w->context[take(in) & 1], a, n); break;
	case 30:
		if (!w->mm[1]) {
			samara_fork(mm, &w->mm[1]);
		} else {
			samara_mm_put(w->mm[1]);
			w->mm[1] = NULL;
		}
		break;
	case 31:
		if (samara_expand_stack(mm, a) == 0)
			samara_touch(mm, a, 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, data + bytes };
	struct world w = { .vm = NULL };
	fail_in = 0;
	live_bytes = 0;
	make_world(&w);
	for (int i = 0; i < MAX_REQUESTS && in.at < in.end; i++) {
		/* now and then an allocation of the request fails */
		fail_in = *in.at == 0x7f ? 1 + (unsigned)(in.end - in.at) % 5 : 0;
		request(&w, &in);
		fail_in = 0;
		for (int m = 0; m < 2; m++)
			if (w.mm[m])
				samara_check(w.mm[m]);
	}
	samara_view_maps(w.mm[0], ignore_text, NULL);
	end_world(&w);
	return 0;
}

#ifdef REQUESTS_FUZZ_MAIN
int main(int argc, char **argv)
{
	static uint8_t data[4096];
	if (argc == 3 && !strcmp(argv[1], "--random")) {
		uint64_t x = 88172645463325252ull;
		for (long n = strtol(argv[2], NULL, 10); n > 0; n--) {
			for (size_t i = 0; i < sizeof(data); i++) {
				x ^= x << 13, x ^= x >> 7, x ^= x << 17;
				data[i] = (uint8_t)(x >> 24);
			}
			LLVMFuzzerTestOneInput(data, sizeof(data));
		}
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		if (!f)
			return 2;
		LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), f));
		fclose(f);
	}
	return 0;
}
#endif
