package storage

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const manyPartitions = 1000

// BenchmarkManyPartitions measures the life of a dir of 1,000 partitions on a real disk: creation, clean stop, start after it, start after a kill.
func BenchmarkManyPartitions(b *testing.B) {
	for b.Loop() {
		o := storeOptions(b, vfs.OS(), nil, b.TempDir())
		o.Logger = zap.NewNop()
		step := func(name string, fn func()) {
			began := time.Now()
			fn()
			b.ReportMetric(float64(time.Since(began).Milliseconds()), name+"-ms")
		}
		s := openStore(b, o)
		step("create", func() {
			for p := range int32(manyPartitions) {
				create(b, s, tpOf("t", p), protocol.NewUUID())
			}
		})
		step("close-new", func() { closeStore(b, s) })
		step("open-empty", func() { s = openStore(b, o) })
		step("close-empty", func() { closeStore(b, s) })
		s = openStore(b, o)
		for _, l := range s.Logs() {
			produce(b, l, 1, 0)
		}
		step("close-written", func() { closeStore(b, s) })
		step("open-written", func() { s = openStore(b, o) })
		kill(b, s)
		step("open-killed", func() { s = openStore(b, o) })
		closeStore(b, s)
	}
}

// BenchmarkIdleStore measures a minute of 10,000 idle partitions: the CPU time that the Store's own tasks take.
func BenchmarkIdleStore(b *testing.B) {
	o := storeOptions(b, vfs.NewMem(), nil, "a")
	o.Logger = zap.NewNop()
	s := openStore(b, o)
	defer closeStore(b, s)
	for p := range int32(10_000) {
		create(b, s, tpOf("t", p), protocol.NewUUID())
	}
	d := s.dirs[0]
	if err := s.checkpointAll(d); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for range 12 { // replica.high.watermark.checkpoint.interval.ms
			s.onlineDirs(s.checkpointMovedWatermarks)()
		}
		s.onlineDirs(s.checkpointRecoveryPoints)()
		s.onlineDirs(s.checkpointLogStarts)()
		for range 4 { // log.cleaner.backoff.ms
			s.cleaner.candidates()
		}
	}
}

// Creations of partitions do not wait for each other's disk work, only for that of the same partition.
func TestConcurrentCreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, storeOptions(t, vfs.NewMem(), nil, "a", "b"))
		id := protocol.NewUUID()
		made := make(chan *Log)
		for i := range 40 {
			go func() { made <- create(t, s, tpOf("t", int32(i%4)), id) }()
		}
		logs := map[protocol.TopicPartition]*Log{}
		for range 40 {
			l := <-made
			if other := logs[l.TopicPartition()]; other != nil && other != l {
				t.Errorf("two logs of %s", l.TopicPartition())
			}
			logs[l.TopicPartition()] = l
		}
		if len(logs) != 4 || len(s.Logs()) != 4 {
			t.Errorf("%d logs, the store has %d", len(logs), len(s.Logs()))
		}
		closeStore(t, s)
		if _, err := s.Create(tpOf("t", 9), id, testLogConfig()); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("create after Close: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
}
