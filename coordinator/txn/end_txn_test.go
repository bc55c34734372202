package txn

import (
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func TestCommitWithANewEpoch(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0, 1, 2))
		h.must("add again", h.add(5, p, 1))
		h.expect("Ongoing 101/0 [a-0 a-1 a-2]")
		release := h.leaders.block()
		code, next := h.end(5, p, true) // answered before the markers are there
		if code != protocol.None || next != (producer{101, 1}) {
			t.Fatalf("commit: %v, go on as %v", code, next)
		}
		h.expect("PrepareCommit 101/1 [a-0 a-1 a-2]")
		if code := h.add(5, next, 0); code != protocol.ConcurrentTransactions {
			t.Errorf("the next transaction before this one is complete: %v", code)
		}
		release()
		got := h.leaders.markers()
		slices.Sort(got)
		if want := []string{"1 101/1 COMMIT a-0", "1 101/1 COMMIT a-2", "2 101/1 COMMIT a-1"}; !slices.Equal(got, want) {
			t.Errorf("markers %v, want %v", got, want)
		}
		h.expect("CompleteCommit 101/1 []")
		h.must("the next transaction", h.add(5, next, 3))
		h.expect("Ongoing 101/1 [a-3]")
		code, next = h.end(5, next, false)
		if code != protocol.None || next != (producer{101, 2}) {
			t.Errorf("abort: %v, go on as %v", code, next)
		}
		if got := h.leaders.markers(); !slices.Equal(got, []string{"2 101/2 ABORT a-3"}) {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteAbort 101/2 []")
	})
}

func TestCommitOfAClientThatKeepsItsEpoch(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(3, p, 0))
		code, _ := h.end(4, p, true)
		h.must("commit", code)
		if got := h.leaders.markers(); !slices.Equal(got, []string{"1 101/0 COMMIT a-0"}) {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteCommit 101/0 []")
		h.must("the next transaction", h.add(3, p, 1))
	})
}

func TestEpochsThatAreUsedUp(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.load(snapshot{
			producerID: 7, previousProducerID: 7, nextProducerID: noProducerID, producerEpoch: lastEpoch, state: empty, start: noStart, timeout: 60_000,
		})
		p := producer{7, lastEpoch}
		h.must("add", h.add(5, p, 0))
		code, next := h.end(5, p, true)
		if code != protocol.None || next != (producer{101, 0}) {
			t.Fatalf("commit: %v, go on as %v", code, next)
		}
		if got := h.leaders.markers(); !slices.Equal(got, []string{"1 7/32767 COMMIT a-0"}) {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteCommit 101/0 []")
		if code, again := h.end(5, p, true); code != protocol.None || again != next {
			t.Errorf("the same commit again: %v, go on as %v", code, again)
		}
		if code, _ := h.end(5, p, false); code != protocol.InvalidTxnState {
			t.Errorf("an abort under the old id: %v", code)
		}
	})
}

func TestAnAbortWithoutATransaction(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		for epoch := int16(1); epoch < 4; epoch++ {
			code, next := h.end(5, p, false)
			if code != protocol.None || next != (producer{p.id, epoch}) {
				t.Fatalf("abort: %v, go on as %v", code, next)
			}
			p = next
		}
		if got := h.leaders.markers(); len(got) != 0 {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteAbort 101/3 []")
	})
}

func TestNoProducerIDForTheNextEpoch(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.load(snapshot{
			producerID: 7, previousProducerID: 7, nextProducerID: noProducerID, producerEpoch: lastEpoch, state: empty, start: noStart, timeout: 60_000,
		})
		p := producer{7, lastEpoch}
		h.must("add", h.add(5, p, 0))
		h.ids.set(func(f *fakeIDs) { f.dry, f.err = true, protocol.CoordinatorLoadInProgress })
		if code, _ := h.end(5, p, true); code != protocol.CoordinatorLoadInProgress {
			t.Errorf("commit without an id: %v", code)
		}
		h.expect("Ongoing 7/32766 [a-0]")
		h.ids.set(func(f *fakeIDs) { f.err = nil })
		code, next := h.end(5, p, true)
		if code != protocol.None || next != (producer{101, 0}) {
			t.Errorf("commit once there is one: %v, go on as %v", code, next)
		}
	})
}
