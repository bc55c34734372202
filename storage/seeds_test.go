package storage

import (
	"iter"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// crashSeedsVariable says which seeds the crash, damage and model tests run instead of their few dozen: "3000" the first 3,000, "3000-5000" those from 3,000 on below
// 5,000. `make soak` runs thousands.
const crashSeedsVariable = "OTTLA_CRASH_SEEDS"

// crashSeeds yields the seeds from 0 to n-1, or those that the environment asks for.
func crashSeeds(t testing.TB, n int64) iter.Seq[int64] {
	t.Helper()
	first := int64(0)
	if text := os.Getenv(crashSeedsVariable); text != "" {
		from, to, ranged := strings.Cut(text, "-")
		if !ranged {
			from, to = "0", from
		}
		var err, bad error
		first, err = strconv.ParseInt(from, 10, 64)
		if n, bad = strconv.ParseInt(to, 10, 64); err != nil || bad != nil {
			t.Fatalf("%s: %q is neither a number nor two", crashSeedsVariable, text)
		}
	}
	return func(yield func(int64) bool) {
		for seed := first; seed < n; seed++ {
			if !yield(seed) {
				return
			}
		}
	}
}

// eachSeed runs fn for each of crashSeeds, in a test of its own: as many side by side as there are processors, and none depends on another. It returns when all are
// done.
func eachSeed(t *testing.T, n int64, fn func(t *testing.T, seed int64)) {
	t.Helper()
	t.Run("seed", func(t *testing.T) {
		for seed := range crashSeeds(t, n) {
			t.Run(strconv.FormatInt(seed, 10), func(t *testing.T) {
				t.Parallel()
				fn(t, seed)
			})
		}
	})
}

// eachSeedInBubble is eachSeed with the time of testing/synctest.
func eachSeedInBubble(t *testing.T, n int64, fn func(t *testing.T, seed int64)) {
	t.Helper()
	eachSeed(t, n, func(t *testing.T, seed int64) { synctest.Test(t, func(t *testing.T) { fn(t, seed) }) })
}
