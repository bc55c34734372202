package replication

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// settled is long enough for followers to have all that there is.
const settled = 3 * time.Second

func (c *cluster) offsets(id int32, topic string) storage.Offsets {
	c.t.Helper()
	return c.partition(id, topic, 0).Log().Offsets()
}

// TestDeposedLeader: what a leader alone has disappears when another one is elected.
func TestDeposedLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, nil, 0, 1)
		c.produce(0, "t", "both", "have", "these")
		time.Sleep(settled)
		c.separate(0, 1, true)
		c.produce(0, "t", "only")
		c.produce(0, "t", "the first", "has these")
		c.lead("t", 1, 1)
		c.produce(1, "t", "the second's")
		c.separate(0, 1, false)
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
		if end := c.offsets(0, "t").LogEnd; end != 4 {
			t.Errorf("the deposed leader ends at %d", end)
		}
		// There and back: with epochs in which nothing was appended.
		for range 3 {
			c.lead("t", 0, 0, 1)
			c.lead("t", 1, 0, 1)
		}
		c.lead("t", 0, 0, 1)
		c.produce(0, "t", "the last")
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
	})
}

// TestUncleanLeader: a follower of a leader that has less cuts below its own high watermark.
func TestUncleanLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		c.topic("t", 1, nil, 0, 1, 2)
		c.produce(0, "t", "a", "b")
		time.Sleep(settled)
		c.separate(0, 2, true)
		c.separate(1, 2, true)
		c.lead("t", 0, 0, 1)
		for i := range 10 {
			c.produce(0, "t", fmt.Sprint(i))
		}
		time.Sleep(settled)
		p := c.partition(1, "t", 0)
		p.Log().AdvanceHighWatermark(12)
		c.stop(0)
		c.lead("t", 2, 2)
		c.produce(2, "t", "unclean")
		c.separate(1, 2, false)
		time.Sleep(settled)
		c.same("t", 0, 1, 2)
		if at := p.Log().Offsets(); at.LogEnd != 3 || at.HighWatermark > 3 {
			t.Errorf("the follower is at %+v", at)
		}
	})
}

// TestGaps: a follower takes the offsets that compaction has left as they are.
func TestGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, map[string]string{"cleanup.policy": "compact"}, 0, 1)
		log := c.partition(0, "t", 0).Log()
		for _, offset := range []int64{3, 4, 90, 5_000_000_000, 5_000_000_001} {
			b := record.Batch(batch(fmt.Sprint(offset)))
			b.SetBaseOffset(offset)
			b.SetLeaderEpoch(0)
			if _, err := log.Append(b, storage.AppendOptions{Origin: storage.OriginReplication}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(settled)
		c.produce(0, "t", "after the gaps")
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
		if end := c.offsets(1, "t").LogEnd; end != 5_000_000_003 {
			t.Errorf("the follower ends at %d", end)
		}
	})
}

// TestLogStartMoves: followers learn of deletions on their leader, whether they have what was deleted or not.
func TestLogStartMoves(t *testing.T) {
	for _, c := range []struct {
		name  string
		start int64 // of the leader's log
		away  bool  // the follower, meanwhile
	}{
		{"the follower has more", 4, false},
		{"the follower has less", 8, true},
		{"within a batch that it does not have", 9, true},
		{"at the leader's end", 12, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster(t, 2, nil)
				cl.topic("t", 1, nil, 0, 1)
				cl.produce(0, "t", "0", "1")
				time.Sleep(settled)
				cl.separate(0, 1, c.away)
				for range 5 {
					cl.produce(0, "t", "even", "odd")
				}
				time.Sleep(settled)
				log := cl.partition(0, "t", 0).Log()
				log.AdvanceHighWatermark(log.Offsets().LogEnd)
				if err := log.DeleteBefore(c.start); err != nil {
					t.Fatal(err)
				}
				cl.separate(0, 1, false)
				time.Sleep(settled)
				cl.same("t", 0, 0, 1)
				if at := cl.offsets(1, "t"); at.LogStart != c.start || at.LogEnd != 12 {
					t.Errorf("the follower is at %+v", at)
				}
				cl.produce(0, "t", "goes on")
				time.Sleep(settled)
				cl.same("t", 0, 0, 1)
			})
		})
	}
}

// TestRolledBackDisk: a replica that comes back with an old copy of its dir, in which it has what was cut since, is healed.
func TestRolledBackDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, map[string]string{"flush.messages": "1"}, 0, 1)
		c.produce(0, "t", "committed")
		time.Sleep(settled)
		c.separate(0, 1, true)
		c.produce(0, "t", "lost", "too")
		old := c.node(0).fs.(*vfs.Mem).Crash(1)
		c.lead("t", 1, 1)
		c.produce(1, "t", "x", "y", "z")
		c.separate(0, 1, false)
		time.Sleep(settled)
		c.lead("t", 0, 0, 1)
		c.produce(0, "t", "in the third epoch")
		c.lead("t", 1, 0, 1)
		time.Sleep(settled)
		c.stop(0)
		c.start(0, old)
		if end := c.offsets(0, "t").LogEnd; end != 3 {
			t.Fatalf("the old copy ends at %d", end)
		}
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
	})
}

// TestFollowerMovesBetweenDirs: a replica is moved to another log dir while it follows.
func TestFollowerMovesBetweenDirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, nil, 0, 1)
		tp := protocol.TopicPartition{Topic: "t"}
		for i := range 60 {
			c.produce(0, "t", fmt.Sprint(i))
			if i%20 == 5 {
				to := []string{"/b", "/a", "/b"}[i/20]
				if err := c.node(1).MoveTo(tp, to); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
		c.lead("t", 1, 0, 1)
		c.produce(1, "t", "back")
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
	})
}

// TestReplicaGoes: one that is not a replica any more is fetched no more, and one that is added again begins where it has to.
func TestReplicaGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		id := c.topic("t", 1, nil, 0, 1)
		c.topic("u", 1, nil, 0, 1)
		c.produce(0, "t", "a")
		time.Sleep(settled)
		replicas := func(ids ...int32) {
			c.change(&schema.PartitionChangeRecord{
				TopicID: id, Replicas: ids, ISR: []int32{0}, Leader: schema.NoLeaderChange, LeaderRecoveryState: schema.NoLeaderRecoveryStateChange,
			})
		}
		replicas(0)
		c.produce(0, "t", "b")
		c.produce(0, "u", "c")
		time.Sleep(settled)
		if _, err := c.node(1).Partition("t", 0); err == nil {
			t.Error("the replica is still there")
		}
		c.same("u", 0, 0, 1)
		replicas(0, 1)
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
		c.change(&schema.RemoveTopicRecord{TopicID: id})
		c.topic("t", 1, nil, 0, 1)
		c.produce(0, "t", "another topic of this name")
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
	})
}

// TestManyFetchers: partitions are spread over num.replica.fetchers, and move when that changes.
func TestManyFetchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, map[string]string{"num.replica.fetchers": "2"})
		c.topic("t", 8, nil, 0, 1)
		for _, count := range []int{2, 4, 1} {
			c.dynamic.Store(&map[string]string{"num.replica.fetchers": fmt.Sprint(count)})
			value := fmt.Sprint(count)
			c.change(&schema.ConfigRecord{ResourceType: 4, Name: "num.replica.fetchers", Value: &value})
			fs := c.node(1).fetchers
			fs.mu.Lock()
			if len(fs.byKey) != count {
				t.Errorf("%d fetchers, want %d", len(fs.byKey), count)
			}
			fs.mu.Unlock()
			for p := range int32(8) {
				if _, err := c.partition(0, "t", p).Append(batch("x"), ProduceOptions{Acks: 1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(settled)
			for p := range int32(8) {
				c.same("t", p, 0, 1)
			}
		}
	})
}

// TestRestartKeepsTheTail: what a follower has above the high watermark that it knew may be committed, and stays when it starts again (KIP-101).
func TestRestartKeepsTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, nil)
		c.topic("t", 1, map[string]string{"flush.messages": "1"}, 0, 1)
		c.produce(0, "t", "a", "b")
		time.Sleep(settled)
		c.produce(0, "t", "c")
		time.Sleep(10 * time.Millisecond)
		fs := c.crash(1, 1)
		c.separate(0, 1, true)
		c.start(1, fs)
		c.lead("t", 1, 1)
		if at := c.offsets(1, "t"); at.LogEnd != 3 {
			t.Errorf("the new leader is at %+v", at)
		}
		c.separate(0, 1, false)
		c.produce(1, "t", "d")
		time.Sleep(settled)
		c.same("t", 0, 0, 1)
	})
}

// TestHighWatermarkReachesFollowers: followers learn of a commit though nothing is appended any more; at once where consumers may read from them.
func TestHighWatermarkReachesFollowers(t *testing.T) {
	for selector, within := range map[string]time.Duration{"": 600 * time.Millisecond, rackAwareSelector: 20 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			settings := map[string]string{}
			if selector != "" {
				settings["replica.selector.class"] = selector
			}
			c := newCluster(t, 3, settings)
			c.topic("t", 1, nil, 0, 1, 2)
			time.Sleep(settled)
			c.produce(0, "t", "a", "b")
			time.Sleep(within)
			for id := range int32(3) {
				if at := c.offsets(id, "t"); at.HighWatermark != 2 || at.LogEnd != 2 {
					t.Errorf("selector %q: broker %d is at %+v after %v", selector, id, at, within)
				}
			}
		})
	}
}
