/* main.c - the machine comes up; each program of the disk is run on Sv39 tables, then on Sv48; the machine goes off.
 *
 * Lines that begin with "kernel: " are the kernel's own; everything else is written by programs. */
#include "kernel.h"

#define UART ((volatile unsigned char *)0x10000000)
#define FINISHER ((volatile uint32_t *)0x100000)
#define RAM_END 0x84000000ull /* 64 MiB */
#define HEAP_BYTES (4ull << 20)

struct kernel kernel;
static unsigned format_at, program_at;
static bool program_started;

static void power_off(int code)
{
	*FINISHER = code ? (uint32_t)code << 16 | 0x3333 : 0x5555;
	for (;;)
		__asm__ volatile("wfi");
}

void print(const char *text)
{
	bare_print(&kernel.bare, text);
}

void print_number(uint64_t number, unsigned base)
{
	char digits[24], *at = digits + sizeof(digits);

	*--at = 0;
	do
		*--at = "0123456789abcdef"[number % base];
	while (number /= base);
	print(at);
}

void kernel_panic(const char *what)
{
	print("kernel: panic: ");
	print(what);
	print("\n");
	power_off(2);
	__builtin_unreachable();
}

void kernel_fault(uint64_t cause, uint64_t pc, uint64_t value);
void kernel_fault(uint64_t cause, uint64_t pc, uint64_t value)
{
	print("kernel: trap in the kernel: cause ");
	print_number(cause, 10);
	print(" pc ");
	print_number(pc, 16);
	print(" value ");
	print_number(value, 16);
	print("\n");
	power_off(3);
}

static const struct format {
	const char *name;
	uint32_t table_format;
	uint64_t satp_mode, task_size;
} formats[] = {
	{ "Sv39", SAMARA_TABLE_SV39, 8, 1ull << 38 },
	{ "Sv48", SAMARA_TABLE_SV48, 9, 1ull << 47 },
};

/* All RAM behind the kernel: heap, then frames. */
static void machine_create(const struct format *format)
{
	uint64_t heap = ((uint64_t)kernel_end + PAGE - 1) & ~(PAGE - 1), frames = heap + HEAP_BYTES;
	struct samara_config config = { .size = sizeof(config),
		.memory = (void *)frames,
		.memory_pages = (RAM_END - frames) / PAGE,
		.total_pages = (RAM_END - frames) / PAGE,
		.first_pfn = frames / PAGE,
		.table_format = format->table_format,
		.no_vsyscall = 1,
		.hardware_walks = 1 };

	bare_init(&kernel.bare, (void *)heap, HEAP_BYTES, UART, power_off);
	if (samara_create(&kernel.bare.port, &config, &kernel.vm))
		kernel_panic("no machine");
	kernel.format_name = format->name;
	kernel.satp_mode = format->satp_mode;
	kernel.task_size = format->task_size;
	kernel.faults = kernel.ticks = 0;
	disk_reset();
}

/* Panics when a frame, a space or a file is left. */
static void machine_destroy(void)
{
	__asm__ volatile("csrw satp, zero");
	bare_fence();
	print("kernel: ");
	print(kernel.format_name);
	print(": ");
	print_number(kernel.faults, 10);
	print(" page faults, ");
	print_number(kernel.ticks, 10);
	print(" ticks, ");
	print_number(kernel.bare.fences, 10);
	print(" invalidations\n");
	samara_destroy(kernel.vm);
	if (kernel.bare.free_bytes != kernel.bare.heap_bytes)
		kernel_panic("the heap is not whole");
}

static void next_program(void)
{
	while (!disk_programs[program_at].name) {
		machine_destroy();
		if (++format_at == sizeof(formats) / sizeof(formats[0])) {
			print("kernel: power off\n");
			power_off(0);
		}
		program_at = 0;
		machine_create(&formats[format_at]);
	}
}

/* No process is left. */
void program_ended(void)
{
	struct process *first;

	if (program_started) {
		samara_check_machine(kernel.vm);
		print("kernel: end ");
		print(disk_programs[program_at].name);
		print(" status ");
		print_number((uint64_t)kernel.last_status, 10);
		print("\n");
		program_at++;
	}
	program_started = true;
	next_program();
	print("kernel: run ");
	print(disk_programs[program_at].name);
	print(" ");
	print(kernel.format_name);
	print("\n");
	kernel.last_pid = 0;
	first = process_create(NULL);
	if (!first || process_exec(first, disk_programs[program_at].name))
		kernel_panic("cannot start the program");
	process_run();
}

void kernel_main(void);
void kernel_main(void)
{
	uint64_t everything = ~0ull >> 10, napot_rwx = 0x1f, timer = 1 << 7;

	/* physical memory protection: U-mode may use what page tables give it */
	__asm__ volatile(
		"csrw pmpaddr0, %0; csrw pmpcfg0, %1; csrs mie, %2" ::"r"(everything), "r"(napot_rwx), "r"(timer));
	machine_create(&formats[0]);
	process_tick();
	program_ended();
}
