package storage

import (
	"context"
	"math"
	"sync"
	"time"
)

// throttleStep is how far ahead of its rate the cleaner may get before it waits: many short waits would cost more than they bring.
const throttleStep = 50 * time.Millisecond

// ioThrottle limits the bytes per second that all cleaner threads read and write together (log.cleaner.io.max.bytes.per.second).
type ioThrottle struct {
	mu   sync.Mutex // guards the rest
	rate float64    // bytes per second
	next time.Time  // when all that was let through is paid for
}

func (t *ioThrottle) setRate(bytesPerSecond float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate, t.next = max(bytesPerSecond, 1), time.Time{}
}

// wait takes n bytes, and waits if they come too early, or until ctx ends: then it returns ctx's error.
func (t *ioThrottle) wait(ctx context.Context, n int) error {
	ahead := t.take(n)
	if ahead < throttleStep {
		return ctx.Err()
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err()
}

func (t *ioThrottle) take(n int) (ahead time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cost := float64(n) / t.rate * float64(time.Second)
	if cost < 1 && t.rate > 1e12 { // no limit that a disk could feel
		return 0
	}
	now := time.Now()
	if t.next.Before(now) {
		t.next = now
	}
	t.next = t.next.Add(time.Duration(min(cost, math.MaxInt64/4)))
	return t.next.Sub(now)
}
