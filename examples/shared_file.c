/* shared_file.c - one page of a file in two address spaces, beside read and write; and a private mapping, which keeps
 * its own copy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

static const samara_va at = 0x100000;

static int64_t map(struct samara_mm *mm, samara_va addr, uint64_t how, struct samara_file *file)
{
	return samara_mmap(mm, addr, 4096, SAMARA_PROT_READ | SAMARA_PROT_WRITE, how | SAMARA_MAP_FIXED, file, 0);
}

static int says(const char *who, struct samara_mm *mm, samara_va addr, const char *wanted)
{
	char text[16] = "";

	samara_load(mm, addr, text, sizeof(text) - 1, NULL);
	printf("%-28s %s\n", who, text);
	return strcmp(text, wanted) == 0;
}

int main(void)
{
	struct samara_config config = { .size = sizeof(config), .memory_pages = 1024 };
	struct samara_inode_desc desc = { .kind = SAMARA_INODE_SHMEM, .ino = 1 }; /* as memfd_create(2) makes one */
	struct samara_signal why;
	struct samara_inode *inode;
	struct samara_file *file;
	struct samara_mm *one, *two;
	struct samara *vm;
	char text[16] = "";
	int good = 1;

	config.memory = aligned_alloc(4096, config.memory_pages * 4096);
	if (!config.memory || samara_create(samara_posix_port(), &config, &vm) || samara_mm_create(vm, NULL, &one) ||
	    samara_mm_create(vm, NULL, &two) || samara_inode_create(vm, &desc, &inode) ||
	    samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/memfd:hello (deleted)", &file))
		return 1;
	samara_inode_put(inode); /* the file has its own reference */
	if (samara_file_truncate(file, 4096) || samara_file_write(file, 0, "by write", 8) != 8)
		return 1;
	if (map(one, at, SAMARA_MAP_SHARED, file) < 0 || map(two, at, SAMARA_MAP_SHARED, file) < 0 ||
	    map(two, at + 0x10000, SAMARA_MAP_PRIVATE, file) < 0)
		return 1;

	good &= says("the second space sees", two, at, "by write");
	samara_store(one, at, "by store", 8, NULL);
	good &= says("and what the first stored:", two, at, "by store");
	good &= says("so does a private mapping:", two, at + 0x10000, "by store");
	samara_store(two, at + 0x10000, "my own!!", 8, NULL);
	samara_store(one, at, "by three", 8, NULL);
	good &= says("once written to, no more:", two, at + 0x10000, "my own!!");
	good &= samara_file_read(file, 0, text, 8) == 8 && !strcmp(text, "by three");
	printf("%-28s %s\n", "read(2) gives", text);

	/* behind the end of the file there is nothing to map */
	samara_file_truncate(file, 0);
	good &= samara_load(one, at, text, 1, &why) == 0 && why.signo == SAMARA_SIGBUS && why.code == SAMARA_BUS_ADRERR;
	printf("%-28s signal %d\n", "after truncation, a load:", why.signo);

	samara_file_put(file);
	samara_mm_put(one);
	samara_mm_put(two);
	samara_destroy(vm);
	free(config.memory);
	return !good;
}
