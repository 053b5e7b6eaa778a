/* pager.c - a file that does not exist: a pager makes each page up when somebody first looks at it, and hears of what
 * was written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/posix/posix.h"
#include "samara/samara.h"

#define FILE_PAGES (1ull << 28) /* 1 TiB of squares, eight bytes each */

struct pager {
	unsigned read, written;
	uint64_t last_written;
};

static int pager_read(void *self, uint64_t index, void *page)
{
	struct pager *pager = self;
	uint64_t *word = page;

	if (index == FILE_PAGES - 1)
		return -SAMARA_EIO; /* a bad block */
	for (uint64_t i = 0; i < 512; i++)
		word[i] = (index * 512 + i) * (index * 512 + i);
	pager->read++;
	return 0;
}

static int pager_write(void *self, uint64_t index, const void *page, uint32_t bytes)
{
	struct pager *pager = self;

	pager->written++;
	memcpy(&pager->last_written, page, sizeof(pager->last_written));
	return index == 1000 && bytes == 4096 ? 0 : -SAMARA_EIO;
}

int main(void)
{
	const struct samara_inode_ops ops = { .size = sizeof(ops), .read_page = pager_read, .write_page = pager_write };
	struct samara_config config = { .size = sizeof(config), .memory_pages = 1024 };
	struct pager pager = { 0 };
	const struct samara_inode_desc desc = { .kind = SAMARA_INODE_REGULAR, .ino = 1, .ops = &ops, .self = &pager,
		.size_bytes = FILE_PAGES * 4096 };
	struct samara_signal why = { 0 };
	struct samara_inode *inode;
	struct samara_file *file;
	struct samara_mm *mm;
	struct samara *vm;
	uint64_t word = 0, wanted = 123456789, zero = 0;
	int64_t base;
	int good;

	config.memory = aligned_alloc(4096, config.memory_pages * 4096);
	if (!config.memory || samara_create(samara_posix_port(), &config, &vm) || samara_mm_create(vm, NULL, &mm) ||
	    samara_inode_create(vm, &desc, &inode) || samara_file_open(inode, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, "/squares", &file))
		return 1;
	samara_inode_put(inode);
	base = samara_mmap(mm, 0, FILE_PAGES * 4096, SAMARA_PROT_READ | SAMARA_PROT_WRITE, SAMARA_MAP_SHARED, file, 0);
	if (base < 0)
		return 1;
	samara_madvise(mm, (samara_va)base, FILE_PAGES * 4096, SAMARA_MADV_RANDOM); /* no reading ahead */

	samara_load(mm, (samara_va)base + wanted * 8, &word, 8, NULL);
	printf("the square of %llu is %llu; pages made up: %u\n", (unsigned long long)wanted, (unsigned long long)word, pager.read);
	good = word == wanted * wanted && pager.read == 1;

	samara_store(mm, (samara_va)base + 1000 * 4096, &zero, 8, NULL);
	samara_msync(mm, (samara_va)base, FILE_PAGES * 4096, SAMARA_MS_SYNC);
	printf("written back: %u page, which now begins with %llu\n", pager.written, (unsigned long long)pager.last_written);
	good &= pager.written == 1 && pager.last_written == 0;

	samara_load(mm, (samara_va)base + (FILE_PAGES - 1) * 4096, &word, 8, &why);
	printf("the bad block: signal %d (SIGBUS), code %d (BUS_ADRERR)\n", why.signo, why.code);
	good &= why.signo == SAMARA_SIGBUS && why.code == SAMARA_BUS_ADRERR;

	samara_file_put(file);
	samara_mm_put(mm);
	samara_destroy(vm);
	free(config.memory);
	return !good;
}
