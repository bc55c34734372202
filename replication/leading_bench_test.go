package replication

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
)

// BenchmarkAppend is an append of the leader, alone or with followers that have not fetched it yet.
func BenchmarkAppend(b *testing.B) {
	for _, replicas := range []int32{1, 3} {
		b.Run(fmt.Sprint("replicas=", replicas), func(b *testing.B) {
			_, p := benchHost(b, replicas)
			whole := batch("a")
			sent := slices.Clone(whole)
			b.ReportAllocs()
			for b.Loop() {
				copy(sent, whole) // an append changes it
				if _, err := p.Append(sent, ProduceOptions{Acks: 1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReplicaFetch is what a fetch of a replica costs its leader: the reading of one record, and the progress of the high watermark.
func BenchmarkReplicaFetch(b *testing.B) {
	h, p := benchHost(b, 3)
	whole := batch("a")
	sent := slices.Clone(whole)
	var offset int64
	request := FetchRequest{
		BrokerEpoch: 0, MinBytes: 1, MaxBytes: 1 << 20, FirstBatchWhole: true,
		Partitions: []FetchPartition{{Topic: "t", CurrentLeaderEpoch: -1, LastFetchedEpoch: 0, MaxBytes: 1 << 20}},
	}
	var results []FetchResult
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		copy(sent, whole)
		if _, err := p.Append(sent, ProduceOptions{Acks: 1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1}); err != nil {
			b.Fatal(err)
		}
		offset++
		b.StartTimer()
		for _, replica := range []int32{2, 3} {
			request.ReplicaID, request.Partitions[0].FetchOffset = replica, offset
			results, _ = h.TryFetch(&request, results[:0])
		}
	}
	if at := p.Log().Offsets(); at.HighWatermark != offset {
		b.Errorf("%+v after %d fetches of both followers", at, offset)
	}
}

// benchHost leads a partition with some replicas, all in sync.
func benchHost(b *testing.B, replicas int32) (*host, *Partition) {
	b.Helper()
	h := newHost(b)
	id := protocol.NewUUID()
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: "t", TopicID: id}}
	var ids []int32
	for i := range replicas {
		ids = append(ids, self+i)
		records = append(records, &schema.RegisterBrokerRecord{BrokerID: self + i})
	}
	h.change(append(records, &schema.PartitionRecord{TopicID: id, Replicas: ids, ISR: ids, Leader: self})...)
	p, err := h.Partition("t", 0)
	if err != nil {
		b.Fatal(err)
	}
	return h, p
}
