/* file.c - a file mapped shared and private: what each sees of the others and of read and write; its end; memfd and
 * seals. */
#include "user.h"

#define SHARED BASE
#define PRIVATE (BASE + 16 * PAGE)

static void show(const char *what, const volatile void *at)
{
	const volatile char *c = at;
	char copy[10];

	for (unsigned i = 0; i < 9; i++)
		copy[i] = c[i];
	copy[9] = 0;
	text(what);
	text(": ");
	text(copy);
	end_line();
}

static void put(unsigned long addr, const char *s)
{
	for (; *s; s++)
		*bytes_at(addr++) = (unsigned char)*s;
}

static void mapped(int fd)
{
	char buffer[16] = { 0 };

	say("map shared", sys_mmap(SHARED, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == (long)SHARED);
	say("map private", sys_mmap(PRIVATE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == (long)PRIVATE);
	show("first line", bytes_at(SHARED));
	show("line 500", bytes_at(PRIVATE + 5000));
	say_peek("behind its end, on the last page", SHARED + 10001);
	say_peek("a page further", SHARED + 3 * PAGE + 5);
	say_poke("and a store", PRIVATE + 3 * PAGE + 6, 1);
	put(SHARED, "by shared");
	show("private sees", bytes_at(PRIVATE));
	say("read", sys_pread(fd, buffer, 9, 0));
	show("read sees", buffer);
	put(PRIVATE + 10, "my own!!!");
	show("shared does not see", bytes_at(SHARED + 10));
	put(SHARED, "changed !");
	show("nor does private now", bytes_at(PRIVATE));
	say("write", sys_pwrite(fd, "by write!", 9, 20));
	show("shared sees", bytes_at(SHARED + 20));
	show("private has its copy", bytes_at(PRIVATE + 20));
	say("write", sys_pwrite(fd, "far away!", 9, 8200));
	show("an untouched page of it", bytes_at(PRIVATE + 8200));
	say("msync", sys_msync(SHARED, 4 * PAGE, MS_SYNC));
	say("msync later", sys_msync(SHARED, 4 * PAGE, MS_ASYNC));
	put(SHARED + 4100, "once more");
	say("msync", sys_msync(SHARED + PAGE, PAGE, MS_SYNC | MS_INVALIDATE));
	say("fsync", sys_fsync(fd));
}

static void shared_by_children(void)
{
	if (!sys_fork()) {
		put(SHARED + 30, "by child!");
		put(PRIVATE + 30, "childs own");
		sys_exit(0);
	}
	say_wait("child");
	show("the file has", bytes_at(SHARED + 30));
	show("the copy has", bytes_at(PRIVATE + 30));
}

static void cut(int fd)
{
	say("truncate", sys_ftruncate(fd, 5000));
	say_peek("its last page", SHARED + 4999);
	say_peek("zero behind", SHARED + 5000);
	say_peek("cut off", SHARED + 2 * PAGE);
	say_peek("cut off, too", PRIVATE + 2 * PAGE + 8);
	show("a private copy before the cut", bytes_at(PRIVATE + 10));
	say("longer again", sys_ftruncate(fd, 12000));
	say_peek("zero", SHARED + 2 * PAGE);
	say_poke("and of use", SHARED + 2 * PAGE + 1, 65);
	say("unmap", sys_munmap(SHARED, 32 * PAGE));
	say("fsync", sys_fsync(fd));
}

static void read_only(void)
{
	int fd = (int)sys_open("disk.txt", O_RDONLY);

	say("open to read", fd >= 0);
	say("map it shared to write", sys_mmap(SHARED, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	say("map it shared to read", sys_mmap(SHARED, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == (long)SHARED);
	say("then write", sys_mprotect(SHARED, PAGE, RW));
	say("map it private to write", sys_mmap(PRIVATE, PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == (long)PRIVATE);
	say_poke("store to shared", SHARED, 1);
	say_poke("store to private", PRIVATE, 1);
	say("an odd offset", sys_mmap(SHARED, PAGE, PROT_READ, MAP_SHARED, fd, 100));
	say("truncate", sys_ftruncate(fd, 0));
	say("close", sys_close(fd));
	say("close again", sys_close(fd));
	show("mapped all the same", bytes_at(SHARED + 10));
}

static void memory_file(void)
{
	int fd = (int)sys_memfd_create("paper", MFD_ALLOW_SEALING);

	say("memfd", fd >= 0);
	say("size", sys_ftruncate(fd, 3 * PAGE));
	say("map", sys_mmap(SHARED, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == (long)SHARED);
	put(SHARED + PAGE, "on paper.");
	say("map a part elsewhere",
		sys_mmap(PRIVATE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, PAGE) == (long)PRIVATE);
	show("the same", bytes_at(PRIVATE));
	say_peek("behind its end", SHARED + 3 * PAGE);
	say("a hole", sys_madvise(SHARED + PAGE, PAGE, MADV_REMOVE));
	say_peek("zero", PRIVATE);
	say("seal in use", sys_fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	say("unmap", sys_munmap(SHARED, 4 * PAGE));
	say("seal", sys_fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	say("map to write", sys_mmap(SHARED, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	say("write", sys_pwrite(fd, "x", 1, 0));
	say("close", sys_close(fd));
}

int program(void)
{
	int fd = (int)sys_open("disk.txt", O_RDWR);

	say("open", fd >= 0);
	mapped(fd);
	shared_by_children();
	cut(fd);
	say("close", sys_close(fd));
	read_only();
	memory_file();
	return 0;
}
