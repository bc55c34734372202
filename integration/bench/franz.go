package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// clientBytes is what the client libraries produce or consume in a round, in records of largeValue bytes in clientParts partitions.
	clientBytes = 256 << 20
	clientParts = 16
	clientCount = 4
)

// clientRecords is how many records that is.
const clientRecords = clientBytes / largeValue

func franzCases() []benchCase {
	const topic = "franz-consume"
	return []benchCase{
		{
			name: "franz-produce", about: fmt.Sprintf("%d producers of franz-go with its defaults (idempotent, acks=all), not compressed, 1 KB records to %d partitions", clientCount, clientParts),
			metrics: throughput, rounds: 3, without: []string{keyLimit}, measure: franzProduce,
		},
		{
			name: topic, about: fmt.Sprintf("a consumer group of %d members of franz-go reads %d partitions of 1 KB records, from joining to the last record", clientCount, clientParts),
			metrics: throughput, rounds: 3, without: []string{keyLimit},
			prepare: func(ctx context.Context, s *server) error { return fillRecords(ctx, s, topic) },
			measure: func(ctx context.Context, s *server) (sample, error) { return franzConsume(ctx, s, topic) },
		},
	}
}

// fillRecords writes clientRecords records, evenly to clientParts partitions.
func fillRecords(ctx context.Context, s *server, topic string) error {
	if err := createTopic(ctx, s.addr, topic, clientParts); err != nil {
		return err
	}
	const inBatch = 64
	batch := newBatch(inBatch, largeValue)
	for i := range clientParts {
		p, err := newProducer(ctx, s, topic, int32(i), batch, inBatch)
		if err != nil {
			return err
		}
		err = p.run(clientRecords/clientParts/inBatch - 1) // newProducer has sent one
		p.w.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func franzProduce(ctx context.Context, s *server) (sample, error) {
	topic := topicName("franz")
	if err := createTopic(ctx, s.addr, topic, clientParts); err != nil {
		return nil, err
	}
	value := make([]byte, largeValue)
	spent, err := s.spend(func() error {
		return inParallel(clientCount, func(int) error {
			client, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
				kgo.UnknownTopicRetries(-1), kgo.RecordPartitioner(kgo.UniformBytesPartitioner(64<<10, false, false, nil)))
			if err != nil {
				return err
			}
			defer client.Close()
			limited, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			for range clientRecords / clientCount {
				client.Produce(limited, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
					if err != nil {
						cancel(err)
					}
				})
			}
			return errors.Join(client.Flush(ctx), context.Cause(limited))
		})
	})
	if err != nil {
		return nil, err
	}
	result, err := throughputOf(s, spent, clientBytes)
	if err != nil {
		return nil, err
	}
	return result, deleteTopic(ctx, s.addr, topic)
}

func franzConsume(ctx context.Context, s *server, topic string) (sample, error) {
	group := topicName("franz")
	var read atomic.Int64
	spent, err := s.spend(func() error {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		return inParallel(clientCount, func(int) error {
			client, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
				kgo.DisableAutoCommit())
			if err != nil {
				return err
			}
			defer client.Close()
			for {
				fetches := client.PollFetches(limited)
				if read.Add(int64(fetches.NumRecords())) >= clientRecords {
					cancel()
					return nil
				}
				if limited.Err() != nil {
					return ctx.Err()
				}
				if err := fetches.Err(); err != nil {
					return err
				}
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return throughputOf(s, spent, clientBytes)
}
