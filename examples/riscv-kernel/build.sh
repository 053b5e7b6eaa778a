#!/bin/sh
# build.sh - the kernel and its programs, and the programs for Linux on this machine.  usage: build.sh OUT
# OUT/kernel.elf; OUT/NAME.elf (RISC-V: in the kernel); OUT/NAME.native (x86-64, where this machine is one).
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
mkdir -p "$1"
out=$(cd "$1" && pwd)
cc=${RISCV_CC:-riscv64-unknown-elf-gcc}
programs="anonymous fork file reread stack remap guard switch"
common="-std=c11 -O2 -ffreestanding -fno-stack-protector -fno-strict-aliasing -Wall -Wextra -Werror"
user="$common -nostdlib -static -fno-pie -no-pie -fno-asynchronous-unwind-tables -Wl,--build-id=none -Wl,-z,max-page-size=4096 -T $here/user/user.ld"
riscv="-march=rv64imac_zicsr_zifencei -mabi=lp64 -mcmodel=medany"
for p in $programs; do
	$cc $user $riscv "$here/user/$p.c" "$here/user/user.c" -o "$out/$p.elf"
	[ "$(uname -m)" != x86_64 ] || ${CC:-cc} $user "$here/user/$p.c" "$here/user/user.c" -o "$out/$p.native"
done
for p in $programs; do echo "program $p"; done > "$out/programs.inc"
kernel="$common $riscv -nostdlib -fno-tree-loop-distribute-patterns -I$root/include -I$root"
$cc $common $riscv -I"$root/include" -I"$root" -c "$root/samara.c" -o "$out/samara.o" &
for c in main process trap signal syscall disk; do $cc $kernel -c "$here/$c.c" -o "$out/$c.o"; done
for c in bare memory; do $cc $kernel -c "$root/ports/bare/$c.c" -o "$out/$c.o"; done
$cc $kernel -I"$out" -Wa,-I"$out" -c "$here/boot.S" -o "$out/boot.o"
wait $!
cd "$out"
$cc $kernel -T "$here/kernel.ld" -Wl,--build-id=none boot.o main.o process.o trap.o signal.o syscall.o disk.o bare.o memory.o samara.o "$($cc -march=rv64imac -mabi=lp64 -print-libgcc-file-name)" \
	-Wl,--no-warn-rwx-segments -o kernel.elf
