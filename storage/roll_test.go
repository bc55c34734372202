package storage

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

func segmentBases(l *Log) string {
	var bases []int64
	for _, s := range l.view.Load().segments {
		bases = append(bases, s.base)
	}
	return fmt.Sprint(bases)
}

func TestRollRules(t *testing.T) {
	size := len(plainBatch(t, 1, 1000))
	for _, c := range []struct {
		name   string
		config func(*LogConfig)
		times  []int64 // of the batches, one record each
		nows   []int64
		want   string
	}{
		{"size exactly reached", func(c *LogConfig) { c.SegmentBytes = 2 * size }, []int64{1000, 1000, 1000}, nil, "[0 2]"},
		{"one byte too many", func(c *LogConfig) { c.SegmentBytes = 2*size - 1 }, []int64{1000, 1000, 1000}, nil, "[0 1 2]"},
		{"age by record time", func(c *LogConfig) { c.SegmentMs = 100 }, []int64{1000, 1100, 1101, 1150}, nil, "[0 2]"},
		{"records from the past do not roll", func(c *LogConfig) { c.SegmentMs = 100 }, []int64{1000, 10, 900}, nil, "[0]"},
		{"without timestamps the clock counts", func(c *LogConfig) { c.SegmentMs = 100 }, []int64{-1, -1, -1}, []int64{nowMs(), nowMs(), nowMs() + 3_600_000}, "[0 2]"},
		{"offset index full", func(c *LogConfig) { c.IndexIntervalBytes, c.SegmentIndexBytes = 0, 48 }, []int64{9, 8, 7, 6, 5, 4, 3, 2, 1}, nil, "[0 7]"},
		{"time index full", func(c *LogConfig) { c.IndexIntervalBytes, c.SegmentIndexBytes = 0, 36 }, []int64{5, 6, 7, 8, 9}, nil, "[0 3]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := testConfig(1 << 20)
			c.config(&config)
			l := openTestLog(t, vfs.NewMem(), config)
			for i, ts := range c.times {
				now := int64(1000)
				if c.nows != nil {
					now = c.nows[i]
				}
				w := record.NewBuilder()
				w.Add(ts, nil, fmt.Appendf(nil, "value %d of the batch at %d", 0, 1000))
				if _, err := l.Append(finished(t, w), AppendOptions{Now: now}); err != nil {
					t.Fatal(err)
				}
			}
			if got := segmentBases(l); got != c.want {
				t.Errorf("segments %s, want %s", got, c.want)
			}
			checkDense(t, l)
		})
	}
}

func TestRollOnRelativeOffsetOverflow(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	mustAppend(t, l, plainBatch(t, 1, 1))
	far := plainBatch(t, 1, 1)
	far.SetBaseOffset(math.MaxInt32 + 1)
	if _, err := l.Append(far, AppendOptions{Origin: OriginReplication}); err != nil {
		t.Fatal(err)
	}
	if got := segmentBases(l); got != "[0 1]" {
		t.Errorf("segments %s", got)
	}
	farther := plainBatch(t, 1, 1)
	farther.SetBaseOffset(1 << 40)
	if _, err := l.Append(farther, AppendOptions{Origin: OriginReplication}); err != nil {
		t.Fatal(err)
	}
	if got := segmentBases(l); got != fmt.Sprint([]int64{0, 1, 1 << 40}) {
		t.Errorf("segments %s", got)
	}
}

func TestJitterRollsEarlier(t *testing.T) {
	config := testConfig(1 << 20)
	config.SegmentMs, config.SegmentJitterMs = 1000, 1000
	earlier := 0
	for range 20 {
		l := openTestLog(t, vfs.NewMem(), config)
		mustAppend(t, l, plainBatch(t, 1, 0))
		mustAppend(t, l, plainBatch(t, 1, 900))
		if len(l.view.Load().segments) == 2 {
			earlier++
		}
	}
	if earlier == 0 {
		t.Error("no segment was rolled early")
	}
}

// TestIndexEntries checks the contents of the index files against the rules of Kafka's LogSegment.append.
func TestIndexEntries(t *testing.T) {
	mem := vfs.NewMem()
	config := testConfig(1 << 20)
	size := len(plainBatch(t, 1, 100))
	config.IndexIntervalBytes = 2 * size
	l := openTestLog(t, mem, config)
	for _, ts := range []int64{100, 300, 200, 250, 260, 270, 280, 999} {
		mustAppend(t, l, plainBatch(t, 1, ts))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var offsets, times [][2]int64
	for b := mustRead(t, mem, file(0, indexSuffix)); len(b) > 0; b = b[8:] {
		offsets = append(offsets, [2]int64{int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))})
	}
	for b := mustRead(t, mem, file(0, timeIndexSuffix)); len(b) > 0; b = b[12:] {
		times = append(times, [2]int64{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:]))})
	}
	// An entry comes before the batch with which more than the interval has passed: batches 3 and 6.
	if got, want := fmt.Sprint(offsets), fmt.Sprint([][2]int64{{3, int64(3 * size)}, {6, int64(6 * size)}}); got != want {
		t.Errorf("offset index %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(times), fmt.Sprint([][2]int64{{300, 1}, {999, 7}}); got != want {
		t.Errorf("time index %s, want %s", got, want)
	}
}

func TestIndexBeyondMemory(t *testing.T) {
	config := testConfig(1 << 30)
	config.IndexIntervalBytes = 0
	mem := vfs.NewMem()
	l := openTestLog(t, mem, config)
	const n = 3*maxPendingEntries + 100
	for i := range n {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	check := func(l *Log) {
		t.Helper()
		for offset := int64(0); offset < 2*n; offset += 7 {
			s, err := l.Read(offset, 2*n, 1, true)
			if err != nil {
				t.Fatal(err)
			}
			if b := basesOf(t, readAll(t, s)); len(b) != 1 || b[0] != offset/2*2 {
				t.Fatalf("read at %d gives %v", offset, b)
			}
		}
	}
	check(l)
	if err := l.TruncateTo(2 * (maxPendingEntries + 50)); err != nil {
		t.Fatal(err)
	}
	for i := maxPendingEntries + 50; i < n; i++ {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check(openTestLog(t, mem, config))
}

func TestZeroPaddedIndexIsTrimmed(t *testing.T) {
	config := testConfig(1 << 20)
	mem := vfs.NewMem()
	l := openTestLog(t, mem, config)
	for i := range 20 {
		mustAppend(t, l, plainBatch(t, 1, int64(1000+i)))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := len(mustRead(t, mem, file(0, indexSuffix)))
	appendTo(t, mem, file(0, indexSuffix), make([]byte, 8000))
	appendTo(t, mem, file(0, timeIndexSuffix), make([]byte, 12000))
	l = openTestLog(t, mem, config)
	checkDense(t, l)
	mustAppend(t, l, plainBatch(t, 1, 2000))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(mustRead(t, mem, file(0, indexSuffix))); got != want && got != want+8 {
		t.Errorf("index has %d bytes, had %d", got, want)
	}
}

func TestPreallocatedSegmentIsTrimmed(t *testing.T) {
	config := testConfig(1000)
	config.Preallocate = true
	mem := vfs.NewMem()
	l := openTestLog(t, mem, config)
	b := plainBatch(t, 2, 1)
	mustAppend(t, l, b)
	if n := len(mustRead(t, mem, file(0, logSuffix))); n != 1000 {
		t.Errorf("active file has %d bytes", n)
	}
	again := openTestLog(t, mem, config) // as after a crash: the tail is zeros
	if again.Offsets().LogEnd != 2 {
		t.Errorf("%+v", again.Offsets())
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(mustRead(t, mem, file(0, logSuffix))); n != len(b) {
		t.Errorf("closed file has %d bytes", n)
	}
}

func TestFlushMessages(t *testing.T) {
	config := testConfig(1 << 20)
	config.FlushMessages = 1
	mem := vfs.NewMem()
	l := openTestLog(t, mem, config)
	for i := range 5 {
		mustAppend(t, l, plainBatch(t, 1, int64(i)))
		for seed := range int64(5) {
			after := openTestLog(t, mem.Crash(seed), config)
			if end := checkDense(t, after); end != int64(i+1) {
				t.Fatalf("crash after append %d leaves %d records", i, end)
			}
		}
	}
	if n, _ := l.unflushed(); n != 0 {
		t.Errorf("%d messages unflushed", n)
	}
}

func TestCheckpoints(t *testing.T) {
	l := openHosted(t, vfs.NewMem(), &testHost{}, testConfig(400), nil)
	for i := range 5 {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	if p, start, raised := l.checkpoints(); p != 0 || start != 0 || raised {
		t.Errorf("before any flush: %d, %d, %v", p, start, raised)
	}
	if err := l.flushTo(6); err != nil {
		t.Fatal(err)
	}
	if p, _, _ := l.checkpoints(); p != 6 {
		t.Errorf("recovery point %d after the roll at 6 was flushed", p)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if p, _, _ := l.checkpoints(); p != 9 {
		t.Errorf("recovery point %d inside the active segment", p)
	}
	l.AdvanceHighWatermark(10)
	if err := l.DeleteBefore(7); err != nil {
		t.Fatal(err)
	}
	if _, start, raised := l.checkpoints(); start != 7 || !raised {
		t.Errorf("start %d, %v", start, raised)
	}
}
