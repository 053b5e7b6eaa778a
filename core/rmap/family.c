/* family.c - who is in which reverse map: files' mappings, families of private memory. */
#include "core/mm.h"

SAMARA_INTERNAL struct anon *anon_create(struct samara *vm)
{
	struct anon *anon = vm_alloc(vm, sizeof(*anon));

	if (anon) {
		anon->refs = 1;
		anon->vm = vm;
	}
	return anon;
}

SAMARA_INTERNAL void anon_get(struct anon *anon)
{
	__atomic_add_fetch(&anon->refs, 1, __ATOMIC_RELAXED);
}

SAMARA_INTERNAL void anon_put(struct anon *anon)
{
	if (__atomic_sub_fetch(&anon->refs, 1, __ATOMIC_ACQ_REL) == 0) {
		ASSERT(!anon->map.root);
		vm_free(anon->vm, anon, sizeof(*anon));
	}
}

/* The map of its file, if the file's pages are what it maps: private mappings of /dev/zero are anonymous memory. */
static struct rmap *map_of_file(const vma_t *vma)
{
	return vma->file && vma->file->inode->desc.kind != SAMARA_INODE_DEV_ZERO ? &vma->file->inode->map : NULL;
}

static void map_enter(struct rmap *map, vma_t *vma, bool anonymous)
{
	treap_insert(&map->root, vma, anonymous);
	map->count++;
}

static void map_leave(struct rmap *map, vma_t *vma, bool anonymous)
{
	treap_remove(&map->root, vma, anonymous);
	map->count--;
}

SAMARA_INTERNAL void rmap_lock_vma(vma_t *vma)
{
	struct rmap *map = map_of_file(vma);

	if (map)
		(void)lock_write(&map->lock, mm_port(vma->mm), 0);
	if (vma->anon)
		(void)lock_write(&vma->anon->map.lock, mm_port(vma->mm), 0);
}

SAMARA_INTERNAL void rmap_unlock_vma(vma_t *vma)
{
	struct rmap *map = map_of_file(vma);

	if (vma->anon)
		lock_write_unlock(&vma->anon->map.lock, mm_port(vma->mm));
	if (map)
		lock_write_unlock(&map->lock, mm_port(vma->mm));
}

SAMARA_INTERNAL void rmap_open(vma_t *vma)
{
	struct rmap *map = map_of_file(vma);

	rmap_lock_vma(vma);
	if (map)
		map_leave(map, vma, false);
	if (vma->anon)
		map_leave(&vma->anon->map, vma, true);
}

SAMARA_INTERNAL void rmap_enter_vma(vma_t *vma)
{
	struct rmap *map = map_of_file(vma);

	if (map)
		map_enter(map, vma, false);
	if (vma->anon)
		map_enter(&vma->anon->map, vma, true);
}

SAMARA_INTERNAL void rmap_close(vma_t *vma)
{
	rmap_enter_vma(vma);
	rmap_unlock_vma(vma);
}

SAMARA_INTERNAL void rmap_link_vma(vma_t *vma)
{
	rmap_lock_vma(vma);
	rmap_close(vma);
}

SAMARA_INTERNAL void rmap_unlink_vma(vma_t *vma)
{
	rmap_open(vma);
	rmap_unlock_vma(vma);
	if (vma->anon) {
		anon_put(vma->anon);
		vma->anon = NULL;
	}
}

SAMARA_INTERNAL void rmap_join_family(vma_t *vma, struct anon *anon)
{
	const struct samara_port *port = mm_port(vma->mm);

	ASSERT(!vma->anon);
	anon_get(anon);
	(void)lock_write(&anon->map.lock, port, 0);
	map_enter(&anon->map, vma, true);
	STORE_RELEASE(vma->anon, anon);
	lock_write_unlock(&anon->map.lock, port);
}

SAMARA_INTERNAL void rmap_leave_family(vma_t *vma)
{
	const struct samara_port *port = mm_port(vma->mm);
	struct anon *anon = vma->anon;

	(void)lock_write(&anon->map.lock, port, 0);
	map_leave(&anon->map, vma, true);
	vma->anon = NULL;
	lock_write_unlock(&anon->map.lock, port);
	anon_put(anon);
}

SAMARA_INTERNAL const char *rmap_check_vma(vma_t *vma, uint64_t *links, uint64_t *members)
{
	const struct rmap *map = map_of_file(vma);
	const char *broken = NULL;

	if (map) {
		++*links;
		broken = treap_check(map, vma, false, members);
	}
	if (vma->anon && !broken) {
		++*links;
		broken = treap_check(&vma->anon->map, vma, true, members);
	}
	return broken;
}
