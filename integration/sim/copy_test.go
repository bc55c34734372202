//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// copier takes part in a group that copies one topic to another, each record once, in transactions with the offsets.
type copier struct {
	c        *cluster
	h        *history
	name     string
	from, to string
	rng      *rand.Rand
	next     map[int32]int64 // of the input, by partition
}

func (c *cluster) copier(h *history, name, from, to string) *copier {
	return &copier{c, h, name, from, to, rand.New(rand.NewPCG(c.seed, hash(name))), map[int32]int64{}}
}

// copyGroup is the group of the copiers of a topic.
func copyGroup(from string) string { return "copy-" + from }

// run copies; a client that failed is replaced by another, which has the transactional id of the first.
func (w *copier) run(ctx context.Context) {
	for life := 1; ctx.Err() == nil; life++ {
		name := fmt.Sprintf("%s.%d", w.name, life)
		s, err := kgo.NewGroupTransactSession(w.c.options(name, []kgo.Opt{
			kgo.ConsumerGroup(copyGroup(w.from)), kgo.ConsumeTopics(w.from), kgo.TransactionalID(w.name), kgo.TransactionTimeout(20 * time.Second),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(time.Second),
			kgo.RebalanceTimeout(20 * time.Second), kgo.FetchMaxWait(500 * time.Millisecond), kgo.UnknownTopicRetries(-1), kgo.Balancers(kgo.RangeBalancer()),
			kgo.ProduceRequestTimeout(5 * time.Second), kgo.RecordDeliveryTimeout(15 * time.Second),
		})...)
		if err != nil {
			panic(fmt.Sprintf("copier %s: %v", name, err)) // options that do not go together
		}
		until, cancel := context.WithTimeout(ctx, 10*time.Second+time.Duration(w.rng.Int64N(int64(60*time.Second))))
		for err = nil; err == nil && until.Err() == nil; {
			err = w.copy(until, s)
		}
		cancel()
		if err != nil {
			w.h.trace.addf("%s: %v", name, err)
		}
		depart(s.Client())
	}
}

func (w *copier) copy(ctx context.Context, s *kgo.GroupTransactSession) error {
	fetches := s.PollRecords(ctx, 200)
	if ctx.Err() != nil {
		return nil
	}
	if err := outOfRange(fetches); err != nil || fetches.NumRecords() == 0 {
		return err
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	var failed error
	_, generation := s.Client().GroupMetadata()
	fetches.EachRecord(func(r *kgo.Record) {
		if next := w.next[r.Partition]; r.Offset != next {
			w.h.trace.addf("%s: in generation %d partition %d at %d, was at %d", w.name, generation, r.Partition, r.Offset, next)
		}
		w.next[r.Partition] = r.Offset + 1
		s.Produce(ctx, &kgo.Record{Topic: w.to, Partition: r.Partition, Key: r.Key, Value: r.Value}, func(_ *kgo.Record, err error) {
			failed = errors.Join(failed, err) // promises are called one by one
		})
	})
	end := kgo.TransactionEndTry(true)
	if err := s.Client().Flush(ctx); err != nil || failed != nil || w.rng.IntN(20) == 0 {
		end = kgo.TryAbort
	}
	within, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	committed, err := s.End(within, end)
	if err != nil || !committed {
		w.h.trace.addf("%s: the transaction up to %v is not committed: %v", w.name, w.next, err)
	}
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	if committed {
		w.h.count("copied", fetches.NumRecords())
	}
	return failed
}

// outOfRange is the error of a partition that ends before its committed offset. A leader that was deposed and cut off, and that a new client asks first, says so. A client that resets its
// offset then begins anew, as on Apache Kafka.
func outOfRange(fetches kgo.Fetches) error {
	for _, f := range fetches.Errors() {
		if errors.Is(f.Err, kerr.OffsetOutOfRange) {
			return fmt.Errorf("%s-%d: %w", f.Topic, f.Partition, f.Err)
		}
	}
	return nil
}

func (w *copier) wind(context.Context) error { return nil }

// scatter writes transactions of a few records to many partitions, of which all are seen or none.
type scatter struct {
	c          *cluster
	h          *history
	name       string
	topic      string
	partitions int32
	rng        *rand.Rand
	outcomes   map[string]outcome // by transaction
}

type outcome struct {
	records int
	state   string // committed, aborted, or unknown
}

func (c *cluster) scatter(h *history, name, topic string, partitions int32) *scatter {
	return &scatter{c, h, name, topic, partitions, rand.New(rand.NewPCG(c.seed, hash(name))), map[string]outcome{}}
}

func (w *scatter) run(ctx context.Context) {
	n := 0
	for life := 1; ctx.Err() == nil; life++ {
		client := w.c.client(fmt.Sprintf("%s.%d", w.name, life), kgo.TransactionalID(w.name), kgo.TransactionTimeout(15*time.Second),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1), kgo.ProduceRequestTimeout(5*time.Second), kgo.RecordDeliveryTimeout(15*time.Second))
		for ctx.Err() == nil {
			n++
			id := fmt.Sprintf("%s/%d", w.name, n)
			o, err := w.transaction(ctx, client, id)
			w.outcomes[id] = o
			w.h.count("transactions "+o.state, 1)
			if err != nil {
				w.h.trace.addf("%s: %s: %v", id, o.state, err)
				break
			}
			sleep(ctx, time.Duration(w.rng.Int64N(int64(200*time.Millisecond))))
		}
		depart(client)
	}
}

func (w *scatter) transaction(ctx context.Context, client *kgo.Client, id string) (outcome, error) {
	o := outcome{records: 1 + w.rng.IntN(5), state: "aborted"}
	if err := client.BeginTransaction(); err != nil {
		return o, fmt.Errorf("begin: %w", err)
	}
	promise := kgo.AbortingFirstErrPromise(client) // guarded: after a flush that was cut short there are more to come
	for i := range o.records {
		r := &kgo.Record{Topic: w.topic, Partition: w.rng.Int32N(w.partitions), Value: fmt.Appendf(nil, "%s %d", id, i)}
		client.Produce(ctx, r, promise.Promise())
	}
	err := client.Flush(ctx)
	failed := promise.Err()
	commit := err == nil && failed == nil && w.rng.IntN(4) > 0
	if commit {
		o.state = "unknown"
	}
	within, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := client.EndTransaction(within, kgo.TransactionEndTry(commit)); err != nil {
		return o, fmt.Errorf("end: %w", err)
	}
	if commit {
		o.state = "committed"
	}
	return o, failed
}

func (w *scatter) wind(context.Context) error { return nil }

// check compares what a reader of committed records got with the outcomes.
func (w *scatter) check(values []string) {
	got := map[string]int{}
	for _, v := range values {
		id, _, _ := strings.Cut(v, " ")
		if strings.HasPrefix(id, w.name+"/") {
			got[id]++
		}
	}
	for id, o := range w.outcomes {
		switch n := got[id]; {
		case o.state == "committed" && n != o.records, o.state == "aborted" && n != 0, n != 0 && n != o.records:
			w.h.violate("transaction %s is %s, of its %d records %d are seen", id, o.state, o.records, n)
		}
	}
}
