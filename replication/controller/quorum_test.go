package controller

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"go.uber.org/zap"
)

// listQuorum is a Quorum that is a list: a proposal is committed when it is made, or while held when release is called. Its node leads from the
// start until depose.
type listQuorum struct {
	mu         sync.Mutex // guards all
	node       int32
	applier    *applier
	listener   Listener
	leadership uint64
	held       bool
	waiting    []record.Batch
	batches    []record.Batch
}

func newListQuorum(node int32) *listQuorum {
	return &listQuorum{node: node, applier: newApplier(record.NewCodecs())}
}

func (q *listQuorum) Start(l Listener) error {
	q.listener = l
	q.elect()
	return nil
}

// elect begins a leadership of this node.
func (q *listQuorum) elect() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leadership++
	q.listener.Elected(Election{
		Leadership: q.leadership, Epoch: int32(q.leadership), Image: q.applier.image.Load(), NextOffset: q.applier.next,
	})
}

// depose ends it; what was not committed is lost.
func (q *listQuorum) depose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = nil
	q.listener.Deposed(q.leadership)
}

func (q *listQuorum) Propose(leadership uint64, b record.Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if leadership != q.leadership {
		return
	}
	q.waiting = append(q.waiting, b)
	if !q.held {
		q.commit()
	}
}

// hold keeps proposals from being committed; release commits them.
func (q *listQuorum) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = true
}

func (q *listQuorum) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = false
	q.commit()
}

func (q *listQuorum) commit() {
	for _, b := range q.waiting {
		c, err := q.applier.apply(b)
		if err != nil {
			panic(err)
		}
		q.batches = append(q.batches, b)
		q.listener.Committed(c)
	}
	q.waiting = nil
}

func (q *listQuorum) committed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.batches)
}

func (q *listQuorum) Image() *metadata.Image { return q.applier.image.Load() }

func (q *listQuorum) Describe() QuorumState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return QuorumState{LeaderID: q.node, LeaderEpoch: int32(q.leadership), HighWatermark: q.applier.next, LogEndOffset: q.applier.next}
}

func (q *listQuorum) Replicas() (voting, observing []QuorumReplica, kraftVersion int16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	return []QuorumReplica{{ID: q.node, LogEndOffset: q.applier.next, LastFetch: now, LastCaughtUp: now}}, nil, 0
}

func (q *listQuorum) ClusterID() string { return testCluster }

func (q *listQuorum) ChangeVoters(context.Context, VoterChange) error {
	return protocol.Errorf(protocol.UnsupportedVersion, "a list has no voters")
}

func (q *listQuorum) Close() error { return nil }

const testCluster = "4L6g3nShT-eMCtK--X86sw"

// startListed starts a controller on a listQuorum. It is closed with the test.
func startListed(t *testing.T, static map[string]string) (*Controller, *listQuorum) {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	q := newListQuorum(1)
	c, err := newController(Options{NodeID: 1, Config: values, Logger: zap.NewNop()}, q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if id, err := c.Ready(t.Context()); err != nil || id != testCluster {
		t.Fatalf("Ready: %q, %v", id, err)
	}
	return c, q
}

func uuid(n byte) protocol.UUID { return protocol.UUID{0: 7, 15: n} }
