package storage

import (
	"math"
	"sync/atomic"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

func TestTransactionsMoveFirstUnstable(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	unstable := func(want int64) {
		t.Helper()
		if got := p.firstUnstable(); got != want {
			t.Errorf("first unstable offset %d, want %d", got, want)
		}
	}
	unstable(-1)
	p.mustAppend(t, testBatch{id: 1, offset: 10, txn: true}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 2, offset: 11, txn: true}.build(t), OriginClient)
	p.mustAppend(t, testBatch{id: 1, seq: 1, offset: 12, txn: true}.build(t), OriginClient)
	unstable(10)
	if got := p.list(); got[0].CurrentTxnStartOffset != 10 || got[1].CurrentTxnStartOffset != 11 {
		t.Errorf("got %+v", got)
	}
	done := p.mustAppend(t, testMarker{id: 1, offset: 13, abort: true}.build(t), OriginCoordinator)
	if want := (completedTxn{producerID: 1, firstOffset: 10, lastOffset: 13, aborted: true, lastStable: 11}); len(done) != 1 || done[0] != want {
		t.Errorf("got %+v, want %+v", done, want)
	}
	unstable(10) // the marker is not replicated yet
	p.highWatermarkAdvanced(13)
	unstable(10)
	p.highWatermarkAdvanced(14)
	unstable(11)
	done = p.mustAppend(t, testMarker{id: 2, offset: 14}.build(t), OriginCoordinator)
	if want := (completedTxn{producerID: 2, firstOffset: 11, lastOffset: 14, lastStable: 15}); len(done) != 1 || done[0] != want {
		t.Errorf("got %+v, want %+v", done, want)
	}
	p.highWatermarkAdvanced(15)
	unstable(-1)
	if done = p.mustAppend(t, testMarker{id: 2, offset: 15}.build(t), OriginCoordinator); len(done) != 0 {
		t.Errorf("a marker without a transaction completed %+v", done)
	}
	if got := p.list(); got[1].CurrentTxnStartOffset != -1 || got[1].LastSequence != 0 {
		t.Errorf("got %+v: the same epoch keeps its batches", got[1])
	}
}

// One replicated append may hold several transactions of the same producer.
func TestReplicatedTransactionsInOneAppend(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	for _, b := range []record.Batch{
		testBatch{id: 1, offset: 0, txn: true}.build(t), testMarker{id: 1, epoch: 1, offset: 1}.build(t),
		testBatch{id: 1, epoch: 1, offset: 2, txn: true}.build(t), testMarker{id: 1, epoch: 2, offset: 3, abort: true}.build(t),
		testBatch{id: 1, epoch: 2, offset: 4, txn: true}.build(t),
	} {
		if _, _, err := p.check(b, OriginReplication); err != nil {
			t.Fatal(err)
		}
	}
	done := p.apply(5)
	if len(done) != 2 || done[0].firstOffset != 0 || done[0].aborted || done[1].firstOffset != 2 || !done[1].aborted {
		t.Errorf("completed %+v", done)
	}
	if got := p.list(); len(got) != 1 || got[0].Epoch != 2 || got[0].CurrentTxnStartOffset != 4 {
		t.Errorf("state %+v", got)
	}
	if p.highWatermarkAdvanced(5); p.firstUnstable() != 4 {
		t.Errorf("first unstable %d", p.firstUnstable())
	}
}

func TestMarkerRules(t *testing.T) {
	for _, c := range []struct {
		name    string
		open    bool
		epoch   int16 // of the state
		marker  int16
		coord   int32 // the state has 5
		version int16
		origin  Origin
		want    protocol.Code
	}{
		{"same epoch, version 1", true, 3, 3, 5, 1, OriginCoordinator, protocol.None},
		{"lower epoch, version 1", true, 3, 2, 5, 1, OriginCoordinator, protocol.InvalidProducerEpoch},
		{"higher epoch, version 2", true, 3, 4, 5, 2, OriginCoordinator, protocol.None},
		{"same epoch, version 2, open", true, 3, 3, 5, 2, OriginCoordinator, protocol.InvalidProducerEpoch},
		{"same epoch, version 2, ended: a retry", false, 3, 3, 5, 2, OriginCoordinator, protocol.None},
		{"lower epoch, version 2, ended", false, 3, 2, 5, 2, OriginCoordinator, protocol.InvalidProducerEpoch},
		{"exhausted epochs, version 2", true, math.MaxInt16, math.MaxInt16, 5, 2, OriginCoordinator, protocol.None},
		{"older coordinator", true, 3, 3, 4, 1, OriginCoordinator, protocol.TransactionCoordinatorFenced},
		{"older coordinator, follower", true, 3, 3, 4, 1, OriginReplication, protocol.None},
		{"lower epoch, follower", true, 3, 2, 5, 0, OriginReplication, protocol.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTestProducers(t, memDir(t))
			p.mustAppend(t, testBatch{id: 1, epoch: c.epoch, offset: 0, txn: true}.build(t), OriginClient)
			p.mustAppend(t, testMarker{id: 1, epoch: c.epoch, offset: 1, coordinator: 5}.build(t), OriginCoordinator)
			if c.open {
				p.mustAppend(t, testBatch{id: 1, epoch: c.epoch, seq: 1, offset: 2, txn: true}.build(t), OriginClient)
			}
			_, _, err := p.checkTxn(testMarker{id: 1, epoch: c.marker, offset: 3, coordinator: c.coord}.build(t), c.origin, txnCheck{version: c.version})
			if protocol.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			if p.apply(4); p.list()[0].CurrentTxnStartOffset != -1 {
				t.Error("the transaction is still open")
			}
		})
	}
}

func TestPlainBatchInsideTransaction(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	p.mustAppend(t, testBatch{id: 1, offset: 0, txn: true}.build(t), OriginClient)
	p.refuses(t, testBatch{id: 1, seq: 1, offset: 1}.build(t), OriginClient, protocol.InvalidTxnState)
	p.mustAppend(t, testBatch{id: 1, seq: 1, offset: 1, txn: true}.build(t), OriginClient)
}

func TestMalformedMarkers(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	whole := testMarker{id: 1}.build(t)
	for cut := record.HeaderSize; cut < len(whole)-1; cut++ { // the last byte says that there are no headers
		p.refuses(t, whole[:cut], OriginReplication, protocol.InvalidRecord)
	}
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch, w.Transactional, w.Control = 1, 0, true, true
	w.Add(0, []byte{0, 0, 0, 2}, make([]byte, 6)) // LEADER_CHANGE
	p.refuses(t, finish(t, w), OriginReplication, protocol.InvalidRecord)
}

func TestVerification(t *testing.T) {
	p := newTestProducers(t, memDir(t))
	p.config.verify = new(atomic.Bool)
	p.config.verify.Store(true)
	b := testBatch{id: 1, epoch: 1, offset: 0, txn: true}.build(t)
	p.refuses(t, b, OriginClient, protocol.InvalidTxnState)
	guard, err := p.startVerification(1, 1, 0, true, 77, 100)
	if err != nil || guard != 77 {
		t.Fatalf("guard %d, %v", guard, err)
	}
	if again, err := p.startVerification(1, 1, 3, true, 78, 100); err != nil || again != guard {
		t.Errorf("the second batch in flight got guard %d, %v", again, err)
	}
	check := func(b record.Batch, guard VerificationGuard, want protocol.Code) {
		t.Helper()
		if _, _, err := p.checkTxn(b, OriginClient, txnCheck{guard: guard}); protocol.CodeOf(err) != want {
			t.Errorf("guard %d, sequence %d: got %v, want %v", guard, b.BaseSequence(), err, want)
		}
	}
	check(b, 76, protocol.InvalidTxnState)
	check(testBatch{id: 1, epoch: 1, seq: 3, txn: true}.build(t), guard, protocol.OutOfOrderSequenceNumber) // 0 was seen first
	check(b, guard, protocol.None)
	p.apply(1)
	if guard, err := p.startVerification(1, 1, 1, true, 79, 100); err != nil || guard != 0 {
		t.Errorf("an open transaction needs no verification: %d, %v", guard, err)
	}
	check(testBatch{id: 1, epoch: 1, seq: 1, offset: 1, txn: true}.build(t), 0, protocol.None)
	p.apply(2)
	if _, err := p.startVerification(1, 0, 0, true, 80, 100); protocol.CodeOf(err) != protocol.InvalidProducerEpoch {
		t.Errorf("an old epoch: %v", err)
	}
	p.mustAppend(t, testMarker{id: 1, epoch: 2, offset: 2}.build(t), OriginCoordinator)
	check(testBatch{id: 1, epoch: 2, offset: 3, txn: true}.build(t), guard, protocol.InvalidTxnState) // served already

	if _, err := p.startVerification(5, 0, 4, true, 81, 100); err != nil {
		t.Fatal(err)
	}
	check(testBatch{id: 5, seq: 4, offset: 3, txn: true}.build(t), 81, protocol.OutOfOrderSequenceNumber) // unknown here, and epochs are bumped: it must be 0
	p.expire(100 + testExpiration)
	if len(p.verification) != 0 {
		t.Errorf("%d verifications did not expire", len(p.verification))
	}
}

// TestVerificationBehindAMarker writes the marker of a transaction after its producer has begun to verify the next one: that stays good where
// the marker has the epoch of the next transaction already.
func TestVerificationBehindAMarker(t *testing.T) {
	for _, c := range []struct {
		epochBump bool
		marker    int16
		next      int16
		want      protocol.Code
	}{
		{true, 2, 2, protocol.None},
		{true, 2, 3, protocol.InvalidTxnState},  // a marker that is older still
		{false, 2, 2, protocol.InvalidTxnState}, // the marker may be that of the verified transaction
		{false, 1, 1, protocol.InvalidTxnState},
	} {
		p := newTestProducers(t, memDir(t))
		p.config.verify = new(atomic.Bool)
		p.config.verify.Store(true)
		guard, err := p.startVerification(1, 1, 0, c.epochBump, 7, 100)
		if err != nil {
			t.Fatal(err)
		}
		first := testBatch{id: 1, epoch: 1, txn: true}.build(t)
		if _, _, err := p.checkTxn(first, OriginClient, txnCheck{guard: guard}); err != nil {
			t.Fatal(err)
		}
		p.apply(1)
		p.verification = map[int64]*verification{1: {guard: 8, created: 100, epoch: c.next, epochBump: c.epochBump}}
		p.mustAppend(t, testMarker{id: 1, epoch: c.marker, offset: 1}.build(t), OriginCoordinator)
		next := testBatch{id: 1, epoch: c.next, offset: 2, txn: true}
		if c.next == 1 {
			next.seq = 1
		}
		if _, _, err := p.checkTxn(next.build(t), OriginClient, txnCheck{guard: 8}); protocol.CodeOf(err) != c.want {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
