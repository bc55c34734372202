package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/ottla/ottla/integration/process"
)

// toolRecords is what the stock tools produce and consume in a round; toolPings how often the latency is measured.
const (
	toolRecords = 200_000
	toolPings   = 3000
)

var (
	producerSummary = regexp.MustCompile(`records sent, .*\(([0-9.]+) MB/sec\), ([0-9.]+) ms avg latency, .* ms 50th, .* ms 95th, ([0-9.]+) ms 99th`)
	latencySummary  = regexp.MustCompile(`(?s)Avg latency: ([0-9.]+) ms.*99th = ([0-9]+), 99.9th = ([0-9]+)`)
)

// toolCases are what users run themselves, of Apache Kafka 4.3.1.
func toolCases() []benchCase {
	const topic = "tool-consume"
	return []benchCase{
		{
			name: "tool-produce", about: fmt.Sprintf("kafka-producer-perf-test: %d records of 1 KB to %d partitions, with the producer's defaults; the figures but CPU are the tool's", toolRecords, clientParts),
			metrics: []metric{{"rate", "MB/s", true}, {"average", "ms", false}, {"p99", "ms", false}, {"CPU", "s", false}}, rounds: 2, without: []string{keyLimit},
			measure: toolProduce,
		},
		{
			name: topic, about: fmt.Sprintf("kafka-consumer-perf-test: %d records of 1 KB from %d partitions; fetch: without the time to join the group", toolRecords, clientParts),
			metrics: []metric{{"rate", "MB/s", true}, {"fetch", "MB/s", true}, {"CPU", "s", false}}, rounds: 2, without: []string{keyLimit},
			prepare: func(ctx context.Context, s *server) error { return fillRecords(ctx, s, topic) },
			measure: func(ctx context.Context, s *server) (sample, error) { return toolConsume(ctx, s, topic) },
		},
		{
			name: "tool-latency", about: fmt.Sprintf("kafka-e2e-latency: %d records of 100 B, acks=all, one after the other", toolPings),
			metrics: []metric{{"average", "ms", false}, {"p99", "ms", false}, {"p99.9", "ms", false}, {"CPU", "µs each", false}}, rounds: 2, without: []string{keyLimit},
			measure: toolLatency,
		},
	}
}

// runTool runs a class of Apache Kafka's tools to its end and returns what it printed and what s spent meanwhile.
func runTool(ctx context.Context, s *server, class string, args ...string) (string, usage, error) {
	libs, err := process.KafkaJars("../clients/java/4.3.1")
	if err != nil {
		return "", usage{}, err
	}
	var out []byte
	spent, err := s.spend(func() error {
		var err error
		cmd := exec.CommandContext(ctx, "java", append([]string{"-Xmx512m", "-cp", libs + "/*", "org.apache.kafka.tools." + class}, args...)...)
		if out, err = cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", class, err, out)
		}
		return nil
	})
	return string(out), spent, err
}

// figures are the groups of the last match of a pattern in what a tool printed.
func figures(pattern *regexp.Regexp, out string) ([]float64, error) {
	found := pattern.FindAllStringSubmatch(out, -1)
	if len(found) == 0 {
		return nil, fmt.Errorf("the tool did not print its figures:\n%s", out)
	}
	var values []float64
	for _, text := range found[len(found)-1][1:] {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func toolProduce(ctx context.Context, s *server) (sample, error) {
	topic := topicName("tool")
	if err := createTopic(ctx, s.addr, topic, clientParts); err != nil {
		return nil, err
	}
	out, spent, err := runTool(ctx, s, "ProducerPerformance", "--bootstrap-server", s.addr, "--topic", topic, "--num-records", strconv.Itoa(toolRecords),
		"--record-size", strconv.Itoa(largeValue), "--throughput", "-1")
	if err != nil {
		return nil, err
	}
	got, err := figures(producerSummary, out)
	if err != nil {
		return nil, err
	}
	return sample{"rate": got[0], "average": got[1], "p99": got[2], "CPU": spent.cpu.Seconds()}, deleteTopic(ctx, s.addr, topic)
}

func toolConsume(ctx context.Context, s *server, topic string) (sample, error) {
	out, spent, err := runTool(ctx, s, "ConsumerPerformance", "--bootstrap-server", s.addr, "--topic", topic, "--num-records", strconv.Itoa(toolRecords),
		"--group", topicName("tool"), "--hide-header")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		// Start, end, MB, MB/s, records, records/s, time of rebalances, time of fetches, MB/s of these, records/s of these.
		fields := strings.Split(strings.TrimSpace(line), ", ")
		if len(fields) != 10 {
			continue
		}
		rate, err := strconv.ParseFloat(fields[3], 64)
		if err != nil {
			return nil, err
		}
		fetch, err := strconv.ParseFloat(fields[8], 64)
		return sample{"rate": rate, "fetch": fetch, "CPU": spent.cpu.Seconds()}, err
	}
	return nil, fmt.Errorf("the tool did not print its figures:\n%s", out)
}

func toolLatency(ctx context.Context, s *server) (sample, error) {
	topic := topicName("tool")
	if err := createTopic(ctx, s.addr, topic, 1); err != nil {
		return nil, err
	}
	out, spent, err := runTool(ctx, s, "EndToEndLatency", "--bootstrap-server", s.addr, "--topic", topic, "--num-records", strconv.Itoa(toolPings),
		"--producer-acks", "all", "--record-size", "100")
	if err != nil {
		return nil, err
	}
	got, err := figures(latencySummary, out)
	if err != nil {
		return nil, err
	}
	return sample{"average": got[0], "p99": got[1], "p99.9": got[2], "CPU": float64(spent.cpu.Microseconds()) / toolPings}, deleteTopic(ctx, s.addr, topic)
}
