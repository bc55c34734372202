package metadata

import (
	"fmt"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// largeTruth is a cluster of topics with ten partitions each, every one a batch.
func largeTruth(topics int) *truth {
	h := newTruth(nil, 1)
	for i := range topics {
		records := topicRecords(fmt.Sprintf("a-topic-with-quite-a-long-name-as-they-often-have-%06d", i), protocol.UUID{byte(i), byte(i >> 8), 7, byte(i >> 16)}, 10)
		w := record.NewBuilder()
		w.BaseOffset, w.LeaderEpoch = h.offset(i), h.epoch
		for _, r := range records {
			w.Add(1000, nil, r.Append(nil))
		}
		b, err := w.Build(nil)
		if err != nil {
			panic(err)
		}
		next, _, err := h.image().With(b.LastOffset(), h.epoch, records)
		if err != nil {
			panic(err)
		}
		h.batches, h.images = append(h.batches, append(record.Batch(nil), b...)), append(h.images, next)
	}
	return h
}

// BenchmarkNewBroker is what a new broker does until it has the metadata of 10,000 partitions in force.
func BenchmarkNewBroker(b *testing.B) {
	h := largeTruth(1000)
	for name, cut := range map[string]int{"by the log": 0, "by a snapshot": 1000} {
		b.Run(name, func(b *testing.B) {
			q := newFakeQuorum(h, 1)
			q.controllers[0].chunk = 1 << 20
			q.controllers[0].catchUp(1000, cut)
			values, err := config.FromStatic(nil)
			if err != nil {
				b.Fatal(err)
			}
			codecs := record.NewCodecs()
			defer codecs.Close()
			b.ReportAllocs()
			for b.Loop() {
				f, err := OpenFollower(FollowerOptions{NodeID: 5, FS: vfs.NewMem(), Dir: "/data", Config: values, Codecs: codecs, Source: q, Logger: zap.NewNop()})
				if err != nil {
					b.Fatal(err)
				}
				published := make(chan *Delta, 1)
				ob := NewObserver(ObserverOptions{Follower: f, Codecs: codecs, Logger: zap.NewNop(), Publish: func(d *Delta) { published <- d }})
				if d := <-published; len(d.Topics) != 1000 {
					b.Fatalf("%d topics", len(d.Topics))
				}
				ob.Close()
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
