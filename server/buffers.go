package server

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// bufferClasses are the capacities of pooled buffers in bytes. Larger ones are made for one use and left to the collector. Clients with many partitions send requests of the
// largest classes one after the other.
var bufferClasses = [...]int{1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20}

const (
	// sharedClass is the first class whose free buffers are in one list. sync.Pool keeps one for each processor that the others cannot take, which is much memory with these.
	sharedClass = 4
	// bufferAge is how long a shared buffer is kept from the collector while nobody needs it: at least so long, at most twice.
	bufferAge = 10 * time.Second
)

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
	classes [sharedClass]sync.Pool
	shared  [len(bufferClasses) - sharedClass]sharedBuffers
}

// sharedBuffers are the free buffers of one class. mu guards what follows it.
type sharedBuffers struct {
	mu    sync.Mutex
	free  []*buffer
	least int                    // how many of free nobody has needed since the last call of age
	aged  []weak.Pointer[buffer] // free, too, until the collector takes them
	aging bool                   // a timer will call age
}

// get returns nil if there is none.
func (s *sharedBuffers) get() *buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free) - 1; n >= 0 {
		b := s.free[n]
		s.free[n] = nil
		s.free, s.least = s.free[:n], min(s.least, n)
		return b
	}
	for n := len(s.aged) - 1; n >= 0; n-- {
		b := s.aged[n].Value()
		s.aged = s.aged[:n]
		if b != nil {
			return b
		}
	}
	return nil
}

func (s *sharedBuffers) put(b *buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, b)
	if !s.aging {
		s.aging = true
		time.AfterFunc(bufferAge, s.age)
	}
}

// age lets the collector have the buffers that nobody has needed since the last call.
func (s *sharedBuffers) age() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aged = slices.DeleteFunc(s.aged, func(w weak.Pointer[buffer]) bool { return w.Value() == nil })
	for _, b := range s.free[:s.least] {
		s.aged = append(s.aged, weak.Make(b))
	}
	s.free = slices.Delete(s.free, 0, s.least)
	s.least = len(s.free)
	if s.aging = s.least > 0; s.aging {
		time.AfterFunc(bufferAge, s.age)
	}
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
		if b := p.take(i); b != nil {
			return b
		}
		return &buffer{b: make([]byte, 0, size)}
	}
	return &buffer{b: make([]byte, 0, n)}
}

// take returns a free buffer of a class, nil if there is none.
func (p *bufferPool) take(class int) *buffer {
	if class >= sharedClass {
		return p.shared[class-sharedClass].get()
	}
	b, _ := p.classes[class].Get().(*buffer)
	return b
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
			if i >= sharedClass {
				p.shared[i-sharedClass].put(b)
			} else {
				p.classes[i].Put(b)
			}
			return
		}
	}
}
