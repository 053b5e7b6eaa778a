/* samara_explore.c - the core with a hook at every place where others may come in. */
#define SAMARA_EXPLORE
#include "samara.c"
