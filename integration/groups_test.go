package integration

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/servertest"
)

// TestJoinStorm starts two hundred members at once: they settle soon, in few generations, and have all partitions among them. Those that a busy machine starts late are a
// generation of their own; the others hear of it with their next heartbeats.
func TestJoinStorm(t *testing.T) {
	t.Parallel()
	const members, partitions, most, heartbeat, limit = 200, 200, 8, 3 * time.Second, 2 * time.Minute // a second or two are the rule
	b := servertest.Start(t, servertest.With("group.initial.rebalance.delay.ms", "500"))
	createTopic(t, b, "storm", partitions)
	var assigned atomic.Int64
	count := func(by int64) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			assigned.Add(by * int64(len(topics["storm"])))
		}
	}
	var all []*kgo.Client
	t.Cleanup(func() { // at once: of one after the other each would have the rest rebalance
		var closing sync.WaitGroup
		for _, client := range all {
			closing.Go(client.Close)
		}
		closing.Wait()
	})
	begin := time.Now()
	for range members {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumerGroup("storm"), kgo.ConsumeTopics("storm"), kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(heartbeat),
			kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)), kgo.OnPartitionsLost(count(-1)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, client)
	}
	admin := newClient(t, b)
	for {
		groups, err := kadm.NewClient(admin).DescribeGroups(t.Context(), "storm")
		g := groups["storm"]
		if assigned.Load() == partitions && err == nil && g.State == "Stable" && len(g.Members) == members {
			break
		}
		if time.Since(begin) > limit {
			t.Fatalf("not settled after %v: %d partitions are assigned, the group is %s with %d members, %v", limit, assigned.Load(), g.State, len(g.Members), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(begin)
	generation := generationOf(t, admin, "storm")
	t.Logf("settled after %v, in generation %d", took.Round(time.Millisecond), generation)
	if generation > most+int32(took/heartbeat) {
		t.Errorf("it took %d generations", generation)
	}
}

// generationOf reads a group's generation from the newest of its records in __consumer_offsets.
func generationOf(t *testing.T, client *kgo.Client, group string) (generation int32) {
	t.Helper()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(t.Context(), "__consumer_offsets")
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]map[int32]kgo.Offset{"__consumer_offsets": {}}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Topic][o.Partition] = kgo.NewOffset().AtStart()
		}
	})
	reader, err := kgo.NewClient(append(client.Opts(), kgo.ConsumePartitions(left))...)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	for len(left["__consumer_offsets"]) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var key kmsg.GroupMetadataKey
			var value kmsg.GroupMetadataValue
			if r.Key[1] == 2 && key.ReadFrom(r.Key) == nil && key.Group == group && value.ReadFrom(r.Value) == nil {
				generation = value.Generation
			}
			if end, _ := ends.Lookup(r.Topic, r.Partition); r.Offset == end.Offset-1 {
				delete(left[r.Topic], r.Partition)
			}
		})
	}
	return generation
}

// TestManyGroups commits in two thousand groups at once, and finds all of it after a restart.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	const groups, clients, rounds = 2000, 20, 3
	b := servertest.Start(t)
	createTopic(t, b, "many", 1)
	var running sync.WaitGroup
	begin := time.Now()
	for c := range clients {
		client := newClient(t, b)
		running.Go(func() {
			for round := range rounds {
				for g := c; g < groups; g += clients {
					if err := commitOne(t.Context(), client, fmt.Sprint("many-", g), "many", int64(1000*round+g)); err != nil {
						t.Errorf("group %d, round %d: %v", g, round, err)
						return
					}
				}
			}
		})
	}
	running.Wait()
	took := time.Since(begin)
	t.Logf("%d commits in %v", groups*rounds, took.Round(time.Millisecond))
	b.Restart(t)
	names := make([]string, groups)
	for g := range names {
		names[g] = fmt.Sprint("many-", g)
	}
	got := kadm.NewClient(newClient(t, b)).FetchManyOffsets(t.Context(), names...)
	for g, name := range names {
		if o, ok := got[name].Fetched.Lookup("many", 0); !ok || o.At != int64(1000*(rounds-1)+g) || got[name].Err != nil {
			t.Fatalf("group %d has offset %d, %v", g, o.At, got[name].Err)
		}
	}
}

// commitOne commits an offset of partition 0 without membership.
func commitOne(ctx context.Context, client *kgo.Client, group, topic string, offset int64) error {
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, offset, -1)
	return kadm.NewClient(client).CommitAllOffsets(ctx, group, offsets)
}
