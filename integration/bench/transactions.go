package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// A client that knows transaction.version 2 sends no AddPartitionsToTxn, and gets a new epoch with each end of a transaction.
	txnProduceVersion, txnEndVersion = 12, 5
	// transactionsFor is how long a round lasts.
	transactionsFor = 2 * time.Second
	// inPartition is how many records of a transaction go to one partition.
	inPartition = 10
	// txnRetry is the wait after the first answer that the transaction before is not complete yet; each further one waits twice as long, up to txnRetryMost.
	txnRetry, txnRetryMost = time.Millisecond, 20 * time.Millisecond
	// abortedBytes are produced for the consumption of committed records: a transaction is one batch, every abortedOf-th is aborted.
	abortedBytes, abortedOf = 256 << 20, 10
)

func transactionCases() []benchCase {
	var out []benchCase
	for _, producers := range []int{50, 1} { // fifty first, which warm a Java virtual machine up as one alone does not
		for _, records := range []int{1, 10, 100} {
			out = append(out, benchCase{
				name: fmt.Sprintf("transactions-%dx%d", producers, records),
				about: fmt.Sprintf("%d producers, transactions of %d records of 100 B in %d partitions (transaction.version 2); commit: the answer to EndTxn",
					producers, records, (records+inPartition-1)/inPartition),
				metrics: []metric{{"rate", "1/s", true}, {"CPU", "µs each", false}, {"commit p50", "ms", false}, {"commit p99", "ms", false}},
				rounds:  3, without: []string{keyLimit},
				measure: func(ctx context.Context, s *server) (sample, error) {
					return transactionsRound(ctx, s, producers, records)
				},
			})
		}
	}
	const topic = "consume-committed"
	return append(out, benchCase{
		name: topic, about: "as consume-1 with read_committed, every batch a transaction of its own, a tenth of them aborted", metrics: throughput, rounds: 3,
		without: []string{keyLimit},
		prepare: func(ctx context.Context, s *server) error { return fillCommitted(ctx, s, topic) },
		measure: func(ctx context.Context, s *server) (sample, error) { return committedRound(ctx, s, topic) },
	})
}

// transactor is a transactional producer, which sends the same batches in every transaction. It belongs to one goroutine.
type transactor struct {
	*producer
	name  string
	end   kmsg.EndTxnRequest
	ended kmsg.EndTxnResponse
}

// newTransactor finds the coordinator, and gets an id.
func newTransactor(ctx context.Context, s *server, name, topic string, partitions []int32, batch []byte, records int) (*transactor, error) {
	binary.BigEndian.PutUint16(batch[batchBody:], 1<<4) // the attribute of a transaction
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.TransactionID = txnProduceVersion, -1, 30_000, &name
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: p, Records: batch})
	}
	req.Topics = append(req.Topics, t)
	out := &transactor{producer: connected(w, req, int32(records)), name: name}
	if err := out.initialize(ctx, s); err != nil {
		w.close()
		return nil, err
	}
	return out, nil
}

func (t *transactor) initialize(ctx context.Context, s *server) error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey, find.CoordinatorType = 2, t.name, 1
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.Version, begin.TransactionalID, begin.TransactionTimeoutMillis = 4, &t.name, 60_000
	for {
		found, err := do[*kmsg.FindCoordinatorResponse](ctx, s.addr, find)
		if err != nil {
			return err
		}
		if err = kerr.ErrorForCode(found.ErrorCode); err == nil {
			got, failed := do[*kmsg.InitProducerIDResponse](ctx, s.addr, begin)
			if failed != nil {
				return failed
			}
			t.id, t.epoch = got.ProducerID, got.ProducerEpoch
			err = kerr.ErrorForCode(got.ErrorCode)
		}
		if !kerr.IsRetriable(err) {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// run does one transaction, and returns how long its end took.
func (t *transactor) run(ctx context.Context, commit bool) (time.Duration, error) {
	if err := t.again(ctx, func() error {
		if err := t.send(); err != nil {
			return err
		}
		return t.receive()
	}); err != nil {
		return 0, fmt.Errorf("produce: %w", err)
	}
	begin := time.Now()
	t.end.Version, t.end.TransactionalID, t.end.Commit = txnEndVersion, t.name, commit
	t.ended.Version = txnEndVersion
	err := t.again(ctx, func() error {
		t.end.ProducerID, t.end.ProducerEpoch = t.id, t.epoch
		if err := t.w.exchange(&t.end, &t.ended); err != nil {
			return err
		}
		return kerr.ErrorForCode(t.ended.ErrorCode)
	})
	if err != nil {
		return 0, fmt.Errorf("end: %w", err)
	}
	t.id, t.epoch, t.sequence = t.ended.ProducerID, t.ended.ProducerEpoch, 0
	return time.Since(begin), nil
}

// again repeats what is answered with CONCURRENT_TRANSACTIONS.
func (t *transactor) again(ctx context.Context, do func() error) error {
	for backoff := txnRetry; ; backoff = min(2*backoff, txnRetryMost) {
		sequence := t.sequence
		err := do()
		if !errors.Is(err, kerr.ConcurrentTransactions) && !errors.Is(err, kerr.NotLeaderForPartition) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		t.sequence = sequence
		if err := pause(ctx, backoff); err != nil {
			return err
		}
	}
}

func transactionsRound(ctx context.Context, s *server, producers, records int) (sample, error) {
	topic := topicName("transactions")
	parts := (records + inPartition - 1) / inPartition
	const all = 50
	if err := createTopic(ctx, s.addr, topic, all); err != nil {
		return nil, err
	}
	transactors := make([]*transactor, producers)
	for i := range transactors {
		partitions := make([]int32, parts)
		for j := range partitions {
			partitions[j] = int32((i + j) % all)
		}
		slices.Sort(partitions)
		t, err := newTransactor(ctx, s, fmt.Sprint("bench-", i), topic, partitions, newBatch(min(records, inPartition), 100), min(records, inPartition))
		if err != nil {
			return nil, err
		}
		defer t.w.close()
		transactors[i] = t
		if _, err := t.run(ctx, true); err != nil {
			return nil, err
		}
	}
	took := make([][]time.Duration, producers)
	rate, each, err := repeat(s, producers, transactionsFor, func(i int) error {
		d, err := transactors[i].run(ctx, true)
		took[i] = append(took[i], d)
		return err
	})
	if err != nil {
		return nil, err
	}
	every := slices.Concat(took...)
	slices.Sort(every)
	ms := func(quantile float64) float64 { return every[int(float64(len(every))*quantile)].Seconds() * 1e3 }
	return sample{"rate": rate, "CPU": each, "commit p50": ms(0.5), "commit p99": ms(0.99)}, deleteTopic(ctx, s.addr, topic)
}

// fillCommitted writes one partition.
func fillCommitted(ctx context.Context, s *server, topic string) error {
	if err := createTopic(ctx, s.addr, topic, 1); err != nil {
		return err
	}
	batch := newBatch(largeRecords, largeValue)
	t, err := newTransactor(ctx, s, "fill", topic, []int32{0}, batch, largeRecords)
	if err != nil {
		return err
	}
	defer t.w.close()
	for i := range abortedBytes / len(batch) {
		if _, err := t.run(ctx, i%abortedOf != 0); err != nil {
			return fmt.Errorf("transaction %d: %w", i, err)
		}
	}
	return nil
}

// committedRound reads up to the last stable offset.
func committedRound(ctx context.Context, s *server, topic string) (sample, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.IsolationLevel = 6, -1, 1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1, CurrentLeaderEpoch: -1}}}}
	answer, err := do[*kmsg.ListOffsetsResponse](ctx, s.addr, req)
	if err != nil {
		return nil, err
	}
	stable := answer.Topics[0].Partitions[0].Offset
	if stable <= 0 {
		return nil, fmt.Errorf("the last stable offset is %d", stable)
	}
	total := 0
	spent, err := s.spend(func() error {
		for range 2 {
			r, err := newReader(ctx, s, topic, 0, 1, 0)
			if err != nil {
				return err
			}
			n, err := r.until(stable)
			r.w.close()
			if err != nil {
				return err
			}
			total += n
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return throughputOf(s, spent, total)
}
