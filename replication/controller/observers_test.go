package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

func TestObserversComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o observers
		key := observerKey{5, protocol.UUID{15: 1}}
		begun := time.Now()
		o.note(key, 10, 20, begun)
		if all := o.list(begun); len(all) != 1 || all[0].LogEndOffset != 10 || !all[0].LastCaughtUp.IsZero() {
			t.Fatalf("behind: %+v", all)
		}
		// it has got what there was when it asked before, though there is more by now
		later := begun.Add(time.Second)
		o.note(key, 20, 30, later)
		if all := o.list(later); all[0].LastCaughtUp != begun || all[0].LastFetch != later {
			t.Errorf("on its way: %+v", all)
		}
		o.note(key, 30, 30, later)
		if all := o.list(later); all[0].LastCaughtUp != later {
			t.Errorf("caught up: %+v", all)
		}
		o.note(observerKey{4, protocol.UUID{}}, 30, 30, later.Add(time.Minute))
		if all := o.list(later.Add(time.Minute)); len(all) != 2 || all[0].ID != 4 {
			t.Errorf("two: %+v", all)
		}
		if all := o.list(later.Add(observerTimeout)); len(all) != 1 || all[0].ID != 4 {
			t.Errorf("one is silent: %+v", all)
		}
	})
}

// An idle controller writes nothing, unless it is told to.
func TestRecordsThatDoNothing(t *testing.T) {
	for _, c := range []struct {
		static map[string]string
		want   int64 // records in 10 s
	}{{nil, 0}, {map[string]string{"metadata.max.idle.interval.ms": "500"}, 20}, {map[string]string{"metadata.max.idle.interval.ms": "0"}, 0}} {
		synctest.Test(t, func(t *testing.T) {
			n := startNode(t, vfs.NewMem(), c.static)
			time.Sleep(5 * time.Second)
			before := n.Image().Offset()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := n.Image().Offset() - before; got < c.want-1 || got > c.want+1 {
				t.Errorf("%v: %d records in 10 s", c.static, got)
			}
			n.close()
		})
	}
}
