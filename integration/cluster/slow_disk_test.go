//go:build unix && !netns

package cluster

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// slowWrite is how much longer each write and fsync of a slow disk takes.
const slowWrite = 1500 * time.Millisecond

// TestSlowDisk makes the disk of one broker slow, then slower than the others wait for, then that of the active controller, under producers, a group and transactions. A
// disk that is slow on demand needs brokers in this process.
func TestSlowDisk(t *testing.T) {
	settings := []servertest.Option{servertest.Brokers(brokers), servertest.With("replica.lag.time.max.ms", "2000")}
	for key, value := range map[string]string{
		"default.replication.factor": "3", "min.insync.replicas": "2", "offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "3",
	} {
		settings = append(settings, servertest.With(key, value))
	}
	b := servertest.Start(t, settings...)
	c := &cluster{t: t, seeds: b.Addrs}
	c.create(topic, partitions)
	c.create(pairsTopic, 2)
	load, pairs := c.load(), c.pairs()
	id := c.controller()%brokers + 1
	end := b.Slow(id-1, 200*time.Millisecond)
	wait(t, 3*time.Second)
	end()
	end = b.Slow(id-1, slowWrite)
	worst := time.Duration(math.MaxInt64)
	for n := 0; worst > slowWrite*2/3 && n < 10; n++ { // a busy machine takes its time, now and then; a record that waits for the slow disk takes it each time
		worst = c.slowest(c.awaitOutOfSync(id), 2*time.Second)
	}
	if worst > slowWrite*2/3 {
		t.Errorf("a record took %v, though the broker with the slow disk has no part in it", worst)
	}
	end()
	c.awaitInSync()
	end = b.Slow(c.controller()-1, 500*time.Millisecond)
	wait(t, 3*time.Second)
	end()
	c.awaitInSync()
	pairs.stop()
	load.stop()
}

// awaitOutOfSync waits until a broker is out of sync where it does not lead, and returns these partitions.
func (c *cluster) awaitOutOfSync(id int) (others []int32) {
	c.t.Helper()
	c.await(func(ctx context.Context, admin *kadm.Client) string {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err.Error()
		}
		others = others[:0]
		in := 0
		for _, p := range topics[topic].Partitions {
			if int(p.Leader) == id {
				continue
			}
			others = append(others, p.Partition)
			if slices.Contains(p.ISR, int32(id)) { //nolint:gosec // one of three
				in++
			}
		}
		if in == 0 && len(others) > 0 {
			return ""
		}
		return fmt.Sprintf("broker %d is in sync in %d of %d partitions", id, in, len(others))
	})
	return others
}

// slowest writes records one after the other for a while, and returns how long the slowest took to be acknowledged.
func (c *cluster) slowest(partitions []int32, d time.Duration) (worst time.Duration) {
	c.t.Helper()
	client := c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	n := 0
	write := func() time.Duration {
		began := time.Now()
		r := &kgo.Record{Partition: partitions[n%len(partitions)], Value: fmt.Appendf(nil, "slowest %d of %v", n, began)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
		n++
		return time.Since(began)
	}
	write() // with connections, metadata and a producer id, for which others may have to be asked
	for end := time.Now().Add(d); time.Now().Before(end); {
		worst = max(worst, write())
	}
	c.t.Logf("%d records, the slowest took %v", n, worst)
	return worst
}
