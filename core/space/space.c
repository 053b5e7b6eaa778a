/* space.c - machines and address spaces: created, counted, configured; guards taken and given back.
 *
 * A machine outlives everything made on it; samara_destroy panics when something is left, so a lost reference is found
 * where it was lost.  An address space lives as long as somebody holds a reference; its last put is exit(2).
 */
#include "core/space/space.h"

#define TASK_SIZE_47 0x7ffffffff000ull
#define MIN_GAP_BYTES (128ull << 20)
#define STACK_RANDOM_BYTES (16ull << 30)

SAMARA_INTERNAL void *vm_alloc(const struct samara *vm, size_t bytes)
{
	void *memory = vm->port.alloc(vm->port.self, bytes);

	return memory ? zero_bytes(memory, bytes) : NULL;
}

SAMARA_INTERNAL void vm_free(const struct samara *vm, void *memory, size_t bytes)
{
	vm->port.free(vm->port.self, memory, bytes);
}

SAMARA_INTERNAL _Noreturn void vm_panic(const struct samara *vm, const char *file, int line, const char *what)
{
	if (vm->port.panic)
		vm->port.panic(vm->port.self, file, line, what);
	__builtin_trap();
}

/* Defaults for zeroed members; -EINVAL when a value makes no sense. */
static int resolve_config(struct samara_config *to, const struct samara_config *from)
{
	uint64_t three_percent_kb;

	zero_bytes(to, sizeof(*to));
	if (from) {
		if (from->size < offsetof(struct samara_config, total_pages) + sizeof(from->total_pages))
			return -SAMARA_EINVAL;
		copy_bytes(to, from, MIN(from->size, sizeof(*to)));
	}
	to->size = sizeof(*to);
	if (!to->total_pages)
		to->total_pages = 1ull << 20;
	three_percent_kb = to->total_pages * 4 / 32;
	if (!to->overcommit_ratio)
		to->overcommit_ratio = 50;
	if (!to->admin_reserve_kbytes)
		to->admin_reserve_kbytes = MIN(8192ull, three_percent_kb);
	if (!to->user_reserve_kbytes)
		to->user_reserve_kbytes = MIN(131072ull, three_percent_kb);
	if (!to->max_map_count)
		to->max_map_count = 65530;
	if (!to->mmap_min_addr)
		to->mmap_min_addr = 65536;
	if (!to->dac_mmap_min_addr)
		to->dac_mmap_min_addr = 4096;
	if (!to->stack_guard_gap_pages)
		to->stack_guard_gap_pages = 256;
	if (!to->numa_nodes)
		to->numa_nodes = 1;
	if (!to->shmem_minor)
		to->shmem_minor = 1;
	if (!to->hugetlb_minor)
		to->hugetlb_minor = 0xf;
	if (to->overcommit_memory < 0 || to->overcommit_memory > 2 || to->mmap_min_addr & ~PAGE_MASK || to->numa_nodes > 64 ||
	    to->total_pages > 1ull << 40 || to->swap_pages > 1ull << 40)
		return -SAMARA_EINVAL;
	if (to->pkeys && to->table_format > SAMARA_TABLE_X86_5)
		return -SAMARA_EINVAL;
	if (to->table_format > SAMARA_TABLE_SV48 || !to->memory != !to->memory_pages || to->cpus > FRAME_CACHES_MAX)
		return -SAMARA_EINVAL;
	return 0;
}

static int port_valid(const struct samara_port *port)
{
	return port && port->size >= offsetof(struct samara_port, wait) && port->alloc && port->free;
}

int samara_create(const struct samara_port *port, const struct samara_config *config, struct samara **out)
{
	struct samara_config resolved;
	struct samara_port whole = { 0 };
	struct samara *vm;
	int err;

	if (!out || !port_valid(port))
		return -SAMARA_EINVAL;
	copy_bytes(&whole, port, MIN(port->size, sizeof(whole)));
	if (!whole.wait != !whole.wake || !whole.read_lock != !whole.read_unlock || !whole.read_lock != !whole.defer ||
	    (whole.wait && !whole.read_lock) || !whole.pkru != !whole.set_pkru)
		return -SAMARA_EINVAL;
	err = resolve_config(&resolved, config);
	if (err)
		return err;
	vm = whole.alloc(whole.self, sizeof(*vm));
	if (!vm)
		return -SAMARA_ENOMEM;
	zero_bytes(vm, sizeof(*vm));
	vm->port = whole;
	vm->config = resolved;
	vm->huge_free[0] = resolved.huge_pages_2m;
	vm->huge_free[1] = resolved.huge_pages_1g;
	err = vm_memory_init(vm);
	if (err) {
		whole.free(whole.self, vm, sizeof(*vm));
		return err;
	}
	*out = vm;
	return 0;
}

void samara_destroy(struct samara *vm)
{
	struct samara_port port = vm->port;

	if (LOAD(vm->objects) != 0)
		vm_panic(vm, __FILE__, __LINE__, "samara_destroy: an address space, inode or file is left");
	if (vm->committed_pages != 0)
		vm_panic(vm, __FILE__, __LINE__, "samara_destroy: Committed_AS is not zero");
	if (port.barrier)
		port.barrier(port.self);
	vm_memory_fini(vm);
	port.free(port.self, vm, sizeof(*vm));
}

int samara_set_config(struct samara *vm, const struct samara_config *config)
{
	struct samara_config resolved;
	int err = config ? resolve_config(&resolved, config) : -SAMARA_EINVAL;

	if (err)
		return err;
	/* features are the kernel's build; the huge page pool is what it was made with */
	vm->config.total_pages = resolved.total_pages;
	vm->config.swap_pages = resolved.swap_pages;
	vm->config.overcommit_memory = resolved.overcommit_memory;
	vm->config.overcommit_ratio = resolved.overcommit_ratio;
	vm->config.overcommit_kbytes = resolved.overcommit_kbytes;
	vm->config.admin_reserve_kbytes = resolved.admin_reserve_kbytes;
	vm->config.user_reserve_kbytes = resolved.user_reserve_kbytes;
	vm->config.max_map_count = resolved.max_map_count;
	vm->config.mmap_min_addr = resolved.mmap_min_addr;
	vm->config.dac_mmap_min_addr = resolved.dac_mmap_min_addr;
	vm->config.stack_guard_gap_pages = resolved.stack_guard_gap_pages;
	return 0;
}

void samara_get_config(const struct samara *vm, struct samara_config *config)
{
	*config = vm->config;
}

static uint64_t mm_random(const struct samara_mm *mm, unsigned bits)
{
	if ((mm->personality & SAMARA_ADDR_NO_RANDOMIZE) || !mm_port(mm)->random)
		return 0;
	return (mm_port(mm)->random(mm_port(mm)->self) & ((1ull << bits) - 1)) << PAGE_SHIFT;
}

/* Where user addresses end at the latest: half of what the tables translate. */
static uint64_t task_size_max(const struct samara *vm)
{
	if (!vm->config.memory)
		return 1ull << 56;
	switch (vm->config.table_format) {
	case SAMARA_TABLE_SV39: return 1ull << 38;
	case SAMARA_TABLE_SV48: return 1ull << 47;
	case SAMARA_TABLE_X86_4: return 1ull << 47;
	}
	return 1ull << 56;
}

/* The top of top-down searches: room for the stack below the end of the space, at least 128 MiB, at most five
 * sixths. */
static uint64_t default_mmap_base(const struct samara_mm *mm, uint64_t task_size, uint64_t random)
{
	uint64_t pad = (uint64_t)mm->vm->config.stack_guard_gap_pages << PAGE_SHIFT;
	uint64_t gap = mm->limits[LIMIT_STACK].cur;

	if (!(mm->personality & SAMARA_ADDR_NO_RANDOMIZE))
		pad += STACK_RANDOM_BYTES;
	if (gap + pad > gap)
		gap += pad;
	gap = MAX(gap, MIN_GAP_BYTES);
	gap = MIN(gap, task_size / 6 * 5);
	return PAGE_ALIGN(task_size - gap - random);
}

static void apply_params(struct samara_mm *mm, const struct samara_mm_params *given)
{
	struct samara_mm_params p = { 0 };
	struct mm_layout *l = &mm->layout;
	uint64_t random;

	if (given)
		copy_bytes(&p, given, MIN(given->size, sizeof(p)));
	if (p.data.cur | p.data.max)
		mm->limits[LIMIT_DATA] = p.data;
	if (p.stack.cur | p.stack.max)
		mm->limits[LIMIT_STACK] = p.stack;
	if (p.memlock.cur | p.memlock.max)
		mm->limits[LIMIT_MEMLOCK] = p.memlock;
	if (p.as.cur | p.as.max)
		mm->limits[LIMIT_AS] = p.as;
	mm->personality = p.personality;
	mm->capabilities = p.capabilities;
	mm->euid = p.euid;
	*l = (struct mm_layout){ .task_size = p.task_size ? p.task_size : MIN(TASK_SIZE_47, task_size_max(mm->vm)),
		.start_code = p.start_code,
		.end_code = p.end_code, .start_data = p.start_data, .end_data = p.end_data, .start_brk = p.start_brk,
		.brk = p.brk ? p.brk : p.start_brk, .start_stack = p.start_stack, .arg_start = p.arg_start, .arg_end = p.arg_end,
		.env_start = p.env_start, .env_end = p.env_end };
	/* vm.mmap_rnd_bits: 28 on x86-64, 18 on RISC-V with Sv39, where more would leave the space */
	random = mm_random(mm, l->task_size > 1ull << 38 ? 28 : 18);
	l->mmap_base = p.mmap_base ? p.mmap_base : default_mmap_base(mm, MIN(l->task_size, TASK_SIZE_47), random);
	l->legacy_base = p.legacy_base ? p.legacy_base : PAGE_ALIGN(MIN(l->task_size, TASK_SIZE_47) / 3) + random;
}

static bool params_valid(const struct samara *vm, const struct samara_mm_params *p)
{
	if (!p)
		return true;
	if (p->size < offsetof(struct samara_mm_params, mmap_base))
		return false;
	return !(p->task_size & ~PAGE_MASK) && p->task_size <= task_size_max(vm) &&
	       (p->size < offsetof(struct samara_mm_params, personality) || !((p->mmap_base | p->legacy_base) & ~PAGE_MASK));
}

static void default_limits(struct samara_mm *mm)
{
	struct samara_rlimit none = { SAMARA_RLIM_INFINITY, SAMARA_RLIM_INFINITY };

	for (int i = 0; i < LIMIT_COUNT; i++)
		mm->limits[i] = none;
	mm->limits[LIMIT_STACK].cur = 8ull << 20;
	mm->limits[LIMIT_MEMLOCK].cur = mm->limits[LIMIT_MEMLOCK].max = 8ull << 20;
}

int samara_mm_create(struct samara *vm, const struct samara_mm_params *params, struct samara_mm **out)
{
	struct samara_mm *mm;
	int err;

	if (!vm || !out || !params_valid(vm, params))
		return -SAMARA_EINVAL;
	mm = vm_alloc(vm, sizeof(*mm));
	if (!mm)
		return -SAMARA_ENOMEM;
	mm->vm = vm;
	mm->refs = 1;
	mm->lock_seq = 1;
	pkey_reset(mm);
	tree_init(&mm->tree, &vm->port);
	default_limits(mm);
	apply_params(mm, params);
	err = mm_memory_init(mm);
	if (err) {
		vm_free(vm, mm, sizeof(*mm));
		return err;
	}
	mutex_lock(&vm->spaces_lock, &vm->port);
	mm->next = vm->spaces;
	if (mm->next)
		mm->next->prev = mm;
	vm->spaces = mm;
	mutex_unlock(&vm->spaces_lock, &vm->port);
	__atomic_add_fetch(&vm->objects, 1, __ATOMIC_RELAXED);
	*out = mm;
	return 0;
}

void samara_mm_get(struct samara_mm *mm)
{
	__atomic_add_fetch(&mm->refs, 1, __ATOMIC_RELAXED);
}

void samara_mm_put(struct samara_mm *mm)
{
	struct samara *vm = mm->vm;

	if (__atomic_sub_fetch(&mm->refs, 1, __ATOMIC_ACQ_REL))
		return;
	mm_empty(mm);
	tree_destroy(&mm->tree);
	vma_slabs_release(mm);
	mm_memory_fini(mm);
	mutex_lock(&vm->spaces_lock, &vm->port);
	if (mm->next)
		mm->next->prev = mm->prev;
	if (mm->prev)
		mm->prev->next = mm->next;
	else
		vm->spaces = mm->next;
	mutex_unlock(&vm->spaces_lock, &vm->port);
	__atomic_sub_fetch(&vm->objects, 1, __ATOMIC_RELAXED);
	vm_free(vm, mm, sizeof(*mm));
}

struct samara *samara_mm_machine(const struct samara_mm *mm)
{
	return mm->vm;
}

int samara_exec(struct samara_mm *mm, const struct samara_mm_params *params)
{
	struct samara_write_guard g;

	if (!params_valid(mm->vm, params))
		return -SAMARA_EINVAL;
	samara_write_lock(mm, &g);
	mm_empty(mm);
	mm->peak_vm = 0;
	mm->def_flags = 0;
	mm->mdwe = 0;
	pkey_reset(mm);
	apply_params(mm, params);
	samara_write_unlock(&g);
	return 0;
}

static int limit_index(int which)
{
	switch (which) {
	case SAMARA_RLIMIT_DATA: return LIMIT_DATA;
	case SAMARA_RLIMIT_STACK: return LIMIT_STACK;
	case SAMARA_RLIMIT_MEMLOCK: return LIMIT_MEMLOCK;
	case SAMARA_RLIMIT_AS: return LIMIT_AS;
	}
	return -1;
}

int samara_set_rlimit(struct samara_mm *mm, int which, struct samara_rlimit limit)
{
	int index = limit_index(which);

	if (index < 0 || limit.cur > limit.max)
		return -SAMARA_EINVAL;
	STORE(mm->limits[index].cur, limit.cur);
	STORE(mm->limits[index].max, limit.max);
	return 0;
}

struct samara_rlimit samara_get_rlimit(const struct samara_mm *mm, int which)
{
	int index = limit_index(which);

	return index < 0 ? (struct samara_rlimit){ 0, 0 } : mm->limits[index];
}

void samara_set_credentials(struct samara_mm *mm, uint64_t capabilities, uint32_t euid)
{
	STORE(mm->capabilities, capabilities);
	STORE(mm->euid, euid);
}

void samara_set_personality(struct samara_mm *mm, uint32_t personality)
{
	STORE(mm->personality, personality);
}

SAMARA_INTERNAL int mm_reserve(struct samara_mm *mm, unsigned vmas)
{
	int err = vma_reserve(mm, vmas);

	return err ? err : tree_reserve(&mm->tree, VMA_STORES);
}
