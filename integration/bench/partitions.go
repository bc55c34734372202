package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// partitionTopics of partitionsEach partitions are created, one topic a request.
	partitionTopics = 20
	partitionsEach  = 500
	partitionsLimit = 20 * time.Minute
)

func partitionCases() []benchCase {
	return []benchCase{{
		name: "partitions-10000", about: fmt.Sprintf("%d partitions: created, %d a request, until all have an end offset; resident memory more than before; one record to each; a clean stop; a "+
			"start on that data until the first record is acknowledged, and until all have an end offset", partitionTopics*partitionsEach, partitionsEach),
		metrics: []metric{
			{"create", "s", false}, {"create CPU", "s", false}, {"memory", "KB each", false}, {"stop", "s", false}, {"stop CPU", "s", false}, {"restart", "s", false}, {"restart, all", "s", false},
			{"restart CPU", "s", false}, {"memory after", "MB", false},
		},
		rounds: 1, without: []string{keyLimit, keyKfake}, limit: partitionsLimit, fresh: partitionsRound,
	}}
}

func partitionsRound(ctx context.Context, p *peer) (sample, error) {
	s, before, err := idleServer(ctx, p)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	created, err := s.spend(func() error {
		for i := range partitionTopics {
			if err := createTopic(ctx, s.addr, partitionTopic(i), partitionsEach); err != nil {
				return err
			}
		}
		return awaitPartitions(ctx, s)
	})
	if err != nil {
		return nil, err
	}
	if err := writeEach(ctx, s); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	memory, err := residentBytes(s.pid())
	if err != nil {
		return nil, err
	}
	out := sample{"create": created.wall.Seconds(), "create CPU": created.cpu.Seconds(), "memory": float64(memory-before) / 1e3 / partitionTopics / partitionsEach}
	running, err := cpuTime(s.pid())
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	s.stop()
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return nil, fmt.Errorf("%s did not stop cleanly within %v", p.name, stopLimit)
	}
	out["stop"], out["stop CPU"] = time.Since(begin).Seconds(), (s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime() - running).Seconds()
	begin = time.Now()
	first, err := firstRecord(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := awaitPartitions(ctx, s); err != nil {
		return nil, err
	}
	out["restart"], out["restart, all"] = first.Seconds(), time.Since(begin).Seconds()
	spent, err := cpuTime(s.pid())
	if err != nil {
		return nil, err
	}
	memory, err = residentBytes(s.pid())
	out["restart CPU"], out["memory after"] = spent.Seconds(), float64(memory)/1e6
	return out, err
}

func partitionTopic(i int) string { return fmt.Sprintf("partitions-%d", i) }

// awaitPartitions asks for the end offset of every partition until each has been answered.
func awaitPartitions(ctx context.Context, s *server) error {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return err
	}
	defer w.close()
	for i := range partitionTopics {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID = 6, -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = partitionTopic(i)
		for p := range int32(partitionsEach) {
			q := kmsg.NewListOffsetsRequestTopicPartition()
			q.Partition, q.Timestamp = p, -1
			t.Partitions = append(t.Partitions, q)
		}
		req.Topics = append(req.Topics, t)
		for {
			resp := kmsg.NewPtrListOffsetsResponse()
			resp.Version = req.Version
			if err := w.exchange(req, resp); err != nil {
				return err
			}
			var refused error
			for _, q := range resp.Topics[0].Partitions {
				if refused = kerr.ErrorForCode(q.ErrorCode); refused != nil {
					break
				}
			}
			if refused == nil {
				break
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return errors.Join(refused, err)
			}
		}
	}
	return nil
}

// writeEach produces one record to every partition, a topic a request.
func writeEach(ctx context.Context, s *server) error {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return err
	}
	defer w.close()
	batch := newBatch(1, 100)
	for i := range partitionTopics {
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = produceVersion, -1, 30_000
		t := kmsg.NewProduceRequestTopic()
		t.Topic = partitionTopic(i)
		for p := range int32(partitionsEach) {
			t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: p, Records: batch})
		}
		req.Topics = append(req.Topics, t)
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = req.Version
		if err := w.exchange(req, resp); err != nil {
			return err
		}
		for _, q := range resp.Topics[0].Partitions {
			if err := kerr.ErrorForCode(q.ErrorCode); err != nil {
				return fmt.Errorf("%s-%d: %w", t.Topic, q.Partition, err)
			}
		}
	}
	return nil
}
