package server_test

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/server/servertest"
)

// hotTopic is the topic of these tests, with one partition.
const hotTopic = "hot"

// What a request of one partition may allocate: kmsg's request and response with their arrays, and little else.
const (
	producedAllocs  = 10
	fetchedAllocs   = 6
	committedAllocs = 21
)

// hotPath is a broker with a topic, and a connection to it that allocates nothing.
type hotPath struct {
	t   testing.TB
	nc  net.Conn
	buf []byte
}

func newHotPath(t testing.TB, opts ...servertest.Option) *hotPath {
	t.Helper()
	broker := servertest.Start(t, opts...)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, hotTopic)
	if err == nil {
		err = created.Err
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &hotPath{t: t, buf: make([]byte, 4<<20)}
	if h.nc, err = net.Dial("tcp", broker.Addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.nc.Close() })
	return h
}

// ask sends frames and returns the last answer's body, behind its correlation id. It is valid until the next call.
func (h *hotPath) ask(frames ...[]byte) []byte {
	for _, f := range frames {
		if _, err := h.nc.Write(f); err != nil {
			h.t.Fatal(err)
		}
	}
	size := 0
	for range frames {
		if _, err := io.ReadFull(h.nc, h.buf[:4]); err != nil {
			h.t.Fatal(err)
		}
		size = int(binary.BigEndian.Uint32(h.buf))
		if _, err := io.ReadFull(h.nc, h.buf[:size]); err != nil {
			h.t.Fatal(err)
		}
	}
	return h.buf[4:size]
}

// batchOf is a batch of n records of the given size.
func batchOf(t testing.TB, n, size int) []byte {
	t.Helper()
	w := record.NewBuilder()
	for range n {
		w.Add(time.Now().UnixMilli(), nil, make([]byte, size))
	}
	codecs := record.NewCodecs()
	defer codecs.Close()
	b, err := w.Build(codecs)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(b)
}

func requestFrame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 1)
}

// produceFrame is a Produce request of one batch.
func produceFrame(batch []byte, acks int16) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 11, acks, 30_000
	topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch
	topic.Topic, topic.Partitions = hotTopic, append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return requestFrame(req)
}

// fetchFrame is a Fetch request for what begins at an offset, without a session.
func fetchFrame(offset int64, most int32) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.SessionEpoch = 12, 1, math.MaxInt32, -1
	topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes = offset, most
	topic.Topic, topic.Partitions = hotTopic, append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return requestFrame(req)
}

// commitFrame is an OffsetCommit of one partition, for a group without members.
func commitFrame() []byte {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 7, "hot", -1
	topic, partition := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	topic.Topic, topic.Partitions = hotTopic, append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return requestFrame(req)
}

// awaitCoordinator has the topic of offsets made, and commits until that succeeds.
func (h *hotPath) awaitCoordinator() {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 2, "hot"
	for code := int16(-1); code != 0; {
		h.ask(requestFrame(find))
		resp := kmsg.NewPtrOffsetCommitResponse()
		resp.Version = 7
		if err := resp.ReadFrom(h.ask(commitFrame())); err != nil {
			h.t.Fatal(err)
		}
		code = resp.Topics[0].Partitions[0].ErrorCode
	}
}

// produced checks an answer of produceFrame.
func (h *hotPath) produced(body []byte) {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = 11
	if err := resp.ReadFrom(body[1:]); err != nil {
		h.t.Fatal(err)
	}
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 {
		h.t.Fatalf("error code %d", p.ErrorCode)
	}
}

// fetched checks an answer of fetchFrame, which has size bytes of records.
func (h *hotPath) fetched(body []byte, size int) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 12
	if err := resp.ReadFrom(body[1:]); err != nil {
		h.t.Fatal(err)
	}
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.RecordBatches) != size {
		h.t.Fatalf("error code %d, %d bytes of records, want %d", p.ErrorCode, len(p.RecordBatches), size)
	}
}

// TestHotPathAllocations bounds what the whole broker allocates for a request, from the socket to the log and back. It does not depend on how many
// records or bytes a batch has.
func TestHotPathAllocations(t *testing.T) {
	h := newHotPath(t, servertest.InDir(t.TempDir()))
	h.awaitCoordinator()
	small, large := batchOf(t, 1, 100), batchOf(t, 62, 1024)
	for _, c := range []struct {
		name  string
		frame []byte
		most  float64
	}{
		{"produce one record, acks=1", produceFrame(small, 1), producedAllocs},
		{"produce 62 records, acks=1", produceFrame(large, 1), producedAllocs},
		{"produce one record, acks=all", produceFrame(small, -1), producedAllocs},
		{"produce 62 records, acks=all", produceFrame(large, -1), producedAllocs},
		{"fetch one record", fetchFrame(0, 1), fetchedAllocs},
		{"fetch 1 MiB", fetchFrame(1, 1<<20), fetchedAllocs},
		{"fetch at the end", fetchFrame(2*220*63, 1<<20), fetchedAllocs},
		{"commit an offset", commitFrame(), committedAllocs},
	} {
		for range 20 { // pools and buffers grow
			h.ask(c.frame)
		}
		got := testing.AllocsPerRun(199, func() { h.ask(c.frame) })
		t.Logf("%s: %v", c.name, got)
		if got > c.most && !raceEnabled { // pools drop at random under the race detector
			t.Errorf("%s: %v allocations, want at most %v", c.name, got, c.most)
		}
	}
	h.fetched(h.ask(fetchFrame(2*220*63, 1<<20)), 0)
}

// BenchmarkProduce is a request of one batch, and BenchmarkProducePipelined the same in rounds of 5.
func BenchmarkProduce(b *testing.B) { benchProduce(b, 1) }

func BenchmarkProducePipelined(b *testing.B) { benchProduce(b, 5) }

func benchProduce(b *testing.B, pipeline int) {
	for _, c := range []struct {
		name          string
		records, size int
	}{{"1x100B", 1, 100}, {"62x1KiB", 62, 1024}} {
		b.Run(c.name, func(b *testing.B) {
			h := newHotPath(b, servertest.InDir(b.TempDir()), servertest.With("log.segment.bytes", "67108864"),
				servertest.With("log.retention.bytes", "134217728"), servertest.With("log.retention.check.interval.ms", "500"),
				servertest.With("log.segment.delete.delay.ms", "0"))
			batch := batchOf(b, c.records, c.size)
			frames := slices.Repeat([][]byte{produceFrame(batch, -1)}, pipeline)
			h.produced(h.ask(frames...))
			b.SetBytes(int64(pipeline * len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				h.ask(frames...)
			}
		})
	}
}

// BenchmarkFetch is a fetch of what is in the page cache.
func BenchmarkFetch(b *testing.B) {
	for _, c := range []struct {
		name string
		most int32
	}{{"one batch", 1}, {"1MiB", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			h := newHotPath(b, servertest.InDir(b.TempDir()))
			batch := batchOf(b, 62, 1024)
			frame := produceFrame(batch, -1)
			for range 64 {
				h.produced(h.ask(frame))
			}
			frame = fetchFrame(62, c.most)
			size := max(1, int(c.most)/len(batch)) * len(batch)
			h.fetched(h.ask(frame), size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				h.ask(frame)
			}
		})
	}
}
