/* process.c - processes: made, forked, run in turn, ended.
 *
 * A process that is not FREE or ZOMBIE has a space of its own.  Spaces are switched by writing satp; the fence after it
 * stands in for address-space identifiers, which this kernel does not use. */
#include "kernel.h"

#define STACK_BYTES (128 << 10)
#define HEADERS 8

struct elf_header {
	unsigned char ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct process *process_create(struct process *parent)
{
	for (struct process *p = kernel.processes; p < kernel.processes + PROCESSES; p++)
		if (p->state == FREE) {
			*p = (struct process){ .parent = parent, .pid = ++kernel.last_pid };
			return p;
		}
	return NULL;
}

/* One segment: pages of the file, private, read when they are first used; then zeroes. */
static int map_segment(struct samara_mm *mm, const struct elf_segment *s, struct samara_file *file)
{
	static const char zeroes[PAGE];
	uint64_t start = s->vaddr & ~(PAGE - 1), lead = s->vaddr - start, file_end = s->vaddr + s->filesz;
	uint64_t pages_end = (file_end + PAGE - 1) & ~(PAGE - 1), end = s->vaddr + s->memsz;
	uint64_t prot = (s->flags & 4 ? SAMARA_PROT_READ : 0) | (s->flags & 2 ? SAMARA_PROT_WRITE : 0) |
		(s->flags & 1 ? SAMARA_PROT_EXEC : 0);
	int64_t err = 0;

	if (s->filesz)
		err = samara_mmap(mm, start, lead + s->filesz, prot, SAMARA_MAP_PRIVATE | SAMARA_MAP_FIXED_NOREPLACE,
			file, s->offset - lead);
	if (err < 0 || end <= file_end)
		return err < 0 ? (int)err : 0;
	if (s->filesz && pages_end > file_end &&
		samara_store(mm, file_end, zeroes, pages_end - file_end, NULL) != pages_end - file_end)
		return -SAMARA_ENOMEM;
	if (!s->filesz)
		pages_end = start;
	if (end > pages_end)
		err = samara_mmap(mm, pages_end, end - pages_end, prot,
			SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_FIXED_NOREPLACE, NULL, 0);
	return err < 0 ? (int)err : 0;
}

int process_exec(struct process *p, const char *name)
{
	uint64_t stack_top = kernel.task_size - 0x10000, end = 0;
	struct samara_mm_params params = {
		.size = sizeof(params), .task_size = kernel.task_size, .start_stack = stack_top - 64
	};
	struct elf_segment segments[HEADERS];
	struct elf_header header;
	struct samara_file *file;
	int64_t err = disk_open(name, SAMARA_FMODE_READ, &file);

	if (err)
		return (int)err;
	if (samara_file_read(file, 0, &header, sizeof(header)) != sizeof(header) || header.machine != 243 ||
		header.phnum > HEADERS ||
		samara_file_read(file, header.phoff, segments, header.phnum * sizeof(*segments)) <
			(int64_t)(header.phnum * sizeof(*segments)))
		kernel_panic("not a program");
	for (unsigned i = 0; i < header.phnum; i++)
		if (segments[i].type == 1 && segments[i].vaddr + segments[i].memsz > end)
			end = segments[i].vaddr + segments[i].memsz;
	params.start_brk = params.brk = ((end + PAGE - 1) & ~(PAGE - 1)) + 16 * PAGE;
	err = samara_mm_create(kernel.vm, &params, &p->mm);
	for (unsigned i = 0; !err && i < header.phnum; i++)
		if (segments[i].type == 1)
			err = map_segment(p->mm, &segments[i], file);
	samara_file_put(file);
	if (err)
		return (int)err;
	err = samara_mmap(p->mm, stack_top - STACK_BYTES, STACK_BYTES, SAMARA_PROT_READ | SAMARA_PROT_WRITE,
		SAMARA_MAP_PRIVATE | SAMARA_MAP_ANONYMOUS | SAMARA_MAP_GROWSDOWN | SAMARA_MAP_FIXED_NOREPLACE, NULL, 0);
	if (err >= 0)
		err = signal_page(p);
	if (err < 0)
		return (int)err;
	p->frame.x[PC] = header.entry;
	p->frame.x[SP] = params.start_stack; /* argc, argv, environment, auxiliary vector: all zero */
	p->state = RUNNABLE;
	return 0;
}

int64_t process_fork(struct process *p, uint64_t stack)
{
	struct process *child = process_create(p);
	int err;

	if (!child)
		return -SAMARA_EAGAIN;
	err = samara_fork(p->mm, &child->mm);
	if (err)
		return err;
	child->frame = p->frame;
	child->frame.x[A0] = 0;
	if (stack)
		child->frame.x[SP] = stack;
	child->blocked = p->blocked;
	__builtin_memcpy(child->actions, p->actions, sizeof(p->actions));
	child->alt_stack = p->alt_stack;
	child->alt_size = p->alt_size;
	for (unsigned i = 0; i < DESCRIPTORS + 3; i++)
		if ((child->open[i] = p->open[i]))
			child->open[i]->refs++;
	child->state = RUNNABLE;
	return child->pid;
}

static int print_map_line(void *self, const char *line, size_t bytes)
{
	(void)self;
	print("kernel:   ");
	bare_put(&kernel.bare, line, bytes);
	return 0;
}

static void print_map(const struct process *p)
{
	struct samara_mm_usage usage;

	samara_mm_usage(p->mm, &usage);
	print("kernel: process ");
	print_number((uint64_t)p->pid, 10);
	print(" ends: ");
	print_number(p->faults, 10);
	print(" faults, ran ");
	print_number(p->switches, 10);
	print(" times, pages: ");
	print_number(usage.anon_pages, 10);
	print(" anonymous, ");
	print_number(usage.file_pages + usage.shmem_pages, 10);
	print(" of files, ");
	print_number(usage.table_pages, 10);
	print(" of tables; its map:\n");
	samara_view_maps(p->mm, print_map_line, NULL);
}

/* `status` as wait4(2) has it. */
void process_exit(struct process *p, int status)
{
	print_map(p);
	__asm__ volatile("csrw satp, zero"); /* no translation of a table that goes */
	bare_fence();
	for (unsigned i = 0; i < DESCRIPTORS + 3; i++)
		if (p->open[i])
			file_put(p->open[i]);
	samara_mm_put(p->mm);
	p->mm = NULL;
	for (struct process *child = kernel.processes; child < kernel.processes + PROCESSES; child++)
		if (child->state != FREE && child->parent == p) {
			child->parent = NULL;
			if (child->state == ZOMBIE)
				child->state = FREE;
		}
	p->status = status;
	if (p->pid == 1)
		kernel.last_status = status;
	p->state = p->parent ? ZOMBIE : FREE;
	if (p->parent && p->parent->state == WAITING)
		p->parent->state = RUNNABLE;
}

/* The system call is made again when a child has ended: -EINTR, which no program sees. */
int64_t process_wait(struct process *p, int64_t pid, uint64_t status_at)
{
	bool any = false;

	for (struct process *child = kernel.processes; child < kernel.processes + PROCESSES; child++) {
		if (child->state == FREE || child->parent != p || (pid != -1 && child->pid != pid))
			continue;
		any = true;
		if (child->state != ZOMBIE)
			continue;
		if (status_at && samara_store(p->mm, status_at, &child->status, sizeof(int), NULL) != sizeof(int))
			return -SAMARA_EFAULT;
		child->state = FREE;
		return child->pid;
	}
	if (!any)
		return -10; /* ECHILD */
	p->state = WAITING;
	return -SAMARA_EINTR;
}

/* The next one that can run; never returns. */
void process_run(void)
{
	struct process *first = kernel.current ? kernel.current : kernel.processes, *p = first;
	bool any = false;

	do {
		if (++p == kernel.processes + PROCESSES)
			p = kernel.processes;
		any |= p->state != FREE;
		if (p->state == RUNNABLE) {
			kernel.current = p;
			p->switches++;
			__asm__ volatile("csrw satp, %0" ::"r"(kernel.satp_mode << 60 | samara_table_root(p->mm))
					 : "memory");
			bare_fence();
			trap_return(&p->frame);
		}
	} while (p != first);
	if (any)
		kernel_panic("everybody waits");
	program_ended();
}
