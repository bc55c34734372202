package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// script is a leader that answers as the test says, and notes what it is asked.
type script struct {
	mu     sync.Mutex
	asked  []string
	opened int
	poll   time.Duration // that an idle answer takes; 0: what the request says
	answer func(*kmsg.FetchRequest) (*kmsg.FetchResponse, error)
}

func (s *script) Open(int32) Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return &scriptPeer{s, make(chan struct{})}
}

type scriptPeer struct {
	s      *script
	closed chan struct{}
}

func (p *scriptPeer) Close() { close(p.closed) }

var errHang = errors.New("the leader does not answer")

func (p *scriptPeer) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	fetch := req.(*kmsg.FetchRequest)
	p.s.mu.Lock()
	p.s.asked = append(p.s.asked, said(fetch))
	answer := p.s.answer
	p.s.mu.Unlock()
	resp, err := answer(fetch)
	if err == nil {
		return resp, nil
	}
	if !errors.Is(err, errHang) {
		return nil, err
	}
	select {
	case <-ctx.Done():
	case <-p.closed:
	case <-time.After(cmp.Or(p.s.poll, time.Duration(fetch.MaxWaitMillis)*time.Millisecond)):
		return resp, nil
	}
	return nil, err
}

// said is a fetch in short: session, what is asked and what is forgotten.
func said(req *kmsg.FetchRequest) string {
	s := fmt.Sprintf("%d/%d", req.SessionID, req.SessionEpoch)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			s += fmt.Sprintf(" %d@%d:%d", p.Partition, p.CurrentLeaderEpoch, p.FetchOffset)
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			s += fmt.Sprintf(" -%d", p)
		}
	}
	return s
}

func (s *script) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *script) set(answer func(*kmsg.FetchRequest) (*kmsg.FetchResponse, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// idle answers, after the wait, that there is nothing new.
func idle(session int32) func(*kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	return func(req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.SessionID = session
		return resp, errHang
	}
}

// about answers one partition at once.
func about(session int32, topic protocol.UUID, set func(*kmsg.FetchResponseTopicPartition)) func(*kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	return func(req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.SessionID = session
		p := kmsg.NewFetchResponseTopicPartition()
		set(&p)
		resp.Topics = []kmsg.FetchResponseTopic{{TopicID: topic, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
		return resp, nil
	}
}

// scripted is a manager of broker 1 that follows the script, broker 0.
func scripted(t testing.TB, s *script, dynamic func() map[string]string) *host {
	t.Helper()
	values, codecs := config.Defaults(), record.NewCodecs()
	store, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dirs: []string{"/data"}, NodeID: self, Config: values, Codecs: codecs, Logger: zap.NewNop()})
	if err == nil {
		err = store.SetClusterID("cluster")
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, store: store, image: metadata.Empty()}
	h.Manager = NewManager(Options{
		NodeID: self, Store: store, Codecs: codecs, Logger: zap.NewNop(), Peers: s,
		Config: func() config.Values {
			if dynamic == nil {
				return values
			}
			return values.WithDynamic(dynamic(), nil)
		},
	})
	t.Cleanup(func() {
		h.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		codecs.Close()
	})
	h.register(1)
	return h
}

func (h *host) register(epoch int64) {
	h.change(&schema.FeatureLevelRecord{Name: "metadata.version", FeatureLevel: 30},
		&schema.RegisterBrokerRecord{BrokerID: 0, BrokerEpoch: epoch, IncarnationID: protocol.NewUUID()})
}

// follow creates partitions of which broker 0 is the leader.
func (h *host) follow(id protocol.UUID, partitions ...int32) {
	var records []schema.MetadataRecord
	if h.image.TopicByID(id) == nil {
		records = append(records, &schema.TopicRecord{Name: "t" + id.String(), TopicID: id})
	}
	for _, p := range partitions {
		records = append(records, &schema.PartitionRecord{TopicID: id, PartitionID: p, Replicas: []int32{0, self}, ISR: []int32{0, self}})
	}
	h.change(records...)
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestFetchSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: idle(7), poll: 500 * time.Millisecond}
		h := scripted(t, s, nil)
		id := protocol.NewUUID()
		h.follow(id, 0, 1, 2)
		time.Sleep(1100 * time.Millisecond) // two polls and a part of the third
		expect(t, "a session", s.take(), "0/0 0@0:0 1@0:0 2@0:0", "7/1", "7/2")

		b := record.Batch(batch("a", "b"))
		s.set(about(7, id, func(p *kmsg.FetchResponseTopicPartition) {
			p.Partition, p.RecordBatches, p.HighWatermark, p.LogStartOffset = 1, b, 1, 0
			s.answer = idle(7)
		}))
		time.Sleep(500 * time.Millisecond)
		expect(t, "records", s.take(), "7/3", "7/4 1@0:2")

		s.set(about(7, id, func(p *kmsg.FetchResponseTopicPartition) {
			p.Partition, p.ErrorCode = 2, int16(protocol.KafkaStorageError)
			s.answer = idle(7)
		}))
		time.Sleep(500 * time.Millisecond)
		expect(t, "an error", s.take(), "7/5", "7/6 -2")
		time.Sleep(time.Second)
		expect(t, "after the backoff", s.take(), "7/7", "7/8 2@0:0")

		s.set(func(req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			resp.ErrorCode = int16(protocol.FetchSessionIDNotFound)
			s.answer = idle(8)
			return resp, nil
		})
		time.Sleep(500 * time.Millisecond)
		expect(t, "a lost session", s.take(), "7/9", "0/0 0@0:0 1@0:2 2@0:0")

		s.set(func(*kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
			s.answer = idle(9)
			return nil, errors.New("the connection broke")
		})
		time.Sleep(500 * time.Millisecond)
		expect(t, "a lost connection", s.take(), "8/1", "8/0 0@0:0 1@0:2 2@0:0")

		h.change(&schema.PartitionChangeRecord{
			TopicID: id, PartitionID: 0, Leader: self, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange,
		})
		time.Sleep(500 * time.Millisecond)
		expect(t, "a partition less", s.take(), "9/1 -0")
	})
}

// TestNewPartitionsDoNotWait: partitions that come while an idle poll is under way are fetched soon.
func TestNewPartitionsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: idle(7)}
		h := scripted(t, s, nil)
		id := protocol.NewUUID()
		h.follow(id, 0)
		time.Sleep(1010 * time.Millisecond)
		s.take()
		h.follow(id, 1)
		time.Sleep(hurryGrace + time.Millisecond)
		expect(t, "new", s.take(), "7/0 0@0:0 1@0:0")
		h.follow(id, 2)
		time.Sleep(firstWait)
		expect(t, "soon after", s.take(), "7/1 2@0:0")
		time.Sleep(10 * time.Second)
		if polls := len(s.take()); polls > 25 {
			t.Errorf("%d polls in 10 s", polls)
		}
	})
}

// TestNewPartitionsWaitForRecords: a request that may bring more records has longer, and is given up once only.
func TestNewPartitionsWaitForRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := protocol.NewUUID()
		s := &script{poll: time.Second}
		h := scripted(t, s, nil)
		s.set(func(req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) { // one answer with a record, then none
			s.set(idle(7))
			return about(7, id, func(p *kmsg.FetchResponseTopicPartition) { p.RecordBatches = batch("a") })(req)
		})
		h.follow(id, 0)
		synctest.Wait()
		s.take()
		h.follow(id, 1)
		time.Sleep(busyGrace - time.Millisecond)
		expect(t, "while records may come", s.take())
		time.Sleep(2 * time.Millisecond)
		expect(t, "given up", s.take(), "7/0 0@0:1 1@0:0")
	})
}

// TestLeaderRegistersAgain: the connection to what a leader was is given up, and the fetch that hangs on it.
func TestLeaderRegistersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: idle(7)}
		h := scripted(t, s, nil)
		h.follow(protocol.NewUUID(), 0)
		time.Sleep(1010 * time.Millisecond)
		s.take()
		h.register(2)
		synctest.Wait()
		expect(t, "the new one", s.take(), "0/0 0@0:0")
		if s.opened != 2 {
			t.Errorf("%d connections", s.opened)
		}
	})
}

// TestFollowerThrottle: throttled replicas that are behind fetch no more than the rate, and those in sync are not held up.
func TestFollowerThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 10_000
		id := protocol.NewUUID()
		var next int64
		var sent atomic.Int64
		s := &script{}
		s.answer = func(req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			resp.SessionID = 7
			p := kmsg.NewFetchResponseTopicPartition()
			b := record.Batch(batch(string(make([]byte, 1000))))
			b.SetBaseOffset(next)
			p.RecordBatches, p.HighWatermark = b, 1<<40
			next++
			sent.Add(int64(len(b)))
			resp.Topics = []kmsg.FetchResponseTopic{{TopicID: id, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
			time.Sleep(time.Millisecond)
			return resp, nil
		}
		h := scripted(t, s, func() map[string]string {
			return map[string]string{"follower.replication.throttled.rate": fmt.Sprint(rate)}
		})
		value := "0:1"
		h.change(&schema.TopicRecord{Name: "t", TopicID: id},
			&schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: "t", Name: "follower.replication.throttled.replicas", Value: &value},
			&schema.PartitionRecord{TopicID: id, Replicas: []int32{0, self}, ISR: []int32{0, self}})
		time.Sleep(100 * time.Second)
		if mean := sent.Load() / 100; mean < rate*8/10 || mean > rate*12/10 {
			t.Errorf("%d bytes per second", mean)
		}
	})
}

// idleRounds is a fetcher of so many partitions that polls a leader without news, which answers at once.
func idleRounds(t testing.TB, partitions int32) (rounds func(n int)) {
	t.Helper()
	turn, done := make(chan struct{}), make(chan struct{})
	resp := kmsg.NewPtrFetchResponse()
	resp.Version, resp.SessionID = 18, 7
	s := &script{}
	s.answer = func(*kmsg.FetchRequest) (*kmsg.FetchResponse, error) { return resp, nil }
	h := scripted(t, s, nil)
	first := true
	peers := peerFunc(func(context.Context, kmsg.Request) (kmsg.Response, error) {
		if !first {
			done <- struct{}{}
		}
		first = false
		<-turn
		return resp, nil
	})
	h.fetchers.o.Peers = peers
	id := protocol.NewUUID()
	all := make([]int32, partitions)
	for p := range all {
		all[p] = int32(p)
	}
	h.follow(id, all...)
	turn <- struct{}{} // the full fetch
	<-done
	t.Cleanup(func() {
		close(turn)
		go func() {
			for range done {
			}
		}()
		h.fetchers.close()
		close(done)
	})
	return func(n int) {
		for range n {
			turn <- struct{}{}
			<-done
		}
	}
}

type peerFunc func(context.Context, kmsg.Request) (kmsg.Response, error)

func (f peerFunc) Open(int32) Peer { return f }
func (f peerFunc) Close()          {}

func (f peerFunc) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return f(ctx, req)
}

// TestIdleRoundsCostNothing: what a round of an idle fetcher allocates does not depend on its partitions.
func TestIdleRoundsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that nothing else of the stores comes in between: it waits for its time
		few := testing.AllocsPerRun(200, func() func() { r := idleRounds(t, 1); return func() { r(1) } }())
		many := testing.AllocsPerRun(200, func() func() { r := idleRounds(t, 2000); return func() { r(1) } }())
		if many > few+1 || many > 15 {
			t.Errorf("%v allocations with one partition, %v with 2000", few, many)
		}
	})
}

func BenchmarkIdleRound(b *testing.B) {
	for _, partitions := range []int32{10, 10_000} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			rounds := idleRounds(b, partitions)
			b.ReportAllocs()
			b.ResetTimer()
			rounds(b.N)
		})
	}
}
