/* maps_svg.h - an address space as a picture: high addresses on top, mappings as boxes, gaps as hatched breaks,
 * both with heights on a log scale, so that a page and a terabyte are both readable.  Colours are permissions. */
#ifndef TOOL_MAPS_SVG_H
#define TOOL_MAPS_SVG_H

#include <stdio.h>
#include "maps.h"

void maps_svg(FILE *out, const struct maps *maps, const char *title);

#endif
