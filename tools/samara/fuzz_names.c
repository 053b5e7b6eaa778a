/* fuzz_names.c - names of the operations, flags and errors of `samara fuzz`, for people and for the table of what
 * was covered.
 *
 * `fuzz_flags` lists every flag and advice of section A of the specification; one that a run never used is shown
 * with 0.
 */
#include <inttypes.h>
#include <string.h>
#include "fuzz.h"

static const struct {
	const char *name;
	int args;
} kinds[FUZZ_KINDS] = {
	[FUZZ_MMAP] = { "mmap", 6 }, [FUZZ_MUNMAP] = { "munmap", 2 }, [FUZZ_MPROTECT] = { "mprotect", 3 },
	[FUZZ_PKEY_MPROTECT] = { "pkey_mprotect", 4 }, [FUZZ_PKEY_ALLOC] = { "pkey_alloc", 2 },
	[FUZZ_PKEY_FREE] = { "pkey_free", 1 }, [FUZZ_WRPKRU] = { "wrpkru", 1 }, [FUZZ_MREMAP] = { "mremap", 5 }, [FUZZ_BRK] = { "brk", 1 },
	[FUZZ_MADVISE] = { "madvise", 3 }, [FUZZ_PROCESS_MADVISE] = { "process_madvise", 6 },
	[FUZZ_MLOCK] = { "mlock", 2 }, [FUZZ_MLOCK2] = { "mlock2", 3 }, [FUZZ_MUNLOCK] = { "munlock", 2 },
	[FUZZ_MLOCKALL] = { "mlockall", 1 }, [FUZZ_MUNLOCKALL] = { "munlockall", 0 }, [FUZZ_MSYNC] = { "msync", 3 },
	[FUZZ_MINCORE] = { "mincore", 2 }, [FUZZ_MSEAL] = { "mseal", 3 },
	[FUZZ_REMAP_FILE_PAGES] = { "remap_file_pages", 5 }, [FUZZ_PRCTL] = { "prctl", 5 }, [FUZZ_MBIND] = { "mbind", 6 },
	[FUZZ_SHMAT] = { "shmat", 3 }, [FUZZ_SHMDT] = { "shmdt", 1 }, [FUZZ_SETRLIMIT] = { "setrlimit", 2 },
	[FUZZ_PERSONALITY] = { "personality", 1 }, [FUZZ_UFFD_REGISTER] = { "uffd_register", 4 },
	[FUZZ_UFFD_UNREGISTER] = { "uffd_unregister", 3 }, [FUZZ_UFFD_CLOSE] = { "uffd_close", 1 },
	[FUZZ_ADD_SEALS] = { "add_seals", 2 }, [FUZZ_FORK] = { "fork", 0 }, [FUZZ_EXIT] = { "exit", 0 },
	[FUZZ_WRITE] = { "store", 1 }, [FUZZ_READ] = { "load", 1 },
	[FUZZ_READ_WORD] = { "read_word", 2 }, [FUZZ_WRITE_WORD] = { "write_word", 3 }, [FUZZ_EXCHANGE] = { "exchange", 3 },
	[FUZZ_FETCH_ADD] = { "fetch_add", 3 }, [FUZZ_COMPARE_EXCHANGE] = { "compare_exchange", 4 },
	[FUZZ_READ_RUN] = { "read_run", 2 }, [FUZZ_WRITE_RUN] = { "write_run", 3 }, [FUZZ_PREAD] = { "pread", 3 },
	[FUZZ_PWRITE] = { "pwrite", 4 }, [FUZZ_FTRUNCATE] = { "ftruncate", 2 }, [FUZZ_FALLOCATE] = { "fallocate", 4 },
	[FUZZ_LSEEK] = { "lseek", 3 }, [FUZZ_VM_READ] = { "vm_read", 2 }, [FUZZ_VM_WRITE] = { "vm_write", 3 },
	[FUZZ_MEM_READ] = { "mem_read", 2 }, [FUZZ_MEM_WRITE] = { "mem_write", 3 },
};

const char *const fuzz_anon_names[4] = { NULL, "heap of the fuzzer", "bad[name]", "" };

#define BIT(kind, arg, text, bits) { kind, arg, false, 0, bits, text }
#define IS(kind, arg, text, mask, value) { kind, arg, true, mask, value, text }
#define ALL (~0ull)
#define MAP_FLAG(name) BIT(FUZZ_MMAP, 3, #name, SAMARA_##name)
#define ADVICE(name) IS(FUZZ_MADVISE, 2, #name, ALL, SAMARA_##name)
#define PROCESS_ADVICE(name) IS(FUZZ_PROCESS_MADVISE, 4, #name, ALL, SAMARA_##name)
#define OPTION(name) IS(FUZZ_PRCTL, 0, #name, ALL, SAMARA_##name)

const struct fuzz_flag fuzz_flags[] = {
	IS(FUZZ_MMAP, 2, "PROT_NONE", ALL, 0), BIT(FUZZ_MMAP, 2, "PROT_READ", 1), BIT(FUZZ_MMAP, 2, "PROT_WRITE", 2),
	BIT(FUZZ_MMAP, 2, "PROT_EXEC", 4), IS(FUZZ_MMAP, 2, "PROT_EXEC alone", ALL, 4), BIT(FUZZ_MMAP, 2, "PROT_SEM", 8),
	BIT(FUZZ_MMAP, 2, "PROT_GROWSDOWN", SAMARA_PROT_GROWSDOWN),
	IS(FUZZ_MMAP, 3, "MAP_SHARED", SAMARA_MAP_TYPE, SAMARA_MAP_SHARED),
	IS(FUZZ_MMAP, 3, "MAP_PRIVATE", SAMARA_MAP_TYPE, SAMARA_MAP_PRIVATE),
	IS(FUZZ_MMAP, 3, "MAP_SHARED_VALIDATE", SAMARA_MAP_TYPE, SAMARA_MAP_SHARED_VALIDATE),
	IS(FUZZ_MMAP, 3, "MAP_DROPPABLE", SAMARA_MAP_TYPE, SAMARA_MAP_DROPPABLE),
	IS(FUZZ_MMAP, 3, "type 0", SAMARA_MAP_TYPE, 0), MAP_FLAG(MAP_FIXED), MAP_FLAG(MAP_ANONYMOUS), MAP_FLAG(MAP_32BIT),
	MAP_FLAG(MAP_ABOVE4G), MAP_FLAG(MAP_GROWSDOWN), MAP_FLAG(MAP_DENYWRITE), MAP_FLAG(MAP_EXECUTABLE),
	MAP_FLAG(MAP_LOCKED), MAP_FLAG(MAP_NORESERVE), MAP_FLAG(MAP_POPULATE), MAP_FLAG(MAP_NONBLOCK), MAP_FLAG(MAP_STACK),
	MAP_FLAG(MAP_HUGETLB), MAP_FLAG(MAP_SYNC), MAP_FLAG(MAP_FIXED_NOREPLACE), MAP_FLAG(MAP_UNINITIALIZED),
	IS(FUZZ_MMAP, 3, "MAP_HUGE_2MB", 0x3ful << 26 | SAMARA_MAP_HUGETLB, 21ul << 26 | SAMARA_MAP_HUGETLB),
	IS(FUZZ_MMAP, 3, "MAP_HUGE_1GB", 0x3ful << 26 | SAMARA_MAP_HUGETLB, 30ul << 26 | SAMARA_MAP_HUGETLB),
	BIT(FUZZ_MMAP, 3, "unknown bit 9", 0x200), BIT(FUZZ_MMAP, 3, "unknown bit 21", 0x200000),
	IS(FUZZ_MPROTECT, 2, "PROT_NONE", ALL, 0), BIT(FUZZ_MPROTECT, 2, "PROT_READ", 1),
	BIT(FUZZ_MPROTECT, 2, "PROT_WRITE", 2), BIT(FUZZ_MPROTECT, 2, "PROT_EXEC", 4),
	IS(FUZZ_MPROTECT, 2, "PROT_EXEC alone", ALL, 4), BIT(FUZZ_MPROTECT, 2, "PROT_SEM", 8),
	BIT(FUZZ_MPROTECT, 2, "PROT_GROWSDOWN", SAMARA_PROT_GROWSDOWN),
	BIT(FUZZ_MPROTECT, 2, "PROT_GROWSUP", SAMARA_PROT_GROWSUP), BIT(FUZZ_MPROTECT, 2, "unknown bit", 0x100),
	IS(FUZZ_PKEY_MPROTECT, 3, "pkey -1", ALL, ALL), IS(FUZZ_PKEY_MPROTECT, 3, "pkey 0", ALL, 0),
	IS(FUZZ_PKEY_MPROTECT, 3, "pkey 1", ALL, 1), IS(FUZZ_PKEY_MPROTECT, 3, "pkey 2", ALL, 2),
	IS(FUZZ_PKEY_MPROTECT, 3, "pkey 16", ALL, 16),
	BIT(FUZZ_PKEY_ALLOC, 1, "PKEY_DISABLE_ACCESS", 1), BIT(FUZZ_PKEY_ALLOC, 1, "PKEY_DISABLE_WRITE", 2),
	BIT(FUZZ_MREMAP, 3, "MREMAP_MAYMOVE", 1), BIT(FUZZ_MREMAP, 3, "MREMAP_FIXED", 2),
	BIT(FUZZ_MREMAP, 3, "MREMAP_DONTUNMAP", 4), BIT(FUZZ_MREMAP, 3, "unknown bit", 8),
	IS(FUZZ_MREMAP, 1, "old size 0", ALL, 0), ADVICE(MADV_NORMAL), ADVICE(MADV_RANDOM), ADVICE(MADV_SEQUENTIAL),
	ADVICE(MADV_WILLNEED), ADVICE(MADV_DONTNEED), ADVICE(MADV_FREE), ADVICE(MADV_REMOVE), ADVICE(MADV_DONTFORK),
	ADVICE(MADV_DOFORK), ADVICE(MADV_MERGEABLE), ADVICE(MADV_UNMERGEABLE), ADVICE(MADV_HUGEPAGE),
	ADVICE(MADV_NOHUGEPAGE), ADVICE(MADV_DONTDUMP), ADVICE(MADV_DODUMP), ADVICE(MADV_WIPEONFORK),
	ADVICE(MADV_KEEPONFORK), ADVICE(MADV_COLD), ADVICE(MADV_PAGEOUT), ADVICE(MADV_POPULATE_READ),
	ADVICE(MADV_POPULATE_WRITE), ADVICE(MADV_DONTNEED_LOCKED), ADVICE(MADV_COLLAPSE), ADVICE(MADV_HWPOISON),
	ADVICE(MADV_SOFT_OFFLINE), ADVICE(MADV_GUARD_INSTALL), ADVICE(MADV_GUARD_REMOVE),
	IS(FUZZ_MADVISE, 2, "unknown advice 5", ALL, 5), IS(FUZZ_MADVISE, 2, "unknown advice 26", ALL, 26),
	IS(FUZZ_MADVISE, 2, "unknown advice -1", ALL, ALL), PROCESS_ADVICE(MADV_WILLNEED), PROCESS_ADVICE(MADV_DONTNEED),
	PROCESS_ADVICE(MADV_COLD), PROCESS_ADVICE(MADV_PAGEOUT), PROCESS_ADVICE(MADV_COLLAPSE),
	PROCESS_ADVICE(MADV_DONTFORK), PROCESS_ADVICE(MADV_GUARD_INSTALL), PROCESS_ADVICE(MADV_GUARD_REMOVE),
	BIT(FUZZ_PROCESS_MADVISE, 5, "unknown flag", 1), IS(FUZZ_MLOCK2, 2, "flags 0", ALL, 0),
	BIT(FUZZ_MLOCK2, 2, "MLOCK_ONFAULT", 1), BIT(FUZZ_MLOCK2, 2, "unknown bit", 2),
	BIT(FUZZ_MLOCKALL, 0, "MCL_CURRENT", 1), BIT(FUZZ_MLOCKALL, 0, "MCL_FUTURE", 2),
	BIT(FUZZ_MLOCKALL, 0, "MCL_ONFAULT", 4), BIT(FUZZ_MLOCKALL, 0, "unknown bit", 8),
	IS(FUZZ_MSYNC, 2, "flags 0", ALL, 0), BIT(FUZZ_MSYNC, 2, "MS_ASYNC", 1), BIT(FUZZ_MSYNC, 2, "MS_INVALIDATE", 2),
	BIT(FUZZ_MSYNC, 2, "MS_SYNC", 4), BIT(FUZZ_MSYNC, 2, "unknown bit", 8), BIT(FUZZ_MSEAL, 2, "unknown bit", 1),
	BIT(FUZZ_REMAP_FILE_PAGES, 4, "MAP_NONBLOCK", SAMARA_MAP_NONBLOCK), OPTION(PR_SET_VMA), OPTION(PR_SET_THP_DISABLE),
	OPTION(PR_GET_THP_DISABLE), OPTION(PR_SET_MDWE), OPTION(PR_GET_MDWE), OPTION(PR_SET_MM),
	IS(FUZZ_MBIND, 2, "MPOL_DEFAULT", 0xff, 0), IS(FUZZ_MBIND, 2, "MPOL_PREFERRED", 0xff, 1),
	IS(FUZZ_MBIND, 2, "MPOL_BIND", 0xff, 2), IS(FUZZ_MBIND, 2, "MPOL_INTERLEAVE", 0xff, 3),
	IS(FUZZ_MBIND, 2, "MPOL_LOCAL", 0xff, 4), IS(FUZZ_MBIND, 2, "MPOL_PREFERRED_MANY", 0xff, 5),
	IS(FUZZ_MBIND, 2, "MPOL_WEIGHTED_INTERLEAVE", 0xff, 6), IS(FUZZ_MBIND, 2, "unknown mode", 0xff, 9),
	BIT(FUZZ_MBIND, 2, "MPOL_F_STATIC_NODES", SAMARA_MPOL_F_STATIC_NODES),
	BIT(FUZZ_MBIND, 2, "MPOL_F_RELATIVE_NODES", SAMARA_MPOL_F_RELATIVE_NODES),
	BIT(FUZZ_MBIND, 5, "MPOL_MF_STRICT", 1), BIT(FUZZ_MBIND, 5, "MPOL_MF_MOVE", 2),
	BIT(FUZZ_MBIND, 5, "MPOL_MF_MOVE_ALL", 4), BIT(FUZZ_SHMAT, 2, "SHM_RDONLY", SAMARA_SHM_RDONLY),
	BIT(FUZZ_SHMAT, 2, "SHM_RND", SAMARA_SHM_RND), BIT(FUZZ_SHMAT, 2, "SHM_REMAP", SAMARA_SHM_REMAP),
	BIT(FUZZ_SHMAT, 2, "SHM_EXEC", SAMARA_SHM_EXEC), IS(FUZZ_SETRLIMIT, 0, "RLIMIT_DATA", ALL, SAMARA_RLIMIT_DATA),
	IS(FUZZ_SETRLIMIT, 0, "RLIMIT_STACK", ALL, SAMARA_RLIMIT_STACK),
	IS(FUZZ_SETRLIMIT, 0, "RLIMIT_MEMLOCK", ALL, SAMARA_RLIMIT_MEMLOCK),
	IS(FUZZ_SETRLIMIT, 0, "RLIMIT_AS", ALL, SAMARA_RLIMIT_AS),
	BIT(FUZZ_PERSONALITY, 0, "READ_IMPLIES_EXEC", SAMARA_READ_IMPLIES_EXEC),
	BIT(FUZZ_UFFD_REGISTER, 3, "MODE_MISSING", 1), BIT(FUZZ_UFFD_REGISTER, 3, "MODE_WP", 2),
	BIT(FUZZ_UFFD_REGISTER, 3, "MODE_MINOR", 4), BIT(FUZZ_UFFD_REGISTER, 3, "unknown mode", 8),
	BIT(FUZZ_ADD_SEALS, 1, "F_SEAL_SEAL", 1), BIT(FUZZ_ADD_SEALS, 1, "F_SEAL_SHRINK", 2),
	BIT(FUZZ_ADD_SEALS, 1, "F_SEAL_GROW", 4), BIT(FUZZ_ADD_SEALS, 1, "F_SEAL_WRITE", 8),
	BIT(FUZZ_ADD_SEALS, 1, "F_SEAL_FUTURE_WRITE", 16), BIT(FUZZ_ADD_SEALS, 1, "F_SEAL_EXEC", 32),
	BIT(FUZZ_ADD_SEALS, 1, "unknown seal", 64),
	IS(FUZZ_READ_WORD, 1, "1 byte", 3, 0), IS(FUZZ_READ_WORD, 1, "2 bytes", 3, 1),
	IS(FUZZ_READ_WORD, 1, "4 bytes", 3, 2), IS(FUZZ_READ_WORD, 1, "8 bytes", 3, 3),
	IS(FUZZ_WRITE_WORD, 1, "1 byte", 3, 0), IS(FUZZ_WRITE_WORD, 1, "2 bytes", 3, 1),
	IS(FUZZ_WRITE_WORD, 1, "4 bytes", 3, 2), IS(FUZZ_WRITE_WORD, 1, "8 bytes", 3, 3),
	IS(FUZZ_FALLOCATE, 1, "mode 0", ALL, 0),
	BIT(FUZZ_FALLOCATE, 1, "FALLOC_FL_KEEP_SIZE", 1), BIT(FUZZ_FALLOCATE, 1, "FALLOC_FL_PUNCH_HOLE", 2),
	BIT(FUZZ_FALLOCATE, 1, "FALLOC_FL_ZERO_RANGE", 16), BIT(FUZZ_FALLOCATE, 1, "FALLOC_FL_UNSHARE_RANGE", 64),
	IS(FUZZ_LSEEK, 2, "SEEK_DATA", ALL, 3), IS(FUZZ_LSEEK, 2, "SEEK_HOLE", ALL, 4),
};
const size_t fuzz_flag_count = FUZZ_ARRAY_SIZE(fuzz_flags);
_Static_assert(FUZZ_ARRAY_SIZE(fuzz_flags) <= FUZZ_MAX_FLAGS, "FUZZ_MAX_FLAGS is too small");

bool fuzz_flag_seen(const struct fuzz_flag *flag, const struct fuzz_op *op)
{
	if (flag->kind != op->kind)
		return false;
	uint64_t value = op->a[flag->arg];
	return flag->exact ? (value & flag->mask) == flag->value : (value & flag->value) == flag->value;
}

const char *fuzz_kind_name(unsigned kind)
{
	return kind < FUZZ_KINDS ? kinds[kind].name : "?";
}

int fuzz_kind_args(unsigned kind)
{
	return kind < FUZZ_KINDS ? kinds[kind].args : 0;
}

const char *fuzz_errno_name(int err)
{
	static __thread char number[24];
	switch (err) {
#define NAME(e) case SAMARA_##e: return #e
	NAME(EPERM); NAME(ENOENT); NAME(EINTR); NAME(EIO); NAME(E2BIG); NAME(EBADF); NAME(EAGAIN); NAME(ENOMEM); NAME(EACCES);
	NAME(EFAULT); NAME(EBUSY); NAME(EEXIST); NAME(ENODEV); NAME(EINVAL); NAME(ETXTBSY); NAME(ENOSPC); NAME(ENOSYS);
	NAME(EIDRM); NAME(EOVERFLOW); NAME(EOPNOTSUPP);
#undef NAME
	case 0: return "ok";
	case 133: return "EHWPOISON";
	}
	snprintf(number, sizeof(number), "%d", err);
	return number;
}

static bool is_touch(const struct fuzz_op *op)
{
	return op->kind == FUZZ_WRITE || op->kind == FUZZ_READ ||
		(op->kind >= FUZZ_READ_WORD && op->kind <= FUZZ_WRITE_RUN);
}

void fuzz_result_text(const struct fuzz_op *op, int64_t result, char *text, size_t room)
{
	if (is_touch(op) && result < 0)
		snprintf(text, room, "%s", result == -SAMARA_EFAULT ? "SEGV_MAPERR" :
			result == -SAMARA_EACCES ? "SEGV_ACCERR" : result == -SAMARA_EIO ? "SIGBUS" : "SEGV_PKUERR");
	else if (result < 0 && result > -4096)
		snprintf(text, room, "%s", fuzz_errno_name((int)-result));
	else
		snprintf(text, room, "%#" PRIx64, (uint64_t)result);
}

static size_t add_flags(char *text, size_t room, size_t at, const struct fuzz_op *op, int arg)
{
	uint64_t rest = op->a[arg];
	const char *bar = "";
	for (size_t i = 0; i < fuzz_flag_count && at < room; i++) {
		const struct fuzz_flag *f = &fuzz_flags[i];
		if (f->arg != arg || !fuzz_flag_seen(f, op) || strchr(f->name, ' '))
			continue;
		uint64_t bits = f->exact && f->mask != ALL ? f->mask : f->value;
		at += (size_t)snprintf(text + at, room - at, "%s%s", bar, f->name);
		rest &= ~bits;
		bar = "|";
	}
	if (at < room && (rest || !*bar))
		at += (size_t)snprintf(text + at, room - at, "%s%#" PRIx64, bar, rest);
	return at;
}

static bool has_names(unsigned kind, int arg)
{
	for (size_t i = 0; i < fuzz_flag_count; i++)
		if (fuzz_flags[i].kind == kind && fuzz_flags[i].arg == arg && !strchr(fuzz_flags[i].name, ' '))
			return true;
	return false;
}

void fuzz_op_text(const struct fuzz_files *files, const struct fuzz_op *op, char *text, size_t room)
{
	size_t at = (size_t)snprintf(text, room, "%s(", fuzz_kind_name(op->kind));
	for (int i = 0; i < fuzz_kind_args(op->kind) && at < room; i++) {
		if (i)
			at += (size_t)snprintf(text + at, room - at, ", ");
		if (at >= room)
			break;
		bool file = (op->kind == FUZZ_MMAP && i == 4) ||
			((op->kind == FUZZ_ADD_SEALS || (op->kind >= FUZZ_PREAD && op->kind <= FUZZ_LSEEK)) && i == 0);
		if (file && op->a[i] < (uint64_t)files->count)
			at += (size_t)snprintf(text + at, room - at, "<%s>", files->file[op->a[i]].name);
		else if (has_names(op->kind, i))
			at = add_flags(text, room, at, op, i);
		else
			at += (size_t)snprintf(text + at, room - at, op->a[i] < 10 ? "%" PRIu64 : "%#" PRIx64, op->a[i]);
	}
	if (at < room)
		snprintf(text + at, room - at, ")");
}
