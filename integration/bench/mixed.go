package main

import (
	"context"
	"errors"
	"time"
)

const (
	// mixedParts partitions each have a producer, a tail that reads what it writes, and a catch-up reader of what was written long before.
	mixedParts = 4
	// mixedBytes is what each of the twelve moves.
	mixedBytes = 64 << 20
)

func mixedCases() []benchCase {
	const old = "consume-mixed"
	return []benchCase{{
		name: old, about: "4 producers, 4 consumers of what they write and 4 that catch up with old data, all at full speed, 64 MiB each; the rates are each kind's own",
		metrics: []metric{
			{"CPU", "s/GB", false}, {"produce", "MB/s", true}, {"tail", "MB/s", true}, {"catch-up", "MB/s", true}, {"memory after", "MB", false},
		},
		rounds: 3, without: []string{keyLimit},
		prepare: func(ctx context.Context, s *server) error { return fillTopic(ctx, s, old, mixedParts) },
		measure: func(ctx context.Context, s *server) (sample, error) { return mixedRound(ctx, s, old) },
	}}
}

func mixedRound(ctx context.Context, s *server, old string) (sample, error) {
	topic := topicName("mixed")
	if err := createTopic(ctx, s.addr, topic, mixedParts); err != nil {
		return nil, err
	}
	batch := newBatch(largeRecords, largeValue)
	batches := mixedBytes / len(batch)
	records := int64(batches * largeRecords)
	producers, tails, late := make([]*producer, mixedParts), make([]*reader, mixedParts), make([]*reader, mixedParts)
	for i := range int32(mixedParts) {
		var failed [3]error
		producers[i], failed[0] = newProducer(ctx, s, topic, i, batch, largeRecords)
		tails[i], failed[1] = newReader(ctx, s, topic, i, 0, largeRecords) // behind newProducer's batch
		late[i], failed[2] = newReader(ctx, s, old, i, 0, 0)
		if err := errors.Join(failed[:]...); err != nil {
			return nil, err
		}
		defer producers[i].w.close()
		defer tails[i].w.close()
		defer late[i].w.close()
	}
	kinds := []func(i int) error{
		func(i int) error { return producers[i].run(batches) },
		func(i int) error { _, err := tails[i].until(records + largeRecords); return err },
		func(i int) error { _, err := late[i].until(records); return err },
	}
	took := make([]time.Duration, len(kinds))
	spent, err := s.spend(func() error {
		begin := time.Now()
		return inParallel(len(kinds), func(kind int) error {
			err := inParallel(mixedParts, kinds[kind])
			took[kind] = time.Since(begin)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	each := batches * len(batch) * mixedParts
	result, err := throughputOf(s, spent, each*len(kinds))
	if err != nil {
		return nil, err
	}
	for kind, name := range []string{"produce", "tail", "catch-up"} {
		result[name] = float64(each) / 1e6 / took[kind].Seconds()
	}
	return result, deleteTopic(ctx, s.addr, topic)
}
