/* smaps.c - the text of /proc/PID/smaps and smaps_rollup (proc(5)): what is resident of each mapping, and of all.
 *
 * Every entry that is present is looked at once, mmap_lock held for reading.  The page of zeroes counts nowhere.  A
 * page is shared when more than one entry of any space maps it, dirty when its entry or the page is marked so; the
 * proportional share (Pss) divides a page by the entries that map it, in fixed point of 12 bits as the kernel does.
 */
#include "core/fault/fault.h"
#include "core/view/text.h"

#define PSS_SHIFT 12

struct smaps_sums {
	struct samara_mm *mm;
	bool locked_vma;
	uint64_t rss, shared_clean, shared_dirty, private_clean, private_dirty, referenced, anonymous, lazyfree; /* bytes */
	uint64_t pss, pss_dirty, pss_anon, pss_file, pss_shmem, pss_locked; /* bytes << PSS_SHIFT */
};

static void smaps_page(struct smaps_sums *s, uint64_t entry, const struct frame *frame)
{
	const struct table_format *f = &s->mm->table.format;
	uint32_t maps = frame_maps(frame), marks = LOAD(frame->marks);
	bool dirty = (entry & f->dirty) || (marks & PAGE_DIRTY);
	uint64_t pss = (uint64_t)PAGE_SIZE << PSS_SHIFT;

	s->rss += PAGE_SIZE;
	if (entry & f->accessed)
		s->referenced += PAGE_SIZE;
	if (frame->kind == FRAME_ANON) {
		s->anonymous += PAGE_SIZE;
		if ((marks & PAGE_LAZYFREE) && !dirty)
			s->lazyfree += PAGE_SIZE;
	}
	if (maps > 1)
		pss /= maps;
	s->pss += pss;
	if (frame->kind == FRAME_ANON)
		s->pss_anon += pss;
	else if (marks & PAGE_SHMEM)
		s->pss_shmem += pss;
	else
		s->pss_file += pss;
	if (s->locked_vma)
		s->pss_locked += pss;
	if (dirty)
		s->pss_dirty += pss;
	*(maps > 1 ? dirty ? &s->shared_dirty : &s->shared_clean : dirty ? &s->private_dirty : &s->private_clean) += PAGE_SIZE;
}

static int smaps_run(void *self, uint64_t addr, unsigned level, const uint64_t *entries, unsigned count)
{
	struct smaps_sums *s = self;
	const struct frames *frames = &s->mm->vm->frames;

	(void)addr;
	(void)level;
	for (unsigned i = 0; i < count; i++) {
		uint64_t entry = LOAD(entries[i]), pfn = entry_pfn(&s->mm->table, entry);

		if (entry_present(entry) && pfn_in_span(frames, pfn) && pfn_frame(frames, pfn) != s->mm->vm->zero_page)
			smaps_page(s, entry, pfn_frame(frames, pfn));
	}
	return 0;
}

static void smaps_gather(struct smaps_sums *s, const vma_t *vma)
{
	s->locked_vma = vma->flags & VM_LOCKED;
	(void)table_each(&s->mm->table, vma->start, vma->end, smaps_run, s);
}

static void smaps_line(struct text *t, const char *label, uint64_t bytes)
{
	size_t from = t->used;

	text_string(t, label);
	text_char(t, ':');
	while (t->used - from < 16)
		text_char(t, ' ');
	text_decimal(t, bytes >> 10, 8);
	text_string(t, " kB\n");
}

static void smaps_counts(struct text *t, const struct smaps_sums *s, bool rollup)
{
	smaps_line(t, "Rss", s->rss);
	smaps_line(t, "Pss", s->pss >> PSS_SHIFT);
	smaps_line(t, "Pss_Dirty", s->pss_dirty >> PSS_SHIFT);
	if (rollup) {
		smaps_line(t, "Pss_Anon", s->pss_anon >> PSS_SHIFT);
		smaps_line(t, "Pss_File", s->pss_file >> PSS_SHIFT);
		smaps_line(t, "Pss_Shmem", s->pss_shmem >> PSS_SHIFT);
	}
	smaps_line(t, "Shared_Clean", s->shared_clean);
	smaps_line(t, "Shared_Dirty", s->shared_dirty);
	smaps_line(t, "Private_Clean", s->private_clean);
	smaps_line(t, "Private_Dirty", s->private_dirty);
	smaps_line(t, "Referenced", s->referenced);
	smaps_line(t, "Anonymous", s->anonymous);
	smaps_line(t, "KSM", 0);
	smaps_line(t, "LazyFree", s->lazyfree);
	smaps_line(t, "AnonHugePages", 0);
	smaps_line(t, "ShmemPmdMapped", 0);
	smaps_line(t, "FilePmdMapped", 0);
	smaps_line(t, "Shared_Hugetlb", 0);
	smaps_line(t, "Private_Hugetlb", 0);
	smaps_line(t, "Swap", 0);
	smaps_line(t, "SwapPss", 0);
	smaps_line(t, "Locked", s->pss_locked >> PSS_SHIFT);
}

static void smaps_key(struct text *t, const struct samara *vm, unsigned key)
{
	if (!vm->config.pkeys)
		return;
	text_string(t, "ProtectionKey:  ");
	text_decimal(t, key, 8);
	text_char(t, '\n');
}

static void smaps_mapping(struct text *t, const struct samara_read_guard *g, const vma_t *vma, const struct smaps_sums *s)
	SAMARA_READS(*g);
static void smaps_mapping(struct text *t, const struct samara_read_guard *g, const vma_t *vma, const struct smaps_sums *s)
{
	uint64_t page = PAGE_SIZE;

	if (vma->flags & VM_HUGETLB)
		page = 1ull << vma->file->inode->desc.hardwired_huge_log2;
	smaps_line(t, "Size", vma->end - vma->start);
	smaps_line(t, "KernelPageSize", page);
	smaps_line(t, "MMUPageSize", page);
	smaps_counts(t, s, false);
	text_string(t, "THPeligible:           0\n");
	smaps_key(t, g->mm->vm, vma_pkey(vma));
	text_string(t, "VmFlags: ");
	t->used += samara_view_vmflags(g, vma, t->at + t->used, t->room - t->used);
	text_char(t, '\n');
}

/* The gate page stands in no tree and holds nothing. */
static int smaps_gate(struct samara_mm *mm, samara_sink *sink, void *self)
{
	char room[1536];
	struct smaps_sums none = { .mm = mm };
	struct text t = { .at = room, .room = sizeof(room) };

	text_string(&t, "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
	smaps_line(&t, "Size", PAGE_SIZE);
	smaps_line(&t, "KernelPageSize", PAGE_SIZE);
	smaps_line(&t, "MMUPageSize", PAGE_SIZE);
	smaps_counts(&t, &none, false);
	text_string(&t, "THPeligible:           0\n");
	smaps_key(&t, mm->vm, 0);
	text_string(&t, "VmFlags: ex \n");
	return sink(self, room, t.used);
}

int samara_view_smaps(struct samara_mm *mm, samara_sink *sink, void *self)
{
	char room[2048];
	struct samara_read_guard g;
	struct tree_iter iter;
	vma_t *vma;
	int err = 0;

	if (!mm_has_memory(mm))
		return -SAMARA_ENOSYS;
	if (samara_read_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	tree_iter_init(&iter, &mm->tree, 0);
	while (!err && (vma = tree_iter_next(&iter))) {
		struct smaps_sums s = { .mm = mm };
		struct text t = { .at = room, .room = sizeof(room) };

		t.used = samara_view_maps_line(&g, vma, room, sizeof(room) / 2);
		text_char(&t, '\n');
		err = sink(self, room, t.used);
		t.used = 0;
		smaps_gather(&s, vma);
		smaps_mapping(&t, &g, vma, &s);
		if (!err)
			err = sink(self, room, t.used);
	}
	samara_read_unlock(&g);
	return err || mm->vm->config.no_vsyscall ? err : smaps_gate(mm, sink, self);
}

int samara_view_smaps_rollup(struct samara_mm *mm, samara_sink *sink, void *self)
{
	char room[1536];
	struct smaps_sums s = { .mm = mm };
	struct text t = { .at = room, .room = sizeof(room) };
	struct samara_read_guard g;
	struct tree_iter iter;
	uint64_t first = 0, last = 0;
	bool any = false;
	vma_t *vma;

	if (!mm_has_memory(mm))
		return -SAMARA_ENOSYS;
	if (samara_read_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	tree_iter_init(&iter, &mm->tree, 0);
	while ((vma = tree_iter_next(&iter))) {
		if (!any)
			first = vma->start;
		any = true;
		last = vma->end;
		smaps_gather(&s, vma);
	}
	samara_read_unlock(&g);
	text_hex(&t, first, 8);
	text_char(&t, '-');
	text_hex(&t, last, 8);
	text_string(&t, " ---p 00000000 00:00 0 ");
	text_pad(&t, 73);
	text_string(&t, "[rollup]\n");
	smaps_counts(&t, &s, true);
	return sink(self, room, t.used);
}
