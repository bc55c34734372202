//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader reads all partitions of a topic from the beginning: no offset is left out, and none comes twice.
type reader struct {
	name      string
	topic     string
	client    *kgo.Client
	h         *history
	committed bool // read_committed
	gaps      bool // records are deleted or compacted: offsets may be left out
	next      map[int32]int64
	values    map[int32][]string // in order, without control records
	latest    map[string]string  // by key
}

// fromStart are the first offsets of a topic from which nothing was deleted.
var fromStart = map[int32]int64{0: 0, 1: 0, 2: 0}

// reader makes a reader that begins at the given offset of each partition.
func (c *cluster) reader(h *history, name, topic string, starts map[int32]int64, committed bool, more ...kgo.Opt) *reader {
	from := map[int32]kgo.Offset{}
	for p, at := range starts {
		from[p] = kgo.NewOffset().At(at)
	}
	opts := append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(500 * time.Millisecond),
	}, more...)
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return &reader{
		name: name, topic: topic, client: c.client(name, opts...), h: h, committed: committed, next: maps.Clone(starts), values: map[int32][]string{}, latest: map[string]string{},
	}
}

func (r *reader) withGaps() *reader {
	r.gaps = true
	return r
}

func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.poll(ctx)
	}
}

func (r *reader) poll(ctx context.Context) {
	r.client.PollFetches(ctx).EachPartition(func(f kgo.FetchTopicPartition) {
		p := tp{f.Topic, f.Partition}
		if f.Err != nil {
			if errors.Is(f.Err, context.Canceled) || errors.Is(f.Err, context.DeadlineExceeded) {
				return
			}
			r.h.trace.addf("%s: %s: %v", r.name, p, f.Err)
			var lost *kgo.ErrDataLoss
			if errors.Is(f.Err, kerr.OffsetOutOfRange) || errors.As(f.Err, &lost) {
				r.h.violate("%s at %d of %s: %v", r.name, r.next[f.Partition], p, f.Err)
			}
			return
		}
		for _, record := range f.Records {
			r.take(p, record)
		}
	})
}

func (r *reader) take(p tp, record *kgo.Record) {
	next := r.next[p.partition]
	if record.Offset < next || !r.committed && !r.gaps && record.Offset > next {
		r.h.violate("%s: %s offset %d follows %d", r.name, p, record.Offset, next-1)
	}
	r.next[p.partition] = record.Offset + 1
	r.h.read(record)
	if !record.Attrs.IsControl() {
		r.values[p.partition] = append(r.values[p.partition], string(record.Value))
		r.latest[string(record.Key)] = string(record.Value)
	}
}

// drain reads up to the given ends.
func (r *reader) drain(ctx context.Context, ends map[int32]int64) error {
	for ctx.Err() == nil {
		missing := 0
		for p, end := range ends {
			if r.next[p] < end {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		r.poll(ctx)
	}
	return fmt.Errorf("%s is at %v of %s, which ends at %v", r.name, r.next, r.topic, ends)
}

// all reads partition p up to its end, by the high watermark: the last records may be markers, which a reader of committed ones is not shown.
func (r *reader) all(ctx context.Context, p int32, end int64) ([]string, error) {
	for r.next[p] < end && ctx.Err() == nil {
		r.poll(ctx)
	}
	if r.next[p] < end {
		return nil, fmt.Errorf("%s is at %d of %s-%d, which ends at %d", r.name, r.next[p], r.topic, p, end)
	}
	return r.values[p], nil
}

func (r *reader) wind(context.Context) error {
	r.client.CloseAllowingRebalance()
	return nil
}

// member is a place in a group: one client after the other takes it.
type member struct {
	c        *cluster
	h        *history
	name     string
	group    string
	protocol string
	topics   []string
	rng      *rand.Rand
}

// kinds of groups.
const (
	eagerGroup       = "eager"
	cooperativeGroup = "cooperative"
	serverSideGroup  = "server-side" // KIP-848
)

func (c *cluster) member(h *history, name, group, protocol string, topics ...string) *member {
	return &member{c, h, name, group, protocol, topics, rand.New(rand.NewPCG(c.seed, hash(name)))}
}

func (m *member) options(name string) []kgo.Opt {
	version := commitVersions[m.rng.IntN(len(commitVersions))]
	if m.protocol == serverSideGroup {
		version = max(version, 9)
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(m.group), kgo.ConsumeTopics(m.topics...), commitsBy(version), kgo.Rack(rack(1 + m.rng.IntN(len(m.c.nodes)))), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.RebalanceTimeout(20 * time.Second), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, client *kgo.Client, assigned map[string][]int32) {
			_, generation := client.GroupMetadata()
			m.h.own(m.group, name, generation, assigned)
		}),
	}
	switch m.protocol {
	case eagerGroup:
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()))
	case cooperativeGroup:
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case serverSideGroup:
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return opts
}

// run takes part in the group; now and then the client leaves, and another takes its place.
func (m *member) run(ctx context.Context) {
	for life := 1; ctx.Err() == nil; life++ {
		name := fmt.Sprintf("%s.%d", m.name, life)
		client := m.c.client(name, m.options(name)...)
		until, cancel := context.WithTimeout(ctx, 5*time.Second+time.Duration(m.rng.Int64N(int64(40*time.Second))))
		for until.Err() == nil {
			if err := m.work(until, client, name); err != nil {
				m.h.trace.addf("%s: %v", name, err)
				break
			}
		}
		cancel()
		depart(client)
	}
}

// work polls once and commits what it has got. An error ends the client.
func (m *member) work(ctx context.Context, client *kgo.Client, name string) error {
	defer client.AllowRebalance()
	fetches := client.PollRecords(ctx, 100)
	if err := outOfRange(fetches); err != nil {
		return err
	}
	ends := map[tp]int64{}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if f.Err != nil && ctx.Err() == nil {
			m.h.trace.addf("%s: %s-%d: %v", name, f.Topic, f.Partition, f.Err)
		}
		for _, r := range f.Records {
			m.h.read(r)
			ends[tp{r.Topic, r.Partition}] = r.Offset + 1
		}
	})
	if len(ends) == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := client.CommitRecords(within, fetches.Records()...); err == nil {
		m.h.commit(m.group, ends)
	} else {
		m.h.trace.addf("%s: commit: %v", name, err)
	}
	return nil
}

// beginGroups commits the first offsets of groups, so that nobody has to choose where to begin.
func (c *cluster) beginGroups(groups map[string][]string) error {
	client := c.client("begin")
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for group, topics := range groups {
		var offsets kadm.Offsets
		for _, topic := range topics {
			for p := range int32(partitions) {
				offsets.AddOffset(topic, p, 0, -1)
			}
		}
		if err := kadm.NewClient(client).CommitAllOffsets(ctx, group, offsets); err != nil {
			return fmt.Errorf("begin group %s: %w", group, err)
		}
	}
	return nil
}

func (m *member) wind(context.Context) error { return nil }

// groupWatch asks for the committed offsets of a group again and again.
type groupWatch struct {
	client *kgo.Client
	h      *history
	group  string
}

func (c *cluster) groupWatch(h *history, group string) *groupWatch {
	return &groupWatch{c.client("watch-"+group, kgo.RequestRetries(0)), h, group}
}

func (w *groupWatch) run(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, time.Second)
		_ = w.look(ctx, false) // the next may get through
	}
}

// look compares the committed offsets with what was acknowledged.
func (w *groupWatch) look(ctx context.Context, healthy bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	floor := w.h.floor(w.group)
	answer, err := kadm.NewClient(w.client).FetchOffsets(ctx, w.group)
	if err != nil {
		return err
	}
	now := map[tp]int64{}
	for topic, partitions := range answer {
		for p, o := range partitions {
			if o.Err != nil {
				return o.Err
			}
			if o.At >= 0 {
				now[tp{topic, p}] = o.At
			}
		}
	}
	w.h.fetched(w.group, floor, now, healthy)
	return nil
}

// wind waits until the group has been asked with everything healthy.
func (w *groupWatch) wind(ctx context.Context) error {
	defer w.client.Close()
	for {
		err := w.look(ctx, true)
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, time.Second)
	}
}

// duplicates returns what is more than once in values.
func duplicates(values []string) []string {
	sorted := slices.Sorted(slices.Values(values))
	var twice []string
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			twice = append(twice, sorted[i])
		}
	}
	return slices.Compact(twice)
}
