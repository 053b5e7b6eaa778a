/* host.c - asking the machine: by trying it, in memory of our own. */
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "host.h"

/* A page that was only read: bit 61 of pagemap is clear and bit 56 set for a page of one's own; the page of zeroes is
 * never exclusively mapped (Documentation/admin-guide/mm/pagemap.rst). */
bool host_zero_page(void)
{
	volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	bool own = false;

	if (page != MAP_FAILED && fd >= 0) {
		(void)*page;
		if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / 4096 * 8)) == sizeof(entry))
			own = (entry >> 63 & 1) && (entry >> 56 & 1);
	}
	if (fd >= 0)
		close(fd);
	if (page != MAP_FAILED)
		munmap((void *)(uintptr_t)page, 4096);
	return !own;
}

bool host_gbpages(void)
{
	return access("/sys/kernel/mm/hugepages/hugepages-1048576kB", F_OK) == 0;
}

bool host_pkeys(void)
{
	static int have = -1; /* it does not change */
	char line[4096];

	if (have >= 0)
		return have;
	FILE *file = fopen("/proc/cpuinfo", "re");
	have = 0;
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "flags", 5))
			have = strstr(line, " ospke") != NULL;
	if (file)
		fclose(file);
	return have;
}

/* Does a file that the pattern names say this? */
static bool some_file_says(const char *pattern, const char *word)
{
	glob_t found;
	bool says = false;

	if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !says; i++) {
		char line[64] = "";
		FILE *file = fopen(found.gl_pathv[i], "re");
		if (file && fgets(line, sizeof(line), file)) {
			line[strcspn(line, "\n")] = 0;
			says = !strcmp(line, word);
		}
		if (file)
			fclose(file);
	}
	globfree(&found);
	return says;
}

/* Documentation/admin-guide/mm/damon/usage.rst and reclaim.rst. */
bool host_pages_out(void)
{
	return some_file_says("/sys/module/damon_reclaim/parameters/enabled", "Y") ||
		(some_file_says("/sys/kernel/mm/damon/admin/kdamonds/*/state", "on") &&
		 some_file_says("/sys/kernel/mm/damon/admin/kdamonds/*/contexts/*/schemes/*/action", "pageout"));
}
