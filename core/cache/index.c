/* index.c - which page of a file is where: a radix tree with 64 slots a node, and a bit for each slot that says
 * "dirty below".
 *
 * A slot of a leaf is NULL or a frame, nothing else.  The tree is as high as the largest index needs; a node without
 * slots in use goes, and a root whose only child is its first goes, too.  Nodes change under `cache->lock` alone.
 *
 * Readers have no lock: they run between read_lock and read_unlock of the port, and a node's memory goes through
 * `defer`.  A frame's descriptor is permanent memory, so a reader may try to take a reference on whatever a slot
 * named: only when the count is not zero, and then it looks again whether the slot still names the frame.  If not,
 * the frame may be anything by now, and the reference goes back at once.  With a port that has threads but no read
 * sections a reader takes the lock.
 */
#include "core/mm.h"

#define CACHE_NODE_BITS 6u
#define CACHE_NODE_SLOTS (1u << CACHE_NODE_BITS)

struct cache_node {
	struct samara_rcu_head rcu;
	const struct samara *vm;
	struct cache_node *parent;
	uint64_t dirty;     /* leaf: pages that are tagged; above: children with a bit set */
	uint32_t count;     /* slots in use */
	uint8_t level;      /* 0: slots are frames */
	uint8_t offset;     /* in the parent */
	void *slot[CACHE_NODE_SLOTS];
};

static inline unsigned node_offset(const struct cache_node *node, uint64_t index)
{
	return (unsigned)(index >> (node->level * CACHE_NODE_BITS)) & (CACHE_NODE_SLOTS - 1);
}

static inline bool node_covers(const struct cache_node *root, uint64_t index)
{
	unsigned bits = (root->level + 1u) * CACHE_NODE_BITS;

	return bits >= 64 || index >> bits == 0;
}

static void index_read_begin(struct samara_inode *inode)
{
	const struct samara_port *port = &inode->vm->port;

	if (port->read_lock)
		port->read_lock(port->self);
	else
		mutex_lock(&inode->cache.lock, port);
}

static void index_read_end(struct samara_inode *inode)
{
	const struct samara_port *port = &inode->vm->port;

	if (port->read_lock)
		port->read_unlock(port->self);
	else
		mutex_unlock(&inode->cache.lock, port);
}

/* -- nodes; `lock` held -- */

static void node_reclaim(struct samara_rcu_head *head)
{
	struct cache_node *node = CONTAINER_OF(head, struct cache_node, rcu);

	vm_free(node->vm, node, sizeof(*node));
}

static void node_free(struct cache_node *node)
{
	const struct samara_port *port = &node->vm->port;

	if (port->defer)
		port->defer(port->self, &node->rcu, node_reclaim);
	else
		node_reclaim(&node->rcu);
}

static struct cache_node *node_make(struct samara_inode *inode, struct cache_node *parent, unsigned offset,
	unsigned level)
{
	struct cache_node *node = vm_alloc(inode->vm, sizeof(*node));

	if (node) {
		node->vm = inode->vm;
		node->parent = parent;
		node->offset = (uint8_t)offset;
		node->level = (uint8_t)level;
	}
	return node;
}

/* Nodes without slots go, from this one up; then the root gets lower if it can. */
static void index_prune(struct cache *cache, struct cache_node *node)
{
	struct cache_node *root;

	while (node && !node->count) {
		struct cache_node *parent = node->parent;

		if (parent) {
			STORE(parent->slot[node->offset], NULL);
			parent->count--;
		} else {
			STORE(cache->root, NULL);
			cache->height = 0;
		}
		node_free(node);
		node = parent;
	}
	while ((root = cache->root) != NULL && root->level && root->count == 1 && root->slot[0]) {
		struct cache_node *child = root->slot[0];

		child->parent = NULL;
		child->offset = 0;
		STORE_RELEASE(cache->root, child);
		cache->height--;
		node_free(root);
	}
}

static struct cache_node *index_leaf(const struct cache *cache, uint64_t index)
{
	struct cache_node *node = cache->root;

	if (!node || !node_covers(node, index))
		return NULL;
	while (node && node->level)
		node = node->slot[node_offset(node, index)];
	return node;
}

/* A root that covers the index, the old tree in its first slot. */
static struct cache_node *index_raise(struct samara_inode *inode, uint64_t index)
{
	struct cache *cache = &inode->cache;

	for (;;) {
		struct cache_node *root = cache->root, *above;

		if (root && node_covers(root, index))
			return root;
		above = node_make(inode, NULL, 0, root ? root->level + 1u : 0);
		if (!above)
			return NULL;
		if (!root) {
			while (!node_covers(above, index))
				above->level++;
		} else {
			above->slot[0] = root;
			above->count = 1;
			above->dirty = root->dirty != 0;
			root->parent = above;
		}
		cache->height = above->level + 1u;
		STORE_RELEASE(cache->root, above);
	}
}

/* The leaf for an index, made if need be.  NULL: no memory, and nothing changed. */
static struct cache_node *index_make(struct samara_inode *inode, uint64_t index)
{
	struct cache *cache = &inode->cache;
	struct cache_node *node = index_raise(inode, index);

	while (node && node->level) {
		unsigned offset = node_offset(node, index);
		struct cache_node *child = node->slot[offset];

		if (!child) {
			child = node_make(inode, node, offset, node->level - 1u);
			if (!child) {
				index_prune(cache, node);
				return NULL;
			}
			STORE_RELEASE(node->slot[offset], child);
			node->count++;
		}
		node = child;
	}
	if (!node)
		index_prune(cache, NULL);
	return node;
}

static void index_tag(struct cache *cache, struct cache_node *leaf, uint64_t index, bool dirty)
{
	struct cache_node *node = leaf;
	unsigned offset = node_offset(leaf, index);

	if ((leaf->dirty >> offset & 1) == dirty)
		return;
	STORE(cache->dirty, dirty ? cache->dirty + 1 : cache->dirty - 1);
	while (node) {
		uint64_t before = node->dirty, bit = (uint64_t)1 << offset;

		STORE(node->dirty, dirty ? before | bit : before & ~bit);
		/* the bit above says whether any is set here */
		if (dirty ? before != 0 : node->dirty != 0)
			break;
		offset = node->offset;
		node = node->parent;
	}
}

/* -- the machine's inodes: each stands in the ring from its first page until its last reference goes -- */

static void cache_list(struct samara_inode *inode)
{
	struct samara *vm = inode->vm;
	struct samara_inode *first;

	mutex_lock(&vm->inodes_lock, &vm->port);
	first = vm->inodes;
	if (first) {
		inode->prev = first->prev;
		STORE(inode->next, first);
		STORE(first->prev->next, inode);
		first->prev = inode;
	} else {
		inode->prev = inode;
		STORE(inode->next, inode);
		vm->inodes = inode;
	}
	mutex_unlock(&vm->inodes_lock, &vm->port);
}

SAMARA_INTERNAL void cache_unlist(struct samara_inode *inode)
{
	struct samara *vm = inode->vm;

	if (!LOAD(inode->next))
		return;
	mutex_lock(&vm->inodes_lock, &vm->port);
	if (vm->inodes == inode)
		vm->inodes = inode->next == inode ? NULL : inode->next;
	STORE(inode->prev->next, inode->next);
	inode->next->prev = inode->prev;
	mutex_unlock(&vm->inodes_lock, &vm->port);
	inode->prev = NULL;
	STORE(inode->next, NULL);
}

static bool inode_try_get(struct samara_inode *inode)
{
	uint32_t refs = LOAD(inode->refs);

	while (refs)
		if (__atomic_compare_exchange_n(&inode->refs, &refs, refs + 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

SAMARA_INTERNAL struct samara_inode *cache_next_inode(struct samara *vm, struct samara_inode *prev)
{
	struct samara_inode *at, *found = NULL;

	mutex_lock(&vm->inodes_lock, &vm->port);
	at = prev ? prev->next : vm->inodes;
	/* the ring ends where it began */
	while (at && !(prev && at == vm->inodes)) {
		if (inode_try_get(at)) {
			found = at;
			break;
		}
		at = at->next;
		if (at == vm->inodes)
			break;
	}
	mutex_unlock(&vm->inodes_lock, &vm->port);
	if (prev)
		samara_inode_put(prev);
	return found;
}

/* -- pages -- */

static bool frame_try_get(const struct frames *f, struct frame *frame)
{
	uint64_t count = LOAD(frame->count);

	if (!f->threads) {
		frame->count += (uint32_t)count != 0;
		return (uint32_t)count != 0;
	}
	while ((uint32_t)count)
		if (__atomic_compare_exchange_n(&frame->count, &count, count + 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

/* What a leaf's slot names, with a reference. */
static struct frame *index_get(struct samara *vm, void *const *slot)
{
	for (;;) {
		struct frame *frame = LOAD_ACQUIRE(*slot);

		if (!frame)
			return NULL;
		if (!frame_try_get(&vm->frames, frame))
			continue;
		if (LIKELY(LOAD_ACQUIRE(*slot) == frame))
			return frame;
		frame_put(&vm->frames, vm_cpu(vm), frame);
	}
}

SAMARA_INTERNAL struct frame *cache_find(struct samara_inode *inode, uint64_t index)
{
	struct frame *frame = NULL;
	struct cache_node *node;

	if (!LOAD(inode->cache.root))
		return NULL;
	index_read_begin(inode);
	node = LOAD_ACQUIRE(inode->cache.root);
	if (node && node_covers(node, index)) {
		while (node && node->level)
			node = LOAD_ACQUIRE(node->slot[node_offset(node, index)]);
		if (node)
			frame = index_get(inode->vm, &node->slot[node_offset(node, index)]);
	}
	index_read_end(inode);
	return frame;
}

/* The first slot in use (tagged, when dirty_only) at or behind *index: its leaf, and *index becomes its index.  NULL:
 * none up to `last`. */
static struct cache_node *index_seek(const struct cache *cache, uint64_t *index, uint64_t last, bool dirty_only)
{
	struct cache_node *node = LOAD_ACQUIRE(cache->root);
	uint64_t at = *index;

	if (node && !node_covers(node, at))
		return NULL;
	while (node && at <= last) {
		unsigned shift = node->level * CACHE_NODE_BITS, offset;
		struct cache_node *child = NULL;
		unsigned above = shift + CACHE_NODE_BITS;
		uint64_t behind;

		for (offset = node_offset(node, at); offset < CACHE_NODE_SLOTS; offset++) {
			if (dirty_only && !(LOAD(node->dirty) >> offset & 1))
				continue;
			child = LOAD_ACQUIRE(node->slot[offset]);
			if (child)
				break;
		}
		if (child) {
			/* further right: from the beginning of that part */
			if (offset != node_offset(node, at))
				at = ((at >> shift & ~(uint64_t)(CACHE_NODE_SLOTS - 1)) | offset) << shift;
			if (!node->level) {
				*index = at;
				return at <= last ? node : NULL;
			}
			node = child;
			continue;
		}
		/* nothing to the right here: the part behind this node, from the root */
		behind = above >= 64 ? 0 : ((at >> above) + 1) << above;
		if (behind <= at)
			return NULL;
		at = behind;
		node = LOAD_ACQUIRE(cache->root);
		if (node && !node_covers(node, at))
			return NULL;
	}
	return NULL;
}

SAMARA_INTERNAL unsigned cache_find_many(struct samara_inode *inode, uint64_t index, uint64_t last, bool dirty_only,
	struct frame **out, unsigned room)
{
	unsigned found = 0;

	if (!LOAD(inode->cache.root))
		return 0;
	index_read_begin(inode);
	while (found < room && index <= last) {
		struct cache_node *leaf = index_seek(&inode->cache, &index, last, dirty_only);
		struct frame *frame;

		if (!leaf)
			break;
		frame = index_get(inode->vm, &leaf->slot[node_offset(leaf, index)]);
		if (frame)
			out[found++] = frame;
		if (++index == 0)
			break;
	}
	index_read_end(inode);
	return found;
}

SAMARA_INTERNAL int cache_insert(struct samara_inode *inode, uint64_t index, struct frame *frame, struct frame **there)
{
	const struct samara_port *port = &inode->vm->port;
	struct cache *cache = &inode->cache;
	struct cache_node *leaf;
	int err = 0;

	mutex_lock(&cache->lock, port);
	leaf = index_leaf(cache, index);
	if (leaf && leaf->slot[node_offset(leaf, index)]) {
		*there = leaf->slot[node_offset(leaf, index)];
		frame_get(&inode->vm->frames, *there);
		err = -SAMARA_EEXIST;
	} else if (inode->desc.kind == SAMARA_INODE_SHMEM && inode->desc.max_pages &&
		   cache->pages >= inode->desc.max_pages) {
		err = -SAMARA_ENOSPC;
	} else {
		if (!leaf)
			leaf = index_make(inode, index);
		if (!leaf) {
			err = -SAMARA_ENOMEM;
		} else {
			frame->index = index;
			STORE(frame->owner, inode);
			frame_get(&inode->vm->frames, frame);
			STORE_RELEASE(leaf->slot[node_offset(leaf, index)], frame);
			leaf->count++;
			STORE(cache->pages, cache->pages + 1);
			if (!LOAD(inode->next))
				cache_list(inode);
		}
	}
	mutex_unlock(&cache->lock, port);
	return err;
}

SAMARA_INTERNAL void cache_remove(struct samara_inode *inode, struct frame *frame)
{
	struct samara *vm = inode->vm;
	struct cache *cache = &inode->cache;
	struct cache_node *leaf;
	unsigned offset;

	mutex_lock(&cache->lock, &vm->port);
	leaf = index_leaf(cache, frame->index);
	ASSERT(leaf);
	offset = node_offset(leaf, frame->index);
	ASSERT(leaf->slot[offset] == frame);
	index_tag(cache, leaf, frame->index, false);
	STORE(leaf->slot[offset], NULL);
	leaf->count--;
	STORE(cache->pages, cache->pages - 1);
	index_prune(cache, leaf);
	STORE(frame->owner, NULL);
	mutex_unlock(&cache->lock, &vm->port);
	page_clear(frame, PAGE_DIRTY);
	if (inode->desc.kind == SAMARA_INODE_SHMEM && inode->desc.charge_pages)
		vm_uncharge(vm, 1);
	frame_put(&vm->frames, vm_cpu(vm), frame);
}

SAMARA_INTERNAL void cache_tag_dirty(struct samara_inode *inode, uint64_t index, bool dirty)
{
	struct cache *cache = &inode->cache;
	struct cache_node *leaf;

	mutex_lock(&cache->lock, &inode->vm->port);
	leaf = index_leaf(cache, index);
	if (leaf && leaf->slot[node_offset(leaf, index)])
		index_tag(cache, leaf, index, dirty);
	mutex_unlock(&cache->lock, &inode->vm->port);
}

/* -- the check -- */

struct index_sums {
	uint64_t pages, dirty;
};

static const char *index_check_page(const struct samara_inode *inode, const struct frame *page, uint64_t index,
	bool tagged)
{
	uint32_t marks = LOAD(page->marks);
	bool shmem = inode->desc.kind == SAMARA_INODE_SHMEM;

	if (page->kind != FRAME_FILE || page->owner != inode || page->index != index || !frame_refs(page))
		return "C1: a page of the index does not belong to it";
	if (!(marks & PAGE_UPTODATE) && !LOAD(page->lock) && !(marks & PAGE_ERROR) && !shmem)
		return "C2: a page is not up to date, and nobody reads it";
	if (!(marks & PAGE_UPTODATE) && frame_maps(page))
		return "C2: a page is mapped and not up to date";
	if ((marks & PAGE_READING) && (!LOAD(page->lock) || (marks & PAGE_UPTODATE)))
		return "C2: a page is being read and not locked";
	if ((marks & PAGE_DIRTY) && inode_has_backing(inode) && !tagged)
		return "C3: a dirty page has no tag";
	if (tagged && !inode_has_backing(inode))
		return "C3: a page of shmem is tagged dirty";
	if (index >= inode_pages(inode) && (!shmem || frame_maps(page)))
		return "C4: a page lies behind the end of the file";
	return NULL;
}

static const char *index_cache_check_node(const struct samara_inode *inode, const struct cache_node *node, uint64_t first,
	struct index_sums *sums)
{
	unsigned used = 0;

	for (unsigned i = 0; i < CACHE_NODE_SLOTS; i++) {
		uint64_t index = first | (uint64_t)i << (node->level * CACHE_NODE_BITS);
		bool tagged = node->dirty >> i & 1;
		const char *wrong;

		if (!node->slot[i]) {
			if (tagged)
				return "C3: an empty slot is tagged dirty";
			continue;
		}
		used++;
		if (node->level) {
			const struct cache_node *child = node->slot[i];

			if (child->parent != node || child->offset != i || child->level != node->level - 1u)
				return "C1: a node is not where it says";
			if ((child->dirty != 0) != tagged)
				return "C3: a node's tags and the bit above differ";
			wrong = index_cache_check_node(inode, child, index, sums);
		} else {
			wrong = index_check_page(inode, node->slot[i], index, tagged);
			sums->pages++;
			sums->dirty += tagged;
		}
		if (wrong)
			return wrong;
	}
	return used && used == node->count ? NULL : "C1: a node's count is wrong";
}

SAMARA_INTERNAL const char *cache_check(struct samara_inode *inode)
{
	const struct cache *cache = &inode->cache;
	struct index_sums sums = { 0, 0 };
	const char *wrong = NULL;

	if (cache->root) {
		if (cache->root->parent || cache->height != cache->root->level + 1u)
			return "C1: the root is not the top";
		wrong = index_cache_check_node(inode, cache->root, 0, &sums);
	} else if (cache->height) {
		return "C1: a height without a root";
	}
	if (!wrong && (sums.pages != cache->pages || sums.dirty != cache->dirty))
		wrong = "C5: the counts are not the sums";
	if (!wrong && cache->pages && !inode->next)
		wrong = "C5: an inode with pages is not listed";
	return wrong;
}
