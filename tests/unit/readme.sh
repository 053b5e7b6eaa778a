#!/bin/sh
# readme.sh - the README's example is compiled and run as it stands.  usage: readme.sh SOURCE_ROOT LIBSAMARA LIBPOSIX
# Its output must be what the README says (the block after the example).
root=$1 libsamara=$2 libposix=$3
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on' "$root/README.md" > "$dir/example.c"
awk '/^```c$/ { c = 1 } /^```text$/ { if (c) { on = 1; next } } /^```$/ { if (on) exit } on' "$root/README.md" > "$dir/expected"
[ -s "$dir/example.c" ] && [ -s "$dir/expected" ] || { echo "README.md has no example, or no output after it"; exit 1; }
lines=$(wc -l < "$dir/example.c")
[ "$lines" -le 32 ] || { echo "the example has $lines lines; it promises 30"; exit 1; }
${CC:-cc} -std=c11 -Wall -Wextra -Werror -I"$root/include" -I"$root" "$dir/example.c" "$libposix" "$libsamara" -lurcu-memb -lpthread \
	-o "$dir/example" && "$dir/example" > "$dir/output" || exit 1
diff "$dir/expected" "$dir/output" && echo "1 passed, 0 failed"
