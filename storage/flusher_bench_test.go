package storage

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// BenchmarkAcknowledgements measures appends that return when they are durable (flush.messages=1): 256 of them wait at a time, spread over the partitions of one dir.
func BenchmarkAcknowledgements(b *testing.B) {
	for _, partitions := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			o := storeOptions(b, vfs.OS(), nil, b.TempDir())
			o.Logger = zap.NewNop()
			s := openStore(b, o)
			defer closeStore(b, s)
			config := testLogConfig()
			config.FlushMessages, config.SegmentBytes = 1, 1<<30
			var logs []*Log
			for p := range partitions {
				l := create(b, s, tpOf("t", int32(p)), protocol.NewUUID())
				l.Configure(config)
				logs = append(logs, l)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			began := time.Now()
			for i := range 256 {
				all.Go(func() {
					batch := benchBatch(b, 1000)
					for left.Add(-1) >= 0 {
						if _, err := logs[i%partitions].Append(batch, AppendOptions{Now: began.UnixMilli()}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "acks/s")
		})
	}
}
