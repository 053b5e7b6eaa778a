/* tracer_probe.c - reading a stopped process and the machine from /proc.
 *
 * Every function leaves its output zero (or empty) when the process is gone; nothing here changes the process.
 */
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>
#include "host.h"
#include "tracer_state.h"

int probe_open(pid_t tid, const char *leaf)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/%s", tid, leaf);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int probe_read(struct tracer *tracer, int fd)
{
	off_t at = 0;

	tracer->text_n = 0;
	if (fd < 0)
		return -1;
	for (;;) {
		ssize_t n;

		tracer->text = must_grow(tracer->text, &tracer->text_room, tracer->text_n + 32768, 1);
		n = pread(fd, tracer->text + tracer->text_n, tracer->text_room - tracer->text_n - 1, at);
		if (n < 0)
			return -1;
		if (!n)
			break;
		tracer->text_n += (size_t)n;
		at += n;
	}
	tracer->text[tracer->text_n] = 0;
	return 0;
}

size_t probe_memory(pid_t tid, uint64_t addr, void *to, size_t bytes)
{
	struct iovec local = { .iov_base = to, .iov_len = bytes };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)addr, .iov_len = bytes };
	ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);

	return n < 0 ? 0 : (size_t)n;
}

static size_t read_small(pid_t tid, const char *leaf, char *text, size_t room)
{
	int fd = probe_open(tid, leaf);
	ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		n = 0;
	text[n] = 0;
	return (size_t)n;
}

/* stat(5): fields are counted from the one after the parenthesis, which is the third */
static void read_layout(struct ev_layout *layout, pid_t tid)
{
	char text[2048], *p;
	uint64_t field[64] = { 0 };
	int n = 3;

	read_small(tid, "stat", text, sizeof(text));
	p = strrchr(text, ')');
	if (!p)
		return;
	for (p = strchr(p, ' '); p && n < 64; n++) {
		char *next;

		field[n] = strtoull(++p, &next, 10);
		p = strchr(p, ' ');
	}
	*layout = (struct ev_layout){
		.start_code = field[26], .end_code = field[27], .start_stack = field[28], .start_data = field[45],
		.end_data = field[46], .start_brk = field[47], .brk = field[47], .arg_start = field[48], .arg_end = field[49],
		.env_start = field[50], .env_end = field[51],
	};
}

void probe_credentials(pid_t tid, uint64_t *capabilities, uint32_t *euid)
{
	char text[4096], *line;
	unsigned uid = 0;

	read_small(tid, "status", text, sizeof(text));
	line = strstr(text, "\nUid:");
	if (line && sscanf(line, "\nUid: %*u %u", &uid) == 1)
		*euid = uid;
	line = strstr(text, "\nCapEff:");
	if (line)
		*capabilities = strtoull(line + 8, NULL, 16);
}

void probe_stat(struct event *ev, pid_t tid)
{
	static const char *const name[] = { "VmPeak", "VmSize", "VmLck", "VmPin", "VmData", "VmStk", "VmExe", "VmLib" };
	struct ev_stat *st = &ev->stat;
	int64_t *value[] = { &st->peak, &st->size, &st->lck, &st->pin, &st->data, &st->stk, &st->exe, &st->lib };
	char text[4096];

	read_small(tid, "status", text, sizeof(text));
	for (size_t i = 0; i < sizeof(name) / sizeof(*name); i++) {
		char *line = strstr(text, name[i]);

		*value[i] = line && line[strlen(name[i])] == ':' ? strtoll(line + strlen(name[i]) + 1, NULL, 10) : -1;
		if (*value[i] >= 0)
			st->have = true;
	}
}

static struct samara_rlimit read_limit(pid_t tid, int which)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	prlimit(tid, which, NULL, &limit);
	return (struct samara_rlimit){ limit.rlim_cur, limit.rlim_max };
}

/* smaps(5): the header line of a VMA is a line of maps, its last line says VmFlags */
void probe_flags(struct tracer *tracer, struct event *ev, struct space *space)
{
	size_t room = 0, n = 0;
	struct ev_vmflags *flags = NULL;
	uint64_t start = 0;

	if (probe_read(tracer, space->smaps))
		return;
	for (char *line = tracer->text; *line;) {
		char *end = strchrnul(line, '\n');
		size_t bytes = (size_t)(end - line);

		if (bytes > 8 && !memcmp(line, "VmFlags:", 8)) {
			line += 8;
			while (*line == ' ')
				line++;
			bytes = (size_t)(end - line);
			while (bytes && line[bytes - 1] == ' ')
				bytes--;
			flags = must_grow(flags, &room, n + 1, sizeof(*flags));
			flags[n++] = (struct ev_vmflags){ start, intern(line, bytes) };
		} else if (isdigit((unsigned char)*line) || (*line >= 'a' && *line <= 'f')) {
			start = strtoull(line, NULL, 16);
		}
		line = *end ? end + 1 : end;
	}
	ev->vmflags = arena_alloc(&ev->arena, n * sizeof(*flags));
	if (n)
		memcpy(ev->vmflags, flags, n * sizeof(*flags));
	ev->vmflags_n = n;
	free(flags);
}

const char *probe_flags_at(struct tracer *tracer, struct space *space, uint64_t start)
{
	struct event *ev = &tracer->ev;
	struct ev_vmflags *kept = ev->vmflags;
	size_t kept_n = ev->vmflags_n;
	const char *found = NULL;

	probe_flags(tracer, ev, space);
	for (size_t i = 0; i < ev->vmflags_n; i++)
		if (ev->vmflags[i].start <= start)
			found = ev->vmflags[i].flags;
	ev->vmflags = kept;
	ev->vmflags_n = kept_n;
	return found;
}

pid_t probe_pidfd(pid_t tid, int fd)
{
	char leaf[40], text[1024], *line;

	snprintf(leaf, sizeof(leaf), "fdinfo/%d", fd);
	read_small(tid, leaf, text, sizeof(text));
	line = strstr(text, "\nPid:");
	return line ? (pid_t)strtol(line + 5, NULL, 10) : -1;
}

static const char *read_link(pid_t tid, const char *leaf)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/%s", tid, leaf);
	n = readlink(link, path, sizeof(path));
	return intern(path, n < 0 ? 0 : (size_t)n);
}

void probe_exec(struct tracer *tracer, struct event *ev, pid_t tid)
{
	char text[16384];
	size_t n;

	(void)tracer;
	read_layout(&ev->layout, tid);
	probe_credentials(tid, &ev->capabilities, &ev->euid);
	ev->have_credentials = true;
	ev->limit_data = read_limit(tid, RLIMIT_DATA);
	ev->limit_stack = read_limit(tid, RLIMIT_STACK);
	ev->limit_memlock = read_limit(tid, RLIMIT_MEMLOCK);
	ev->limit_as = read_limit(tid, RLIMIT_AS);
	read_small(tid, "personality", text, sizeof(text));
	ev->personality = (uint32_t)strtoul(text, NULL, 16);
	ev->exe = read_link(tid, "exe");
	n = read_small(tid, "cmdline", text, sizeof(text));
	for (size_t i = 0; i + 1 < n; i++)
		if (!text[i])
			text[i] = ' ';
	ev->argv = arena_text(&ev->arena, text, n);
}

/* ---- the machine ---- */

static uint64_t sysctl_number(const char *name, uint64_t otherwise)
{
	char path[128], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	file = fopen(path, "re");
	if (!file || !fgets(text, sizeof(text), file))
		*text = 0;
	if (file)
		fclose(file);
	return *text ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t file_number(const char *path)
{
	char text[64] = "";
	FILE *file = fopen(path, "re");

	if (file && !fgets(text, sizeof(text), file))
		*text = 0;
	if (file)
		fclose(file);
	return strtoull(text, NULL, 10);
}

static bool config_says(const char *config, const char *name, bool otherwise)
{
	char want[96];

	if (!config)
		return otherwise;
	snprintf(want, sizeof(want), "\nCONFIG_%s=y", name);
	return strstr(config, want) != NULL;
}

static char *read_config(void)
{
	gzFile file = gzopen("/proc/config.gz", "r");
	size_t room = 1 << 20, n = 0;
	char *text;
	int got;

	if (!file)
		return NULL;
	text = must_alloc(room);
	while ((got = gzread(file, text + n, (unsigned)(room - n - 1))) > 0)
		n += (size_t)got;
	text[n] = 0;
	gzclose(file);
	return text;
}

static void read_machine(struct ev_machine *m)
{
	char line[4096], *config = read_config();
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kb;

	memset(m, 0, sizeof(*m));
	m->have = true;
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemTotal: %llu kB", &kb) == 1)
			m->total_pages = kb / 4;
		if (sscanf(line, "SwapTotal: %llu kB", &kb) == 1)
			m->swap_pages = kb / 4;
	}
	if (file)
		fclose(file);
	m->overcommit_memory = (int)sysctl_number("overcommit_memory", 0);
	m->overcommit_ratio = (uint32_t)sysctl_number("overcommit_ratio", 50);
	m->overcommit_kbytes = sysctl_number("overcommit_kbytes", 0);
	m->admin_reserve_kbytes = sysctl_number("admin_reserve_kbytes", 8192);
	m->user_reserve_kbytes = sysctl_number("user_reserve_kbytes", 131072);
	m->max_map_count = (uint32_t)sysctl_number("max_map_count", 65530);
	m->dac_mmap_min_addr = sysctl_number("mmap_min_addr", 4096);
	/* the security module's minimum (CONFIG_LSM_MMAP_MIN_ADDR) is where hints are lifted to */
	m->mmap_min_addr = 65536;
	if (config) {
		char *lsm = strstr(config, "\nCONFIG_LSM_MMAP_MIN_ADDR=");

		m->mmap_min_addr = lsm ? strtoull(lsm + 26, NULL, 10) : m->dac_mmap_min_addr;
	}
	if (m->mmap_min_addr < m->dac_mmap_min_addr)
		m->mmap_min_addr = m->dac_mmap_min_addr;
	m->stack_guard_gap_pages = 256;
	m->numa_nodes = 1;
	m->huge_pages_2m = file_number("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	m->huge_pages_1g = file_number("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
	m->no_thp = !config_says(config, "TRANSPARENT_HUGEPAGE", true);
	m->anon_vma_name = config_says(config, "ANON_VMA_NAME", false);
	m->soft_dirty = config_says(config, "MEM_SOFT_DIRTY", false);
	m->no_ksm = !config_says(config, "KSM", true);
	m->memory_failure = config_says(config, "MEMORY_FAILURE", false);
	m->pkeys = config_says(config, "X86_INTEL_MEMORY_PROTECTION_KEYS", false) && host_pkeys();
	m->no_zero_page = !host_zero_page();
	m->no_gbpages = !host_gbpages();
	m->no_vsyscall = true;
	if ((file = fopen("/proc/self/maps", "re"))) {
		while (fgets(line, sizeof(line), file))
			if (strstr(line, "[vsyscall]"))
				m->no_vsyscall = false;
		fclose(file);
	}
	free(config);
}

void probe_machine(struct event *ev, uint32_t every)
{
	char line[512] = "";
	FILE *file = fopen("/proc/version", "re");

	if (file && !fgets(line, sizeof(line), file))
		*line = 0;
	if (file)
		fclose(file);
	ev->version = 1;
	ev->every = every;
	ev->kernel = arena_text(&ev->arena, line, strcspn(line, "\n"));
	read_machine(&ev->machine);
}
