package runtime

import "sync"

// Gathering collects the answers of several shards. Safe for concurrent use.
type Gathering[T any] struct {
	done func([]T)

	mu      sync.Mutex // guards values and missing
	values  []T
	missing int
}

// Gather calls done once n values are set, at once if n is 0.
func Gather[T any](n int, done func([]T)) *Gathering[T] {
	g := &Gathering[T]{done: done, values: make([]T, n), missing: n}
	if n == 0 {
		done(g.values)
	}
	return g
}

// Set is called once for each index.
func (g *Gathering[T]) Set(i int, v T) {
	g.mu.Lock()
	g.values[i] = v
	g.missing--
	last := g.missing == 0
	g.mu.Unlock()
	if last {
		g.done(g.values)
	}
}
