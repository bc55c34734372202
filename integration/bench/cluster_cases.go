package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	clusterLimit = 6 * time.Minute
	// clusterBytes is what a throughput round produces, after a warm-up of as much.
	clusterBytes, clusterConns = 256 << 20, 16
	// ackedConns produce one record of 1 KB at a time for ackedFor.
	ackedConns, ackedFor = 8, 4 * time.Second
	// clusterTopics of clusterParts partitions are created, and fail over.
	clusterTopics, clusterParts = 30, 100
	// handovers is how many clean stops are measured; one has some luck.
	handovers = 3
)

func clusterCases() []benchCase {
	return []benchCase{
		{
			name: "cluster-produce", about: "three brokers, replication factor 3, min.insync.replicas=2, acks=all: 1 KB records in batches of 64 KiB over 16 connections to 16 partitions, CPU of all " +
				"brokers for each GB produced; then 8 connections with one record each at a time; memory of the largest broker after that",
			metrics: []metric{{"rate", "MB/s", true}, {"CPU", "s/GB", false}, {"ack p50", "ms", false}, {"ack p99", "ms", false}, {"memory", "MB", false}},
			rounds:  2, without: []string{keyKfake, keyLimit}, limit: clusterLimit, fresh: clusterProduceRound,
		},
		{
			name: "cluster-failover", about: "as before, from kill -9 of a partition's leader to the next acknowledged record, where the leader is a broker, and where it is the active controller, too; " +
				"and how long no record is acknowledged when a leader stops cleanly",
			metrics: []metric{{"broker", "s", false}, {"controller", "s", false}, {"clean stop", "ms", false}},
			rounds:  1, without: []string{keyKfake, keyLimit}, limit: clusterLimit, fresh: clusterFailoverRound,
		},
		{
			name: "cluster-partitions", about: fmt.Sprintf("%d partitions of three replicas: created, until all are in sync; memory of the largest broker; from kill -9 of a broker until each has another leader, "+
				"and how much of that at most is from the first that has one to the last", clusterTopics*clusterParts),
			metrics: []metric{{"create", "s", false}, {"memory", "MB", false}, {"failover", "s", false}, {"elections", "ms", false}},
			rounds:  1, without: []string{keyKfake, keyLimit}, limit: clusterLimit, fresh: clusterPartitionsRound,
		},
	}
}

func clusterProduceRound(ctx context.Context, p *peer) (sample, error) {
	c, err := startCluster(ctx, p, clusterNodes, clusterNodes)
	if err != nil {
		return nil, err
	}
	defer c.remove()
	if _, err := c.throughput(ctx, "warm-up"); err != nil {
		return nil, err
	}
	if _, err := c.acked(ctx, "warm-up-acked"); err != nil {
		return nil, err
	}
	out, err := c.throughput(ctx, "produce")
	if err != nil {
		return nil, err
	}
	took, err := c.acked(ctx, "acked")
	if err != nil {
		return nil, err
	}
	memory, err := c.memory()
	at := func(quantile float64) float64 { return took[int(float64(len(took))*quantile)].Seconds() * 1e3 }
	out["ack p50"], out["ack p99"], out["memory"] = at(0.5), at(0.99), float64(memory)/1e6
	return out, err
}

// producers opens a connection to the leader of each partition of a new topic.
func (c *cluster) producers(ctx context.Context, topic string, partitions int32, records int) ([]*producer, error) {
	if err := c.create(ctx, c.nodes[0], topic, partitions); err != nil {
		return nil, err
	}
	found, err := c.awaitInSync(ctx, c.nodes[0], topic)
	if err != nil {
		return nil, err
	}
	var out []*producer
	for _, p := range found.Topics[0].Partitions {
		made, err := newProducer(ctx, c.node(p.Leader), topic, p.Partition, newBatch(records, largeValue), int32(records))
		if err != nil {
			closeAll(out)
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

func (c *cluster) throughput(ctx context.Context, topic string) (sample, error) {
	producers, err := c.producers(ctx, topic, clusterConns, largeRecords)
	if err != nil {
		return nil, err
	}
	defer closeAll(producers)
	size := len(producers[0].batches[0])
	each := clusterBytes / size / clusterConns
	spent, err := c.spend(func() error {
		return inParallel(clusterConns, func(i int) error { return producers[i].run(each) })
	})
	gigabytes := float64(each*clusterConns*size) / 1e9
	return sample{"rate": gigabytes * 1e3 / spent.wall.Seconds(), "CPU": spent.cpu.Seconds() / gigabytes}, err
}

// acked returns how long each acknowledgement took, in order.
func (c *cluster) acked(ctx context.Context, topic string) ([]time.Duration, error) {
	producers, err := c.producers(ctx, topic, ackedConns, 1)
	if err != nil {
		return nil, err
	}
	defer closeAll(producers)
	var mu sync.Mutex // guards all
	var all []time.Duration
	err = inParallel(ackedConns, func(i int) error {
		var took []time.Duration
		for end := time.Now().Add(ackedFor); time.Now().Before(end); {
			begin := time.Now()
			if err := producers[i].run(1); err != nil {
				return err
			}
			took = append(took, time.Since(begin))
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, took...)
		return nil
	})
	slices.Sort(all)
	return all, err
}

func clusterFailoverRound(ctx context.Context, p *peer) (sample, error) {
	c, err := startCluster(ctx, p, clusterNodes, clusterNodes)
	if err != nil {
		return nil, err
	}
	defer c.remove()
	out := sample{}
	controller, err := c.controller(ctx, c.nodes[0])
	if err != nil {
		return nil, err
	}
	broker := controller%clusterNodes + 1
	if out["broker"], err = c.failover(ctx, broker, "failover-broker"); err != nil {
		return nil, fmt.Errorf("of a broker: %w", err)
	}
	if controller, err = c.controller(ctx, c.nodes[0]); err != nil {
		return nil, err
	}
	if out["controller"], err = c.failover(ctx, controller, "failover-controller"); err != nil {
		return nil, fmt.Errorf("of the controller: %w", err)
	}
	var gaps []float64
	for i := range handovers {
		if controller, err = c.controller(ctx, c.nodes[0]); err != nil {
			return nil, err
		}
		gap, err := c.handover(ctx, controller%clusterNodes+1, fmt.Sprint("handover-", i))
		if err != nil {
			return nil, fmt.Errorf("clean stop: %w", err)
		}
		gaps = append(gaps, gap.Seconds()*1e3)
	}
	slices.Sort(gaps)
	out["clean stop"] = gaps[len(gaps)/2]
	return out, nil
}

// writer is a client that finds a new leader as soon as there is one, and writes to the one partition of a topic that the node with the id leads.
func (c *cluster) writer(ctx context.Context, leader int32, topic string) (*kgo.Client, error) {
	if err := c.create(ctx, c.other(leader), topic, 1, c.placement(leader)...); err != nil {
		return nil, err
	}
	if _, err := c.awaitInSync(ctx, c.other(leader), topic); err != nil {
		return nil, err
	}
	seeds := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		seeds[i] = n.addr
	}
	return kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.MetadataMinAge(20*time.Millisecond), kgo.DialTimeout(time.Second))
}

// failover kills a leader and returns the seconds until a record is acknowledged again; then the node comes back.
func (c *cluster) failover(ctx context.Context, leader int32, topic string) (float64, error) {
	client, err := c.writer(ctx, leader, topic)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	record := func() error { return client.ProduceSync(ctx, kgo.StringRecord("a record")).FirstErr() }
	if err := record(); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := c.node(leader).kill(); err != nil {
		return 0, err
	}
	if err := record(); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return took.Seconds(), c.comeBack(ctx, leader, topic)
}

// comeBack starts a node that ended and waits until it is in sync.
func (c *cluster) comeBack(ctx context.Context, id int32, topic string) error {
	if err := c.node(id).start(ctx); err != nil {
		return err
	}
	_, err := c.awaitInSync(ctx, c.other(id), topic)
	return err
}

// handover stops a leader cleanly under load and returns the longest time between two acknowledgements.
func (c *cluster) handover(ctx context.Context, leader int32, topic string) (time.Duration, error) {
	client, err := c.writer(ctx, leader, topic)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	longest := make(chan time.Duration, 1)
	go func() {
		most, last := time.Duration(0), time.Now()
		for client.ProduceSync(writing, kgo.StringRecord("a record")).FirstErr() == nil {
			most, last = max(most, time.Since(last)), time.Now()
		}
		longest <- most
	}()
	err = pause(ctx, time.Second)
	if err == nil {
		_ = c.node(leader).cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.node(leader).exited:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	err = errors.Join(err, pause(ctx, time.Second))
	stop()
	most := <-longest
	if err != nil {
		return 0, err
	}
	return most, c.comeBack(ctx, leader, topic)
}

func clusterPartitionsRound(ctx context.Context, p *peer) (sample, error) {
	c, err := startCluster(ctx, p, clusterNodes, clusterNodes)
	if err != nil {
		return nil, err
	}
	defer c.remove()
	begin := time.Now()
	topics := make([]string, clusterTopics)
	for i := range topics {
		topics[i] = fmt.Sprint("partitions-", i)
		if err := c.create(ctx, c.nodes[0], topics[i], clusterParts); err != nil && !errors.Is(err, kerr.RequestTimedOut) {
			return nil, err
		}
	}
	all, err := c.awaitInSync(ctx, c.nodes[0], topics...)
	if err != nil {
		return nil, err
	}
	out := sample{"create": time.Since(begin).Seconds()}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	memory, err := c.memory()
	if err != nil {
		return nil, err
	}
	out["memory"] = float64(memory) / 1e6
	controller, err := c.controller(ctx, c.nodes[0])
	if err != nil {
		return nil, err
	}
	dead := controller%clusterNodes + 1
	led := ledBy(all, dead)
	begin = time.Now()
	if err := c.node(dead).kill(); err != nil {
		return nil, err
	}
	unchanged := begin // when all leaders were as before
	_, err = c.await(ctx, c.node(controller), "other leaders", topics, func(r *kmsg.MetadataResponse) bool {
		left := ledBy(r, dead)
		if left >= led {
			unchanged = time.Now()
		}
		return left == 0 && everyPartition(r, func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader > 0 })
	})
	out["failover"], out["elections"] = time.Since(begin).Seconds(), time.Since(unchanged).Seconds()*1e3
	return out, err
}

// ledBy is how many of the partitions a node leads; more than there are where not all could be told.
func ledBy(r *kmsg.MetadataResponse, id int32) int {
	n := 0
	whole := everyPartition(r, func(p *kmsg.MetadataResponseTopicPartition) bool {
		if p.Leader == id {
			n++
		}
		return true
	})
	if !whole {
		return math.MaxInt
	}
	return n
}
