package replication

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
)

// TestTraffic counts what clients and followers bring and take, and keeps it when the topic is gone.
func TestTraffic(t *testing.T) {
	h := newHost(t)
	p := h.topic("t", nil)
	h.append(p, "a", "b")
	h.append(p, "c")
	if _, err := p.Append(batch("marker"), ProduceOptions{Acks: -1, Origin: storage.OriginCoordinator, LeaderEpoch: -1}); err != nil {
		t.Fatal(err)
	}
	fenced := acksAll
	fenced.LeaderEpoch = 99
	if _, err := p.Append(batch("x"), fenced); protocol.CodeOf(err) != protocol.UnknownLeaderEpoch {
		t.Fatal(err)
	}
	damaged := batch("x")
	damaged[len(damaged)-1]++
	if _, err := p.Append(damaged, acksAll); protocol.CodeOf(err) != protocol.CorruptMessage {
		t.Fatal(err)
	}
	read := func(offset int64) FetchResult {
		results := h.Fetch(t.Context(), FetchRequest{ReplicaID: -1, MaxBytes: 1 << 20, Partitions: []FetchPartition{
			{Topic: "t", FetchOffset: offset, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1 << 20},
		}}, nil)
		return results[0]
	}
	all := read(0)
	size := int64(all.Records.Len())
	all.Sent(false)
	all.Sent(true)
	all.Records.Release()
	if beyond := read(99); protocol.CodeOf(beyond.Err) != protocol.OffsetOutOfRange {
		t.Fatal(beyond.Err)
	}
	want := Traffic{
		MessagesIn: 3, BytesIn: int64(len(batch("a", "b")) + len(batch("c"))), BytesOut: size, ReplicationBytesOut: size,
		ProduceRequests: 4, FailedProduceRequests: 1, FetchRequests: 2, FailedFetchRequests: 1,
	}
	if got := p.Traffic(); got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	h.change(&schema.RemoveTopicRecord{TopicID: p.TopicID()})
	if got := h.FormerTraffic(); got != want {
		t.Errorf("of the topic that is gone: %+v\nwant %+v", got, want)
	}
}
