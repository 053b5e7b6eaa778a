/* event.h - one event of a trace: what a line of a trace file says, in memory.
 *
 * The tracer makes events, the writer prints them, the reader parses them, the judge consumes them; none of the
 * four knows the others.  Everything that an event points to belongs to its arena and dies at event_reset(),
 * except interned strings.  The members are those of the trace format (docs: trace-format); a member that an
 * event's kind does not have is zero.
 */
#ifndef TOOL_EVENT_H
#define TOOL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "arena.h"
#include "maps.h"
#include "samara/samara.h"

enum event_kind {
	EV_NOTHING,
	EV_HDR,  /* the machine */
	EV_EXEC, /* a new address space, whole */
	EV_CALL, /* one system call, judged */
	EV_GROW, /* maps changed between calls */
	EV_PF,   /* page faults, in time order */
	EV_AF,   /* pages that came without a fault */
	EV_SNAP, /* the whole maps at this moment */
	EV_GONE, /* a thread ended */
	EV_END,  /* the recorder ended: nothing is missing */
};

/* name, number of arguments, how each is printed: p address or other hexadecimal, l length, d decimal, P prot, F
 * flags of mmap, R flags of mremap, A advice, S SEAL bits */
#define CALLS(X) \
	X(mmap, 6, "plPFdl") X(munmap, 2, "pl") X(mprotect, 3, "plP") X(pkey_mprotect, 4, "plPd") X(pkey_alloc, 2, "pp") \
	X(pkey_free, 1, "d") X(mremap, 5, "pllRp") X(brk, 1, "p") X(madvise, 3, "plA") X(process_madvise, 5, "dpdAp") \
	X(mlock, 2, "pl") X(mlock2, 3, "plp") X(munlock, 2, "pl") X(mlockall, 1, "p") X(munlockall, 0, "") X(msync, 3, "plp") \
	X(mincore, 3, "plp") X(mseal, 3, "plp") X(remap_file_pages, 5, "plPlF") X(prctl, 5, "ppppp") X(mbind, 6, "pldpdp") \
	X(set_mempolicy, 3, "dpd") X(set_mempolicy_home_node, 4, "pldp") X(shmat, 3, "dpp") X(shmdt, 1, "p") \
	X(shmget, 3, "plp") X(shmctl, 3, "ddp") X(setrlimit, 2, "dp") X(prlimit64, 4, "ddpp") X(personality, 1, "p") \
	X(fcntl, 3, "ddS") X(ioctl, 3, "dpp") X(setuid, 1, "d") X(setreuid, 2, "dd") X(setresuid, 3, "ddd") \
	X(setfsuid, 1, "d") X(capset, 2, "pp") X(execve, 3, "ppp") X(execveat, 5, "dpppp") X(fork, 0, "") X(vfork, 0, "") X(clone, 5, "ppppp") \
	X(clone3, 2, "pl")

enum call_id {
#define X(name, argc, format) CALL_##name,
	CALLS(X)
#undef X
	CALL_COUNT
};

struct ev_file {
	bool have;
	uint32_t major, minor;
	uint64_t ino, size;
	uint32_t mode;
	uint64_t rdev;    /* st_rdev */
	uint64_t open_flags;
	uint64_t fs;      /* statfs magic */
	uint64_t id;      /* which open of the file; 0: not known */
	uint32_t seals;
	bool noexec, swap, append_only;
	const char *path; /* interned, as maps would print it */
};

struct ev_segment { /* a SysV segment */
	bool have;
	uint64_t bytes;
	uint32_t mode;
	uint32_t key;
};

struct ev_fault {
	uint64_t addr;
	bool write;
};

struct ev_vmflags {
	uint64_t start;
	const char *flags; /* interned: "rd wr mr mw me ac" */
};

struct ev_stat { /* /proc/PID/status, Vm lines, in kB; -1: not given */
	bool have;
	int64_t peak, size, lck, pin, data, stk, exe, lib;
};

struct ev_layout { /* /proc/PID/stat and auxv */
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
};

struct ev_machine { /* hdr: what samara_config wants; zero members: not recorded */
	bool have;
	uint64_t total_pages, swap_pages;
	int overcommit_memory;
	uint32_t overcommit_ratio;
	uint64_t overcommit_kbytes, admin_reserve_kbytes, user_reserve_kbytes;
	uint32_t max_map_count;
	uint64_t mmap_min_addr, dac_mmap_min_addr, huge_pages_2m, huge_pages_1g;
	uint32_t stack_guard_gap_pages, numa_nodes;
	bool no_thp, anon_vma_name, soft_dirty, pkeys, no_ksm, memory_failure, no_vsyscall, no_zero_page, no_gbpages;
};

struct event {
	struct arena arena;
	enum event_kind kind;
	uint32_t mm;
	int32_t tid;

	/* EV_CALL */
	enum call_id call;
	unsigned argc;
	uint64_t arg[6];
	int64_t result;        /* as the register had it: -errno, or a value */
	struct ev_file file;
	struct ev_segment segment;
	bool have_rlimit;
	uint64_t rlimit[2];
	uint64_t clone_flags;
	uint32_t child_mm;     /* fork-like calls; equal to mm: the child shares it */
	uint32_t target_mm;    /* calls on another process; 0: the caller's own */
	uint64_t uffd[4];      /* UFFDIO_REGISTER: start, len, mode; UNREGISTER: start, len; COPY ...: dst, len, mode */
	uint64_t uffd_id;
	struct samara_iovec *iov;
	size_t iov_n;
	uint64_t *nodes;       /* mbind, set_mempolicy: the mask */
	size_t nodes_n;
	const char *name;      /* PR_SET_VMA_ANON_NAME's string, or NULL */
	bool have_credentials; /* after the call */
	uint64_t capabilities;
	uint32_t euid;
	bool have_change;      /* `change` is the exact change of maps by this call */
	struct maps_change change, child_change;
	const char *result_flags; /* VmFlags of the VMA at the result, for drivers' mappings; or NULL */
	uint32_t race;         /* write faults of other threads while the call was in flight */

	/* EV_PF, EV_AF */
	struct ev_fault *fault;
	size_t fault_n;

	/* EV_EXEC; EV_SNAP and fork-like calls use maps, vmflags and stat */
	uint32_t old_mm;
	const char *path, *exe, *argv; /* execve and exec: the path; snap: why, in path */
	struct ev_layout layout;
	uint32_t personality;
	struct samara_rlimit limit_data, limit_stack, limit_memlock, limit_as;
	bool have_maps;
	struct maps maps;          /* lines from the arena: never pass it to maps_push or maps_free */
	const char *maps_text;     /* the same, byte for byte, from a live process; or NULL */
	size_t maps_text_n;
	struct ev_vmflags *vmflags;
	size_t vmflags_n;
	struct ev_stat stat;

	/* EV_HDR, EV_END */
	int version;
	uint32_t every;
	const char *kernel;
	struct ev_machine machine;
	uint64_t end_calls, end_stops, end_faults, end_lost;
	double end_seconds;
	int end_rc;
	int64_t status;            /* EV_GONE */
};

void event_reset(struct event *ev, enum event_kind kind);
void event_free(struct event *ev);
/* `maps` into the event, in its arena. */
void event_set_maps(struct event *ev, const struct maps *maps);

const char *call_name(enum call_id id);
unsigned call_argc(enum call_id id);
int call_by_name(const char *name); /* -1: none */
bool call_is_fork(enum call_id id);
bool result_is_error(int64_t result);

/* "mmap(NULL, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"; the result of "= ..." apart. */
void event_print_call(FILE *out, const struct event *ev);
const char *result_text(int64_t result, char *text, size_t room);
const char *errno_name(int number);

#endif
