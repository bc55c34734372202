package replication

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// cluster is some managers that fetch from each other in memory, with the metadata that the test writes.
type cluster struct {
	t        testing.TB
	settings map[string]string
	dynamic  atomic.Pointer[map[string]string]
	control  func(ctx context.Context, from int32, req kmsg.Request) (kmsg.Response, error) // nil: there is no controller
	deciding sync.Mutex                                                                     // held over changes of the metadata

	mu    sync.Mutex
	nodes map[int32]*node // guarded by mu, as what is in them
	cut   map[[2]int32]bool
	image *metadata.Image
	delay func() time.Duration // that an answer is on its way; nil: none
}

// node is one broker of a cluster.
type node struct {
	*Manager
	id     int32
	fs     vfs.FS
	codecs *record.Codecs
	store  *storage.Store

	sessions    map[int32]*testSession // guarded by the cluster's mu, as lastSession
	lastSession int32
}

func newCluster(t testing.TB, brokers int, settings map[string]string, with ...func(*cluster)) *cluster {
	t.Helper()
	c := &cluster{
		t: t, settings: settings, nodes: map[int32]*node{}, cut: map[[2]int32]bool{}, image: metadata.Empty(),
	}
	c.dynamic.Store(&map[string]string{})
	for _, f := range with {
		f(c)
	}
	c.change(&schema.FeatureLevelRecord{Name: "metadata.version", FeatureLevel: 30})
	for id := range int32(brokers) {
		c.register(id)
	}
	for id := range int32(brokers) {
		c.start(id, vfs.NewMem())
	}
	t.Cleanup(func() {
		for id := range c.nodes {
			c.stop(id)
		}
	})
	return c
}

func (c *cluster) register(id int32) {
	c.t.Helper()
	c.change(&schema.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: int64(id), IncarnationID: protocol.NewUUID()})
}

// start brings a node up on the files of fs.
func (c *cluster) start(id int32, fs vfs.FS) *node {
	c.t.Helper()
	values, err := config.FromStatic(c.settings)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &node{id: id, fs: fs, codecs: record.NewCodecs(), sessions: map[int32]*testSession{}}
	n.store, err = storage.Open(storage.Options{FS: fs, Dirs: []string{"/a", "/b"}, NodeID: id, Config: values, Codecs: n.codecs, Logger: zap.NewNop()})
	if err == nil {
		err = n.store.SetClusterID("cluster")
	}
	if err != nil {
		c.t.Fatal(err)
	}
	o := Options{
		NodeID: id, Store: n.store, Codecs: n.codecs, Logger: zap.NewNop(), Peers: peersOf{c, id},
		Config: func() config.Values { return values.WithDynamic(*c.dynamic.Load(), nil) },
	}
	if c.control != nil {
		o.Controller = controllerOf{c, id}
	}
	n.Manager = NewManager(o)
	c.mu.Lock()
	c.nodes[id] = n
	c.mu.Unlock()
	n.Apply(metadata.Difference(metadata.Empty(), c.image))
	return n
}

// stop takes a node down. Its files stay.
func (c *cluster) stop(id int32) {
	c.mu.Lock()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.mu.Unlock()
	n.Close()
	if err := n.store.Close(); err != nil {
		c.t.Error(err)
	}
	n.codecs.Close()
}

// crash takes a node down with what was not synced lost at random, and returns its files.
func (c *cluster) crash(id int32, seed int64) vfs.FS {
	fs := c.node(id).fs.(*vfs.Mem).Crash(seed)
	c.stop(id)
	return fs
}

func (c *cluster) node(id int32) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[id]
}

// change applies metadata records, as one batch, to all nodes that are up.
func (c *cluster) change(records ...schema.MetadataRecord) {
	c.t.Helper()
	c.deciding.Lock()
	defer c.deciding.Unlock()
	c.decide(records...)
}

// decide is change with deciding held.
func (c *cluster) decide(records ...schema.MetadataRecord) {
	c.t.Helper()
	image, delta, err := c.image.With(c.image.Offset()+int64(len(records)), 1, records)
	if err != nil {
		c.t.Fatal(err)
	}
	c.image = image
	c.mu.Lock()
	nodes := maps.Clone(c.nodes)
	c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		nodes[id].Apply(delta)
	}
}

// topic creates a topic with some partitions, led by the first of the replicas, which are all in sync.
func (c *cluster) topic(name string, partitions int, settings map[string]string, replicas ...int32) protocol.UUID {
	c.t.Helper()
	id := protocol.NewUUID()
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: id}}
	for p := range int32(partitions) {
		records = append(records, &schema.PartitionRecord{TopicID: id, PartitionID: p, Replicas: replicas, ISR: replicas, Leader: replicas[0]})
	}
	for key, value := range settings {
		records = append(records, &schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: name, Name: key, Value: &value})
	}
	c.change(records...)
	return id
}

// lead makes a node the leader of partition 0 of a topic; isr nil leaves the ISR as it is.
func (c *cluster) lead(topic string, leader int32, isr ...int32) {
	c.t.Helper()
	c.change(&schema.PartitionChangeRecord{TopicID: c.image.Topic(topic).ID, Leader: leader, ISR: isr, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange})
}

func (c *cluster) partition(id int32, topic string, partition int32) *Partition {
	c.t.Helper()
	p, err := c.node(id).Partition(topic, partition)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// produce appends records as the leader's, with acks=1.
func (c *cluster) produce(id int32, topic string, values ...string) int64 {
	c.t.Helper()
	r, err := c.partition(id, topic, 0).Append(batch(values...), ProduceOptions{Acks: 1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1})
	if err != nil {
		c.t.Fatal(err)
	}
	return r.LastOffset
}

// bytesOf is all that a log has.
func bytesOf(t testing.TB, log *storage.Log) []byte {
	t.Helper()
	var all []byte
	if err := log.Batches(context.Background(), log.Offsets().LogStart, func(b record.Batch) error {
		all = append(all, b...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// same checks that two nodes have the same bytes and epochs of a partition.
func (c *cluster) same(topic string, partition, a, b int32) {
	c.t.Helper()
	left, right := c.partition(a, topic, partition).Log(), c.partition(b, topic, partition).Log()
	if x, y := left.Offsets(), right.Offsets(); x.LogEnd != y.LogEnd || x.LogStart != y.LogStart {
		c.t.Errorf("%s-%d: %+v on %d, %+v on %d", topic, partition, x, a, y, b)
	}
	if !bytes.Equal(bytesOf(c.t, left), bytesOf(c.t, right)) {
		c.t.Errorf("%s-%d: brokers %d and %d have different bytes", topic, partition, a, b)
	}
}

// separate cuts, or mends, the way between two nodes.
func (c *cluster) separate(a, b int32, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[[2]int32{a, b}], c.cut[[2]int32{b, a}] = cut, cut
}

// peersOf is the way from one node to the others.
type peersOf struct {
	c    *cluster
	from int32
}

func (p peersOf) Open(node int32) Peer {
	ctx, cancel := context.WithCancel(context.Background())
	return &memPeer{c: p.c, from: p.from, to: node, ctx: ctx, cancel: cancel}
}

// memPeer answers requests with another node's manager.
type memPeer struct {
	c        *cluster
	from, to int32
	ctx      context.Context
	cancel   context.CancelFunc
	buf      []byte
}

var errUnreachable = errors.New("no way to the broker")

func (p *memPeer) Close() { p.cancel() }

func (p *memPeer) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	p.c.mu.Lock()
	n, cut := p.c.nodes[p.to], p.c.cut[[2]int32{p.from, p.to}]
	p.c.mu.Unlock()
	if n == nil || cut || p.ctx.Err() != nil {
		return nil, errUnreachable
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	select {
	case <-time.After(time.Millisecond): // of a bubble: the way takes its time
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var resp kmsg.Response
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		resp = p.fetch(ctx, n, req)
	case *kmsg.ListOffsetsRequest:
		resp = listOffsets(n, req)
	}
	if p.c.delay != nil {
		select {
		case <-time.After(p.c.delay()):
		case <-ctx.Done():
		}
	}
	p.c.mu.Lock()
	cut = p.c.cut[[2]int32{p.from, p.to}] || p.c.nodes[p.to] != n
	p.c.mu.Unlock()
	if cut {
		return nil, errUnreachable
	}
	return resp, ctx.Err()
}
