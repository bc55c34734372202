package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupMembers = 3
	// A member lives between the two, then leaves, and another takes its place.
	shortestLife = 15 * time.Second
	longestLife  = 90 * time.Second
)

// group is a consumer group that reads the steady topic.
type group struct {
	name, addr string
	opts       []kgo.Opt // of its protocol
	k          *kinds

	mu   sync.Mutex
	next [steadyParts]int64 // behind the last record processed; guarded by mu
}

func groupsOf(addr string, k *kinds) []*group {
	return []*group{
		{name: "classic", addr: addr, k: k, opts: []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}},
		{name: "consumer", addr: addr, k: k, opts: []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())}},
	}
}

// members keeps one place in the group filled until ctx ends.
func (g *group) members(ctx context.Context, random *rand.Rand) error {
	g.k.begin("group " + g.name)
	for ctx.Err() == nil {
		life, cancel := context.WithTimeout(ctx, shortestLife+time.Duration(random.Int64N(int64(longestLife-shortestLife))))
		err := g.member(life)
		cancel()
		if err != nil {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
	}
	return nil
}

func (g *group) member(ctx context.Context) error {
	client, err := newClient(g.addr, append(g.opts, kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(steadyTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitInterval(time.Second))...)
	if err != nil {
		return err
	}
	defer client.Close() // leaves
	for {
		fetches := client.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			var session *kgo.ErrGroupSession
			if errors.As(e.Err, &session) || kerr.IsRetriable(e.Err) || killedWhileGreeting(e.Err) {
				continue // the client joins again by itself
			}
			return fmt.Errorf("%s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		for r := range fetches.RecordsAll() {
			if err := g.see(r); err != nil {
				return err
			}
		}
		g.k.mark("group "+g.name, fetches.NumRecords())
	}
}

// see checks that no record is skipped; some come again after a rebalance.
func (g *group) see(r *kgo.Record) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Offset > g.next[r.Partition] {
		return fmt.Errorf("partition %d: offset %d came where %d was to come", r.Partition, r.Offset, g.next[r.Partition])
	}
	g.next[r.Partition] = max(g.next[r.Partition], r.Offset+1)
	return nil
}

// drained waits until the group has processed and committed everything.
func (g *group) drained(ctx context.Context) error {
	client, err := newClient(g.addr)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		lag := int64(-1)
		ends, err := admin.ListEndOffsets(ctx, steadyTopic)
		if err == nil {
			var committed kadm.OffsetResponses
			if committed, err = admin.FetchOffsets(ctx, g.name); err == nil {
				lag = 0
				for p := range int32(steadyParts) {
					end, _ := ends.Lookup(steadyTopic, p)
					at, _ := committed.Lookup(steadyTopic, p)
					lag += end.Offset - at.At
				}
			}
		}
		if lag == 0 {
			return nil
		}
		if waited := wait(ctx, 200*time.Millisecond); waited != nil {
			return fmt.Errorf("group %s lags by %d records: %w", g.name, lag, errors.Join(err, waited))
		}
	}
}
