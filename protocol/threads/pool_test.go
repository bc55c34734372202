package threads

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2)
		for range 2 {
			if err := p.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var order []int
		for i := range 3 {
			go func() {
				if err := p.Acquire(t.Context()); err != nil {
					t.Error(err)
				}
				order = append(order, i)
			}()
			synctest.Wait()
		}
		if p.Waiting() != 3 || p.Waited() != 3 || len(order) != 0 {
			t.Fatalf("%d wait, %d have, %v", p.Waiting(), p.Waited(), order)
		}
		for i := range 3 {
			p.Release(time.Second)
			synctest.Wait()
			if len(order) != i+1 || order[i] != i {
				t.Fatalf("after %d: %v", i, order)
			}
		}
		if p.Waiting() != 0 || p.Busy() != 3*time.Second {
			t.Errorf("%d wait, %v", p.Waiting(), p.Busy())
		}
	})
}

// A waiter that gives up takes no thread with it.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		if err := p.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		p.Release(0)
		for range 3 {
			if err := p.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.Release(0)
		}
		if p.free.Load() != 1 || len(p.queue) != 0 || p.spare != 0 || p.Waiting() != 0 {
			t.Errorf("%d free, %d queued, %d spare, %d wait", p.free.Load(), len(p.queue), p.spare, p.Waiting())
		}
	})
}

func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4)
		for range 4 {
			if err := p.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p.Resize(2)
		var got atomic.Int64
		for range 4 {
			go func() {
				if p.Acquire(t.Context()) == nil {
					got.Add(1)
				}
			}()
			synctest.Wait()
		}
		for i, want := range []int64{0, 0, 1, 2} {
			p.Release(0)
			synctest.Wait()
			if got.Load() != want {
				t.Fatalf("after %d were given back %d had one, want %d", i+1, got.Load(), want)
			}
		}
		p.Resize(4)
		synctest.Wait()
		if got.Load() != 4 || p.Size() != 4 {
			t.Errorf("%d have one of %d", got.Load(), p.Size())
		}
		p.Resize(0)
		if p.Size() != 1 {
			t.Errorf("%d threads", p.Size())
		}
	})
}

func TestAwaitRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		if err := errors.Join(p.Acquire(t.Context()), p.AwaitRoom(t.Context(), 1)); err != nil {
			t.Fatal(err)
		}
		go func() { _ = p.Acquire(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.AwaitRoom(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		through := false
		go func() { through = p.AwaitRoom(t.Context(), 1) == nil }()
		synctest.Wait()
		if through {
			t.Fatal("there was no room")
		}
		p.Release(0)
		synctest.Wait()
		if !through {
			t.Error("nobody said that there is room")
		}
	})
}

// TestNeverMoreThanThereAre has many goroutines come, wait, give up and go, while the size changes.
func TestNeverMoreThanThereAre(t *testing.T) {
	p := New(3)
	var working, most atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(50))*time.Microsecond)
				if p.Acquire(ctx) == nil {
					now := working.Add(1)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
					working.Add(-1)
					p.Release(time.Microsecond)
				}
				cancel()
			}
		})
	}
	all.Go(func() {
		for i := range 200 {
			p.Resize(1 + i%5)
		}
	})
	all.Wait()
	if most.Load() > 5 {
		t.Errorf("%d worked at once", most.Load())
	}
	p.Resize(3)
	for range 3 {
		if err := p.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if p.free.Load() != 0 || p.Waiting() != 0 || len(p.queue) != 0 {
		t.Errorf("%d free, %d wait, %d queued", p.free.Load(), p.Waiting(), len(p.queue))
	}
}

func BenchmarkFree(b *testing.B) {
	p := New(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = p.Acquire(b.Context())
			p.Release(0)
		}
	})
}
