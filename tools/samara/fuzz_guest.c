/* fuzz_guest.c - samara's side of the fuzzer: the machine that imitates this host, and one operation on it.
 *
 * The port is malloc and free without locks and without readers (one thread uses the machine, deferred memory goes at
 * once), so that every wrong lock is a panic and every lost byte is seen when the machine is destroyed.  A panic or
 * a crash of the core leaves by siglongjmp; the broken machine is then abandoned with its memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fuzz_memory.h"
#include "host.h"

/* ---- the host ---- */

static uint64_t read_number(const char *path, const char *key, uint64_t otherwise)
{
	char line[256];
	uint64_t value = otherwise;
	FILE *f = fopen(path, "re");
	if (!f)
		return otherwise;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key))) {
			value = strtoull(line + strlen(key), NULL, 0);
			break;
		}
	}
	fclose(f);
	return value;
}

static void learn_stat(struct fuzz_host *host)
{
	char text[2048];
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : fuzz_read_text(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	char *p = got > 0 ? strrchr(text, ')') : NULL;
	for (int field = 3; p && (p = strchr(p, ' ')); field++) {
		p++;
		if (field == 26)
			host->start_code = strtoull(p, NULL, 10);
		if (field == 27)
			host->end_code = strtoull(p, NULL, 10);
		if (field == 28)
			host->start_stack = strtoull(p, NULL, 10);
		if (field == 45)
			host->start_data = strtoull(p, NULL, 10);
		if (field == 46)
			host->end_data = strtoull(p, NULL, 10);
		if (field == 47)
			host->start_brk = strtoull(p, NULL, 10);
	}
}

static bool maps_have(const char *path, const char *what)
{
	static char text[FUZZ_TEXT_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : fuzz_read_text(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	return got > 0 && strstr(text, what);
}

void fuzz_host_learn(struct fuzz_host *host)
{
	*host = (struct fuzz_host){ .euid = geteuid() };
	struct samara_config *c = &host->config;
	c->size = sizeof(*c);
	c->total_pages = read_number("/proc/meminfo", "MemTotal:", 4 << 20) / 4;
	c->swap_pages = read_number("/proc/meminfo", "SwapTotal:", 0) / 4;
	c->overcommit_memory = (int)read_number("/proc/sys/vm/overcommit_memory", "", 0);
	c->overcommit_ratio = (uint32_t)read_number("/proc/sys/vm/overcommit_ratio", "", 50);
	c->overcommit_kbytes = read_number("/proc/sys/vm/overcommit_kbytes", "", 0);
	c->admin_reserve_kbytes = read_number("/proc/sys/vm/admin_reserve_kbytes", "", 8192);
	c->user_reserve_kbytes = read_number("/proc/sys/vm/user_reserve_kbytes", "", 131072);
	c->max_map_count = (uint32_t)read_number("/proc/sys/vm/max_map_count", "", 65530);
	c->dac_mmap_min_addr = read_number("/proc/sys/vm/mmap_min_addr", "", 4096);
	void *low = mmap((void *)4096, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (low != MAP_FAILED) {
		if ((uint64_t)low < 1 << 20)
			c->mmap_min_addr = (uint64_t)low;
		char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		c->anon_vma_name = prctl(SAMARA_PR_SET_VMA, SAMARA_PR_SET_VMA_ANON_NAME, page, 4096, "fuzz") == 0;
		munmap(page, 4096);
		munmap(low, 4096);
	}
	c->no_thp = access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0;
	c->no_ksm = access("/sys/kernel/mm/ksm", F_OK) != 0;
	c->memory_failure = access("/proc/sys/vm/memory_failure_recovery", F_OK) == 0;
	c->soft_dirty = maps_have("/proc/self/smaps", " sd ");
	c->no_zero_page = !host_zero_page();
	c->no_gbpages = !host_gbpages();
	c->no_vsyscall = !maps_have("/proc/self/maps", "[vsyscall]");
	host->pages_out = host_pages_out();
	c->pkeys = host_pkeys(); /* asking pkey_alloc would leave a mark in the processes that are forked from us */
	c->numa_nodes = 1;
	host->capabilities = strtoull("0", NULL, 16);
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "CapEff:", 7))
			host->capabilities = strtoull(line + 7, NULL, 16);
	if (f)
		fclose(f);
	learn_stat(host);
}

/* ---- the port ---- */

static void *port_alloc(void *self, size_t bytes)
{
	struct fuzz_guest *g = self;
	g->live_bytes += bytes;
	return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
}

static void port_free(void *self, void *memory, size_t bytes)
{
	struct fuzz_guest *g = self;
	g->live_bytes -= bytes;
	free(memory);
}

static void port_panic(void *self, const char *file, int line, const char *what)
{
	struct fuzz_guest *g = self;
	const char *base = strrchr(file, '/');
	snprintf(g->session->panic, sizeof(g->session->panic), "%s:%d: %s", base ? base + 1 : file, line, what);
	siglongjmp(g->session->escape, 1);
}

/* ---- importing ---- */

static const struct { const char name[3]; uint64_t flag; } vmflags[] = {
	{ "rd", SAMARA_VM_READ }, { "wr", SAMARA_VM_WRITE }, { "ex", SAMARA_VM_EXEC }, { "sh", SAMARA_VM_SHARED },
	{ "mr", SAMARA_VM_MAYREAD }, { "mw", SAMARA_VM_MAYWRITE }, { "me", SAMARA_VM_MAYEXEC },
	{ "ms", SAMARA_VM_MAYSHARE }, { "gd", SAMARA_VM_GROWSDOWN }, { "pf", SAMARA_VM_PFNMAP }, { "lo", SAMARA_VM_LOCKED },
	{ "io", SAMARA_VM_IO }, { "sr", SAMARA_VM_SEQ_READ }, { "rr", SAMARA_VM_RAND_READ }, { "dc", SAMARA_VM_DONTCOPY },
	{ "de", SAMARA_VM_DONTEXPAND }, { "lf", SAMARA_VM_LOCKONFAULT }, { "ac", SAMARA_VM_ACCOUNT },
	{ "nr", SAMARA_VM_NORESERVE }, { "ht", SAMARA_VM_HUGETLB }, { "sf", SAMARA_VM_SYNC }, { "wf", SAMARA_VM_WIPEONFORK },
	{ "dd", SAMARA_VM_DONTDUMP }, { "sd", SAMARA_VM_SOFTDIRTY }, { "mm", SAMARA_VM_MIXEDMAP },
	{ "hg", SAMARA_VM_HUGEPAGE }, { "nh", SAMARA_VM_NOHUGEPAGE }, { "mg", SAMARA_VM_MERGEABLE },
	{ "sl", SAMARA_VM_SEALED }, { "dp", SAMARA_VM_DROPPABLE },
};

static uint64_t parse_vmflags(const char *text)
{
	uint64_t flags = 0;
	for (; *text && *text != '\n'; text += text[1] ? 1 : 0) {
		while (*text == ' ')
			text++;
		if (*text == '\n' || !*text)
			break;
		for (size_t i = 0; i < FUZZ_ARRAY_SIZE(vmflags); i++)
			if (!strncmp(text, vmflags[i].name, 2))
				flags |= vmflags[i].flag;
		text++;
	}
	return flags;
}

static const char *special_name(const char *line)
{
	static const char *const names[] = { "[vdso]", "[vvar]", "[vvar_vclock]" };
	for (size_t i = 0; i < FUZZ_ARRAY_SIZE(names); i++)
		if (strstr(line, names[i]))
			return names[i];
	return NULL;
}

static int open_island_file(struct samara *vm, const char *line, struct samara_file **out)
{
	unsigned major, minor;
	unsigned long ino;
	char path[256];
	struct samara_inode *inode;
	if (sscanf(line, "%*x-%*x %*s %*x %x:%x %lu %255[^\n]", &major, &minor, &ino, path) != 4)
		return -EINVAL;
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .major = major, .minor = minor, .ino = ino,
		.size_bytes = FUZZ_ISLAND_PAGES * 4096 };
	int err = samara_inode_create(vm, &desc, &inode);
	if (err)
		return err;
	err = samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, path, out);
	samara_inode_put(inode);
	return err;
}

/* The kernel's process runs on the island, so there are tables for it. */
static void tread_on_island(struct samara_mm *mm)
{
	char byte;
	(void)samara_load(mm, FUZZ_ISLAND, &byte, 1, NULL);
}

/* The worker's few mappings, from smaps.  Only its stack has been written to, by the process that it was forked
 * from. */
static int import(struct fuzz_session *s, struct samara_mm *mm, const char *smaps)
{
	for (const char *line = smaps; line && *line;) {
		uint64_t start = strtoull(line, NULL, 16);
		const char *dash = strchr(line, '-');
		uint64_t end = dash ? strtoull(dash + 1, NULL, 16) : 0;
		const char *flags = strstr(line, "VmFlags:");
		if (!flags)
			return -EINVAL;
		char first[400];
		snprintf(first, sizeof(first), "%.*s", (int)strcspn(line, "\n"), line);
		if (start < FUZZ_TASK_SIZE) {
			bool stack = strstr(first, "[stack]");
			struct samara_install what = { .start = start, .end = end, .vm_flags = parse_vmflags(flags + 8),
				.special = special_name(first), .faulted = stack, .inherited = stack };
			if (start == FUZZ_ISLAND && open_island_file(s->guest.vm, first, &what.file) < 0)
				return -EINVAL;
			int err = samara_install(mm, &what);
			if (what.file)
				samara_file_put(what.file);
			if (err)
				return err;
		}
		line = strchr(flags, '\n');
		line = line ? line + 1 : NULL;
	}
	if (s->memory)
		tread_on_island(mm);
	return 0;
}

static int create_files(struct fuzz_session *s)
{
	struct fuzz_guest *g = &s->guest;
	for (int i = 0; i < s->files->count; i++) {
		const struct fuzz_file *f = &s->files->file[i];
		if (f->fd < 0)
			continue;
		struct samara_inode_desc desc = { .kind = f->kind, .executable = f->executable,
			.charge_pages = s->memory && f->kind == SAMARA_INODE_SHMEM,
			.major = f->major, .minor = f->minor, .ino = f->ino,
			.size_bytes = f->bytes, .seals = f->seals, .append_only = f->append_only, .noexec = f->noexec,
			.huge_align = f->huge_align, .hardwired_huge_log2 = f->huge_log2 & 63 };
		if (f->same_inode >= 0) {
			g->inode[i] = g->inode[f->same_inode];
			samara_inode_get(g->inode[i]);
		} else if (samara_inode_create(g->vm, &desc, &g->inode[i]) < 0) {
			return -1;
		}
		if (samara_file_open(g->inode[i], f->fmode, f->path, &g->file[i]) < 0)
			return -1;
	}
	for (int i = 0; i < FUZZ_SEGMENTS; i++) {
		struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .minor = 1,
			.ino = (uint64_t)s->files->segment[i].id, .size_bytes = s->files->segment[i].bytes };
		if (samara_inode_create(g->vm, &desc, &g->segment[i]) < 0)
			return -1;
	}
	return 0;
}

static struct samara_rlimit host_limit(int which)
{
	struct rlimit r = { 0, 0 };
	getrlimit((__rlimit_resource_t)which, &r);
	return (struct samara_rlimit){ r.rlim_cur, r.rlim_max };
}

int fuzz_guest_create(struct fuzz_session *s, const char *smaps, uint64_t mmap_base, uint64_t capabilities)
{
	struct samara_port port = { .size = sizeof(port), .self = &s->guest, .alloc = port_alloc, .free = port_free,
		.panic = port_panic };
	struct samara_config config = s->host->config;
	s->guest = (struct fuzz_guest){ .session = s };
	if (s->memory)
		fuzz_memory_configure(s, &config);
	if (samara_create(&port, &config, &s->guest.vm) < 0)
		return -1;
	struct samara_mm_params params = { .size = sizeof(params), .task_size = FUZZ_TASK_SIZE, .mmap_base = mmap_base,
		.personality = SAMARA_ADDR_NO_RANDOMIZE, .capabilities = capabilities, .euid = (uint32_t)s->host->euid,
		.data = host_limit(SAMARA_RLIMIT_DATA), .stack = host_limit(SAMARA_RLIMIT_STACK),
		.memlock = host_limit(SAMARA_RLIMIT_MEMLOCK), .as = host_limit(SAMARA_RLIMIT_AS),
		.start_code = s->host->start_code, .end_code = s->host->end_code, .start_data = s->host->start_data, .end_data = s->host->end_data,
		.start_brk = s->host->start_brk, .brk = s->host->start_brk, .start_stack = s->host->start_stack };
	if (samara_mm_create(s->guest.vm, &params, &s->proc[0].mm) < 0)
		return -1;
	if (create_files(s) < 0)
		return -1;
	if (s->memory && samara_prctl(s->proc[0].mm, SAMARA_PR_SET_THP_DISABLE, 1, 0, 0, 0, NULL) < 0)
		return -1;
	if (config.pkeys)
		samara_set_pkru(s->proc[0].mm, s->proc[0].worker.box->pkru);
	return import(s, s->proc[0].mm, smaps);
}

void fuzz_guest_destroy(struct fuzz_session *s)
{
	struct fuzz_guest *g = &s->guest;
	for (int i = 0; i < FUZZ_MAX_PROCS; i++) {
		if (s->proc[i].mm)
			samara_mm_put(s->proc[i].mm);
		s->proc[i].mm = NULL;
	}
	if (s->memory && g->vm)
		samara_check_machine(g->vm); /* what files keep, and nothing else */
	for (int i = 0; i < s->files->count; i++) {
		if (g->file[i])
			samara_file_put(g->file[i]);
		if (g->inode[i])
			samara_inode_put(g->inode[i]);
	}
	for (int i = 0; i < FUZZ_SEGMENTS; i++)
		if (g->segment[i])
			samara_inode_put(g->segment[i]);
	if (g->vm)
		samara_destroy(g->vm);
	g->vm = NULL;
}

/* ---- one operation ---- */

/* What a load or a store would do: grow a stack, find the mapping, what its key and its rights allow; a store gives it
 * a history. */
static int64_t touch(struct samara_mm *mm, uint64_t addr, bool write, int64_t kernel)
{
	struct samara_vma_view view;
	if (!samara_lookup(mm, addr, &view)) {
		if (samara_expand_stack(mm, addr) < 0 || !samara_lookup(mm, addr, &view))
			return -EFAULT;
	}
	unsigned key = (view.vm_flags & SAMARA_VM_PKEY_MASK) >> SAMARA_VM_PKEY_SHIFT;
	if (key && (samara_pkru(mm) >> 2 * key & (write ? 3 : 1)))
		return -SAMARA_EPERM;
	uint64_t need = write ? SAMARA_VM_WRITE : SAMARA_VM_READ | SAMARA_VM_WRITE | SAMARA_VM_EXEC;
	if (!(view.vm_flags & need))
		return -EACCES;
	if (kernel == -EFAULT || kernel == -EACCES)
		return 0; /* a guard region, if anything (touches_agree() decides): such a fault leaves no history */
	return samara_touch(mm, addr, write);
}

static int64_t set_rlimit(struct samara_mm *mm, int which, uint64_t cur)
{
	struct samara_rlimit limit = samara_get_rlimit(mm, which);
	limit.cur = cur;
	return samara_set_rlimit(mm, which, limit);
}

static struct samara_file *file_at(struct fuzz_guest *g, uint64_t i)
{
	return i < FUZZ_MAX_FILES ? g->file[i] : NULL;
}

/* What readv(2) and its like do to a vector before anybody looks at the ranges: samara is given the result. */
static int64_t advise_process(struct samara_mm *mm, const struct fuzz_op *op)
{
	struct samara_iovec ranges[2] = { { op->a[0], op->a[1] }, { op->a[2], op->a[3] } };
	uint64_t room = 0x7ffff000;
	if (op->a[5])
		return -EINVAL;
	for (int i = 0; i < op->extra; i++)
		if ((int64_t)ranges[i].length < 0)
			return -EINVAL;
	for (int i = 0; i < op->extra; i++) {
		if (ranges[i].base > FUZZ_TASK_SIZE || ranges[i].length > FUZZ_TASK_SIZE - ranges[i].base)
			return -EFAULT;
		if (ranges[i].length > room)
			ranges[i].length = room;
		room -= ranges[i].length;
	}
	return samara_process_madvise(mm, ranges, op->extra, (int)op->a[4], op->a[5], 1);
}

static int64_t mincore_samara(struct fuzz_session *s, struct samara_mm *mm, const struct fuzz_op *op)
{
	struct fuzz_memory *m = s->memory;
	uint64_t pages = op->a[1] / 4096 + (op->a[1] % 4096 != 0);
	if (!m || pages > sizeof(m->samara_data) || s->kernel_result)
		return samara_mincore(mm, op->a[0], op->a[1], NULL); /* only the range: residency needs pages */
	int64_t result = samara_mincore(mm, op->a[0], op->a[1], m->samara_data);
	if (result == 0) {
		memcpy(m->kernel_data, s->island->vector, pages);
		m->data_bytes = pages;
	}
	return result;
}

int64_t fuzz_guest_call(struct fuzz_session *s, const struct fuzz_op *op)
{
	uint64_t nodes[512] = { 0 };
	struct fuzz_guest *g = &s->guest;
	struct samara_mm *mm = s->proc[op->proc].mm;
	const uint64_t *a = op->a;
	switch ((enum fuzz_kind)op->kind) {
	case FUZZ_MMAP: return samara_mmap(mm, a[0], a[1], a[2], a[3], file_at(g, a[4]), a[5]);
	case FUZZ_MUNMAP: return samara_munmap(mm, a[0], a[1]);
	case FUZZ_MPROTECT: return samara_mprotect(mm, a[0], a[1], a[2]);
	case FUZZ_PKEY_MPROTECT: return samara_pkey_mprotect(mm, a[0], a[1], a[2], (int)a[3]);
	case FUZZ_PKEY_ALLOC: return samara_pkey_alloc(mm, a[0], a[1]);
	case FUZZ_PKEY_FREE: return samara_pkey_free(mm, (int)a[0]);
	case FUZZ_WRPKRU: samara_set_pkru(mm, (uint32_t)a[0]); return 0;
	case FUZZ_MREMAP: return samara_mremap(mm, a[0], a[1], a[2], a[3], a[4]);
	case FUZZ_BRK: return (int64_t)samara_brk(mm, a[0]);
	case FUZZ_MADVISE: return samara_madvise(mm, a[0], a[1], (int)a[2]);
	case FUZZ_PROCESS_MADVISE: return advise_process(mm, op);
	case FUZZ_MLOCK: return samara_mlock(mm, a[0], a[1]);
	case FUZZ_MLOCK2: return samara_mlock2(mm, a[0], a[1], a[2]);
	case FUZZ_MUNLOCK: return samara_munlock(mm, a[0], a[1]);
	case FUZZ_MLOCKALL: return samara_mlockall(mm, a[0]);
	case FUZZ_MUNLOCKALL: return samara_munlockall(mm);
	case FUZZ_MSYNC: return samara_msync(mm, a[0], a[1], a[2]);
	case FUZZ_MINCORE: return mincore_samara(s, mm, op);
	case FUZZ_MSEAL: return samara_mseal(mm, a[0], a[1], a[2]);
	case FUZZ_REMAP_FILE_PAGES: return samara_remap_file_pages(mm, a[0], a[1], a[2], a[3], a[4]);
	case FUZZ_PRCTL:
		return samara_prctl(mm, (int)a[0], a[1], a[2], a[3], a[4], fuzz_anon_names[op->extra & 3]);
	case FUZZ_MBIND:
		if (s->kernel_result == -EIO && !(a[5] & (SAMARA_MPOL_MF_MOVE | SAMARA_MPOL_MF_MOVE_ALL)))
			return -EIO; /* a page is elsewhere, so nothing was done; fuzz_judge.c counts it as unjudged */
		nodes[0] = a[3];
		return samara_mbind(mm, a[0], a[1], a[2], nodes, a[4], a[5]);
	case FUZZ_SHMAT:
		return samara_shmat(mm, g->segment[a[0] % FUZZ_SEGMENTS], "/SYSV00000000 (deleted)", a[1], (int)a[2]);
	case FUZZ_SHMDT: return samara_shmdt(mm, a[0]);
	case FUZZ_SETRLIMIT: return set_rlimit(mm, (int)a[0], a[1]);
	case FUZZ_PERSONALITY: samara_set_personality(mm, (uint32_t)a[0]); return 0;
	case FUZZ_UFFD_REGISTER: return samara_uffd_register(mm, &g->context[a[0] & 1], a[1], a[2], a[3]);
	case FUZZ_UFFD_UNREGISTER: return samara_uffd_unregister(mm, &g->context[a[0] & 1], a[1], a[2]);
	case FUZZ_UFFD_CLOSE: return samara_uffd_release(mm, &g->context[a[0] & 1]);
	case FUZZ_ADD_SEALS: return samara_inode_add_seals(g->inode[a[0] % FUZZ_MAX_FILES], (uint32_t)a[1]);
	case FUZZ_FORK: {
		int err = samara_fork(mm, &s->proc[op->extra].mm);
		if (!err && s->memory)
			tread_on_island(s->proc[op->extra].mm);
		return err;
	}
	case FUZZ_EXIT: samara_mm_put(mm); s->proc[op->proc].mm = NULL; return 0;
	case FUZZ_WRITE: return touch(mm, a[0], true, s->kernel_result);
	case FUZZ_READ: return touch(mm, a[0], false, s->kernel_result);
	case FUZZ_READ_WORD: case FUZZ_WRITE_WORD: case FUZZ_EXCHANGE: case FUZZ_FETCH_ADD: case FUZZ_COMPARE_EXCHANGE:
	case FUZZ_READ_RUN: case FUZZ_WRITE_RUN:
		return fuzz_access_samara(s, op);
	case FUZZ_PREAD: case FUZZ_PWRITE: case FUZZ_FTRUNCATE: case FUZZ_FALLOCATE: case FUZZ_LSEEK:
		return fuzz_file_samara(s, op);
	case FUZZ_VM_READ: case FUZZ_VM_WRITE: case FUZZ_MEM_READ: case FUZZ_MEM_WRITE:
		return fuzz_remote_samara(s, op);
	case FUZZ_KINDS: break;
	}
	return -ENOSYS;
}
