package server

import (
	"context"
	"errors"
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
