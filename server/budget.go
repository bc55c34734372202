package server

import (
	"context"
	"sync"
)

const (
	// smallRequest is the size in bytes up to which a request may use the part of the budget that large ones leave alone.
	smallRequest = 64 << 10
	// smallShare is the part of the budget that is kept for small requests: heartbeats and metadata go on when producers fill the rest.
	smallShare = 8
)

// budget bounds the memory in bytes that requests take from their first byte to their answer: frames and what they decode to. All
// connections of a broker share one. It is charged as memory is taken, in steps, so a claim alone costs nothing.
//
// Steps could leave many half-read requests waiting for each other. So one request at a time, the elder, may go beyond the
// capacity: it can always finish, and what it then gives back lets the others go on. The budget is exceeded by at most that one.
//
// mu guards everything below it.
type budget struct {
	capacity int64

	mu      sync.Mutex
	used    int64
	elder   *reservation
	waiting []*budgetWaiter // in order of arrival
}

type budgetWaiter struct {
	r       *reservation
	n       int64
	granted chan struct{} // closed, under mu, when n was charged to r
}

// reservation is what one request holds of the budget. It belongs to one goroutine at a time. The zero reservation holds nothing.
type reservation struct {
	held int64
}

func newBudget(capacity int64) *budget { return &budget{capacity: max(capacity, smallRequest)} }

// grow charges n bytes more to r, waiting for others to give some back. On ctx's end it charges nothing and returns its error.
func (b *budget) grow(ctx context.Context, r *reservation, n int64) error {
	b.mu.Lock()
	if b.admit(r, n) {
		b.mu.Unlock()
		return nil
	}
	w := &budgetWaiter{r: r, n: n, granted: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.granted:
		return nil // it came at the same moment; the caller gives it back
	default:
	}
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			break
		}
	}
	return ctx.Err()
}

// admit charges n to r if that may be done now. b.mu is held.
func (b *budget) admit(r *reservation, n int64) bool {
	limit := b.capacity
	if r.held+n > smallRequest {
		limit -= b.capacity / smallShare
	}
	switch {
	case b.used == 0, b.used+n <= limit, b.elder == r:
	case b.elder == nil && r.held > 0:
		b.elder = r
	default:
		return false
	}
	r.held += n
	b.used += n
	return true
}

// shrink gives n bytes of r back.
func (b *budget) shrink(r *reservation, n int64) {
	if n <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.held -= n
	b.used -= n
	if r.held == 0 && b.elder == r {
		b.elder = nil
	}
	// Those who hold something go first, as only they keep memory while they wait.
	for _, holding := range []bool{true, false} {
		kept := b.waiting[:0]
		for _, w := range b.waiting {
			if (w.r.held > 0) == holding && b.admit(w.r, w.n) {
				close(w.granted)
				continue
			}
			kept = append(kept, w)
		}
		clear(b.waiting[len(kept):])
		b.waiting = kept
	}
}

// move has to hold n bytes that from held.
func (b *budget) move(from, to *reservation, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from.held -= n
	to.held += n
	if from.held == 0 && b.elder == from {
		b.elder = to
	}
}

// release gives all of r back.
func (b *budget) release(r *reservation) { b.shrink(r, r.held) }

// contended reports whether requests wait for memory.
func (b *budget) contended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) > 0
}
