package storage

import (
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

const retentionBatch = 100 // bytes of each batch that fillSegments appends

// sized builds a batch of one record that is retentionBatch bytes long.
func sized(t *testing.T, timestamp int64) record.Batch {
	t.Helper()
	w := record.NewBuilder()
	w.Add(timestamp, nil, make([]byte, retentionBatch-record.HeaderSize-8))
	b := finish(t, w)
	if len(b) > retentionBatch {
		t.Fatalf("%d bytes", len(b))
	}
	w.Reset()
	w.Add(timestamp, nil, make([]byte, 2*retentionBatch-record.HeaderSize-8-len(b)))
	if b = finish(t, w); len(b) != retentionBatch {
		t.Fatalf("%d bytes", len(b))
	}
	return b
}

// fillSegments appends two batches for each segment, with the ages (before now) that are given; it commits all but the last hold records.
func fillSegments(t *testing.T, l *Log, hold int64, ages ...time.Duration) {
	t.Helper()
	for i, age := range ages {
		if i > 0 {
			if err := l.Roll(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			timestamp := int64(-1)
			if age != noTimestamp {
				timestamp = time.Now().Add(-age).UnixMilli()
			}
			if _, err := l.Append(sized(t, timestamp), AppendOptions{Now: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd - hold)
}

const noTimestamp = time.Duration(-1 << 62)

func TestRetention(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct {
		name     string
		ages     []time.Duration
		hold     int64 // records above the high watermark
		start    int64 // DeleteBefore
		bytes    int64 // retention.bytes, 0 none
		ms       int64 // retention.ms, 0 none
		compact  bool
		noDelete bool
		wait     time.Duration // before retention runs
		segments int           // that are left
		from     int64         // log start offset after it
	}{
		{name: "no limit", ages: []time.Duration{3 * hour, 2 * hour, hour}, segments: 3},
		{name: "time", ages: []time.Duration{3 * hour, 2 * hour, 0}, ms: hour.Milliseconds(), segments: 1, from: 4},
		{name: "time stops at the first young segment", ages: []time.Duration{3 * hour, 0, 3 * hour, 0}, ms: hour.Milliseconds(), segments: 3, from: 2},
		{name: "time is exceeded, not reached", ages: []time.Duration{hour, 0}, ms: hour.Milliseconds(), segments: 2},
		{name: "time takes the active segment too", ages: []time.Duration{3 * hour, 2 * hour}, ms: hour.Milliseconds(), segments: 1, from: 4},
		{name: "nothing above the high watermark", ages: []time.Duration{3 * hour, 2 * hour, 2 * hour}, hold: 3, ms: hour.Milliseconds(), segments: 2, from: 2},
		{name: "the future is kept", ages: []time.Duration{-3 * hour, 2 * hour, 0}, ms: hour.Milliseconds(), segments: 3},
		{name: "without timestamps the file's age counts", ages: []time.Duration{noTimestamp, noTimestamp}, ms: hour.Milliseconds(), wait: 2 * hour, segments: 1, from: 4},
		{name: "without timestamps and young", ages: []time.Duration{noTimestamp, noTimestamp}, ms: hour.Milliseconds(), segments: 2},
		{name: "size", ages: []time.Duration{0, 0, 0}, bytes: 400, segments: 2, from: 2},
		{name: "size keeps at least its limit", ages: []time.Duration{0, 0, 0}, bytes: 401, segments: 3},
		{name: "size zero takes all", ages: []time.Duration{0, 0, 0}, bytes: -2, segments: 1, from: 6},
		{name: "size above the log's", ages: []time.Duration{0, 0}, bytes: 1000, segments: 2},
		{name: "size and the high watermark", ages: []time.Duration{0, 0, 0}, hold: 5, bytes: 100, segments: 3},
		{name: "size before time", ages: []time.Duration{0, 3 * hour, 0}, bytes: 400, ms: hour.Milliseconds(), segments: 1, from: 4},
		{name: "below the log start", ages: []time.Duration{0, 0, 0}, start: 4, segments: 1, from: 4},
		{name: "the segment of the log start stays", ages: []time.Duration{0, 0, 0}, start: 3, segments: 2, from: 3},
		{name: "the active segment is not deleted for the log start", ages: []time.Duration{0, 0}, start: 4, segments: 1, from: 4},
		{name: "compact alone ignores time and size", ages: []time.Duration{3 * hour, 0}, ms: hour.Milliseconds(), bytes: 100, compact: true, noDelete: true, segments: 2},
		{name: "compact alone follows the log start", ages: []time.Duration{3 * hour, 0}, start: 2, ms: hour.Milliseconds(), compact: true, noDelete: true, segments: 1, from: 2},
		{name: "no policy follows the log start only", ages: []time.Duration{3 * hour, 0, 0}, start: 2, ms: hour.Milliseconds(), noDelete: true, segments: 2, from: 2},
		{name: "compact and delete", ages: []time.Duration{3 * hour, 0}, ms: hour.Milliseconds(), compact: true, segments: 1, from: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
				config := testLogConfig()
				config.RetentionBytes, config.RetentionMs, config.Compact, config.Delete = -1, -1, c.compact, !c.noDelete
				if c.bytes != 0 {
					config.RetentionBytes = max(c.bytes, 0)
				}
				if c.ms != 0 {
					config.RetentionMs = c.ms
				}
				s.stop() // the test alone says when retention runs
				l, err := s.Create(tpOf("t", 0), protocol.NewUUID(), config)
				if err != nil {
					t.Fatal(err)
				}
				fillSegments(t, l, c.hold, c.ages...)
				end := l.Offsets().LogEnd
				if c.start > 0 {
					if err := l.DeleteBefore(c.start); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(c.wait)
				segments := len(l.view.Load().segments)
				n, err := l.Retention(time.Now())
				if err != nil {
					t.Fatal(err)
				}
				left := len(l.view.Load().segments)
				if got := l.Offsets(); left != c.segments || got.LogStart != c.from || got.LogEnd != end {
					t.Errorf("%d segments are left, offsets %+v; want %d and start %d", left, got, c.segments, c.from)
				}
				if rolled := left - (segments - n); rolled < 0 || rolled > 1 {
					t.Errorf("says %d deleted of %d, left %d", n, segments, left)
				}
				if again, err := l.Retention(time.Now()); err != nil || again != 0 {
					t.Errorf("a second run deleted %d more, %v", again, err)
				}
				if _, err := l.Append(sized(t, time.Now().UnixMilli()), AppendOptions{}); err != nil {
					t.Errorf("append after it: %v", err)
				}
			})
		})
	}
}

// The Store runs retention by itself; the files go after file.delete.delay.ms, and a restart finds the same log.
func TestRetentionInTheBackground(t *testing.T) {
	eachRulesInBubble(t, func(t *testing.T, m *vfs.Mem) {
		o := storeOptions(t, m, nil, "a")
		s := openStore(t, o)
		config := testLogConfig()
		config.RetentionMs = time.Hour.Milliseconds()
		l, err := s.Create(tpOf("t", 0), protocol.NewUUID(), config)
		if err != nil {
			t.Fatal(err)
		}
		fillSegments(t, l, 0, 0, 0, -2*time.Hour)
		sleep(59 * time.Minute)
		if got := l.Offsets().LogStart; got != 0 {
			t.Errorf("deleted too early: log start %d", got)
		}
		sleep(6 * time.Minute)
		if got := l.Offsets(); got.LogStart != 4 || got.LogEnd != 6 {
			t.Errorf("after the limit: %+v", got)
		}
		sleep(time.Minute)
		for _, name := range names(t, m, "a/t-0") {
			if base, ok := numberOf(name); ok && base < 4 {
				t.Errorf("%s is still there", name)
			}
		}
		want := snapshotOf(s)["t-0"]
		kill(t, s)
		s = openStore(t, o)
		if s.Log(tpOf("t", 0)).AdvanceHighWatermark(6); snapshotOf(s)["t-0"] != want {
			t.Errorf("after a restart:\ngot  %v\nwant %v", snapshotOf(s)["t-0"], want)
		}
		closeStore(t, s)
	})
}

// Retention forgets no producer: a retry of a deleted batch is still recognised.
func TestRetentionKeepsProducers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		produce(t, l, 30, 0)
		c := l.Config()
		c.RetentionMs = time.Minute.Milliseconds()
		l.Configure(c)
		time.Sleep(time.Hour)
		if _, err := l.Retention(time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := l.Offsets(); got.LogStart != 30 {
			t.Fatalf("got %+v", got)
		}
		info, err := l.Append(testBatch{id: 7, seq: 29}.build(t), AppendOptions{Origin: OriginClient})
		if err != nil || !info.Duplicate || info.FirstOffset != 29 {
			t.Errorf("got %+v, %v", info, err)
		}
	})
}
