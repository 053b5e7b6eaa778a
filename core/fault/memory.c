/* memory.c - a machine's frames and an address space's page table: made, taken down, counted. */
#include "core/fault/fault.h"

#define CPUS_DEFAULT 8

SAMARA_INTERNAL int vm_memory_init(struct samara *vm)
{
	const struct samara_config *c = &vm->config;
	struct frames_config frames = { .base = c->memory, .count = c->memory_pages, .first_pfn = c->first_pfn, .caches = c->cpus,
		.zeroed = c->memory_zeroed };
	int err;

	vm->cpus = 1;
	if (!c->memory)
		return 0;
	if (!frames.caches)
		frames.caches = vm->port.wait ? CPUS_DEFAULT : 1;
	err = frames_init(&vm->frames, &vm->port, &frames);
	if (err)
		return err;
	vm->cpus = frames.caches;
	vm->zero_page = frame_alloc(&vm->frames, 0, FRAME_EMBEDDER, vm, true);
	if (vm->zero_page)
		return 0;
	vm_memory_fini(vm);
	return -SAMARA_ENOMEM;
}

SAMARA_INTERNAL void vm_memory_fini(struct samara *vm)
{
	if (!vm->frames.map)
		return;
	if (vm->zero_page)
		frame_put(&vm->frames, 0, vm->zero_page);
	if (frames_free(&vm->frames) != vm->frames.count)
		vm_panic(vm, __FILE__, __LINE__, "samara_destroy: frames are in use");
	frames_fini(&vm->frames);
}

SAMARA_INTERNAL int mm_memory_init(struct samara_mm *mm)
{
	struct samara *vm = mm->vm;
	int err;

	if (!vm->frames.map)
		return 0;
	mm->counts = vm_alloc(vm, vm->cpus * sizeof(*mm->counts));
	if (!mm->counts)
		return -SAMARA_ENOMEM;
	err = table_init(&mm->table, &vm->frames, (enum table_kind)vm->config.table_format, vm->config.hardware_walks, vm_cpu(vm));
	if (err) {
		vm_free(vm, mm->counts, vm->cpus * sizeof(*mm->counts));
		mm->counts = NULL;
		return err;
	}
	mm_sink_init(mm);
	return 0;
}

/* Every mapping has gone. */
SAMARA_INTERNAL void mm_memory_fini(struct samara_mm *mm)
{
	struct samara *vm = mm->vm;

	if (!mm_has_memory(mm))
		return;
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		ASSERT(mm_resident(mm, kind) == 0);
	table_fini(&mm->table, vm_cpu(vm));
	vm_free(vm, mm->counts, vm->cpus * sizeof(*mm->counts));
	mm->counts = NULL;
}

SAMARA_INTERNAL uint64_t mm_resident(const struct samara_mm *mm, unsigned kind)
{
	int64_t sum = 0;

	for (unsigned cpu = 0; mm->counts && cpu < mm->vm->cpus; cpu++)
		sum += LOAD(mm->counts[cpu].resident[kind]);
	return sum > 0 ? (uint64_t)sum : 0;
}

/* The peak is looked at when pages are about to go, as the kernel does. */
SAMARA_INTERNAL void mm_note_peak(struct samara_mm *mm)
{
	uint64_t now = 0;

	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		now += mm_resident(mm, kind);
	if (now > LOAD(mm->peak_resident))
		STORE(mm->peak_resident, now);
}

void samara_mm_usage(struct samara_mm *mm, struct samara_mm_usage *out)
{
	mm_note_peak(mm);
	*out = (struct samara_mm_usage){ .anon_pages = mm_resident(mm, COUNT_ANON), .file_pages = mm_resident(mm, COUNT_FILE),
		.shmem_pages = mm_resident(mm, COUNT_SHMEM), .table_pages = mm_has_memory(mm) ? LOAD(mm->table.pages) : 0,
		.resident_peak_pages = LOAD(mm->peak_resident) };
}

void samara_usage(struct samara *vm, struct samara_usage *out)
{
	const struct frames *f = &vm->frames;

	*out = (struct samara_usage){ .total_pages = f->count };
	if (!f->map)
		return;
	out->free_pages = frames_free(f);
	for (uint64_t at = 0; at < f->count; at += (uint64_t)1 << f->map[at].order) {
		uint64_t pages = (uint64_t)1 << f->map[at].order;

		if (f->map[at].kind == FRAME_TABLE)
			out->table_pages += pages;
		else if (f->map[at].kind == FRAME_ANON)
			out->anon_pages += pages;
		else if (f->map[at].kind == FRAME_FILE)
			out->file_pages += pages;
	}
}

uint64_t samara_generation(const struct samara_mm *mm)
{
	return __atomic_load_n(&mm->table.generation, __ATOMIC_ACQUIRE);
}

uint64_t samara_table_root(const struct samara_mm *mm)
{
	return mm_has_memory(mm) ? frame_pfn(mm->table.frames, host_frame(mm->table.frames, mm->table.root)) : 0;
}
