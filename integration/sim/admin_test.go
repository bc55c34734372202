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
	brokers []int32
	topics  []string        // those that are moved
	made    map[string]bool // own topics: true created, false deleted; one whose fate is not known is in neither
	n       int
}

func (c *cluster) administrator(h *history, topics ...string) *administrator {
	a := &administrator{client: c.client("admin"), h: h, rng: rand.New(rand.NewPCG(c.seed, hash("admin"))), topics: topics, made: map[string]bool{}}
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
		switch a.rng.IntN(6) {
		case 0, 1:
			what, err = "create", a.create(within)
		case 2:
			what, err = "delete", a.remove(within)
		case 3:
			what, err = "config", a.configure(within)
		case 4:
			what, err = "move", a.move(within)
		case 5:
			what, err = "elect", a.elect(within)
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

// move gives a partition other replicas, or the same in another order.
func (a *administrator) move(ctx context.Context) error {
	target := slices.Clone(a.brokers)
	a.rng.Shuffle(len(target), func(i, j int) { target[i], target[j] = target[j], target[i] })
	target = target[:min(3, len(target))]
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(a.topics[a.rng.IntN(len(a.topics))], 0, target)
	answer, err := kadm.NewClient(a.client).AlterPartitionAssignments(ctx, req)
	if err != nil {
		return err
	}
	return answer.Error()
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
