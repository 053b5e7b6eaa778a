/* policy.c - mbind(2): a memory policy a VMA.  It is accepted, recorded and respected by merging; placing frames by it
 * is a matter of machines with several nodes.
 */
#include "core/space/space.h"

#define MODE_FLAGS (SAMARA_MPOL_F_STATIC_NODES | SAMARA_MPOL_F_RELATIVE_NODES | SAMARA_MPOL_F_NUMA_BALANCING)
#define MAX_NODES 1024

/* The mask of the call, as one word.  Nodes that the machine does not have are masked away; bits beyond what any kernel
 * knows are refused.  A maxnode of 0 counts down to "very many", as in the kernel. */
static int read_nodes(const uint64_t *words, uint64_t maxnode, uint64_t *nodes, bool *any)
{
	*nodes = 0;
	*any = false;
	maxnode--;
	if (!maxnode || !words)
		return 0;
	if (maxnode > 4096 * 8)
		return -SAMARA_EINVAL;
	for (uint64_t bit = 0; bit < maxnode; bit++) {
		if (!(words[bit / 64] >> (bit % 64) & 1))
			continue;
		if (bit >= MAX_NODES)
			return -SAMARA_EINVAL;
		*any = true;
		if (bit < 64)
			*nodes |= 1ull << bit;
	}
	return 0;
}

static int check_mode(uint64_t mode, uint64_t flags)
{
	if (mode > SAMARA_MPOL_WEIGHTED_INTERLEAVE)
		return -SAMARA_EINVAL;
	if ((flags & SAMARA_MPOL_F_STATIC_NODES) && (flags & SAMARA_MPOL_F_RELATIVE_NODES))
		return -SAMARA_EINVAL;
	if ((flags & SAMARA_MPOL_F_NUMA_BALANCING) && mode != SAMARA_MPOL_BIND && mode != SAMARA_MPOL_PREFERRED_MANY)
		return -SAMARA_EINVAL;
	return 0;
}

/* The policy that mode and nodes mean on this machine; mode 0 is none. */
static int make_policy(const struct samara *vm, uint64_t mode, uint64_t flags, uint64_t nodes, bool any, struct mempolicy *policy)
{
	uint64_t exist = vm->config.numa_nodes >= 64 ? ~0ull : (1ull << vm->config.numa_nodes) - 1;
	bool relative = flags & (SAMARA_MPOL_F_STATIC_NODES | SAMARA_MPOL_F_RELATIVE_NODES);

	/* static and relative masks keep what the caller said: it is part of the policy when the set of nodes
	 * changes */
	*policy = (struct mempolicy){ 0 };
	if (mode == SAMARA_MPOL_DEFAULT)
		return any ? -SAMARA_EINVAL : 0;
	if (mode == SAMARA_MPOL_LOCAL) {
		if (any || relative)
			return -SAMARA_EINVAL;
	} else if (!any) {
		if (mode != SAMARA_MPOL_PREFERRED || relative)
			return -SAMARA_EINVAL;
		mode = SAMARA_MPOL_LOCAL;
	} else if (!(nodes & exist) && !(flags & SAMARA_MPOL_F_RELATIVE_NODES)) {
		return -SAMARA_EINVAL;
	}
	*policy = (struct mempolicy){ .mode = (uint32_t)mode, .flags = (uint32_t)flags, .nodes = relative ? nodes : nodes & exist };
	return 0;
}

static bool same_policy(const struct mempolicy *a, const struct mempolicy *b)
{
	return a->mode == b->mode && a->flags == b->flags && a->nodes == b->nodes;
}

static int bind_one(struct samara_mm *mm, vma_t *vma, uint64_t start, uint64_t end, const struct mempolicy *policy, vma_t **out)
{
	static const struct mempolicy none;
	struct vma_extra *extra;
	int err;

	*out = vma;
	if (same_policy(vma->extra ? &vma->extra->policy : &none, policy))
		return 0;
	extra = extra_copy(mm->vm, vma->extra, NULL);
	if (!extra)
		return -SAMARA_ENOMEM;
	extra->policy = *policy;
	err = vma_modify(mm, vma, start, end, vma->flags, extra_is_plain(extra) ? NULL : extra, out);
	extra_put(mm->vm, extra);
	return err;
}

int samara_mbind(struct samara_mm *mm, samara_va addr, uint64_t length, uint64_t mode, const uint64_t *nodes,
	uint64_t maxnode, uint64_t flags)
{
	const uint64_t known = SAMARA_MPOL_MF_STRICT | SAMARA_MPOL_MF_MOVE | SAMARA_MPOL_MF_MOVE_ALL;
	uint64_t end = addr + PAGE_ALIGN(length), start = addr;
	struct samara_write_guard g;
	struct mempolicy policy;
	uint64_t mask;
	bool any;
	int err;

	err = check_mode(mode & ~(uint64_t)MODE_FLAGS, mode & MODE_FLAGS);
	if (!err)
		err = read_nodes(nodes, maxnode, &mask, &any);
	if (err)
		return err;
	if (flags & ~known)
		return -SAMARA_EINVAL;
	if ((flags & SAMARA_MPOL_MF_MOVE_ALL) && !mm_capable(mm, SAMARA_CAP_SYS_NICE))
		return -SAMARA_EPERM;
	if ((addr & ~PAGE_MASK) || end < addr)
		return -SAMARA_EINVAL;
	if (end == addr)
		return 0;
	err = make_policy(mm->vm, mode & ~(uint64_t)MODE_FLAGS, mode & MODE_FLAGS, mask, any, &policy);
	if (err)
		return err;
	samara_write_lock(mm, &g);
	/* holes are an error (EFAULT) before anything changes, except in front of the default policy */
	for (uint64_t at = start; !err && at < end && policy.mode != SAMARA_MPOL_DEFAULT;) {
		vma_t *vma = tree_get(&mm->tree, at);

		if (vma)
			at = vma->end;
		else
			err = -SAMARA_EFAULT;
	}
	if (!err && !mm_find_in(mm, start, end))
		err = -SAMARA_EFAULT;
	while (!err && start < end) {
		vma_t *vma = mm_find_in(mm, start, end);
		uint64_t to;

		if (!vma)
			break;
		start = MAX(start, vma->start);
		to = MIN(end, vma->end);
		err = bind_one(mm, vma, start, to, &policy, &vma);
		start = to;
	}
	samara_write_unlock(&g);
	return err;
}
