package storage

import (
	"sync"
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// What a read returns ends at or below its bound, also while the next batch is being appended: it is not committed.
func TestReadsDuringAppendsEndAtTheirBound(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	const appends = 30_000
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		for range appends {
			if _, err := l.Append(plainBatch(t, 1, 1), AppendOptions{}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	next := int64(0)
	for next < appends && !t.Failed() {
		upper := l.Offsets().LogEnd
		s, err := l.Read(next, upper, 1<<20, true)
		if err != nil {
			t.Errorf("read at %d, below %d: %v", next, upper, err)
			return
		}
		for rest := readAll(t, s); len(rest) > 0; {
			batch, after, err := record.Split(rest)
			if err != nil || batch.BaseOffset() != next || batch.NextOffset() > upper {
				t.Errorf("a batch at %d below %d where %d is next: %v", batch.BaseOffset(), upper, next, err)
				return
			}
			next, rest = batch.NextOffset(), after
		}
	}
}
