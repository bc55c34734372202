package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const (
	bandwidthBatch = 64 << 10
	bandwidthTotal = 128 << 20
	bandwidthTurns = 6 // the best of which count: the disk writes back in between
)

// BenchmarkBandwidth writes and reads batches of 64 KiB through a Log, and the same bytes by a bare loop over a file; both stay in the page cache. The metrics are MB/s, and
// the Log's share of the bare loop's.
func BenchmarkBandwidth(b *testing.B) {
	w := record.NewBuilder()
	w.Add(1, nil, make([]byte, bandwidthBatch-100))
	batch, err := w.Build(nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var bareWrite, bareRead, write, read float64
		for range bandwidthTurns {
			w, r := bareBandwidth(b, filepath.Join(b.TempDir(), "bare"), batch)
			bareWrite, bareRead = max(bareWrite, w), max(bareRead, r)
			w, r = logBandwidth(b, batch)
			write, read = max(write, w), max(read, r)
		}
		b.ReportMetric(write, "append-MB/s")
		b.ReportMetric(write/bareWrite*100, "append-%")
		b.ReportMetric(read, "read-MB/s")
		b.ReportMetric(read/bareRead*100, "read-%")
	}
}

func logBandwidth(b *testing.B, batch []byte) (write, read float64) {
	dir := b.TempDir()
	l := openLogAt(b, vfs.OS(), dir, testConfig(1<<30))
	write = megabytes(func() {
		for range bandwidthTotal / len(batch) {
			if _, err := l.Append(batch, AppendOptions{LeaderEpoch: 1, Now: 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
	buf := make([]byte, 1<<20)
	read = megabytes(func() {
		for at, end := int64(0), l.Offsets().LogEnd; at < end; {
			s, err := l.Read(at, end, len(buf), true)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.ReadAt(buf[:s.Len()], 0); err != nil {
				b.Fatal(err)
			}
			at += int64(s.Len() / len(batch)) // one record each
			s.Release()
		}
	})
	l.discard()
	if err := os.Remove(filepath.Join(dir, segmentName(0)+logSuffix)); err != nil {
		b.Fatal(err)
	}
	return write, read
}

// bareBandwidth is what the system gives a loop of writes of one batch each, and of reads of 1 MiB each.
func bareBandwidth(b *testing.B, path string, batch []byte) (write, read float64) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	n := bandwidthTotal / len(batch)
	write = megabytes(func() {
		for i := range n {
			if _, err := f.WriteAt(batch, int64(i*len(batch))); err != nil {
				b.Fatal(err)
			}
		}
	})
	buf := make([]byte, 1<<20/len(batch)*len(batch))
	read = megabytes(func() {
		for at := 0; at+len(buf) <= n*len(batch); at += len(buf) {
			if _, err := f.ReadAt(buf, int64(at)); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := os.Remove(path); err != nil {
		b.Fatal(err)
	}
	return write, read
}

func megabytes(fn func()) float64 {
	began := time.Now()
	fn()
	return bandwidthTotal / 1e6 / time.Since(began).Seconds()
}

// BenchmarkReopenLarge measures a start after a clean stop with 100 GiB in 100 segments of 4 partitions; the files are sparse.
func BenchmarkReopenLarge(b *testing.B) {
	o := storeOptions(b, vfs.OS(), nil, b.TempDir())
	o.Logger = zap.NewNop()
	s := openStore(b, o)
	for p := range int32(4) {
		l := create(b, s, tpOf("t", p), protocol.NewUUID())
		for i := range 25 {
			produce(b, l, 1, int32(i))
			if err := l.Roll(); err != nil {
				b.Fatal(err)
			}
		}
		produce(b, l, 1, 25)
	}
	closeStore(b, s)
	files, err := filepath.Glob(filepath.Join(o.Dirs[0], "t-*", "*"+logSuffix))
	if err != nil || len(files) != 4*26 {
		b.Fatal(len(files), err)
	}
	for i, path := range files {
		if i%26 == 25 {
			continue // the active one
		}
		if err := os.Truncate(path, 1<<30); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		s = openStore(b, o)
		b.StopTimer()
		closeStore(b, s)
		b.StartTimer()
	}
}

// BenchmarkTenThousandPartitions measures creation, memory and a clean restart of 10,000 partitions on a real disk.
func BenchmarkTenThousandPartitions(b *testing.B) {
	const partitions = 10_000
	for b.Loop() {
		o := storeOptions(b, vfs.OS(), nil, b.TempDir())
		o.Logger = zap.NewNop()
		s := openStore(b, o)
		before := liveHeap()
		began := time.Now()
		for p := range int32(partitions) {
			create(b, s, tpOf("t", p), protocol.NewUUID())
		}
		b.ReportMetric(time.Since(began).Seconds(), "create-s")
		b.ReportMetric(float64(liveHeap()-before)/partitions, "B/partition")
		for _, l := range s.Logs() {
			produce(b, l, 1, 0)
		}
		began = time.Now()
		closeStore(b, s)
		b.ReportMetric(time.Since(began).Seconds(), "stop-s")
		began = time.Now()
		s = openStore(b, o)
		b.ReportMetric(time.Since(began).Seconds(), "start-s")
		if n := len(s.Logs()); n != partitions {
			b.Error(fmt.Sprint(n, " logs"))
		}
		closeStore(b, s)
	}
}

// liveHeap is how many bytes live objects take.
func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
