package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/ottla/ottla/integration/datadir"
)

const (
	// compactedBytes of records are compacted: each of their keys was written ten times, in batches of about 16 KiB.
	compactedBytes    = 2 << 30
	compactedValue    = 1000
	compactedRecords  = 16 // in a batch
	compactedVersions = 10
	// compactionLimit bounds a round: the records are written, and read more than once.
	compactionLimit = 15 * time.Minute
	// kafkaCleaner is what the system keeps of the name kafka-log-cleaner-thread-0.
	kafkaCleaner = "kafka-log-clean"
)

func compactionCases() []benchCase {
	return []benchCase{{
		name: "compaction", about: fmt.Sprintf("%d MiB in segments of 100 MiB, of which every %dth record is the last of its key, are compacted with the default buffers; cleaner: CPU "+
			"time of Apache Kafka's cleaner thread, without the collection of garbage and the compilation of its code, and of the whole of Ottla", compactedBytes>>20, compactedVersions),
		metrics: []metric{{"cleaner", "CPU s", false}, {"CPU", "s", false}, {"speed", "MB/CPU s", true}, {"memory after", "MB", false}},
		rounds:  1, without: []string{keyLimit, keyKfake}, limit: compactionLimit, fresh: compactionRound,
	}}
}

// compactionRound fills a topic that must not be compacted yet, then lets the cleaner begin.
func compactionRound(ctx context.Context, p *peer) (sample, error) {
	s, err := p.install()
	if err != nil {
		return nil, err
	}
	defer s.remove()
	if _, err := firstRecord(ctx, s); err != nil {
		return nil, err
	}
	const topic = "compacted"
	if err := datadir.CreateCompacted(ctx, s.addr, topic, fmt.Sprint("segment.bytes=", 100<<20)); err != nil {
		return nil, err
	}
	if err := fillCompacted(ctx, s, topic); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	cleaner := func() (time.Duration, error) { return cpuTime(s.pid()) }
	if p.key == keyKafka {
		cleaner = func() (time.Duration, error) { return threadTime(s.pid(), kafkaCleaner) }
	}
	before, err := cleaner()
	if err != nil {
		return nil, err
	}
	spent, err := s.spend(func() error {
		if err := datadir.CompactTopics(ctx, s.addr, topic); err != nil {
			return err
		}
		return awaitCleaned(ctx, s, topic)
	})
	if err != nil {
		return nil, err
	}
	after, err := cleaner()
	if err != nil {
		return nil, err
	}
	memory, err := residentBytes(s.pid())
	own := (after - before).Seconds()
	return sample{"cleaner": own, "CPU": spent.cpu.Seconds(), "speed": compactedBytes / 1e6 / own, "memory after": float64(memory) / 1e6}, err
}

// fillCompacted produces the records; all batches have one size.
func fillCompacted(ctx context.Context, s *server, topic string) error {
	random := rand.New(rand.NewPCG(1, 1))
	next := func() []byte {
		return keyedBatch(random, compactedRecords, compactedValue, compactedBytes/compactedValue/compactedVersions)
	}
	p, err := newProducer(ctx, s, topic, 0, next(), compactedRecords)
	if err != nil {
		return err
	}
	defer p.w.close()
	n := compactedBytes / len(p.batches[0])
	for sent, answered := 0, 0; answered < n; {
		if sent < n && sent-answered < inFlight {
			copy(p.batches[0], next())
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

// awaitCleaned waits until all but the active segment are compacted.
func awaitCleaned(ctx context.Context, s *server, topic string) error {
	dir := s.dir
	if s.key == keyKafka {
		dir = filepath.Join(dir, "data")
	}
	for {
		done, err := datadir.Cleaned(dir, topic)
		if done || err != nil {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("the cleaner did not come to an end: %w", err)
		}
	}
}
