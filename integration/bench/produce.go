package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// The batch of the throughput cases: 64 KiB of records with values of 1 KB.
	largeRecords = 62
	largeValue   = 1024
	// inFlight is how many requests a producer has outstanding, as the stock one.
	inFlight = 5
	// roundBytes is what one round produces or consumes.
	roundBytes = 512 << 20
	// smallFor is how long a round of single records lasts.
	smallFor = 2500 * time.Millisecond
)

var throughput = []metric{
	{"CPU", "s/GB", false}, {"rate", "MB/s", true}, {"memory after", "MB", false},
}

func produceCases() []benchCase {
	produce := func(conns int, idempotent bool) func(context.Context, *server) (sample, error) {
		load := usualLoad(conns)
		load.idempotent = idempotent
		return func(ctx context.Context, s *server) (sample, error) { return produceRound(ctx, s, load) }
	}
	cases := []benchCase{
		{
			name: "produce-1", about: "1 KB records, 64 KiB batches, acks=all, 1 connection", metrics: throughput, rounds: 5,
			measure: produce(1, false),
		},
		{
			name: "produce-16", about: "the same, 16 connections to 16 partitions", metrics: throughput, rounds: 5,
			measure: produce(16, false),
		},
		{
			name: "produce-idempotent", about: "as produce-1, idempotent", metrics: throughput, rounds: 5,
			without: []string{keyLimit}, measure: produce(1, true),
		},
		{
			name: "produce-small", about: "one record of 100 B a request, acks=all, 64 connections to 16 partitions, one request each at a time",
			metrics: []metric{{"rate", "1/s", true}, {"CPU", "µs each", false}}, rounds: 3,
			measure: func(ctx context.Context, s *server) (sample, error) { return smallRound(ctx, s, 16) },
		},
	}
	for _, partitions := range []int32{1, 16, 64} {
		cases = append(cases, benchCase{
			name: fmt.Sprint("produce-flush-", partitions), about: fmt.Sprintf("as produce-small to %d partitions with flush.messages=1: what is acknowledged is on the disk", partitions),
			metrics: []metric{{"rate", "1/s", true}, {"CPU", "µs each", false}}, rounds: 3, without: []string{keyLimit, keyKfake},
			measure: func(ctx context.Context, s *server) (sample, error) {
				return smallRound(ctx, s, partitions, "flush.messages=1")
			},
		})
	}
	return cases
}

// producer sends one batch again and again.
type producer struct {
	w        *wire
	frame    []byte
	batches  [][]byte // parts of frame, one for each partition
	records  int32
	id       int64 // -1: not idempotent
	epoch    int16
	sequence int32
	resp     kmsg.ProduceResponse
}

// newProducer connects, and has one batch acknowledged, so that the partition's leader is there.
func newProducer(ctx context.Context, s *server, topic string, partition int32, batch []byte, records int32) (*producer, error) {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, -1, 30_000
	t, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return startProducer(ctx, s, req, records)
}

// startProducer connects with a request that has batches of so many records for partitions of one topic.
func startProducer(ctx context.Context, s *server, req *kmsg.ProduceRequest, records int32) (*producer, error) {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	out := connected(w, req, records)
	for {
		if err = out.send(); err == nil {
			err = out.receive()
		}
		if !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.NotLeaderForPartition) && !errors.Is(err, kerr.LeaderNotAvailable) {
			break
		}
		if err = pause(ctx, 5*time.Millisecond); err != nil {
			break
		}
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return out, nil
}

// connected is a producer that has sent nothing yet.
func connected(w *wire, req *kmsg.ProduceRequest, records int32) *producer {
	out := &producer{w: w, frame: frame(req), records: records, id: -1}
	at := 0
	for _, p := range req.Topics[0].Partitions {
		at += bytes.Index(out.frame[at:], p.Records)
		out.batches = append(out.batches, out.frame[at:at+len(p.Records)])
		at += len(p.Records)
	}
	out.resp.Version = req.Version
	return out
}

// makeIdempotent gets the producer an id.
func (p *producer) makeIdempotent(ctx context.Context, s *server) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = 4
	for {
		resp, err := do[*kmsg.InitProducerIDResponse](ctx, s.addr, req)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		if kerr.IsRetriable(err) {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		p.id, p.epoch = resp.ProducerID, resp.ProducerEpoch
		return err
	}
}

func (p *producer) send() error {
	if p.id >= 0 {
		for _, b := range p.batches {
			setProducer(b, p.id, p.epoch, p.sequence)
		}
		p.sequence += p.records
	}
	return p.w.send(p.frame)
}

func (p *producer) receive() error {
	if err := p.w.receive(&p.resp); err != nil {
		return err
	}
	if len(p.resp.Topics) != 1 || len(p.resp.Topics[0].Partitions) != len(p.batches) {
		return errors.New("an answer without the partitions")
	}
	var err error
	for _, answer := range p.resp.Topics[0].Partitions {
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
	}
	p.resp.Topics, p.resp.Brokers = nil, nil
	return err
}

// run produces n batches, up to inFlight ahead of their answers.
func (p *producer) run(n int) error {
	for sent, answered := 0, 0; answered < n; {
		if sent < n && sent-answered < inFlight {
			if err := p.send(); err != nil {
				return err
			}
			sent++
			continue
		}
		if err := p.receive(); err != nil {
			return err
		}
		answered++
	}
	return nil
}

func throughputOf(s *server, spent usage, size int) (sample, error) {
	memory, err := residentBytes(s.pid())
	return sample{
		"CPU":          spent.cpu.Seconds() / (float64(size) / 1e9),
		"rate":         float64(size) / 1e6 / spent.wall.Seconds(),
		"memory after": float64(memory) / 1e6,
	}, err
}

// smallRound has many connections produce one record at a time to a topic with configs of the form key=value.
func smallRound(ctx context.Context, s *server, partitions int32, configs ...string) (sample, error) {
	const conns = 64
	topic := topicName("small")
	if err := createTopic(ctx, s.addr, topic, partitions, configs...); err != nil {
		return nil, err
	}
	batch := newBatch(1, 100)
	producers := make([]*producer, conns)
	for i := range producers {
		p, err := newProducer(ctx, s, topic, int32(i)%partitions, batch, 1)
		if err != nil {
			return nil, err
		}
		defer p.w.close()
		producers[i] = p
	}
	rate, each, err := repeat(s, conns, smallFor, func(i int) error { return producers[i].run(1) })
	if err != nil {
		return nil, err
	}
	return sample{"rate": rate, "CPU": each}, deleteTopic(ctx, s.addr, topic)
}

// repeat has conns goroutines call fn for some time, and returns how often a second and at how many microseconds of CPU each.
func repeat(s *server, conns int, d time.Duration, fn func(i int) error) (rate, each float64, err error) {
	var total atomic.Int64
	spent, err := s.spend(func() error {
		end := time.Now().Add(d)
		return inParallel(conns, func(i int) error {
			n := int64(0)
			defer func() { total.Add(n) }()
			for time.Now().Before(end) {
				if err := fn(i); err != nil {
					return err
				}
				n++
			}
			return nil
		})
	})
	if err != nil {
		return 0, 0, err
	}
	n := float64(total.Load())
	return n / spent.wall.Seconds(), float64(spent.cpu.Microseconds()) / n, nil
}

// inParallel runs fn(0) to fn(n-1) at once and returns one of their errors.
func inParallel(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = fn(i) })
	}
	all.Wait()
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
		}
	}
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("%d of %d failed, number %d: %w", failed, n, i, err)
		}
	}
	return nil
}
