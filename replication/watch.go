package replication

import (
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
)

// WatchSet collects the partitions of one reader in which something may have changed since it looked at them, so that a reader of ten thousand
// partitions looks at those only. It is a list to which anybody pushes without a lock, and which its one user takes as a whole.
type WatchSet struct {
	head      atomic.Pointer[Watch]
	signalled atomic.Bool
	wake      chan struct{} // has room for one signal
}

// NewWatchSet returns an empty set.
func NewWatchSet() *WatchSet { return &WatchSet{wake: make(chan struct{}, 1)} }

// The kinds of watches: consumers are told of commits, followers of appends.
const (
	consumerWatch = iota
	followerWatch
)

// Watch is one reader's interest in one partition. It fires once, and is then to be armed again. A change that nobody is woken for (a new high watermark, for a follower) puts it into
// its set without a signal, and leaves it armed.
type Watch struct {
	// Reader is whose it is, for the set's user.
	Reader any

	set     *WatchSet
	kind    int
	clock   *FetchClock // of a follower
	commits atomic.Bool // a follower that is to be woken by commits as well

	queued atomic.Bool
	next   *Watch // in the set; written by who queued it

	p              *Partition // that it is bound to; owned by the set's user
	armed          bool       // these are guarded by p.waiters.mu
	before, behind *Watch     // among the armed ones
}

// NewWatch returns a watch that is bound to nothing yet. clock is that of a follower's session, nil for consumers.
func (s *WatchSet) NewWatch(reader any, clock *FetchClock) *Watch {
	w := &Watch{Reader: reader, set: s, clock: clock}
	if clock != nil {
		w.kind = followerWatch
	}
	return w
}

// Wake yields a signal when a watch has fired.
func (s *WatchSet) Wake() <-chan struct{} { return s.wake }

// Signal wakes the set's user, who finds what there is.
func (s *WatchSet) Signal() {
	select {
	case s.wake <- struct{}{}:
	default: // there is a signal already
	}
}

// Take empties the set. What changes after this call is seen by the next one, so a partition is to be looked at after it was taken.
func (s *WatchSet) Take(yield func(*Watch)) {
	s.signalled.Store(false)
	for w := s.head.Swap(nil); w != nil; {
		next := w.next
		w.next = nil
		w.queued.Store(false)
		yield(w)
		w = next
	}
}

// push puts w into its set; loud also wakes the set's user.
func (w *Watch) push(loud bool) {
	s := w.set
	if !w.queued.Load() && w.queued.CompareAndSwap(false, true) {
		for {
			w.next = s.head.Load()
			if s.head.CompareAndSwap(w.next, w) {
				break
			}
		}
	}
	if loud && s.signalled.CompareAndSwap(false, true) {
		s.Signal()
	}
}

// Arm binds w to a partition, which need not be hosted here, and has it fire at the next change. It is to be called before the partition is looked at.
func (m *Manager) Arm(w *Watch, topic string, partition int32) {
	m.mu.RLock()
	p := m.parts[protocol.TopicPartition{Topic: topic, Partition: partition}]
	m.mu.RUnlock()
	if p == nil {
		w.Unbind()
		return
	}
	if w.p != p {
		w.Unbind()
		w.p = p
	}
	p.waiters.arm(w)
}

// TellCommits has a follower's watch fire at commits too (KIP-1166), or not.
func (w *Watch) TellCommits(on bool) {
	if w.commits.Load() != on {
		w.commits.Store(on)
	}
}

// LogStartMoved reports whether the log start of w's partition is another one than was known, which no watch tells of.
func (w *Watch) LogStartMoved(known int64) bool {
	return w.p == nil || w.p.Log().Offsets().LogStart != known
}

// Unbind takes w from its partition. It may be in its set still.
func (w *Watch) Unbind() {
	if w.p == nil {
		return
	}
	w.p.waiters.disarm(w)
	if w.clock != nil {
		w.p.forgetClock(w.clock)
	}
	w.p = nil
}

func (w *waiters) arm(watch *Watch) {
	w.mu.Lock()
	if !watch.armed {
		watch.armed = true
		watch.behind = w.watches[watch.kind]
		if watch.behind != nil {
			watch.behind.before = watch
		}
		w.watches[watch.kind] = watch
		w.counter(watch.kind == followerWatch).Add(1)
	}
	w.mu.Unlock()
}

func (w *waiters) disarm(watch *Watch) {
	w.mu.Lock()
	if watch.armed {
		if watch.before != nil {
			watch.before.behind = watch.behind
		} else {
			w.watches[watch.kind] = watch.behind
		}
		if watch.behind != nil {
			watch.behind.before = watch.before
		}
		watch.armed, watch.before, watch.behind = false, nil, nil
		w.counter(watch.kind == followerWatch).Add(-1)
	}
	w.mu.Unlock()
}

// fire wakes the readers of all armed watches of a kind. It needs mu.
func (w *waiters) fire(kind int) {
	n := int32(0)
	for watch := w.watches[kind]; watch != nil; n++ {
		behind := watch.behind
		watch.armed, watch.before, watch.behind = false, nil, nil
		watch.push(true)
		watch = behind
	}
	w.watches[kind] = nil
	if n > 0 {
		w.counter(kind == followerWatch).Add(-n)
	}
}

// stir notes for all armed watches that there is something new, which only those are woken for that asked for it. It needs mu.
func (w *waiters) stir() {
	for _, first := range w.watches {
		for watch := first; watch != nil; watch = watch.behind {
			watch.push(watch.kind == followerWatch && watch.commits.Load())
		}
	}
}
