package runtime_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

func TestAFailedAppendReloadsTheShard(t *testing.T) {
	for _, failure := range []error{protocol.NotEnoughReplicas, protocol.KafkaStorageError, errors.New("disk")} {
		run(t, func(h *harness) {
			h.elect()
			h.set("a=1")
			synctest.Wait()
			h.log.Hold(true)
			parked := h.set("b=1")
			synctest.Wait()
			h.log.FailAppends(failure)
			o := h.set("a=2")
			synctest.Wait()
			o.expect(t, failure)
			parked.expect(t, failure)
			h.log.FailAppends(nil)
			h.expectValues(map[string]string{"a": "1", "b": "1"})
			if len(h.unloaded) != 1 || !errors.Is(h.unloaded[0], failure) {
				t.Errorf("the shard was told %v, want %v", h.unloaded, failure)
			}
			h.log.Commit(-1)
			again := h.set("a=3")
			synctest.Wait()
			h.log.Commit(-1)
			synctest.Wait()
			again.expect(t, nil)
		})
	}
}

func TestAnAppendElsewhereReloadsTheShard(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		b := record.NewBuilder()
		b.Add(0, []byte("x"), []byte("1"))
		if err := h.log.Put(b); err != nil {
			t.Fatal(err)
		}
		o := h.set("a=1")
		synctest.Wait()
		if o.then[0] == nil {
			t.Error("a batch at another offset than its records were replayed with was taken for good")
		}
		h.expectValues(map[string]string{"x": "1", "a": "1"})
	})
}

func TestAFencedShardWaitsForAnElection(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.log.Fence(2)
		o := h.set("a=1")
		synctest.Wait()
		o.expect(t, protocol.FencedLeaderEpoch)
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		h.rt.Elect(0, 2)
		synctest.Wait()
		again := h.set("a=2")
		synctest.Wait()
		again.expect(t, nil)
		h.expectValues(map[string]string{"a": "2"})
	})
}

func TestLostLeadership(t *testing.T) {
	run(t, func(h *harness) {
		h.log.Hold(true)
		h.elect()
		o := h.set("a=1")
		synctest.Wait()
		h.log.LoseLeadership(2)
		synctest.Wait()
		o.expect(t, protocol.NotLeaderOrFollower)
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		h.log.Commit(-1)
		h.rt.Elect(0, 2)
		synctest.Wait()
		h.expectValues(map[string]string{"a": "1"})
	})
}

func TestLostLeadershipBeforeTheNextElection(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.log.LoseLeadership(2) // the loop has not seen it when the election comes
		h.rt.Elect(0, 2)
		synctest.Wait()
		o := h.set("a=1")
		synctest.Wait()
		o.expect(t, nil)
		if h.shards != 2 {
			t.Errorf("%d loads, want 2: another broker may have written in between", h.shards)
		}
	})
}

func TestLeadershipLostDuringTheLoad(t *testing.T) {
	run(t, func(h *harness) {
		release := h.log.BlockLoads()
		h.elect()
		h.log.LoseLeadership(2)
		release()
		synctest.Wait()
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		time.Sleep(time.Minute) // it is not tried again before an election
		if h.shards != 1 {
			t.Errorf("%d loads, want 1", h.shards)
		}
	})
}

func TestAFailedLoadIsTriedAgain(t *testing.T) {
	run(t, func(h *harness) {
		h.log.FailLoads(errors.New("disk"))
		h.elect()
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		h.log.FailLoads(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		o := h.set("a=1")
		synctest.Wait()
		o.expect(t, nil)
	})
}

func TestAPartitionThatCannotBeOpened(t *testing.T) {
	run(t, func(h *harness) {
		h.openErr = protocol.NotLeaderOrFollower
		h.elect()
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		h.rt.Resign(0, 2)
	})
}

func TestAPanicCostsItsOperationOnly(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.set("a=1")
		o := h.write(func(s *table, _ runtime.Env) runtime.Result {
			s.values["a"] = "broken"
			panic("defect")
		})
		synctest.Wait()
		o.expectRefused(t, protocol.UnknownServerError)
		h.expectValues(map[string]string{"a": "1"})
	})
}

func TestAPanicAfterTheCommit(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.write(func(*table, runtime.Env) runtime.Result {
			return runtime.Result{Records: records("a=1"), Then: func(runtime.Env, error) { panic("defect") }}
		})
		synctest.Wait()
		h.expectValues(map[string]string{"a": "1"})
		if h.shards != 2 {
			t.Errorf("%d loads, want 2", h.shards)
		}
	})
}

func TestARecordThatCannotBeReplayed(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		before := h.set("a=1")
		o := h.set("b=1 poison=1")
		synctest.Wait()
		before.expect(t, nil)
		if len(o.then) != 1 || o.then[0] == nil {
			t.Errorf("Then got %v, want an error", o.then)
		}
		h.expectValues(map[string]string{"a": "1"})
	})
}

func TestALoadThatFailsAfterAnother(t *testing.T) {
	run(t, func(h *harness) {
		release := h.log.BlockLoads()
		h.elect()
		h.log.LoseLeadership(2)
		h.rt.Elect(0, 2) // queues a second load behind the first, which succeeds
		h.log.FailLoads(errors.New("disk"))
		release()
		synctest.Wait()
		h.set("a=1").expectRefused(t, protocol.NotCoordinator)
		h.log.FailLoads(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		o := h.set("a=1")
		synctest.Wait()
		o.expect(t, nil)
	})
}
