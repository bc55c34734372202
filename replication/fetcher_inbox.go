package replication

import (
	"context"
	"slices"
	"sync"
	"time"
)

// change is what the metadata says of one partition to its fetcher: to fetch it in a leader epoch, or (epoch -1) no more.
type change struct {
	p     *Partition
	epoch int32
}

// inbox is what a fetcher is told from outside, and the way to get at it while it waits for its leader.
type inbox struct {
	wake chan struct{} // has room for one

	mu         sync.Mutex
	changes    []change           // guarded by mu
	redialled  bool               // guarded by mu: the connection is to be given up
	cancel     context.CancelFunc // guarded by mu: ends the request that is under way, nil if none is
	idle       bool               // guarded by mu: that one is not expected to bring anything
	hurry      *time.Timer        // guarded by mu: will end it
	nextHurry  time.Time          // guarded by mu: before that none is ended again
	nextBusy   time.Time          // guarded by mu: before that none is ended of which something is expected
	partitions int                // guarded by mu: partitions of its session
}

// The fetches of an idle fetcher stay with the leader for replica.fetch.wait.max.ms, and Kafka's fetchers take up new partitions only after that. Where those have acks=all to wait for
// that is much: the request is given up, with its connection, if it has not ended within hurryGrace. As the session has to be made anew then, that is not done again before
// hurryInterval has passed, with so much more for each of its partitions that it costs little of the time. After an answer with records more of them may be on the way, which would have
// to be sent again: such a request has longer, busyGrace, and it is seldom given up.
const (
	hurryGrace     = 30 * time.Millisecond
	hurryInterval  = 100 * time.Millisecond
	hurryPartition = 50 * time.Microsecond
	busyGrace      = 100 * time.Millisecond
	busyInterval   = 5 * time.Second
)

// post puts c into the inbox; tell says that it is there.
func (i *inbox) post(c change) {
	i.mu.Lock()
	i.changes = append(i.changes, c)
	i.mu.Unlock()
}

// tell has the owner look into the inbox soon, if there is something in it.
func (i *inbox) tell() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.changes) > 0 {
		i.signal()
		i.hasten()
	}
}

// redial has the owner give up its connection at once.
func (i *inbox) redial() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.redialled = true
	i.signal()
	if i.cancel != nil {
		i.cancel()
	}
}

func (i *inbox) signal() {
	select {
	case i.wake <- struct{}{}:
	default: // it has a signal already
	}
}

// hasten sees to it that the request under way does not hold up partitions that are to be fetched. Caller holds mu.
func (i *inbox) hasten() {
	if i.cancel == nil || i.hurry != nil || !slices.ContainsFunc(i.changes, func(c change) bool { return c.epoch >= 0 }) {
		return
	}
	now := time.Now()
	wait := max(hurryGrace, i.nextHurry.Sub(now))
	if !i.idle {
		wait = max(wait, busyGrace, i.nextBusy.Sub(now))
	}
	cancel, idle := i.cancel, i.idle
	i.hurry = time.AfterFunc(wait, func() { i.giveUp(cancel, idle) })
}

// giveUp ends a request by cancel.
func (i *inbox) giveUp(cancel context.CancelFunc, idle bool) {
	i.mu.Lock()
	now := time.Now()
	i.nextHurry = now.Add(hurryInterval + time.Duration(i.partitions)*hurryPartition)
	if !idle {
		i.nextBusy = now.Add(busyInterval)
	}
	i.mu.Unlock()
	cancel()
}

// asking notes that a request is under way, which cancel ends. idle says that nothing is expected of it, and partitions how many are in the session.
func (i *inbox) asking(cancel context.CancelFunc, idle bool, partitions int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cancel, i.idle, i.partitions = cancel, idle, partitions
	if i.redialled {
		cancel()
	}
	i.hasten()
}

// answered notes that none is any more.
func (i *inbox) answered() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cancel, i.idle = nil, false
	if i.hurry != nil {
		i.hurry.Stop()
		i.hurry = nil
	}
}

// take empties the inbox into changes. redialled says that the connection is to be given up.
func (i *inbox) take(changes []change) (_ []change, redialled bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	changes, redialled = append(changes, i.changes...), i.redialled
	clear(i.changes)
	i.changes, i.redialled = i.changes[:0], false
	return changes, redialled
}

// pending reports whether there is something in it.
func (i *inbox) pending() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.changes) > 0 || i.redialled
}
