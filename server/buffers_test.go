package server

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A frame is charged what its buffer takes: up to the largest class that of the next one, above it no more than it needs.
func TestBufferClasses(t *testing.T) {
	var p bufferPool
	for n, want := range map[int]int{0: 1 << 10, 1 << 10: 1 << 10, 1<<10 + 1: 8 << 10, 4<<20 + 1: 8 << 20, 9 << 20: 16 << 20, 16 << 20: 16 << 20, 16<<20 + 1: 16<<20 + 1} {
		b := p.get(n)
		if got := bufferSize(n); got != want || cap(b.b) < got {
			t.Errorf("%d bytes: %d, got one of %d, want %d", n, got, cap(b.b), want)
		}
		p.put(b)
	}
}

// What was needed within bufferAge is kept; the rest is left to the collector, and taken again while that has not come.
func TestLargeBuffersAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p bufferPool
		const size = 1 << 20
		shared := &p.shared[0]
		all := []*buffer{p.get(size), p.get(size), p.get(size)}
		defer runtime.KeepAlive(all) // the collector may come at any time
		for _, b := range all {
			p.put(b)
		}
		free := func(kept, aged int) {
			t.Helper()
			synctest.Wait()
			if len(shared.free) != kept || len(shared.aged) != aged {
				t.Fatalf("%d are kept and %d aged, want %d and %d", len(shared.free), len(shared.aged), kept, aged)
			}
		}
		wait := func(d time.Duration) { <-time.After(d) }
		wait(bufferAge + time.Second)
		free(3, 0) // they were in use since the round began
		first, second := p.get(size), p.get(size)
		p.put(first)
		p.put(second)
		wait(bufferAge)
		free(2, 1)
		taken := []*buffer{p.get(size), p.get(size), p.get(size)}
		free(0, 0)
		seen := map[*buffer]bool{}
		for _, b := range taken {
			seen[b] = true
			p.put(b)
		}
		for _, b := range all {
			if !seen[b] {
				t.Error("a buffer was made anew although one was free")
			}
		}
		wait(3 * bufferAge)
		free(0, 3)
		if shared.aging {
			t.Error("a timer goes on although there is nothing to age")
		}
	})
}
