package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// transact runs one transaction of values in partitions of a topic.
func transact(t *testing.T, client *kgo.Client, topic string, commit bool, values ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		t.Fatalf("end of a transaction: %v", err)
	}
}

func TestTransactionsAreSeenWhenCommitted(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	createTopic(t, b, "topic", 3)
	producer := newClient(t, b, kgo.TransactionalID("tx"))
	var want []string
	for i := range 10 {
		values := numbered(fmt.Sprint("transaction-", i), 20)
		commit := i%3 != 1
		transact(t, producer, "topic", commit, values...)
		if commit {
			want = append(want, values...)
		}
	}
	got := consume(t, newClient(t, b, kgo.ConsumeTopics("topic"), kgo.FetchIsolationLevel(kgo.ReadCommitted())), len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("consumed %d values, want %d committed ones", len(got), len(want))
	}
}

func TestATransactionOutlivesTheBroker(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	createTopic(t, b, "topic", 2)
	producer := newClient(t, b, kgo.TransactionalID("tx"))
	transact(t, producer, "topic", true, numbered("before", 10)...)
	ctx := t.Context()
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	var records []*kgo.Record
	for _, v := range numbered("over", 10) {
		records = append(records, &kgo.Record{Topic: "topic", Key: []byte(v), Value: []byte(v)})
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.Restart(t)
	if err := producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatalf("commit after a restart: %v", err)
	}
	got := consume(t, newClient(t, b, kgo.ConsumeTopics("topic"), kgo.FetchIsolationLevel(kgo.ReadCommitted())), 20)
	if len(got) != 20 {
		t.Errorf("consumed %d values, want 20", len(got))
	}
}

func TestASecondProducerFencesTheFirst(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	createTopic(t, b, "topic", 1)
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	first := newClient(t, b, kgo.TransactionalID("tx"))
	transact(t, first, "topic", true, "one")
	if err := first.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := first.ProduceSync(ctx, &kgo.Record{Topic: "topic", Value: []byte("never seen")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	second := newClient(t, b, kgo.TransactionalID("tx"))
	transact(t, second, "topic", true, "two")
	err := first.EndTransaction(ctx, kgo.TryCommit)
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("commit of the fenced producer: %v", err)
	}
	got := consume(t, newClient(t, b, kgo.ConsumeTopics("topic"), kgo.FetchIsolationLevel(kgo.ReadCommitted())), 2)
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("consumed %v", got)
	}
}

func TestATransactionThatTakesTooLong(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t, servertest.With("transaction.abort.timed.out.transaction.cleanup.interval.ms", "100"))
	createTopic(t, b, "topic", 1)
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	client := newClient(t, b, kgo.TransactionalID("tx"), kgo.TransactionTimeout(2*time.Second))
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "topic", Value: []byte("too late")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(newClient(t, b))
	for {
		d, err := admin.DescribeTransactions(ctx, "tx")
		if err != nil {
			t.Fatal(err)
		}
		if d["tx"].State == "CompleteAbort" {
			break
		}
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err == nil {
		t.Error("a transaction that was aborted could be committed")
	}
	listed, err := admin.ListTransactions(ctx, nil, []string{"CompleteAbort"})
	if err != nil || !slices.Equal(listed.TransactionalIDs(), []string{"tx"}) {
		t.Errorf("listed %v, %v", listed, err)
	}
}

// TestConsumeTransformProduce copies a topic in transactions that commit the offsets of their input.
func TestConsumeTransformProduce(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t)
	createTopic(t, b, "in", 3)
	createTopic(t, b, "out", 2)
	want := numbered("v", 300)
	produce(t, newClient(t, b), "in", want...)
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	copies := 0
	for round := 0; copies < len(want); round++ {
		session, err := kgo.NewGroupTransactSession(
			kgo.SeedBrokers(b.Addr), kgo.TransactionalID("copier"), kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics("in"),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(600), kgo.FetchMaxBytes(1000),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		)
		if err != nil {
			t.Fatal(err)
		}
		for poll := 0; poll < 4 && copies < len(want); poll++ {
			fetches := session.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			if err := session.Begin(); err != nil {
				t.Fatal(err)
			}
			n := 0
			fetches.EachRecord(func(r *kgo.Record) {
				n++
				session.Produce(ctx, &kgo.Record{Topic: "out", Key: r.Key, Value: r.Value}, nil)
			})
			committed, err := session.End(ctx, kgo.TransactionEndTry(poll != 1)) // the second is aborted, and read again
			if err != nil {
				t.Fatal(err)
			}
			if committed {
				copies += n
			}
		}
		session.Close() // what was polled and not committed comes again
	}
	got := consume(t, newClient(t, b, kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted())), len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d copies of %d values, or other ones", len(got), len(want))
	}
}
