/* faults.c - page faults by perf_event_open(2), pages by ioctl_pagemap_scan(2); see faults.h.
 *
 * What always holds: `kept` is sorted by time; a record is handed out exactly once; records that the kernel dropped are
 * counted in `lost`.  Only the tracer's thread calls here.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "arena.h"
#include "faults.h"

enum { RING_BYTES = 4 << 20, POINTS = 2 };

static const char *const point_names[POINTS] = { "page_fault_user", "page_fault_kernel" };

struct point {
	uint64_t id;
	unsigned address_at, code_at;
};

struct ring {
	int fd[POINTS];
	struct perf_event_mmap_page *page;
	const unsigned char *data;
};

struct faults {
	struct point point[POINTS];
	struct ring *ring;
	int rings;
	struct fault_record *kept, *given;
	size_t kept_n, kept_room, given_room;
	uint64_t lost, seen;
	size_t page_bytes;
};

uint64_t faults_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static FILE *open_point(const char *name, const char *leaf)
{
	static const char *const roots[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

	for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
		char path[160];
		FILE *file;

		snprintf(path, sizeof(path), "%s/events/exceptions/%s/%s", roots[i], name, leaf);
		file = fopen(path, "re");
		if (file)
			return file;
	}
	return NULL;
}

static int read_point(struct point *point, const char *name, char *why, size_t room)
{
	FILE *file = open_point(name, "format");
	char line[256];
	unsigned long long id = 0;
	bool address = false, code = false;

	if (!file && !mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL))
		file = open_point(name, "format");
	if (!file && errno == EACCES) {
		snprintf(why, room, "tracefs: permission denied (run as root: page faults are seen through tracepoints)");
		return -1;
	}
	if (!file) {
		snprintf(why, room, "tracefs: no tracepoint exceptions:%s (mount -t tracefs none /sys/kernel/tracing, as root; "
			"the kernel needs CONFIG_TRACEPOINTS)", name);
		return -1;
	}
	while (fgets(line, sizeof(line), file)) {
		const char *offset = strstr(line, "offset:");

		if (sscanf(line, "ID: %llu", &id) == 1 || !offset)
			continue;
		if (strstr(line, " address;") && sscanf(offset, "offset:%u", &point->address_at) == 1)
			address = true;
		if (strstr(line, " error_code;") && sscanf(offset, "offset:%u", &point->code_at) == 1)
			code = true;
	}
	fclose(file);
	point->id = id;
	if (!id || !address || !code) {
		snprintf(why, room, "tracefs: the format of exceptions:%s is not one that samara knows", name);
		return -1;
	}
	return 0;
}

static int open_ring(struct faults *f, struct ring *ring, int cpu, pid_t task)
{
	for (int i = 0; i < POINTS; i++) {
		struct perf_event_attr attr = {
			.type = PERF_TYPE_TRACEPOINT,
			.size = sizeof(attr),
			.config = f->point[i].id,
			.sample_period = 1,
			.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
			.inherit = 1,
			.use_clockid = 1,
			.clockid = CLOCK_MONOTONIC,
			.watermark = 1,
			.wakeup_watermark = RING_BYTES / 2,
		};

		ring->fd[i] = (int)syscall(SYS_perf_event_open, &attr, task, cpu, -1, PERF_FLAG_FD_CLOEXEC);
		if (ring->fd[i] < 0)
			return -1;
		if (i && ioctl(ring->fd[i], PERF_EVENT_IOC_SET_OUTPUT, ring->fd[0]))
			return -1;
		if (i)
			continue;
		ring->page = mmap(NULL, f->page_bytes + RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd[0], 0);
		if (ring->page == MAP_FAILED) {
			ring->page = NULL;
			return -1;
		}
		ring->data = (const unsigned char *)ring->page + f->page_bytes;
	}
	return 0;
}

int faults_open(struct faults **out, pid_t task, char *why, size_t room)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct faults *f = must_alloc(sizeof(*f));

	memset(f, 0, sizeof(*f));
	f->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	for (int i = 0; i < POINTS; i++)
		if (read_point(&f->point[i], point_names[i], why, room))
			goto fail;
	f->ring = must_alloc((size_t)cpus * sizeof(*f->ring));
	for (int cpu = 0; cpu < cpus; cpu++) {
		struct ring *ring = &f->ring[f->rings];

		*ring = (struct ring){ .fd = { -1, -1 } };
		f->rings++;
		if (!open_ring(f, ring, cpu, task))
			continue;
		if (errno == ENODEV) { /* that processor is offline */
			f->rings--;
			continue;
		}
		snprintf(why, room, "perf_event_open: %s (run as root, or give CAP_PERFMON and "
			"sysctl kernel.perf_event_paranoid=-1)", strerror(errno));
		goto fail;
	}
	*out = f;
	return 0;
fail:
	faults_close(f);
	return -1;
}

static void ring_copy(const struct ring *ring, uint64_t at, void *to, size_t bytes)
{
	size_t from = (size_t)(at & (RING_BYTES - 1)), first = RING_BYTES - from;

	if (first > bytes)
		first = bytes;
	memcpy(to, ring->data + from, first);
	memcpy((char *)to + first, ring->data, bytes - first);
}

/* PERF_RECORD_SAMPLE: header, pid and tid, time, size of the raw data, raw data */
static void take_sample(struct faults *f, const unsigned char *record, size_t bytes)
{
	struct fault_record *kept;
	const struct point *point = NULL;
	uint32_t tid, raw_bytes;
	uint64_t time, addr, code;
	uint16_t id;

	if (bytes < 28)
		return;
	memcpy(&tid, record + 12, 4);
	memcpy(&time, record + 16, 8);
	memcpy(&raw_bytes, record + 24, 4);
	if (raw_bytes > bytes - 28 || raw_bytes < 8)
		return;
	memcpy(&id, record + 28, 2);
	for (int i = 0; i < POINTS; i++)
		if (f->point[i].id == id)
			point = &f->point[i];
	if (!point || point->address_at + 8 > raw_bytes || point->code_at + 8 > raw_bytes)
		return;
	memcpy(&addr, record + 28 + point->address_at, 8);
	memcpy(&code, record + 28 + point->code_at, 8);
	f->seen++;
	/* x86: bit 1 a write; bits 3 to 6 (reserved bit, protection key, shadow stack) end before a mapping is looked
	 * at */
	f->kept = must_grow(f->kept, &f->kept_room, f->kept_n + 1, sizeof(*f->kept));
	kept = &f->kept[f->kept_n++];
	*kept = (struct fault_record){ .time = time, .addr = addr, .tid = (int32_t)tid, .write = (code & 0x2a) == 2 };
}

static void read_ring(struct faults *f, struct ring *ring)
{
	uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE), tail = ring->page->data_tail;

	if (head == tail)
		return;
	while (tail < head) {
		struct perf_event_header header;
		unsigned char record[512];

		ring_copy(ring, tail, &header, sizeof(header));
		if (header.size < sizeof(header))
			break;
		if (header.type == PERF_RECORD_SAMPLE && header.size <= sizeof(record)) {
			ring_copy(ring, tail, record, header.size);
			take_sample(f, record, header.size);
		} else if (header.type == PERF_RECORD_LOST) {
			uint64_t lost;

			ring_copy(ring, tail + 16, &lost, sizeof(lost));
			f->lost += lost;
		}
		tail += header.size;
	}
	__atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
}

static int by_time(const void *a, const void *b)
{
	const struct fault_record *x = a, *y = b;

	return (x->time > y->time) - (x->time < y->time);
}

size_t faults_drain(struct faults *f, uint64_t before, const struct fault_record **out)
{
	size_t n = 0, had = f->kept_n;

	*out = NULL;
	if (!f->rings)
		return 0;
	for (int i = 0; i < f->rings; i++)
		read_ring(f, &f->ring[i]);
	if (!f->kept_n)
		return 0;
	if (f->kept_n > had)
		qsort(f->kept, f->kept_n, sizeof(*f->kept), by_time);
	while (n < f->kept_n && f->kept[n].time < before)
		n++;
	if (!n)
		return 0;
	f->given = must_grow(f->given, &f->given_room, n, sizeof(*f->given));
	memcpy(f->given, f->kept, n * sizeof(*f->kept));
	memmove(f->kept, f->kept + n, (f->kept_n - n) * sizeof(*f->kept));
	f->kept_n -= n;
	*out = f->given;
	return n;
}

uint64_t faults_lost(const struct faults *faults)
{
	return faults->lost;
}

uint64_t faults_seen(const struct faults *faults)
{
	return faults->seen;
}

void faults_close(struct faults *f)
{
	if (!f)
		return;
	for (int i = 0; i < f->rings; i++) {
		if (f->ring[i].page)
			munmap(f->ring[i].page, f->page_bytes + RING_BYTES);
		for (int j = 0; j < POINTS; j++)
			if (f->ring[i].fd[j] >= 0)
				close(f->ring[i].fd[j]);
	}
	free(f->ring);
	free(f->kept);
	free(f->given);
	free(f);
}

/* ---- PAGEMAP_SCAN (Documentation/admin-guide/mm/pagemap.rst); headers of 2023 lack its struct ---- */

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

enum { SCAN_FILE = 1 << 2, SCAN_PRESENT = 1 << 3, SCAN_SWAPPED = 1 << 4, SCAN_ZERO = 1 << 5 };

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct scan_arg)

int pagemap_anonymous(int pagemap, uint64_t start, uint64_t end, uint64_t *at)
{
	struct scan_region region;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)&region,
		.vec_len = 1,
		.max_pages = 1,
		/* neither file (or shared) nor the zero page, and there or swapped out */
		.category_inverted = SCAN_FILE | SCAN_ZERO,
		.category_mask = SCAN_FILE | SCAN_ZERO,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT,
	};
	int n = ioctl(pagemap, PAGEMAP_SCAN_IOCTL, &arg);

	if (n < 0)
		return -1;
	if (n)
		*at = region.start;
	return n > 0;
}
