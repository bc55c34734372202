package runtime_test

import (
	"bytes"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// transact queues an operation that sets keys to values in a producer's transaction.
func (h *harness) transact(p runtime.Producer, what string) *outcome {
	return h.write(func(*table, runtime.Env) runtime.Result { return runtime.Result{Records: records(what), Producer: &p} })
}

// complete queues the end of a transaction.
func (h *harness) complete(m runtime.Marker) *outcome {
	o := &outcome{}
	h.rt.Complete(0, m, o.done)
	return o
}

func TestTransactionalRecordsAreTheirOwnBatches(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		release := h.log.BlockAppends()
		outcomes := []*outcome{
			h.set("a=1"), h.set("b=1"), h.transact(runtime.Producer{ID: 7, Epoch: 2}, "c=1 d=1"), h.set("e=1"),
			h.complete(runtime.Marker{ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 9, Commit: true}), h.set("f=1"),
		}
		synctest.Wait()
		release()
		synctest.Wait()
		for _, o := range outcomes {
			o.expect(t, nil)
		}
		h.expectValues(map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1", "f": "1"})
		txn, marker := h.find(record.Batch.IsTransactional, false), h.find(record.Batch.IsTransactional, true)
		if txn.ProducerID() != 7 || txn.ProducerEpoch() != 2 || txn.Count() != 2 || txn.BaseSequence() != 0 {
			t.Errorf("transactional batch of producer %d, epoch %d: %d records", txn.ProducerID(), txn.ProducerEpoch(), txn.Count())
		}
		codecs := record.NewCodecs()
		defer codecs.Close()
		m, ok, err := codecs.ReadEndTxnMarker(marker)
		if err != nil || !ok || !m.Commit || m.CoordinatorEpoch != 9 || marker.ProducerEpoch() != 3 || marker.BaseSequence() != -1 || len(marker) != 78 {
			t.Errorf("marker %+v %v %v, epoch %d, %d bytes", m, ok, err, marker.ProducerEpoch(), len(marker))
		}
	})
}

// find returns the transactional batch or the marker.
func (h *harness) find(is func(record.Batch) bool, control bool) record.Batch {
	h.t.Helper()
	for _, b := range h.log.Batches() {
		if is(b) && b.IsControl() == control {
			return b
		}
	}
	h.t.Fatal("no such batch")
	return nil
}

func TestTransactionsAreLoaded(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.transact(runtime.Producer{ID: 1}, "a=1")
		h.transact(runtime.Producer{ID: 2}, "b=1")
		h.transact(runtime.Producer{ID: 3}, "c=1")
		h.complete(runtime.Marker{ProducerID: 1, Commit: true})
		h.complete(runtime.Marker{ProducerID: 2})
		synctest.Wait()
		want := map[string]string{"a": "1"}
		h.expectValues(want)
		h.rt.Resign(0, 2)
		h.rt.Elect(0, 3)
		synctest.Wait()
		h.expectValues(want)
		h.complete(runtime.Marker{ProducerID: 3, Commit: true})
		want["c"] = "1"
		h.expectValues(want)
		if h.shards != 2 {
			t.Errorf("%d shards were made", h.shards)
		}
	})
}

// What the log refuses is not in the shard, which goes on.
func TestRefusedTransactionalRecords(t *testing.T) {
	for _, refusal := range []protocol.Code{
		protocol.InvalidProducerEpoch, protocol.InvalidTxnState, protocol.TransactionCoordinatorFenced, protocol.NotEnoughReplicas,
	} {
		run(t, func(h *harness) {
			h.elect()
			h.set("a=1").expectSoon(t, nil)
			h.transact(runtime.Producer{ID: 1}, "b=1").expectSoon(t, nil)
			h.log.FailAppends(refusal)
			h.transact(runtime.Producer{ID: 2}, "c=1").expectSoon(t, refusal)
			h.complete(runtime.Marker{ProducerID: 1, Commit: true}).expectSoon(t, refusal)
			h.expectValues(map[string]string{"a": "1"})
			h.log.FailAppends(nil)
			h.complete(runtime.Marker{ProducerID: 1, Commit: true}).expectSoon(t, nil)
			h.expectValues(map[string]string{"a": "1", "b": "1"})
			if h.shards != 1 || len(h.unloaded) != 0 {
				t.Errorf("%v: %d shards were made, unloaded for %v", refusal, h.shards, h.unloaded)
			}
		})
	}
}

func (o *outcome) expectSoon(t *testing.T, want error) {
	t.Helper()
	synctest.Wait()
	o.expect(t, want)
}

// After an error of the disk nobody knows what the log holds: the shard is loaded again.
func TestFailedTransactionalAppend(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.set("a=1").expectSoon(t, nil)
		h.log.FailAppends(protocol.KafkaStorageError)
		h.transact(runtime.Producer{ID: 1}, "b=1").expectSoon(t, protocol.KafkaStorageError)
		h.log.FailAppends(nil)
		synctest.Wait()
		h.expectValues(map[string]string{"a": "1"})
		if h.shards != 2 {
			t.Errorf("%d shards were made", h.shards)
		}
	})
}

func TestMarkersWaitForTheirCommit(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.log.Hold(true)
		slow, never := h.complete(runtime.Marker{ProducerID: 1}), h.complete(runtime.Marker{ProducerID: 2})
		synctest.Wait()
		slow.expectPending(t)
		h.log.Commit(1)
		slow.expectSoon(t, nil)
		never.expectPending(t)
		time.Sleep(writeTimeout)
		never.expectSoon(t, protocol.RequestTimedOut)
	})
}

func TestCompleteWhereThePartitionIsNotLed(t *testing.T) {
	run(t, func(h *harness) {
		h.complete(runtime.Marker{ProducerID: 1}).expectSoon(t, protocol.NotCoordinator)
		release := h.log.BlockLoads()
		h.elect()
		h.complete(runtime.Marker{ProducerID: 1}).expectSoon(t, protocol.CoordinatorLoadInProgress)
		release()
		synctest.Wait()
		h.log.Refuse(protocol.NotEnoughReplicas)
		h.complete(runtime.Marker{ProducerID: 1}).expectSoon(t, protocol.NotEnoughReplicas)
		if n := h.log.Appends(); n != 0 {
			t.Errorf("%d appends", n)
		}
	})
}

// The records of one transactional operation are one batch, or none.
func TestTransactionalRecordsThatAreTooLarge(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.log.SetMaxMessageBytes(300)
		large := string(bytes.Repeat([]byte("x"), 100))
		h.transact(runtime.Producer{ID: 1}, "a="+large+" b="+large+" c="+large).expectSoon(t, protocol.RecordListTooLarge)
		if got := h.values(); !maps.Equal(got, map[string]string{}) || h.log.Appends() != 0 {
			t.Errorf("the shard has %v", got)
		}
	})
}
