//go:build synctests

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// workload is what runs while things fail. wind ends it: it does what it still owes, with everything healthy, and returns.
type workload interface {
	run(ctx context.Context) // until ctx ends
	wind(ctx context.Context) error
}

// producer writes numbered records to all partitions of a topic.
type producer struct {
	name       string
	topic      string
	partitions int32
	client     *kgo.Client
	rng        *rand.Rand
	h          *history
	every      time.Duration
	durable    bool // acks=all with idempotence
	keys       int  // how many keys there are, each in one partition; 0: all records have the producer's name

	pending sync.WaitGroup
	sent    int
	last    map[string]string // value by key

	mu       sync.Mutex      // guards what follows
	failed   map[string]int  // values that may or may not be there
	doubtful map[string]bool // their keys
}

func (c *cluster) producer(h *history, name, topic string, partitions int32, durable bool) *producer {
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1), kgo.ProduceRequestTimeout(5 * time.Second)}
	if !durable {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.RecordRetries(20))
	}
	return &producer{
		name: name, topic: topic, partitions: partitions, client: c.client(name, opts...), rng: rand.New(rand.NewPCG(c.seed, hash(name))),
		h: h, every: 200 * time.Millisecond, durable: durable,
		last: map[string]string{}, failed: map[string]int{}, doubtful: map[string]bool{},
	}
}

// hash makes a number of a name.
func hash(name string) uint64 {
	n := uint64(14695981039346656037)
	for _, b := range []byte(name) {
		n = (n ^ uint64(b)) * 1099511628211
	}
	return n
}

func (p *producer) run(ctx context.Context) {
	for ctx.Err() == nil {
		for range 1 + p.rng.IntN(5) {
			p.send()
		}
		sleep(ctx, time.Duration(p.rng.Int64N(int64(2*p.every))))
	}
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p *producer) send() {
	p.sent++
	r := &kgo.Record{Topic: p.topic, Partition: p.rng.Int32N(p.partitions), Key: []byte(p.name), Value: fmt.Appendf(nil, "%s %d", p.name, p.sent)}
	if p.keys > 0 {
		key := p.rng.Int32N(int32(p.keys)) //nolint:gosec // a handful
		r.Key, r.Partition = fmt.Append(nil, key), key%p.partitions
		if p.rng.IntN(8) == 0 {
			r.Value = nil // a tombstone
		}
		p.last[string(r.Key)] = string(r.Value)
	}
	p.pending.Add(1)
	p.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		defer p.pending.Done()
		switch {
		case err != nil:
			p.h.trace.addf("%s: %q to %s-%d: %v", p.name, r.Value, r.Topic, r.Partition, err)
			p.mu.Lock()
			p.failed[string(r.Value)]++
			p.doubtful[string(r.Key)] = true
			p.mu.Unlock()
		case p.durable:
			p.h.acknowledged(r)
		default:
			p.h.count("acknowledged by the leader", 1)
		}
	})
}

func (p *producer) wind(ctx context.Context) error {
	defer p.client.CloseAllowingRebalance()
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("%s: %d records are not acknowledged: %w", p.name, p.client.BufferedProduceRecords(), err)
	}
	p.pending.Wait()
	return nil
}
