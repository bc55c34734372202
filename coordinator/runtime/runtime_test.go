package runtime_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

func TestOperationsWithoutAShardAreRefused(t *testing.T) {
	run(t, func(h *harness) {
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		release := h.log.BlockLoads()
		h.elect()
		h.set("a=1").expectRefused(t, protocol.CoordinatorLoadInProgress)
		release()
		synctest.Wait()
		o := h.set("a=1")
		synctest.Wait()
		o.expect(t, nil)
		h.rt.Resign(0, 2)
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		if len(h.rt.Partitions()) != 0 {
			t.Errorf("a resigned partition is still listed: %v", h.rt.Partitions())
		}
	})
}

func TestElectionsByEpoch(t *testing.T) {
	run(t, func(h *harness) {
		h.rt.Elect(0, 5)
		synctest.Wait()
		h.rt.Elect(0, 4) // older: ignored
		h.rt.Elect(0, 6) // newer: the shard stays
		h.rt.Resign(0, 6)
		o := h.set("a=1")
		synctest.Wait()
		o.expect(t, nil)
		if got := h.log.Batches()[0].LeaderEpoch(); got != 6 {
			t.Errorf("written in epoch %d, want 6", got)
		}
		if h.shards != 1 {
			t.Errorf("%d loads, want 1", h.shards)
		}
	})
}

func TestStateSurvivesAReload(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.set("a=1 b=2")
		h.set("a=3")
		h.set("b")
		synctest.Wait()
		h.rt.Resign(0, 2)
		h.rt.Elect(0, 3)
		synctest.Wait()
		h.expectValues(map[string]string{"a": "3"})
	})
}

func TestRepliesWaitForTheCommit(t *testing.T) {
	run(t, func(h *harness) {
		h.log.Hold(true)
		h.elect()
		first := h.set("a=1")
		synctest.Wait()
		second := h.set("b=1")
		reader := h.write(func(*table, runtime.Env) runtime.Result { return runtime.Result{} })
		synctest.Wait()
		first.expectPending(t)
		reader.expectPending(t) // it has seen what is not committed
		h.log.Commit(1)
		synctest.Wait()
		first.expect(t, nil)
		second.expectPending(t)
		h.log.Commit(2)
		synctest.Wait()
		second.expect(t, nil)
		reader.expect(t, nil)
	})
}

func TestACommitThatTakesTooLongTimesOut(t *testing.T) {
	run(t, func(h *harness) {
		h.log.Hold(true)
		h.elect()
		o := h.set("a=1")
		time.Sleep(writeTimeout - time.Millisecond)
		synctest.Wait()
		o.expectPending(t)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		o.expect(t, protocol.RequestTimedOut)
		h.log.Commit(-1)
		synctest.Wait()
		o.expect(t, protocol.RequestTimedOut) // once
		h.expectValues(map[string]string{"a": "1"})
	})
}

func TestWhatQueuesDuringAnAppendIsOneBatch(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		release := h.log.BlockAppends()
		first := h.set("k=0")
		synctest.Wait()
		var rest []*outcome
		for range 100 {
			rest = append(rest, h.set("k=1"))
		}
		release()
		synctest.Wait()
		first.expect(t, nil)
		for _, o := range rest {
			o.expect(t, nil)
		}
		if got := h.log.Appends(); got != 2 {
			t.Errorf("%d appends, want 2", got)
		}
		b := h.log.Batches()[1]
		if b.ProducerID() != -1 || b.Codec() != record.CodecNone || b.Count() != 100 {
			t.Errorf("producer %d, codec %d, %d records", b.ProducerID(), b.Codec(), b.Count())
		}
	})
}

func TestBatchesStayBelowTheLimit(t *testing.T) {
	run(t, func(h *harness) {
		const limit = 300
		h.log.SetMaxMessageBytes(limit)
		h.elect()
		release := h.log.BlockAppends()
		h.set("k=0")
		synctest.Wait()
		var all []*outcome
		for range 20 {
			all = append(all, h.set("k="+string(make([]byte, 50))))
		}
		tooLarge := h.set("k=" + string(make([]byte, limit)))
		split := h.write(func(*table, runtime.Env) runtime.Result {
			r := runtime.Result{Split: true}
			for range 20 {
				r.Records = append(r.Records, records("s="+string(make([]byte, 50)))...)
			}
			return r
		})
		atomic := h.write(func(*table, runtime.Env) runtime.Result {
			return runtime.Result{Records: slices.Repeat(records("k="+string(make([]byte, 50))), 20)}
		})
		release()
		synctest.Wait()
		for _, o := range append(all, split) {
			o.expect(t, nil)
		}
		tooLarge.expect(t, protocol.RecordListTooLarge)
		atomic.expect(t, protocol.RecordListTooLarge)
		for _, b := range h.log.Batches() {
			if len(b) > limit {
				t.Errorf("a batch of %d bytes", len(b))
			}
		}
		if h.shards != 1 {
			t.Errorf("%d loads: a record that is too large must not drop the shard", h.shards)
		}
	})
}

func TestARefusedWriteLeavesTheShardAlone(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.log.Refuse(protocol.NotEnoughReplicas)
		o := h.set("a=1")
		reader := h.write(func(*table, runtime.Env) runtime.Result { return runtime.Result{} })
		synctest.Wait()
		o.expect(t, protocol.NotEnoughReplicas)
		reader.expect(t, nil) // heartbeats go on
		h.expectValues(map[string]string{})
		if h.shards != 1 {
			t.Errorf("%d loads, want 1", h.shards)
		}
	})
}

func TestRecordsThatTheOperationAppliesAreNotReplayed(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		o := h.write(func(*table, runtime.Env) runtime.Result {
			return runtime.Result{Records: records("a=1"), Applied: true}
		})
		synctest.Wait()
		o.expect(t, nil)
		h.expectValues(map[string]string{})
		h.rt.Resign(0, 2)
		h.rt.Elect(0, 3)
		synctest.Wait()
		h.expectValues(map[string]string{"a": "1"})
	})
}

func TestTransactionsAreReplayedToTheirEnd(t *testing.T) {
	run(t, func(h *harness) {
		put := func(id int64, what string) {
			b := record.NewBuilder()
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, 0, true
			for _, r := range records(what) {
				b.Add(0, r.Key, r.Value)
			}
			if err := h.log.Put(b); err != nil {
				t.Fatal(err)
			}
		}
		end := func(id int64, kind byte) {
			b := record.NewBuilder()
			b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = id, 0, true, true
			b.Add(0, []byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 0})
			if err := h.log.Put(b); err != nil {
				t.Fatal(err)
			}
		}
		put(1, "a=1")
		put(2, "b=2")
		put(3, "c=3")
		end(1, 1)
		end(2, 0)
		end(3, 5) // of another kind: no end
		h.elect()
		h.expectValues(map[string]string{"a": "1"})
	})
}

func TestImageChangesReachEveryShard(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.write(func(s *table, _ runtime.Env) runtime.Result {
			s.changed = runtime.Result{Records: records("changed=1")}
			return runtime.Result{}
		})
		synctest.Wait()
		h.rt.ImageChanged(&metadata.Delta{})
		synctest.Wait()
		h.expectValues(map[string]string{"changed": "1"})
	})
}

func TestCloseAnswersWhatIsParked(t *testing.T) {
	run(t, func(h *harness) {
		h.log.Hold(true)
		h.elect()
		o := h.set("a=1")
		synctest.Wait()
		h.rt.Close()
		o.expect(t, protocol.NotCoordinator)
		if len(h.unloaded) != 1 {
			t.Errorf("the shard was told %v, want one goodbye", h.unloaded)
		}
		h.rt.Elect(0, 9)
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
	})
}

func TestCloseDuringALoad(t *testing.T) {
	run(t, func(h *harness) {
		release := h.log.BlockLoads()
		h.elect()
		h.rt.Close()
		release()
	})
}

func TestImageChangedDuringTheLoad(t *testing.T) {
	run(t, func(h *harness) {
		h.changed = runtime.Result{Records: records("changed=1")}
		release := h.log.BlockLoads()
		h.elect()
		h.rt.ImageChanged(&metadata.Delta{})
		release()
		synctest.Wait()
		h.expectValues(map[string]string{"changed": "1"})
	})
}

func TestTheHighWatermarkIsKnownBeforeTheFirstReplay(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.set("a=1")
		h.set("a=2")
		synctest.Wait()
		h.rt.Resign(0, 2)
		h.rt.Elect(0, 3)
		synctest.Wait()
		h.rt.Read(0, func(s *table, _ runtime.Env) {
			if s.replayedAt != 2 {
				t.Errorf("the first record was replayed with the high watermark at %d, want 2", s.replayedAt)
			}
		}, func(err error) { t.Errorf("read: %v", err) })
		synctest.Wait()
	})
}
