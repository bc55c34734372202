package storage

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// owner is what a partition is to its log: appends and the replacement of the log exclude each other.
type owner struct {
	mu  sync.Mutex
	log *Log
}

func (o *owner) current() *Log {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log
}

// relocation moves at any speed.
func (o *owner) relocation() Relocation {
	return Relocation{
		Replace: func(swap func() (*Log, error)) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if log, err := swap(); err == nil {
				o.log = log
			}
		},
		BytesPerSecond: func() int64 { return 1 << 40 },
	}
}

// append appends a batch to whatever is the log, and commits it.
func (o *owner) append(t testing.TB, seq int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	produce(t, o.log, 1, int32(seq))
}

// contentOf is all bytes of a log's batches.
func contentOf(t testing.TB, l *Log) []byte {
	t.Helper()
	var all []byte
	for at, end := l.Offsets().LogStart, l.Offsets().LogEnd; at < end; {
		s, err := l.Read(at, end, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		b := readAll(t, s)
		if len(b) == 0 {
			break
		}
		all = append(all, b...)
		bases := basesOf(t, b)
		at = bases[len(bases)-1] + 1
	}
	return all
}

func TestMoveToAnotherDir(t *testing.T) {
	eachRulesInBubble(t, func(t *testing.T, m *vfs.Mem) {
		o := storeOptions(t, m, nil, "/a", "/b")
		s := openStore(t, o)
		if err := s.SetClusterID("one"); err != nil {
			t.Fatal(err)
		}
		tp := tpOf("t", 0)
		p := &owner{log: create(t, s, tp, protocol.NewUUID())}
		produce(t, p.log, 100, 0) // several segments
		if err := p.log.DeleteBefore(7); err != nil {
			t.Fatal(err)
		}
		p.log.AssignEpoch(9)
		old, before := p.log, contentOf(t, p.log)
		held, err := old.Read(50, 60, 100, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Move(tp, "/b", p.relocation()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		l := s.Log(tp)
		if l == old || l != p.log || l.Dir() != "/b/t-0" || s.FutureLog(tp) != nil {
			t.Fatalf("the log is %s; a copy: %v", l.Dir(), s.FutureLog(tp))
		}
		if !bytes.Equal(contentOf(t, l), before) {
			t.Error("the log's content has changed")
		}
		if got, want := fmt.Sprint(l.Offsets(), l.TopicID(), l.LatestEpoch(), l.Producers()), fmt.Sprint(old.Offsets(), old.TopicID(), 9, old.Producers()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := names(t, m, "/b"); !slices.Contains(got, "t-0") || len(folders(t, m, "/b")) != 1 {
			t.Errorf("/b holds %v", got)
		}
		if got := folders(t, m, "/a"); len(got) != 1 || !strings.HasSuffix(got[0], deleteSuffix) {
			t.Errorf("/a holds %v", got)
		}
		if b := readAll(t, held); len(b) == 0 {
			t.Error("a slice of the old log is empty")
		}
		if has(t, m, "/b/t-0/"+arrivedName) {
			t.Error("the mark of the move is left")
		}
		p.append(t, 100)
		time.Sleep(time.Duration(l.Config().FileDeleteDelayMs+1000) * time.Millisecond)
		synctest.Wait()
		if got := folders(t, m, "/a"); len(got) != 0 {
			t.Errorf("/a still holds %v", got)
		}
		state := snapshotOf(s)
		closeStore(t, s)
		s = openStore(t, o)
		defer closeStore(t, s)
		if got := snapshotOf(s); fmt.Sprint(got) != fmt.Sprint(state) {
			t.Errorf("after a restart %v, want %v", got, state)
		}
	})
}

func folders(t testing.TB, fsys vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, e.Name())
		}
	}
	return all
}

func TestMoveWhileItIsWrittenAndRead(t *testing.T) {
	s := openStore(t, storeOptions(t, vfs.OS(), nil, t.TempDir(), t.TempDir()))
	defer closeStore(t, s)
	tp := tpOf("t", 0)
	p := &owner{log: create(t, s, tp, protocol.NewUUID())}
	c := p.log.Config()
	c.SegmentBytes = 200_000
	p.log.Configure(c)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	written := 0
	all.Go(func() {
		for ; ctx.Err() == nil; written++ {
			p.append(t, written)
		}
	})
	all.Go(func() {
		for at := int64(0); ctx.Err() == nil; {
			l := p.current()
			slice, err := l.Read(at, l.Offsets().HighWatermark, 4000, true)
			if err != nil {
				if p.current() == l {
					t.Errorf("read at %d: %v", at, err)
					return
				}
				continue
			}
			for _, base := range basesOf(t, readAll(t, slice)) {
				if base != at {
					t.Errorf("read %d, want %d", base, at)
				}
				at = base + 1
			}
		}
	})
	for range 4 {
		from := p.current()
		for _, d := range s.Dirs() {
			if !strings.HasPrefix(from.Dir(), d.Path+"/") {
				if err := s.Move(tp, d.Path, p.relocation()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for p.current() == from && !t.Failed() {
			time.Sleep(time.Millisecond) // real disks: the move has no other sign of its end
		}
	}
	stop()
	all.Wait()
	if got := checkDense(t, p.current()); got != int64(written) {
		t.Errorf("the log ends at %d, %d were written", got, written)
	}
}

func TestMoveIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, storeOptions(t, vfs.NewMem(), nil, "/a", "/b"))
		defer closeStore(t, s)
		tp := tpOf("t", 0)
		c := testLogConfig()
		c.SegmentBytes = 1 << 30
		log, err := s.Create(tp, protocol.NewUUID(), c)
		if err != nil {
			t.Fatal(err)
		}
		p := &owner{log: log}
		for range 10 {
			b := batchOfSize(t, 500_000)
			if _, err := log.Append(b, AppendOptions{Now: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
		}
		r := p.relocation()
		r.BytesPerSecond = func() int64 { return 1_000_000 }
		began := time.Now()
		if err := s.Move(tp, "/b", r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		if f := s.FutureLog(tp); f == nil || f.Size() < 1_000_000 || f.Size() > 4_000_000 {
			t.Fatalf("after 2.5 s the copy is %v", f)
		}
		for p.current() == log {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("5 MB at 1 MB/s took %v", took)
		}
	})
}

func TestMoveIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		s := openStore(t, storeOptions(t, m, nil, "/a", "/b", "/c"))
		defer closeStore(t, s)
		tp := tpOf("t", 0)
		p := &owner{log: create(t, s, tp, protocol.NewUUID())}
		produce(t, p.log, 50, 0)
		stopped := p.relocation()
		stopped.BytesPerSecond = func() int64 { return 0 }
		for _, dir := range []string{"/b", "/c"} { // the second takes the place of the first
			if err := s.Move(tp, dir, stopped); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if f := s.FutureLog(tp); f == nil || !strings.HasPrefix(f.Dir(), dir+"/t-0.") || !strings.HasSuffix(f.Dir(), futureSuffix) {
				t.Fatalf("no copy in %s", dir)
			}
		}
		if err := s.Move(tp, "/a", stopped); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if s.FutureLog(tp) != nil || p.current().Dir() != "/a/t-0" || len(folders(t, m, "/b"))+len(folders(t, m, "/c")) != 0 {
			t.Errorf("after the cancellation: %v %v", folders(t, m, "/b"), folders(t, m, "/c"))
		}
		if err := s.Move(tp, "/b", p.relocation()); err != nil { // and again
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if p.current().Dir() != "/b/t-0" {
			t.Errorf("the log is in %s", p.current().Dir())
		}
		if err := s.Move(tp, "/c", stopped); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(tp); err != nil { // takes the copy along
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if s.FutureLog(tp) != nil || len(folders(t, m, "/b"))+len(folders(t, m, "/c")) != 0 {
			t.Errorf("after the deletion: %v %v", folders(t, m, "/b"), folders(t, m, "/c"))
		}
	})
}

func TestMoveRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := vfs.NewFaulty(vfs.NewMem())
		o := storeOptions(t, f, nil, "/a", "/b", "/c")
		s := openStore(t, o)
		defer closeStore(t, s)
		tp := tpOf("t", 0)
		p := &owner{log: create(t, s, tp, protocol.NewUUID())}
		refused := func(tp protocol.TopicPartition, dir string, want protocol.Code) {
			t.Helper()
			if err := s.Move(tp, dir, p.relocation()); protocol.CodeOf(err) != want {
				t.Errorf("%s to %s: %v, want %v", tp, dir, err, want)
			}
		}
		refused(tp, "/d", protocol.LogDirNotFound)
		refused(tpOf("t", 1), "/b", protocol.NotLeaderOrFollower)
		refused(tpOf(strings.Repeat("x", 240), 0), "/b", protocol.InvalidTopicException)
		s.failDir(s.dirs[2], vfs.ErrInjected)
		synctest.Wait()
		refused(tp, "/c", protocol.KafkaStorageError)
		refused(tp, "/b", protocol.KafkaStorageError) // the lost dir may hold a copy
		refused(tp, "/a", protocol.None)
	})
}

func TestPreferredDir(t *testing.T) {
	s := openStore(t, storeOptions(t, vfs.NewMem(), nil, "/a", "/b"))
	defer closeStore(t, s)
	s.PreferDir(tpOf("t", 0), "/b")
	for i, want := range []string{"/b/t-0", "/a/t-1", "/a/t-2"} {
		if l := create(t, s, tpOf("t", int32(i)), protocol.NewUUID()); l.Dir() != want {
			t.Errorf("partition %d is in %s, want %s", i, l.Dir(), want)
		}
	}
}

// batchOfSize is a batch with one record of n bytes.
func batchOfSize(t testing.TB, n int) []byte {
	t.Helper()
	w := record.NewBuilder()
	w.Add(time.Now().UnixMilli(), nil, make([]byte, n))
	return finished(t, w)
}
