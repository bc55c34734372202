package runtime_test

import (
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// here is set by WriteHere.
func (h *harness) here(what string) *outcome {
	o := &outcome{}
	h.rt.WriteHere(0, func(*table, runtime.Env) runtime.Result {
		return runtime.Result{Records: records(what), Then: func(_ runtime.Env, err error) { o.done(err) }}
	}, o.fail)
	return o
}

func TestWriteHereIsDoneWhenItReturns(t *testing.T) {
	run(t, func(h *harness) {
		refused := h.here("a=0")
		refused.expectRefused(t, protocol.NotCoordinator)
		h.elect()
		for range 3 {
			h.here("a=1").expect(t, nil)
		}
		read := ""
		h.rt.ReadHere(0, func(s *table, _ runtime.Env) { read = s.values["a"] }, func(err error) { t.Error(err) })
		if read != "1" {
			t.Errorf("read %q", read)
		}
		if got := h.log.Appends(); got != 3 {
			t.Errorf("%d appends, want 3", got)
		}
	})
}

func TestWriteHereWaitsForTheCommit(t *testing.T) {
	run(t, func(h *harness) {
		h.log.Hold(true)
		h.elect()
		first, second := h.here("a=1"), h.here("b=1")
		first.expectPending(t)
		h.log.Commit(1)
		synctest.Wait()
		first.expect(t, nil)
		second.expectPending(t)
		h.log.Commit(2)
		synctest.Wait()
		second.expect(t, nil)
	})
}

func TestWriteHereJoinsTheBatchOfOthers(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		release := h.log.BlockAppends()
		first := h.set("k=0")
		synctest.Wait()
		var rest []*outcome
		for range 10 {
			rest = append(rest, h.here("k=1")) // does not wait for the append that is under way
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
	})
}

// TestWriteHereReturnsAfterItsRound has others bring work while one is at it: it is not to be kept by them.
func TestWriteHereReturnsAfterItsRound(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		release := h.log.BlockAppends()
		var first *outcome
		returned := make(chan struct{})
		go func() {
			first = h.here("k=0")
			close(returned)
		}()
		synctest.Wait()
		gate := make(chan struct{})
		second := h.write(func(*table, runtime.Env) runtime.Result {
			<-gate
			return runtime.Result{Records: records("k=1")}
		})
		release()
		<-returned
		first.expect(t, nil)
		second.expectPending(t)
		close(gate)
		synctest.Wait()
		second.expect(t, nil)
		h.expectValues(map[string]string{"k": "1"})
	})
}

func TestWriteHereThatFailsReloadsTheShard(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		h.here("a=1").expect(t, nil)
		h.log.FailAppends(protocol.KafkaStorageError)
		h.here("a=2").expect(t, protocol.KafkaStorageError)
		h.log.FailAppends(nil)
		synctest.Wait()
		h.expectValues(map[string]string{"a": "1"})
		if h.shards != 2 {
			t.Errorf("%d shards were made, want 2", h.shards)
		}
	})
}
