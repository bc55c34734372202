package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	latencyFor    = 6 * time.Second
	latencyWarmUp = 1 * time.Second
	// latencyTick is how often records are sent; each is measured from the tick at which it was due.
	latencyTick  = time.Millisecond
	latencyValue = 100
)

func latencyCases() []benchCase {
	at := func(rate int) benchCase {
		return benchCase{
			name: fmt.Sprintf("latency-%d", rate), about: fmt.Sprintf("end to end at %d messages of 100 B a second, one producer and one consumer of franz-go, no linger", rate),
			metrics: []metric{{"p50", "ms", false}, {"p99", "ms", false}, {"p99.9", "ms", false}, {"CPU", "µs each", false}},
			rounds:  3, without: []string{keyLimit},
			measure: func(ctx context.Context, s *server) (sample, error) { return latencyRound(ctx, s, rate) },
		}
	}
	return []benchCase{at(1000), at(20_000)}
}

// latencyRound sends records at a fixed rate and consumes them.
func latencyRound(ctx context.Context, s *server, rate int) (sample, error) {
	topic := topicName("latency")
	if err := createTopic(ctx, s.addr, topic, 1); err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	warm, total := int(latencyWarmUp.Seconds())*rate, int((latencyWarmUp+latencyFor).Seconds())*rate
	var took []time.Duration
	spent, err := s.spend(func() error {
		sending := make(chan error, 1)
		go func() { sending <- sendAtRate(ctx, producer, rate, total) }()
		var err error
		took, err = receiveAll(ctx, consumer, total)
		return errors.Join(err, <-sending)
	})
	if err != nil {
		return nil, err
	}
	took = took[warm:]
	slices.Sort(took)
	ms := func(quantile float64) float64 { return took[int(float64(len(took))*quantile)].Seconds() * 1e3 }
	return sample{
		"p50": ms(0.5), "p99": ms(0.99), "p99.9": ms(0.999), "CPU": float64(spent.cpu.Microseconds()) / float64(total),
	}, deleteTopic(ctx, s.addr, topic)
}

// sendAtRate sends n records, each with the time at which it was due.
func sendAtRate(ctx context.Context, client *kgo.Client, rate, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now()
	for sent := 0; sent < n; {
		due := min(n, int(time.Since(begin)*time.Duration(rate)/time.Second))
		for ; sent < due; sent++ {
			value := make([]byte, latencyValue)
			at := begin.Add(time.Duration(sent+1) * time.Second / time.Duration(rate))
			binary.BigEndian.PutUint64(value, uint64(at.UnixNano()))
			client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					cancel(err)
				}
			})
		}
		if err := pause(ctx, latencyTick); err != nil {
			return context.Cause(ctx)
		}
	}
	return client.Flush(ctx)
}

// receiveAll consumes n records and returns how old each was.
func receiveAll(ctx context.Context, client *kgo.Client, n int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for len(took) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		now := time.Now().UnixNano()
		fetches.EachRecord(func(r *kgo.Record) {
			took = append(took, time.Duration(now-int64(binary.BigEndian.Uint64(r.Value))))
		})
	}
	return took, nil
}
