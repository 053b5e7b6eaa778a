#!/bin/sh
# run.sh - files that must not compile.  usage: run.sh SOURCE_ROOT
# Each must be refused for the reason that it was written for: the message is looked for, not just the failure.
root=$1
flags="-std=c11 -Wall -Wextra -Werror -I$root/include -fsyntax-only"
failed=0 passed=0

rejected() { # compiler file text
	if out=$($1 $flags $4 "$root/tests/misuse/$2" 2>&1); then
		echo "not ok: $1 accepts $2"; failed=$((failed + 1))
	elif ! printf %s "$out" | grep -q "$3"; then
		echo "not ok: $1 refuses $2, but does not say '$3':"; printf '%s\n' "$out"; failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}

accepted() {
	if $1 $flags $3 "$root/tests/misuse/$2"; then passed=$((passed + 1)); else echo "not ok: $1 refuses $2"; failed=$((failed + 1)); fi
}

accepted gcc good_guard.c
rejected gcc read_guard_writes.c 'incompatible pointer type'
if command -v clang >/dev/null; then
	accepted clang good_guard.c -Wthread-safety
	rejected clang leaked_guard.c 'still held\|not held on every path' -Wthread-safety
	rejected clang after_unlock.c 'requires holding' -Wthread-safety
	rejected clang unlocked_twice.c 'that was not held' -Wthread-safety
	rejected clang never_locked.c 'requires holding' -Wthread-safety
	rejected clang read_guard_writes.c 'incompatible pointer type' -Wthread-safety
else
	echo "clang is not installed: its five files were not tried"
	[ "$passed" -gt 0 ] || exit 77
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
