package replication

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
)

// waiters is who waits on one partition: producers for a commit, parked fetches for data, coordinators for every move of
// the high watermark. Waking never blocks: each waiter has room for the one signal it needs.
type waiters struct {
	// waiting is how many commits and fetches there are, so that an append with nobody waiting takes no lock.
	waiting atomic.Int32

	mu        sync.Mutex
	commits   []*commitWaiter              // guarded by mu
	fetches   map[*fetchWaiter]struct{}    // guarded by mu
	listeners []*func(highWatermark int64) // guarded by mu; copied on change, so that calls need no lock
}

// commitWaiter is one append that waits for its last offset to be committed; done holds one answer.
type commitWaiter struct {
	offset int64
	done   chan error
}

// fetchWaiter is one parked fetch, registered with every partition it reads; wake holds one signal.
type fetchWaiter struct {
	wake chan struct{}
}

func newFetchWaiter() *fetchWaiter { return &fetchWaiter{wake: make(chan struct{}, 1)} }

func (f *fetchWaiter) signal() {
	select {
	case f.wake <- struct{}{}:
	default: // it has a signal already
	}
}

func (w *waiters) awaitCommit(offset int64) *commitWaiter {
	c := &commitWaiter{offset: offset, done: make(chan error, 1)}
	w.mu.Lock()
	w.commits = append(w.commits, c)
	w.waiting.Add(1)
	w.mu.Unlock()
	return c
}

// forget drops a commit waiter whose owner stopped waiting.
func (w *waiters) forget(c *commitWaiter) {
	w.mu.Lock()
	if i := slices.Index(w.commits, c); i >= 0 {
		w.commits = slices.Delete(w.commits, i, i+1)
		w.waiting.Add(-1)
	}
	w.mu.Unlock()
}

func (w *waiters) park(f *fetchWaiter) {
	w.mu.Lock()
	if w.fetches == nil {
		w.fetches = make(map[*fetchWaiter]struct{})
	}
	w.fetches[f] = struct{}{}
	w.waiting.Add(1)
	w.mu.Unlock()
}

func (w *waiters) unpark(f *fetchWaiter) {
	w.mu.Lock()
	if _, ok := w.fetches[f]; ok {
		delete(w.fetches, f)
		w.waiting.Add(-1)
	}
	w.mu.Unlock()
}

func (w *waiters) listen(fn func(int64)) (cancel func()) {
	entry := &fn
	w.mu.Lock()
	w.listeners = append(slices.Clip(w.listeners), entry)
	w.waiting.Add(1)
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.listeners = slices.DeleteFunc(slices.Clone(w.listeners), func(e *func(int64)) bool { return e == entry })
		w.waiting.Add(-1)
	})
}

// committed wakes whoever the new high watermark satisfies.
func (w *waiters) committed(highWatermark int64) {
	// A waiter registers before it looks at the high watermark a second time, and the high watermark moved before this
	// look at the counter: one of the two sees the other.
	if w.waiting.Load() == 0 {
		return
	}
	w.mu.Lock()
	w.commits = slices.DeleteFunc(w.commits, func(c *commitWaiter) bool {
		if c.offset >= highWatermark {
			return false
		}
		c.done <- nil
		w.waiting.Add(-1)
		return true
	})
	for f := range w.fetches {
		f.signal()
	}
	listeners := w.listeners
	w.mu.Unlock()
	for _, fn := range listeners {
		(*fn)(highWatermark)
	}
}

// failAll answers every waiter: leadership ended. Fetches look again and find out themselves.
func (w *waiters) failAll(code protocol.Code) {
	w.mu.Lock()
	for _, c := range w.commits {
		c.done <- code
	}
	w.waiting.Add(-int32(len(w.commits)))
	w.commits = nil
	for f := range w.fetches {
		f.signal()
	}
	listeners := w.listeners
	w.mu.Unlock()
	for _, fn := range listeners {
		(*fn)(-1)
	}
}
