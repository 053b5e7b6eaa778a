/* fuzz_memory_remote.c - the memory of a process as others reach it: process_vm_readv(2) and process_vm_writev(2), which pin
 * its pages, and /proc/PID/mem, which passes over its rights.  samara_pin and samara_copy_from, _to are asked for the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fuzz_memory.h"

#define PAGE 4096ull
enum { PIN_PAGES = FUZZ_RUN_BYTES / 4096 + 1 };

bool fuzz_is_remote(unsigned kind)
{
	return kind >= FUZZ_VM_READ && kind <= FUZZ_MEM_WRITE;
}

static bool writes(const struct fuzz_op *op)
{
	return op->kind == FUZZ_VM_WRITE || op->kind == FUZZ_MEM_WRITE;
}

/* As the calls: -1 and errno. */
static int64_t kernel_mem(const struct fuzz_worker *w, const struct fuzz_op *op, unsigned char *data)
{
	int fd = fuzz_open_proc(w, "mem", writes(op) ? O_WRONLY : O_RDONLY);
	if (fd < 0)
		return -1;
	int64_t n = writes(op) ? pwrite(fd, data, op->a[1], (off_t)op->a[0]) : pread(fd, data, op->a[1], (off_t)op->a[0]);
	int why = errno;
	close(fd);
	errno = why;
	return n;
}

void fuzz_remote_kernel(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	const struct fuzz_worker *w = &s->proc[op->proc].worker;
	struct iovec here = { m->kernel_data, op->a[1] }, there = { (void *)op->a[0], op->a[1] };
	int64_t n;

	if (writes(op))
		fuzz_fill(m->kernel_data, op->a[1], op->a[2]);
	s->outside |= writes(op);
	if (op->kind == FUZZ_VM_READ)
		n = process_vm_readv(w->pid, &here, 1, &there, 1, 0);
	else if (op->kind == FUZZ_VM_WRITE)
		n = process_vm_writev(w->pid, &here, 1, &there, 1, 0);
	else
		n = kernel_mem(w, op, m->kernel_data);
	s->kernel_result = n < 0 ? -errno : n;
}

/* As far as there are pages.  The process' own rights of protection keys say nothing to another. */
static int64_t samara_by_pins(struct fuzz_session *s, const struct fuzz_op *op, unsigned char *data)
{
	struct samara_mm *mm = s->proc[op->proc].mm;
	uint64_t within = op->a[0] % PAGE, done = 0;
	struct samara_page page[PIN_PAGES];
	size_t want = (size_t)((within + op->a[1] + PAGE - 1) / PAGE);
	uint32_t pkru = samara_pkru(mm);
	samara_set_pkru(mm, 0);
	int64_t got = samara_pin(mm, op->a[0], want, writes(op) ? SAMARA_WRITE : SAMARA_READ, page);
	samara_set_pkru(mm, pkru);

	for (int64_t i = 0; i < got; i++, within = 0) {
		uint64_t part = op->a[1] - done < PAGE - within ? op->a[1] - done : PAGE - within;
		unsigned char *at = (unsigned char *)page[i].host + within;
		memcpy(writes(op) ? at : data + done, writes(op) ? data + done : at, part);
		done += part;
	}
	if (got > 0)
		samara_unpin(s->guest.vm, page, (size_t)got, writes(op));
	return got < 0 ? got : (int64_t)done;
}

int64_t fuzz_remote_samara(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	struct samara_mm *mm = s->proc[op->proc].mm;
	int64_t n;

	if (writes(op))
		fuzz_fill(m->samara_data, op->a[1], op->a[2]);
	if (op->kind == FUZZ_VM_READ || op->kind == FUZZ_VM_WRITE) {
		n = samara_by_pins(s, op, m->samara_data);
	} else {
		n = (int64_t)(writes(op) ? samara_copy_to(mm, op->a[0], m->samara_data, op->a[1], SAMARA_FORCE, NULL) :
			samara_copy_from(mm, op->a[0], m->samara_data, op->a[1], SAMARA_FORCE, NULL));
		n = n ? n : -EIO;
	}
	if (!writes(op) && n == s->kernel_result && n > 0)
		m->data_bytes = (size_t)n;
	return n;
}
