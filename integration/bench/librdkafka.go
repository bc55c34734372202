package main

import (
	"context"
	_ "embed" // the program on librdkafka
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

//go:embed librdkafka/load.c
var librdkafkaSource []byte

// librdkafka compiles the program on librdkafka when it is first used.
type librdkafka struct {
	once   sync.Once
	binary string // written by once
	err    error  // written by once
}

// librdkafkaCases are none where the compiler or the library's headers are missing.
func librdkafkaCases() []benchCase {
	if exec.Command("pkg-config", "--exists", "rdkafka").Run() != nil {
		return nil
	}
	const topic = "librdkafka-consume"
	program := &librdkafka{}
	return []benchCase{
		{
			name: "librdkafka-produce", about: fmt.Sprintf("a producer of librdkafka, acks=all, not compressed, 1 KB records to %d partitions, batches of 64 KiB", clientParts),
			metrics: throughput, rounds: 3, without: []string{keyLimit},
			measure: func(ctx context.Context, s *server) (sample, error) {
				topic := topicName("librdkafka")
				if err := createTopic(ctx, s.addr, topic, clientParts); err != nil {
					return nil, err
				}
				result, err := program.round(ctx, s, "produce", topic, strconv.Itoa(largeValue))
				if err != nil {
					return nil, err
				}
				return result, deleteTopic(ctx, s.addr, topic)
			},
		},
		{
			name: topic, about: fmt.Sprintf("a consumer of librdkafka reads %d partitions of 1 KB records", clientParts),
			metrics: throughput, rounds: 3, without: []string{keyLimit},
			prepare: func(ctx context.Context, s *server) error { return fillRecords(ctx, s, topic) },
			measure: func(ctx context.Context, s *server) (sample, error) { return program.round(ctx, s, "consume", topic) },
		},
	}
}

// round runs the program once.
func (l *librdkafka) round(ctx context.Context, s *server, mode, topic string, more ...string) (sample, error) {
	l.once.Do(func() { l.err = l.compile(ctx) })
	if l.err != nil {
		return nil, l.err
	}
	spent, err := s.spend(func() error {
		args := append([]string{mode, s.addr, topic, strconv.Itoa(clientParts), strconv.Itoa(clientRecords)}, more...)
		out, err := exec.CommandContext(ctx, l.binary, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("librdkafka %s: %w\n%s", mode, err, out)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return throughputOf(s, spent, clientBytes)
}

// compile leaves the program in the user's cache, where the next run overwrites it.
func (l *librdkafka) compile(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "ottla-bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := filepath.Join(dir, "librdkafka.c")
	if err := os.WriteFile(source, librdkafkaSource, 0o644); err != nil {
		return err
	}
	flags, err := exec.CommandContext(ctx, "pkg-config", "--cflags", "--libs", "rdkafka").Output()
	if err != nil {
		return fmt.Errorf("pkg-config: %w", err)
	}
	l.binary = filepath.Join(dir, "librdkafka")
	args := append([]string{"-O2", "-Wall", "-Wextra", "-o", l.binary, source}, strings.Fields(string(flags))...)
	if out, err := exec.CommandContext(ctx, "gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, out)
	}
	return nil
}
