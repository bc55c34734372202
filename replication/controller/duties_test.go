package controller

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// led makes a partition of the topic led by another replica.
func led(topic protocol.UUID, partition, leader int32) *schema.PartitionChangeRecord {
	r := schema.NewPartitionChangeRecord(topic, partition)
	r.Leader = leader
	return r
}

// TestBalanceLeaders: leadership goes back to brokers that lack more than the percentage of theirs, and are alive.
func TestBalanceLeaders(t *testing.T) {
	ten := make([][]int32, 10)
	for i := range ten {
		ten[i] = []int32{1, 2, 3}
	}
	for _, test := range []struct {
		name       string
		lacks      int
		percentage int
		fenced     bool
		want       int
	}{
		{"nothing is missing", 0, 0, false, 0},
		{"as many as are allowed", 1, 10, false, 0},
		{"one more", 2, 10, false, 2},
		{"no percentage", 1, 0, false, 1},
		{"the preferred one is gone", 5, 0, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, records(threeLive(), existing("t", uuid(1), ten...), existing("u", uuid(2), []int32{2, 1}))...)
			for p := range test.lacks {
				apply(t, v, Decision{Records: one(led(uuid(1), int32(p), 2))})
			}
			if test.fenced {
				apply(t, v, Decision{Records: fence(v, 1, nil)})
			}
			got := balanceLeaders(v, test.percentage)
			apply(t, v, Decision{Records: got})
			if len(got) != test.want {
				t.Errorf("%d elections, want %d", len(got), test.want)
			}
			if missing := len(v.index.imbalanced); !test.fenced && missing != test.lacks-test.want {
				t.Errorf("%d partitions are not led by their first replica", missing)
			}
		})
	}
}

// TestPreferredReplicaOutsideTheISR does not get its leadership back.
func TestPreferredReplicaOutsideTheISR(t *testing.T) {
	v := newTestView(t, nil, records(threeLive(), existing("t", uuid(1), []int32{1, 2}))...)
	r := led(uuid(1), 0, 2)
	r.ISR = []int32{2}
	apply(t, v, Decision{Records: one(r)})
	if got := balanceLeaders(v, 0); len(got) != 0 {
		t.Errorf("%+v", got[0])
	}
}

// TestBalanceInRounds: a round is bounded, and the next comes at once.
func TestBalanceInRounds(t *testing.T) {
	all := make([][]int32, 2*maxElections+10)
	for i := range all {
		all[i] = []int32{1, 2}
	}
	v := newTestView(t, nil, records(threeLive(), existing("t", uuid(1), all...))...)
	for p := range all {
		apply(t, v, Decision{Records: one(led(uuid(1), int32(p), 2))})
	}
	for round, want := range []int{maxElections, maxElections, 10, 0} {
		got := balanceLeaders(v, 0)
		if len(got) != want {
			t.Fatalf("round %d: %d elections, want %d", round, len(got), want)
		}
		apply(t, v, Decision{Records: got})
	}
}

// TestElectUncleanly only where the topic allows it and somebody is alive.
func TestElectUncleanly(t *testing.T) {
	allow := func(topic string) *schema.ConfigRecord {
		return &schema.ConfigRecord{ResourceType: 2, ResourceName: topic, Name: "unclean.leader.election.enable", Value: ptr("true")}
	}
	v := newTestView(t, nil, records(one(liveBroker(1), fencedBroker(2), fencedBroker(3)),
		existing("t", uuid(1), []int32{2, 1}), existing("u", uuid(2), []int32{2, 1}), existing("v", uuid(3), []int32{2, 3}))...)
	for i := range byte(3) {
		r := led(uuid(i+1), 0, noBroker)
		r.ISR = []int32{2}
		apply(t, v, Decision{Records: one(r)})
	}
	apply(t, v, Decision{Records: one(allow("u"), allow("v"))})
	apply(t, v, Decision{Records: electUncleanly(v)})
	if p := v.Image.Partition("t", 0); p.Leader != noBroker {
		t.Errorf("not allowed: %+v", p)
	}
	if p := v.Image.Partition("u", 0); !sameState(p, 1, 2, 1) || p.LeaderRecoveryState != recovering {
		t.Errorf("allowed: %+v", p)
	}
	if p := v.Image.Partition("v", 0); p.Leader != noBroker {
		t.Errorf("nobody alive: %+v", p)
	}
}

// beating registers brokers with a controller and heartbeats for them until the test ends.
func beating(t *testing.T, c *Controller, ids ...int32) {
	t.Helper()
	for _, id := range ids {
		resp, err := c.Handle(t.Context(), registration(id, testCluster), Caller{})
		if err != nil {
			t.Fatal(err)
		}
		epoch := resp.(*kmsg.BrokerRegistrationResponse).BrokerEpoch
		go func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				hb := &kmsg.BrokerHeartbeatRequest{Version: 1, BrokerID: id, BrokerEpoch: epoch, CurrentMetadataOffset: c.Image().Offset()}
				if _, err := c.Handle(t.Context(), hb, Caller{}); err != nil {
					return
				}
				select {
				case <-tick.C:
				case <-t.Context().Done():
					return
				}
			}
		}()
	}
}

// TestDutiesComeInTime: leaderships go back within the interval, in rounds without a pause.
func TestDutiesComeInTime(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		t.Run(fmt.Sprint(enabled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := startListed(t, map[string]string{"leader.imbalance.check.interval.seconds": "60", "auto.leader.rebalance.enable": fmt.Sprint(enabled)})
				beating(t, c, 1, 2)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				create := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest("t", 2, 2)}}
				if resp, err := c.Handle(t.Context(), create, Caller{}); err != nil || resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode != 0 {
					t.Fatalf("%+v, %v", resp, err)
				}
				topic := c.Image().Topic("t")
				if _, err := c.do(t.Context(), func(v *View) (Decision, error) {
					var d Decision
					for _, p := range topic.Partitions {
						d.Records = append(d.Records, led(topic.ID, p.ID, p.Replicas[1]))
					}
					return d, nil
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(61 * time.Second)
				synctest.Wait()
				for _, p := range c.Image().Topic("t").Partitions {
					if preferred(p) != enabled {
						t.Errorf("enabled %v: %+v", enabled, p)
					}
				}
			})
		})
	}
}

// TestHeartbeatOnASlowLog is answered while nothing is committed, as long as it changes nothing.
func TestHeartbeatOnASlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startListed(t, nil)
		beating(t, c, 1, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		q.hold()
		go func() {
			create := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 60_000, Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest("t", 1, 1)}}
			_, _ = c.Handle(t.Context(), create, Caller{}) // it does not get its answer before the end
		}()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		q.release()
		synctest.Wait()
		for b := range c.Image().Brokers() {
			if b.Fenced {
				t.Errorf("broker %d was fenced by a slow log", b.ID)
			}
		}
	})
}

// TestPausedControllerFencesNobody: what it did not hear while it did not run does not count.
func TestPausedControllerFencesNobody(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	v.Sessions.extend(time.Minute)
	if _, ok := v.Sessions.stale(v.Image, testNow.Add(68*time.Second)); ok {
		t.Error("fenced for the pause")
	}
	if _, ok := v.Sessions.stale(v.Image, testNow.Add(70*time.Second)); !ok {
		t.Error("never fenced")
	}
}
