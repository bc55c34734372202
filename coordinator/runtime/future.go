package runtime

import (
	"context"
	"sync"
)

// Future is one answer that comes later. The first Complete fills it; it never changes again. Safe for concurrent use.
type Future[T any] struct {
	once  sync.Once
	done  chan struct{}
	value T // written before done is closed
}

// NewFuture returns an empty Future.
func NewFuture[T any]() *Future[T] { return &Future[T]{done: make(chan struct{})} }

// Done returns a Future that holds v already.
func Done[T any](v T) *Future[T] {
	f := NewFuture[T]()
	f.Complete(v)
	return f
}

// Complete fills the future. Only the first call counts.
func (f *Future[T]) Complete(v T) {
	f.once.Do(func() {
		f.value = v
		close(f.done)
	})
}

// Completed reports whether the future is filled.
func (f *Future[T]) Completed() bool {
	_, ok := f.Value()
	return ok
}

// Value returns the value if it is there.
func (f *Future[T]) Value() (value T, ok bool) {
	select {
	case <-f.done:
		return f.value, true
	default:
		return value, false
	}
}

// Wait returns the value once it is there, or ctx's error.
func (f *Future[T]) Wait(ctx context.Context) (T, error) {
	if value, ok := f.Value(); ok {
		return value, nil
	}
	select {
	case <-f.done:
		return f.value, nil
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
