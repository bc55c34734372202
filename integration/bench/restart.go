package main

import (
	"context"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// restartTopics topics of one partition, each with a record, are there when the server starts.
	restartTopics = 1000
	restartLimit  = 5 * time.Minute // of a round
)

func restartCases() []benchCase {
	return []benchCase{{
		name: "restart-1000", about: "from exec to the first acknowledged record with 1,000 topics of one record each: after a clean stop, and after kill -9",
		metrics: []metric{{"clean", "s", false}, {"clean CPU", "s", false}, {"killed", "s", false}, {"killed CPU", "s", false}}, rounds: 2,
		without: []string{keyLimit, keyKfake}, limit: restartLimit, fresh: restartRound,
	}}
}

func restartRound(ctx context.Context, p *peer) (sample, error) {
	s, err := p.install()
	if err != nil {
		return nil, err
	}
	defer s.remove()
	if _, err := firstRecord(ctx, s); err != nil {
		return nil, err
	}
	if err := fillTopics(ctx, s); err != nil {
		return nil, err
	}
	out := sample{}
	s.stop()
	for _, after := range []string{"clean", "killed"} {
		took, err := firstRecord(ctx, s)
		if err != nil {
			return nil, err
		}
		spent, err := cpuTime(s.pid())
		if err != nil {
			return nil, err
		}
		out[after], out[after+" CPU"] = took.Seconds(), spent.Seconds()
		if err := s.kill(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fillTopics creates restartTopics and writes a record to each.
func fillTopics(ctx context.Context, s *server) error {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return err
	}
	defer w.close()
	batch := newBatch(1, 100)
	for first := 0; first < restartTopics; first += topicsAtOnce {
		create := createRequest("restart", first, topicsAtOnce)
		created := kmsg.NewPtrCreateTopicsResponse()
		created.Version = create.Version
		if err := w.exchange(create, created); err != nil {
			return err
		}
		for _, t := range created.Topics {
			p, err := newProducer(ctx, s, t.Topic, 0, batch, 1)
			if err != nil {
				return err
			}
			p.w.close()
		}
	}
	return nil
}

// kill ends the process at once; its data stays.
func (s *server) kill() error {
	err := s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.exited
	return err
}
