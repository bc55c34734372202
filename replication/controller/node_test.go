package controller

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// node is a controller on real raft and real logs, with a broker that registers and then says at once what it has applied.
type node struct {
	*Controller
	t      *testing.T
	codecs *record.Codecs
	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
	closed bool
	failed chan error // what OnFailure was told
}

// startNode starts a controller on fs. It is closed with the test.
func startNode(t *testing.T, fs vfs.FS, static map[string]string) *node {
	t.Helper()
	n, err := tryStartNode(t, fs, "/data", "", static)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryStartNode(t *testing.T, fs vfs.FS, dir, clusterID string, static map[string]string) (*node, error) {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, codecs: record.NewCodecs(), wake: make(chan struct{}, 1), failed: make(chan error, 8)}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.Controller, err = Start(Options{
		NodeID: 1, ClusterID: clusterID, FS: fs, Dir: dir, Config: values, Codecs: n.codecs, Logger: zap.NewNop(),
		OnFailure: func(err error) { n.failed <- err },
		OnAppend: func() {
			select {
			case n.wake <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		cancel()
		n.codecs.Close()
		return nil, err
	}
	t.Cleanup(n.close)
	id, err := n.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.done.Go(func() { n.broker(ctx, id) })
	return n, nil
}

// close stops the node as a clean shutdown does.
func (n *node) close() {
	if n.closed {
		return
	}
	n.closed = true
	n.cancel()
	n.done.Wait()
	if err := n.Close(); err != nil && n.quorum.(*raftQuorum).health.check() == nil {
		n.t.Error(err)
	}
	n.codecs.Close()
}

// broker is broker 1: it registers and heartbeats after each change.
func (n *node) broker(ctx context.Context, clusterID string) {
	reg := registration(1, clusterID)
	reg.IncarnationID = protocol.NewUUID()
	resp, err := n.Handle(ctx, reg, Caller{})
	if err != nil {
		return
	}
	epoch := resp.(*kmsg.BrokerRegistrationResponse).BrokerEpoch
	if code := resp.(*kmsg.BrokerRegistrationResponse).ErrorCode; code != 0 {
		n.t.Errorf("registration: %v", protocol.Code(code))
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		hb := &kmsg.BrokerHeartbeatRequest{Version: 1, BrokerID: 1, BrokerEpoch: epoch, CurrentMetadataOffset: n.Image().Offset()}
		if _, err := n.Handle(ctx, hb, Caller{}); err != nil {
			return
		}
		select {
		case <-n.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func registration(id int32, clusterID string) *kmsg.BrokerRegistrationRequest {
	r := &kmsg.BrokerRegistrationRequest{Version: 4, BrokerID: id, ClusterID: clusterID, IncarnationID: uuid(byte(id)), PreviousBrokerEpoch: -1}
	r.LogDirs = [][16]byte{uuid(byte(200 + id))}
	for _, f := range protocol.Features() {
		r.Features = append(r.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	r.Listeners = []kmsg.BrokerRegistrationRequestListener{{Name: "PLAINTEXT", Host: "localhost", Port: 9092}}
	return r
}

// create creates a topic with one partition, again while there is no broker yet.
func (n *node) create(ctx context.Context, name string) error {
	for {
		req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest(name, 1, 1)}}
		resp, err := n.Handle(ctx, req, Caller{})
		if err != nil {
			return err
		}
		code := protocol.Code(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
		if code == protocol.None {
			return nil
		}
		if code != protocol.InvalidReplicationFactor {
			return code
		}
	}
}

// topics are the names of the committed topics.
func (n *node) topics() []string {
	var names []string
	for t := range n.Image().Topics() {
		names = append(names, t.Name)
	}
	return names
}

// agrees reports whether __cluster_metadata-0 describes the image, from its newest snapshot on or from the beginning. It looks again while
// either changes.
func (n *node) agrees() bool {
	n.t.Helper()
	q := n.quorum.(*raftQuorum)
	for {
		img, before := n.Image(), q.machine.log.Offsets()
		if before.LogEnd != img.Offset()+1 {
			runtime.Gosched()
			continue // the batch is being written
		}
		start := before.LogStart
		logged, err := n.logged(start)
		if o := q.machine.log.Offsets(); img != n.Image() || o.LogEnd != img.Offset()+1 || o.LogStart != start {
			continue
		}
		if err != nil {
			n.t.Fatal(err)
		}
		return bytes.Equal(encodeImage(logged.Records()), encodeImage(img.Records()))
	}
}

// logged is the image that the log describes which begins at start.
func (n *node) logged(start int64) (*metadata.Image, error) {
	q := n.quorum.(*raftQuorum)
	a := newApplier(n.codecs)
	if start > 0 {
		img, timestamp, err := n.checkpointed(start)
		if err != nil {
			return nil, err
		}
		a.reset(img, timestamp)
	}
	err := q.machine.log.Batches(context.Background(), a.next, func(b record.Batch) error {
		if b.NextOffset() <= a.next {
			return nil
		}
		_, err := a.apply(slices.Clone(b))
		return err
	})
	return a.image.Load(), err
}

// checkpointed is the newest checkpoint that can be read and covers what the log lacks.
func (n *node) checkpointed(start int64) (*metadata.Image, int64, error) {
	q := n.quorum.(*raftQuorum)
	all, err := q.snapshots.List()
	for _, meta := range all {
		_, source, e := q.snapshots.Open(meta.ID)
		if e != nil {
			err = e // a newer one has replaced it
			continue
		}
		img, timestamp, _, e := readCheckpoint(source, n.codecs)
		source.Close()
		if e == nil && img.Offset()+1 >= start {
			return img, timestamp, nil
		}
	}
	return nil, 0, fmt.Errorf("no checkpoint covers the log's start %d: %w", start, err)
}

func encodeImage(records []schema.MetadataRecord) []byte {
	var b []byte
	for _, r := range records {
		b = r.Append(b)
	}
	return b
}
