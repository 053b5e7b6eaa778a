/* reread.c - run after file.c: what it left on the disk, by read(2). */
#include "user.h"

int program(void)
{
	static unsigned char buffer[1000];
	int fd = (int)sys_open("disk.txt", O_RDONLY);
	unsigned long hash = 0xcbf29ce484222325, bytes = 0;
	long got;

	while ((got = sys_read(fd, buffer, sizeof(buffer))) > 0)
		for (long i = 0; i < got; i++, bytes++)
			hash = (hash ^ buffer[i]) * 0x100000001b3;
	say("end", got);
	say("bytes", (long)bytes);
	text("hash: ");
	hex(hash);
	end_line();
	return 0;
}
