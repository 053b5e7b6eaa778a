/* treap.c - an interval tree of VMAs: a search tree by first page offset (then by the VMA's address), a heap by a hash
 * of the VMA's address, and in each node the highest last page of its subtree.
 *
 * The hash stands for a random priority, so the depth is logarithmic whatever the order of insertion, nothing is stored
 * for balance, and the shape depends on the members alone.  Recursion is as deep as the tree: about twice log2 of the
 * members.
 */
#include "core/mm.h"

static inline struct rmap_link *treap_link(vma_t *vma, bool anonymous)
{
	return anonymous ? &vma->anon_link : &vma->file_link;
}

static inline uint64_t first_page(const vma_t *vma)
{
	return vma->pgoff;
}

static inline uint64_t last_page(const vma_t *vma)
{
	return vma->pgoff + vma_pages(vma) - 1;
}

static inline uint64_t treap_priority(const vma_t *vma)
{
	return (uint64_t)(uintptr_t)vma * 0x9e3779b97f4a7c15ull >> 8;
}

static inline bool treap_before(const vma_t *a, const vma_t *b)
{
	return first_page(a) != first_page(b) ? first_page(a) < first_page(b) : (uintptr_t)a < (uintptr_t)b;
}

static inline void treap_refresh(vma_t *vma, bool anonymous)
{
	struct rmap_link *link = treap_link(vma, anonymous);
	uint64_t last = last_page(vma);

	if (link->left)
		last = MAX(last, treap_link(link->left, anonymous)->last);
	if (link->right)
		last = MAX(last, treap_link(link->right, anonymous)->last);
	link->last = last;
}

/* What lies before `at` goes to *low, the rest to *high. */
static void treap_cut(vma_t *root, const vma_t *at, bool anonymous, vma_t **low, vma_t **high)
{
	if (!root) {
		*low = *high = NULL;
	} else if (treap_before(root, at)) {
		*low = root;
		treap_cut(treap_link(root, anonymous)->right, at, anonymous, &treap_link(root, anonymous)->right, high);
		treap_refresh(root, anonymous);
	} else {
		*high = root;
		treap_cut(treap_link(root, anonymous)->left, at, anonymous, low, &treap_link(root, anonymous)->left);
		treap_refresh(root, anonymous);
	}
}

static vma_t *treap_join(vma_t *low, vma_t *high, bool anonymous)
{
	if (!low || !high)
		return low ? low : high;
	if (treap_priority(low) > treap_priority(high)) {
		struct rmap_link *link = treap_link(low, anonymous);

		link->right = treap_join(link->right, high, anonymous);
		treap_refresh(low, anonymous);
		return low;
	}
	treap_link(high, anonymous)->left = treap_join(low, treap_link(high, anonymous)->left, anonymous);
	treap_refresh(high, anonymous);
	return high;
}

SAMARA_INTERNAL void treap_insert(vma_t **root, vma_t *vma, bool anonymous)
{
	struct rmap_link *link = treap_link(vma, anonymous);
	uint64_t last = last_page(vma);

	while (*root && treap_priority(*root) >= treap_priority(vma)) {
		struct rmap_link *above = treap_link(*root, anonymous);

		above->last = MAX(above->last, last);
		root = treap_before(vma, *root) ? &above->left : &above->right;
	}
	treap_cut(*root, vma, anonymous, &link->left, &link->right);
	treap_refresh(vma, anonymous);
	*root = vma;
}

static vma_t *treap_without(vma_t *root, const vma_t *vma, bool anonymous)
{
	struct rmap_link *link;

	ASSERT(root); /* it is a member */
	link = treap_link(root, anonymous);
	if (root == vma)
		return treap_join(link->left, link->right, anonymous);
	if (treap_before(vma, root))
		link->left = treap_without(link->left, vma, anonymous);
	else
		link->right = treap_without(link->right, vma, anonymous);
	treap_refresh(root, anonymous);
	return root;
}

SAMARA_INTERNAL void treap_remove(vma_t **root, vma_t *vma, bool anonymous)
{
	*root = treap_without(*root, vma, anonymous);
	*treap_link(vma, anonymous) = (struct rmap_link){ 0 };
}

SAMARA_INTERNAL int treap_each(vma_t *root, uint64_t first, uint64_t last, bool anonymous, treap_each_fn *each, void *self)
{
	while (root && treap_link(root, anonymous)->last >= first) {
		struct rmap_link *link = treap_link(root, anonymous);
		int err = treap_each(link->left, first, last, anonymous, each, self);

		if (!err && first_page(root) <= last && last_page(root) >= first)
			err = each(self, root);
		if (err)
			return err;
		if (first_page(root) > last)
			return 0;
		root = link->right;
	}
	return 0;
}

static bool treap_has(vma_t *root, const vma_t *vma, bool anonymous)
{
	while (root && root != vma)
		root = treap_before(vma, root) ? treap_link(root, anonymous)->left : treap_link(root, anonymous)->right;
	return root;
}

static const char *treap_check_node(vma_t *root, bool anonymous, uint32_t *count, const vma_t **prev)
{
	struct rmap_link *link;
	uint64_t last;
	const char *broken;

	if (!root)
		return NULL;
	link = treap_link(root, anonymous);
	if ((link->left && treap_priority(link->left) > treap_priority(root)) ||
	    (link->right && treap_priority(link->right) > treap_priority(root)))
		return "R4: the treap is not a heap";
	broken = treap_check_node(link->left, anonymous, count, prev);
	if (broken)
		return broken;
	if (*prev && !treap_before(*prev, root))
		return "R4: the treap is not in order";
	*prev = root;
	++*count;
	broken = treap_check_node(link->right, anonymous, count, prev);
	last = link->last;
	treap_refresh(root, anonymous);
	if (!broken && link->last != last)
		broken = "R4: the treap's last page is wrong";
	return broken;
}

/* `vma` is a member, by its range; and, once for each map, the whole of it: at its root. */
SAMARA_INTERNAL const char *treap_check(const struct rmap *map, const vma_t *vma, bool anonymous, uint64_t *members)
{
	const vma_t *prev = NULL;
	const char *broken;
	uint32_t seen = 0;

	if (!treap_has(map->root, vma, anonymous))
		return "R1: a mapping is not in the reverse map of its file, or of its family";
	if (map->root != vma)
		return NULL;
	broken = treap_check_node(map->root, anonymous, &seen, &prev);
	*members += map->count;
	return broken ? broken : seen != map->count ? "R4: the treap's count is wrong" : NULL;
}
