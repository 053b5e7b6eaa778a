/* map_threads.c - two threads that map, touch and unmap: in one address space, in their own; and arithmetic alone. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>

#include "bench/map.h"

struct lane {
	const struct world *w;
	struct samara_mm *mm;
	pthread_barrier_t *gate;
	uint64_t at;
	int count;
	bool no_calls; /* arithmetic only: what the machine can do at all */
	double from, until;
};

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	struct world w = *lane->w;
	uint64_t seed = lane->at | 1, sum = 0;

	w.mm = lane->mm;
	pthread_barrier_wait(lane->gate);
	lane->from = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; lane->no_calls && i < lane->count * 40; i++)
		sum += random_next(&seed);
	for (int i = 0; !lane->no_calls && i < lane->count; i++) {
		w_map(&w, lane->at, PAGE, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED);
		w_touch(&w, lane->at);
		w_unmap(&w, lane->at, PAGE);
	}
	lane->until = clock_ns(CLOCK_MONOTONIC);
	sink += sum;
	return NULL;
}

/* Operations a ns of `threads` lanes. */
static double lanes_rate(struct lane *lanes, int threads)
{
	pthread_t thread[2];
	pthread_barrier_t gate;
	double from, until;

	pthread_barrier_init(&gate, NULL, (unsigned)threads);
	for (int i = 0; i < threads; i++) {
		lanes[i].gate = &gate;
		pthread_create(&thread[i], NULL, lane_run, &lanes[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&gate);
	from = lanes[0].from;
	until = lanes[0].until;
	for (int i = 1; i < threads; i++) {
		from = lanes[i].from < from ? lanes[i].from : from;
		until = lanes[i].until > until ? lanes[i].until : until;
	}
	return threads * lanes[0].count / (until - from);
}

/* The same with processes: the kernel's own address spaces. */
static double kernel_spaces_rate(const struct lane *lane, int processes)
{
	pthread_barrierattr_t attr;
	struct shared {
		pthread_barrier_t gate;
		struct lane lanes[2];
	} *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double rate, from = 0, until = 0;

	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->gate, &attr, (unsigned)processes);
	for (int i = 0; i < processes; i++) {
		s->lanes[i] = *lane;
		s->lanes[i].gate = &s->gate;
		if (!fork()) {
			lane_run(&s->lanes[i]);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < processes; i++) {
		from = i && s->lanes[0].from < s->lanes[i].from ? s->lanes[0].from : s->lanes[i].from;
		until = s->lanes[i].until > until ? s->lanes[i].until : until;
	}
	rate = processes * lane->count / (until - from);
	munmap(s, sizeof(*s));
	return rate;
}

void bench_threads(const struct world *w)
{
	static const char same_name[] = "two threads in one space, 2T/1T", own_name[] = "two threads, own spaces, 2T/1T";
	static const char idle_name[] = "two threads, arithmetic only, 2T/1T";
	struct samara_mm *other = NULL;
	struct lane same[2], own[2], idle[2];
	double same_ratio[REPEATS], own_ratio[REPEATS], idle_ratio[REPEATS];
	int count = w->kind == WORLD_KERNEL ? 3000 : 20000;

	if (w->kind == WORLD_SINGLE) {
		add(w, same_name, 2, 0, 1.1, 1.6, 0.56, "x");
		add(w, own_name, 2, 0, 1.1, 1.6, 0, "x");
		add(w, idle_name, 2, 0, 0, 0, 0, "x");
		return;
	}
	if (w->kind == WORLD_POSIX && samara_mm_create(w->vm, NULL, &other))
		die("no memory");
	for (int i = 0; i < 2; i++) {
		same[i] = (struct lane){ .w = w, .mm = w->mm, .count = count, .at = AREA + (uint64_t)i * (1ul << 30) };
		own[i] = same[i];
		own[i].mm = i ? other : w->mm;
		idle[i] = same[i];
		idle[i].no_calls = true;
	}
	for (int r = 0; r < REPEATS; r++) {
		double one = lanes_rate(same, 1);

		same_ratio[r] = lanes_rate(same, 2) / one;
		one = lanes_rate(idle, 1);
		idle_ratio[r] = lanes_rate(idle, 2) / one;
		if (w->kind == WORLD_KERNEL) {
			one = kernel_spaces_rate(own, 1);
			own_ratio[r] = kernel_spaces_rate(own, 2) / one;
		} else {
			one = lanes_rate(own, 1);
			own_ratio[r] = lanes_rate(own, 2) / one;
		}
	}
	if (other)
		samara_mm_put(other);
	add(w, same_name, 2, median(same_ratio, REPEATS), 1.1, 1.6, 0.56, "x");
	add(w, own_name, 2, median(own_ratio, REPEATS), 1.1, 1.6, 0, "x");
	add(w, idle_name, 2, median(idle_ratio, REPEATS), 0, 0, 0, "x");
}
