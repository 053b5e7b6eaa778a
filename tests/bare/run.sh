#!/bin/sh
# run.sh - the programs of examples/riscv-kernel on the bare machine and on this kernel: line for line the same.  usage: run.sh SOURCE_ROOT
# Compared: all that each program prints (results, errnos, signals with code and address, data) and its exit status, on Sv39 tables and on
# Sv48 tables, with the same sources built for x86-64 Linux.  The kernel itself proves that no frame, space or byte of heap is left.
kernel=$1/examples/riscv-kernel
for tool in "${RISCV_CC:-riscv64-unknown-elf-gcc}" qemu-system-riscv64; do
	command -v "$tool" > /dev/null || { echo "skipped: $tool is not installed (scripts/packages bare)"; exit 77; }
done
[ "$(uname -m)" = x86_64 ] || { echo "skipped: the programs know Linux on x86-64, this is $(uname -m)"; exit 77; }
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
"$kernel/build.sh" "$dir" || exit 1
failed=0 passed=0
ok() { passed=$((passed + 1)); }
bad() { echo "not ok: $1"; failed=$((failed + 1)); }

if "$kernel/boot.sh" "$dir" > "$dir/uart" 2>&1; then ok; else bad "the machine ended with $?:"; tail -n 5 "$dir/uart"; fi
if [ "$(tail -n 1 "$dir/uart")" = "kernel: power off" ]; then ok; else bad "it did not power off"; fi

# what disk.c has on its disk
mkdir "$dir/native" && cd "$dir/native" || exit 2
seq -f 'line %04g' 0 999 > disk.txt
ulimit -s 8192
for program in $(sed 's/program //' "$dir/programs.inc"); do
	timeout 60 "$dir/$program.native" > "$dir/$program.linux"
	echo "exit $?" >> "$dir/$program.linux"
	[ "$(wc -l < "$dir/$program.linux")" -gt 3 ] || bad "$program prints too little on Linux"
	for format in Sv39 Sv48; do
		awk -v run="kernel: run $program $format" -v end="kernel: end $program status " '
			$0 == run { on = 1; next }
			on && index($0, end) == 1 { s = substr($0, length(end) + 1); print "exit " (s % 128 ? 128 + s % 128 : int(s / 256)); exit }
			on && !/^kernel: / { print }' "$dir/uart" > "$dir/$program.bare"
		if diff "$dir/$program.linux" "$dir/$program.bare" > "$dir/diff"; then
			ok
		else
			bad "$program on $format (< Linux, > bare machine):"; head -n 20 "$dir/diff"
		fi
	done
done
# the timer switched spaces: nobody yields in switch.c, and each of its spaces ran more than once
if [ "$(grep -A 100000 'run switch' "$dir/uart" | grep -cE 'process [2-5] ends: .* ran ([2-9]|[1-9][0-9]+) times')" -ge 8 ]; then ok; else bad "no switches"; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
