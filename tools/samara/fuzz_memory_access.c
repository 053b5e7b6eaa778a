/* fuzz_memory_access.c - loads, stores and atomic operations: by the worker's processor, and by samara.
 *
 * A word is one instruction of the processor, within one page.  A run is a loop over bytes, so that the first byte
 * that fails is exact and those before it were moved: what one instruction does to the first page when the second
 * one fails (dirty or not, read or not) is each processor's own.
 */
#include <inttypes.h>
#include <string.h>
#include "fuzz_memory.h"

enum { SI_KERNEL_CODE = 128 };

bool fuzz_is_access(unsigned kind)
{
	return kind >= FUZZ_READ_WORD && kind <= FUZZ_WRITE_RUN;
}

static bool is_run(const struct fuzz_op *op)
{
	return op->kind == FUZZ_READ_RUN || op->kind == FUZZ_WRITE_RUN;
}

void fuzz_fill(unsigned char *data, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		data[i] = (unsigned char)(seed >> 56);
	}
}

static uint64_t narrow(uint64_t value, unsigned bytes)
{
	return bytes < 8 ? value & ((1ull << 8 * bytes) - 1) : value;
}

/* A fault as one number, as results of stores and loads are kept everywhere in the fuzzer. */
static int64_t as_result(const struct fuzz_access *a)
{
	if (a->signo == SAMARA_SIGBUS)
		return -SAMARA_EIO;
	if (a->signo)
		return a->code == SAMARA_SEGV_MAPERR ? -SAMARA_EFAULT :
			a->code == SAMARA_SEGV_PKUERR ? -SAMARA_EPERM : -SAMARA_EACCES;
	return a->error;
}

int fuzz_access_kernel(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	struct fuzz_worker *w = &s->proc[op->proc].worker;
	unsigned log2 = is_run(op) ? 0 : (unsigned)op->a[1] & 3;
	uint64_t args[6] = { op->a[0], op->a[2], op->a[3] };
	unsigned char *buffer = s->island->vector;

	if (is_run(op)) {
		args[1] = (uint64_t)buffer;
		args[2] = op->a[1];
		if (op->kind == FUZZ_WRITE_RUN)
			fuzz_fill(buffer, op->a[1], op->a[2]);
	}
	if (fuzz_worker_ask(w, FUZZ_DO_ACCESS, fuzz_island_routine(op->kind, log2), args) < 0)
		return -1;
	const struct fuzz_mailbox *box = w->box;
	m->kernel = (struct fuzz_access){ .signo = (int)box->signo, .code = (int)box->code, .addr = box->fault_addr };
	if (box->signo == SAMARA_SIGSEGV && box->code == SAMARA_SEGV_PKUERR)
		m->kernel.pkey = (int)box->pkey;
	if (box->signo == SAMARA_SIGSEGV && box->code == SI_KERNEL_CODE) {
		/* Not even an address: the processor does not say which one.  samara takes any number. */
		m->kernel.code = SAMARA_SEGV_MAPERR;
		m->kernel.addr = op->a[0] + (is_run(op) ? box->done : 0);
	}
	if (is_run(op)) {
		m->kernel.done = box->done;
		if (op->kind == FUZZ_READ_RUN)
			memcpy(m->kernel_data, buffer, box->done);
	} else if (!box->signo && op->kind != FUZZ_WRITE_WORD) {
		m->kernel.value = narrow((uint64_t)box->result, 1u << log2);
	}
	s->kernel_result = as_result(&m->kernel);
	return 0;
}

static void samara_word(struct fuzz_session *s, struct samara_mm *mm, const struct fuzz_op *op,
	struct samara_signal *why)
{
	struct fuzz_access *a = &s->memory->samara;
	unsigned bytes = 1u << (op->a[1] & 3);
	uint64_t addr = op->a[0], word = op->a[2], old = 0;

	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_READ_WORD:
		if (samara_load(mm, addr, &word, bytes, why) == bytes)
			a->value = narrow(word, bytes);
		return;
	case FUZZ_WRITE_WORD:
		samara_store(mm, addr, &word, bytes, why);
		return;
	case FUZZ_EXCHANGE:
		samara_atomic(mm, addr, bytes, SAMARA_ATOMIC_EXCHANGE, word, &old, why);
		break;
	case FUZZ_FETCH_ADD:
		samara_atomic(mm, addr, bytes, SAMARA_ATOMIC_ADD, word, &old, why);
		break;
	default:
		samara_compare_exchange(mm, addr, bytes, narrow(word, bytes), op->a[3], &old, why);
		break;
	}
	if (!why->error)
		a->value = narrow(old, bytes);
}

int64_t fuzz_access_samara(struct fuzz_session *s, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	struct samara_mm *mm = s->proc[op->proc].mm;
	struct samara_signal why = { 0 };

	m->samara = (struct fuzz_access){ 0 };
	if (op->kind == FUZZ_READ_RUN) {
		m->samara.done = samara_load(mm, op->a[0], m->samara_data, op->a[1], &why);
	} else if (op->kind == FUZZ_WRITE_RUN) {
		fuzz_fill(m->samara_data, op->a[1], op->a[2]);
		m->samara.done = samara_store(mm, op->a[0], m->samara_data, op->a[1], &why);
	} else {
		samara_word(s, mm, op, &why);
	}
	m->samara.signo = why.signo;
	m->samara.code = why.signo ? why.code : 0;
	m->samara.addr = why.signo ? why.addr : 0;
	m->samara.pkey = why.signo ? why.pkey : 0;
	m->samara.error = why.signo ? 0 : why.error;
	if (op->kind == FUZZ_READ_RUN)
		m->data_bytes = m->kernel.done < m->samara.done ? m->kernel.done : m->samara.done;
	return as_result(&m->samara);
}

void fuzz_memory_access_text(const struct fuzz_access *a, const struct fuzz_op *op, char *text, size_t room)
{
	int at = 0;

	*text = 0;
	if (is_run(op))
		at = snprintf(text, room, "%" PRIu64 " bytes%s", a->done, a->signo || a->error ? ", " : "");
	if (a->signo)
		snprintf(text + at, room - (size_t)at, "%s, code %d, key %d, address %#" PRIx64, a->signo == SAMARA_SIGBUS ? "SIGBUS" :
			a->signo == SAMARA_SIGSEGV ? "SIGSEGV" : "another signal", a->code, a->pkey, a->addr);
	else if (a->error)
		snprintf(text + at, room - (size_t)at, "%s", fuzz_errno_name(-a->error));
	else if (!is_run(op))
		snprintf(text + at, room - (size_t)at, "%#" PRIx64, a->value);
}

static const char *data_difference(const struct fuzz_memory *m, const struct fuzz_op *op, char *detail, size_t room,
	uint64_t *addr)
{
	for (size_t i = 0; i < m->data_bytes; i++) {
		if (m->kernel_data[i] == m->samara_data[i])
			continue;
		if (op->kind == FUZZ_READ_RUN)
			*addr = op->a[0] + i;
		snprintf(detail, room, "kernel: byte %zu of %zu is %#x\nsamara: %#x", i, m->data_bytes, m->kernel_data[i],
			m->samara_data[i]);
		return op->kind == FUZZ_MINCORE ? "residency" : "data";
	}
	return NULL;
}

const char *fuzz_access_difference(const struct fuzz_session *s, const struct fuzz_op *op, char *detail, size_t room,
	uint64_t *addr)
{
	const struct fuzz_memory *m = s->memory;
	const struct fuzz_access *k = &m->kernel, *g = &m->samara;
	char kernel[128], samara[128];
	const char *what = NULL;

	if (fuzz_is_access(op->kind)) {
		if (k->signo != g->signo || k->code != g->code || g->error)
			what = "signal";
		else if (k->addr != g->addr)
			what = "address of the signal";
		else if (k->pkey != g->pkey)
			what = "key of the signal";
		else if (k->done != g->done)
			what = "bytes done";
		else if (k->value != g->value)
			what = "value";
		fuzz_memory_access_text(k, op, kernel, sizeof(kernel));
		fuzz_memory_access_text(g, op, samara, sizeof(samara));
		snprintf(detail, room, "kernel: %s\nsamara: %s", kernel, samara);
		*addr = what && !k->signo ? op->a[0] : 0;
	}
	return what ? what : data_difference(m, op, detail, room, addr);
}
