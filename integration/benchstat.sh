#!/bin/sh
# Compares the hot paths' micro-benchmarks with those of the commit before, or of BASE: time, throughput and allocations, as benchstat's table. It is a
# report, nothing fails by it. Both sides are built first and then run in turns, for SECONDS_LIMIT together.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
packages='server protocol protocol/record storage'
only='^Benchmark(Produce|ProducePipelined|Fetch|FetchEncoder|Request|CheckBodyProduce|Validate|Read)$'
limit=${SECONDS_LIMIT:-60}
here=$PWD
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/before" 2>/dev/null || true; rm -rf "$dir"' EXIT INT TERM
git worktree add --quiet --detach "$dir/before" "${BASE:-HEAD~1}"

# build <root> <name> makes a test binary of each package.
build() {
	for p in $packages; do
		(cd "$1" && "$go" test -c -o "$dir/$2-$(echo "$p" | tr / -)" "./$p") || echo "$p does not build in $1" >&2
	done
}
build "$dir/before" before
build "$here" now

touch "$dir/before.txt" "$dir/now.txt"
end=$(($(date +%s) + limit))
for _ in 1 2 3 4 5 6; do
	for p in $packages; do
		test "$(date +%s)" -lt "$end" || break 2
		for side in before now; do
			root=$here
			test "$side" = now || root=$dir/before
			binary=$dir/$side-$(echo "$p" | tr / -)
			test -x "$binary" || continue
			(cd "$root/$p" && "$binary" -test.run '^$' -test.bench "$only" -test.benchtime 30ms -test.benchmem >>"$dir/$side.txt") || true
		done
	done
done
"$go" run "$benchstat" "before=$dir/before.txt" "now=$dir/now.txt"
