#!/bin/bash
# verify_programs.sh - `samara verify` on real programs; prints a table, exits 1 when any of them had differences.
#
# usage: verify_programs.sh [--only NAME] [--list]       SAMARA=path to the tool (default: samara beside the build, or on PATH)
# Programs that are not installed are named and skipped.  77: verify itself cannot run here (it says what is missing).
# Everything is made in a directory of its own under /tmp and removed; servers listen on ports of their own, on localhost only.
set -u

SAMARA=${SAMARA:-$(command -v samara || echo ./build/samara)}
LIMIT=${LIMIT:-300}          # seconds for one program
only= ; list=
while [ $# -gt 0 ]; do
	case $1 in
	--only) only=$2; shift 2 ;;
	--list) list=1; shift ;;
	*) echo "usage: verify_programs.sh [--only NAME] [--list]" >&2; exit 2 ;;
	esac
done

[ -n "$list" ] || [ -x "$SAMARA" ] || { echo "verify_programs.sh: no samara tool at $SAMARA (set SAMARA=...)" >&2; exit 2; }
work=$(mktemp -d /tmp/samara-verify.XXXXXX)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
bad=0; unusable=0; missing=""
[ -n "$list" ] || printf '%-22s %8s %6s %6s %6s %8s %8s  %s\n' program calls procs maps diffs unjudged seconds verdict

# run NAME "PROGRAMS NEEDED" COMMAND ARGS...
run() {
	local name=$1 needs=$2 need line begin rc verdict
	shift 2
	[ -z "$only" ] || [ "$only" = "$name" ] || return 0
	[ -z "$list" ] || { echo "$name"; return 0; }
	for need in $needs; do
		command -v "$need" > /dev/null || { missing="$missing $name($need)"; return 0; }
	done
	begin=$(date +%s.%N)
	timeout --signal=INT --kill-after=5 "$LIMIT" "$SAMARA" verify --keep-going -- "$@" > out 2> err < /dev/null
	rc=$?
	line=$(grep -a '^verify: ' out | tail -1)
	case $rc in
	0) verdict=agreed ;;
	1) verdict=DIFFERS; bad=1; cp out "/tmp/verify-$name.out"; cp err "/tmp/verify-$name.err" ;;
	77) verdict="cannot run: $(tail -1 err)"; unusable=1 ;;
	124|130|137) verdict="no end within $LIMIT s"; bad=1 ;;
	*) verdict="exit $rc: $(tail -1 err)"; bad=1 ;;
	esac
	set -- $(printf '%s' "$line" | sed 's/[^0-9 ]//g')
	printf '%-22s %8s %6s %6s %6s %8s %8.1f  %s\n' "$name" "${1:--}" "${2:--}" "${3:--}" "${4:--}" "${5:--}" \
		"$(echo "$(date +%s.%N) - $begin" | bc 2> /dev/null || echo 0)" "$verdict"
	[ "${5:-0}" = 0 ] || grep -a '^  unjudged:' out | sed 's/^/    /'
}

run ls ls ls -laR /usr/lib/x86_64-linux-gnu
run bash bash bash -c 'for i in 1 2 3 4 5; do ls / | sort -r | head -$i | wc -l; done; (sleep 0.05; echo a) & (echo b) & wait; x=$(seq 1 2000); echo ${#x}'
run perl perl perl -e 'my %h; $h{$_ * 7 % 1000} .= "x" x $_ for 1..2000; my @s = sort keys %h; for (1..3) { my $p = fork; exit 0 unless $p; waitpid $p, 0 } print scalar @s, "\n"'

cat > all.py <<'PY'
import json, sqlite3, threading, multiprocessing, mmap, tempfile, os
def work(n):
    return len(json.dumps([{"a": i, "b": str(i)} for i in range(n)]))
def child(q, n):
    q.put(work(n))
if __name__ == "__main__":
    db = sqlite3.connect(":memory:")
    db.execute("create table t(a, b)")
    db.executemany("insert into t values (?, ?)", [(i, "x" * (i % 50)) for i in range(5000)])
    print(db.execute("select count(*), sum(length(b)) from t").fetchall())
    threads = [threading.Thread(target=work, args=(4000 * (i + 1),)) for i in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
    q = multiprocessing.Queue()
    procs = [multiprocessing.Process(target=child, args=(q, 2000)) for _ in range(3)]
    [p.start() for p in procs]; print(sorted(q.get() for _ in procs)); [p.join() for p in procs]
    with tempfile.TemporaryFile() as f:
        f.truncate(1 << 22)
        m = mmap.mmap(f.fileno(), 1 << 22)
        for i in range(0, 1 << 22, 4096): m[i] = 1
        m.flush(); m.close()
    a = mmap.mmap(-1, 1 << 20); a[0] = 5
    if os.fork() == 0:
        a[1] = 6; os._exit(0)
    os.wait(); print(a[0], a[1])
PY
run python3 python3 python3 all.py

cat > t.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int cmp(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) { int v[1000]; for (int i = 0; i < 1000; i++) v[i] = rand(); qsort(v, 1000, sizeof *v, cmp); printf("%d\n", v[0] <= v[1]);
	char *p = malloc(1 << 24); memset(p, 1, 1 << 24); p = realloc(p, 1 << 25); free(p); return 0; }
C
run gcc gcc gcc -O2 -g -o a.out t.c

if command -v git > /dev/null && [ -z "$list" ]; then
	mkdir repo && (cd repo && git init -q . && git config user.email a@b && git config user.name n &&
		for i in $(seq 1 40); do seq $i $((i * 50)) > file$((i % 7)); git add -A; git commit -qm "c$i"; done)
fi
run git git git -C repo -c gc.autoDetach=false gc --aggressive --prune=now

cat > w.js <<'JS'
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (isMainThread) {
  let left = 3;
  for (let i = 0; i < 3; i++) {
    const w = new Worker(__filename);
    w.on('message', n => { console.log(n); if (--left === 0) process.exit(0); });
  }
} else {
  const a = []; for (let i = 0; i < 200000; i++) a.push({ i, s: 'x' + i });
  parentPort.postMessage(a.length);
}
JS
run node node node w.js

if command -v java > /dev/null && [ -z "$list" ]; then
	cat > T.java <<'J'
import java.util.*;
public class T { public static void main(String[] a) throws Exception { Thread[] t = new Thread[3];
  for (int i = 0; i < 3; i++) { t[i] = new Thread(() -> { Map<Integer, byte[]> m = new HashMap<>();
    for (int j = 0; j < 20000; j++) m.put(j % 500, new byte[1000]); }); t[i].start(); }
  for (Thread x : t) x.join(); System.out.println("done"); } }
J
	if command -v javac > /dev/null; then javac T.java 2> /dev/null; fi
fi
java_args=T; [ -f T.class ] || java_args=T.java
run java java java -cp . $java_args
run java-small-heap java java -Xmx32m -Xss256k -XX:+UseSerialGC -cp . $java_args

run sqlite3 sqlite3 sqlite3 db.sqlite 'pragma mmap_size=268435456; create table t(a integer primary key, b text); with recursive c(x) as (select 1 union all select x+1 from c where x<20000) insert into t select x, hex(randomblob(40)) from c; create index i on t(b); select count(*) from t where b > "8"; vacuum;'

cat > redis.sh <<'SH'
redis-server --port 16399 --bind 127.0.0.1 --save "" --dir . --daemonize no --logfile redis.log &
for i in $(seq 1 100); do redis-cli -p 16399 ping > /dev/null 2>&1 && break; sleep 0.1; done
redis-cli -p 16399 debug populate 20000 > /dev/null
redis-cli -p 16399 bgsave
sleep 1
redis-cli -p 16399 shutdown nosave
wait
SH
run redis 'redis-server redis-cli' bash redis.sh

cat > nginx.conf <<'NG'
worker_processes 2; pid nginx.pid; error_log error.log; daemon on; master_process on;
events { worker_connections 64; }
http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
	server { listen 127.0.0.1:16380; location / { root .; } } }
NG
cat > nginx.sh <<'SH'
nginx -p . -c nginx.conf
for i in 1 2 3 4 5; do exec 3<> /dev/tcp/127.0.0.1/16380 && printf 'GET /t.c HTTP/1.0\r\n\r\n' >&3 && cat <&3 | wc -c; sleep 0.2; done
nginx -p . -c nginx.conf -s reload; sleep 0.5
nginx -p . -c nginx.conf -s quit; sleep 1
SH
run nginx nginx bash nginx.sh

pgbin=$(dirname "$(command -v postgres || ls -d /usr/lib/postgresql/*/bin/postgres 2> /dev/null | tail -1)" 2> /dev/null)
[ "$pgbin" = . ] && pgbin=
pguser=$(id -un postgres 2> /dev/null || id -un nobody)
if [ -n "$pgbin" ] && [ -z "$list" ]; then
	mkdir pg && chown "$pguser" pg
	cat > pg.sh <<SH
set -e
export LC_ALL=C HOME=$work/pg PATH=$pgbin:\$PATH
cd pg
initdb -D data -A trust -U postgres > initdb.log 2>&1
echo "select count(*), sum(g) from generate_series(1, 20000) g; create table t as select g as a, md5(g::text) as b from generate_series(1, 5000) g; create index on t(b); select count(*) from t where b > '8';" |
	postgres --single -D data postgres > single.log 2>&1
pg_ctl -D data -o "-p 16432 -k $work/pg -c listen_addresses=" -l log -w start > /dev/null
psql -h $work/pg -p 16432 -U postgres -c "select count(*) from generate_series(1, 1000)" postgres || true
pg_ctl -D data -m fast -w stop > /dev/null
SH
	chmod 755 pg.sh
fi
if command -v setpriv > /dev/null; then
	run postgres "${pgbin:+$pgbin/}postgres ${pgbin:+$pgbin/}initdb" \
		setpriv --reuid="$pguser" --regid="$(id -g "$pguser" 2> /dev/null || echo 0)" --clear-groups bash pg.sh
else
	missing="$missing postgres(setpriv)"
fi

cat > m.c <<'C'
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *work(void *arg) { for (int i = 1; i < 300; i++) { char *p = malloc((size_t)i * 700); memset(p, 1, (size_t)i * 700); if (i % 3) free(p); } return arg; }
int main(void) { pthread_t t[4]; for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, work, NULL);
	for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
	for (int i = 0; i < 3; i++) { pid_t p = fork(); if (!p) { work(NULL); _exit(0); } waitpid(p, NULL, 0); } return system("true"); }
C
if command -v musl-gcc > /dev/null && [ -z "$list" ]; then musl-gcc -static -O1 -o musl m.c 2> /dev/null; fi
run musl-static musl-gcc ./musl
run busybox busybox busybox sh -c 'busybox ls / | busybox sort | busybox wc -l; busybox seq 1 100 | busybox awk "{s+=\$1} END {print s}"'

run stress-mmap stress-ng stress-ng --mmap 1 --mmap-bytes 16m --mmap-ops 30 --timeout 20 --quiet
run stress-mremap stress-ng stress-ng --mremap 1 --mremap-bytes 8m --mremap-ops 200 --timeout 20 --quiet
run stress-brk stress-ng stress-ng --brk 1 --brk-ops 3000 --timeout 20 --quiet
run stress-stack stress-ng stress-ng --stack 1 --stack-ops 3 --timeout 20 --quiet
run stress-fork stress-ng stress-ng --fork 1 --fork-ops 200 --timeout 20 --quiet

[ -z "$list" ] || exit 0
[ -z "$missing" ] || echo "not installed:$missing"
[ $unusable = 0 ] || exit 77
exit $bad
