package runtime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// inBackground asks the shard of partition 0 to run work, and returns the errors that its operation is told.
func (h *harness) inBackground(work func(ctx context.Context) error) *[]error {
	told := new([]error)
	h.rt.Write(0, func(_ *table, env runtime.Env) runtime.Result {
		env.Background(work, func(_ runtime.Env, err error) runtime.Result {
			*told = append(*told, err)
			return runtime.Result{Records: []runtime.Record{{Key: []byte("k"), Value: []byte("background")}}}
		})
		return runtime.Result{}
	}, func(err error) { h.t.Error(err) })
	synctest.Wait()
	return told
}

func TestBackgroundWorkEndsInAnOperation(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		proceed := make(chan struct{})
		told := h.inBackground(func(context.Context) error { <-proceed; return nil })
		h.rt.Write(0, func(s *table, _ runtime.Env) runtime.Result { // the loop is free meanwhile
			if len(*told) > 0 || s.values["k"] != "" {
				t.Error("the operation ran before the work ended")
			}
			return runtime.Result{}
		}, func(err error) { t.Error(err) })
		synctest.Wait()
		close(proceed)
		synctest.Wait()
		h.rt.Read(0, func(s *table, _ runtime.Env) {
			if s.values["k"] != "background" || len(*told) != 1 || (*told)[0] != nil {
				t.Errorf("the operation was told %v, its record is %q", *told, s.values["k"])
			}
		}, func(err error) { t.Error(err) })
		synctest.Wait()
	})
}

func TestBackgroundWorkThatFailsTells(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		failure := errors.New("failure")
		if told := *h.inBackground(func(context.Context) error { return failure }); len(told) != 1 || !errors.Is(told[0], failure) {
			t.Errorf("told %v", told)
		}
		if told := *h.inBackground(func(context.Context) error { panic("defect") }); len(told) != 1 || protocol.CodeOf(told[0]) != protocol.UnknownServerError {
			t.Errorf("told %v of a panic", told)
		}
	})
}

func TestBackgroundWorkOfADroppedShardIsForgotten(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		proceed := make(chan struct{})
		told := h.inBackground(func(context.Context) error { <-proceed; return nil })
		h.rt.Write(0, func(*table, runtime.Env) runtime.Result { panic("defect") }, func(error) {})
		synctest.Wait() // loaded again
		close(proceed)
		synctest.Wait()
		if len(*told) > 0 || h.shards != 2 {
			t.Errorf("shard %d was told %v", h.shards, *told)
		}
	})
}

func TestBackgroundWorkEndsWithTheRuntime(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		told := h.inBackground(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		waits := h.inBackground(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		third := h.inBackground(func(context.Context) error { t.Error("more work at once than is allowed"); return nil })
		h.rt.Close()
		if len(*told)+len(*waits)+len(*third) > 0 {
			t.Error("an operation ran after Close")
		}
	})
}
