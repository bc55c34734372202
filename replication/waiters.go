package replication

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
)

// waiters is who waits on one partition: producers for a commit, fetches for data, coordinators for every move of the high watermark, DeleteRecords for the
// followers. Waking never blocks: each waiter has room for the one signal it needs.
type waiters struct {
	// These count who waits, so that an append with nobody waiting takes no lock.
	waiting   atomic.Int32 // for a commit: commits, listeners, parked fetches and watches of consumers
	followers atomic.Int32 // for an append: parked fetches and watches of followers
	lowMarks  atomic.Int32 // for the low watermark

	mu        sync.Mutex
	commits   []*commitWaiter              // guarded by mu
	fetches   map[*fetchWaiter]struct{}    // guarded by mu
	watches   [2]*Watch                    // guarded by mu: the armed ones of consumers and of followers, linked
	listeners []*func(highWatermark int64) // guarded by mu; copied on change, so that calls need no lock
	lows      []*lowWaiter                 // guarded by mu
}

// commitWaiter is one append that waits for its last offset to be committed; done holds one answer.
type commitWaiter struct {
	offset int64
	done   chan error
}

// lowWaiter waits for the low watermark; done has room for one signal to look again.
type lowWaiter struct{ done chan struct{} }

// fetchWaiter is one parked fetch, registered with every partition it reads; wake holds one signal.
type fetchWaiter struct {
	wake     chan struct{}
	follower bool // waits for appends
	commits  bool // a follower's that waits for commits as well (KIP-1166)
}

func newFetchWaiter(follower bool) *fetchWaiter {
	return &fetchWaiter{wake: make(chan struct{}, 1), follower: follower}
}

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

// counter is where fetches of a kind are counted.
func (w *waiters) counter(follower bool) *atomic.Int32 {
	if follower {
		return &w.followers
	}
	return &w.waiting
}

func (w *waiters) park(f *fetchWaiter) {
	w.mu.Lock()
	if w.fetches == nil {
		w.fetches = make(map[*fetchWaiter]struct{})
	}
	if _, parked := w.fetches[f]; !parked {
		w.fetches[f] = struct{}{}
		w.counter(f.follower).Add(1)
	}
	w.mu.Unlock()
}

func (w *waiters) unpark(f *fetchWaiter) {
	w.mu.Lock()
	if _, ok := w.fetches[f]; ok {
		delete(w.fetches, f)
		w.counter(f.follower).Add(-1)
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

// appended wakes the followers: there is more for them than is committed.
func (w *waiters) appended() {
	// Who waits registers before it looks at the log a second time, and the log has grown before this look at the counter: one of the two sees the other.
	if w.followers.Load() == 0 {
		return
	}
	w.mu.Lock()
	for f := range w.fetches {
		if f.follower {
			f.signal()
		}
	}
	w.fire(followerWatch)
	w.mu.Unlock()
}

// committed wakes whoever the new high watermark satisfies. Followers get to know it with what they fetch next, unless they ask for more.
func (w *waiters) committed(highWatermark int64) {
	if w.followers.Load() != 0 {
		w.mu.Lock()
		for f := range w.fetches {
			if f.commits {
				f.signal()
			}
		}
		w.stir()
		w.mu.Unlock()
	}
	if w.waiting.Load() == 0 { // as in appended
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
		if !f.follower {
			f.signal()
		}
	}
	w.fire(consumerWatch)
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
	listeners := w.listeners
	w.mu.Unlock()
	w.roleChanged()
	for _, fn := range listeners {
		(*fn)(-1)
	}
}

// roleChanged has every fetch look again: it may fail by now.
func (w *waiters) roleChanged() {
	w.mu.Lock()
	for f := range w.fetches {
		f.signal()
	}
	w.fire(consumerWatch)
	w.fire(followerWatch)
	w.wakeLows()
	w.mu.Unlock()
}

// lookAgain has fetches take a change into account that is nothing to wake them for.
func (w *waiters) lookAgain() {
	w.mu.Lock()
	w.stir()
	w.wakeLows()
	w.mu.Unlock()
}

// awaitLow registers somebody who looks at the low watermark at each signal.
func (w *waiters) awaitLow() *lowWaiter {
	l := &lowWaiter{done: make(chan struct{}, 1)}
	w.mu.Lock()
	w.lows = append(w.lows, l)
	w.lowMarks.Add(1)
	w.mu.Unlock()
	return l
}

func (w *waiters) forgetLow(l *lowWaiter) {
	w.mu.Lock()
	w.lows = slices.DeleteFunc(w.lows, func(other *lowWaiter) bool { return other == l })
	w.lowMarks.Add(-1)
	w.mu.Unlock()
}

// lowWatermarkMoved wakes those who wait for the followers' log starts.
func (w *waiters) lowWatermarkMoved() {
	if w.lowMarks.Load() == 0 {
		return
	}
	w.mu.Lock()
	w.wakeLows()
	w.mu.Unlock()
}

// wakeLows needs mu.
func (w *waiters) wakeLows() {
	for _, l := range w.lows {
		select {
		case l.done <- struct{}{}:
		default: // it has a signal already
		}
	}
}
