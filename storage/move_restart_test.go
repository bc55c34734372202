package storage

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// A broker that stops in the middle of a move goes on with it, from what was copied.
func TestMoveGoesOnAfterRestart(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := vfs.NewMem()
				o := storeOptions(t, m, nil, "/a", "/b")
				s := openStore(t, o)
				tp := tpOf("t", 0)
				p := &owner{log: create(t, s, tp, protocol.NewUUID())}
				for range 5 {
					if _, err := p.log.Append(batchOfSize(t, 600), AppendOptions{LeaderEpoch: 2, Now: time.Now().UnixMilli()}); err != nil {
						t.Fatal(err)
					}
				}
				slow := p.relocation()
				slow.BytesPerSecond = func() int64 { return 0 }
				if err := s.Move(tp, "/b", slow); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				copied := s.FutureLog(tp).Offsets().LogEnd
				if copied == 0 || copied == 5 {
					t.Fatalf("%d of 5 are copied", copied)
				}
				before := contentOf(t, p.log)
				folder := s.FutureLog(tp).Dir()
				if clean {
					closeStore(t, s)
				} else {
					kill(t, s)
				}
				s = openStore(t, o)
				defer closeStore(t, s)
				f := s.FutureLog(tp)
				if f == nil || f.Dir() != folder || f.Offsets().LogEnd != copied {
					t.Fatalf("after the restart the copy is %v", f)
				}
				p.log = s.Log(tp)
				s.ResumeMove(tp, p.relocation())
				synctest.Wait()
				if p.log.Dir() != "/b/t-0" || !bytes.Equal(contentOf(t, p.log), before) || s.FutureLog(tp) != nil {
					t.Errorf("the move was not completed: %s", p.log.Dir())
				}
			})
		})
	}
}

// The log loses its tail in a crash, its copy does not: what follows is written in a new epoch, and the copy must not keep the old tail.
func TestCopyFollowsTheLogBack(t *testing.T) {
	m := vfs.NewMem()
	from, to := openLogAt(t, m, "/from", testConfig(1<<20)), openLogAt(t, m, "/to", testConfig(1<<20))
	at := func(epoch int32, n int) {
		for range n {
			if _, err := from.Append(plainBatch(t, 1, 1), AppendOptions{LeaderEpoch: epoch}); err != nil {
				t.Fatal(err)
			}
		}
	}
	catchUp := func() {
		t.Helper()
		c := copier{from: from, to: to, limit: 300}
		for n := int64(1); n > 0; {
			var err error
			if n, err = c.copy(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(contentOf(t, from), contentOf(t, to)) || from.Offsets() != to.Offsets() {
			t.Errorf("the copy has %v, the log %v", to.Offsets(), from.Offsets())
		}
	}
	at(1, 10)
	catchUp()
	if err := from.TruncateTo(6); err != nil {
		t.Fatal(err)
	}
	catchUp() // shorter, in the same epoch
	at(1, 4)
	catchUp()
	if err := from.TruncateTo(4); err != nil {
		t.Fatal(err)
	}
	from.AssignEpoch(2)
	at(2, 20)
	catchUp()
	if err := from.TruncateTo(0); err != nil {
		t.Fatal(err)
	}
	from.AssignEpoch(3)
	at(3, 3)
	catchUp()
	if err := from.ResetTo(100); err != nil {
		t.Fatal(err)
	}
	catchUp()
	at(4, 2)
	from.AdvanceHighWatermark(102)
	if err := from.DeleteBefore(101); err != nil {
		t.Fatal(err)
	}
	catchUp()
	if err := errors.Join(from.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
}

// A move is cut off at every operation on the disk: the log is in one of the two dirs, whole, and the next start or the next move brings everything in order.
func TestMoveIsCutOffAnywhere(t *testing.T) {
	for after := 0; ; after++ {
		done := false
		t.Run(fmt.Sprint("after ", after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { done = cutOff(t, after) })
		})
		if done || t.Failed() {
			break
		}
	}
}

// cutOff stops the disk after so many operations that follow the start of a move, and starts again from what is durable. It reports whether the move was done before.
func cutOff(t *testing.T, after int) (done bool) {
	m := vfs.NewMem()
	f := vfs.NewFaulty(m)
	o := storeOptions(t, f, nil, "/a", "/b")
	o.Logger = zap.NewNop()
	s := openStore(t, o)
	if err := s.SetClusterID("one"); err != nil {
		t.Fatal(err)
	}
	tp := tpOf("t", 0)
	p := &owner{log: create(t, s, tp, protocol.NewUUID())}
	produce(t, p.log, 30, 0)
	if err := p.log.Sync(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	before := contentOf(t, p.log)
	failed, _ := f.Inject(vfs.Fault{Skip: after})
	if err := s.Move(tp, "/b", p.relocation()); err == nil {
		synctest.Wait()
	}
	time.Sleep(time.Second)
	done = failed() == 0
	disk := m.Crash(int64(after))
	kill(t, s)
	o.FS = disk
	s = openStore(t, o)
	defer closeStore(t, s)
	p.log = s.Log(tp)
	if p.log == nil {
		t.Fatal("the log is gone")
	}
	if !bytes.Equal(contentOf(t, p.log), before) {
		t.Errorf("the log in %s ends at %d", p.log.Dir(), p.log.Offsets().LogEnd)
	}
	s.ResumeMove(tp, p.relocation())
	if err := s.Move(tp, "/b", p.relocation()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Minute)
	if p.log = s.Log(tp); p.log.Dir() != "/b/t-0" || !bytes.Equal(contentOf(t, p.log), before) {
		t.Errorf("in the end the log is in %s", p.log.Dir())
	}
	if a, b := folders(t, disk, "/a"), folders(t, disk, "/b"); len(a) != 0 || len(b) != 1 || strings.Contains(b[0], ".") {
		t.Errorf("folders %v, %v are left", a, b)
	}
	return done
}
