#!/bin/sh
# Runs every fuzz target of the main module for $FUZZTIME each. Go before 1.27 sometimes reports the end of that time itself as a failure without an
# input (go.dev/issue/75804); such a target runs again, and only what failed with an input, or three times, counts.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT

fuzz() { # package, target
	for try in 1 2 3; do
		if ${GO:-go} test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-60s}" -fuzzminimizetime 10x "$1" >"$out" 2>&1; then
			break
		fi
		if grep -q 'Failing input' "$out" || ! grep -qx '    context deadline exceeded' "$out" || [ "$try" = 3 ]; then
			cat "$out"
			return 1
		fi
		echo "the end of the time was taken for a failure: once more"
	done
	tail -n 2 "$out"
}

# The sources tell the targets: `go test -list` would build the tests of every package, most of which have none.
for dir in $(${GO:-go} list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go | sort -u); do
		echo "fuzz $dir $target"
		fuzz "$dir" "$target"
	done
done
