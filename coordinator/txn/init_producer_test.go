package txn

import (
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// expectInit wants an answer of InitProducerId.
func (h *harness) expectInit(what string, as *producer, code protocol.Code, want producer) {
	h.t.Helper()
	resp := runtimetest.Now(h.t, h.initAs(5, testID, as, 60_000))
	if protocol.Code(resp.ErrorCode) != code || resp.ProducerID != want.id || resp.ProducerEpoch != want.epoch {
		h.t.Errorf("%s: %v %d/%d, want %v %v", what, protocol.Code(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch, code, want)
	}
}

var nobody = producer{noProducerID, noEpoch}

func TestEachProducerGetsTheNextEpoch(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.expectInit("the first", nil, protocol.None, producer{101, 0})
		h.expectInit("the second", nil, protocol.None, producer{101, 1})
		h.restart()
		h.expectInit("the third", nil, protocol.None, producer{101, 2})
		if code := h.add(5, producer{101, 1}, 0); code != protocol.ProducerFenced {
			t.Errorf("the second adds partitions: %v", code)
		}
	})
}

func TestAProducerThatRecovers(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.expectInit("recovers", &p, protocol.None, producer{101, 1})
		h.expectInit("repeats it, as the answer was lost", &p, protocol.None, producer{101, 1})
		h.expectInit("of an older epoch", &producer{101, 3}, protocol.ProducerFenced, nobody)
		h.expectInit("of another id", &producer{99, 1}, protocol.ProducerFenced, nobody)
		h.expectInit("recovers again", &producer{101, 1}, protocol.None, producer{101, 2})
		h.expectInit("of the epoch before the last", &p, protocol.ProducerFenced, nobody)
		h.expectInit("another instance", nil, protocol.None, producer{101, 3})
		h.expectInit("the one before it", &producer{101, 2}, protocol.ProducerFenced, nobody)
	})
}

func TestAProducerThatRecoversInAnOldVersion(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		resp := runtimetest.Now(t, h.initAs(2, testID, &producer{99, 9}, 60_000)) // has no room for who it was
		if resp.ErrorCode != 0 || resp.ProducerEpoch != p.epoch+1 {
			t.Errorf("%+v", resp)
		}
	})
}

func TestAProducerWithoutEpochsGetsANewID(t *testing.T) {
	last := snapshot{
		producerID: 7, previousProducerID: 7, nextProducerID: noProducerID, producerEpoch: lastEpoch, state: completeAbort, start: 1, timeout: 60_000,
	}
	run(t, nil, func(h *harness) {
		h.load(last)
		h.expectInit("another", nil, protocol.None, producer{101, 0})
		h.expectInit("of the old id", &producer{7, lastEpoch}, protocol.ProducerFenced, nobody)
	})
	run(t, nil, func(h *harness) {
		h.load(last)
		old := producer{7, lastEpoch}
		h.expectInit("recovers", &old, protocol.None, producer{101, 0})
		h.expectInit("repeats it, as the answer was lost", &old, protocol.None, producer{101, 0})
	})
	run(t, nil, func(h *harness) {
		h.load(last)
		h.expectInit("of a wrong epoch", &producer{7, 3}, protocol.UnknownServerError, nobody)
	})
}

// TestAnOpenTransactionIsAbortedFirst checks that the fenced epoch is given to nobody: the next try bumps it again.
func TestAnOpenTransactionIsAbortedFirst(t *testing.T) {
	for version, fenced := range map[int16]string{2: "1 101/1 ABORT a-0", 1: "1 101/1 ABORT a-0", 0: "1 101/1 ABORT a-0"} {
		run(t, nil, func(h *harness) {
			h.setVersion(version)
			p := h.init()
			h.must("add", h.add(3, p, 0))
			h.expectInit("another", nil, protocol.ConcurrentTransactions, nobody)
			if got := h.leaders.markers(); len(got) != 1 || got[0] != fenced {
				t.Errorf("markers %v", got)
			}
			h.expect("CompleteAbort 101/1 []")
			h.expectInit("another again", nil, protocol.None, producer{101, 2})
			if code, _ := h.end(4, p, true); code != protocol.ProducerFenced {
				t.Errorf("commit of the first: %v", code)
			}
		})
	}
}

// TestFencingTheLastEpoch uses the epoch that no producer gets.
func TestFencingTheLastEpoch(t *testing.T) {
	for version, after := range map[int16]string{2: "CompleteAbort 101/0 []", 1: "CompleteAbort 7/32767 []"} {
		run(t, nil, func(h *harness) {
			h.setVersion(version)
			h.load(snapshot{
				producerID: 7, previousProducerID: 7, nextProducerID: noProducerID, producerEpoch: lastEpoch, state: ongoing, start: 1, timeout: 60_000,
				partitions: []protocol.TopicPartition{{Topic: "a"}},
			})
			h.expectInit("another", nil, protocol.ConcurrentTransactions, nobody)
			if got := h.leaders.markers(); len(got) != 1 || got[0] != "1 7/32767 ABORT a-0" {
				t.Errorf("markers %v", got)
			}
			h.expect(after)
		})
	}
}

func TestOneAtATime(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.log.Hold(true)
		first := h.initAs(5, testID, nil, 60_000)
		runtimetest.Parked(t, first)
		h.expectInit("another at once", nil, protocol.ConcurrentTransactions, nobody)
		h.log.Commit(-1)
		if resp := runtimetest.Now(t, first); resp.ErrorCode != 0 || resp.ProducerID != 101 {
			t.Errorf("the first: %+v", resp)
		}
	})
}

func TestNoProducerIDAtHand(t *testing.T) {
	run(t, nil, func(h *harness) {
		gate := make(chan struct{})
		h.ids.set(func(f *fakeIDs) { f.dry, f.gate = true, gate })
		first := h.initAs(5, testID, nil, 60_000)
		runtimetest.Parked(t, first)
		close(gate)
		if resp := runtimetest.Now(t, first); resp.ErrorCode != 0 || resp.ProducerID != 101 {
			t.Errorf("%+v", resp)
		}
		h.ids.set(func(f *fakeIDs) { f.err = protocol.CoordinatorLoadInProgress })
		if resp := runtimetest.Now(t, h.initAs(5, "another", nil, 60_000)); protocol.Code(resp.ErrorCode) != protocol.CoordinatorLoadInProgress {
			t.Errorf("without a block of ids: %+v", resp)
		}
		h.ids.set(func(f *fakeIDs) { f.gate = make(chan struct{}) })
		last := h.initAs(5, "another", nil, 60_000)
		runtimetest.Parked(t, last)
		h.c.Close()
		if resp := runtimetest.Now(t, last); protocol.Code(resp.ErrorCode) != protocol.NotCoordinator {
			t.Errorf("after the close: %+v", resp)
		}
	})
}

func TestAppendsThatFail(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.log.Refuse(protocol.NotEnoughReplicas)
		h.expectInit("with too few replicas", nil, protocol.CoordinatorNotAvailable, nobody)
		h.log.Refuse(nil)
		h.expectInit("with enough", nil, protocol.None, producer{101, 0})
		h.log.Hold(true)
		late := h.initAs(5, testID, nil, 60_000)
		runtimetest.Parked(t, late)
		sleep(writeTimeout)
		if resp := runtimetest.Now(t, late); protocol.Code(resp.ErrorCode) != protocol.CoordinatorNotAvailable {
			t.Errorf("a commit that takes too long: %v", protocol.Code(resp.ErrorCode))
		}
		h.log.Hold(false)
		h.log.Commit(-1)
		synctest.Wait()
		h.log.FailAppends(protocol.KafkaStorageError)
		h.expectInit("on a broken disk", nil, protocol.NotCoordinator, nobody)
		h.log.FailAppends(nil)
		h.expectInit("on a disk that works again", nil, protocol.None, producer{101, 2})
	})
}

func TestElections(t *testing.T) {
	run(t, nil, func(h *harness) {
		release := h.log.BlockLoads()
		h.c.Close()
		h.c = New(h.o)
		if resp := runtimetest.Now(t, h.initAs(5, testID, nil, 60_000)); protocol.Code(resp.ErrorCode) != protocol.NotCoordinator {
			t.Errorf("before the election: %v", protocol.Code(resp.ErrorCode))
		}
		h.change(partitionOn(topicID(0), 0, 1, 1))
		h.expectInit("during the load", nil, protocol.CoordinatorLoadInProgress, nobody)
		release()
		synctest.Wait()
		h.expectInit("after it", nil, protocol.None, producer{101, 0})
		h.change(partitionOn(topicID(0), 0, 2, 2))
		h.expectInit("led by another", nil, protocol.NotCoordinator, nobody)
		h.change(partitionOn(topicID(0), 0, 1, 3))
		h.expectInit("led again", nil, protocol.None, producer{101, 1})
	})
}
