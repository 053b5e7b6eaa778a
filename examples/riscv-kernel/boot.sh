#!/bin/sh
# boot.sh - boot OUT/kernel.elf in QEMU; its UART is standard output, and it powers the machine off itself.  usage: boot.sh OUT
exec timeout "${BARE_SECONDS:-60}" qemu-system-riscv64 -M virt -cpu rv64 -m 64M -bios none -display none -monitor none \
	-serial stdio -kernel "$1/kernel.elf" < /dev/null
