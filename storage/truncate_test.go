package storage

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// tenBatches is a log of ten batches of two records, three to a segment, the i-th under leader epoch i/2.
func tenBatches(t *testing.T, fsys vfs.FS) *Log {
	t.Helper()
	l := openTestLog(t, fsys, testConfig(400))
	for i := range 10 {
		if _, err := l.Append(plainBatch(t, 2, int64(i*100)), AppendOptions{LeaderEpoch: int32(i / 2), Origin: OriginCoordinator}); err != nil {
			t.Fatal(err)
		}
	}
	if got := segmentBases(l); got != "[0 6 12 18]" {
		t.Fatalf("segments %s", got)
	}
	return l
}

func TestTruncateTo(t *testing.T) {
	for _, c := range []struct {
		to, end  int64
		segments string
		epoch    int32
	}{
		{20, 20, "[0 6 12 18]", 4},
		{30, 20, "[0 6 12 18]", 4},
		{18, 18, "[0 6 12 18]", 4},
		{16, 16, "[0 6 12]", 3},
		{12, 12, "[0 6 12]", 2},
		{9, 8, "[0 6]", 1}, // the batch 8-9 goes as a whole
		{6, 6, "[0 6]", 1},
		{1, 0, "[0]", -1},
		{0, 0, "[0]", -1},
	} {
		t.Run(fmt.Sprint(c.to), func(t *testing.T) {
			mem := vfs.NewMem()
			l := tenBatches(t, mem)
			l.AdvanceHighWatermark(15)
			if err := l.TruncateTo(c.to); err != nil {
				t.Fatal(err)
			}
			if end := checkDense(t, l); end != c.end {
				t.Errorf("log ends at %d", end)
			}
			o := l.Offsets()
			if want := min(15, c.end); o.HighWatermark != want || o.LastStable != want {
				t.Errorf("%+v", o)
			}
			if segmentBases(l) != c.segments || l.LatestEpoch() != c.epoch {
				t.Errorf("segments %s, epoch %d", segmentBases(l), l.LatestEpoch())
			}
			mustAppend(t, l, plainBatch(t, 3, 5))
			checkDense(t, l)
			l = openTestLog(t, mem, testConfig(400))
			if end := checkDense(t, l); end != c.end+3 {
				t.Errorf("after reopening the log ends at %d", end)
			}
		})
	}
}

func TestTruncationSurvivesCrash(t *testing.T) {
	eachSeed(t, 40, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		l := tenBatches(t, mem)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := l.TruncateTo(8); err != nil {
			t.Fatal(err)
		}
		if end := checkDense(t, openTestLog(t, mem.Crash(seed), testConfig(400))); end != 8 {
			t.Fatalf("seed %d: log ends at %d", seed, end)
		}
	})
}

func TestTruncatedSlices(t *testing.T) {
	l := tenBatches(t, vfs.NewMem())
	read := func(offset int64) Slice {
		s, err := l.Read(offset, 20, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	kept, hit, dropped := read(0), read(6), read(12)
	defer kept.Release()
	defer hit.Release()
	defer dropped.Release()
	if err := l.TruncateTo(8); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plainBatch(t, 9, 7)) // other bytes where the old ones were
	b := make([]byte, 10)
	for name, s := range map[string]Slice{"hit": hit, "dropped": dropped} {
		if err := s.Valid(); !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: Valid gives %v", name, err)
		}
		if _, err := s.ReadAt(b, 0); !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: ReadAt gives %v", name, err)
		}
		if n, err := s.WriteTo(io.Discard); n != 0 || !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: WriteTo gives %d, %v", name, n, err)
		}
	}
	if err := kept.Valid(); err != nil {
		t.Errorf("slice below the cut: %v", err)
	}
	if now := read(8); now.Valid() != nil || fmt.Sprint(basesOf(t, readAll(t, now))) != "[8]" {
		t.Error("a read after the truncation is not valid")
	}
}

func TestResetTo(t *testing.T) {
	mem := vfs.NewMem()
	l := tenBatches(t, mem)
	if err := l.ResetTo(100); err != nil {
		t.Fatal(err)
	}
	if o := l.Offsets(); o != (Offsets{100, 100, 100, 100}) || l.LatestEpoch() != -1 || l.Size() != 0 {
		t.Errorf("%+v, epoch %d, %d bytes", o, l.LatestEpoch(), l.Size())
	}
	if info := mustAppend(t, l, plainBatch(t, 2, 1)); info.FirstOffset != 100 {
		t.Errorf("append at %d", info.FirstOffset)
	}
	if _, err := l.Read(5, 200, 10, true); !errors.Is(err, protocol.OffsetOutOfRange) {
		t.Errorf("read below: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTestLog(t, mem, testConfig(400))
	if o := l.Offsets(); o != (Offsets{100, 100, 100, 102}) {
		t.Errorf("after reopening %+v", o)
	}
}

func TestTruncationTellsTheHost(t *testing.T) {
	h := &testHost{}
	l := openHosted(t, vfs.NewMem(), h, testConfig(400), nil)
	for i := range 10 {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := l.TruncateTo(8); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(h.points) != "[7]" {
		t.Errorf("recovery points %v", h.points)
	}
	if len(h.deleted) == 0 {
		t.Error("no files were handed over for deletion")
	}
}

// transactional is one batch of producer 7 in a transaction; marker ends it.
func transactional(t *testing.T, sequence int32) record.Batch {
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch, w.BaseSequence, w.Transactional = 7, 0, sequence, true
	w.Add(1, nil, []byte("in a transaction"))
	return finished(t, w)
}

func marker(t *testing.T, commit bool) record.Batch {
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch = 7, 0
	w.AddEndTxnMarker(1, record.EndTxnMarker{Commit: commit})
	return finished(t, w)
}

func readAborted(t *testing.T, l *Log, start, upper int64) ([]AbortedTransaction, error) {
	t.Helper()
	s, aborted, err := l.ReadCommitted(start, upper, 1<<20, true)
	s.Release()
	return aborted, err
}

// A reader is told of the aborted transactions of what it gets, not of all that follow.
func TestAbortedTransactionsOfWhatWasRead(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(400))
	for i := range 6 { // aborted: [0, 1], [2, 3], ...
		mustAppend(t, l, transactional(t, int32(i)))
		if _, err := l.Append(marker(t, false), AppendOptions{Origin: OriginCoordinator}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		offset int64
		max    int
		want   string
	}{{0, 1, "[{7 0}]"}, {1, 1, "[{7 0}]"}, {2, 1, "[{7 2}]"}, {0, len(transactional(t, 0)) + 10, "[{7 0}]"}, {4, 1, "[{7 4}]"}, {11, 1 << 20, "[{7 10}]"}} {
		s, aborted, err := l.ReadCommitted(c.offset, 12, c.max, true)
		if err != nil || fmt.Sprint(aborted) != c.want {
			t.Errorf("from %d, at most %d bytes: %d bytes, aborted %v, %v; want %s", c.offset, c.max, s.Len(), aborted, err, c.want)
		}
		s.Release()
	}
}

func TestTransactions(t *testing.T) {
	mem := vfs.NewMem()
	l := openTestLog(t, mem, testConfig(1<<20))
	put := func(b record.Batch, origin Origin) {
		t.Helper()
		if _, err := l.Append(b, AppendOptions{Origin: origin, LeaderEpoch: 1}); err != nil {
			t.Fatal(err)
		}
		l.AdvanceHighWatermark(l.Offsets().LogEnd)
	}
	stable := func(want int64) {
		t.Helper()
		if o := l.Offsets(); o.LastStable != want || o.HighWatermark != o.LogEnd {
			t.Fatalf("%+v, want last stable %d", o, want)
		}
	}
	put(plainBatch(t, 2, 1), OriginClient)
	stable(2)
	put(transactional(t, 0), OriginClient) // 2
	put(plainBatch(t, 2, 1), OriginClient)
	stable(2)
	info, err := l.Append(transactional(t, 0), AppendOptions{})
	if err != nil || !info.Duplicate || info.FirstOffset != 2 || info.LastOffset != 2 {
		t.Fatalf("duplicate: %+v, %v", info, err)
	}
	if _, err := l.Append(transactional(t, 5), AppendOptions{}); !errors.Is(err, protocol.OutOfOrderSequenceNumber) {
		t.Fatalf("sequence gap: %v", err)
	}
	put(marker(t, false), OriginCoordinator) // 5
	stable(6)
	put(transactional(t, 1), OriginClient) // 6
	put(marker(t, true), OriginCoordinator)
	stable(8)
	check := func() {
		t.Helper()
		for _, c := range []struct {
			start, upper int64
			want         string
		}{{0, 8, "[{7 2}]"}, {3, 5, "[{7 2}]"}, {6, 8, "[]"}, {0, 2, "[]"}} {
			got, err := readAborted(t, l, c.start, c.upper)
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("aborted in [%d, %d): %v, %v", c.start, c.upper, got, err)
			}
		}
		if p := l.Producers(); len(p) != 1 || p[0].LastSequence != 1 || p[0].CurrentTxnStartOffset != -1 {
			t.Errorf("producers %+v", p)
		}
	}
	check()
	if n := len(mustRead(t, mem, file(0, txnIndexSuffix))); n != txnEntrySize {
		t.Errorf("transaction index of %d bytes", n)
	}
	if err := mem.Remove(file(0, txnIndexSuffix)); err != nil { // an unclean stop: built anew
		t.Fatal(err)
	}
	l = openTestLog(t, mem, testConfig(1<<20))
	check()
	if err := l.TruncateTo(5); err != nil { // the transaction is open again
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(5)
	if o := l.Offsets(); o.LastStable != 2 || l.Producers()[0].CurrentTxnStartOffset != 2 {
		t.Errorf("after truncation %+v, %+v", o, l.Producers())
	}
	if got, err := readAborted(t, l, 0, 5); err != nil || len(got) != 0 {
		t.Errorf("aborted after truncation: %v, %v", got, err)
	}
}

func TestLastStableWaitsForTheMarkersCommit(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	mustAppend(t, l, transactional(t, 0))
	if _, err := l.Append(marker(t, true), AppendOptions{Origin: OriginCoordinator}); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(1)
	if o := l.Offsets(); o.LastStable != 0 {
		t.Errorf("marker above the high watermark: %+v", o)
	}
	l.AdvanceHighWatermark(2)
	if o := l.Offsets(); o.LastStable != 2 {
		t.Errorf("%+v", o)
	}
}

// A truncation does not make transactions that had ended, and whose markers are committed, hold back the last stable offset again.
func TestLastStableAfterTruncation(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	mustAppend(t, l, transactional(t, 0))
	if _, err := l.Append(marker(t, true), AppendOptions{Origin: OriginCoordinator}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plainBatch(t, 1, 1))
	mustAppend(t, l, plainBatch(t, 1, 1))
	l.AdvanceHighWatermark(3)
	if err := l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	if o := l.Offsets(); o.HighWatermark != 3 || o.LastStable != 3 {
		t.Errorf("%+v", o)
	}
}
