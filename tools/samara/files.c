/* files.c - the judge's table of inodes and open files; see files.h.
 *
 * What always holds: an entry is in one chain of its table and owns one reference to its samara object; a path or
 * a size that the kernel shows later replaces the earlier one.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "files.h"

enum { BUCKETS = 4096 };
enum {
	MAGIC_TMPFS = 0x01021994, MAGIC_HUGETLBFS = (int)0x958458f6, MAGIC_EXT4 = 0xef53, MAGIC_XFS = 0x58465342,
	MAGIC_BTRFS = (int)0x9123683e, MAGIC_ANON_INODE = 0x09041934, MAGIC_PROC = 0x9fa0, MAGIC_SYSFS = 0x62656572,
	MAGIC_CGROUP2 = 0x63677270,
};
enum { O_PATH_FLAG = 010000000 };
#define DEV_ZERO_RDEV 0x105ull

struct inode_entry {
	struct inode_entry *next;
	uint32_t major, minor;
	uint64_t ino;
	enum samara_inode_kind kind;
	struct samara_inode *inode;
};

struct file_entry {
	struct file_entry *next;
	struct inode_entry *inode;
	uint64_t id, open_flags;
	uint32_t mm; /* when id is 0: where it was seen */
	int fd;
	bool of_line;
	const char *path;
	struct samara_file *file;
};

struct binding {
	uint64_t ours, theirs;
};

struct files {
	struct samara *vm;
	struct inode_entry *inode[BUCKETS];
	struct file_entry *file[BUCKETS];
	struct binding *binding; /* open addressing, 0 is free */
	size_t bindings, binding_room;
	int driver_error;
	uint64_t driver_flags;
};

static int driver_mmap(void *self, struct samara_mapping *mapping)
{
	struct files *files = self;

	mapping->vm_flags |= files->driver_flags;
	return files->driver_error;
}

struct files *files_create(struct samara *vm)
{
	struct files *files = must_alloc(sizeof(*files));

	memset(files, 0, sizeof(*files));
	files->vm = vm;
	return files;
}

void files_destroy(struct files *files)
{
	if (!files)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (files->file[i]) {
			struct file_entry *entry = files->file[i];

			files->file[i] = entry->next;
			samara_file_put(entry->file);
			free(entry);
		}
	}
	for (size_t i = 0; i < BUCKETS; i++) {
		while (files->inode[i]) {
			struct inode_entry *entry = files->inode[i];

			files->inode[i] = entry->next;
			samara_inode_put(entry->inode);
			free(entry);
		}
	}
	free(files->binding);
	free(files);
}

static enum samara_inode_kind kind_of(const struct ev_file *f)
{
	switch (f->mode & S_IFMT) {
	case S_IFREG:
		if (f->fs == MAGIC_TMPFS)
			return SAMARA_INODE_SHMEM;
		if (f->fs == (uint32_t)MAGIC_HUGETLBFS)
			return SAMARA_INODE_HUGETLB;
		if (f->fs == MAGIC_PROC || f->fs == MAGIC_SYSFS || f->fs == MAGIC_CGROUP2)
			return SAMARA_INODE_DEVICE; /* some of these files have an mmap of their own, most have none */
		return SAMARA_INODE_REGULAR;
	case S_IFBLK:
		return SAMARA_INODE_REGULAR;
	case S_IFCHR:
		return f->rdev == DEV_ZERO_RDEV ? SAMARA_INODE_DEV_ZERO : SAMARA_INODE_DEVICE;
	case S_IFSOCK:
	case 0: /* anonymous inodes have no type */
		return SAMARA_INODE_DEVICE;
	default:
		return SAMARA_INODE_UNMAPPABLE;
	}
}

bool files_is_driver(const struct ev_file *f)
{
	return f->have && kind_of(f) == SAMARA_INODE_DEVICE;
}

void files_driver_answer(struct files *files, int error, uint64_t vm_flags)
{
	files->driver_error = error;
	files->driver_flags = vm_flags;
}

static struct inode_entry *find_inode(struct files *files, uint32_t major, uint32_t minor, uint64_t ino, int kind)
{
	for (struct inode_entry *entry = files->inode[ino % BUCKETS]; entry; entry = entry->next)
		if (entry->ino == ino && entry->major == major && entry->minor == minor && (kind < 0 || (int)entry->kind == kind))
			return entry;
	return NULL;
}

static struct inode_entry *add_inode(struct files *files, const struct samara_inode_desc *desc)
{
	struct inode_entry *entry = must_alloc(sizeof(*entry));

	*entry = (struct inode_entry){
		.next = files->inode[desc->ino % BUCKETS], .major = desc->major, .minor = desc->minor, .ino = desc->ino,
		.kind = desc->kind,
	};
	if (samara_inode_create(files->vm, desc, &entry->inode)) {
		free(entry);
		return NULL;
	}
	files->inode[desc->ino % BUCKETS] = entry;
	return entry;
}

static struct inode_entry *inode_of(struct files *files, const struct ev_file *f)
{
	static const struct samara_inode_ops driver_ops = { .size = sizeof(driver_ops), .mmap = driver_mmap };
	enum samara_inode_kind kind = kind_of(f);
	struct inode_entry *entry = find_inode(files, f->major, f->minor, f->ino, (int)kind);
	struct samara_inode_desc desc = {
		.kind = kind, .executable = (f->mode & 0111) != 0,
		.major = f->major, .minor = f->minor, .ino = f->ino, .size_bytes = f->size, .noexec = f->noexec,
		.huge_align = f->fs == MAGIC_EXT4 || f->fs == MAGIC_XFS || f->fs == (uint32_t)MAGIC_BTRFS,
		.append_only = f->append_only, .swapfile = f->swap, .seals = f->seals,
		.hardwired_huge_log2 = kind == SAMARA_INODE_HUGETLB ? 21 : 0,
	};

	if (entry) {
		uint32_t new_seals = f->seals & ~samara_inode_seals(entry->inode);

		samara_inode_set_size(entry->inode, f->size);
		if (new_seals)
			samara_inode_add_seals(entry->inode, new_seals);
		return entry;
	}
	if (kind == SAMARA_INODE_DEVICE) {
		desc.ops = &driver_ops;
		desc.self = files;
	}
	return add_inode(files, &desc);
}

static struct samara_file *add_file(struct files *files, struct file_entry what, unsigned fmode)
{
	struct file_entry *entry = must_alloc(sizeof(*entry));

	*entry = what;
	if (samara_file_open(entry->inode->inode, fmode, entry->path, &entry->file)) {
		free(entry);
		return NULL;
	}
	entry->next = files->file[entry->inode->ino % BUCKETS];
	files->file[entry->inode->ino % BUCKETS] = entry;
	return entry->file;
}

struct samara_file *files_open(struct files *files, const struct ev_file *f, uint32_t mm, int fd)
{
	static const unsigned fmodes[4] = { SAMARA_FMODE_READ, SAMARA_FMODE_WRITE, SAMARA_FMODE_READ | SAMARA_FMODE_WRITE, 0 };
	struct inode_entry *inode;

	if (!f->have || f->open_flags & O_PATH_FLAG)
		return NULL;
	inode = inode_of(files, f);
	if (!inode)
		return NULL;
	for (struct file_entry *entry = files->file[f->ino % BUCKETS]; entry; entry = entry->next) {
		if (entry->inode != inode || entry->of_line || entry->id != f->id || entry->open_flags != f->open_flags)
			continue;
		if (!f->id && (entry->mm != mm || entry->fd != fd))
			continue;
		if (entry->path != f->path && !samara_file_set_path(entry->file, f->path))
			entry->path = f->path;
		return entry->file;
	}
	return add_file(files,
		(struct file_entry){ .inode = inode,
			.id = f->id,
			.open_flags = f->open_flags,
			.mm = mm,
			.fd = fd,
			.path = f->path },
		fmodes[f->open_flags & 3]);
}

struct samara_file *files_of_line(struct files *files, const struct map_line *line, uint64_t open, bool writable)
{
	struct inode_entry *inode = find_inode(files, line->major, line->minor, line->ino, -1);
	struct samara_inode_desc desc = {
		.kind = line->major ? SAMARA_INODE_REGULAR : SAMARA_INODE_SHMEM, .major = line->major, .minor = line->minor,
		.ino = line->ino, .size_bytes = 1ull << 40, .huge_align = line->major != 0,
	};

	if (!inode)
		inode = add_inode(files, &desc);
	if (!inode)
		return NULL;
	for (struct file_entry *entry = files->file[line->ino % BUCKETS]; entry; entry = entry->next)
		if (entry->of_line && entry->inode == inode && entry->id == open && entry->path == line->path)
			return entry->file;
	return add_file(files, (struct file_entry){ .inode = inode, .id = open, .of_line = true, .path = line->path },
		SAMARA_FMODE_READ | (writable ? SAMARA_FMODE_WRITE : 0));
}

struct samara_inode *files_segment(struct files *files, uint64_t id, const struct ev_segment *segment)
{
	/* maps shows the segment's id as its inode number; 0:1 is the kernel's own shmem mount */
	struct inode_entry *entry = find_inode(files, 0, 1, id, SAMARA_INODE_SHMEM);
	struct samara_inode_desc desc = {
		.kind = SAMARA_INODE_SHMEM, .major = 0, .minor = 1, .ino = id, .size_bytes = segment->bytes,
	};

	if (!entry)
		entry = add_inode(files, &desc);
	if (!entry)
		return NULL;
	samara_inode_set_size(entry->inode, segment->bytes);
	return entry->inode;
}

bool files_bind(struct files *files, uint64_t ours, uint64_t theirs)
{
	size_t at;

	if (!ours || !theirs)
		return ours == theirs;
	if (files->bindings * 2 >= files->binding_room) {
		size_t room = files->binding_room ? files->binding_room * 2 : 256;
		struct binding *old = files->binding;
		size_t old_room = files->binding_room;

		files->binding = must_alloc(room * sizeof(*files->binding));
		memset(files->binding, 0, room * sizeof(*files->binding));
		files->binding_room = room;
		for (size_t i = 0; i < old_room; i++) {
			if (!old[i].ours)
				continue;
			for (at = old[i].ours * 0x9e3779b97f4a7c15ull % room; files->binding[at].ours; at = (at + 1) % room)
				;
			files->binding[at] = old[i];
		}
		free(old);
	}
	for (at = ours * 0x9e3779b97f4a7c15ull % files->binding_room; files->binding[at].ours;
	     at = (at + 1) % files->binding_room)
		if (files->binding[at].ours == ours)
			return files->binding[at].theirs == theirs;
	files->binding[at] = (struct binding){ ours, theirs };
	files->bindings++;
	return true;
}

uint64_t vmflags_parse(const char *text)
{
	static const struct {
		char name[3];
		uint64_t flag;
	} names[] = {
		{ "rd", SAMARA_VM_READ }, { "wr", SAMARA_VM_WRITE }, { "ex", SAMARA_VM_EXEC }, { "sh", SAMARA_VM_SHARED },
		{ "mr", SAMARA_VM_MAYREAD }, { "mw", SAMARA_VM_MAYWRITE }, { "me", SAMARA_VM_MAYEXEC }, { "ms", SAMARA_VM_MAYSHARE },
		{ "gd", SAMARA_VM_GROWSDOWN }, { "pf", SAMARA_VM_PFNMAP }, { "lo", SAMARA_VM_LOCKED }, { "io", SAMARA_VM_IO },
		{ "sr", SAMARA_VM_SEQ_READ }, { "rr", SAMARA_VM_RAND_READ }, { "dc", SAMARA_VM_DONTCOPY },
		{ "de", SAMARA_VM_DONTEXPAND }, { "lf", SAMARA_VM_LOCKONFAULT }, { "ac", SAMARA_VM_ACCOUNT },
		{ "nr", SAMARA_VM_NORESERVE }, { "ht", SAMARA_VM_HUGETLB }, { "sf", SAMARA_VM_SYNC },
		{ "wf", SAMARA_VM_WIPEONFORK }, { "dd", SAMARA_VM_DONTDUMP }, { "sd", SAMARA_VM_SOFTDIRTY },
		{ "mm", SAMARA_VM_MIXEDMAP }, { "hg", SAMARA_VM_HUGEPAGE }, { "nh", SAMARA_VM_NOHUGEPAGE },
		{ "mg", SAMARA_VM_MERGEABLE }, { "um", SAMARA_VM_UFFD_MISSING }, { "uw", SAMARA_VM_UFFD_WP },
		{ "ui", SAMARA_VM_UFFD_MINOR }, { "dp", SAMARA_VM_DROPPABLE }, { "sl", SAMARA_VM_SEALED },
	};
	uint64_t flags = 0;

	while (*text) {
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			if (!strncmp(text, names[i].name, 2))
				flags |= names[i].flag;
		text += strcspn(text, " ");
		text += strspn(text, " ");
	}
	return flags;
}
