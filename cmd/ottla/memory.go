package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/ottla/ottla/server"
)

const (
	// A start that takes longer than longStart has many logs to open: until it is done the collector lets the heap grow by startPercent only, not by
	// usualPercent, which would be kept for a while.
	longStart    = 200 * time.Millisecond
	startPercent = 50
	usualPercent = 100

	// The process is quiet when less than quietBytes were allocated in quietTime.
	quietTime  = time.Second
	quietBytes = 256 << 10
	// Memory is given back when so much, and a returnPart of the live heap, was allocated since the last time: no more can be to gain.
	returnBytes = 4 << 20
	returnPart  = 4
	// returnAgain is how much later it is given back once more: that is what caches have let go meanwhile.
	returnAgain = 30 * time.Second
	// returnShare is the inverse of the share of time that giving back takes at most.
	returnShare = 200
)

// limitMemory sets the collector's limit to three quarters of the memory of the machine or the control group: the rest is the page cache's and the
// system's. The user's own GOMEMLIMIT wins.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if n := server.MachineMemory(); n > 0 {
		debug.SetMemoryLimit(n / 4 * 3)
	}
}

// startThriftily has the collector run more often in a long start, until done is called, once. The user's own GOGC wins.
func startThriftily() (done func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	thrifty := make(chan struct{})
	t := time.AfterFunc(longStart, func() {
		debug.SetGCPercent(startPercent)
		close(thrifty)
	})
	return func() {
		if !t.Stop() {
			<-thrifty
			debug.SetGCPercent(usualPercent)
		}
	}
}

// returnMemory gives memory back to the system when the process has become quiet, until ctx ends: the runtime itself keeps what it has had to take, but for
// what is more than the collector's next goal. The user's own GOGC wins.
func returnMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	look := time.NewTicker(quietTime)
	defer look.Stop()
	r := memoryReturn{read: readHeap, free: debug.FreeOSMemory}
	for {
		select {
		case <-look.C:
			r.look()
		case <-ctx.Done():
			return
		}
	}
}

// readHeap tells how many bytes were allocated since the start, and how many were live when the collector last ran.
func readHeap() (allocated, live uint64) {
	s := [...]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s[:])
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// memoryReturn decides when memory is given back. One goroutine has it.
type memoryReturn struct {
	read func() (allocated, live uint64)
	free func()

	seen  uint64    // allocated, at the last look
	freed uint64    // allocated, when memory was last given back
	next  time.Time // not before; zero: at any time
	again time.Time // once more; zero: not
}

// look is called every quietTime.
func (r *memoryReturn) look() {
	now := time.Now()
	allocated, live := r.read()
	quiet := allocated-r.seen < quietBytes
	r.seen = allocated
	if !quiet || now.Before(r.next) {
		return
	}
	due := allocated-r.freed >= max(returnBytes, live/returnPart)
	if !due && (r.again.IsZero() || now.Before(r.again)) {
		return
	}
	r.free()
	r.next, r.freed, r.again = now.Add(returnShare*time.Since(now)), allocated, time.Time{}
	if due {
		r.again = now.Add(returnAgain)
	}
}
