package server

import (
	"cmp"
	"context"
	"slices"
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
// It is fair: a request gets a ticket with its first bytes, and memory is granted in the order of tickets; none overtakes one that waits. A connection reads
// one request after the other, so all advance alike, however fast each is. Small requests have a part of their own, from which they need not wait for
// large ones; those who find it full stand in line, so that many small ones do not keep a large one out.
//
// Steps could leave many half-read requests waiting for each other. So one request at a time, the elder, may go beyond the capacity: the first in line,
// if it holds something or if nothing but small requests is in use. It can always finish, and what it then gives back lets the others go on. Those in
// line who hold nothing are behind all who hold something, so the line never stands still while nobody reads. The budget is exceeded by at most that one,
// and by what was read ahead behind such a one (move): no more than chunkSize for a connection.
//
// mu guards everything below it, and the reservations while they wait.
type budget struct {
	capacity int64

	mu      sync.Mutex
	used    int64
	small   int64 // of used: from the part for small requests
	tickets uint64
	elder   *reservation
	waiting []*budgetWaiter // in the order of their tickets
}

type budgetWaiter struct {
	r       *reservation
	n       int64
	granted chan struct{} // closed, under mu, when n was charged to r
}

// reservation is what one request holds of the budget. It belongs to one goroutine at a time. The zero reservation holds nothing.
type reservation struct {
	held   int64
	small  int64  // of held: from the part for small requests
	ticket uint64 // 0 as long as nothing is held or asked for
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
	b.waiting = slices.Insert(b.waiting, b.place(r), w)
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
	b.waiting = slices.DeleteFunc(b.waiting, func(other *budgetWaiter) bool { return other == w })
	if r.held == 0 {
		r.ticket = 0
	}
	b.serve()
	return ctx.Err()
}

// admit charges n to r if that may be done now. b.mu is held.
func (b *budget) admit(r *reservation, n int64) bool {
	if r.ticket == 0 {
		b.tickets++
		r.ticket = b.tickets
	}
	if r.held == r.small && r.held+n <= smallRequest && b.small+n <= b.capacity/smallShare {
		r.held, r.small = r.held+n, r.small+n
		b.used, b.small = b.used+n, b.small+n
		return true
	}
	if b.elder != r && b.place(r) > 0 {
		return false
	}
	common := b.used - b.small // and what r has of the small ones' part comes to it
	switch {
	case b.elder == r, common+r.small+n <= b.capacity-b.capacity/smallShare:
	case b.elder == nil && (r.held > 0 || common == 0):
		b.elder = r
	default:
		return false
	}
	b.used, b.small = b.used+n, b.small-r.small
	r.held, r.small = r.held+n, 0
	return true
}

// place is where r belongs in the line: before those with later tickets. b.mu is held.
func (b *budget) place(r *reservation) int {
	at, _ := slices.BinarySearchFunc(b.waiting, r.ticket, func(w *budgetWaiter, ticket uint64) int { return cmp.Compare(w.r.ticket, ticket) })
	return at
}

// shrink gives n bytes of r back.
func (b *budget) shrink(r *reservation, n int64) {
	if n <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	small := n - min(n, r.held-r.small)
	r.held, r.small = r.held-n, r.small-small
	b.used, b.small = b.used-n, b.small-small
	if r.held == 0 {
		r.ticket = 0
		if b.elder == r {
			b.elder = nil
		}
	}
	b.serve()
}

// serve grants what can be granted, in the order of the line. b.mu is held.
func (b *budget) serve() {
	waiting := b.waiting
	b.waiting = b.waiting[:0] // those who stay; admit looks whom it would overtake
	for _, w := range waiting {
		if b.admit(w.r, w.n) {
			close(w.granted)
		} else {
			b.waiting = append(b.waiting, w)
		}
	}
	clear(waiting[len(b.waiting):])
}

// move has to hold n bytes that from held, and its place in line.
func (b *budget) move(from, to *reservation, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	small := n - min(n, from.held-from.small)
	from.held, from.small = from.held-n, from.small-small
	to.held, to.small = to.held+n, to.small+small
	if to.ticket == 0 || from.ticket != 0 && from.ticket < to.ticket {
		to.ticket = from.ticket
	}
	if from.held > 0 {
		return
	}
	from.ticket = 0
	if b.elder == from {
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
