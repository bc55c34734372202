package metadata

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// truth is the committed metadata of a cluster: batch by batch, with the image after each.
type truth struct {
	t       *testing.T
	rnd     *rand.Rand
	mu      *sync.Mutex // guards what stands below, and the controllers
	epoch   int32
	batches []record.Batch
	images  []*Image
	made    int
}

func newTruth(t *testing.T, seed uint64) *truth {
	return &truth{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), mu: new(sync.Mutex), epoch: 1}
}

func (h *truth) image() *Image {
	if len(h.images) == 0 {
		return Empty()
	}
	return h.images[len(h.images)-1]
}

// offset is that of the first record of batch i, or the end.
func (h *truth) offset(i int) int64 {
	if i < len(h.batches) {
		return h.batches[i].BaseOffset()
	}
	return h.image().Offset() + 1
}

// grow commits n batches of random changes.
func (h *truth) grow(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range n {
		records := h.change()
		w := record.NewBuilder()
		w.BaseOffset, w.LeaderEpoch = h.offset(len(h.batches)), h.epoch
		for _, r := range records {
			w.Add(time.Now().UnixMilli(), nil, r.Append(nil))
		}
		b, err := w.Build(nil)
		if err != nil {
			h.t.Fatal(err)
		}
		next, _, err := h.image().With(b.LastOffset(), h.epoch, records)
		if err != nil {
			h.t.Fatal(err)
		}
		h.batches, h.images = append(h.batches, append(record.Batch(nil), b...)), append(h.images, next)
	}
}

// change is what a controller may decide next.
func (h *truth) change() []schema.MetadataRecord {
	h.made++
	var topics []*Topic
	for t := range h.image().Topics() {
		topics = append(topics, t)
	}
	id := protocol.UUID{0: byte(h.made >> 8), 1: byte(h.made), 2: byte(h.epoch), 15: 9}
	switch kind := h.rnd.IntN(6); {
	case kind <= 1 || len(topics) == 0:
		return topicRecords(fmt.Sprintf("topic-%d", h.rnd.IntN(8)*1000+h.made), id, 1+h.rnd.IntN(4))
	case kind == 2:
		return []schema.MetadataRecord{&schema.RemoveTopicRecord{TopicID: topics[h.rnd.IntN(len(topics))].ID}}
	case kind == 3:
		t := topics[h.rnd.IntN(len(topics))]
		change := schema.NewPartitionChangeRecord(t.ID, int32(h.rnd.IntN(len(t.Partitions))))
		change.ISR = []int32{int32(1 + h.rnd.IntN(2))}
		return []schema.MetadataRecord{change}
	case kind == 4:
		return []schema.MetadataRecord{&schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: topics[0].Name, Name: "k", Value: ptr(fmt.Sprint(h.made))}}
	default:
		return []schema.MetadataRecord{&schema.NoOpRecord{}}
	}
}

// fork is a cluster that was brought back from a copy with the first n batches of this one.
func (h *truth) fork(n int, epoch int32) *truth {
	f := &truth{t: h.t, rnd: h.rnd, mu: h.mu, epoch: epoch, made: h.made}
	f.batches, f.images = append(f.batches, h.batches[:n]...), append(f.images, h.images[:n]...)
	return f
}

// fakeController serves what it has of a cluster's metadata: batches first to have, and a checkpoint of what was before.
type fakeController struct {
	history     *truth
	first, have int
	chunk       int // bytes of one answer, 0: a few batches
	snapshot    CheckpointID
	content     []byte
	grown       chan struct{} // closed and replaced by wake
	down        error
	lost        bool // it knows no leader
	spoil       func(*kmsg.FetchResponseTopicPartition)
}

func (c *fakeController) end() int64 { return c.history.offset(c.have) }

func (c *fakeController) epochOf(offset int64) int32 {
	for i := c.have - 1; i >= 0; i-- {
		if b := c.history.batches[i]; b.BaseOffset() <= offset {
			return b.LeaderEpoch()
		}
	}
	return -1
}

// catchUp makes the controller have n batches, and drops those before its first one by a checkpoint.
func (c *fakeController) catchUp(n, first int) {
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	c.have = n
	if first > c.first {
		c.first = first
		image := c.history.images[first-1]
		c.snapshot = CheckpointID{image.Offset() + 1, image.Epoch()}
		content, err := AppendCheckpoint(nil, image, CheckpointOptions{})
		if err != nil {
			c.history.t.Fatal(err)
		}
		c.content = content
	}
	close(c.grown)
	c.grown = make(chan struct{})
}

// change changes a controller.
func (c *fakeController) change(fn func(c *fakeController)) {
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	fn(c)
}

// fakeQuorum is the controllers as a Source; the first leads.
type fakeQuorum struct {
	mu          *sync.Mutex // the history's; guards all
	controllers []*fakeController
	at          int
	fetches     int
	pieces      int
}

func newFakeQuorum(h *truth, n int) *fakeQuorum {
	q := &fakeQuorum{mu: h.mu}
	for range n {
		q.controllers = append(q.controllers, &fakeController{history: h, grown: make(chan struct{})})
	}
	return q
}

func (q *fakeQuorum) Switch() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at = (q.at + 1) % len(q.controllers)
}

// turn makes the controller i the one that is asked.
func (q *fakeQuorum) turn(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at = i
}

// counts returns the requests since the last call.
func (q *fakeQuorum) counts() (fetches, pieces int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	fetches, pieces = q.fetches, q.pieces
	q.fetches, q.pieces = 0, 0
	return fetches, pieces
}

func (q *fakeQuorum) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.controllers[q.at]
	if c.down != nil {
		return nil, c.down
	}
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		q.fetches++
		return c.fetch(ctx, req, q.at == 0)
	case *kmsg.FetchSnapshotRequest:
		q.pieces++
		return c.fetchSnapshot(req)
	}
	return nil, errors.New("what?")
}

func (c *fakeController) fetch(ctx context.Context, req *kmsg.FetchRequest, leads bool) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	t := kmsg.NewFetchResponseTopic()
	asked := req.Topics[0].Partitions[0]
	timer := time.NewTimer(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	defer timer.Stop()
	for waiting := true; ; {
		grown := c.grown
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = c.end(), 1, c.history.epoch
		if c.lost {
			p.CurrentLeader.LeaderID = -1
		}
		done := c.place(&p, asked, leads)
		if c.spoil != nil {
			c.spoil(&p)
		}
		if done || !waiting {
			t.Partitions = append(t.Partitions, p)
			resp.Topics = append(resp.Topics, t)
			return resp, nil
		}
		c.history.mu.Unlock()
		select {
		case <-grown:
		case <-timer.C:
			waiting = false
		case <-ctx.Done():
		}
		c.history.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// place fills in what there is, and reports whether that is anything.
func (c *fakeController) place(p *kmsg.FetchResponseTopicPartition, asked kmsg.FetchRequestTopicPartition, leads bool) bool {
	start := c.history.offset(c.first)
	switch epoch := c.epochOf(asked.FetchOffset - 1); {
	case asked.CurrentLeaderEpoch >= 0 && (!leads || c.lost):
		p.ErrorCode = int16(protocol.NotLeaderOrFollower)
	case asked.CurrentLeaderEpoch >= 0 && asked.CurrentLeaderEpoch < c.history.epoch:
		p.ErrorCode = int16(protocol.FencedLeaderEpoch)
	case asked.FetchOffset < start:
		p.SnapshotID.EndOffset, p.SnapshotID.Epoch = c.snapshot.EndOffset, c.snapshot.Epoch
	case asked.FetchOffset > c.end() && asked.LastFetchedEpoch >= c.epochOf(c.end()):
		return false
	case asked.FetchOffset > 0 && (asked.FetchOffset > c.end() || epoch != asked.LastFetchedEpoch):
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = epoch, c.end()
	default:
		for i := c.first; i < c.have && len(p.RecordBatches) < max(c.chunk, 600); i++ {
			if c.history.batches[i].NextOffset() > asked.FetchOffset {
				p.RecordBatches = append(p.RecordBatches, c.history.batches[i]...)
			}
		}
		return len(p.RecordBatches) > 0
	}
	return true
}

func (c *fakeController) fetchSnapshot(req *kmsg.FetchSnapshotRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.FetchSnapshotResponse)
	asked := req.Topics[0].Partitions[0]
	t, p := kmsg.NewFetchSnapshotResponseTopic(), kmsg.NewFetchSnapshotResponseTopicPartition()
	if (CheckpointID{asked.SnapshotID.EndOffset, asked.SnapshotID.Epoch}) != c.snapshot {
		p.ErrorCode = int16(protocol.SnapshotNotFound)
	} else {
		p.Size, p.Position = int64(len(c.content)), asked.Position
		p.Bytes = c.content[asked.Position:min(p.Size, asked.Position+int64(req.MaxBytes))]
	}
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	return resp, nil
}

// follower is a broker's side: a Follower, its Observer, and what was published.
type followingNode struct {
	t        *testing.T
	fs       *vfs.Mem
	source   Source
	static   map[string]string
	codecs   *record.Codecs
	follower *Follower
	observer *Observer
	logs     *observer.ObservedLogs

	// Touched by the observer's goroutine; read after synctest.Wait.
	deltas []*Delta
	state  map[string]protocol.UUID // topics, as whoever applies the deltas knows them
	failed error
}

func newFollowingNode(t *testing.T, source Source, static map[string]string) *followingNode {
	n := &followingNode{t: t, fs: vfs.NewMem(), source: source, static: static, codecs: newCodecs(t)}
	t.Cleanup(n.stop)
	return n
}

func (n *followingNode) start() {
	n.t.Helper()
	values, err := config.FromStatic(n.static)
	if err != nil {
		n.t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	n.logs = logs
	n.follower, err = OpenFollower(FollowerOptions{
		NodeID: 5, FS: n.fs, Dir: "/data", Config: values, Codecs: n.codecs, Source: n.source, Logger: zap.New(core),
		OnFailure: func(err error) { n.failed = err },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.deltas, n.state = nil, map[string]protocol.UUID{}
	n.observer = NewObserver(ObserverOptions{
		Follower: n.follower, Codecs: n.codecs, Logger: zap.NewNop(), Publish: n.publish, OnFailure: func(err error) { n.failed = err },
	})
}

// publish applies a delta as the parts of a broker do, from what they have of the one before.
func (n *followingNode) publish(d *Delta) {
	if len(n.deltas) > 0 && n.deltas[len(n.deltas)-1].Image != d.Before {
		n.t.Errorf("a delta from offset %d after the image at %d", d.Before.Offset(), n.deltas[len(n.deltas)-1].Image.Offset())
	}
	n.deltas = append(n.deltas, d)
	for _, gone := range d.Deleted {
		if n.state[gone.Name] == gone.ID {
			delete(n.state, gone.Name)
		}
	}
	for _, td := range d.Topics {
		n.state[td.Topic.Name] = td.Topic.ID
	}
}

func (n *followingNode) stop() {
	if n.follower == nil {
		return
	}
	n.observer.Close()
	if err := n.follower.Close(); err != nil {
		n.t.Error(err)
	}
	n.follower = nil
}

// crash ends the node as a loss of power does.
func (n *followingNode) crash(seed int64) {
	fs := n.fs.Crash(seed)
	n.stop()
	n.fs = fs
}

// same checks that the node has what the cluster has.
func (n *followingNode) same(h *truth) {
	n.t.Helper()
	if n.failed != nil {
		n.t.Fatalf("failed: %v", n.failed)
	}
	image := n.observer.Image()
	if image.Offset() != h.image().Offset() || differ(image.Records(), h.image().Records()) {
		n.t.Errorf("the node is at offset %d, the cluster at %d, with the same content %v", image.Offset(), h.image().Offset(), !differ(image.Records(), h.image().Records()))
	}
	count := 0
	for t := range h.image().Topics() {
		count++
		if n.state[t.Name] != t.ID {
			n.t.Errorf("topic %s was not published", t.Name)
		}
	}
	if len(n.state) != count {
		n.t.Errorf("%d topics were published, %d are there", len(n.state), count)
	}
}
