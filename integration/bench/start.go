package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// settle is how long a server is left alone before its memory is read.
	settle = 3 * time.Second
	// idleConns is how many connections the connections case opens.
	idleConns = 5000
)

func startCases() []benchCase {
	return []benchCase{
		{
			name: "start", about: "from exec to the first acknowledged record of a new topic; again on the data of that run",
			metrics: []metric{{"first", "s", false}, {"again", "s", false}}, rounds: 3, without: []string{keyLimit}, fresh: startRound,
		},
		{
			name: "memory-idle", about: fmt.Sprintf("resident memory %v after the first record", settle),
			metrics: []metric{{"memory", "MB", false}}, rounds: 1, without: []string{keyLimit}, fresh: idleRound,
		},
		{
			name: "connections", about: fmt.Sprintf("resident memory for each of %d connections that asked once for the API versions", idleConns),
			metrics: []metric{{"memory", "KB each", false}}, rounds: 1, without: []string{keyLimit}, fresh: connectionsRound,
		},
	}
}

func startRound(ctx context.Context, p *peer) (sample, error) {
	s, err := p.install()
	if err != nil {
		return nil, err
	}
	defer s.remove()
	first, err := firstRecord(ctx, s)
	if err != nil {
		return nil, err
	}
	s.stop()
	again, err := firstRecord(ctx, s)
	return sample{"first": first.Seconds(), "again": again.Seconds()}, err
}

func idleRound(ctx context.Context, p *peer) (sample, error) {
	s, memory, err := idleServer(ctx, p)
	if err != nil {
		return nil, err
	}
	s.remove()
	return sample{"memory": float64(memory) / 1e6}, nil
}

// idleServer starts a server, which has taken a record, and returns its memory when it has settled.
func idleServer(ctx context.Context, p *peer) (*server, int64, error) {
	s, err := p.install()
	if err != nil {
		return nil, 0, err
	}
	memory := int64(0)
	if _, err = firstRecord(ctx, s); err == nil {
		if err = pause(ctx, settle); err == nil {
			memory, err = residentBytes(s.pid())
		}
	}
	if err != nil {
		s.remove()
		return nil, 0, err
	}
	return s, memory, nil
}

// connectionsRound opens connections to a server that has nothing else to do.
func connectionsRound(ctx context.Context, p *peer) (sample, error) {
	s, before, err := idleServer(ctx, p)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	req := kmsg.NewPtrApiVersionsRequest()
	resp := kmsg.NewPtrApiVersionsResponse()
	question := frame(req)
	for range idleConns {
		w, err := dial(ctx, s.addr)
		if err != nil {
			return nil, err
		}
		defer w.close()
		if err := w.send(question); err != nil {
			return nil, err
		}
		if err := w.receive(resp); err != nil {
			return nil, err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, err
		}
		w.in = nil
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	after, err := residentBytes(s.pid())
	return sample{"memory": float64(after-before) / 1e3 / idleConns}, err
}

// firstRecord starts s and returns how long it took until a record was acknowledged.
func firstRecord(ctx context.Context, s *server) (time.Duration, error) {
	begin := time.Now()
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 2 * time.Millisecond }), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	err = client.ProduceSync(ctx, &kgo.Record{Topic: "bench", Value: []byte("first")}).FirstErr()
	return time.Since(begin), err
}
