/* samara.c - the whole core as one object: compile this file alone, with the include path at include/ and at this folder.
 *
 *      cc -std=c11 -O2 -ffreestanding -Iinclude -I. -c samara.c
 *
 * Everything that is not part of the public headers is static here.
 */
#define SAMARA_ONE_OBJECT

#include "core/base/lock.c"

#include "core/tree/node.c"
#include "core/tree/leaf.c"
#include "core/tree/shape.c"
#include "core/tree/walk.c"
#include "core/tree/gap.c"
#include "core/tree/store.c"
#include "core/tree/duplicate.c"
#include "core/tree/check.c"

#include "core/vma/vma_alloc.c"
#include "core/vma/extra.c"
#include "core/vma/anon.c"
#include "core/vma/split.c"
#include "core/vma/merge.c"
#include "core/vma/place.c"

#include "core/space/account.c"
#include "core/space/advise.c"
#include "core/space/brk.c"
#include "core/space/check.c"
#include "core/space/exit.c"
#include "core/space/file.c"
#include "core/space/fork.c"
#include "core/space/guard.c"
#include "core/space/iterate.c"
#include "core/space/map.c"
#include "core/space/map_calls.c"
#include "core/space/mlock.c"
#include "core/space/policy.c"
#include "core/space/populate.c"
#include "core/space/prctl.c"
#include "core/space/protect.c"
#include "core/space/remap.c"
#include "core/space/seal.c"
#include "core/space/shm.c"
#include "core/space/space.c"
#include "core/space/sync.c"
#include "core/space/uffd.c"
#include "core/space/unmap.c"

#include "core/view/maps.c"
#include "core/view/status.c"
