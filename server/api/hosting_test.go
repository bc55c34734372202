package api

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// hosting is broker 1 of a cluster of two with real partitions, in memory. The test plays the controller.
type hosting struct {
	*Node
	t      testing.TB
	image  atomic.Pointer[metadata.Image]
	codecs *record.Codecs
	delta  *metadata.Delta // of the last change
}

func newHosting(t testing.TB, static map[string]string) *hosting {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	h := &hosting{t: t, codecs: record.NewCodecs()}
	h.image.Store(metadata.Empty())
	store, err := storage.Open(storage.Options{
		FS: vfs.NewMem(), Dirs: []string{"/data"}, NodeID: 1, Config: values, Codecs: h.codecs, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SetClusterID(testCluster); err != nil {
		t.Fatal(err)
	}
	manager := replication.NewManager(replication.Options{
		NodeID: 1, Store: store, Codecs: h.codecs, Config: func() config.Values { return values }, Logger: zap.NewNop(),
	})
	h.Node = &Node{
		NodeID: 1, ClusterID: testCluster, Config: func() config.Values { return values }, Image: h.image.Load,
		Replicas: manager, Store: store, Sessions: NewSessions(10), Routes: NewRoutes(Table()), Logger: zap.NewNop(),
	}
	t.Cleanup(func() {
		manager.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		h.codecs.Close()
	})
	endpoint := func(host string) []schema.BrokerEndpoint {
		return []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: host, Port: 9092}}
	}
	h.change(&schema.RegisterBrokerRecord{BrokerID: 1, EndPoints: endpoint("one")},
		&schema.RegisterBrokerRecord{BrokerID: 2, Rack: ptr("r2"), EndPoints: endpoint("two")})
	return h
}

// change applies metadata records as one batch.
func (h *hosting) change(records ...schema.MetadataRecord) {
	h.t.Helper()
	old := h.image.Load()
	image, delta, err := old.With(old.Offset()+int64(len(records)), 1, records)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Replicas.Apply(delta)
	h.image.Store(image)
	h.delta = delta
}

// log is the log of a hosted partition.
func (h *hosting) log(topic string, partition int32) *storage.Log {
	h.t.Helper()
	p, err := h.Replicas.Partition(topic, partition)
	if err != nil {
		h.t.Fatal(err)
	}
	return p.Log()
}

// topic creates a topic with as many partitions, all led by this broker alone.
func (h *hosting) topic(name string, id byte, partitions int32, settings map[string]string) {
	h.t.Helper()
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: uid(id)}}
	for p := range partitions {
		records = append(records, partitionRecord(id, p, 1, 0, 1))
	}
	for key, value := range settings {
		records = append(records, &schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: name, Name: key, Value: &value})
	}
	h.change(records...)
}

func partitionRecord(topic byte, partition, leader, epoch int32, isr ...int32) *schema.PartitionRecord {
	return &schema.PartitionRecord{
		TopicID: uid(topic), PartitionID: partition, Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch,
		Replicas: isr, ISR: isr, Directories: make([]protocol.UUID, len(isr)),
	}
}

// result runs the handler of a request, sent through the wire form of its version, up to the end of its first stage.
func (h *hosting) result(req kmsg.Request, clientID string) Result {
	h.t.Helper()
	row := h.Routes.Get(req.Key())
	if row == nil || !row.Serves(req.GetVersion()) {
		h.t.Fatalf("key %d version %d is not served", req.Key(), req.GetVersion())
	}
	received := kmsg.RequestForKey(req.Key())
	received.SetVersion(req.GetVersion())
	if err := received.ReadFrom(req.AppendTo(nil)); err != nil {
		h.t.Fatal(err)
	}
	return row.Handle(h.t.Context(), h.Node, &Request{
		Key: req.Key(), Version: req.GetVersion(), ClientID: &clientID, Body: received, Listener: "PLAINTEXT", Conn: &Conn{},
	})
}

// finish is the response of a result, through its wire form.
func finish[R kmsg.Response](ctx context.Context, h *hosting, req kmsg.Request, r Result) R {
	h.t.Helper()
	for r.Later != nil {
		r = r.Later(ctx)
	}
	var body []byte
	switch {
	case r.Response != nil:
		if r.Response.GetVersion() != req.GetVersion() {
			h.t.Fatalf("response version %d, want %d", r.Response.GetVersion(), req.GetVersion())
		}
		body = r.Response.AppendTo(nil)
	case r.Gather != nil:
		r.Gather.Parts(func(b []byte, s storage.Slice) bool {
			if b == nil {
				b = make([]byte, s.Len())
				if _, err := s.ReadAt(b, 0); err != nil {
					h.t.Error(err)
				}
			}
			body = append(body, b...)
			return true
		})
		if r.Gather.Size() != len(body) {
			h.t.Errorf("%d bytes, promised %d", len(body), r.Gather.Size())
		}
		r.Gather.Release()
	default:
		h.t.Fatalf("no response: %+v", r)
	}
	answer := req.ResponseKind()
	if err := answer.ReadFrom(body); err != nil {
		h.t.Fatal(err)
	}
	return answer.(R)
}

// call answers a request.
func call[R kmsg.Response](h *hosting, req kmsg.Request) R {
	h.t.Helper()
	return finish[R](h.t.Context(), h, req, h.result(req, "test"))
}

// batchOf builds a batch of records with these values and timestamps from 1000 on.
func batchOf(t testing.TB, values ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder()
	for i, v := range values {
		b.Add(int64(1000+i), []byte("key"), []byte(v))
	}
	return build(t, b)
}

func build(t testing.TB, b *record.Builder) record.Batch {
	t.Helper()
	codecs := record.NewCodecs()
	defer codecs.Close()
	batch, err := b.Build(codecs)
	if err != nil {
		t.Fatal(err)
	}
	return append(record.Batch(nil), batch...)
}

// produceRequest is a request of one partition, with acks 1.
func produceTo(version int16, topic string, id byte, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, 1, 1000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: uid(id), Partitions: []kmsg.ProduceRequestTopicPartition{p}}}
	return req
}

// produce appends records to partition 0 and returns their base offset.
func (h *hosting) produce(topic string, records []byte) int64 {
	h.t.Helper()
	p := call[*kmsg.ProduceResponse](h, produceTo(9, topic, 0, 0, records)).Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		h.t.Fatalf("produce: %v", protocol.Code(p.ErrorCode))
	}
	return p.BaseOffset
}

// append appends a batch as the leader.
func (h *hosting) append(t testing.TB, p *replication.Partition, batch record.Batch) {
	t.Helper()
	_, err := p.Append(batch, replication.ProduceOptions{Acks: 1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1})
	if err != nil {
		t.Fatal(err)
	}
}
