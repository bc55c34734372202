package storage

import (
	"iter"
	"os"
	"strconv"
	"testing"
)

// crashSeedsVariable says how many seeds the crash and damage tests run instead of their few hundred; `make soak` runs thousands.
const crashSeedsVariable = "OTTLA_CRASH_SEEDS"

// crashSeeds yields the seeds from 0 to n-1, or as many as the environment says.
func crashSeeds(t testing.TB, n int64) iter.Seq[int64] {
	t.Helper()
	if text := os.Getenv(crashSeedsVariable); text != "" {
		var err error
		if n, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", crashSeedsVariable, err)
		}
	}
	return func(yield func(int64) bool) {
		for seed := range n {
			if !yield(seed) {
				return
			}
		}
	}
}
