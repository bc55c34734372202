package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// kinds keeps who makes progress, and what went wrong. Its methods may be called from all goroutines.
type kinds struct {
	cancel func() // ends the run at the first failure

	mu      sync.Mutex
	fault   time.Time            // when the last one had passed; guarded by mu
	clients map[string]*progress // by name; guarded by mu
	failed  []error              // guarded by mu
}

// progress is that of one client.
type progress struct {
	last    time.Time
	Records int64
	Stall   time.Duration // the longest time without a record, not counting faults and what came before them
}

func newKinds(cancel func()) *kinds {
	return &kinds{cancel: cancel, clients: map[string]*progress{}}
}

// faultPassed says that clients can make progress again.
func (k *kinds) faultPassed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = time.Now()
}

// begin makes a client known, which is expected to make progress from now on.
func (k *kinds) begin(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.clients[name] == nil {
		k.clients[name] = &progress{last: time.Now()}
	}
}

// mark notes n records of a client.
func (k *kinds) mark(name string, n int) {
	if n == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.clients[name]
	since := p.last
	if k.fault.After(since) {
		since = k.fault
	}
	now := time.Now()
	p.Stall = max(p.Stall, now.Sub(since))
	p.last = now
	p.Records += int64(n)
}

// end counts the time since each client's last record, as the load is over.
func (k *kinds) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, p := range k.clients {
		since := p.last
		if k.fault.After(since) {
			since = k.fault
		}
		p.Stall, p.last = max(p.Stall, now.Sub(since)), now
	}
}

// fail ends the run.
func (k *kinds) fail(err error) {
	k.mu.Lock()
	if len(k.failed) < 20 {
		k.failed = append(k.failed, err)
	}
	k.mu.Unlock()
	k.cancel()
}

// err is what went wrong, stalls longer than limit included.
func (k *kinds) err(limit time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := errors.Join(k.failed...)
	for name, p := range k.clients {
		if p.Stall > limit {
			out = errors.Join(out, fmt.Errorf("%s stood still for %v", name, p.Stall.Round(time.Millisecond)))
		}
		if p.Records == 0 {
			out = errors.Join(out, fmt.Errorf("%s got nothing at all", name))
		}
	}
	return out
}

// all returns a copy.
func (k *kinds) all() map[string]progress {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]progress{}
	for name, p := range k.clients {
		out[name] = *p
	}
	return out
}
