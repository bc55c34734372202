//go:build synctests

package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// commitVersions are those of OffsetCommit that clients commit by. From topicIDVersion on topics are named by id.
var commitVersions = []int16{2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10}

const topicIDVersion = 10

// commitsBy makes a client commit offsets in a version of OffsetCommit.
func commitsBy(version int16) kgo.Opt {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.OffsetCommit), version)
	return kgo.MaxVersions(versions)
}

// ledgerGroups is how many groups a ledger has at a time: more than __consumer_offsets has partitions.
const ledgerGroups = 6

// ledger commits offsets for groups without members, in requests of all versions, and deletes some. An offset that was committed is there, through any number of coordinators, and
// one that was deleted is not. Nobody commits again what was lost, as members of a group do. It is used by one goroutine at a time.
type ledger struct {
	c       *cluster
	h       *history
	clients map[int16]*kgo.Client // by version of OffsetCommit
	rng     *rand.Rand
	topics  []string
	ids     map[string]kadm.TopicID
	groups  []string // in use; one of which a request's fate is not known is replaced
	all     []string
	told    map[cell]int64 // what is certain: the offset, or none
	unsure  map[cell]bool  // those of requests whose fate is not known
	n       int64
}

// cell is a place for an offset.
type cell struct {
	group string
	tp
}

// none is the offset of a cell that was deleted.
const none = -1

func (c *cluster) ledger(h *history, topics ...string) *ledger {
	l := &ledger{
		c: c, h: h, clients: map[int16]*kgo.Client{}, rng: rand.New(rand.NewPCG(c.seed, hash("ledger"))), topics: topics, ids: map[string]kadm.TopicID{},
		told: map[cell]int64{}, unsure: map[cell]bool{},
	}
	for range ledgerGroups {
		l.groups = append(l.groups, l.newGroup())
	}
	return l
}

func (l *ledger) newGroup() string {
	name := fmt.Sprint("ledger-", len(l.all)+1)
	l.all = append(l.all, name)
	return name
}

// client returns the client that commits by a version. A request is sent once: one that comes late cannot undo a later one.
func (l *ledger) client(version int16) *kgo.Client {
	if l.clients[version] == nil {
		l.clients[version] = l.c.client(fmt.Sprint("ledger-v", version), commitsBy(version), kgo.RequestRetries(0))
	}
	return l.clients[version]
}

func (l *ledger) run(ctx context.Context) {
	for ctx.Err() == nil && len(l.ids) == 0 {
		if topics, err := kadm.NewClient(l.client(topicIDVersion)).ListTopics(ctx, l.topics...); err == nil && topics.Error() == nil {
			for name, topic := range topics {
				l.ids[name] = topic.ID
			}
		}
		sleep(ctx, 100*time.Millisecond)
	}
	for ctx.Err() == nil {
		slot := l.rng.IntN(len(l.groups))
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		what, touched, err := l.change(within, slot)
		cancel()
		if err != nil {
			l.h.trace.addf("%s: %s: %v", l.groups[slot], what, err)
			for _, at := range touched {
				delete(l.told, at)
				l.unsure[at] = true
			}
			l.groups[slot] = l.newGroup()
		} else if len(touched) > 0 {
			l.h.count("ledger "+what, 1)
		}
		sleep(ctx, time.Duration(l.rng.Int64N(int64(200*time.Millisecond))))
	}
}

// change does one thing to a group. It names the cells whose offset is not certain if it fails.
func (l *ledger) change(ctx context.Context, slot int) (what string, touched []cell, err error) {
	group := l.groups[slot]
	switch n := l.rng.IntN(20); {
	case n == 0:
		touched = l.known(group)
		return "delete a group", touched, l.deleteGroup(ctx, group, touched)
	case n < 3:
		touched = l.known(group)
		if len(touched) > 2 {
			touched = touched[:2]
		}
		return "delete offsets", touched, l.deleteOffsets(ctx, group, touched)
	}
	for range 1 + l.rng.IntN(3) {
		at := cell{group, tp{l.topics[l.rng.IntN(len(l.topics))], l.rng.Int32N(partitions)}}
		if _, ok := l.told[at]; slot%2 == 1 && ok {
			continue // half of the groups commit once to each partition
		}
		if !slices.Contains(touched, at) {
			touched = append(touched, at)
		}
	}
	return "commit", touched, l.commit(ctx, group, touched, commitVersions[l.rng.IntN(len(commitVersions))])
}

// known returns the cells of a group that have an offset.
func (l *ledger) known(group string) []cell {
	var some []cell
	for at, offset := range l.told {
		if at.group == group && offset != none {
			some = append(some, at)
		}
	}
	slices.SortFunc(some, func(a, b cell) int { return strings.Compare(a.String(), b.String()) })
	return some
}

func (l *ledger) commit(ctx context.Context, group string, cells []cell, version int16) error {
	if len(cells) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	offsets := map[cell]int64{}
	for _, at := range cells {
		l.n++
		offsets[at] = l.n
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		note := fmt.Sprintf("version %d", version)
		p.Partition, p.Offset, p.Metadata = at.partition, l.n, &note
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID, t.Partitions = at.topic, l.ids[at.topic], append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, l.client(version))
	if err != nil {
		return err
	}
	answers := 0
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
			answers++
		}
	}
	if answers != len(cells) {
		l.h.violate("%s: %d answers to a commit of %d offsets", group, answers, len(cells))
	}
	maps.Copy(l.told, offsets)
	return nil
}

func (l *ledger) deleteOffsets(ctx context.Context, group string, cells []cell) error {
	if len(cells) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for _, at := range cells {
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = at.topic
		t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: at.partition})
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, l.client(topicIDVersion))
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	for _, at := range cells {
		l.told[at] = none
	}
	return nil
}

func (l *ledger) deleteGroup(ctx context.Context, group string, cells []cell) error {
	if len(cells) == 0 {
		return nil // there may be no such group
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(ctx, l.client(topicIDVersion))
	if err != nil {
		return err
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
	}
	for _, at := range cells {
		l.told[at] = none
	}
	return nil
}

// wind compares what is there with what is certain.
func (l *ledger) wind(ctx context.Context) error {
	defer func() {
		for _, client := range l.clients {
			client.Close()
		}
	}()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	there, err := l.c.offsets(ctx, l.all...)
	if err != nil {
		return err
	}
	for at, offset := range l.told {
		got, ok := there[at]
		if !ok {
			got = none
		}
		if got != offset {
			l.h.violate("%s: the offset of %s is %d, committed or deleted was %d", at.group, at.tp, got, offset)
		}
	}
	for at, got := range there {
		if _, ok := l.told[at]; !ok && !l.unsure[at] {
			l.h.violate("%s: the offset of %s is %d, which was never committed", at.group, at.tp, got)
		}
	}
	return nil
}

// offsets asks for what groups have committed, until all coordinators answer.
func (c *cluster) offsets(ctx context.Context, groups ...string) (map[cell]int64, error) {
	for {
		there, err := c.askOffsets(ctx, groups)
		if err == nil {
			return there, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("offsets of %d groups: %w", len(groups), err)
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// askOffsets asks once, by a client that knows no coordinators from before.
func (c *cluster) askOffsets(ctx context.Context, groups []string) (map[cell]int64, error) {
	client := c.client("offsets")
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	answers := kadm.NewClient(client).FetchManyOffsets(ctx, groups...)
	if err := answers.Error(); err != nil {
		return nil, err
	}
	if len(answers) != len(groups) {
		return nil, fmt.Errorf("%d answers", len(answers))
	}
	there := map[cell]int64{}
	for group, answer := range answers {
		for topic, partitions := range answer.Fetched {
			for p, o := range partitions {
				if o.Err != nil {
					return nil, o.Err
				}
				if o.At >= 0 {
					there[cell{group, tp{topic, p}}] = o.At
				}
			}
		}
	}
	return there, nil
}
