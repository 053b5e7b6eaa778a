/* host_file.h - a file of the host as something that samara maps: pages are read from it and written back to it.
 *
 *      struct samara_file *file;
 *      samara_host_file_open(vm, "/lib/libc.so.6", O_RDONLY, &file);
 *      samara_mmap(mm, 0, length, SAMARA_PROT_READ, SAMARA_MAP_PRIVATE, file, 0);
 *      samara_file_put(file);
 *
 * The host's descriptor lives as long as the inode.  What others do to the host's file meanwhile is not watched:
 * pages that were read stay as they are, and the size is the one of the moment of opening (samara_inode_set_size
 * tells another).  Each call makes an inode of its own, so open a file once and use
 * samara_file_open(samara_file_inode(file), ...) for more opens of it.
 */
#ifndef SAMARA_PORTS_HOST_FILE_H
#define SAMARA_PORTS_HOST_FILE_H

#include "samara/file.h"

/* `flags` as open(2)'s (O_CREAT makes the file with mode 0666 less the umask; O_APPEND is dropped: pages have
 * places).  0 and *file, with one reference that holds the only one on the inode; else open(2)'s negative errno,
 * -EINVAL for what is not a regular file, -ENOMEM. */
int samara_host_file_open(struct samara *vm, const char *path, int flags, struct samara_file **file);

#endif
