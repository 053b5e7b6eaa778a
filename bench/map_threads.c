/* map_threads.c - two threads that map, touch and unmap: in one address space, in their own; and arithmetic alone. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>

#include "bench/map.h"

void lane_map_touch_unmap(struct lane *lane, const struct world *w)
{
	lane->from = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < lane->count; i++) {
		w_map(w, lane->at, PAGE, PROT_READ | PROT_WRITE, PRIVATE | MAP_FIXED);
		w_touch(w, lane->at);
		w_unmap(w, lane->at, PAGE);
	}
	lane->until = clock_ns(CLOCK_MONOTONIC);
}

/* What the machine can do at all. */
void lane_arithmetic(struct lane *lane, const struct world *w)
{
	uint64_t seed = lane->at | 1, sum = 0;

	(void)w;
	lane->from = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < lane->count * 40; i++)
		sum += random_next(&seed);
	lane->until = clock_ns(CLOCK_MONOTONIC);
	sink += sum;
}

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	struct world w = *lane->w;

	w.mm = lane->mm;
	pthread_barrier_wait(lane->gate);
	lane->work(lane, &w);
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

void threads_ratios(const struct world *w, void (*work)(struct lane *lane, const struct world *w), int count, double *same_out,
	double *own_out)
{
	struct samara_mm *other = NULL;
	struct lane same[2], own[2];
	double same_ratio[REPEATS], own_ratio[REPEATS];

	if (w->kind == WORLD_POSIX && own_out && samara_mm_create(w->vm, NULL, &other))
		die("no memory");
	for (int i = 0; i < 2; i++) {
		same[i] = (struct lane){ .w = w, .mm = w->mm, .work = work, .count = count, .at = AREA + (uint64_t)i * (1ul << 30) };
		own[i] = same[i];
		own[i].mm = i ? other : w->mm;
	}
	worlds_all_cpus();
	for (int r = 0; r < REPEATS; r++) {
		double one = lanes_rate(same, 1);

		same_ratio[r] = lanes_rate(same, 2) / one;
		if (!own_out)
			continue;
		if (w->kind == WORLD_KERNEL) {
			one = kernel_spaces_rate(own, 1);
			own_ratio[r] = kernel_spaces_rate(own, 2) / one;
		} else {
			one = lanes_rate(own, 1);
			own_ratio[r] = lanes_rate(own, 2) / one;
		}
	}
	worlds_one_cpu();
	if (other)
		samara_mm_put(other);
	*same_out = median(same_ratio, REPEATS);
	if (own_out)
		*own_out = median(own_ratio, REPEATS);
}

void bench_threads(const struct world *w)
{
	double same = 0, own = 0, idle = 0;
	int count = w->kind == WORLD_KERNEL ? 3000 : 20000;

	if (w->kind != WORLD_SINGLE) {
		threads_ratios(w, lane_map_touch_unmap, count, &same, &own);
		threads_ratios(w, lane_arithmetic, count, &idle, NULL);
	}
	add(w, "two threads in one space, 2T/1T", 2, same, 1.1, 1.6, 0.56, "x");
	add(w, "two threads, own spaces, 2T/1T", 2, own, 1.1, 1.6, 0, "x");
	add(w, "two threads, arithmetic only, 2T/1T", 2, idle, 0, 0, 0, "x");
}
