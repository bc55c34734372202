//go:build unix

package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place is where a record was acknowledged.
type place struct {
	partition int32
	offset    int64
}

// load writes records with acks=all and idempotence, and reads them in a group, until stop compares the two.
type load struct {
	c        *cluster
	producer *kgo.Client
	cancel   context.CancelFunc
	running  sync.WaitGroup
	pending  sync.WaitGroup

	mu        sync.Mutex // guards what follows
	acked     map[place]string
	read      map[place]string
	committed map[int32]int64 // by the group, of each partition the highest
	last      time.Time       // of an acknowledgement
	longest   time.Duration
	began     time.Time // of the longest time without one
}

func (c *cluster) load() *load {
	c.t.Helper()
	l := &load{
		c: c, acked: map[place]string{}, read: map[place]string{}, committed: map[int32]int64{},
		producer: c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1), kgo.ProduceRequestTimeout(3*time.Second)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.running.Go(func() { l.produce(ctx) })
	for i := range 2 {
		l.running.Go(func() { l.consume(ctx, i) })
	}
	return l
}

func (l *load) produce(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		r := &kgo.Record{Partition: int32(n % partitions), Value: fmt.Append(nil, n)} //nolint:gosec // a handful
		l.pending.Add(1)
		l.producer.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			defer l.pending.Done()
			if err != nil {
				l.c.t.Errorf("record %s of partition %d failed for good: %v", r.Value, r.Partition, err)
				return
			}
			l.acknowledged(r)
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (l *load) acknowledged(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[place{r.Partition, r.Offset}] = string(r.Value)
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) > l.longest {
		l.longest, l.began = now.Sub(l.last), l.last
	}
	l.last = now
}

// consume is a member of a group, which commits what it has read.
func (l *load) consume(ctx context.Context, i int) {
	client := l.c.client(kgo.ConsumerGroup("readers"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(10*time.Second),
		kgo.ClientID(fmt.Sprint("reader-", i)), kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit())
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(l.take)
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		if client.CommitUncommittedOffsets(within) == nil { // else it is tried again with the next
			l.commit(client.CommittedOffsets()[topic])
		}
		cancel()
		client.AllowRebalance()
	}
}

// commit notes what a member has committed.
func (l *load) commit(offsets map[int32]kgo.EpochOffset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, o := range offsets {
		l.committed[p] = max(l.committed[p], o.Offset)
	}
}

// take notes a record that was read: whoever reads that offset reads the same.
func (l *load) take(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := place{r.Partition, r.Offset}
	if was, ok := l.read[at]; ok && was != string(r.Value) {
		l.c.t.Errorf("partition %d offset %d was %s and is %s", at.partition, at.offset, was, r.Value)
	}
	l.read[at] = string(r.Value)
}

// stop ends the load, and compares what is in the topic with what was acknowledged. It returns the longest time in which nothing was.
func (l *load) stop() time.Duration {
	t := l.c.t
	t.Helper()
	l.cancel()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := l.producer.Flush(ctx); err != nil {
		t.Fatalf("%d records are not acknowledged: %v", l.producer.BufferedProduceRecords(), err)
	}
	l.pending.Wait()
	l.running.Wait()
	l.producer.Close()
	values := l.readAll(ctx)
	client := l.c.client()
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(ctx, "readers")
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, offset := range l.committed {
		if got, ok := offsets.Lookup(topic, p); !ok || got.At < offset {
			t.Errorf("the group committed offset %d of partition %d, and has %d", offset, p, got.At)
		}
	}
	for at, value := range l.acked {
		if l.read[at] != value {
			t.Errorf("partition %d offset %d: %s was acknowledged, %q is there", at.partition, at.offset, value, l.read[at])
		}
	}
	slices.Sort(values)
	if n := len(values); n != len(slices.Compact(values)) || n < len(l.acked) {
		t.Errorf("%d records, %d acknowledged, some are there twice", n, len(l.acked))
	}
	t.Logf("%d records; nothing was acknowledged for %v at most", len(l.acked), l.longest)
	return l.longest
}

// readAll reads the topic from the beginning.
func (l *load) readAll(ctx context.Context) (values []string) {
	t := l.c.t
	t.Helper()
	client := l.c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	left := l.c.ends(ctx, client, topic)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("not read: %v", left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l.take(r)
			values = append(values, string(r.Value))
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return values
}

// within fails the test if nothing was acknowledged for longer than a bound.
func within(t *testing.T, gap, bound time.Duration) {
	t.Helper()
	if gap > bound {
		t.Errorf("nothing was acknowledged for %v, want %v at most", gap, bound)
	}
}

// wait lets time pass.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
