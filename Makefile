# Makefile - the front door; Meson does the work.
#
#   make          build build/samara, libsamara.a and the ports
#   make run      verify a real Python program against this machine's kernel, show its last map; then a fork of samara's own
#   make run-bare boot a RISC-V kernel whose memory management is samara, in QEMU (examples/riscv-kernel)
#   make test     all tests (unit, fail, model, misuse, stress, bare, linux)
#   make bench    figures beside the kernel's; BENCH_ARGS=--json for JSON
#   make fuzz     the kernel in lock step until FUZZ_OPS operations (default a million)
#   make install  to PREFIX (default /usr/local), DESTDIR respected
#
# Missing Debian packages are installed when this runs as root, else named.

BUILD ?= build
PREFIX ?= /usr/local
FUZZ_OPS ?= 1000000

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja: | packages
	meson setup $(BUILD) --prefix $(PREFIX)

packages:
	@scripts/packages build

run: all
	@scripts/run $(BUILD)/samara

run-bare:
	@scripts/packages bare
	@examples/riscv-kernel/build.sh $(BUILD)/bare
	@examples/riscv-kernel/boot.sh $(BUILD)/bare

test: all
	@scripts/packages test
	@scripts/packages bare || true # without them its test is skipped
	@scripts/test $(BUILD)

sanitize: packages
	@scripts/sanitize

bench: all
	@scripts/packages test
	bench/run $(BUILD) $(BENCH_ARGS)

fuzz: all
	$(BUILD)/samara fuzz --ops $(FUZZ_OPS)

install: all
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)

.PHONY: all packages run run-bare test sanitize bench fuzz install clean
