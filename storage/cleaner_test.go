package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// compacted makes a log with the config, and put appends one record to it, each in a segment of its own.
func compacted(t testing.TB, s *Store, topic string, c LogConfig) *Log {
	t.Helper()
	l, err := s.Create(tpOf(topic, 0), protocol.NewUUID(), c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t testing.TB, l *Log, key, value string) {
	t.Helper()
	w := record.NewBuilder()
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	w.Add(time.Now().UnixMilli(), []byte(key), v)
	if _, err := l.Append(finished(t, w), AppendOptions{LeaderEpoch: 1, Now: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
}

// content lists the log's records as offset:key=value.
func content(t testing.TB, l *Log, codecs *record.Codecs) string {
	t.Helper()
	var out []string
	err := l.Batches(context.Background(), l.Offsets().LogStart, func(b record.Batch) error {
		return codecs.Records(b, func(r *record.Record) error {
			out = append(out, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func cleanerStore(t *testing.T, fsys vfs.FS, settings map[string]string) (*Store, *record.Codecs) {
	t.Helper()
	o := storeOptions(t, fsys, settings, "a")
	o.Logger = zap.NewNop()
	s := openStore(t, o)
	t.Cleanup(func() { closeStore(t, s) })
	return s, o.Codecs
}

// restingStore is cleanerStore in a bubble, after the cleaner's first look.
func restingStore(t *testing.T, fsys vfs.FS, settings map[string]string) (*Store, *record.Codecs) {
	t.Helper()
	s, codecs := cleanerStore(t, fsys, settings)
	synctest.Wait()
	return s, codecs
}

// pause lets the cleaner come to its next look.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func eager() LogConfig {
	c := compactConfig()
	c.MinCompactionLagMs, c.MaxCompactionLagMs, c.DeleteRetentionMs = 0, math.MaxInt64, 60_000
	return c
}

func TestCleanerCompactsAndForgetsTombstonesLater(t *testing.T) {
	eachRulesInBubble(t, func(t *testing.T, disk *vfs.Mem) {
		s, codecs := restingStore(t, disk, map[string]string{"log.cleaner.backoff.ms": "5000"})
		l := compacted(t, s, "t", eager())
		for _, p := range []string{"a=1", "b=1", "a=2", "c=1", "b=", "d=1"} {
			key, value, _ := strings.Cut(p, "=")
			put(t, l, key, value)
		}
		pause(6 * time.Second)
		if got := content(t, l, codecs); got != "2:a=2 3:c=1 4:b= 5:d=1" {
			t.Fatal(got)
		}
		if got, err := disk.ReadFile("a/" + cleanerCheckpoint); err != nil || string(got) != "0\n1\nt 0 6\n" {
			t.Fatalf("%q %v", got, err)
		}
		if n := len(l.view.Load().segments); n != 2 {
			t.Errorf("%d segments", n)
		}
		put(t, l, "a", "3") // the horizon of b's tombstone is a minute after the first pass
		pause(30 * time.Second)
		if got := content(t, l, codecs); got != "3:c=1 4:b= 5:d=1 6:a=3" {
			t.Fatal(got)
		}
		pause(40 * time.Second)
		put(t, l, "a", "4")
		pause(6 * time.Second)
		if got := content(t, l, codecs); got != "3:c=1 5:d=1 7:a=4" {
			t.Fatal(got)
		}
		if at := l.Offsets(); at.LogStart != 0 || at.LogEnd != 8 || at.HighWatermark != 8 {
			t.Errorf("%+v", at)
		}
		status := s.Cleaner()
		if status.Threads != 1 || status.Passes != 3 || len(status.Uncleanable) > 0 || status.LastPass.NewFirstDirty != 8 {
			t.Errorf("%+v", status)
		}
	})
}

func TestCleanerHeedsLagsAndRatio(t *testing.T) {
	type config = LogConfig
	for name, test := range map[string]struct {
		set   func(c *config)
		waits time.Duration // until it is compacted
	}{
		"at once":         {func(*config) {}, 0},
		"min lag":         {func(c *config) { c.MinCompactionLagMs = 600_000 }, 600 * time.Second},
		"ratio":           {func(c *config) { c.MinCleanableDirtyRatio = 1 }, -1},
		"max lag":         {func(c *config) { c.MinCleanableDirtyRatio, c.MaxCompactionLagMs = 1, 900_000 }, 900 * time.Second},
		"not compacted":   {func(c *config) { c.Compact, c.Delete = false, true }, -1},
		"neither of them": {func(c *config) { c.Compact = false }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, codecs := restingStore(t, vfs.NewMem(), nil)
				c := eager()
				test.set(&c)
				l := compacted(t, s, "t", c)
				for i := range 3 {
					put(t, l, "a", fmt.Sprint(i))
				}
				began := time.Now()
				for time.Since(began) < time.Hour && strings.Contains(content(t, l, codecs), "0:") {
					pause(5 * time.Second)
				}
				took := time.Since(began)
				if test.waits < 0 && took < time.Hour || test.waits >= 0 && (took < test.waits || took > test.waits+40*time.Second) {
					t.Errorf("compacted after %v", took)
				}
			})
		})
	}
}

func TestCompactAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, codecs := restingStore(t, vfs.NewMem(), nil)
		c := eager()
		c.Delete, c.RetentionMs, c.SegmentBytes = true, 600_000, 90 // segments of one record, which do not merge
		l := compacted(t, s, "t", c)
		put(t, l, "a", "1")
		put(t, l, "a", "2")
		pause(20 * time.Second)
		if got := content(t, l, codecs); got != "1:a=2" {
			t.Fatal(got)
		}
		pause(300 * time.Second)
		put(t, l, "b", "1")
		pause(310 * time.Second) // a's segment is too old now
		if got := content(t, l, codecs); got != "2:b=1" || l.Offsets().LogStart != 2 {
			t.Errorf("%s, start %d", got, l.Offsets().LogStart)
		}
	})
}

// A batch that the disk has damaged is found, nothing is dropped because of it, and the log is left alone.
func TestDamagedLogIsUncleanable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		s, _ := restingStore(t, disk, nil)
		l, healthy := compacted(t, s, "bad", eager()), compacted(t, s, "good", eager())
		for i := range 4 {
			put(t, l, "a", fmt.Sprint(i))
			put(t, healthy, "a", fmt.Sprint(i))
		}
		f, err := disk.Open(l.view.Load().segments[2].path(logSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{'x'}, 65); err != nil {
			t.Fatal(err)
		}
		f.Close()
		before := len(l.view.Load().segments)
		pause(20 * time.Second)
		status := s.Cleaner()
		if len(status.Uncleanable) != 1 || status.Uncleanable[0].Partition.Topic != "bad" || status.Uncleanable[0].Dir != "a" || status.Uncleanable[0].DirtyBytes == 0 ||
			!errors.Is(status.Uncleanable[0].Err, protocol.CorruptMessage) {
			t.Fatalf("%+v", status.Uncleanable)
		}
		if n := len(l.view.Load().segments); n != before {
			t.Errorf("%d segments, had %d", n, before)
		}
		if n := len(healthy.view.Load().segments); n != 2 {
			t.Errorf("the other log has %d segments", n)
		}
		if err := s.Delete(l.TopicPartition()); err != nil {
			t.Fatal(err)
		}
		pause(20 * time.Second)
		if status := s.Cleaner(); len(status.Uncleanable) != 0 {
			t.Errorf("%+v", status.Uncleanable)
		}
	})
}

func TestFullDiskDelaysCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		s, codecs := restingStore(t, faulty, nil)
		l := compacted(t, s, "t", eager())
		hits, heal := faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Pattern: "*.log.cleaned", Err: syscall.ENOSPC})
		put(t, l, "a", "1")
		put(t, l, "a", "2")
		pause(40 * time.Second)
		if hits() < 2 || s.Dirs()[0].Offline != nil || len(s.Cleaner().Uncleanable) > 0 || content(t, l, codecs) != "0:a=1 1:a=2" {
			t.Fatalf("%d tries, %+v, %s", hits(), s.Dirs(), content(t, l, codecs))
		}
		for _, name := range names(t, faulty, "a/t-0") {
			if strings.HasSuffix(name, cleanedSuffix) {
				t.Errorf("%s is left", name)
			}
		}
		heal()
		pause(20 * time.Second)
		if got := content(t, l, codecs); got != "1:a=2" {
			t.Error(got)
		}
	})
}

func TestFailingDiskTakesDirOffline(t *testing.T) {
	for _, fault := range []vfs.Fault{
		{Op: vfs.OpRename, Pattern: "*.swap"}, {Op: vfs.OpRename, Pattern: "*.log.deleted"}, {Op: vfs.OpSync, Pattern: "*.log.cleaned"}, {Op: vfs.OpCreate, Pattern: "*.index.cleaned"},
		{Op: vfs.OpRead, Pattern: "*.log"},
	} {
		synctest.Test(t, func(t *testing.T) {
			faulty := vfs.NewFaulty(vfs.NewMem())
			s, _ := restingStore(t, faulty, nil)
			l := compacted(t, s, "t", eager())
			put(t, l, "a", "1")
			put(t, l, "a", "2")
			faulty.Inject(fault)
			pause(20 * time.Second)
			if s.Dirs()[0].Offline == nil || l.offline() == nil {
				t.Errorf("%+v: the dir is still in use", fault)
			}
		})
	}
}

func TestCleanerIsReconfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, codecs := restingStore(t, vfs.NewMem(), map[string]string{"log.cleaner.backoff.ms": "3600000"})
		l := compacted(t, s, "t", eager())
		pause(time.Second)
		put(t, l, "a", "1")
		put(t, l, "a", "2")
		pause(time.Minute)
		if got := content(t, l, codecs); got != "0:a=1 1:a=2" {
			t.Fatal(got)
		}
		values, err := config.FromStatic(map[string]string{"log.cleaner.backoff.ms": "1000", "log.cleaner.threads": "2"})
		if err != nil {
			t.Fatal(err)
		}
		s.Reconfigure(values)
		s.Reconfigure(values)
		pause(time.Second)
		if got := content(t, l, codecs); got != "1:a=2" || s.Cleaner().Threads != 2 {
			t.Errorf("%s, %d threads", got, s.Cleaner().Threads)
		}
	})
}

func TestThrottleHoldsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var throttle ioThrottle
		throttle.setRate(1 << 20)
		began := time.Now()
		var threads sync.WaitGroup
		for range 2 {
			threads.Go(func() {
				for range 100 {
					if err := throttle.wait(t.Context(), 50<<10); err != nil {
						t.Error(err)
					}
				}
			})
		}
		threads.Wait()
		if took := time.Since(began); took < 9500*time.Millisecond || took > 10*time.Second {
			t.Errorf("10 MB at 1 MB/s took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := throttle.wait(ctx, 1<<30); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		throttle.setRate(math.MaxFloat64)
		began = time.Now()
		for range 1000 {
			if err := throttle.wait(t.Context(), 1<<30); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(began) > 0 {
			t.Error("waited without a limit")
		}
	})
}

// Readers and a writer go on while several threads compact; readers meet every offset's last value and no foreign bytes.
func TestCompactionBesideReadersAndWriters(t *testing.T) {
	o := storeOptions(t, vfs.NewMem(), map[string]string{"log.cleaner.backoff.ms": "1", "log.cleaner.threads": "2"}, "a") // each pass syncs hundreds of files
	o.Logger = zap.NewNop()
	s, codecs := openStore(t, o), o.Codecs
	defer closeStore(t, s)
	c := eager()
	c.SegmentBytes, c.DeleteRetentionMs = 4000, 0
	var logs []*Log
	for i := range 3 {
		logs = append(logs, compacted(t, s, fmt.Sprint("t", i), c))
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	for _, l := range logs {
		for range 2 {
			all.Go(func() {
				for !stop.Load() {
					readKeys(t, l, codecs)
				}
			})
		}
	}
	for i := range 3000 {
		for _, l := range logs {
			w := record.NewBuilder()
			w.Add(time.Now().UnixMilli(), fmt.Append(nil, "key", i%40), fmt.Appendf(nil, "%d %s", l.Offsets().LogEnd, strings.Repeat("x", 60)))
			if _, err := l.Append(finished(t, w), AppendOptions{LeaderEpoch: 1, Now: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
			l.AdvanceHighWatermark(l.Offsets().LogEnd)
		}
	}
	for s.Cleaner().Passes < 6 && len(s.Cleaner().Uncleanable) == 0 && !t.Failed() {
		readKeys(t, logs[0], codecs)
	}
	stop.Store(true)
	all.Wait()
	if status := s.Cleaner(); status.Passes < 6 || len(status.Uncleanable) > 0 {
		t.Errorf("%+v", status)
	}
}

// readKeys reads a log from its start, holding slices for a while, and checks that each record is what was written at its offset.
func readKeys(t *testing.T, l *Log, codecs *record.Codecs) {
	end := l.Offsets().LogEnd
	last := map[string]int64{}
	for offset := int64(0); offset < l.Offsets().LogEnd; { // up to its end as of then: a record may be gone for one that came meanwhile
		s, err := l.Read(offset, math.MaxInt64, 3000, true)
		if err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, s.Len())
		if n, err := s.ReadAt(b, 0); n < len(b) || s.Valid() != nil {
			t.Error(n, err, s.Valid())
		}
		s.Release()
		if len(b) == 0 {
			break
		}
		for len(b) > 0 {
			batch, rest, err := record.Split(b)
			if err == nil {
				err = batch.Check()
			}
			if err == nil {
				err = codecs.Records(batch, func(r *record.Record) error {
					last[string(r.Key)] = r.Offset
					if !strings.HasPrefix(string(r.Value), fmt.Sprint(r.Offset, " ")) || r.Offset < offset {
						return fmt.Errorf("record %d, read from %d: %.20s", r.Offset, offset, r.Value)
					}
					return nil
				})
			}
			if err != nil {
				t.Error(err)
				return
			}
			offset, b = batch.NextOffset(), rest
		}
	}
	if n := min(40, int(end)); len(last) < n {
		t.Errorf("%d keys of %d; %v", len(last), n, slices.Sorted(func(yield func(string) bool) {
			for k := range last {
				if !yield(k) {
					return
				}
			}
		}))
	}
}
