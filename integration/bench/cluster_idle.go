package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// idleTopics of idleParts partitions lie on idleNodes brokers each.
	idleTopics, idleParts, idleNodes = 20, 500, 2
	// idleHot of all partitions are written to, hotRate times a second each.
	idleHot, hotRate = 10, 20
	// idleFor is how long it is looked what nothing costs, and then what the hot ones do.
	idleFor = 20 * time.Second
	// idleLimit bounds the whole: Apache Kafka takes minutes to create as many on a machine that is busy, and is left out then.
	idleLimit = 4 * time.Minute
)

func clusterIdleCases() []benchCase {
	return []benchCase{{
		name: "cluster-idle", about: fmt.Sprintf("%d partitions of two replicas on two brokers: created, until all are in sync; memory of the larger broker; CPU of both while nothing is written, and while "+
			"%d of the partitions get %d records of 1 KB a second each with acks=all", idleTopics*idleParts, idleHot, hotRate),
		metrics: []metric{{"create", "s", false}, {"memory", "MB", false}, {"idle CPU", "ms/s", false}, {"hot CPU", "ms/s", false}, {"ack p99", "ms", false}},
		rounds:  1, without: []string{keyKfake, keyLimit}, limit: idleLimit, fresh: clusterIdleRound,
	}}
}

func clusterIdleRound(ctx context.Context, p *peer) (sample, error) {
	c, err := startCluster(ctx, p, idleNodes, 1)
	if err != nil {
		return nil, err
	}
	defer c.remove()
	begin := time.Now()
	topics := make([]string, idleTopics)
	for i := range topics {
		topics[i] = fmt.Sprint("idle-", i)
		if err := c.create(ctx, c.nodes[0], topics[i], idleParts); err != nil && !errors.Is(err, kerr.RequestTimedOut) {
			return nil, err
		}
	}
	if _, err := c.awaitInSync(ctx, c.nodes[0], topics...); err != nil {
		return nil, err
	}
	out := sample{"create": time.Since(begin).Seconds()}
	producers, err := c.producers(ctx, "hot", idleHot, 1)
	if err != nil {
		return nil, err
	}
	defer closeAll(producers)
	if err := pause(ctx, 2*settle); err != nil {
		return nil, err
	}
	memory, err := c.memory()
	if err != nil {
		return nil, err
	}
	out["memory"] = float64(memory) / 1e6
	perSecond := func(u usage) float64 { return u.cpu.Seconds() * 1e3 / u.wall.Seconds() }
	idle, err := c.spend(func() error { return pause(ctx, idleFor) })
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	hot, err := c.spend(func() (err error) {
		took, err = hotWrites(ctx, producers)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	out["idle CPU"], out["hot CPU"], out["ack p99"] = perSecond(idle), perSecond(hot), took[len(took)*99/100].Seconds()*1e3
	return out, nil
}

// hotWrites has each producer write one record at a time, in turn, and returns how long each took.
func hotWrites(ctx context.Context, producers []*producer) ([]time.Duration, error) {
	var took []time.Duration
	between := time.NewTicker(time.Second / hotRate / time.Duration(len(producers)))
	defer between.Stop()
	for i, end := 0, time.Now().Add(idleFor); time.Now().Before(end); i++ {
		select {
		case <-between.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		begin := time.Now()
		if err := producers[i%len(producers)].run(1); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}
