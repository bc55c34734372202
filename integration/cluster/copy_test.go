//go:build unix && !netns

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// copies is where copiers write.
const copies = "copies"

// copier copies the topic of a load to another, in transactions with the offsets of its group, until stop compares the two. A client that failed is replaced by
// another one with its transactional id.
type copier struct {
	c       *cluster
	options []kgo.Opt
	cancel  context.CancelFunc
	running sync.WaitGroup
	lives   int // of clients; read when it stands
}

func (c *cluster) copier() *copier {
	c.t.Helper()
	c.create(copies, partitions)
	ctx, cancel := context.WithCancel(context.Background())
	w := &copier{c: c, cancel: cancel, options: c.options(
		kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics(topic), kgo.TransactionalID("copier"), kgo.TransactionTimeout(20*time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(10*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProduceRequestTimeout(3*time.Second), kgo.RecordDeliveryTimeout(15*time.Second), kgo.UnknownTopicRetries(-1),
	)}
	w.running.Go(func() {
		for ctx.Err() == nil {
			w.lives++
			if err := w.live(ctx); err != nil {
				c.t.Logf("copier %d: %v", w.lives, err)
			}
		}
	})
	return w
}

func (w *copier) live(ctx context.Context) error {
	s, err := kgo.NewGroupTransactSession(w.options...)
	if err != nil {
		return err
	}
	defer s.Close()
	for err == nil && ctx.Err() == nil {
		err = w.copy(ctx, s)
	}
	return err
}

// copy is one transaction. One that was begun is ended even if ctx ends.
func (w *copier) copy(ctx context.Context, s *kgo.GroupTransactSession) error {
	polled, done := context.WithTimeout(ctx, time.Second)
	fetches := s.PollRecords(polled, 500)
	done()
	if fetches.NumRecords() == 0 {
		return nil
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	within, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var failed error
	fetches.EachRecord(func(r *kgo.Record) {
		s.Produce(within, &kgo.Record{Topic: copies, Partition: r.Partition, Value: r.Value}, func(_ *kgo.Record, err error) {
			failed = errors.Join(failed, err) // promises are called one by one
		})
	})
	err := s.Client().Flush(within)
	if _, ended := s.End(within, kgo.TransactionEndTry(err == nil && failed == nil)); ended != nil {
		return fmt.Errorf("end: %w", ended)
	}
	return failed
}

// stop waits until all is copied, ends the copier and compares the two topics. It is called when the load has ended.
func (w *copier) stop() {
	t := w.c.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		behind := w.behind(ctx)
		if behind == "" {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not all records are copied: %s", behind)
		}
	}
	w.cancel()
	w.running.Wait()
	want, got := w.c.values(ctx, topic), w.c.values(ctx, copies)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("%d records, and %d copies, %d of them different", len(want), len(got), len(slices.Compact(slices.Clone(got))))
	}
	t.Logf("%d copies, by %d clients", len(got), w.lives)
}

// behind tells of which partitions the copiers have not committed the end.
func (w *copier) behind(ctx context.Context) (partitions string) {
	w.c.t.Helper()
	client := w.c.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err.Error()
	}
	offsets, err := admin.FetchOffsets(ctx, "copiers")
	if err != nil {
		return err.Error()
	}
	ends.Each(func(end kadm.ListedOffset) {
		if at, ok := offsets.Lookup(topic, end.Partition); end.Err != nil || end.Offset > 0 && (!ok || at.At < end.Offset) {
			partitions += fmt.Sprintf(" %d is at %d of %d (%v, %v);", end.Partition, at.At, end.Offset, end.Err, at.Err)
		}
	})
	return partitions
}

// values reads what is committed of a topic, from the beginning to its end.
func (c *cluster) values(ctx context.Context, topic string) (values []string) {
	t := c.t
	t.Helper()
	client := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer client.Close()
	left := c.ends(ctx, client, topic)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("not read of %s: %v", topic, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return values
}
