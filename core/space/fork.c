/* fork.c - fork(2): the map of the child, built in stages beside the parent and published at the end.
 *
 *   space     an empty address space with the parent's layout, limits and credentials
 *   charge    every accountable mapping that the child will have
 *   mappings  one ascending pass: of each VMA a copy in the child's index, in the reverse maps of its file and family,
 *             and with entries of the page table, shared until somebody writes (core/fault/fork.c)
 *
 * A stage that fails has undone itself; the stages before it are undone newest first.  Of the parent only entries of
 * the page table change, which lose the right to write until a fault gives it back; so it looks unchanged to every
 * observer whatever happens.  Differences of the child: nothing is locked, mappings of MADV_DONTFORK are absent, those
 * of MADV_WIPEONFORK have no history, userfaultfd does not follow, and every anonymous history is new and marked as
 * inherited.
 */
#include "core/space/space.h"

struct fork_build {
	struct samara_mm *parent, *child;
	uint64_t charged_pages;
	uint64_t next_anon_id; /* of as many as the parent has VMAs */
	struct fault_fork pages;
	unsigned done;
	bool killed, tells; /* a file wants to hear of it */
};

static int stage_space(struct fork_build *b)
{
	const struct samara_mm *p = b->parent;
	struct samara_mm_params params = { .size = sizeof(params), .task_size = p->layout.task_size, .mmap_base = p->layout.mmap_base,
		.legacy_base = p->layout.legacy_base, .personality = p->personality, .capabilities = p->capabilities, .euid = p->euid };
	int err = samara_mm_create(p->vm, &params, &b->child);

	if (err)
		return err;
	b->child->layout = p->layout;
	for (int i = 0; i < LIMIT_COUNT; i++)
		b->child->limits[i] = p->limits[i];
	b->child->thp_disabled = p->thp_disabled;
	b->child->mdwe = p->mdwe & SAMARA_PR_MDWE_NO_INHERIT ? 0 : p->mdwe;
	pkey_inherit(b->child, p);
	return 0;
}

static void undo_space(struct fork_build *b)
{
	samara_mm_put(b->child);
	b->child = NULL;
}

static int stage_charge(struct fork_build *b)
{
	uint64_t pages = 0, largest = 0;
	struct tree_iter iter;
	vma_t *vma;
	int err;

	tree_iter_init(&iter, &b->parent->tree, 0);
	while ((vma = tree_iter_next(&iter))) {
		if ((vma->flags & VM_DONTCOPY) || !(vma->flags & VM_ACCOUNT))
			continue;
		pages += vma_pages(vma);
		largest = MAX(largest, vma_pages(vma));
	}
	err = pages ? vm_charge_many(b->parent->vm, b->parent, pages, largest) : 0;
	b->charged_pages = err ? 0 : pages;
	return err;
}

static void undo_charge(struct fork_build *b)
{
	vm_uncharge(b->parent->vm, b->charged_pages);
}

static struct vma_extra *extra_for_child(struct samara_mm *child, const vma_t *vma, bool *failed)
{
	struct vma_extra *copy;

	if (!vma->extra || !vma->extra->uffd)
		return extra_get(vma->extra);
	copy = extra_copy(child->vm, vma->extra, NULL);
	*failed = !copy;
	if (copy) {
		copy->uffd = NULL;
		if (extra_is_plain(copy)) {
			extra_put(child->vm, copy);
			copy = NULL;
		}
	}
	return copy;
}

/* May the mapping hold pages that the child cannot find again by itself? */
static bool has_own_pages(const vma_t *vma)
{
	return (vma->anon_id || (vma->flags & VM_MAYBE_GUARD)) && !(vma->flags & (VM_DONTCOPY | VM_WIPEONFORK));
}

/* The child's copy becomes known to the reverse maps, together with its pages. */
static int pages_for_child(struct fork_build *b, vma_t *vma, vma_t *copy)
{
	if (!mm_has_memory(b->child))
		return 0;
	if (has_own_pages(vma))
		return fault_fork(&b->pages, vma, copy);
	if (vma_is_linked(copy))
		rmap_link_vma(copy);
	return 0;
}

static void *copy_for_child(void *arg, void *value, bool *stop)
{
	struct fork_build *b = arg;
	struct samara_mm *child = b->child;
	vma_t *vma = value, *copy;
	struct vma_spec spec;
	struct vma_extra *extra;
	bool failed = false;

	if (vma->flags & VM_DONTCOPY)
		return NULL;
	*stop = b->killed = fatal_signal_pending(child->vm);
	if (*stop)
		return NULL;
	*stop = vma_reserve(child, 1) != 0;
	if (*stop)
		return NULL;
	extra = extra_for_child(child, vma, &failed);
	*stop = failed;
	if (failed)
		return NULL;
	spec = (struct vma_spec){ .start = vma->start, .end = vma->end, .flags = vma->flags & ~(VM_LOCKED_MASK | VM_UFFD_ALL),
		.pgoff = vma->pgoff, .file = vma->file, .private_data = vma->private_data, .extra = extra };
	if (vma->anon_id && !(vma->flags & VM_WIPEONFORK)) {
		spec.anon_id = ++b->next_anon_id;
		spec.inherited = true;
		spec.anon = vma->anon;
	}
	b->tells |= vma->file && vma->file->inode->ops.open;
	copy = vma_take(child);
	vma_init(copy, child, &spec);
	extra_put(child->vm, extra);
	child->map_count++;
	mm_account(child, spec.flags, (int64_t)vma_pages(copy));
	*stop = pages_for_child(b, vma, copy) != 0;
	return copy;
}

static void undo_mappings(struct fork_build *b)
{
	struct samara_mm *child = b->child;

	zap_all(child);
	vma_give_all(child);
	tree_destroy(&child->tree);
	tree_init(&child->tree, mm_port(child));
	child->map_count = 0;
	child->total_vm = child->data_vm = child->exec_vm = child->stack_vm = 0;
}

static int stage_mappings(struct fork_build *b)
{
	int err;

	b->next_anon_id = __atomic_fetch_add(&b->parent->vm->next_anon_id, b->parent->map_count, __ATOMIC_RELAXED);
	if (mm_has_memory(b->child))
		fault_fork_begin(&b->pages, b->child, b->parent);
	err = tree_duplicate(&b->child->tree, &b->parent->tree, copy_for_child, b);
	if (mm_has_memory(b->child))
		fault_fork_end(&b->pages);
	/* the child's tree is empty after a failure; its VMAs are in its slabs, and counted */
	if (err)
		undo_mappings(b);
	return b->killed ? -SAMARA_EINTR : err;
}

static void tell_files(struct samara_mm *child)
{
	struct tree_iter iter;
	vma_t *vma;

	tree_iter_init(&iter, &child->tree, 0);
	while ((vma = tree_iter_next(&iter)))
		file_tell_open(vma->file, vma->start, vma->end);
}

static const struct fork_stage {
	const char *name;
	int (*run)(struct fork_build *b);
	void (*undo)(struct fork_build *b);
} fork_stages[] = {
	{ "space", stage_space, undo_space },
	{ "charge", stage_charge, undo_charge },
	{ "mappings", stage_mappings, NULL }, /* the last: nothing after it can fail */
};

SAMARA_INTERNAL int mm_fork(struct samara_mm *parent, struct samara_mm **child)
{
	struct fork_build b;
	int err = 0;

	b.parent = parent; /* not as a whole: `pages` is a KiB */
	b.charged_pages = 0;
	b.done = 0;
	b.killed = b.tells = false;

	while (!err && b.done < ARRAY_SIZE(fork_stages)) {
		err = fork_stages[b.done].run(&b);
		if (!err)
			b.done++;
	}
	if (!err) {
		vma_unlock_all(b.child); /* they were marked when they were made */
		if (b.tells)
			tell_files(b.child);
		MM_CHECK(b.child);
		*child = b.child;
		return 0;
	}
	while (b.done > 0)
		fork_stages[--b.done].undo(&b);
	return err;
}

int samara_fork_with(struct samara_write_guard *g, struct samara_mm **child)
{
	return mm_fork(g->read.mm, child);
}

int samara_fork(struct samara_mm *parent, struct samara_mm **child)
{
	struct samara_write_guard g;
	int err;

	if (samara_write_lock_killable(parent, &g))
		return -SAMARA_EINTR;
	err = mm_fork(parent, child);
	samara_write_unlock(&g);
	return err;
}
