/* memory.h - what an address space holds: faults, loads and stores, pinned pages, residency.
 *
 * A machine has memory when samara_config.memory names some: frames of 4096 bytes from which pages, page tables and
 * file pages come.  Every call here needs that; on a machine without (a map only) they return -ENOSYS, or 0 bytes with
 * error -ENOSYS.
 *
 * An access is made the way a processor makes it: the page table is walked, the entry's rights are checked, accessed
 * and dirty are marked; where that fails the access faults, samara_fault answers (core/fault/fault.c has the cases),
 * and the access is tried again.  What cannot be answered is a signal: its number, code and address are Linux's
 * (sigaction(2), siginfo_t).
 *
 * Locks: none may be held (no guard); a hit takes only the lock of one page of the page table, for as long as the bytes
 * are copied, so a store is either before or after any change that takes its right away (munmap, mprotect, fork).  A
 * fault takes the lock of its VMA alone, and falls back to the read side of mmap_lock when the VMA is changing, has no
 * anonymous history yet, or must grow; of a file's page it takes the page's lock.  Who must wait for a page that
 * another thread reads or writes back waits with nothing held.  A thread that is to end gives each such wait up (port.h,
 * fatal_signal_pending): -EINTR.
 */
#ifndef SAMARA_MEMORY_H
#define SAMARA_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include "samara/vma.h"

struct samara;
struct samara_mm;

enum { /* samara_config.table_format: the hardware's format of page tables, the same for all spaces of a machine */
	SAMARA_TABLE_X86_4, /* x86-64, four levels: 48 bits */
	SAMARA_TABLE_X86_5, /* five levels: 57 bits */
	SAMARA_TABLE_SV39,  /* RISC-V, three levels: 39 bits */
	SAMARA_TABLE_SV48,  /* four levels: 48 bits */
};

enum {
	SAMARA_READ = 1,
	SAMARA_WRITE = 2,
	SAMARA_EXEC = 4,
	SAMARA_NOWAIT = 8,    /* do not sleep for a page that must be read: -EAGAIN, and the read has been started */
	SAMARA_FORCE = 16,    /* as ptrace(2) and /proc/PID/mem: may-rights count instead of rights (FOLL_FORCE); a write to a private
	                       * mapping without PROT_WRITE makes a private copy */
	SAMARA_LONGTERM = 32, /* samara_pin: for as long as the embedder likes (FOLL_LONGTERM): the space's own page in any
	                       * case */
};

/* Why an access ended early. */
struct samara_signal {
	int error;      /* -EFAULT: a signal, below; -ENOMEM: no frame to be had; -EAGAIN: pending (SAMARA_NOWAIT, or a port
	                 * that cannot wait); -EINTR: the thread is to end; -ENOSYS; -EINVAL; 0: nothing did */
	int signo;      /* SAMARA_SIGSEGV, SAMARA_SIGBUS, or 0 */
	int code;       /* SAMARA_SEGV_MAPERR, _ACCERR, _PKUERR, SAMARA_BUS_ADRERR, ... */
	samara_va addr; /* si_addr: the byte that could not be accessed */
	int pkey;       /* si_pkey, with SAMARA_SEGV_PKUERR: the key that forbids it */
};

/* A page fault: an access (SAMARA_READ, _WRITE or _EXEC, perhaps with SAMARA_NOWAIT) found no entry that allows it.  0:
 * an entry is there, marked accessed and (SAMARA_WRITE) dirty; make the access again (somebody may have been faster the
 * other way: loop).  Else the error as in struct samara_signal, and *why says more (may be NULL). */
int samara_fault(struct samara_mm *mm, samara_va addr, unsigned access, struct samara_signal *why);

/* Loads, stores and instruction fetches of any length and alignment, across pages.  The number of bytes that were
 * moved; when it is less than `bytes`, *why says why (may be NULL).  Bytes before the failing page were moved. */
size_t samara_load(struct samara_mm *mm, samara_va addr, void *to, size_t bytes, struct samara_signal *why);
size_t samara_store(struct samara_mm *mm, samara_va addr, const void *from, size_t bytes, struct samara_signal *why);
size_t samara_fetch(struct samara_mm *mm, samara_va addr, void *to, size_t bytes, struct samara_signal *why);
/* The same for an embedder's own purposes, with SAMARA_NOWAIT, SAMARA_FORCE in `how`.  With SAMARA_FORCE they are
 * /proc/PID/mem and ptrace(2), which also let a stack grow; without, rights count, but not those of keys. */
size_t samara_copy_from(struct samara_mm *mm, samara_va addr, void *to, size_t bytes, unsigned how, struct samara_signal *why);
size_t samara_copy_to(struct samara_mm *mm, samara_va addr, const void *from, size_t bytes, unsigned how, struct samara_signal *why);

enum samara_atomic_op { SAMARA_ATOMIC_EXCHANGE, SAMARA_ATOMIC_ADD, SAMARA_ATOMIC_AND, SAMARA_ATOMIC_OR, SAMARA_ATOMIC_XOR };
/* Atomic operations on a guest's word of 1, 2, 4 or 8 bytes, naturally aligned (else -EINVAL), against each other, and
 * against the same in other spaces and mappings of the page.  *old gets the value before.  0 or an error as in
 * samara_signal.  Exchange compares: the word becomes `desired` when it was `expected`; the caller sees in *old whether
 * it did. */
int samara_atomic(struct samara_mm *mm, samara_va addr, unsigned bytes, enum samara_atomic_op op, uint64_t operand, uint64_t *old,
	struct samara_signal *why);
int samara_compare_exchange(struct samara_mm *mm, samara_va addr, unsigned bytes, uint64_t expected, uint64_t desired, uint64_t *old,
	struct samara_signal *why);

/* Pages that stay where they are.  get_user_pages (Documentation/core-api/pin_user_pages). */
struct samara_page {
	void *host;   /* its 4096 bytes */
	uint64_t pfn; /* its frame */
};
/* Pin up to `count` pages from the page that holds `addr`: how many (at least 1), or an error when the first cannot be
 * had: -EFAULT, -ENOMEM, -EAGAIN, -EINTR, -EINVAL.  `how`: SAMARA_WRITE (the pages may be written through `host`), _FORCE,
 * _NOWAIT, _LONGTERM.  A private page that others have, too, is made the space's own first, so that what is read and
 * written there is what the guest sees, also after a fork: the child gets the copy.  Pinned for reading without
 * SAMARA_LONGTERM, a page that the guest has never written to may still be the file's or the page of zeroes, and what the
 * guest writes later is elsewhere.  (process_vm_readv(2), process_vm_writev(2)) */
int64_t samara_pin(struct samara_mm *mm, samara_va addr, size_t count, unsigned how, struct samara_page *out);
/* `dirty`: they were written to. */
void samara_unpin(struct samara *vm, const struct samara_page *pages, size_t count, int dirty);
struct samara_host_iovec {
	void *base;
	size_t length;
};
/* [addr, addr + bytes) as host memory, for readv and writev: pieces that lie together in host memory are one.  At most
 * `room` of them and of pages (both arrays have `room` entries).  *pieces is how many; the number of bytes covered, or
 * an error as samara_pin, -EINVAL also for a range that wraps. */
int64_t samara_pin_iovec(struct samara_mm *mm, samara_va addr, uint64_t bytes, unsigned how, struct samara_host_iovec *iov,
	size_t *pieces, struct samara_page *pages, size_t *pinned, size_t room);

/* madvise(MADV_POPULATE_READ / _WRITE) as a call: `access` is SAMARA_READ or SAMARA_WRITE.  Errors as that advice. */
int samara_populate(struct samara_mm *mm, samara_va addr, uint64_t length, unsigned access);

/* Grows before anything that an entry named is used for something else: a translation read under one value is good
 * while the value stays. */
uint64_t samara_generation(const struct samara_mm *mm);
/* The frame number of the root of the page table, for hardware that walks it. */
uint64_t samara_table_root(const struct samara_mm *mm);

/* /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap): one word a page from the page that holds `addr`; how
 * many. */
size_t samara_pagemap(struct samara_mm *mm, samara_va addr, uint64_t *words, size_t count);

/* Resident pages: the Rss lines of status.  Pages of the machine: what frames are used for. */
struct samara_mm_usage {
	uint64_t anon_pages, file_pages, shmem_pages, table_pages, resident_peak_pages;
};
void samara_mm_usage(struct samara_mm *mm, struct samara_mm_usage *out);
struct samara_usage {
	uint64_t total_pages, free_pages, table_pages, anon_pages, file_pages;
};
void samara_usage(struct samara *vm, struct samara_usage *out); /* walks all frames; nobody else at work */

/* The whole-structure check of a machine, beyond samara_check: frames, page tables, caches, reverse maps
 * (docs/invariants.md).  No other call may be running.  0, or panics through the port. */
int samara_check_machine(struct samara *vm);

#endif
