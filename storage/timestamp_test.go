package storage

import (
	"bytes"
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// timedLog holds records with the given timestamps, three to a batch in turns compressed and not, two batches to a segment.
func timedLog(t *testing.T, fsys vfs.FS, times []int64) *Log {
	t.Helper()
	codecs := record.NewCodecs()
	defer codecs.Close()
	config := testConfig(200)
	l := openTestLog(t, fsys, config)
	for i := 0; i < len(times); i += 3 {
		w := record.NewBuilder()
		if i%2 == 1 {
			w.Codec = record.CodecGzip
		}
		for _, ts := range times[i:min(i+3, len(times))] {
			w.Add(ts, nil, []byte("v"))
		}
		b, err := w.Build(codecs)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, bytes.Clone(b))
	}
	return l
}

func TestOffsetAtTime(t *testing.T) {
	mem := vfs.NewMem()
	times := []int64{100, 110, 105, 200, 150, 190, 120, 300, 300, 300, 290, 400, 350, 360, -1}
	l := timedLog(t, mem, times)
	if n := len(l.view.Load().segments); n < 3 {
		t.Fatalf("%d segments", n)
	}
	check := func(l *Log) {
		t.Helper()
		for ts := int64(-5); ts < 410; ts += 5 {
			for _, upper := range []int64{15, 8, 7, 0} {
				wantOffset := int64(-1)
				for i, at := range times {
					if at >= ts && int64(i) >= l.Offsets().LogStart {
						if int64(i) < upper {
							wantOffset = int64(i)
						}
						break
					}
				}
				got, ok, err := l.OffsetAtTime(ts, upper)
				if err != nil {
					t.Fatal(err)
				}
				if ok != (wantOffset >= 0) || ok && (got.Offset != wantOffset || got.Timestamp != times[wantOffset] || got.LeaderEpoch != 1) {
					t.Errorf("time %d below %d: got %+v, %v, want offset %d", ts, upper, got, ok, wantOffset)
				}
			}
		}
	}
	check(l)
	l.AdvanceHighWatermark(15)
	if err := l.DeleteBefore(4); err != nil {
		t.Fatal(err)
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check(openTestLog(t, mem, testConfig(200)))
}

func TestMaxTimestamp(t *testing.T) {
	mem := vfs.NewMem()
	times := []int64{100, 110, 105, 200, 150, 190, 120, 300, 300, 300, 290, 400, 350, 360, 20}
	l := timedLog(t, mem, times)
	for range 2 {
		for _, c := range []struct{ upper, offset int64 }{{15, 11}, {12, 11}, {9, 7}, {6, 3}, {3, 1}, {0, -1}} {
			got, ok, err := l.MaxTimestamp(c.upper)
			if err != nil {
				t.Fatal(err)
			}
			if ok != (c.offset >= 0) || ok && (got.Offset != c.offset || got.Timestamp != times[c.offset]) {
				t.Errorf("below %d: %+v, %v", c.upper, got, ok)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openTestLog(t, mem, testConfig(200))
	}
	if _, ok, err := openTestLog(t, vfs.NewMem(), testConfig(200)).MaxTimestamp(5); ok || err != nil {
		t.Errorf("empty log: %v, %v", ok, err)
	}
}

// TestLargestTimestamp: retention by time goes by the records, also those of segments that were only opened; without timestamps by the file.
func TestLargestTimestamp(t *testing.T) {
	mem := vfs.NewMem()
	before := nowMs()
	l := timedLog(t, mem, []int64{100, 110, 105, 90, 80, 70, -1, -1, -1, -1, -1, -1, 50, 60, 40})
	for range 2 {
		segments := l.view.Load().segments
		if len(segments) != 3 {
			t.Fatalf("segments %s", segmentBases(l))
		}
		for i, want := range []int64{110, before, 60} {
			got, err := segments[i].largestTimestamp(mem)
			if err != nil || got != want && (i != 1 || got < before) {
				t.Errorf("segment %d: %d, %v, want %d", i, got, err, want)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openTestLog(t, mem, testConfig(200))
	}
}

// The only entry of a time index may be all zeros: that is no room that was allocated in advance.
func TestRecordAtTimeZeroIsFoundAfterRestart(t *testing.T) {
	mem := vfs.NewMem()
	l := openTestLog(t, mem, testConfig(1<<20))
	mustAppend(t, l, plainBatch(t, 1, 0))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTestLog(t, mem, testConfig(1<<20))
	if got, ok, err := l.OffsetAtTime(0, 1); err != nil || !ok || got.Offset != 0 {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTestLog(t, mem, testConfig(1<<20))
	if got, ok, err := l.OffsetAtTime(0, 1); err != nil || !ok || got.Offset != 0 {
		t.Errorf("in an older segment: %+v, %v, %v", got, ok, err)
	}
}
