package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"unsafe"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/logs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

const testCluster = "AAAAAAAAAAAAAAAAAAAAAQ"

func ptr[T any](v T) *T { return &v }

func uid(n byte) protocol.UUID { return protocol.UUID{0: 0x10, 15: n} }

// fakeController answers by handle and keeps what it was asked. mu guards asked.
type fakeController struct {
	active int32
	handle func(ctx context.Context, req kmsg.Request) (kmsg.Response, error)

	mu    sync.Mutex
	asked []kmsg.Request
}

func (c *fakeController) Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	kept := kmsg.RequestForKey(req.Key()) // a copy: the request's frame ends with its answer
	kept.SetVersion(req.GetVersion())
	if err := kept.ReadFrom(req.AppendTo(nil)); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.asked = append(c.asked, kept)
	c.mu.Unlock()
	if c.handle == nil {
		return nil, errors.New("no controller")
	}
	return c.handle(ctx, req)
}

func (c *fakeController) ActiveID() int32 { return c.active }

func (c *fakeController) requests() []kmsg.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]kmsg.Request(nil), c.asked...)
}

// imageOf makes an image of records.
func imageOf(t testing.TB, records ...schema.MetadataRecord) *metadata.Image {
	t.Helper()
	image, _, err := metadata.Empty().With(int64(len(records))-1, 1, records)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// imageNode is broker 1 of an image, with the given static configs.
func imageNode(t testing.TB, image *metadata.Image, static map[string]string) (*Node, *fakeController) {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeController{active: 1}
	n := &Node{
		NodeID: 1, ClusterID: testCluster, Controller: c, Logger: zap.NewNop(),
		Config: func() config.Values { return values },
		Image:  func() *metadata.Image { return image },
		Routes: NewRoutes(Table()), Loggers: logs.New(zap.InfoLevel, "network", "network.slow", "storage"),
	}
	n.TopicCreator = NewTopicCreator(TopicCreatorOptions{Controller: c, Config: n.Config, Image: n.Image, Logger: n.Logger})
	t.Cleanup(n.TopicCreator.Close)
	return n, c
}

// ask sends a request through the wire form of its version to the handler of its row, and the answer through its own. Strings and bytes alias the
// frame, which is overwritten as soon as the connection would use it again: what a handler keeps without a copy is seen broken by the next.
func ask[R kmsg.Response](t testing.TB, n *Node, listener string, req kmsg.Request) R {
	t.Helper()
	row := n.Routes.Get(req.Key())
	if row == nil || !row.Serves(req.GetVersion()) {
		t.Fatalf("key %d version %d is not served", req.Key(), req.GetVersion())
	}
	received := kmsg.RequestForKey(req.Key())
	received.SetVersion(req.GetVersion())
	frame := req.AppendTo([]byte("client"))
	clientID := unsafe.String(&frame[0], len("client"))
	if err := received.(interface{ UnsafeReadFrom([]byte) error }).UnsafeReadFrom(frame[len(clientID):]); err != nil {
		t.Fatal(err)
	}
	defer poison(frame)
	r := row.Handle(t.Context(), n, &Request{
		Key: req.Key(), Version: req.GetVersion(), ClientID: &clientID, Body: received, Listener: listener, Conn: &Conn{},
	})
	if r.Later != nil {
		if r.Detached {
			poison(frame)
		}
		r = r.Later(t.Context())
	}
	if r.Err != nil || r.Response == nil {
		t.Fatalf("no response: %+v", r)
	}
	if r.Response.Key() != req.Key() || r.Response.GetVersion() != req.GetVersion() {
		t.Fatalf("response of key %d version %d", r.Response.Key(), r.Response.GetVersion())
	}
	answer := req.ResponseKind()
	if err := answer.ReadFrom(r.Response.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	return answer.(R)
}

// threeBrokers are brokers 1 (two listeners), 2 (PLAINTEXT alone) and 3 (fenced), with the topics:
//
//	good              3 partitions led by 1 on 1, 2
//	lost              partition 0 without leader, 1 led by broker 2, 2 with a replica on a broker that is gone
//	__consumer_offsets
func threeBrokers(t testing.TB) *metadata.Image {
	plain := func(host string) schema.BrokerEndpoint {
		return schema.BrokerEndpoint{Name: "PLAINTEXT", Host: host, Port: 9092}
	}
	partition := func(topic byte, id, leader int32, epoch int32, replicas, isr []int32) schema.MetadataRecord {
		return &schema.PartitionRecord{
			PartitionID: id, TopicID: uid(topic), Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch, Replicas: replicas, ISR: isr,
			Directories: make([]protocol.UUID, len(replicas)),
		}
	}
	return imageOf(t,
		&schema.RegisterBrokerRecord{BrokerID: 1, Rack: ptr("r1"), EndPoints: []schema.BrokerEndpoint{plain("one"), {Name: "EXTRA", Host: "extra", Port: 9}}},
		&schema.RegisterBrokerRecord{BrokerID: 2, EndPoints: []schema.BrokerEndpoint{plain("two")}, LogDirs: []protocol.UUID{uid(200)}},
		&schema.RegisterBrokerRecord{BrokerID: 3, EndPoints: []schema.BrokerEndpoint{plain("three")}, Fenced: true},
		&schema.TopicRecord{Name: "good", TopicID: uid(1)},
		partition(1, 0, 1, 5, []int32{1, 2}, []int32{1, 2}),
		partition(1, 1, 1, 6, []int32{1, 2}, []int32{1, 2}),
		partition(1, 2, 1, 7, []int32{2, 1}, []int32{1, 2}),
		&schema.TopicRecord{Name: "lost", TopicID: uid(2)},
		partition(2, 0, -1, 3, []int32{3}, []int32{3}),
		partition(2, 1, 2, 4, []int32{2, 3}, []int32{2}),
		&schema.PartitionRecord{
			PartitionID: 2, TopicID: uid(2), Leader: 1, Replicas: []int32{1, 9, 2}, ISR: []int32{1},
			Directories: []protocol.UUID{{}, {}, metadata.DirectoryLost}, EligibleLeaderReplicas: []int32{2},
		},
		&schema.TopicRecord{Name: "__consumer_offsets", TopicID: uid(3)},
		partition(3, 0, 1, 0, []int32{1}, []int32{1}),
	)
}

// poison overwrites a frame that the connection would use for the next request: whatever still looks at it becomes visible.
func poison(frame []byte) {
	for i := range frame {
		frame[i] = '?'
	}
}
