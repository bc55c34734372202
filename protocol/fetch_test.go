package protocol_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// memory is a payload that is at hand.
type memory []byte

func (m memory) Len() int { return len(m) }

func join(parts []protocol.FetchPart) (out []byte, empty bool) {
	for _, p := range parts {
		if p.Payload != nil {
			p.Bytes = p.Payload.(memory)
		}
		empty = empty || len(p.Bytes) == 0
		out = append(out, p.Bytes...)
	}
	return out, empty
}

// randomFetch returns the same response in both forms.
func randomFetch(r *rand.Rand) (protocol.FetchResponse, kmsg.FetchResponse) {
	text := func() string { return string(bytes.Repeat([]byte("n"), r.IntN(200))) }
	ours := protocol.FetchResponse{ThrottleMs: r.Int32(), ErrorCode: protocol.Code(r.IntN(137)), SessionID: r.Int32()}
	theirs := kmsg.FetchResponse{ThrottleMillis: ours.ThrottleMs, ErrorCode: int16(ours.ErrorCode), SessionID: ours.SessionID}
	for range r.IntN(4) {
		topic := protocol.FetchTopic{Topic: text(), TopicID: protocol.NewUUID()}
		theirTopic := kmsg.FetchResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		for range r.IntN(4) {
			p, theirPartition := randomPartition(r)
			topic.Partitions = append(topic.Partitions, p)
			theirTopic.Partitions = append(theirTopic.Partitions, theirPartition)
		}
		ours.Topics = append(ours.Topics, topic)
		theirs.Topics = append(theirs.Topics, theirTopic)
	}
	for range r.IntN(3) {
		n := protocol.NodeEndpoint{NodeID: r.Int32(), Host: text(), Port: r.Int32()}
		if r.IntN(2) == 0 {
			rack := text()
			n.Rack = &rack
		}
		ours.NodeEndpoints = append(ours.NodeEndpoints, n)
		theirs.Brokers = append(theirs.Brokers, kmsg.FetchResponseBroker{NodeID: n.NodeID, Host: n.Host, Port: n.Port, Rack: n.Rack})
	}
	return ours, theirs
}

func randomPartition(r *rand.Rand) (protocol.FetchPartition, kmsg.FetchResponseTopicPartition) {
	ours := protocol.FetchPartition{
		Partition: r.Int32(), ErrorCode: protocol.Code(r.IntN(137)),
		HighWatermark: r.Int64(), LastStableOffset: r.Int64(), LogStartOffset: r.Int64(), PreferredReadReplica: r.Int32(),
	}
	theirs := kmsg.NewFetchResponseTopicPartition()
	theirs.Partition, theirs.ErrorCode = ours.Partition, int16(ours.ErrorCode)
	theirs.HighWatermark, theirs.LastStableOffset, theirs.LogStartOffset = ours.HighWatermark, ours.LastStableOffset, ours.LogStartOffset
	theirs.PreferredReadReplica, theirs.RecordBatches = ours.PreferredReadReplica, []byte{}
	switch r.IntN(4) {
	case 0:
		ours.Records = memory{}
	case 1: // nil
	default:
		records := bytes.Repeat([]byte{byte(r.IntN(256))}, 1+r.IntN(300))
		ours.Records, theirs.RecordBatches = memory(records), records
	}
	if r.IntN(2) == 0 {
		ours.AbortedTransactions = []protocol.AbortedTransaction{}
		theirs.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		for range r.IntN(3) {
			a := protocol.AbortedTransaction{ProducerID: r.Int64(), FirstOffset: r.Int64()}
			ours.AbortedTransactions = append(ours.AbortedTransactions, a)
			theirs.AbortedTransactions = append(theirs.AbortedTransactions,
				kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
		}
	}
	number := func() int32 { return int32(r.IntN(3)) - 1 } // -1 is the default of them all
	if r.IntN(3) == 0 {
		ours.DivergingEpoch = &protocol.EpochEndOffset{Epoch: number(), EndOffset: int64(number())}
		theirs.DivergingEpoch.Epoch, theirs.DivergingEpoch.EndOffset = ours.DivergingEpoch.Epoch, ours.DivergingEpoch.EndOffset
	}
	if r.IntN(3) == 0 {
		ours.CurrentLeader = &protocol.LeaderAndEpoch{LeaderID: number(), LeaderEpoch: number()}
		theirs.CurrentLeader.LeaderID, theirs.CurrentLeader.LeaderEpoch = ours.CurrentLeader.LeaderID, ours.CurrentLeader.LeaderEpoch
	}
	if r.IntN(3) == 0 {
		ours.SnapshotID = &protocol.SnapshotID{EndOffset: int64(number()), Epoch: number()}
		theirs.SnapshotID.EndOffset, theirs.SnapshotID.Epoch = ours.SnapshotID.EndOffset, ours.SnapshotID.Epoch
	}
	return ours, theirs
}

func checkFetch(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var e protocol.FetchEncoder
	for range 3 { // one encoder for several responses
		ours, theirs := randomFetch(r)
		endpoints := theirs.Brokers
		for version := range int16(19) {
			theirs.Version = version
			if theirs.Brokers = endpoints; version < 16 {
				theirs.Brokers = nil // kmsg would write them in every flexible version
			}
			want := theirs.AppendTo(nil)
			got, empty := join(e.Encode(&ours, version))
			if !bytes.Equal(want, got) || empty || e.Size() != len(want) {
				t.Fatalf("v%d: size %d\nwant %x\n got %x", version, e.Size(), want, got)
			}
			head := binary.BigEndian.AppendUint32(nil, uint32(len(want)+4))
			if version >= 12 {
				head[3]++ // the tags of the response header
				if head[3] == 0 {
					head[2]++
				}
			}
			head = append(head, 0, 0, 0, 9)
			if version >= 12 {
				head = append(head, 0)
			}
			if got, _ := join(e.EncodeFrame(9, &ours, version)); !bytes.Equal(append(head, want...), got) || e.Size() != len(got) {
				t.Fatalf("v%d: frame\nwant %x%x\n got %x", version, head, want, got)
			}
		}
	}
}

func TestFetchEncoderEqualsKmsg(t *testing.T) {
	for seed := range uint64(200) {
		checkFetch(t, seed)
	}
}

func FuzzFetchEncoder(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkFetch(t, seed) })
}

func TestFetchError(t *testing.T) {
	p := protocol.FetchError(3, protocol.NotLeaderOrFollower)
	r := protocol.FetchResponse{Topics: []protocol.FetchTopic{{Topic: "t", Partitions: []protocol.FetchPartition{p}}}}
	var e protocol.FetchEncoder
	body, _ := join(e.Encode(&r, 11))
	back := kmsg.NewPtrFetchResponse()
	back.Version = 11
	if err := back.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	got := back.Topics[0].Partitions[0]
	if got.ErrorCode != 6 || got.HighWatermark != -1 || got.LastStableOffset != -1 || got.LogStartOffset != -1 ||
		got.PreferredReadReplica != -1 || got.AbortedTransactions != nil || got.RecordBatches == nil || len(got.RecordBatches) != 0 {
		t.Fatalf("%+v", got)
	}
}

// manyPartitions is a response with n partitions, all with records.
func manyPartitions(n int) *protocol.FetchResponse {
	var payload protocol.Payload = memory(make([]byte, 100))
	topic := protocol.FetchTopic{Topic: "topic"}
	for i := range n {
		topic.Partitions = append(topic.Partitions, protocol.FetchPartition{Partition: int32(i), Records: payload})
	}
	return &protocol.FetchResponse{Topics: []protocol.FetchTopic{topic}}
}

func TestFetchEncoderAllocatesNothing(t *testing.T) {
	r := manyPartitions(100)
	var e protocol.FetchEncoder
	e.Encode(r, 18)
	if allocs := testing.AllocsPerRun(100, func() { e.EncodeFrame(1, r, 18) }); allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func TestFetchEncoderRelease(t *testing.T) {
	var e protocol.FetchEncoder
	parts := e.Encode(manyPartitions(3), 18)
	e.Release()
	for _, p := range parts {
		if p.Payload != nil {
			t.Fatal("a payload is kept")
		}
	}
}

func BenchmarkFetchEncoder(b *testing.B) {
	r := manyPartitions(100)
	var e protocol.FetchEncoder
	b.ReportAllocs()
	for b.Loop() {
		e.EncodeFrame(1, r, 18)
	}
}
