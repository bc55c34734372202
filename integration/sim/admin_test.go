//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watch asks the brokers what they say of the partitions, and the leaders for their high watermarks.
type watch struct {
	client *kgo.Client
	h      *history
}

func (c *cluster) watch(h *history) *watch {
	return &watch{c.client("watch", kgo.RequestRetries(0)), h}
}

func (w *watch) run(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, 500*time.Millisecond)
		within, cancel := context.WithTimeout(ctx, 2*time.Second)
		w.look(within)
		cancel()
	}
}

func (w *watch) look(ctx context.Context) {
	req := kmsg.NewPtrMetadataRequest()
	resp, err := req.RequestWith(ctx, w.client)
	if err != nil {
		return
	}
	fetches := map[int32]*kmsg.FetchRequest{}
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 || t.Topic == nil {
			continue
		}
		byLeader := map[int32]*kmsg.FetchRequestTopic{}
		for _, p := range t.Partitions {
			w.h.described(tp{*t.Topic, p.Partition}, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR)
			if p.Leader < 0 {
				continue
			}
			if byLeader[p.Leader] == nil {
				byLeader[p.Leader] = &kmsg.FetchRequestTopic{Topic: *t.Topic, TopicID: t.TopicID}
			}
			f := kmsg.NewFetchRequestTopicPartition()
			f.Partition, f.CurrentLeaderEpoch, f.FetchOffset, f.PartitionMaxBytes = p.Partition, p.LeaderEpoch, 0, 1
			byLeader[p.Leader].Partitions = append(byLeader[p.Leader].Partitions, f)
		}
		for leader, topic := range byLeader {
			if fetches[leader] == nil {
				f := kmsg.NewPtrFetchRequest()
				f.MaxBytes = 1
				fetches[leader] = f
			}
			fetches[leader].Topics = append(fetches[leader].Topics, *topic)
		}
	}
	names := map[[16]byte]string{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			names[t.TopicID] = *t.Topic
		}
	}
	for leader, f := range fetches {
		w.watermarks(ctx, leader, f, names)
	}
}

func (w *watch) watermarks(ctx context.Context, leader int32, f *kmsg.FetchRequest, names map[[16]byte]string) {
	answer, err := w.client.Broker(int(leader)).Request(ctx, f)
	if err != nil {
		return
	}
	epochs := map[tp]int32{}
	for _, t := range f.Topics {
		for _, p := range t.Partitions {
			epochs[tp{t.Topic, p.Partition}] = p.CurrentLeaderEpoch
		}
	}
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		if t.Topic == "" {
			t.Topic = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.HighWatermark >= 0 {
				key := tp{t.Topic, p.Partition}
				w.h.watermark(key, epochs[key], p.HighWatermark)
				w.h.count("watermarks", 1)
			}
		}
	}
}

func (w *watch) wind(context.Context) error {
	w.client.Close()
	return nil
}

// administrator changes metadata at random.
type administrator struct {
	client  *kgo.Client
	h       *history
	rng     *rand.Rand
	dynamic bool // the quorum
	brokers []int32
	topics  []string        // those that are moved
	moved   tp              // last
	made    map[string]bool // own topics: true created, false deleted; one whose fate is not known is in neither
	n       int
}

func (c *cluster) administrator(h *history, topics ...string) *administrator {
	a := &administrator{client: c.client("admin"), h: h, dynamic: c.dynamic(), rng: rand.New(rand.NewPCG(c.seed, hash("admin"))), topics: topics, made: map[string]bool{}}
	for _, n := range c.nodes {
		if n.isBroker() {
			a.brokers = append(a.brokers, int32(n.id)) //nolint:gosec // a handful
		}
	}
	return a
}

func (a *administrator) run(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, time.Second+time.Duration(a.rng.Int64N(int64(4*time.Second))))
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		var err error
		what := ""
		switch a.rng.IntN(10) {
		case 0, 1:
			what, err = "create", a.create(within)
		case 2:
			what, err = "delete", a.remove(within)
		case 3:
			what, err = "config", a.configure(within)
		case 4, 5:
			what, err = "move", a.move(within)
		case 6:
			what, err = "cancel", a.cancel(within)
		case 7:
			what, err = "quota", a.limit(within)
		case 8:
			what, err = "elect", a.elect(within)
		case 9:
			what, err = "voter", a.unseat(within)
		}
		cancel()
		if err != nil {
			a.h.trace.addf("admin: %s: %v", what, err)
		} else {
			a.h.count("admin "+what, 1)
		}
	}
}

func (a *administrator) create(ctx context.Context) error {
	a.n++
	name := fmt.Sprint("made-", a.n)
	answer, err := kadm.NewClient(a.client).CreateTopic(ctx, 1+a.rng.Int32N(4), int16(min(3, len(a.brokers))), nil, name) //nolint:gosec // at most 3
	if err == nil {
		err = answer.Err
	}
	if err == nil {
		a.made[name] = true
	}
	return err
}

func (a *administrator) remove(ctx context.Context) error {
	for name, there := range a.made {
		if !there {
			continue
		}
		delete(a.made, name)
		answer, err := kadm.NewClient(a.client).DeleteTopic(ctx, name)
		if err == nil {
			err = answer.Err
		}
		if err == nil {
			a.made[name] = false
		}
		return err
	}
	return nil
}

func (a *administrator) configure(ctx context.Context) error {
	value := fmt.Sprint(1<<20 + a.rng.IntN(1<<20))
	answer, err := kadm.NewClient(a.client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}},
		a.topics[a.rng.IntN(len(a.topics))])
	if err == nil && len(answer) > 0 {
		err = answer[0].Err
	}
	return err
}

// move gives a partition of a topic, at times an internal one, other replicas, fewer, or the same in another order.
func (a *administrator) move(ctx context.Context) error {
	target := slices.Clone(a.brokers)
	a.rng.Shuffle(len(target), func(i, j int) { target[i], target[j] = target[j], target[i] })
	target = target[:min(2+a.rng.IntN(2), len(target))]
	topics := append([]string{"__consumer_offsets", "__transaction_state"}, a.topics...)
	a.moved = tp{topics[a.rng.IntN(len(topics))], a.rng.Int32N(partitions)}
	return a.assign(ctx, a.moved, target)
}

// cancel takes back the last move, if it is under way still.
func (a *administrator) cancel(ctx context.Context) error {
	if a.moved.topic == "" {
		return nil
	}
	if err := a.assign(ctx, a.moved, nil); !errors.Is(err, kerr.NoReassignmentInProgress) {
		return err
	}
	return nil
}

func (a *administrator) assign(ctx context.Context, p tp, target []int32) error {
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(p.topic, p.partition, target)
	answer, err := kadm.NewClient(a.client).AlterPartitionAssignments(ctx, req)
	if err != nil {
		return err
	}
	return answer.Error()
}

// limit sets the quota of a client, or takes it away.
func (a *administrator) limit(ctx context.Context) error {
	name := []string{"durable-0", "reader-" + dataTopic, "scatter.1"}[a.rng.IntN(3)]
	key := []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage"}[a.rng.IntN(3)]
	value := float64(int(5_000) << a.rng.IntN(6))
	if key == "request_percentage" {
		value /= 1000
	}
	answer, err := kadm.NewClient(a.client).AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &name}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: key, Value: value, Remove: a.rng.IntN(3) == 0}},
	}})
	if err == nil && len(answer) > 0 {
		err = answer[0].Err
	}
	return err
}

func (a *administrator) elect(ctx context.Context) error {
	answer, err := kadm.NewClient(a.client).ElectLeaders(ctx, kadm.ElectPreferredReplica, nil)
	if err != nil {
		return err
	}
	for _, t := range answer {
		for _, p := range t {
			if p.Err != nil && !isAny(p.Err, kerr.ElectionNotNeeded, kerr.PreferredLeaderNotAvailable) {
				return p.Err
			}
		}
	}
	return nil
}

// unseat removes a voter of a dynamic quorum, which will join again by itself.
func (a *administrator) unseat(ctx context.Context) error {
	if !a.dynamic {
		return nil
	}
	seats, err := voters(ctx, a.client)
	if err != nil || len(seats) < 3 {
		return err
	}
	seat := seats[a.rng.IntN(len(seats))]
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = seat.ReplicaID, seat.ReplicaDirectoryID
	resp, err := req.RequestWith(ctx, a.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// voters asks for the voters of the quorum.
func voters(ctx context.Context, client *kgo.Client) ([]kmsg.DescribeQuorumResponseTopicPartitionReplicaState, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic, t.Partitions = "__cluster_metadata", append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("a quorum of %d topics", len(resp.Topics))
	}
	p := resp.Topics[0].Partitions[0]
	return p.CurrentVoters, kerr.ErrorForCode(p.ErrorCode)
}

// awaitVoters waits until all controllers are voters.
func (c *cluster) awaitVoters(ctx context.Context) error {
	client := c.client("voters")
	defer client.Close()
	for {
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		seats, err := voters(within, client)
		cancel()
		if err == nil && len(seats) == len(c.controllers()) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("of %d controllers, %d are voters: %w", len(c.controllers()), len(seats), err)
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// wind checks that what was created is there, and what was deleted is not.
func (a *administrator) wind(ctx context.Context) error {
	defer a.client.Close()
	topics, err := kadm.NewClient(a.client).ListTopics(ctx)
	if err != nil {
		return err
	}
	for name, there := range a.made {
		if topics.Has(name) != there {
			a.h.violate("topic %s: there %v, but the controller has confirmed %v", name, topics.Has(name), there)
		}
	}
	return nil
}

// isAny reports whether err is one of some errors.
func isAny(err error, among ...error) bool {
	return slices.ContainsFunc(among, func(e error) bool { return errors.Is(err, e) })
}
