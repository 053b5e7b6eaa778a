#!/bin/sh
# cli.sh - the program from outside: exit codes, messages, formats.  usage: cli.sh SAMARA SOURCE_ROOT
samara=$1 root=$2
failed=0 passed=0
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT

# expect CODE PATTERN ARGS...: exit code, and a pattern in what it prints on either stream
expect() {
	code=$1 pattern=$2
	shift 2
	out=$("$samara" "$@" 2>&1 < /dev/null)
	got=$?
	if [ "$got" -ne "$code" ] || ! printf '%s\n' "$out" | grep -qE -- "$pattern"; then
		echo "not ok: samara $*: exit $got (want $code), output (want '$pattern'):"
		printf '%s\n' "$out" | head -5
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
}

expect 0 'verify.*' --help
expect 0 'samara' --version
for command in verify record replay maps fuzz; do expect 0 "usage: samara $command" $command --help; done
expect 2 'usage|subcommand|command'
expect 2 'nonsense' nonsense
expect 2 'usage: samara verify' verify
expect 2 'usage: samara verify' verify --no-such-option -- true
expect 2 'usage: samara record' record -- true
expect 2 'usage: samara replay' replay
expect 2 'usage: samara maps' maps
expect 2 'fuzz' fuzz --ops many
expect 2 'no-such-file|No such file' replay "$dir/no-such-file"

for trace in ls gcc musl; do
	expect 0 'replay: [0-9]+ calls, [0-9]+ processes, [0-9]+ maps compared, 0 differences, 0 unjudged' replay "$root/tests/data/$trace.xz"
done
expect 0 '"differences": *0' replay --json "$root/tests/data/ls.xz"
expect 0 '\[stack\]' maps "$root/tests/data/ls.xz"
expect 0 '' maps --svg "$dir/map.svg" "$root/tests/data/ls.xz"
grep -q '</svg>' "$dir/map.svg" && passed=$((passed + 1)) || { echo "not ok: no picture"; failed=$((failed + 1)); }

# malformed traces: exit 2 with the line
xz -dc "$root/tests/data/ls.xz" > "$dir/whole"
head -c 9000 "$dir/whole" > "$dir/cut"
expect 2 'cut:[0-9]+: ' replay "$dir/cut"
head -n -1 "$dir/whole" > "$dir/no-end"
expect 2 'no-end:[0-9]+: ' replay "$dir/no-end"
awk 'NR == 1 { first = $0; next } { print } END { print first }' "$dir/whole" > "$dir/reordered"
expect 2 'reordered:[0-9]+: ' replay "$dir/reordered"
sed '20s/"a"/"q"/' "$dir/whole" > "$dir/field"
expect 2 'field:20: ' replay "$dir/field"
head -c 1000 "$root/tests/data/ls.xz" > "$dir/cut.xz"
expect 2 'cut.xz' replay "$dir/cut.xz"
# a trace that lies is a difference, not an error
sed '0,/"r":"7ff1194dc000"/s//"r":"7ff1194dd000"/' "$dir/whole" > "$dir/lie"
expect 1 '[1-9][0-9]* differences' replay "$dir/lie"

if [ "$(id -u)" = 0 ]; then
	expect 0 'verify: [0-9]+ calls, 1 processes, [0-9]+ maps compared, 0 differences, 0 unjudged' verify -- true
	expect 0 'verify: .* 0 differences' verify --maps-every 1 -- sh -c 'ls / | cat'
	expect 0 '"differences": *0' verify --json -- true
	"$samara" record -o "$dir/own.zst" -- ls / > /dev/null 2>&1
	expect 0 'replay: .* 0 differences, 0 unjudged' replay "$dir/own.zst"
	if command -v setpriv > /dev/null; then
		# without privileges it says which is missing
		chmod 755 "$dir"; cp "$samara" "$dir/samara-nobody" && chmod 755 "$dir/samara-nobody"
		out=$(setpriv --reuid 65534 --clear-groups --inh-caps=-all "$dir/samara-nobody" verify -- true 2>&1); got=$?
		if [ $got -eq 77 ] && printf %s "$out" | grep -qiE 'perf|tracefs|CAP_|root|privilege'; then passed=$((passed + 1)); else
			echo "not ok: verify without privileges: exit $got: $out"; failed=$((failed + 1)); fi
	fi
else
	echo "not root: verify and record were not tried"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
