package server

import "testing"

// A frame is charged what its buffer takes: up to the largest class that of the next one, above it no more than it needs.
func TestBufferClasses(t *testing.T) {
	var p bufferPool
	for n, want := range map[int]int{0: 1 << 10, 1 << 10: 1 << 10, 1<<10 + 1: 8 << 10, 4<<20 + 1: 8 << 20, 9 << 20: 16 << 20, 16 << 20: 16 << 20, 16<<20 + 1: 16<<20 + 1} {
		b := p.get(n)
		if got := bufferSize(n); got != want || cap(b.b) < got {
			t.Errorf("%d bytes: %d, got one of %d, want %d", n, got, cap(b.b), want)
		}
		p.put(b)
	}
}
