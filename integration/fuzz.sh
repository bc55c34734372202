#!/bin/sh
# Runs every fuzz target of the main module for $FUZZTIME each.
set -eu
cd "$(dirname "$0")/.."
for package in $(${GO:-go} list ./...); do
	for target in $(${GO:-go} test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "fuzz $package $target"
		${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" -fuzzminimizetime 10x "$package"
	done
done
