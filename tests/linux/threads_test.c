/* threads_test.c - several threads of one process at once, on the kernel and on samara: what each of them sees, and
 * what is there when they rest, must be the same.
 *
 *      test-threads [PROGRAMS [SEED]]
 *
 * A program is made from its seed: some threads, each with an area of its own in one address space, and rounds in which
 * all work at the same time: they map, unmap, move and protect parts of their area, load, store and add; a word that
 * all add to is common, and so are mmap_lock, the file, the frames and the tables above the areas.  Nothing that a
 * thread sees depends on the others, whatever the order; so every result, signal with code and address, and at the end
 * of each round maps, pagemap and the bytes of every page that is there are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"
#include "tools/samara/host.h"

#define PAGE UINT64_C(4096)
#define ARENA 0x200000000000ull
#define STRIDE (1ull << 24)
#define COUNTER (ARENA - STRIDE)
#define RUNS_AGAIN 32 /* of a program that lost a page, maybe to the host */

enum { THREADS = 3, AREA = 64, OPS = 80, ROUNDS = 5, FRAMES = 4096 };
enum kind { MAKE, MAKE_SHARED, MAKE_FILE, MAKE_COPY, UNMAP, PROTECT, DISCARD, POPULATE, MOVE, STORE, LOAD, ADD, COUNT, KINDS };

struct op {
	enum kind kind;
	uint64_t addr, bytes, to; /* to: where MOVE moves, the value that is stored or added, the page of the file, the rights */
};

struct result {
	int64_t value;   /* of the call, or the word; -1000 - signal * 16 - code */
	uint64_t addr;   /* of the signal */
};

struct round {
	struct result result[THREADS][OPS];
	char maps[1 << 14];
	uint64_t pagemap[THREADS * AREA], sum[THREADS * AREA], counter;
};

struct side {
	bool kernel;
	uint64_t seed;
	int fd;                  /* kernel: the file */
	struct samara *vm;
	struct samara_mm *mm;
	struct samara_file *file;
	pthread_barrier_t rest;
	struct round *rounds;
	unsigned thread[THREADS];
};

static void die(const char *what)
{
	fprintf(stderr, "threads_test: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- programs ---- */

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

static struct op make_op(uint64_t seed, unsigned round, unsigned thread, unsigned i)
{
	/* one of each kind, and of those that are made more often again */
	static const enum kind kinds[] = { MAKE, MAKE, MAKE, MAKE_SHARED, MAKE_FILE, MAKE_FILE, MAKE_COPY, MAKE_COPY, UNMAP, PROTECT,
		PROTECT, DISCARD, POPULATE, MOVE, STORE, STORE, STORE, STORE, STORE, LOAD, LOAD, LOAD, ADD, ADD, COUNT, COUNT };
	uint64_t state = (seed * 1000003 + round * 7919 + thread * 104729 + i + 1) * 0x9e3779b97f4a7c15ull | 1;
	struct op op;
	uint64_t page, pages;

	draw(&state);
	draw(&state);
	op.kind = i < 2 && !round ? MAKE : kinds[draw(&state) % (sizeof(kinds) / sizeof(kinds[0]))];
	page = draw(&state) % AREA;
	pages = 1 + draw(&state) % 12;
	if (pages > AREA - page)
		pages = AREA - page;
	op.addr = ARENA + thread * STRIDE + page * PAGE;
	op.bytes = pages * PAGE;
	op.to = draw(&state);
	switch (op.kind) {
	case MAKE_FILE: case MAKE_COPY: /* each thread has its own part of the file */
		op.to = (thread * AREA + op.to % (AREA - pages + 1)) * PAGE;
		break;
	case PROTECT:
		op.to = (const uint64_t[]){ PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE }[op.to & 3];
		break;
	case MOVE:
		op.to = ARENA + thread * STRIDE + op.to % (AREA - pages + 1) * PAGE;
		break;
	case STORE: case LOAD: case ADD:
		op.addr += draw(&state) % 512 * 8;
		break;
	default:
		break;
	}
	return op;
}

static int flags_of(enum kind kind)
{
	return MAP_FIXED | (kind == MAKE || kind == MAKE_COPY ? MAP_PRIVATE : MAP_SHARED) |
		(kind == MAKE || kind == MAKE_SHARED ? MAP_ANONYMOUS : 0);
}

/* ---- the kernel ---- */

static __thread sigjmp_buf escape;
static __thread volatile struct result caught;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	caught.value = -1000 - signo * 16 - info->si_code;
	caught.addr = (uint64_t)(uintptr_t)info->si_addr;
	siglongjmp(escape, 1);
}

static struct result kernel_access(const struct op *op)
{
	uint64_t *word = (uint64_t *)(uintptr_t)(op->kind == COUNT ? COUNTER : op->addr);

	if (sigsetjmp(escape, 1))
		return (struct result){ caught.value, caught.addr };
	switch (op->kind) {
	case STORE: *(volatile uint64_t *)word = op->to; return (struct result){ 0 };
	case LOAD: return (struct result){ .value = (int64_t)*(volatile uint64_t *)word };
	case COUNT: __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST); return (struct result){ 0 };
	default: return (struct result){ .value = (int64_t)__atomic_fetch_add(word, op->to, __ATOMIC_SEQ_CST) };
	}
}

static struct result kernel_do(const struct side *s, const struct op *op)
{
	void *at = (void *)(uintptr_t)op->addr, *got;
	int64_t result;

	switch (op->kind) {
	case MAKE: case MAKE_SHARED: case MAKE_FILE: case MAKE_COPY:
		got = mmap(at, op->bytes, PROT_READ | PROT_WRITE, flags_of(op->kind), flags_of(op->kind) & MAP_ANONYMOUS ? -1 : s->fd,
			flags_of(op->kind) & MAP_ANONYMOUS ? 0 : (off_t)op->to);
		result = got == MAP_FAILED ? -errno : (int64_t)(uintptr_t)got;
		break;
	case UNMAP: result = munmap(at, op->bytes) ? -errno : 0; break;
	case PROTECT: result = mprotect(at, op->bytes, (int)op->to) ? -errno : 0; break;
	case DISCARD: result = madvise(at, op->bytes, MADV_DONTNEED) ? -errno : 0; break;
	case POPULATE: result = madvise(at, op->bytes, 23 /* MADV_POPULATE_WRITE */) ? -errno : 0; break;
	case MOVE:
		got = mremap(at, op->bytes, op->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(uintptr_t)op->to);
		result = got == MAP_FAILED ? -errno : (int64_t)(uintptr_t)got;
		break;
	default: return kernel_access(op);
	}
	return (struct result){ .value = result };
}

static size_t kernel_maps(char *text, size_t room)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t have = 0;
	ssize_t got;

	while ((got = read(fd, text + have, room - 1 - have)) > 0)
		have += (size_t)got;
	close(fd);
	return have;
}

/* ---- samara ---- */

static struct result signal_of(const struct samara_signal *why, int64_t value)
{
	if (why->signo)
		return (struct result){ -1000 - why->signo * 16 - why->code, why->addr };
	return (struct result){ .value = why->error ? why->error : value };
}

static struct result samara_do(const struct side *s, const struct op *op)
{
	struct samara_mm *mm = s->mm;
	struct samara_signal why = { 0 };
	uint64_t word = op->to, old = 0;

	switch (op->kind) {
	case MAKE: case MAKE_SHARED: case MAKE_FILE: case MAKE_COPY: {
		bool anonymous = flags_of(op->kind) & MAP_ANONYMOUS;

		return (struct result){ .value = samara_mmap(mm, op->addr, op->bytes, SAMARA_PROT_READ | SAMARA_PROT_WRITE,
			(uint64_t)flags_of(op->kind), anonymous ? NULL : s->file, anonymous ? 0 : op->to) };
	}
	case UNMAP: return (struct result){ .value = samara_munmap(mm, op->addr, op->bytes) };
	case PROTECT: return (struct result){ .value = samara_mprotect(mm, op->addr, op->bytes, op->to) };
	case DISCARD: return (struct result){ .value = samara_madvise(mm, op->addr, op->bytes, SAMARA_MADV_DONTNEED) };
	case POPULATE: return (struct result){ .value = samara_madvise(mm, op->addr, op->bytes, SAMARA_MADV_POPULATE_WRITE) };
	case MOVE:
		return (struct result){ .value = samara_mremap(mm, op->addr, op->bytes, op->bytes,
			SAMARA_MREMAP_MAYMOVE | SAMARA_MREMAP_FIXED, op->to) };
	case STORE:
		samara_store(mm, op->addr, &word, 8, &why);
		return signal_of(&why, 0);
	case LOAD:
		samara_load(mm, op->addr, &word, 8, &why);
		return signal_of(&why, (int64_t)word);
	case COUNT:
		samara_atomic(mm, COUNTER, 8, SAMARA_ATOMIC_ADD, 1, NULL, &why);
		return signal_of(&why, 0);
	default:
		samara_atomic(mm, op->addr, 8, SAMARA_ATOMIC_ADD, word, &old, &why);
		return signal_of(&why, (int64_t)old);
	}
}

struct text {
	char *at;
	size_t have, room;
};

static int take_text(void *self, const char *text, size_t bytes)
{
	struct text *t = self;

	if (t->have + bytes >= t->room)
		return 1;
	memcpy(t->at + t->have, text, bytes);
	t->have += bytes;
	return 0;
}

/* ---- a round, and what is there after it ---- */

/* Of each line of the areas: range, rights, offset.  (Inode numbers are each side's own.) */
static void keep_areas(const char *text, char *out, size_t room)
{
	size_t have = 0;

	*out = 0;
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		unsigned long start, end, offset;
		char perms[8];

		if (sscanf(line, "%lx-%lx %7s %lx", &start, &end, perms, &offset) != 4)
			die("maps cannot be understood");
		if (start >= ARENA && start < ARENA + THREADS * STRIDE)
			have += (size_t)snprintf(out + have, room - have, "%lx-%lx %s %lx\n", start, end, perms, offset);
		if (have >= room)
			die("maps are too long");
	}
}

static uint64_t sum_of(const unsigned char *bytes)
{
	uint64_t sum = 1469598103934665603ull;

	for (unsigned i = 0; i < PAGE; i++)
		sum = (sum ^ bytes[i]) * 1099511628211ull;
	return sum;
}

static void look(const struct side *s, struct round *r)
{
	const uint64_t mask = 1ull << 63 | 1ull << 61 | 1ull << 56;
	char text[1 << 16];
	unsigned char page[PAGE];
	struct text t = { text, 0, sizeof(text) };
	int map = -1, mem = -1;

	if (s->kernel) {
		map = open("/proc/self/pagemap", O_RDONLY);
		mem = open("/proc/self/mem", O_RDONLY);
		t.have = kernel_maps(text, sizeof(text));
	} else if (samara_view_maps(s->mm, take_text, &t)) {
		die("maps are too long");
	}
	text[t.have] = 0;
	keep_areas(text, r->maps, sizeof(r->maps));
	for (unsigned i = 0; i < THREADS * AREA; i++) {
		uint64_t addr = ARENA + i / AREA * STRIDE + i % AREA * PAGE, *word = &r->pagemap[i];
		bool read;

		if (s->kernel ? pread(map, word, 8, (off_t)(addr / PAGE * 8)) != 8 : samara_pagemap(s->mm, addr, word, 1) != 1)
			die("pagemap");
		*word &= mask;
		if (!*word)
			continue;
		read = s->kernel ? pread(mem, page, PAGE, (off_t)addr) == (ssize_t)PAGE :
			samara_copy_from(s->mm, addr, page, PAGE, SAMARA_FORCE, NULL) == PAGE;
		r->sum[i] = read ? sum_of(page) : 0;
	}
	if (s->kernel) {
		r->counter = *(volatile uint64_t *)(uintptr_t)COUNTER;
		close(map);
		close(mem);
	} else if (samara_load(s->mm, COUNTER, &r->counter, 8, NULL) != 8) {
		die("the counter");
	}
}

static struct side *current;

static void *work(void *arg)
{
	struct side *s = current;
	unsigned thread = *(unsigned *)arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&s->rest);
		for (unsigned i = 0; i < OPS; i++) {
			struct op op = make_op(s->seed, round, thread, i);

			s->rounds[round].result[thread][i] = s->kernel ? kernel_do(s, &op) : samara_do(s, &op);
		}
		pthread_barrier_wait(&s->rest);
		if (thread == 0)
			look(s, &s->rounds[round]);
	}
	return NULL;
}

static void run(struct side *s)
{
	pthread_t thread[THREADS];

	current = s;
	if (pthread_barrier_init(&s->rest, NULL, THREADS))
		die("no barrier");
	for (unsigned i = 0; i < THREADS; i++) {
		s->thread[i] = i;
		if (pthread_create(&thread[i], NULL, work, &s->thread[i]))
			die("no thread");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&s->rest);
}

static void run_kernel(uint64_t seed, struct round *rounds)
{
	struct side s = { .kernel = true, .seed = seed, .rounds = rounds, .fd = memfd_create("threads", 0) };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int status;
	pid_t pid;

	if (s.fd < 0 || ftruncate(s.fd, THREADS * AREA * PAGE))
		die("no file");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
		if (mmap((void *)(uintptr_t)COUNTER, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			die("mmap");
		run(&s);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("the kernel's side ended early");
	close(s.fd);
}

static void run_samara(uint64_t seed, struct round *rounds, void *memory)
{
	struct side s = { .seed = seed, .rounds = rounds };
	struct samara_config config = { .size = sizeof(config), .memory = memory, .memory_pages = FRAMES,
		.no_zero_page = !host_zero_page() };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .size_bytes = THREADS * AREA * PAGE };
	struct samara_inode *inode;

	if (samara_create(samara_posix_port(), &config, &s.vm) || samara_mm_create(s.vm, NULL, &s.mm) ||
	    samara_inode_create(s.vm, &desc, &inode) ||
	    samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/memfd:threads (deleted)", &s.file) ||
	    samara_mmap(s.mm, COUNTER, PAGE, SAMARA_PROT_READ | SAMARA_PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) != (int64_t)COUNTER)
		die("no machine");
	run(&s);
	samara_check(s.mm);
	samara_check_machine(s.vm);
	samara_mm_put(s.mm);
	samara_file_put(s.file);
	samara_inode_put(inode);
	samara_check_machine(s.vm);
	samara_destroy(s.vm);
}

/* ---- comparing ---- */

static const char *const kind_names[KINDS] = { "mmap private", "mmap shared", "mmap file", "mmap file private", "munmap", "mprotect",
	"MADV_DONTNEED", "MADV_POPULATE_WRITE", "mremap", "store", "load", "add", "count" };

/* False: they differ, and `what` says where; *residency: it is only where pages are. */
static bool rounds_agree(uint64_t seed, const struct round *k, const struct round *g, char *what, size_t room, bool *residency)
{
	*residency = false;
	for (unsigned round = 0; round < ROUNDS; round++, k++, g++) {
		for (unsigned t = 0; t < THREADS; t++)
			for (unsigned i = 0; i < OPS; i++) {
				const struct result *a = &k->result[t][i], *b = &g->result[t][i];
				struct op op = make_op(seed, round, t, i);

				if (a->value == b->value && a->addr == b->addr)
					continue;
				snprintf(what, room, "round %u, thread %u, operation %u, %s at %#" PRIx64 ", %" PRIu64 " pages:\n"
					"kernel: %" PRId64 " %#" PRIx64 "\nsamara: %" PRId64 " %#" PRIx64, round, t, i,
					kind_names[op.kind], op.addr, op.bytes / PAGE, a->value, a->addr, b->value, b->addr);
				return false;
			}
		if (strcmp(k->maps, g->maps)) {
			snprintf(what, room, "round %u, maps:\nkernel:\n%ssamara:\n%s", round, k->maps, g->maps);
			return false;
		}
		if (k->counter != g->counter) {
			snprintf(what, room, "round %u, the common word: kernel %" PRIu64 ", samara %" PRIu64, round, k->counter, g->counter);
			return false;
		}
		for (unsigned i = 0; i < THREADS * AREA; i++) {
			uint64_t addr = ARENA + i / AREA * STRIDE + i % AREA * PAGE;

			*residency = k->pagemap[i] != g->pagemap[i];
			if (!*residency && k->sum[i] == g->sum[i])
				continue;
			snprintf(what, room, "round %u, page %#" PRIx64 ": kernel %#" PRIx64 ", bytes %#" PRIx64 "; samara %#" PRIx64
				", bytes %#" PRIx64, round, addr, k->pagemap[i], k->sum[i], g->pagemap[i], g->sum[i]);
			return false;
		}
	}
	return true;
}

static bool agrees(uint64_t seed, struct round *rounds, void *memory, char *what, size_t room, bool *residency)
{
	memset(rounds, 0, 2 * ROUNDS * sizeof(*rounds));
	run_kernel(seed, rounds);
	run_samara(seed, rounds + ROUNDS, memory);
	return rounds_agree(seed, rounds, rounds + ROUNDS, what, room, residency);
}

int main(int argc, char **argv)
{
	uint64_t programs = argc > 1 ? strtoull(argv[1], NULL, 0) : 40, seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	struct round *rounds = mmap(NULL, 2 * ROUNDS * sizeof(*rounds), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *memory = aligned_alloc(4096, FRAMES * PAGE);
	unsigned differences = 0, lost = 0;
	static char what[1 << 16];

	if (rounds == MAP_FAILED || !memory)
		die("no memory");
	for (uint64_t i = 0; i < programs; i++, seed++) {
		bool residency, again = true;

		if (agrees(seed, rounds, memory, what, sizeof(what), &residency))
			continue;
		/* a host that pages out takes clean pages of files (docs/differences.md): not every time */
		if (residency && host_pages_out()) {
			again = false;
			for (unsigned run = 0; run < RUNS_AGAIN && !again; run++)
				again = !agrees(seed, rounds, memory, what, sizeof(what), &residency);
			lost += !again;
		}
		if (again && !differences++)
			fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, what);
	}
	printf("%" PRIu64 " programs of %u threads, %" PRIu64 " operations, %u differences, %u programs that lost a page to the host\n",
		programs, THREADS, programs * THREADS * OPS * ROUNDS, differences, lost);
	free(memory);
	return differences != 0;
}
