/* fuzz_jobs.c - the processes that run programs: each takes the next seed, runs it, and reports what differs.
 *
 * A job is one process with its own files and its own island, held on one processor with its workers, so that
 * handing a request over is one switch.  Jobs share `struct fuzz_shared` only; reports leave a job in one write
 * under its lock.  The operations of all programs together end exactly at the number asked for, unless time or a
 * signal ends them.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuzz_memory.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void lock(struct fuzz_shared *shared)
{
	/* A job that died with the lock must not stop the others for ever. */
	for (int tries = 0; __atomic_exchange_n(&shared->lock, 1, __ATOMIC_ACQUIRE) && tries < 10000; tries++)
		usleep(500);
}

static void unlock(struct fuzz_shared *shared)
{
	__atomic_store_n(&shared->lock, 0, __ATOMIC_RELEASE);
}

/* Counts a difference; true when its class has not been shown often enough yet. */
static bool claim_class(struct fuzz_shared *shared, const char *what, uint64_t seed)
{
	bool show = false;
	lock(shared);
	size_t i = 0;
	while (i < shared->classes && strcmp(shared->class[i].what, what))
		i++;
	if (i < FUZZ_MAX_CLASSES) {
		if (i == shared->classes) {
			snprintf(shared->class[i].what, sizeof(shared->class[i].what), "%s", what);
			shared->class[i].seed = seed;
			shared->class[i].count = 0;
			shared->classes++;
		}
		show = shared->class[i].count++ < FUZZ_SHRINKS_PER_CLASS;
	}
	unlock(shared);
	return show;
}

static void json_text(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", *text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void write_all(int fd, const char *text, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, text, bytes);
		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			text += n;
			bytes -= (size_t)n;
		}
	}
}

struct job {
	const struct fuzz_options *options;
	struct fuzz_shared *shared;
	struct fuzz_session *session;
	struct fuzz_stats *stats;
	int report_fd;
};

static void report(struct job *job, const struct fuzz_program *p, const struct fuzz_difference *d)
{
	char *program = NULL, *text = NULL;
	size_t program_bytes = 0, bytes = 0;
	FILE *f = open_memstream(&program, &program_bytes);
	FILE *out = open_memstream(&text, &bytes);
	if (!f || !out)
		return;
	fuzz_print_program(f, job->session, p, d);
	fclose(f);
	if (job->options->json) {
		fprintf(out, "{\"seed\":%" PRIu64 ",\"class\":", p->seed);
		json_text(out, d->what);
		fprintf(out, ",\"operations\":%zu,\"kernel\":%" PRId64 ",\"samara\":%" PRId64 ",\"detail\":", p->count, d->kernel,
			d->samara);
		json_text(out, d->detail);
		fprintf(out, ",\"program\":");
		json_text(out, program);
		fprintf(out, "}\n");
	} else {
		fprintf(out, "---- seed %" PRIu64 ": %s (%zu operations)\n%s----\n", p->seed, d->what, p->count, program);
	}
	fclose(out);
	lock(job->shared);
	write_all(job->report_fd, text, bytes);
	unlock(job->shared);
	free(program);
	free(text);
}

/* The operation that makes the difference, not the one after which it was looked for. */
static void pinpoint(struct fuzz_session *s, const struct fuzz_program *p, struct fuzz_difference *d)
{
	struct fuzz_stats *stats = s->stats;
	struct fuzz_difference exact;
	s->stats = NULL;
	if (fuzz_session_run(s, p, &exact) >= FUZZ_DIFFERENT && exact.what[0])
		*d = exact;
	s->stats = stats;
}

static void run_seed(struct job *job, uint64_t seed, size_t limit)
{
	static struct fuzz_program p;
	struct fuzz_session *s = job->session;
	struct fuzz_difference d;
	uint64_t random = seed;
	p.seed = seed;
	p.variant = s->memory ? fuzz_memory_variant(seed) : fuzz_variant(seed);
	p.count = 0;
	s->stats = job->stats;
	int begun = fuzz_session_begin(s, p.variant);
	enum fuzz_verdict verdict = begun == 0 ? FUZZ_SAME : begun > 0 ? FUZZ_DIFFERENT : FUZZ_BROKEN;
	for (size_t tries = 0; verdict < FUZZ_DIFFERENT && p.count < limit && tries < 4 * limit; tries++) {
		if (job->shared->stop)
			break;
		struct fuzz_op *op = &p.ops[p.count];
		if (s->memory)
			fuzz_memory_generate(s, &random, op);
		else
			fuzz_generate(s, &random, op);
		verdict = fuzz_session_step(s, op, p.count);
		p.count += verdict != FUZZ_SKIPPED;
	}
	d = s->difference;
	bool clean = verdict < FUZZ_DIFFERENT;
	enum fuzz_verdict last = fuzz_session_end(s, p.count, clean);
	if (clean) {
		verdict = last;
		d = s->difference;
	}
	job->stats->seeds++;
	if (verdict < FUZZ_DIFFERENT)
		return;
	if (s->memory && fuzz_memory_paged_out(s, &p, &d))
		return;
	job->stats->differences++;
	if (!d.what[0])
		snprintf(d.what, sizeof(d.what), "the worker could not start");
	if (s->memory) {
		s->memory->always = true;
		s->memory->bytes = strstr(d.what, ": bytes") || strstr(d.what, ": a file");
		s->memory->check = strstr(d.what, ": samara ") != NULL; /* a panic */
		pinpoint(s, &p, &d);
	}
	if (claim_class(job->shared, d.what, seed)) {
		fuzz_shrink(s, &p, &d, job->options->shrink_seconds);
		report(job, &p, &d);
	}
	if (s->memory)
		s->memory->always = s->memory->bytes = s->memory->check = false;
}

static void hold_processor(unsigned i)
{
	cpu_set_t have, one;
	if (sched_getaffinity(0, sizeof(have), &have) < 0 || CPU_COUNT(&have) == 0)
		return;
	i %= (unsigned)CPU_COUNT(&have);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &have) || i-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

/* Takes operations from the common budget: how many, 0 when there is nothing left to do. */
static size_t take_budget(struct job *job, uint32_t *active)
{
	struct fuzz_shared *shared = job->shared;
	for (;;) {
		if (shared->stop)
			return 0;
		__atomic_add_fetch(active, 1, __ATOMIC_SEQ_CST);
		uint64_t before = __atomic_fetch_add(&shared->reserved, FUZZ_MAX_OPS, __ATOMIC_SEQ_CST);
		if (before < job->options->ops) {
			uint64_t left = job->options->ops - before;
			return left < FUZZ_MAX_OPS ? (size_t)left : FUZZ_MAX_OPS;
		}
		__atomic_sub_fetch(&shared->reserved, FUZZ_MAX_OPS, __ATOMIC_SEQ_CST);
		if (__atomic_sub_fetch(active, 1, __ATOMIC_SEQ_CST) == 0)
			return 0;
		usleep(20000); /* a running program may end early and give some back */
	}
}

static int run_job(struct job *job, const struct fuzz_host *host, unsigned number)
{
	static struct fuzz_session session;
	static struct fuzz_island island;
	static struct fuzz_files files;
	static struct fuzz_memory memory;
	bool with = job->options->memory;
	struct fuzz_shared *shared = job->shared;
	hold_processor(number);
	if (fuzz_files_open(&files, with ? fuzz_memory_recipes : NULL, fuzz_memory_recipe_count) < 0 ||
	    fuzz_island_create(&island) < 0 || (with && fuzz_memory_open(&memory) < 0)) {
		fprintf(stderr, "samara fuzz: job %u: cannot set up its files: %s\n", number, strerror(errno));
		fuzz_files_close(&files);
		return 1;
	}
	fuzz_catch_crashes();
	session.memory = with ? &memory : NULL;
	session.island = &island;
	session.files = &files;
	session.host = host;
	session.stop = &shared->stop;
	job->session = &session;
	job->stats = &shared->stats[number];
	for (size_t limit; (limit = take_budget(job, &shared->active)) > 0;) {
		uint64_t before = job->stats->ops;
		if (with && limit > FUZZ_MEMORY_OPS)
			limit = FUZZ_MEMORY_OPS;
		run_seed(job, job->options->seed + __atomic_fetch_add(&shared->next, 1, __ATOMIC_SEQ_CST), limit);
		uint64_t unused = FUZZ_MAX_OPS - (job->stats->ops - before);
		__atomic_sub_fetch(&shared->reserved, unused, __ATOMIC_SEQ_CST);
		__atomic_sub_fetch(&shared->active, 1, __ATOMIC_SEQ_CST);
	}
	fuzz_files_close(&files);
	return 0;
}

static void totals(const struct fuzz_options *options, struct fuzz_shared *shared, struct fuzz_stats *total)
{
	memset(total, 0, sizeof(*total));
	total->memory = options->memory;
	for (unsigned i = 0; i < options->jobs; i++)
		fuzz_stats_add(total, &shared->stats[i]);
}

static void progress(const struct fuzz_options *options, struct fuzz_shared *shared, struct fuzz_stats *total,
	double since)
{
	totals(options, shared, total);
	double seconds = now() - since;
	fprintf(stderr, "\rfuzz: %" PRIu64 " operations, %" PRIu64 " seeds, %" PRIu64 " differences, %.0f operations/s ",
		total->ops, total->seeds, total->differences, seconds > 0 ? (double)total->ops / seconds : 0);
}

/* Waits for the jobs; ends them when time is up or the user wants it. */
static void watch(const struct fuzz_options *options, struct fuzz_shared *shared, pid_t *pid, struct fuzz_stats *total)
{
	double since = now(), stopped = 0, shown = since;
	bool terminal = isatty(STDERR_FILENO) && !options->quiet;
	for (unsigned running = options->jobs; running > 0;) {
		int status;
		pid_t gone = waitpid(-1, &status, WNOHANG);
		for (unsigned i = 0; gone > 0 && i < options->jobs; i++) {
			if (pid[i] != gone)
				continue;
			pid[i] = 0;
			running--;
			if (!WIFEXITED(status) || WEXITSTATUS(status)) {
				shared->broken++;
				shared->stop = 1; /* what it had reserved is lost: do not wait for it */
				fprintf(stderr, "samara fuzz: job %u ended with status %#x\n", i, status);
			}
		}
		if (gone > 0)
			continue;
		double t = now();
		if ((interrupted || (options->seconds > 0 && t - since > options->seconds)) && !shared->stop)
			shared->stop = 1;
		if (shared->stop && !stopped)
			stopped = t;
		for (unsigned i = 0; stopped && t - stopped > 15 && i < options->jobs; i++)
			if (pid[i])
				kill(pid[i], SIGKILL);
		if (terminal && t - shown > 0.5) {
			progress(options, shared, total, since);
			shown = t;
		}
		usleep(20000);
	}
	if (terminal)
		fprintf(stderr, "\r%79s\r", "");
}

int fuzz_jobs_run(const struct fuzz_options *options, const struct fuzz_host *host, struct fuzz_shared *shared,
	int report_fd, struct fuzz_stats *total)
{
	static pid_t pid[FUZZ_MAX_JOBS];
	struct sigaction action = { .sa_handler = on_interrupt };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	pid_t parent = getpid();
	fflush(NULL);
	for (unsigned i = 0; i < options->jobs; i++) {
		pid[i] = fork();
		if (pid[i] < 0) {
			fprintf(stderr, "samara fuzz: fork: %s\n", strerror(errno));
			shared->stop = 1;
			break;
		}
		if (pid[i] == 0) {
			struct job job = { .options = options, .shared = shared, .report_fd = report_fd };
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(1);
			signal(SIGINT, SIG_IGN);
			signal(SIGTERM, SIG_IGN); /* `stop` ends us, so that files are removed */
			_exit(run_job(&job, host, i));
		}
	}
	watch(options, shared, pid, total);
	totals(options, shared, total);
	return shared->broken == options->jobs ? -1 : 0;
}
