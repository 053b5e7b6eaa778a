/* samara.c - the whole core as one object: compile this file alone, with the include path at include/ and at this
 * folder.
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

#include "core/frame/buddy.c"
#include "core/frame/cache.c"
#include "core/frame/mutex.c"
#include "core/frame/span.c"

#include "core/table/build.c"
#include "core/table/check.c"
#include "core/table/copy.c"
#include "core/table/format.c"
#include "core/table/move.c"
#include "core/table/range.c"

#include "core/vma/account.c"
#include "core/vma/anon.c"
#include "core/vma/extra.c"
#include "core/vma/lock.c"
#include "core/vma/merge.c"
#include "core/vma/place.c"
#include "core/vma/split.c"
#include "core/vma/vma_alloc.c"

#include "core/rmap/family.c"
#include "core/rmap/treap.c"
#include "core/rmap/walk.c"

#include "core/cache/file.c"
#include "core/cache/index.c"
#include "core/cache/io.c"
#include "core/cache/page.c"
#include "core/cache/truncate.c"
#include "core/cache/writeback.c"

#include "core/fault/access.c"
#include "core/fault/check.c"
#include "core/fault/copy.c"
#include "core/fault/fault.c"
#include "core/fault/file.c"
#include "core/fault/fork.c"
#include "core/fault/guard.c"
#include "core/fault/memory.c"
#include "core/fault/pin.c"
#include "core/fault/resident.c"
#include "core/fault/stack.c"
#include "core/fault/zap.c"

#include "core/space/advise.c"
#include "core/space/brk.c"
#include "core/space/check.c"
#include "core/space/exit.c"
#include "core/space/fork.c"
#include "core/space/guard.c"
#include "core/space/iterate.c"
#include "core/space/map.c"
#include "core/space/map_calls.c"
#include "core/space/mlock.c"
#include "core/space/pkey.c"
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
#include "core/view/smaps.c"
#include "core/view/status.c"
