package replication

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// TestDeleteRecordsWaitsForFollowers, those that are alive.
func TestDeleteRecordsWaitsForFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, fastLag)
		c.topic("t", 1, nil, 0, 1, 2)
		c.produce(0, "t", "a", "b", "c")
		time.Sleep(time.Second)
		p := c.partition(0, "t", 0)
		begin := time.Now()
		remove := func(offset int64) (int64, error) {
			offset, err := p.DeleteRecords(offset)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return p.WaitDeleted(ctx, offset)
		}
		if low, err := remove(1); low != 1 || err != nil || time.Since(begin) > 600*time.Millisecond {
			t.Errorf("%d, %v after %v", low, err, time.Since(begin))
		}
		for id := range int32(3) {
			if at := c.partition(id, "t", 0).Log().Offsets(); at.LogStart != 1 {
				t.Errorf("broker %d: %+v", id, at)
			}
		}
		c.separate(0, 2, true)
		if low, err := remove(2); low != 1 || !errors.Is(err, protocol.RequestTimedOut) {
			t.Errorf("without broker 2: %d, %v", low, err)
		}
		c.change(&schema.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 2, Fenced: 1})
		if low, err := remove(2); low != 2 || err != nil {
			t.Errorf("with broker 2 fenced: %d, %v", low, err)
		}
		waited := make(chan error)
		go func() {
			_, err := p.WaitDeleted(t.Context(), 3)
			waited <- err
		}()
		synctest.Wait()
		c.lead("t", 1)
		if err := <-waited; !errors.Is(err, protocol.NotLeaderOrFollower) {
			t.Errorf("a deposed leader: %v", err)
		}
	})
}

// TestFailedLogDirHoldsNothingUp: nor does a follower whose log dir has failed, which was caught up a moment before.
func TestFailedLogDirHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		id := c.topic("t", 1, nil, 0, 1, 2)
		good, bad := protocol.UUID{15: 101}, protocol.UUID{15: 102}
		time.Sleep(time.Second)
		c.change(&schema.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 2, LogDirs: []protocol.UUID{good, bad}},
			&schema.PartitionChangeRecord{TopicID: id, Directories: []protocol.UUID{{}, {}, bad}, Leader: schema.NoLeaderChange, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange})
		for id := range int32(2) {
			c.separate(id, 2, true)
		}
		c.change(&schema.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 2, LogDirs: []protocol.UUID{good}},
			&schema.PartitionChangeRecord{TopicID: id, ISR: []int32{0, 1}, Leader: schema.NoLeaderChange, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange})
		c.produce(0, "t", "a")
		time.Sleep(time.Second)
		if at := c.partition(0, "t", 0).Log().Offsets(); at.HighWatermark != 1 {
			t.Errorf("a second after the append: %+v", at)
		}
	})
}

// TestFencedFollowerHoldsNothingUp: what only waited for a follower that has gone is committed with the change that fences it and takes it out of the ISR, before anything else is appended or fetched.
func TestFencedFollowerHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil) // replica.lag.time.max.ms is 30 s: the follower still counts as one that has caught up
		c.topic("t", 1, nil, 0, 1, 2)
		time.Sleep(time.Second)
		p := c.partition(0, "t", 0)
		for id := range int32(2) {
			c.separate(id, 2, true)
		}
		c.produce(0, "t", "a")
		time.Sleep(3 * time.Second)
		if at := p.Log().Offsets(); at.HighWatermark != 0 {
			t.Fatalf("%+v is not what broker 2 has", at)
		}
		c.change(&schema.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 2, Fenced: 1},
			&schema.PartitionChangeRecord{TopicID: p.topicID, ISR: []int32{0, 1}, Leader: schema.NoLeaderChange, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange})
		if at := p.Log().Offsets(); at.HighWatermark != 1 {
			t.Errorf("without broker 2: %+v", at)
		}
	})
}

// TestEpochStartOfANewLeader is above its high watermark until a follower has confirmed what it has.
func TestEpochStartOfANewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, fastLag)
		c.topic("t", 1, nil, 0, 1, 2)
		time.Sleep(time.Second)
		c.separate(0, 2, true)
		c.produce(0, "t", "a", "b")
		time.Sleep(100 * time.Millisecond) // broker 1 has them, and nobody knows that they are committed, as they are not
		for id := range int32(2) {
			c.separate(id, 2, true)
		}
		c.separate(0, 1, true)
		if p := c.partition(0, "t", 0); p.EpochStart() != 0 {
			t.Errorf("the first leader's epoch starts at %d", p.EpochStart())
		}
		c.lead("t", 1)
		p := c.partition(1, "t", 0)
		if at := p.Log().Offsets(); p.EpochStart() != 2 || at.HighWatermark != 0 {
			t.Errorf("a new leader's epoch starts at %d, its marks are %+v", p.EpochStart(), at)
		}
		if start := c.partition(0, "t", 0).EpochStart(); start != -1 {
			t.Errorf("a deposed leader's epoch starts at %d", start)
		}
		c.separate(0, 1, false)
		c.separate(1, 2, false)
		time.Sleep(time.Second)
		if at := p.Log().Offsets(); at.HighWatermark != 2 {
			t.Errorf("with its followers: %+v", at)
		}
	})
}

// TestAnswerBeforeTheMetadata: the controller's answer to a change of the ISR and the metadata may come in any order.
func TestAnswerBeforeTheMetadata(t *testing.T) {
	h := newHost(t)
	id := protocol.NewUUID()
	h.change(&schema.TopicRecord{Name: "t", TopicID: id},
		&schema.PartitionRecord{TopicID: id, Replicas: []int32{self, 2, 3}, ISR: []int32{self, 2}, Leader: self})
	p, err := h.Partition("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(isr []int32, epoch int32) {
		proposal := &isrProposal{p: p, isr: isr}
		p.mu.Lock()
		p.state.pending = proposal
		p.mu.Unlock()
		a := answerOf(0, epoch, isr...)
		if got := p.answered(proposal, &a); got != isrTake {
			t.Fatalf("the answer of epoch %d: %v", epoch, got)
		}
	}
	answer([]int32{self, 2, 3}, 1)
	p.mu.Lock()
	pending := &isrProposal{p: p, isr: []int32{self, 3}}
	p.state.pending = pending // the next one is asked for already
	p.mu.Unlock()
	join := schema.NewPartitionChangeRecord(id, 0)
	join.ISR = []int32{self, 2, 3}
	h.change(join) // what the answer has told
	if !p.proposes(pending) || len(p.ISR()) != 3 {
		t.Errorf("old news ended a proposal: the ISR is %v", p.ISR())
	}
	a := answerOf(0, 2, self, 3)
	if got := p.answered(pending, &a); got != isrTake || len(p.ISR()) != 2 {
		t.Errorf("%v, the ISR is %v", got, p.ISR())
	}
	stale := &isrProposal{p: p, isr: []int32{self}}
	if got := p.answered(stale, &a); got != isrKeep {
		t.Errorf("an answer that nobody waits for: %v", got)
	}
}

// TestLeaderThrottle holds back followers that are out of sync, once the rate is over its limit.
func TestLeaderThrottle(t *testing.T) {
	h := newHost(t)
	values := config.Defaults()
	h.o.Config = func() config.Values {
		return values.WithDynamic(map[string]string{"leader.replication.throttled.rate": "10"}, nil)
	}
	id := protocol.NewUUID()
	h.change(&schema.RegisterBrokerRecord{BrokerID: 2}, &schema.RegisterBrokerRecord{BrokerID: 3},
		&schema.ConfigRecord{ResourceType: int8(config.Topic), ResourceName: "t", Name: "leader.replication.throttled.replicas", Value: ptr("0:1,1:2")},
		&schema.TopicRecord{Name: "t", TopicID: id},
		&schema.PartitionRecord{TopicID: id, Replicas: []int32{self, 2, 3}, ISR: []int32{self, 2}, Leader: self},
		&schema.PartitionRecord{TopicID: id, PartitionID: 1, Replicas: []int32{self, 2, 3}, ISR: []int32{self, 2}, Leader: self})
	for i := range int32(2) {
		p, err := h.Partition("t", i)
		if err != nil {
			t.Fatal(err)
		}
		h.append(p, "a record of more than ten times eleven bytes, which are what the window of ten seconds allows: this one has two hundred, or somewhat less")
	}
	fetch := func(replica, partition int32) int {
		results, _ := h.TryFetch(&FetchRequest{ReplicaID: replica, BrokerEpoch: -1, MaxBytes: 1 << 20, FirstBatchWhole: true, Partitions: []FetchPartition{
			{Topic: "t", Partition: partition, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1 << 20},
		}}, nil)
		defer releaseAll(results)
		if results[0].Err != nil {
			t.Fatal(results[0].Err)
		}
		return results[0].Records.Len()
	}
	if fetch(3, 0) == 0 {
		t.Error("the first fetch is throttled")
	}
	if fetch(3, 0) != 0 {
		t.Error("a follower that is out of sync is not throttled")
	}
	if fetch(2, 0) == 0 {
		t.Error("a follower that is in sync is throttled")
	}
	if fetch(3, 1) == 0 {
		t.Error("a partition is throttled that this broker's config does not list")
	}
}

func TestThrottleRate(t *testing.T) {
	q := NewThrottle(11, time.Second)
	now := time.Unix(1000, 0)
	if q.Exceeded(0, now) {
		t.Error("nothing exceeds any limit")
	}
	q.Record(10_000, now)
	if q.Exceeded(1000, now) || !q.Exceeded(999, now) {
		t.Error("ten thousand bytes are not a thousand in each of ten seconds")
	}
	if later := now.Add(500 * time.Millisecond); !q.Exceeded(950, later) || q.Exceeded(953, later) {
		t.Error("the window does not grow with its newest sample")
	}
	if q.Exceeded(0, now.Add(11*time.Second)) {
		t.Error("what is older than the window counts")
	}
	if q.Record(1<<40, now); q.Exceeded(NoThrottle, now) {
		t.Error("without a limit there is one")
	}
}

// TestReplicationNeedsNoSync: who waits for followers does not wait for the leader's disk, unless flush.messages says so.
func TestReplicationNeedsNoSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.stop(0)
		fs := vfs.NewFaulty(vfs.NewMem())
		c.start(0, fs)
		c.topic("t", 1, nil, 0, 1)
		c.produce(0, "t", "what is synced with a log's first records has been")
		time.Sleep(time.Second)
		syncs, remove := fs.Inject(vfs.Fault{Op: vfs.OpSync, Path: "t-0", Pattern: "*.log"})
		defer remove()
		p := c.partition(0, "t", 0)
		r, err := p.Append(batch("a"), ProduceOptions{Acks: -1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1, Deferred: true})
		if err != nil || r.Committed() {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := p.WaitFlushed(&r); err != nil {
			t.Fatal(err)
		}
		if err := p.WaitCommitted(t.Context(), &r); err != nil || syncs() > 0 {
			t.Errorf("%v, %d fsyncs", err, syncs())
		}
	})
}

// TestUncleanElectionIsTold, but not that of an only replica, than which none can have had more: every partition of a lone broker that was killed is one.
func TestUncleanElectionIsTold(t *testing.T) {
	core, lines := observer.New(zap.WarnLevel)
	h := newHostThatLogs(t, zap.New(core))
	topic := &schema.TopicRecord{Name: "t", TopicID: protocol.NewUUID()}
	unclean := func(id int32, replicas ...int32) *schema.PartitionRecord {
		return &schema.PartitionRecord{TopicID: topic.TopicID, PartitionID: id, Replicas: replicas, ISR: []int32{self}, Leader: self, LeaderRecoveryState: 1}
	}
	h.change(topic, unclean(0, self), unclean(1, self, 2))
	all := lines.All()
	if len(all) != 1 || all[0].ContextMap()["partition"] != "t-1" {
		t.Errorf("%+v", all)
	}
}
