package group

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// BenchmarkLoad loads a partition of __consumer_offsets with many commits of few offsets, in small and in large batches.
func BenchmarkLoad(b *testing.B) {
	const groups, partitions, records = 100, 20, 200_000
	for _, size := range []int{1, 20, 1000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			log := &runtimetest.Log{}
			batch := record.NewBuilder()
			for i := range records {
				key := offsetKey{fmt.Sprint("group-", i/partitions%groups), "some.topic", int32(i % partitions)}
				r := offsetRecord(key, offsetValue{offset: int64(i), leaderEpoch: 3, commitTimestamp: 1, expireTimestamp: noTimestamp})
				if batch.Add(1, r.Key, r.Value); batch.Len() == size {
					if err := log.Put(batch); err != nil {
						b.Fatal(err)
					}
					batch.Reset()
				}
			}
			codecs := record.NewCodecs()
			defer codecs.Close()
			image := offsetsTopic(b, 1)
			b.ReportAllocs()
			for b.Loop() {
				c := New(Options{
					NodeID: 1, Config: config.Defaults, Open: func(int32) (runtime.Log, error) { return log, nil },
					Image: func() *metadata.Image { return image }, Codecs: codecs, Logger: zap.NewNop(),
				})
				c.Apply(&metadata.Delta{Image: image})
				for loaded := runtime.NewFuture[bool](); !loaded.Completed(); {
					c.runtime.Read(0, func(*shard, runtime.Env) { loaded.Complete(true) }, func(error) {})
					ctx, cancel := context.WithTimeout(b.Context(), 100*time.Microsecond)
					_, _ = loaded.Wait(ctx)
					cancel()
				}
				c.Close()
			}
			b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
