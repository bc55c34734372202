package storage

import (
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

func benchBatch(b *testing.B, size int) record.Batch {
	w := record.NewBuilder()
	for range max(1, size/1000) {
		w.Add(1, nil, make([]byte, min(size, 1000)))
	}
	return finished(b, w)
}

func BenchmarkAppend(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1000, "16KB": 16000, "1MB": 1000_000} {
		b.Run(name, func(b *testing.B) {
			c := testConfig(1 << 28)
			c.IndexIntervalBytes = 4096
			l := openLogAt(b, vfs.OS(), b.TempDir(), c)
			batch := benchBatch(b, size)
			c.MaxMessageBytes = 2 << 20
			l.Configure(c)
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				mustAppend(b, l, batch)
				l.AdvanceHighWatermark(l.Offsets().LogEnd)
				if l.Size() > 1<<30 {
					if err := l.DeleteBefore(l.Offsets().HighWatermark); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for name, size := range map[string]int{"batches of 200 B": 200, "batches of 16 KB": 16000} {
		c := testConfig(1 << 28)
		c.IndexIntervalBytes = 4096
		l := openLogAt(b, vfs.OS(), b.TempDir(), c)
		batch := benchBatch(b, size)
		for l.Size() < 64<<20 {
			mustAppend(b, l, batch)
		}
		end := l.Offsets().LogEnd
		for where, max := range map[string]int{"catching up 1 MB": 1 << 20, "one batch": 1} {
			b.Run(name+"/"+where, func(b *testing.B) {
				b.ReportAllocs()
				offset := int64(0)
				for b.Loop() {
					s, err := l.Read(offset, end, max, true)
					if err != nil {
						b.Fatal(err)
					}
					s.Release()
					offset = (offset + 7919) % end
				}
			})
		}
	}
}
