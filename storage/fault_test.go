package storage

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

func TestFailedWriteLeavesTheLogAsItWas(t *testing.T) {
	mem := vfs.NewMem()
	faulty := vfs.NewFaulty(mem)
	h := &testHost{}
	l := openHosted(t, faulty, h, testConfig(1<<20), nil)
	mustAppend(t, l, plainBatch(t, 2, 1))
	mustAppend(t, l, sequenced(t, 0))
	before, size := l.Offsets(), len(mustRead(t, mem, file(0, logSuffix)))
	_, remove := faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Pattern: "*.log", Err: syscall.ENOSPC, Partial: 100})
	for range 2 {
		_, err := l.Append(sequenced(t, 1), AppendOptions{LeaderEpoch: 9})
		if !errors.Is(err, protocol.KafkaStorageError) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if len(h.failures) != 2 {
		t.Errorf("the host heard of %d failures", len(h.failures))
	}
	if n := len(mustRead(t, mem, file(0, logSuffix))); n != size || l.Offsets() != before || l.LatestEpoch() != 1 {
		t.Errorf("%d bytes, %+v, epoch %d", n, l.Offsets(), l.LatestEpoch())
	}
	remove()
	if info := mustAppend(t, l, sequenced(t, 1)); info.FirstOffset != 3 || info.Duplicate {
		t.Errorf("append once there is room: %+v", info)
	}
	checkDense(t, l)
}

// sequenced is one batch of an idempotent producer.
func sequenced(t *testing.T, sequence int32) record.Batch {
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch, w.BaseSequence = 5, 0, sequence
	w.Add(1, nil, []byte("a record of an idempotent producer, long enough to be torn in the middle of it"))
	return finished(t, w)
}

func TestTruncationThatFailsTakesTheLogOffline(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	l := openTestLog(t, faulty, testConfig(1<<20))
	mustAppend(t, l, plainBatch(t, 2, 1))
	faulty.Inject(vfs.Fault{Op: vfs.OpTruncate, Pattern: "*.log"})
	faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Pattern: "*.log", Partial: 10})
	if _, err := l.Append(plainBatch(t, 1, 1), AppendOptions{}); !errors.Is(err, protocol.KafkaStorageError) {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 2, 100, true); !errors.Is(err, protocol.KafkaStorageError) {
		t.Errorf("read: %v", err)
	}
}

// TestFailedRoll tries the append again after each possible failure of a roll.
func TestFailedRoll(t *testing.T) {
	for _, f := range []vfs.Fault{
		{Op: vfs.OpCreate, Pattern: "*6.log"}, {Op: vfs.OpCreate, Pattern: "*6.index"}, {Op: vfs.OpCreate, Pattern: "*6.timeindex"},
		{Op: vfs.OpCreate, Pattern: "*.snapshot"}, {Op: vfs.OpCreate, Pattern: "*.unsynced"}, {Op: vfs.OpWrite, Pattern: "*index"},
	} {
		t.Run(string(f.Op)+f.Pattern, func(t *testing.T) {
			mem := vfs.NewMem()
			faulty := vfs.NewFaulty(mem)
			h := &testHost{}
			l := openHosted(t, faulty, h, testConfig(400), nil)
			for i := range 3 {
				mustAppend(t, l, plainBatch(t, 2, int64(i)))
			}
			hits, remove := faulty.Inject(f)
			if _, err := l.Append(plainBatch(t, 2, 3), AppendOptions{}); !errors.Is(err, protocol.KafkaStorageError) {
				t.Fatalf("append: %v", err)
			}
			if hits() == 0 || len(h.failures) != 1 || l.Offsets().LogEnd != 6 || segmentBases(l) != "[0]" {
				t.Fatalf("%d hits, %d failures, %+v, %s", hits(), len(h.failures), l.Offsets(), segmentBases(l))
			}
			remove()
			mustAppend(t, l, plainBatch(t, 2, 3))
			if end := checkDense(t, l); end != 8 || segmentBases(l) != "[0 6]" {
				t.Errorf("end %d, segments %s", end, segmentBases(l))
			}
			l.discard()
			if end := checkDense(t, openHosted(t, mem, h, testConfig(400), nil)); end != 8 {
				t.Errorf("after reopening the log ends at %d", end)
			}
		})
	}
}

func TestFailedSync(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	h := &testHost{}
	config := testConfig(1 << 20)
	config.FlushMessages = 1
	l := openHosted(t, faulty, h, config, nil)
	_, remove := faulty.Inject(vfs.Fault{Op: vfs.OpSync, Pattern: "*.log"})
	if _, err := l.Append(plainBatch(t, 1, 1), AppendOptions{}); !errors.Is(err, protocol.KafkaStorageError) || len(h.failures) != 1 {
		t.Errorf("append: %v, %d failures", err, len(h.failures))
	}
	if p, _, _ := l.checkpoints(); p != 0 {
		t.Errorf("recovery point %d", p)
	}
	remove()
	if err := l.Sync(); !errors.Is(err, protocol.KafkaStorageError) { // the system tells of a lost write once only
		t.Errorf("sync after one that failed: %v", err)
	}
	if err := l.Close(); err == nil || l.syncedTo.Load() != 0 {
		t.Errorf("close: %v, synced to %d", err, l.syncedTo.Load())
	}
}

// TestDurableOnReturn has many appends wait for fsync at once: with flush.messages=1 none returns before its own batch is synced.
func TestDurableOnReturn(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	config := testConfig(1 << 20)
	config.FlushMessages = 1
	l := openTestLog(t, faulty, config)
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				info, err := l.Append(plainBatch(t, 1, 1), AppendOptions{})
				if err != nil {
					t.Error(err)
				} else if synced := l.syncedTo.Load(); synced <= info.LastOffset {
					t.Errorf("append of %d returned with %d synced", info.LastOffset, synced)
				}
			}
		})
	}
	wg.Wait()
	if end := checkDense(t, l); end != writers*each {
		t.Errorf("log ends at %d", end)
	}
}

// TestReadersAndWriter reads, truncates, deletes and appends at once; every slice must hold whole batches in order or say that it was truncated.
func TestReadersAndWriter(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(2000))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				o := l.Offsets()
				offset := max(o.LogStart, o.LogEnd-int64(i%200))
				if err := readOnce(l, offset, 100+i%3000, r%2 == 0); err != nil {
					t.Error(err)
					return
				}
				if _, _, err := l.OffsetAtTime(int64(i%3000), o.LogEnd); err != nil && !errors.Is(err, protocol.CorruptMessage) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3000 {
		mustAppend(t, l, plainBatch(t, 1+i%3, int64(i)))
		switch {
		case i%50 == 49:
			if err := l.TruncateTo(l.Offsets().LogEnd - int64(i%70)); err != nil {
				t.Fatal(err)
			}
		case i%70 == 69:
			end := l.Offsets().LogEnd
			l.AdvanceHighWatermark(end - 20)
			if err := l.DeleteBefore(l.Offsets().HighWatermark - 500); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	wg.Wait()
	checkDense(t, l)
}

func readOnce(l *Log, offset int64, size int, atLeastOne bool) error {
	s, err := l.Read(offset, 1<<60, size, atLeastOne)
	if errors.Is(err, protocol.OffsetOutOfRange) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Release()
	b := make([]byte, s.Len())
	if len(b) == 0 {
		return nil
	}
	if _, err := s.ReadAt(b, 0); err != nil {
		if errors.Is(err, ErrTruncated) {
			return nil
		}
		return err
	}
	next := int64(-1)
	for len(b) > 0 {
		batch, rest, err := record.Split(b)
		if err == nil {
			err = batch.Check()
		}
		if err != nil {
			return err
		}
		if next >= 0 && batch.BaseOffset() != next || next < 0 && (batch.BaseOffset() > offset || batch.LastOffset() < offset) {
			return fmt.Errorf("read at %d: batch %d after %d", offset, batch.BaseOffset(), next)
		}
		next, b = batch.NextOffset(), rest
	}
	return nil
}
