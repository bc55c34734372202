package storage

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// A move takes along what the batches cannot tell any more, and a start after it, clean or not, still knows: producers, transactions and the end of compaction.
func TestMoveCarriesState(t *testing.T) {
	for _, clean := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := vfs.NewMem()
			o := storeOptions(t, m, nil, "/a", "/b")
			o.Logger = zap.NewNop()
			s := openStore(t, o)
			tp := tpOf("t", 0)
			p := &owner{log: create(t, s, tp, protocol.NewUUID())}
			produce(t, p.log, 100, 0)
			end := p.log.Offsets().LogEnd
			if err := p.log.DeleteBefore(end); err != nil {
				t.Fatal(err)
			}
			if _, err := p.log.Retention(time.Now()); err != nil {
				t.Fatal(err)
			}
			p.log.cleaned.Store(end - 1)
			want := fmt.Sprint(p.log.Producers())
			if len(p.log.Producers()) == 0 || len(contentOf(t, p.log)) > 0 {
				t.Fatalf("producers %s", want)
			}
			if err := s.Move(tp, "/b", p.relocation()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			check := func(l *Log, when string) {
				t.Helper()
				if l == nil || l.Dir() != "/b/t-0" {
					t.Fatalf("%s: the log is %v", when, l)
				}
				if got := fmt.Sprint(l.Producers()); got != want || l.cleaned.Load() != end-1 {
					t.Errorf("%s: producers %s, want %s; compacted to %d of %d", when, got, want, l.cleaned.Load(), end-1)
				}
			}
			check(s.Log(tp), "after the move")
			sleep(time.Minute)
			if clean {
				closeStore(t, s)
			} else {
				crash := m.Crash(1)
				kill(t, s)
				o.FS = crash
			}
			s = openStore(t, o)
			check(s.Log(tp), "after a start")
			closeStore(t, s)
		})
	}
}

// While a log has a copy on its way to another dir nobody compacts it, and who does already stops.
func TestCompactionPausesForAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := storeOptions(t, vfs.NewMem(), nil, "/a", "/b")
		s := openStore(t, o)
		tp := tpOf("t", 0)
		p := &owner{log: create(t, s, tp, protocol.NewUUID())}
		work, ok := s.cleaner.claim(context.Background(), p.log)
		if !ok {
			t.Fatal("the log cannot be claimed")
		}
		stopped := make(chan struct{})
		go func() {
			<-work.Done()
			close(stopped)
			s.cleaner.release(p.log)
		}()
		slow := p.relocation()
		slow.BytesPerSecond = func() int64 { return 0 }
		produce(t, p.log, 50, 0)
		big := p.log.Config()
		big.SegmentBytes, big.MaxMessageBytes = 64<<20, 32<<20
		p.log.Configure(big)
		for range 3 { // more than one piece, so that the copy stays behind
			w := record.NewBuilder()
			w.Add(1, nil, make([]byte, 2<<20))
			mustAppend(t, p.log, finished(t, w))
		}
		if err := s.Move(tp, "/b", slow); err != nil {
			t.Fatal(err)
		}
		select {
		case <-stopped:
		default:
			t.Error("the move began beside a compaction")
		}
		if s.FutureLog(tp) == nil {
			t.Fatal("no copy is under way")
		}
		if _, ok := s.cleaner.claim(context.Background(), p.log); ok {
			t.Error("a log with a copy was claimed")
		}
		if err := s.Move(tp, "/a", slow); err != nil { // cancels
			t.Fatal(err)
		}
		if _, ok := s.cleaner.claim(context.Background(), p.log); !ok {
			t.Error("compaction does not go on after the move")
		}
		s.cleaner.release(p.log)
		closeStore(t, s)
	})
}
