package replication

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
)

// controllerOf is the controller as one node sees it.
type controllerOf struct {
	c    *cluster
	from int32
}

func (o controllerOf) Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return o.c.control(ctx, o.from, req)
}

// testController takes changes of ISRs, one partition after the other, as Kafka's does.
type testController struct {
	c *cluster

	mu       sync.Mutex
	requests int           // guarded by mu, as the rest
	changes  int           // of partitions
	refuse   protocol.Code // what every partition is answered, once
	all      protocol.Code // what every request is answered
	hold     chan struct{} // if set, requests wait here before they are decided
	answer   chan struct{} // if set, answers wait here after that
}

func withController(ctl *testController) func(*cluster) {
	return func(c *cluster) {
		ctl.c = c
		c.control = ctl.handle
	}
}

func (t *testController) handle(ctx context.Context, from int32, r kmsg.Request) (kmsg.Response, error) {
	req := r.(*kmsg.AlterPartitionRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
	t.mu.Lock()
	t.requests++
	hold, answer, all, refuse := t.hold, t.answer, t.all, t.refuse
	t.refuse = protocol.None
	t.mu.Unlock()
	if err := await(ctx, hold); err != nil {
		return nil, err
	}
	if t.c.node(from) == nil {
		return nil, errUnreachable
	}
	if all != protocol.None {
		resp.ErrorCode = int16(all)
		return resp, nil
	}
	t.decide(from, req, resp, refuse)
	return resp, await(ctx, answer)
}

// await waits for a channel to be closed, if there is one.
func await(ctx context.Context, ch chan struct{}) error {
	if ch == nil {
		return nil
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *testController) decide(from int32, req *kmsg.AlterPartitionRequest, resp *kmsg.AlterPartitionResponse, refuse protocol.Code) {
	t.c.deciding.Lock()
	defer t.c.deciding.Unlock()
	for _, topic := range req.Topics {
		out := kmsg.AlterPartitionResponseTopic{TopidID: topic.TopicID}
		for _, asked := range topic.Partitions {
			a := kmsg.AlterPartitionResponseTopicPartition{Partition: asked.Partition}
			p := t.c.image.TopicByID(topic.TopicID).Partition(asked.Partition)
			switch {
			case refuse != protocol.None:
				a.ErrorCode = int16(refuse)
			case asked.LeaderEpoch != p.LeaderEpoch || p.Leader != from:
				a.ErrorCode = int16(protocol.FencedLeaderEpoch)
			case asked.PartitionEpoch != p.PartitionEpoch:
				a.ErrorCode = int16(protocol.InvalidUpdateVersion)
			default:
				r := schema.NewPartitionChangeRecord(topic.TopicID, asked.Partition)
				for _, member := range asked.NewEpochISR {
					r.ISR = append(r.ISR, member.BrokerID)
					if e := member.BrokerEpoch; e != -1 && e != t.c.image.Broker(member.BrokerID).Epoch { // -1: it has not fetched since the election
						t.c.t.Errorf("broker %d is proposed with epoch %d", member.BrokerID, member.BrokerEpoch)
					}
				}
				t.c.decide(r)
				p = t.c.image.TopicByID(topic.TopicID).Partition(asked.Partition)
				a.LeaderID, a.LeaderEpoch, a.ISR, a.PartitionEpoch = p.Leader, p.LeaderEpoch, p.ISR, p.PartitionEpoch
				t.mu.Lock()
				t.changes++
				t.mu.Unlock()
			}
			out.Partitions = append(out.Partitions, a)
		}
		resp.Topics = append(resp.Topics, out)
	}
}

// counts are the requests and the changes of partitions so far.
func (t *testController) counts() (requests, changes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests, t.changes
}

// set changes what the controller does.
func (t *testController) set(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
}

// isr is a partition's ISR by the metadata, sorted.
func (c *cluster) isr(topic string, partition int32) []int32 {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	return slices.Sorted(slices.Values(c.image.Partition(topic, partition).ISR))
}

// commit appends a record with acks=all and waits for at most a second.
func (c *cluster) commit(id int32, topic, value string) error {
	p, err := c.node(id).Partition(topic, 0)
	if err != nil {
		return err
	}
	r, err := p.Append(batch(value), acksAll)
	if err != nil || r.Committed() {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return p.WaitCommitted(ctx, &r)
}

var fastLag = map[string]string{"replica.lag.time.max.ms": "2000", "replica.fetch.backoff.ms": "50", "replica.fetch.wait.max.ms": "500"}

// TestISRFollowsTheFollowers that are cut off and come back.
func TestISRFollowsTheFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctl := &testController{}
		c := newCluster(t, 3, fastLag, withController(ctl))
		c.topic("t", 1, map[string]string{"min.insync.replicas": "2"}, 0, 1, 2)
		time.Sleep(time.Second)
		begin := time.Now()
		if err := c.commit(0, "t", "a"); err != nil || time.Since(begin) > 10*time.Millisecond { // the record's way to the followers, and their next fetch
			t.Fatalf("with all in sync: %v after %v", err, time.Since(begin))
		}
		time.Sleep(10 * time.Second) // idle: nobody lags
		if got := c.isr("t", 0); len(got) != 3 {
			t.Fatalf("the ISR of an idle partition is %v", got)
		}

		c.separate(0, 2, true)
		time.Sleep(10 * time.Second)
		if got := c.isr("t", 0); len(got) != 3 {
			t.Errorf("a follower that has all is out of the ISR: %v", got)
		}
		begin = time.Now()
		if err := c.commit(0, "t", "b"); err != nil || time.Since(begin) < 10*time.Millisecond {
			t.Errorf("an append that one of the ISR does not have: %v after %v", err, time.Since(begin))
		}
		time.Sleep(4 * time.Second)
		if got := c.isr("t", 0); !slices.Equal(got, []int32{0, 1}) {
			t.Errorf("without broker 2 the ISR is %v", got)
		}
		if at := c.partition(0, "t", 0).Log().Offsets(); at.HighWatermark != 2 {
			t.Errorf("the high watermark did not move when the ISR shrank: %+v", at)
		}
		c.separate(0, 1, true)
		c.produce(0, "t", "c")
		time.Sleep(4 * time.Second)
		if got := c.isr("t", 0); !slices.Equal(got, []int32{0}) {
			t.Errorf("without its followers the ISR is %v", got)
		}
		if err := c.commit(0, "t", "d"); !errors.Is(err, protocol.NotEnoughReplicas) {
			t.Errorf("below the minimum: %v", err)
		}
		if err := c.partition(0, "t", 0).Writable(-1); !errors.Is(err, protocol.NotEnoughReplicas) {
			t.Errorf("below the minimum a coordinator is told %v", err)
		}
		if at := c.partition(0, "t", 0).Log().Offsets(); at.HighWatermark != 2 || at.LogEnd != 3 {
			t.Errorf("below the minimum the high watermark moved: %+v", at)
		}

		c.separate(0, 1, false)
		c.separate(0, 2, false)
		time.Sleep(3 * time.Second)
		if got := c.isr("t", 0); len(got) != 3 {
			t.Errorf("with all back the ISR is %v", got)
		}
		if err := c.commit(0, "t", "e"); err != nil {
			t.Errorf("with all back: %v", err)
		}
		time.Sleep(time.Second)
		c.same("t", 0, 0, 1)
		c.same("t", 0, 0, 2)
	})
}

// TestISRWhileTheControllerDecides: the maximal ISR counts for commits, the committed one for the minimum.
func TestISRWhileTheControllerDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctl := &testController{}
		c := newCluster(t, 3, fastLag, withController(ctl))
		c.topic("t", 1, nil, 0, 1, 2)
		c.separate(0, 2, true)
		time.Sleep(time.Second)
		c.produce(0, "t", "a")
		answer := make(chan struct{})
		ctl.set(func() { ctl.answer = answer }) // its decisions are known by the metadata only
		time.Sleep(5 * time.Second)
		p := c.partition(0, "t", 0)
		if got := p.ISR(); len(got) != 2 {
			t.Errorf("the metadata says %v, the leader has %v", c.isr("t", 0), got)
		}
		close(answer)
		ctl.set(func() { ctl.answer = nil })
		synctest.Wait()

		hold := make(chan struct{})
		ctl.set(func() { ctl.hold = hold })
		c.separate(0, 2, false)
		time.Sleep(time.Second)
		if got := c.isr("t", 0); len(got) != 2 {
			t.Fatalf("the controller is held, and the ISR is %v", got)
		}
		c.separate(0, 2, true) // it is gone again, and yet the controller may have it in the ISR by now
		time.Sleep(time.Second)
		if err := c.commit(0, "t", "b"); !errors.Is(err, protocol.RequestTimedOut) {
			t.Errorf("an append that the joining replica does not have: %v", err)
		}
		ctl.set(func() { ctl.hold, ctl.refuse = nil, protocol.None })
		close(hold)
		time.Sleep(5 * time.Second) // it joins, lags, and leaves
		if at := p.Log().Offsets(); at.HighWatermark != at.LogEnd {
			t.Errorf("nobody lags any more, and yet %+v with the ISR %v", at, p.ISR())
		}
	})
}

// TestISRRefusals plays each reaction to what the controller says.
func TestISRRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		refuse, all protocol.Code
		requests    int // within a second, at least
	}{
		"reverted, and tried again with the next fetch": {refuse: protocol.IneligibleReplica, requests: 2},
		"not attempted": {refuse: protocol.OperationNotAttempted, requests: 2},
		"tried again at once where the controller was wrong": {refuse: protocol.NotController, requests: 2},
		"all refused": {all: protocol.StaleBrokerEpoch, requests: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctl := &testController{refuse: c.refuse, all: c.all}
				cl := newCluster(t, 2, fastLag, withController(ctl))
				id := cl.topic("t", 1, nil, 0, 1)
				r := schema.NewPartitionChangeRecord(id, 0)
				r.ISR = []int32{0}
				cl.change(r)
				time.Sleep(time.Second)
				ctl.set(func() { ctl.all = protocol.None })
				time.Sleep(time.Second)
				if got := cl.isr("t", 0); len(got) != 2 {
					t.Errorf("the ISR is %v", got)
				}
				if requests, _ := ctl.counts(); requests < c.requests {
					t.Errorf("%d requests, want %d", requests, c.requests)
				}
			})
		})
	}
}

// TestISRKeepsWhatMayHaveHappened after an answer that does not tell, until the metadata does.
func TestISRKeepsWhatMayHaveHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctl := &testController{refuse: protocol.InvalidUpdateVersion}
		c := newCluster(t, 2, fastLag, withController(ctl))
		id := c.topic("t", 1, nil, 0, 1)
		r := schema.NewPartitionChangeRecord(id, 0)
		r.ISR = []int32{0}
		c.change(r)
		time.Sleep(time.Second)
		if requests, _ := ctl.counts(); requests != 1 {
			t.Errorf("%d requests after an answer that the metadata will explain", requests)
		}
		c.separate(0, 1, true)
		time.Sleep(time.Second)
		if err := c.commit(0, "t", "a"); !errors.Is(err, protocol.RequestTimedOut) {
			t.Errorf("the follower may be in the ISR, and yet an append without it: %v", err)
		}
		c.change(schema.NewPartitionChangeRecord(id, 0)) // what the metadata says goes
		if at := c.partition(0, "t", 0).Log().Offsets(); at.HighWatermark != 1 {
			t.Errorf("after the metadata: %+v", at)
		}
	})
}

// TestISRChangesAreBatched over partitions, with one request under way.
func TestISRChangesAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctl := &testController{hold: make(chan struct{})}
		c := newCluster(t, 2, fastLag, withController(ctl))
		const partitions = 50
		id := c.topic("t", partitions, nil, 0, 1)
		var records []schema.MetadataRecord
		for i := range int32(partitions) {
			r := schema.NewPartitionChangeRecord(id, i)
			r.ISR = []int32{0}
			records = append(records, r)
		}
		c.change(records...)
		time.Sleep(5 * time.Second)
		if requests, _ := ctl.counts(); requests != 1 {
			t.Errorf("%d requests under way", requests)
		}
		close(ctl.hold)
		time.Sleep(time.Second)
		if requests, changes := ctl.counts(); changes != partitions || requests > 3 {
			t.Errorf("%d changes in %d requests", changes, requests)
		}
	})
}

// TestDeposedLeaderFailsItsProducers fails those who wait, and does not acknowledge what it has lost even if it leads again.
func TestDeposedLeaderFailsItsProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, fastLag)
		c.topic("t", 1, nil, 0, 1)
		time.Sleep(time.Second)
		c.separate(0, 1, true)
		p := c.partition(0, "t", 0)
		r, err := p.Append(batch("lost"), acksAll)
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		go func() { waited <- p.WaitCommitted(t.Context(), &r) }()
		synctest.Wait()
		c.lead("t", 1, 1)
		if err := <-waited; !errors.Is(err, protocol.NotLeaderOrFollower) {
			t.Errorf("a deposed leader answers %v", err)
		}
		if err := c.commit(1, "t", "kept"); err != nil {
			t.Errorf("the new leader: %v", err)
		}
		c.separate(0, 1, false)
		time.Sleep(time.Second)
		c.same("t", 0, 0, 1)
		c.lead("t", 0, 0)
		if at := p.Log().Offsets(); at.HighWatermark != 1 {
			t.Fatalf("led again: %+v", at)
		}
		if err := p.WaitCommitted(t.Context(), &r); !errors.Is(err, protocol.NotLeaderOrFollower) {
			t.Errorf("what was lost is acknowledged, as another record has its offset: %v", err)
		}
	})
}

// TestFlappingISR cuts followers off and back at random while records are appended with acks=all: none that was acknowledged is lost by the leaders that
// are elected from the ISR.
func TestFlappingISR(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { flap(t, seed) })
	}
}

func flap(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	ctl := &testController{}
	c := newCluster(t, 3, fastLag, withController(ctl))
	c.topic("t", 1, map[string]string{"min.insync.replicas": "2"}, 0, 1, 2)
	leader := int32(0)
	acked := map[int64]string{}
	for i := range 60 {
		switch a, b := rng.Int32N(3), rng.Int32N(3); rng.IntN(4) {
		case 0:
			c.separate(a, b, true)
		case 1:
			c.separate(a, b, false)
		case 2:
			isr := c.isr("t", 0)
			leader = isr[rng.IntN(len(isr))]
			c.lead("t", leader)
		}
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		p := c.partition(leader, "t", 0)
		value := string(rune('a' + i))
		r, err := p.Append(batch(value), acksAll)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if r.Committed() || p.WaitCommitted(ctx, &r) == nil {
			acked[r.LastOffset] = value
		}
		cancel()
	}
	for a := range int32(3) {
		for b := range a {
			c.separate(a, b, false)
		}
	}
	time.Sleep(10 * time.Second)
	if got := c.isr("t", 0); len(got) != 3 {
		t.Errorf("seed %d: the ISR is %v in the end", seed, got)
	}
	c.same("t", 0, 0, 1)
	c.same("t", 0, 0, 2)
	found := valuesOf(t, c.partition(leader, "t", 0).Log())
	for offset, value := range acked {
		if found[offset] != value {
			t.Errorf("seed %d: %q was acknowledged at %d, where there is %q", seed, value, offset, found[offset])
		}
	}
	if len(acked) < 5 {
		t.Errorf("seed %d: %d records were acknowledged", seed, len(acked))
	}
}

// valuesOf is what a log has, by offset.
func valuesOf(t *testing.T, log *storage.Log) map[int64]string {
	t.Helper()
	values := map[int64]string{}
	codecs := newCodecs(t)
	eachRecord(t, log, codecs, func(offset int64, value []byte) { values[offset] = string(value) })
	return values
}

func newCodecs(t *testing.T) *record.Codecs {
	t.Helper()
	codecs := record.NewCodecs()
	t.Cleanup(codecs.Close)
	return codecs
}

func eachRecord(t *testing.T, log *storage.Log, codecs *record.Codecs, fn func(offset int64, value []byte)) {
	t.Helper()
	err := log.Batches(t.Context(), log.Offsets().LogStart, func(b record.Batch) error {
		return codecs.Records(b, func(r *record.Record) error {
			fn(r.Offset, r.Value)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// answerOf is what the controller says of a partition that node 1 leads.
func answerOf(partition, partitionEpoch int32, isr ...int32) kmsg.AlterPartitionResponseTopicPartition {
	return kmsg.AlterPartitionResponseTopicPartition{Partition: partition, LeaderID: self, ISR: isr, PartitionEpoch: partitionEpoch}
}

// answeredBy is a controller with an answer that is known before.
type answeredBy struct {
	resp *kmsg.AlterPartitionResponse
}

func (a answeredBy) Handle(context.Context, kmsg.Request) (kmsg.Response, error) { return a.resp, nil }

// TestChangesOfISRsAreOneLine, however many there are in a request.
func TestChangesOfISRsAreOneLine(t *testing.T) {
	h := newHost(t)
	topic := &schema.TopicRecord{Name: "t", TopicID: protocol.NewUUID()}
	records := []schema.MetadataRecord{topic}
	resp := kmsg.NewPtrAlterPartitionResponse()
	resp.Topics = []kmsg.AlterPartitionResponseTopic{{TopidID: topic.TopicID}}
	for id := range int32(4) {
		records = append(records, &schema.PartitionRecord{TopicID: topic.TopicID, PartitionID: id, Replicas: []int32{self, 2, 3}, ISR: []int32{self, 2}, Leader: self})
		a := answerOf(0, 1, self, 2, 3)
		switch a.Partition = id; id {
		case 2:
			a.ISR = []int32{self}
		case 3:
			a.ErrorCode = int16(protocol.IneligibleReplica)
		}
		resp.Topics[0].Partitions = append(resp.Topics[0].Partitions, a)
	}
	h.change(records...)
	core, lines := observer.New(zap.InfoLevel)
	c := isrChanges{controller: answeredBy{resp}, brokerEpoch: func() int64 { return 1 }, logger: zap.New(core), ctx: t.Context()}
	var batch []*isrProposal
	for _, p := range h.Partitions() {
		proposal := &isrProposal{p: p, from: p.state.isr}
		p.state.pending = proposal
		batch = append(batch, proposal)
	}
	if again := c.send(batch); len(again) > 0 {
		t.Errorf("%d are asked for again", len(again))
	}
	all := lines.All()
	if len(all) != 1 {
		t.Fatalf("%d lines", len(all))
	}
	got := all[0].ContextMap()
	if got["expanded"] != int64(2) || got["shrunk"] != int64(1) || got["not taken"] != int64(1) || got["first"] != "t-0" {
		t.Errorf("%v", got)
	}
}
