/* faults.h - page faults of a process tree in time order, and pages that came without a fault.
 *
 * faults_open() attaches perf events on the tracepoints exceptions:page_fault_user and page_fault_kernel to one
 * task; everything that it forks later is included.  One ring a processor; faults_drain() merges them by
 * CLOCK_MONOTONIC.  What a stopped task did before it stopped is in the rings by the time its stop is seen.
 */
#ifndef TOOL_FAULTS_H
#define TOOL_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fault_record {
	uint64_t time, addr;
	int32_t tid;
	bool write;
};

struct faults;

/* 0, or -1 with the reason and the way out in `why`. */
int faults_open(struct faults **out, pid_t task, char *why, size_t room);
/* Records older than `before`, oldest first; *out is valid until the next call. */
size_t faults_drain(struct faults *faults, uint64_t before, const struct fault_record **out);
uint64_t faults_lost(const struct faults *faults);
uint64_t faults_seen(const struct faults *faults);
void faults_close(struct faults *faults);
uint64_t faults_now(void);

/* Whether [start, end) of the process behind `pagemap` (an open /proc/PID/pagemap) has anonymous memory; *at gets
 * where. -1: the kernel has no PAGEMAP_SCAN, or the process is gone. */
int pagemap_anonymous(int pagemap, uint64_t start, uint64_t end, uint64_t *at);

#endif
