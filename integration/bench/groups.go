package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// loadedCommits are in one partition of __consumer_offsets when the server starts: of loadedPartitions partitions, again and again.
	loadedCommits    = 1_000_000
	loadedPartitions = 100
	// manyGroups are consumer groups of one member, manyMembers are in one group, when memory is read.
	manyGroups  = 5000
	manyMembers = 2000
)

func groupCases() []benchCase {
	return []benchCase{
		{
			name: "load-offsets", about: fmt.Sprintf("a restart with %d commits in one partition of __consumer_offsets: from exec until an offset is answered; more than before the commits", loadedCommits),
			metrics: []metric{{"answer", "s", false}, {"time", "s", false}, {"CPU", "s", false}}, rounds: 2, without: []string{keyLimit, keyKfake}, fresh: loadRound,
		},
		{
			name: "memory-groups", about: fmt.Sprintf("resident memory for each of %d consumer groups of one member, and of %d members of one group", manyGroups, manyMembers),
			metrics: []metric{{"group", "KB each", false}, {"member", "KB each", false}}, rounds: 2, without: []string{keyLimit, keyKfake}, fresh: memoryRound,
		},
	}
}

// loadRound fills a partition with offsets, restarts the server, and waits for them.
func loadRound(ctx context.Context, p *peer) (sample, error) {
	s, err := p.install()
	if err != nil {
		return nil, err
	}
	defer s.remove()
	if _, err := firstRecord(ctx, s); err != nil {
		return nil, err
	}
	const topic, group = "offsets", "loaded"
	if err := createTopic(ctx, s.addr, topic, loadedPartitions); err != nil {
		return nil, err
	}
	if err := fillOffsets(ctx, s, group, topic, 1); err != nil {
		return nil, err
	}
	empty, err := restart(ctx, s, group, topic)
	if err != nil {
		return nil, err
	}
	if err := fillOffsets(ctx, s, group, topic, loadedCommits/loadedPartitions); err != nil {
		return nil, err
	}
	loaded, err := restart(ctx, s, group, topic)
	if err != nil {
		return nil, err
	}
	return sample{
		"answer": loaded.wall.Seconds(), "time": max(loaded.wall-empty.wall, time.Millisecond).Seconds(),
		"CPU": max(loaded.cpu-empty.cpu, tick).Seconds(),
	}, nil
}

// restart stops and starts a server, and returns what it spent until it answers with a group's offset.
func restart(ctx context.Context, s *server, group, topic string) (usage, error) {
	s.stop()
	begin := time.Now()
	if err := s.start(ctx); err != nil {
		return usage{}, err
	}
	if err := awaitOffsets(ctx, s, group, topic); err != nil {
		return usage{}, err
	}
	wall := time.Since(begin)
	cpu, err := cpuTime(s.pid())
	return usage{cpu: cpu, wall: wall}, err
}

// fillOffsets commits the offsets of all partitions of a topic, again and again.
func fillOffsets(ctx context.Context, s *server, group, topic string, times int) error {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return err
	}
	defer w.close()
	if err := awaitCoordinator(ctx, s, w, group, frame(commitRequest(group, topic))); err != nil {
		return err
	}
	req := commitRequest(group, topic)
	req.Topics[0].Partitions = make([]kmsg.OffsetCommitRequestTopicPartition, loadedPartitions)
	for i := range times {
		for p := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[p] = kmsg.OffsetCommitRequestTopicPartition{Partition: int32(p), Offset: int64(i), LeaderEpoch: -1}
		}
		resp := kmsg.OffsetCommitResponse{Version: commitVersion}
		if err := w.exchange(req, &resp); err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

// awaitOffsets asks for a group's offset until it is answered.
func awaitOffsets(ctx context.Context, s *server, group, topic string) error {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 5, group
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0}}}
	for {
		resp, err := do[*kmsg.OffsetFetchResponse](ctx, s.addr, req)
		if err == nil {
			if err := kerr.ErrorForCode(resp.ErrorCode); err == nil || !kerr.IsRetriable(err) {
				return err
			}
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// memoryRound reads the memory of a server before and after it gets groups, then members.
func memoryRound(ctx context.Context, p *peer) (sample, error) {
	s, _, err := idleServer(ctx, p)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	const topic = "groups"
	if err := createTopic(ctx, s.addr, topic, 100); err != nil {
		return nil, err
	}
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := awaitCoordinator(ctx, s, w, "first", frame(commitRequest("first", topic))); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	grow := func(n int, group func(i int) string) (float64, error) {
		before, err := residentBytes(s.pid())
		if err != nil {
			return 0, err
		}
		for i := range n {
			m := &consumerMember{wire: w, group: group(i), topic: topic}
			if _, err := m.beat(); err != nil {
				return 0, err
			}
		}
		if err := pause(ctx, settle); err != nil {
			return 0, err
		}
		after, err := residentBytes(s.pid())
		return float64(after-before) / 1e3 / float64(n), err
	}
	groups, err := grow(manyGroups, func(i int) string { return fmt.Sprint("group-", i) })
	if err != nil {
		return nil, err
	}
	members, err := grow(manyMembers, func(int) string { return "large" })
	return sample{"group": groups, "member": members}, err
}
