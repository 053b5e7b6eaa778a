/* samara_inside.c - the core for the stress test: one object, local assertions; the whole check is called at quiet
 * points. */
#include "samara.c"
