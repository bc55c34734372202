package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const testDir = "/data/t-0"

var testPartition = protocol.TopicPartition{Topic: "t", Partition: 0}

// testConfig rolls by size only, and indexes nearly every batch.
func testConfig(segmentBytes int) LogConfig {
	return LogConfig{
		SegmentBytes: segmentBytes, SegmentIndexBytes: 10 << 20, IndexIntervalBytes: 100, SegmentMs: math.MaxInt64, MaxMessageBytes: 1 << 20,
		RetentionMs: -1, RetentionBytes: -1, FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64, Delete: true,
	}
}

func openTestLog(t testing.TB, fsys vfs.FS, c LogConfig) *Log {
	t.Helper()
	return openLogAt(t, fsys, testDir, c)
}

func openLogAt(t testing.TB, fsys vfs.FS, dir string, c LogConfig) *Log {
	t.Helper()
	codecs := record.NewCodecs()
	l, err := OpenLog(fsys, dir, testPartition, c, codecs, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.discard()
		codecs.Close()
	})
	return l
}

// plainBatch is a batch of n records with timestamps from ts on; the values tell them apart.
func plainBatch(t testing.TB, n int, ts int64) record.Batch {
	t.Helper()
	w := record.NewBuilder()
	for i := range n {
		w.Add(ts+int64(i), nil, fmt.Appendf(nil, "value %d of the batch at %d", i, ts))
	}
	return finished(t, w)
}

func finished(t testing.TB, w *record.Builder) record.Batch {
	t.Helper()
	b, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}

func mustAppend(t testing.TB, l *Log, b []byte) AppendInfo {
	t.Helper()
	info, err := l.Append(b, AppendOptions{LeaderEpoch: 1, Now: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func readAll(t testing.TB, s Slice) []byte {
	t.Helper()
	defer s.Release()
	b := make([]byte, s.Len())
	if n, err := s.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return b
}

// basesOf lists the base offsets of the batches in b.
func basesOf(t testing.TB, b []byte) []int64 {
	t.Helper()
	var bases []int64
	for len(b) > 0 {
		first, rest, err := record.Split(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Check(); err != nil {
			t.Fatal(err)
		}
		bases = append(bases, first.BaseOffset())
		b = rest
	}
	return bases
}

// checkDense reads the log from start to end and verifies that every offset is there once; it returns the end.
func checkDense(t testing.TB, l *Log) int64 {
	t.Helper()
	o := l.Offsets()
	next := o.LogStart
	err := l.Batches(t.Context(), o.LogStart, func(b record.Batch) error {
		if err := b.Check(); err != nil {
			return err
		}
		if b.BaseOffset() > next || b.LastOffset() < next {
			return fmt.Errorf("batch [%d, %d] where %d is next", b.BaseOffset(), b.LastOffset(), next)
		}
		next = b.NextOffset()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != o.LogEnd {
		t.Fatalf("batches reach to %d, the log ends at %d", next, o.LogEnd)
	}
	return next
}

func TestAppendAssignsOffsetsAndEpochs(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	first := mustAppend(t, l, plainBatch(t, 3, 100))
	two := append(append([]byte{}, plainBatch(t, 2, 200)...), plainBatch(t, 1, 50)...)
	second, err := l.Append(two, AppendOptions{LeaderEpoch: 4, Origin: OriginCoordinator})
	if err != nil {
		t.Fatal(err)
	}
	if first != (AppendInfo{FirstOffset: 0, LastOffset: 2, MaxTimestamp: 102}) || second != (AppendInfo{FirstOffset: 3, LastOffset: 5, MaxTimestamp: 201}) {
		t.Fatalf("got %+v and %+v", first, second)
	}
	s, err := l.Read(0, 6, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	b := readAll(t, s)
	if got := fmt.Sprint(basesOf(t, b)); got != "[0 3 5]" {
		t.Fatalf("bases %s", got)
	}
	if e := record.Batch(b).LeaderEpoch(); e != 1 {
		t.Errorf("epoch %d in the first batch", e)
	}
	if l.LatestEpoch() != 4 || l.EpochOf(2) != 1 || l.EpochOf(3) != 4 {
		t.Errorf("epochs: latest %d, of 2 %d, of 3 %d", l.LatestEpoch(), l.EpochOf(2), l.EpochOf(3))
	}
	if e, end := l.EndOffsetForEpoch(2); e != 1 || end != 3 {
		t.Errorf("epoch 2 ends at %d of epoch %d", end, e)
	}
	if o := l.Offsets(); o != (Offsets{LogEnd: 6}) {
		t.Errorf("offsets %+v", o)
	}
}

func TestReadBounds(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(400))
	var size int
	for i := range 10 {
		b := plainBatch(t, 2, int64(1000+i))
		size = len(b)
		mustAppend(t, l, b)
	}
	perSegment := 400 / size
	if n := len(l.view.Load().segments); n != (10+perSegment-1)/perSegment || perSegment < 2 {
		t.Fatalf("%d segments of %d batches", n, perSegment)
	}
	for _, c := range []struct {
		name          string
		offset, upper int64
		max           int
		atLeastOne    bool
		want          string
	}{
		{"from the middle of a batch", 1, 20, size, false, "[0]"},
		{"size bounds whole batches", 0, 20, 2*size - 1, false, "[0]"},
		{"size of exactly two", 0, 20, 2 * size, false, "[0 2]"},
		{"first batch is larger", 2, 20, size - 1, false, "[]"},
		{"first batch is larger but wanted", 2, 20, 1, true, "[2]"},
		{"no bytes but one batch", 2, 20, 0, true, "[2]"},
		{"upper is exclusive", 0, 2, 1 << 20, true, "[0]"},
		{"upper inside a batch leaves it out", 0, 3, 1 << 20, true, "[0]"},
		{"upper inside the first batch", 2, 3, 1 << 20, true, "[]"},
		{"upper below offset", 4, 2, 1 << 20, true, "[]"},
		{"at the end", 20, 20, 1 << 20, true, "[]"},
		{"last batch", 19, 100, 1 << 20, true, "[18]"},
	} {
		s, err := l.Read(c.offset, c.upper, c.max, c.atLeastOne)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := fmt.Sprint(basesOf(t, readAll(t, s))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	for _, offset := range []int64{-1, 21} {
		if _, err := l.Read(offset, 100, 100, true); !errors.Is(err, protocol.OffsetOutOfRange) {
			t.Errorf("read at %d: %v", offset, err)
		}
	}
	checkDense(t, l)
}

func TestAppendLimits(t *testing.T) {
	c := testConfig(1000)
	c.MaxMessageBytes = 200
	l := openTestLog(t, vfs.NewMem(), c)
	w := record.NewBuilder()
	w.Add(1, nil, make([]byte, 200))
	if _, err := l.Append(finished(t, w), AppendOptions{}); !errors.Is(err, protocol.MessageTooLarge) {
		t.Errorf("large batch: %v", err)
	}
	var many []byte
	for range 15 {
		many = append(many, plainBatch(t, 1, 1)...)
	}
	if _, err := l.Append(many, AppendOptions{}); !errors.Is(err, protocol.RecordListTooLarge) {
		t.Errorf("more than a segment: %v", err)
	}
	for i, b := range [][]byte{{1, 2, 3}, plainBatch(t, 1, 1)[:70], make([]byte, 100)} {
		if _, err := l.Append(b, AppendOptions{}); err == nil {
			t.Errorf("malformed append %d was taken", i)
		}
	}
	if o := l.Offsets(); o.LogEnd != 0 || l.Size() != 0 {
		t.Errorf("refused appends left %+v and %d bytes", o, l.Size())
	}
}

func TestFollowerTakesWhatTheLeaderHas(t *testing.T) {
	leader := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	for i := range 12 {
		mustAppend(t, leader, plainBatch(t, 2, int64(i)))
	}
	s, err := leader.Read(0, 24, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	b := readAll(t, s)
	follower := openTestLog(t, vfs.NewMem(), testConfig(400))
	info, err := follower.Append(b, AppendOptions{Origin: OriginReplication})
	if err != nil || info.FirstOffset != 0 || info.LastOffset != 23 {
		t.Fatalf("%+v, %v", info, err)
	}
	var copied bytes.Buffer
	for offset := int64(0); offset < 24; {
		s, err := follower.Read(offset, 24, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		part := readAll(t, s)
		bases := basesOf(t, part)
		offset = bases[len(bases)-1] + 2
		copied.Write(part)
	}
	if !bytes.Equal(copied.Bytes(), b) {
		t.Error("the follower's bytes differ")
	}
	if follower.LatestEpoch() != 1 {
		t.Errorf("epoch %d", follower.LatestEpoch())
	}
	if _, err := follower.Append(b, AppendOptions{Origin: OriginReplication}); !errors.Is(err, ErrUnexpectedOffset) {
		t.Errorf("batches below the end: %v", err)
	}
	gap := plainBatch(t, 1, 1)
	gap.SetBaseOffset(100)
	if info, err := follower.Append(gap, AppendOptions{Origin: OriginReplication}); err != nil || info.FirstOffset != 100 {
		t.Errorf("compacted leader's gap: %+v, %v", info, err)
	}
	s, err = follower.Read(50, 200, 1000, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(basesOf(t, readAll(t, s))); got != "[100]" {
		t.Errorf("read in the gap gives %s", got)
	}
}

func TestHighWatermarkAndDeleteBefore(t *testing.T) {
	mem := vfs.NewMem()
	l := openTestLog(t, mem, testConfig(400))
	for i := range 10 {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	if !l.AdvanceHighWatermark(11) || l.AdvanceHighWatermark(5) || l.AdvanceHighWatermark(11) {
		t.Error("the high watermark moved when it must not, or did not")
	}
	if o := l.Offsets(); o.HighWatermark != 11 || o.LastStable != 11 {
		t.Errorf("%+v", o)
	}
	if err := l.DeleteBefore(12); !errors.Is(err, protocol.OffsetOutOfRange) {
		t.Errorf("beyond the high watermark: %v", err)
	}
	if err := l.DeleteBefore(7); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(6, 20, 100, true); !errors.Is(err, protocol.OffsetOutOfRange) {
		t.Errorf("read below the start: %v", err)
	}
	if base := l.view.Load().segments[0].base; base != 6 {
		t.Errorf("first segment is %d", base)
	}
	if !l.AdvanceHighWatermark(100) || l.Offsets().HighWatermark != 20 {
		t.Errorf("not clamped: %+v", l.Offsets())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTestLog(t, mem, testConfig(400))
	if o := l.Offsets(); o.LogStart != 7 || o.LogEnd != 20 || o.HighWatermark != 7 {
		t.Errorf("after reopening %+v", o)
	}
}

func TestClosedLog(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(400))
	mustAppend(t, l, plainBatch(t, 2, 1))
	s, err := l.Read(0, 2, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(plainBatch(t, 1, 1), AppendOptions{}); !errors.Is(err, protocol.KafkaStorageError) {
		t.Errorf("append: %v", err)
	}
	if _, err := l.Read(0, 2, 100, true); !errors.Is(err, protocol.KafkaStorageError) {
		t.Errorf("read: %v", err)
	}
	if err := l.Sync(); !errors.Is(err, protocol.KafkaStorageError) {
		t.Errorf("sync: %v", err)
	}
	if len(basesOf(t, readAll(t, s))) != 1 {
		t.Error("the slice lost its bytes")
	}
	if refs := s.seg.refs.Load(); refs != 0 {
		t.Errorf("%d references are left", refs)
	}
}

func TestSlice(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	var all []byte
	for i := range 2000 {
		b := plainBatch(t, 1, int64(i))
		mustAppend(t, l, b)
		all = append(all, b...)
	}
	s, err := l.Read(0, 2000, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var out bytes.Buffer
	if n, err := s.WriteTo(&out); err != nil || n != int64(len(all)) || !bytes.Equal(out.Bytes(), all) || len(all) < 2*copySize {
		t.Errorf("wrote %d of %d bytes, %v", n, len(all), err)
	}
	p := make([]byte, 10)
	if n, err := s.ReadAt(p, int64(s.Len())-4); n != 4 || !errors.Is(err, io.EOF) {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if n, err := (Slice{}).WriteTo(&out); n != 0 || err != nil {
		t.Errorf("empty slice: %d, %v", n, err)
	}
	if f, off := s.File(); f == nil || off != 0 {
		t.Errorf("file %v at %d", f, off)
	}
}

func TestAllocations(t *testing.T) {
	l := openLogAt(t, vfs.OS(), t.TempDir(), testConfig(1<<30))
	b := plainBatch(t, 10, 1)
	if n := testing.AllocsPerRun(500, func() { mustAppend(t, l, b) }); n > 1 {
		t.Errorf("append allocates %.1f times", n)
	}
	end := l.Offsets().LogEnd
	offset := int64(0)
	if n := testing.AllocsPerRun(500, func() {
		s, err := l.Read(offset, end, 1000, true)
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
		offset = (offset + 17) % end
	}); n > 0 {
		t.Errorf("read allocates %.1f times", n)
	}
}
