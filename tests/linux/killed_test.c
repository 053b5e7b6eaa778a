/* killed_test.c - a process that stores to a file through a shared mapping and is killed: the file holds what msync
 * promised.
 *
 * Two writers make the same steps: one maps the file with the kernel, one with samara (ports/posix/host_file).  Each
 * stores, calls msync(MS_SYNC) for parts, stores more, tells after each step how far it came through a pipe, and is
 * killed at once, wherever it is by then.  The file is then read as it is.
 *
 * Values of a page grow by one with each store to it.  So every byte must hold at least the value that the last
 * finished msync of its page found, and at most the last one stored.  With samara, whose pages die with the process, a
 * page is in the file as a whole: old, or as a msync found it.
 *
 * Rounds are random: killed_test [SEED [ROUNDS]].
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ports/posix/host_file.h"
#include "ports/posix/posix.h"
#include "samara/samara.h"

#define PAGE 4096u
enum { PAGES = 24, FRAMES = 40, STEPS = 60, TAIL = 1000, BYTES = (PAGES - 1) * PAGE + TAIL };
enum how { KERNEL, SAMARA };

/* What is known of the file: by page, the value that a finished msync wrote, and the largest that may have been stored.
 */
struct promise {
	uint8_t synced[PAGES], stored[PAGES];
};

/* The steps of a round follow from its seed alone, so the parent knows what the child does. */
struct step {
	unsigned page, pages;
	bool sync;
};

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static struct step step_next(uint64_t *x)
{
	struct step s = { .page = (unsigned)(random_next(x) % PAGES), .sync = random_next(x) % 3 == 0 };

	s.pages = s.sync ? 1 + (unsigned)(random_next(x) % (PAGES - s.page)) : 1;
	return s;
}

_Noreturn static void broken(const char *what, uint64_t seed, enum how how)
{
	fprintf(stderr, "not ok: round %llu, %s: %s (errno %d)\n", (unsigned long long)seed,
		how == KERNEL ? "kernel" : "samara", what, errno);
	exit(1);
}

/* -- the writers -- */

struct writer {
	enum how how;
	uint8_t *kernel;
	struct samara_mm *mm;
	uint64_t addr;
};

static bool writer_open(struct writer *w, const char *path, void *memory)
{
	struct samara_config config = { .size = sizeof(config), .memory = memory, .memory_pages = FRAMES };
	struct samara_mm_params params = { .size = sizeof(params) };
	struct samara_file *file;
	struct samara *vm;
	int64_t at;
	int fd;

	if (w->how == KERNEL) {
		fd = open(path, O_RDWR);
		w->kernel = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		return w->kernel != MAP_FAILED;
	}
	if (samara_create(samara_posix_port(), &config, &vm) || samara_mm_create(vm, &params, &w->mm) ||
		samara_host_file_open(vm, path, O_RDWR, &file))
		return false;
	at = samara_mmap(w->mm, 0, PAGES * PAGE, SAMARA_PROT_READ | SAMARA_PROT_WRITE, SAMARA_MAP_SHARED, file, 0);
	w->addr = (uint64_t)at;
	return at > 0;
}

static bool writer_store(struct writer *w, unsigned page, uint8_t value)
{
	uint8_t bytes[PAGE];

	memset(bytes, value, sizeof(bytes));
	if (w->how == SAMARA)
		return samara_store(w->mm, w->addr + page * PAGE, bytes, PAGE, NULL) == PAGE;
	memcpy(w->kernel + page * PAGE, bytes, PAGE);
	return true;
}

static bool writer_sync(struct writer *w, unsigned page, unsigned pages)
{
	if (w->how == SAMARA)
		return !samara_msync(w->mm, w->addr + page * PAGE, pages * PAGE, SAMARA_MS_SYNC);
	return !msync(w->kernel + page * PAGE, pages * PAGE, MS_SYNC);
}

/* Never returns by itself. */
_Noreturn static void write_until_killed(enum how how, const char *path, uint64_t seed, int told)
{
	struct writer w = { .how = how };
	uint8_t value[PAGES] = { 0 };
	static _Alignas(4096) uint8_t memory[FRAMES * PAGE];

	if (!writer_open(&w, path, memory))
		_exit(2);
	for (unsigned i = 0; i < STEPS; i++) {
		struct step s = step_next(&seed);
		uint8_t done = (uint8_t)(i + 1);

		if (s.sync ? !writer_sync(&w, s.page, s.pages) : !writer_store(&w, s.page, ++value[s.page]))
			_exit(3);
		if (write(told, &done, 1) != 1)
			_exit(4);
	}
	for (;;)
		pause();
}

/* -- the reader -- */

/* `certain` steps are known to be finished; the next may be, in part. */
static void promise_made(struct promise *p, uint64_t seed, unsigned certain)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i <= certain && i < STEPS; i++) {
		struct step s = step_next(&seed);

		if (!s.sync)
			p->stored[s.page]++;
		else if (i < certain)
			memcpy(p->synced + s.page, p->stored + s.page, s.pages);
	}
}

static void check_file(int fd, const struct promise *p, uint64_t seed, enum how how)
{
	static uint8_t bytes[BYTES + PAGE];

	if (pread(fd, bytes, sizeof(bytes), 0) != BYTES)
		broken("the file's size has changed", seed, how);
	for (unsigned page = 0; page < PAGES; page++) {
		const uint8_t *at = bytes + page * PAGE;
		unsigned size = page == PAGES - 1 ? TAIL : PAGE;

		for (unsigned i = 0; i < size; i++) {
			if (at[i] < p->synced[page])
				broken("a byte that msync returned for is not there", seed, how);
			if (at[i] > p->stored[page])
				broken("a byte that was never stored is there", seed, how);
		}
		/* samara writes pages under their lock: whole, or as they were */
		if (how == SAMARA && memcmp(at, at + 1, size - 1))
			broken("a page was written in part", seed, how);
	}
}

/* Kills after `after` steps were told; then some more may have been made. */
static void round_of(enum how how, uint64_t seed, unsigned after)
{
	char name[] = "/tmp/samara-killed-XXXXXX", path[64];
	int fd = mkstemp(name), told[2], status;
	unsigned certain = 0;
	struct promise p;
	uint8_t done;
	pid_t pid;

	if (fd < 0 || unlink(name) || ftruncate(fd, BYTES) || pipe(told))
		broken("no file", seed, how);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	pid = fork();
	if (!pid) {
		close(told[0]);
		write_until_killed(how, path, seed, told[1]);
	}
	close(told[1]);
	while (certain < after && read(told[0], &done, 1) == 1)
		certain = done;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	/* what it told before it died counts, too */
	while (read(told[0], &done, 1) == 1)
		certain = done;
	if (!WIFSIGNALED(status) || certain < after)
		broken("the writer failed", seed, how);
	promise_made(&p, seed, certain);
	check_file(fd, &p, seed, how);
	close(told[0]);
	close(fd);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	long rounds = argc > 2 ? strtol(argv[2], NULL, 0) : 150;

	for (long i = 0; i < rounds; i++, seed++) {
		uint64_t x = seed * 0x9e3779b97f4a7c15ull | 1;
		unsigned after;

		random_next(&x);
		after = (unsigned)(random_next(&x) % (STEPS + 1));
		round_of(KERNEL, x, after);
		round_of(SAMARA, x, after);
	}
	return 0;
}
