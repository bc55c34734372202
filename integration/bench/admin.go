package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// manyTopics are created and deleted, topicsAtOnce in a request.
	manyTopics   = 1000
	topicsAtOnce = 50
	// committers commit offsets, each for a group of its own, one request at a time for commitsFor.
	committers = 16
	commitsFor = 2500 * time.Millisecond
)

func adminCases() []benchCase {
	return []benchCase{
		{
			name: "commits", about: fmt.Sprintf("offset commits of %d groups, one partition each time", committers),
			metrics: []metric{{"rate", "1/s", true}, {"CPU", "µs each", false}}, rounds: 3, without: []string{keyLimit}, measure: commitsRound,
		},
		{
			name: "topics", about: fmt.Sprintf("%d topics created, then deleted, %d a request", manyTopics, topicsAtOnce),
			metrics: []metric{{"create", "s", false}, {"delete", "s", false}, {"CPU", "s", false}}, rounds: 2, without: []string{keyLimit},
			measure: topicsRound,
		},
	}
}

func topicsRound(ctx context.Context, s *server) (sample, error) {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	defer w.close()
	prefix := topicName("many")
	created, err := s.spend(func() error {
		return inGroups(func(i int) error {
			req := createRequest(prefix, i, topicsAtOnce)
			resp := kmsg.NewPtrCreateTopicsResponse()
			resp.Version = req.Version
			err := w.exchange(req, resp)
			for _, t := range resp.Topics {
				err = errors.Join(err, kerr.ErrorForCode(t.ErrorCode))
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	deleted, err := s.spend(func() error {
		return inGroups(func(i int) error {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version, req.TimeoutMillis = 5, 60_000
			for j := range topicsAtOnce {
				req.TopicNames = append(req.TopicNames, fmt.Sprintf("%s-%d", prefix, i+j))
			}
			resp := kmsg.NewPtrDeleteTopicsResponse()
			resp.Version = req.Version
			err := w.exchange(req, resp)
			for _, t := range resp.Topics {
				err = errors.Join(err, kerr.ErrorForCode(t.ErrorCode))
			}
			return err
		})
	})
	return sample{
		"create": created.wall.Seconds(), "delete": deleted.wall.Seconds(), "CPU": (created.cpu + deleted.cpu).Seconds(),
	}, err
}

// createRequest asks for n topics of one partition, numbered from first.
func createRequest(prefix string, first, n int) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 5, 60_000
	for i := range n {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = fmt.Sprintf("%s-%d", prefix, first+i), 1, 1
		req.Topics = append(req.Topics, t)
	}
	return req
}

// inGroups calls fn with the first number of each request's topics.
func inGroups(fn func(first int) error) error {
	for i := 0; i < manyTopics; i += topicsAtOnce {
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

// exchange sends a request and reads its answer.
func (w *wire) exchange(req kmsg.Request, resp kmsg.Response) error {
	if err := w.send(frame(req)); err != nil {
		return err
	}
	return w.receive(resp)
}

// commitsRound commits offsets as consumers without a group membership do.
func commitsRound(ctx context.Context, s *server) (sample, error) {
	topic := topicName("commits")
	if err := createTopic(ctx, s.addr, topic, 1); err != nil {
		return nil, err
	}
	wires, frames := make([]*wire, committers), make([][]byte, committers)
	for i := range wires {
		group := fmt.Sprintf("bench-%d", i)
		w, err := dial(ctx, s.addr)
		if err != nil {
			return nil, err
		}
		defer w.close()
		wires[i], frames[i] = w, frame(commitRequest(group, topic))
		if err := awaitCoordinator(ctx, s, w, group, frames[i]); err != nil {
			return nil, err
		}
	}
	rate, each, err := repeat(s, committers, commitsFor, func(i int) error { return commit(wires[i], frames[i]) })
	if err != nil {
		return nil, err
	}
	return sample{"rate": rate, "CPU": each}, deleteTopic(ctx, s.addr, topic)
}

const commitVersion = 7

func commitRequest(group, topic string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = commitVersion, group, -1
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = 1
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func commit(w *wire, frame []byte) error {
	if err := w.send(frame); err != nil {
		return err
	}
	resp := kmsg.OffsetCommitResponse{Version: commitVersion}
	if err := w.receive(&resp); err != nil {
		return err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return errors.New("an answer without the partition")
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// awaitCoordinator finds the group's coordinator, which creates the topic of offsets, and commits once.
func awaitCoordinator(ctx context.Context, s *server, w *wire, group string, question []byte) error {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKey = 2, group
	for {
		resp, err := do[*kmsg.FindCoordinatorResponse](ctx, s.addr, req)
		if err != nil {
			return err
		}
		if err = kerr.ErrorForCode(resp.ErrorCode); err == nil {
			err = commit(w, question)
		}
		if !kerr.IsRetriable(err) {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
