/* host.h - what the kernel and the processor that we run on can do, where no file says so. */
#ifndef TOOLS_HOST_H
#define TOOLS_HOST_H

#include <stdbool.h>

bool host_zero_page(void); /* reading untouched anonymous memory maps the one page of zeroes */
bool host_gbpages(void);   /* 1 GiB pages */
bool host_pkeys(void);     /* protection keys, switched on by the kernel */
bool host_pages_out(void); /* DAMON gives pages back of its own accord, memory or not */

#endif
