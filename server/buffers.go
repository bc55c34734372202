package server

import (
	"sync"
	"sync/atomic"
)

// bufferClasses are the capacities of pooled buffers in bytes. Larger ones are made for one use and left to the collector. Clients with many partitions send requests of the
// largest classes one after the other.
var bufferClasses = [...]int{1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20}

// buffer is a pooled byte slice; b may be resliced and reallocated freely, while only one holds it.
type buffer struct {
	b      []byte
	shares atomic.Int32 // how many hold it besides the first
}

// share lets one more hold b: put has to be called once more.
func (b *buffer) share() *buffer {
	b.shares.Add(1)
	return b
}

// bufferPool holds the frame and answer buffers of one broker by size class. Safe for concurrent use.
type bufferPool struct {
	classes [len(bufferClasses)]sync.Pool
}

// bufferSize is the least capacity of what get(n) returns.
func bufferSize(n int) int {
	for _, size := range bufferClasses {
		if n <= size {
			return size
		}
	}
	return n
}

// get returns an empty buffer with a capacity of at least n bytes.
func (p *bufferPool) get(n int) *buffer {
	for i, size := range bufferClasses {
		if n > size {
			continue
		}
		if b, ok := p.classes[i].Get().(*buffer); ok {
			return b
		}
		return &buffer{b: make([]byte, 0, size)}
	}
	return &buffer{b: make([]byte, 0, n)}
}

// put takes b back, once all who hold it have called it; the caller forgets it.
func (p *bufferPool) put(b *buffer) {
	if b.shares.Add(-1) >= 0 {
		return
	}
	b.shares.Store(0)
	c := cap(b.b)
	if c > bufferClasses[len(bufferClasses)-1] {
		return
	}
	for i := len(bufferClasses) - 1; i >= 0; i-- {
		if c >= bufferClasses[i] {
			b.b = b.b[:0]
			p.classes[i].Put(b)
			return
		}
	}
}
