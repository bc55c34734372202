package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// A load that takes long says how far it is; meanwhile operations are told that it goes on.
func TestALongLoadTellsHowFarItIs(t *testing.T) {
	run(t, func(h *harness) {
		for i := range 10 {
			b := record.NewBuilder()
			b.Add(0, fmt.Append(nil, "key-", i), []byte("v"))
			if err := h.log.Put(b); err != nil {
				t.Fatal(err)
			}
		}
		h.slow = 4 * time.Second
		h.rt.Elect(0, 1)
		time.Sleep(25 * time.Second) // in the bubble's time
		var o outcome
		h.rt.Read(0, func(*table, runtime.Env) { o.done(nil) }, o.fail)
		synctest.Wait()
		if len(o.failed) != 1 || protocol.CodeOf(o.failed[0]) != protocol.CoordinatorLoadInProgress {
			t.Errorf("during the load: %v", o.failed)
		}
		if n := h.logged.FilterMessage("loading of metadata goes on").Len(); n != 2 {
			t.Errorf("%d reports after 25 s", n)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		done := h.logged.FilterMessage("finished loading of metadata").All()
		if len(done) != 1 {
			t.Fatalf("finished %d times", len(done))
		}
		if f := done[0].ContextMap(); f["records"] != int64(10) || f["took"] != 40*time.Second || f["epoch"] != int32(1) || f["end_offset"] != int64(10) {
			t.Errorf("%v", f)
		}
	})
}
