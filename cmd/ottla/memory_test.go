package main

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/server"
)

func TestMemoryLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	want := int64(math.MaxInt64)
	if machine := server.MachineMemory(); machine > 0 {
		want = machine / 4 * 3
	}
	t.Setenv("GOMEMLIMIT", "")
	limitMemory()
	if got := debug.SetMemoryLimit(-1); got != want {
		t.Errorf("the limit is %d, want %d", got, want)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(1 << 30)
	limitMemory()
	if got := debug.SetMemoryLimit(-1); got != 1<<30 {
		t.Errorf("the user's limit became %d", got)
	}
}

func TestLongStartIsThrifty(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(usualPercent))
	percent := func() int {
		now := debug.SetGCPercent(usualPercent)
		debug.SetGCPercent(now)
		return now
	}
	for gogc, during := range map[string]int{"": startPercent, "70": usualPercent} {
		t.Setenv("GOGC", gogc)
		synctest.Test(t, func(t *testing.T) {
			done := startThriftily()
			if got := percent(); got != usualPercent {
				t.Errorf("GOGC=%s: a start begins with %d %%", gogc, got)
			}
			<-time.After(longStart + time.Millisecond)
			if got := percent(); got != during {
				t.Errorf("GOGC=%s: a long start has %d %%, want %d", gogc, got, during)
			}
			done()
			if got := percent(); got != usualPercent {
				t.Errorf("GOGC=%s: a long start ends with %d %%", gogc, got)
			}
			startThriftily()() // a short one
			<-time.After(2 * longStart)
			if got := percent(); got != usualPercent {
				t.Errorf("GOGC=%s: after a short start it is %d %%", gogc, got)
			}
		})
	}
}

// Memory is given back in quiet moments, once for what was allocated and once more for what caches let go, and takes little time in all.
func TestMemoryIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allocated, live uint64
		took, freed := time.Duration(0), 0
		r := memoryReturn{
			read: func() (uint64, uint64) { return allocated, live },
			free: func() { <-time.After(took); freed++ },
		}
		pass := func(seconds, each, want int) {
			t.Helper()
			before := freed
			for range seconds {
				<-time.After(quietTime)
				allocated += uint64(each)
				r.look()
			}
			if got := freed - before; got != want {
				t.Fatalf("memory was given back %d times in %d s, want %d", got, seconds, want)
			}
		}
		pass(100, quietBytes, 0) // never quiet
		pass(1, 0, 1)
		pass(29, 0, 0)
		pass(1, 0, 1) // for the caches
		pass(100, 0, 0)
		pass(1, returnBytes-1, 0)
		pass(100, 0, 0) // too little
		live = 100 * returnBytes
		pass(5, 4*returnBytes, 0)
		pass(100, 0, 0) // too little, as so much is live
		pass(1, 10*returnBytes, 0)
		took = time.Second
		pass(1, 0, 1)
		pass(1, 100*returnBytes, 0)
		pass(returnShare-10, 0, 0) // it took long
		pass(10, 0, 1)
	})
}
