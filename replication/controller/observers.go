package controller

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ottla/ottla/protocol"
)

// observerTimeout is how long after its last fetch an observer is still told of (LeaderState.OBSERVER_SESSION_TIMEOUT_MS).
const observerTimeout = 5 * time.Minute

// ObserverState is a replica of the metadata log that follows this controller by Fetch, as DescribeQuorum shows it.
type ObserverState struct {
	ID           int32
	DirectoryID  protocol.UUID // zero: it did not say
	LogEndOffset int64
	LastFetch    time.Time
	LastCaughtUp time.Time // zero: never
}

// observers knows who follows this controller. Safe for concurrent use.
type observers struct {
	mu   sync.Mutex // guards seen
	seen map[observerKey]*observerProgress
}

type observerKey struct {
	id        int32
	directory protocol.UUID
}

// observerProgress is what the last fetch told.
type observerProgress struct {
	ObserverState
	endOffset int64 // of this node's log at the last fetch
}

// Observed notes that a replica fetched the metadata log from logEnd on, when this node's log ended at end.
func (c *Controller) Observed(id int32, directory protocol.UUID, logEnd, end int64) {
	c.observers.note(observerKey{id, directory}, logEnd, end, time.Now())
}

// Observers returns who fetched the metadata log from this controller of late, by id, voters among them if they did.
func (c *Controller) Observers() []ObserverState { return c.observers.list(time.Now()) }

func (o *observers) note(key observerKey, logEnd, end int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.seen[key]
	if p == nil {
		if o.seen == nil {
			o.seen = map[observerKey]*observerProgress{}
		}
		o.expire(now)
		p = &observerProgress{ObserverState: ObserverState{ID: key.id, DirectoryID: key.directory}}
		o.seen[key] = p
	}
	switch {
	case logEnd >= end:
		p.LastCaughtUp = now
	case p.endOffset > 0 && logEnd >= p.endOffset: // it had everything when it asked last
		p.LastCaughtUp = p.LastFetch
	}
	p.LogEndOffset, p.LastFetch, p.endOffset = logEnd, now, end
}

// expire forgets who has not fetched for long. The caller holds mu.
func (o *observers) expire(now time.Time) {
	for key, p := range o.seen {
		if now.Sub(p.LastFetch) >= observerTimeout {
			delete(o.seen, key)
		}
	}
}

func (o *observers) list(now time.Time) []ObserverState {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	all := make([]ObserverState, 0, len(o.seen))
	for _, p := range o.seen {
		all = append(all, p.ObserverState)
	}
	slices.SortFunc(all, func(a, b ObserverState) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), slices.Compare(a.DirectoryID[:], b.DirectoryID[:]))
	})
	return all
}
