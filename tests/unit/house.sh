#!/bin/sh
# house.sh - what holds of the sources themselves.  usage: house.sh SOURCE_ROOT
# 1. include directions: space -> fault -> mm.h -> {vma, cache, rmap, table} -> {tree, frame}, everything -> base; core never includes ports, tools,
#    tests or a host header
# 2. no file of the project is longer than 700 lines
# 3. the core as one object needs nothing but what a compiler may call (memcpy, memset, memmove, memcmp), and defines only samara_ names
# 4. no writable globals in the core
# 5. no line of the core, the headers, the ports and the examples is wider than 140 columns, and none of any source ends in blanks
cd "$1" || exit 2
failed=0 passed=0
ok() { passed=$((passed + 1)); }
bad() { echo "not ok: $1"; failed=$((failed + 1)); }

direction() { # folder allowed-folders; `mm` stands for core/mm.h, the structs that the nouns share
	out=$(grep -nE '^#include "core/' core/$1/*.[ch] | grep -vE "#include \"core/(($2)/|($2)\.h\")")
	if [ -n "$out" ]; then bad "core/$1 may include only $2:"; printf '%s\n' "$out"; else ok; fi
}
direction base 'base'
direction tree 'base|tree'
direction frame 'base|frame'
direction table 'base|frame|table'
direction rmap 'base|rmap|mm'
direction vma 'base|tree|rmap|vma|mm'
direction cache 'base|frame|rmap|cache|mm'
direction fault 'base|fault|mm'
direction space 'base|tree|vma|fault|space|mm'
direction view 'base|fault|view|mm'

out=$(grep -rnE '^#include [<"]' core include | grep -vE '"(core|samara)/|<(limits|stdbool|stddef|stdint)\.h>')
if [ -n "$out" ]; then bad "the core includes more than freestanding headers:"; printf '%s\n' "$out"; else ok; fi

out=$(find core include ports tools tests examples bench -name '*.[ch]' -exec wc -l {} + | awk '$2 != "total" && $1 > 700 { print $2 ": " $1 }')
if [ -n "$out" ]; then bad "files longer than 700 lines: $out"; else ok; fi

out=$(for f in $(find core include ports examples -name '*.[ch]'); do expand "$f" | awk -v f="$f" 'length($0) > 140 { print f ":" FNR }'; done)
if [ -n "$out" ]; then bad "lines wider than 140 columns: $out"; else ok; fi
out=$(grep -rnE '[[:blank:]]+$' core include ports tools tests examples bench --include='*.[ch]')
if [ -n "$out" ]; then bad "lines that end in blanks: $out"; else ok; fi

object=$(mktemp) || exit 2
trap 'rm -f "$object"' EXIT
for compiler in gcc clang; do
	command -v $compiler >/dev/null || continue
	if ! $compiler -std=c11 -O2 -fno-pie -ffreestanding -nostdlib -Wall -Wextra -Werror -Iinclude -I. -c samara.c -o "$object"; then
		bad "$compiler: samara.c does not build freestanding"; continue
	fi
	out=$(nm "$object" | awk '$1 == "U" { print $2 }' | grep -vE '^(memcpy|memset|memmove|memcmp)$')
	if [ -n "$out" ]; then bad "$compiler: the core needs $out"; else ok; fi
	out=$(nm "$object" | awk '$2 ~ /[TDBRVW]/ { print $3 }' | grep -v '^samara_')
	if [ -n "$out" ]; then bad "$compiler: the core exports $out"; else ok; fi
	out=$(nm "$object" | awk '$2 ~ /[dDbBC]/ { print $3 }')
	if [ -n "$out" ]; then bad "$compiler: writable globals: $out"; else ok; fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
