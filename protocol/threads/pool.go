package threads

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Pool lets as many goroutines work at once as it has threads; others wait in order. All of its methods may be called at any time by anybody.
type Pool struct {
	free    atomic.Int64 // threads, less those who work and those who wait
	size    atomic.Int64
	waiting atomic.Int64
	waited  atomic.Int64 // since the start
	busy    atomic.Int64 // ns of work that is done, as who works says

	mu     sync.Mutex // guards what follows
	queue  []*waiter  // in order
	spare  int        // threads that were given back to somebody who is about to queue
	room   []chan struct{}
	within int // room is closed when fewer than this wait
}

// waiter is one that waits for a thread.
type waiter struct {
	ready chan struct{} // closed when it has one; nil: the thread is to go
	left  bool          // it gave up: the thread goes on to the next
}

// New returns a pool of n threads, at least one.
func New(n int) *Pool {
	p := new(Pool)
	p.size.Store(int64(max(1, n)))
	p.free.Store(p.size.Load())
	return p
}

// Acquire takes a thread, and waits for one until ctx ends, whose error it returns then. Release gives it back.
func (p *Pool) Acquire(ctx context.Context) error {
	if p.free.Add(-1) >= 0 {
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	if p.enqueue(w) {
		return nil
	}
	p.waited.Add(1)
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.ready: // meanwhile
		return nil
	default:
		w.left = true
		return ctx.Err()
	}
}

// TryAcquire takes a thread if one is free and nobody waits for it.
func (p *Pool) TryAcquire() bool {
	for n := p.free.Load(); n > 0; n = p.free.Load() {
		if p.free.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// enqueue queues w, unless there is a thread for it already.
func (p *Pool) enqueue(w *waiter) (served bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spare > 0 {
		p.spare--
		return true
	}
	p.queue = append(p.queue, w)
	if w.ready != nil {
		p.waiting.Add(1)
	}
	return false
}

// Release gives a thread back. took is how long it worked, for Busy.
func (p *Pool) Release(took time.Duration) {
	p.busy.Add(int64(took))
	p.give()
}

// give adds a thread, or hands it to who waits first.
func (p *Pool) give() {
	for p.free.Add(1) <= 0 {
		if p.handOver() {
			return
		}
	}
}

// handOver gives a thread to the first in the queue; false if that one has left.
func (p *Pool) handOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.spare++
		return true
	}
	w := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	if w.ready == nil {
		return true
	}
	if p.waiting.Add(-1) < int64(p.within) {
		for _, c := range p.room {
			close(c)
		}
		p.room = nil
	}
	if w.left {
		return false
	}
	close(w.ready)
	return true
}

// Resize changes the number of threads to n, at least one. Where they become fewer, who works goes on.
func (p *Pool) Resize(n int) {
	size := int64(max(1, n))
	for more := size - p.size.Swap(size); more != 0; {
		if more > 0 {
			p.give()
			more--
			continue
		}
		if p.free.Add(-1) < 0 {
			p.enqueue(&waiter{}) // it comes when one is given back
		}
		more++
	}
}

// Size is the number of threads.
func (p *Pool) Size() int { return int(p.size.Load()) }

// Waiting is how many wait now; Waited how many had to wait since the start.
func (p *Pool) Waiting() int { return int(p.waiting.Load()) }

// Waited is how many had to wait since the start.
func (p *Pool) Waited() int64 { return p.waited.Load() }

// Busy is how long the threads have worked together, as Release was told.
func (p *Pool) Busy() time.Duration { return time.Duration(p.busy.Load()) }

// AwaitRoom waits until fewer than most wait for a thread, or ctx ends, whose error it returns then. most is the same in every call.
func (p *Pool) AwaitRoom(ctx context.Context, most int) error {
	for p.waiting.Load() >= int64(most) {
		p.mu.Lock()
		if p.waiting.Load() < int64(most) {
			p.mu.Unlock()
			return nil
		}
		c := make(chan struct{})
		p.room, p.within = append(p.room, c), most
		p.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
