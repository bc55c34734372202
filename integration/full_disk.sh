#!/bin/sh
# A broker on a volume that fills up: records are refused, nothing is lost, it stops and starts there, and goes on when there is room. Needs root, for a tmpfs, and kcat.
# usage: full_disk.sh <ottla binary>
set -eu
binary=$1 port=29092
dir=$(mktemp -d)
mount -t tmpfs -o size=48m ottla-full "$dir"
pid=
trap 'kill -9 $pid 2>/dev/null || true; sleep 0.3; umount "$dir"; rmdir "$dir"' EXIT
fail() { echo "FAILED: $*" >&2; tail -20 "$dir.log" >&2; exit 1; }
start() {
	"$binary" server --override listeners=PLAINTEXT://127.0.0.1:$port --override log.dirs="$dir/data" --override log.segment.bytes=4194304 \
		--override log.retention.ms=-1 >>"$dir.log" 2>&1 &
	pid=$!
	i=0
	until kcat -b 127.0.0.1:$port -L -m 2 >/dev/null 2>&1; do
		kill -0 $pid 2>/dev/null || fail "the broker ended while it started"
		i=$((i + 1)); [ $i -lt 20 ] || fail "the broker does not answer"
	done
}
# produce n records of 100 kB each, one after the other; prints how many were taken
produce() {
	n=0
	for _ in $(seq "$1"); do
		if head -c 75000 /dev/urandom | base64 -w0 | kcat -P -b 127.0.0.1:$port -t t -X message.timeout.ms=1500 -X message.send.max.retries=0 2>/dev/null; then n=$((n + 1)); fi
	done
	echo $n
}
count() { kcat -C -b 127.0.0.1:$port -t t -e -q -f '%o\n' 2>/dev/null | wc -l; }
: >"$dir.log"
start
sleep 2 # the reserves are filled
taken=$(produce 60)
[ "$taken" = 60 ] || fail "$taken of 60 records before the disk is full"
fallocate -l "$(($(df --output=avail -B1 "$dir" | tail -1)))" "$dir/filler" || true
dd if=/dev/zero of="$dir/filler2" bs=4k 2>/dev/null || true
df -h "$dir" | tail -1
more=$(produce 5)
echo "taken on the full disk: $more"
[ "$more" -lt 5 ] || fail "the full disk takes everything"
kill -0 $pid || fail "the broker ended"
for signal in TERM KILL TERM; do
	kill -$signal $pid
	wait $pid || true
	start
	n=$(count)
	echo "after SIG$signal on the full disk: $n records"
	[ "$n" = $((taken + more)) ] || fail "$n records, want $((taken + more))"
done
rm "$dir/filler" "$dir/filler2"
sleep 3
again=$(produce 5)
[ "$again" = 5 ] || fail "$again of 5 records with room again"
[ "$(count)" = $((taken + more + 5)) ] || fail "$(count) records at the end"
kcat -b 127.0.0.1:$port -P -t new -e </dev/null && kcat -b 127.0.0.1:$port -L -t new -m 3 | grep -q '"new" with' || fail "no topic with room again"
kill -TERM $pid; wait $pid || fail "the stop was not clean"
echo ok
