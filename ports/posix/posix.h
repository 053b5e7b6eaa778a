/* posix.h - the port for POSIX programs: threads, malloc, liburcu.
 *
 *      struct samara *vm;
 *      samara_create(samara_posix_port(), NULL, &vm);
 *
 * Threads: any thread may call samara.  A thread that uses samara_lookup is registered with liburcu on its first lookup
 * and leaves by itself when it ends.  Waiting uses futex(2) on Linux.  Metadata is malloc's, which gives what a large
 * space that ended had back to the kernel, to fault it in again for the next: a program that forks and ends large
 * spaces all the time tells it not to (mallopt(3), M_TRIM_THRESHOLD).
 */
#ifndef SAMARA_PORTS_POSIX_H
#define SAMARA_PORTS_POSIX_H

#include "samara/port.h"

/* The whole port, for several threads.  A static, constant object; copy it to change members. */
const struct samara_port *samara_posix_port(void);
/* The same without locks and RCU: one thread uses the machine, and no operation pays for others. */
const struct samara_port *samara_posix_single_port(void);

/* The calling thread is to end (`pending` not 0): what it waits for or does page by page in samara ends with -EINTR, in
 * a tenth of a second at most (port.h, fatal_signal_pending).  For signal handlers, too; 0 takes it back. */
void samara_posix_set_fatal_signal(int pending);

#endif
