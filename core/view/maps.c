/* maps.c - /proc/PID/maps and the VmFlags line of smaps, byte for byte (proc(5), Documentation/filesystems/proc).
 *
 *   start-end perms offset dev inode          name
 *
 * The name stands from column 73 on.  A mapping of a file shows the file's path; others their special name, [heap],
 * [stack], or the name that PR_SET_VMA_ANON_NAME gave.  Anonymous memory shows offset 0.
 */
#include "core/mm.h"
#include "core/view/text.h"

#define NAME_COLUMN 73
#define LINE_ROOM 4352 /* a path of PATH_MAX and what stands before it */

static const char vsyscall_line[] =
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

/* Paths with a newline in them print it as an octal escape, and nothing else so. */
static void put_path(struct text *t, const char *path)
{
	for (; *path; path++) {
		if (*path == '\n')
			text_string(t, "\\012");
		else
			text_char(t, *path);
	}
}

static void put_name(struct text *t, const struct samara_mm *mm, const vma_t *vma)
{
	const struct mm_layout *l = &mm->layout;
	const struct vma_extra *extra = vma->extra;

	if (vma->file && !(extra && extra->named)) {
		text_pad(t, NAME_COLUMN);
		put_path(t, vma->file->path);
	} else if (extra && extra->special) {
		text_pad(t, NAME_COLUMN);
		text_string(t, extra->special);
	} else if (!vma->file && vma->start < l->brk && vma->end > l->start_brk) {
		text_pad(t, NAME_COLUMN);
		text_string(t, "[heap]");
	} else if (!vma->file && vma->start <= l->start_stack && vma->end >= l->start_stack) {
		text_pad(t, NAME_COLUMN);
		text_string(t, "[stack]");
	} else if (extra && extra->named) {
		text_pad(t, NAME_COLUMN);
		text_string(t, vma->file ? "[anon_shmem:" : "[anon:");
		text_string(t, extra->name);
		text_char(t, ']');
	}
}

static size_t maps_line(const struct samara_mm *mm, const vma_t *vma, char *line, size_t room)
{
	struct text t = { .at = line, .room = room };
	const struct samara_inode_desc *d = vma->file ? &vma->file->inode->desc : NULL;

	text_hex(&t, vma->start, 8);
	text_char(&t, '-');
	text_hex(&t, vma->end, 8);
	text_char(&t, ' ');
	text_char(&t, vma->flags & VM_READ ? 'r' : '-');
	text_char(&t, vma->flags & VM_WRITE ? 'w' : '-');
	text_char(&t, vma->flags & VM_EXEC ? 'x' : '-');
	text_char(&t, vma->flags & VM_MAYSHARE ? 's' : 'p');
	text_char(&t, ' ');
	text_hex(&t, d ? vma->pgoff << PAGE_SHIFT : 0, 8);
	text_char(&t, ' ');
	text_hex(&t, d ? d->major : 0, 2);
	text_char(&t, ':');
	text_hex(&t, d ? d->minor : 0, 2);
	text_char(&t, ' ');
	text_decimal(&t, d ? d->ino : 0, 0);
	text_char(&t, ' ');
	put_name(&t, mm, vma);
	return t.used;
}

size_t samara_view_maps_line(const struct samara_read_guard *g, const struct samara_vma *vma, char *line, size_t room)
{
	return maps_line(g->mm, vma, line, room);
}

int samara_view_maps(struct samara_mm *mm, samara_sink *sink, void *self)
{
	char line[LINE_ROOM];
	struct samara_read_guard g;
	struct tree_iter iter;
	vma_t *vma;
	int err = 0;

	if (samara_read_lock_killable(mm, &g))
		return -SAMARA_EINTR;
	tree_iter_init(&iter, &mm->tree, 0);
	while (!err && (vma = tree_iter_next(&iter))) {
		size_t used = maps_line(mm, vma, line, sizeof(line) - 1);

		line[used++] = '\n';
		err = sink(self, line, used);
	}
	samara_read_unlock(&g);
	if (!err && !mm->vm->config.no_vsyscall)
		err = sink(self, vsyscall_line, sizeof(vsyscall_line) - 1);
	return err;
}

/* In the order of the kernel's bits, which is the order that smaps prints. */
static const struct flag_name {
	uint64_t flag;
	char name[3];
} flag_names[] = {
	{ VM_READ, "rd" }, { VM_WRITE, "wr" }, { VM_EXEC, "ex" }, { VM_SHARED, "sh" }, { VM_MAYREAD, "mr" },
	{ VM_MAYWRITE, "mw" }, { VM_MAYEXEC, "me" }, { VM_MAYSHARE, "ms" }, { VM_GROWSDOWN, "gd" }, { VM_PFNMAP, "pf" },
	{ VM_MAYBE_GUARD, "gu" },
	{ VM_LOCKED, "lo" }, { VM_IO, "io" }, { VM_SEQ_READ, "sr" }, { VM_RAND_READ, "rr" }, { VM_DONTCOPY, "dc" },
	{ VM_DONTEXPAND, "de" }, { VM_LOCKONFAULT, "lf" }, { VM_ACCOUNT, "ac" }, { VM_NORESERVE, "nr" }, { VM_HUGETLB, "ht" },
	{ VM_SYNC, "sf" }, { VM_WIPEONFORK, "wf" }, { VM_DONTDUMP, "dd" }, { VM_SOFTDIRTY, "sd" }, { VM_MIXEDMAP, "mm" },
	{ VM_HUGEPAGE, "hg" }, { VM_NOHUGEPAGE, "nh" }, { VM_MERGEABLE, "mg" }, { VM_UFFD_MISSING, "um" },
	{ VM_UFFD_WP, "uw" }, { VM_UFFD_MINOR, "ui" }, { VM_DROPPABLE, "dp" }, { VM_SEALED, "sl" },
};

size_t samara_view_vmflags(const struct samara_read_guard *g, const struct samara_vma *vma, char *line, size_t room)
{
	struct text t = { .at = line, .room = room };

	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (!(vma->flags & flag_names[i].flag) || (flag_names[i].flag == VM_SOFTDIRTY && !g->mm->vm->config.soft_dirty))
			continue;
		text_string(&t, flag_names[i].name);
		text_char(&t, ' ');
	}
	return t.used;
}
