#!/bin/sh
# run.sh - the models of the locks, searched exhaustively by spin.  usage: run.sh SOURCE_ROOT
# Each model must hold as it stands, and must fail with each of its switches, which take one step of the algorithm away: a model that
# cannot fail says nothing.  What has to be found is named beside the switch.
models=$1/tests/spin
command -v spin > /dev/null && command -v gcc > /dev/null || { echo "spin (with gcc) is not installed"; exit 77; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
failed=0 passed=0

search() { # model switch: the verifier's report, on stdout
	spin ${2:+-D$2} -a "$models/$1.pml" && gcc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m200000
}

holds() { # model [switch]
	if out=$(search "$1" "$2" 2>&1) && printf '%s\n' "$out" | grep -q 'errors: 0' &&
		! printf '%s\n' "$out" | grep -qE 'max search depth too small|Search not completed'; then
		passed=$((passed + 1))
	else
		echo "not ok: $1${2:+ with $2} does not hold:"; printf '%s\n' "$out" | tail -40; failed=$((failed + 1))
	fi
}

breaks() { # model switch what-spin-says
	if out=$(search "$1" "$2" 2>&1) && printf '%s\n' "$out" | grep 'pan:1: ' | grep -q "$3"; then
		passed=$((passed + 1))
	else
		echo "not ok: $1 without a step ($2) does not give '$3':"; printf '%s\n' "$out" | grep -E 'pan:|errors:'; failed=$((failed + 1))
	fi
}

holds vma_lock
breaks vma_lock NO_SEQ_CHECK 'version==saw'
breaks vma_lock NO_VERIFY 'holds_a'
breaks vma_lock NO_WAKE 'invalid end state'
breaks vma_lock NO_WAIT 'assertion violated'
breaks vma_lock EARLY_UNLOCK '!(freed)'

holds stack_grow
breaks stack_grow NO_LOOK_AGAIN 'id==vma'
breaks stack_grow NO_DOWNGRADE 'id==vma'
breaks stack_grow NO_WAKE 'invalid end state'
breaks stack_grow NO_WAITERS 'invalid end state'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
