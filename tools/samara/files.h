/* files.h - the judge's table of inodes and open files: from what a trace says about a descriptor to samara's
 * objects.
 *
 * One samara_inode for each (device, number) and kind, one samara_file for each open of it; the table holds a
 * reference to each until files_destroy().  What a driver does with a mapping is not samara's to know:
 * files_driver_answer() sets what the driver of the next mmap will say.
 */
#ifndef TOOL_FILES_H
#define TOOL_FILES_H

#include "event.h"

struct files;

struct files *files_create(struct samara *vm);
void files_destroy(struct files *files);
/* The open file of a descriptor; NULL for one that mmap refuses with EBADF.  `mm` and `fd` stand in for an
 * identity that the trace does not give. */
struct samara_file *files_open(struct files *files, const struct ev_file *f, uint32_t mm, int fd);
/* The file of a line of maps whose open is not known; `open` numbers it: equal numbers and inodes are the same open. */
struct samara_file *files_of_line(struct files *files, const struct map_line *line, uint64_t open, bool writable);
struct samara_inode *files_segment(struct files *files, uint64_t id, const struct ev_segment *segment);
bool files_is_driver(const struct ev_file *f);
void files_driver_answer(struct files *files, int error, uint64_t vm_flags);

/* The kernel's numbers for shmem inodes that samara made itself.  True: `ours` is or becomes the kernel's `theirs`. */
bool files_bind(struct files *files, uint64_t ours, uint64_t theirs);

/* "rd wr mr mw me ac" as SAMARA_VM_* bits. */
uint64_t vmflags_parse(const char *text);

#endif
