package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestBudgetKeepsRoomForSmallRequests(t *testing.T) {
	b := newBudget(8 << 20)
	var large, second, small reservation
	if !b.admit(&large, 7<<20) {
		t.Fatal("a request within the budget waits")
	}
	if b.admit(&second, smallRequest+1) {
		t.Error("a large request took the part that is for small ones")
	}
	if !b.admit(&small, smallRequest) {
		t.Error("a small request waits behind large ones")
	}
}

func TestBudgetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(8 << 20)
		var first, second reservation
		b.admit(&first, 7<<20)
		granted := make(chan error, 1)
		go func() { granted <- b.grow(t.Context(), &second, 2<<20) }()
		synctest.Wait()
		if !b.contended() || len(granted) > 0 {
			t.Fatal("it does not wait")
		}
		b.release(&first)
		if err := <-granted; err != nil || b.used != 2<<20 || b.contended() {
			t.Errorf("used %d, %v", b.used, err)
		}
	})
}

func TestBudgetGivesUpWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(8 << 20)
		var first, second reservation
		b.admit(&first, 7<<20)
		ctx, cancel := context.WithCancel(t.Context())
		granted := make(chan error, 1)
		go func() { granted <- b.grow(ctx, &second, 2<<20) }()
		synctest.Wait()
		cancel()
		if err := <-granted; !errors.Is(err, context.Canceled) || second.held != 0 || b.contended() {
			t.Errorf("held %d, %v", second.held, err)
		}
		b.release(&first)
		if b.used != 0 {
			t.Errorf("used %d", b.used)
		}
	})
}

// TestBudgetLetsOneGoBeyond fills the budget with half-read requests: they finish one after the other.
func TestBudgetLetsOneGoBeyond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(8 << 20)
		half := make([]reservation, 7)
		for i := range half {
			if !b.admit(&half[i], 1<<20) {
				t.Fatal("no room")
			}
		}
		finished := make(chan int, len(half))
		for i := range half {
			go func() {
				if err := b.grow(t.Context(), &half[i], 4<<20); err != nil {
					t.Error(err)
				}
				b.release(&half[i])
				finished <- i
			}()
		}
		for range half {
			<-finished
		}
		if b.used != 0 || b.elder != nil {
			t.Errorf("used %d", b.used)
		}
	})
}

func TestBudgetAdmitsWhatIsLargerThanItself(t *testing.T) {
	b := newBudget(1 << 20)
	var r reservation
	if !b.admit(&r, 100<<20) {
		t.Error("a request larger than the budget waits for ever")
	}
}

// TestBudgetIsExceededByOne: what was let in because it was alone counts as the one that may go beyond, so nobody follows it there.
func TestBudgetIsExceededByOne(t *testing.T) {
	b := newBudget(8 << 20)
	var heartbeat, alone, other reservation
	if !b.admit(&heartbeat, 1<<10) || !b.admit(&alone, 8<<20) {
		t.Fatal("there is no room beside a small request")
	}
	if b.admit(&heartbeat, 8<<20) {
		t.Fatalf("a second one goes beyond: %d bytes are used", b.used)
	}
	b.release(&alone)
	if !b.admit(&heartbeat, 8<<20) {
		t.Error("the next may not go beyond after the first gave back")
	}
	b.release(&heartbeat)
	if !b.admit(&other, 7<<20) || b.elder != nil {
		t.Error("one that finds room counts as going beyond")
	}
}

// TestBudgetIsFair: who asked first is served first, whatever the size, and one that comes back stands behind those who wait.
func TestBudgetIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(8 << 20)
		var first reservation
		b.admit(&first, 7<<20)
		sizes := []int64{6 << 20, 1 << 20, 5 << 20, 100 << 10}
		granted := make(chan int, len(sizes))
		waiting := make([]reservation, len(sizes))
		for i, n := range sizes {
			go func() {
				if err := b.grow(t.Context(), &waiting[i], n); err != nil {
					t.Error(err)
				}
				granted <- i
			}()
			synctest.Wait()
		}
		b.release(&first)
		synctest.Wait()
		if len(granted) != 2 || waiting[3].held != 0 { // 7 MiB: the last must not use what the third waits for
			t.Fatalf("%d are served at once", len(granted))
		}
		if b.admit(&first, 1<<20) {
			t.Error("it overtook those who wait")
		}
		b.release(&waiting[0])
		synctest.Wait()
		if len(granted) != len(sizes) || b.used != 1<<20+5<<20+100<<10 {
			t.Errorf("%d are served, %d bytes are used", len(granted), b.used)
		}
	})
}

// TestBudgetOfManySmallRequests does not keep a large one out: they have their part, and stand in line for more.
func TestBudgetOfManySmallRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(8 << 20)
		small := make([]reservation, 8<<20/smallRequest)
		for i := range small {
			if !b.admit(&small[i], smallRequest) {
				t.Fatalf("no room for small request %d", i)
			}
		}
		var large, late reservation
		granted := make(chan *reservation, 2)
		for _, r := range []*reservation{&large, &late} {
			go func() {
				n := int64(4 << 20)
				if r == &late {
					n = smallRequest
				}
				if err := b.grow(t.Context(), r, n); err != nil {
					t.Error(err)
				}
				granted <- r
			}()
			synctest.Wait()
		}
		for i := len(small) - 1; i >= 0; i-- {
			b.release(&small[i])
			synctest.Wait()
			if i == len(small)-4<<20/smallRequest { // as much is given back as the large one wants
				if len(granted) != 1 || <-granted != &large {
					t.Fatalf("the large request is not the one that is served with %d bytes in use", b.used)
				}
			}
		}
		if b.used != large.held+late.held || large.held != 4<<20 || late.held != smallRequest || b.small > b.used {
			t.Errorf("used %d, held %d and %d", b.used, large.held, late.held)
		}
		b.release(&large)
		b.release(&late)
		if b.used != 0 || b.small != 0 {
			t.Errorf("%d bytes are lost", b.used)
		}
	})
}

// TestBudgetUnderRandomUse never stands still, and never goes beyond the capacity by more than one request and what was read ahead.
func TestBudgetUnderRandomUse(t *testing.T) {
	const capacity, most, users = 1 << 20, 1 << 20, 40
	b := newBudget(capacity)
	var all sync.WaitGroup
	var ahead atomic.Int64 // at least what the chunks hold
	for i := range users {
		random := rand.New(rand.NewPCG(7, uint64(i)))
		all.Go(func() {
			for range 200 {
				var frame, chunk reservation
				for n := int64(1 << 10); n <= most; n *= 1 + random.Int64N(16) {
					if err := b.grow(t.Context(), &frame, n-frame.held); err != nil {
						t.Error(err)
					}
					if random.IntN(8) == 0 {
						break
					}
					if n == 1<<10 {
						n *= 2
					}
				}
				b.shrink(&frame, random.Int64N(frame.held))
				behind := random.Int64N(frame.held + 1)
				ahead.Add(behind)
				b.move(&frame, &chunk, behind)
				b.mu.Lock()
				if b.used > capacity+most+ahead.Load() || b.small > capacity/smallShare || b.small < 0 {
					t.Errorf("used %d, of it small %d", b.used, b.small)
				}
				b.mu.Unlock()
				b.release(&frame)
				b.release(&chunk)
				ahead.Add(-behind)
			}
		})
	}
	all.Wait()
	if b.used != 0 || b.small != 0 || b.elder != nil || len(b.waiting) != 0 {
		t.Errorf("in the end %d bytes are used, %d of them small, %d wait", b.used, b.small, len(b.waiting))
	}
}
