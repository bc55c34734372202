package api

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// wireSource is the way to a node's controller listener, with everything in its encoded form. mu guards node: nil while it is down.
type wireSource struct {
	mu   sync.Mutex
	node *quorumNode
}

func (s *wireSource) set(q *quorumNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node = q
}

func (s *wireSource) Switch() {}

func (s *wireSource) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	s.mu.Lock()
	q := s.node
	s.mu.Unlock()
	if q == nil {
		return nil, errors.New("connection refused")
	}
	received := kmsg.RequestForKey(req.Key())
	received.SetVersion(req.GetVersion())
	if err := received.ReadFrom(req.AppendTo(nil)); err != nil {
		return nil, err
	}
	r := q.Routes.Get(req.Key()).Handle(ctx, q.Node, &Request{Key: req.Key(), Version: req.GetVersion(), Body: received, Conn: &Conn{}})
	for r.Later != nil {
		r = r.Later(ctx)
	}
	if r.Err != nil {
		return nil, r.Err
	}
	answer := req.ResponseKind()
	return answer, answer.ReadFrom(r.Response.AppendTo(nil))
}

// observingNode is a broker's metadata: follower and observer. The observer's goroutine writes image, which is read after synctest.Wait.
type observingNode struct {
	t        *testing.T
	fs       *vfs.Mem
	source   *wireSource
	codecs   *record.Codecs
	follower *metadata.Follower
	observer *metadata.Observer
	failed   error
}

func (n *observingNode) start() {
	n.t.Helper()
	values, err := config.FromStatic(cutting)
	if err != nil {
		n.t.Fatal(err)
	}
	n.codecs = record.NewCodecs()
	n.follower, err = metadata.OpenFollower(metadata.FollowerOptions{
		NodeID: 7, DirectoryID: uid(9), ClusterID: testCluster, FS: n.fs, Dir: "/broker", Config: values, Codecs: n.codecs, Source: n.source,
		Logger: zap.NewNop(), OnFailure: func(err error) { n.failed = err },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.observer = metadata.NewObserver(metadata.ObserverOptions{
		Follower: n.follower, Codecs: n.codecs, Publish: func(*metadata.Delta) {}, Logger: zap.NewNop(), OnFailure: func(err error) { n.failed = err },
	})
}

func (n *observingNode) stop() {
	if n.follower == nil {
		return
	}
	n.observer.Close()
	if err := n.follower.Close(); err != nil {
		n.t.Error(err)
	}
	n.codecs.Close()
	n.follower = nil
}

func (n *observingNode) same(q *quorumNode) {
	n.t.Helper()
	if n.failed != nil {
		n.t.Fatal(n.failed)
	}
	got, want := n.observer.Image(), q.Controller.Image()
	if got.Offset() != want.Offset() || got.Epoch() != want.Epoch() || !reflect.DeepEqual(got.Records(), want.Records()) {
		n.t.Errorf("the broker is at offset %d, epoch %d; the controller at %d, %d", got.Offset(), got.Epoch(), want.Offset(), want.Epoch())
	}
}

// A broker and its controller both crash, restart and take snapshots as they like: the broker ends with the controller's image.
func TestFollowerOfARealController(t *testing.T) {
	for seed := range uint64(15) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			q := startQuorum(t, vfs.NewMem(), cutting)
			source := &wireSource{node: q}
			n := &observingNode{t: t, fs: vfs.NewMem(), source: source}
			defer n.stop()
			n.start()
			for step := range 30 {
				switch rnd.IntN(6) {
				case 0, 1:
					q.change(rnd.IntN(40))
				case 2:
					n.stop()
					n.start()
				case 3:
					crashed := n.fs.Crash(int64(seed)*100 + int64(step))
					n.stop()
					n.fs = crashed
					n.start()
				case 4, 5:
					source.set(nil)
					time.Sleep(time.Duration(rnd.IntN(2000)) * time.Millisecond)
					fs := q.fs
					if rnd.IntN(2) == 0 {
						fs = fs.Crash(int64(seed)*100 + int64(step) + 50)
					}
					made := q.made
					q.close()
					q = startQuorum(t, fs, cutting)
					q.made = made
					source.set(q)
				}
				time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			}
			q.change(1)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n.same(q); t.Failed() {
				t.Logf("seed %d", seed)
			}
			if all := q.Observers(); len(all) != 1 || all[0].LogEndOffset != q.end() || time.Since(all[0].LastCaughtUp) > time.Second {
				t.Errorf("observers %+v", all)
			}
			n.stop()
			q.close()
		})
	}
}
