package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	steadyTopic     = "steady"
	steadyParts     = 4
	steadyProducers = 4
	steadyRate      = 1000 // records a second of each producer
	steadyValue     = 500  // bytes
	steadyTick      = 10 * time.Millisecond
)

// steady are producers of numbered records, and what is known about these.
type steady struct {
	addr string
	k    *kinds

	mu    sync.Mutex
	acked [steadyProducers][steadyParts]int64 // records acknowledged; guarded by mu
	read  [steadyProducers][steadyParts]int64 // records read, all in order; guarded by mu
}

func newClient(addr string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RecordRetries(1 << 30), kgo.UnknownTopicRetries(-1), kgo.RequestRetries(1 << 30), kgo.RetryTimeout(5 * time.Minute),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
}

// produce writes records to all partitions until ctx ends; then it waits for their acknowledgements.
func (s *steady) produce(ctx context.Context, id int) error {
	name := fmt.Sprint("steady producer ", id)
	client, err := newClient(s.addr, kgo.DefaultProduceTopic(steadyTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return err
	}
	defer client.Close()
	s.k.begin(name)
	var next [steadyParts]int64
	begin, sent := time.Now(), 0
	for wait(ctx, steadyTick) == nil {
		for due := int(time.Since(begin) * steadyRate / time.Second); sent < due; sent++ {
			partition := sent / 20 % steadyParts
			value := make([]byte, steadyValue)
			binary.BigEndian.PutUint64(value, uint64(id))
			binary.BigEndian.PutUint64(value[8:], uint64(next[partition]))
			next[partition]++
			client.Produce(context.WithoutCancel(ctx), &kgo.Record{Partition: int32(partition), Value: value}, func(r *kgo.Record, err error) {
				if err != nil {
					s.k.fail(fmt.Errorf("%s: %w", name, err))
					return
				}
				s.mu.Lock()
				s.acked[id][r.Partition]++
				s.mu.Unlock()
				s.k.mark(name, 1)
			})
		}
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancel()
	return client.Flush(limited)
}

// check reads all partitions from the start until ctx ends: each producer's records are there once and in order.
func (s *steady) check(ctx context.Context) error {
	const name = "checker"
	from := map[int32]kgo.Offset{}
	for p := range int32(steadyParts) {
		from[p] = kgo.NewOffset().At(0)
	}
	client, err := newClient(s.addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{steadyTopic: from}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer client.Close()
	s.k.begin(name)
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetchFailure(fetches); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.k.mark(name, fetches.NumRecords())
		for r := range fetches.RecordsAll() {
			if err := s.see(r); err != nil {
				return err
			}
		}
	}
}

func (s *steady) see(r *kgo.Record) error {
	if len(r.Value) != steadyValue {
		return fmt.Errorf("partition %d, offset %d: a record of %d bytes", r.Partition, r.Offset, len(r.Value))
	}
	id, number := binary.BigEndian.Uint64(r.Value), int64(binary.BigEndian.Uint64(r.Value[8:]))
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := s.read[id][r.Partition]; number != want {
		return fmt.Errorf("partition %d, offset %d: record %d of producer %d, %d was to come", r.Partition, r.Offset, number, id, want)
	}
	s.read[id][r.Partition]++
	return nil
}

// drained waits until all that was acknowledged has been read.
func (s *steady) drained(ctx context.Context) error {
	for {
		s.mu.Lock()
		missing := int64(0)
		for id := range s.acked {
			for p := range s.acked[id] {
				missing += max(0, s.acked[id][p]-s.read[id][p])
			}
		}
		s.mu.Unlock()
		if missing == 0 {
			return nil
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%d acknowledged records were not read: %w", missing, err)
		}
	}
}

// fetchFailure is what a consumer cannot live with; the client goes on by itself after the others.
func fetchFailure(fetches kgo.Fetches) error {
	var out error
	fetches.EachError(func(topic string, partition int32, err error) {
		if killedWhileGreeting(err) {
			return
		}
		var lost *kgo.ErrDataLoss
		if errors.As(err, &lost) {
			err = fmt.Errorf("data loss: %w", err)
		}
		out = errors.Join(out, fmt.Errorf("%s-%d: %w", topic, partition, err))
	})
	return out
}

// killedWhileGreeting: the client takes the end of a connection that has just begun for one that wants TLS, and tells it; it connects again all the same.
func killedWhileGreeting(err error) bool {
	var first *kgo.ErrFirstReadEOF
	return errors.As(err, &first)
}
