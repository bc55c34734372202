package controller

import "sync"

// mailbox is a queue without a bound, so that who puts never waits. One goroutine takes.
type mailbox[T any] struct {
	mu    sync.Mutex // guards items
	items []T
	wake  chan struct{} // buffered 1: items is not empty
}

func newMailbox[T any]() *mailbox[T] {
	return &mailbox[T]{wake: make(chan struct{}, 1)}
}

func (m *mailbox[T]) put(item T) {
	m.mu.Lock()
	m.items = append(m.items, item)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.items
	m.items = nil
	return items
}
