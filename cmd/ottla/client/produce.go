package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

// maxLine bounds one record that is read as a line.
const maxLine = 100 << 20

// produceFlags say what produce reads and how it sends it.
type produceFlags struct {
	file, separator, codec, acks, key string
	headers                           []string
	partition                         int32
	whole, tombstones                 bool
}

// codecs are the client's codecs by name.
var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func produceCommand(s *session) *cobra.Command {
	var f produceFlags
	c := &cobra.Command{
		Use: "produce TOPIC", Short: "Write records to a topic: each line of the input is one", Args: cobra.ExactArgs(1),
		Example: "  echo hello | ottla produce greetings\n  ottla produce orders --key-separator : --file orders.txt --compression zstd\n" +
			"  ottla produce orders --key 42 --header source=shell --whole --file order.json\n  echo 42: | ottla produce orders --key-separator : --tombstones",
		ValidArgsFunction: firstOnly(s.topicNames()),
	}
	c.RunE = s.runIt(func(ctx context.Context, args []string) error { return s.produce(ctx, args[0], f) })
	fl := c.Flags()
	fl.StringVarP(&f.file, "file", "f", "", "read this `file` instead of the standard input")
	fl.StringVarP(&f.separator, "key-separator", "k", "", "the `text` between key and value of a line; without it records have no key")
	fl.StringVar(&f.key, "key", "", "the `key` of every record")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "a `name=value` of every record (repeatable)")
	fl.Int32VarP(&f.partition, "partition", "p", -1, "the partition; by the key if absent")
	fl.StringVarP(&f.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	fl.StringVar(&f.acks, "acks", "all", "whose answer to wait for: all, leader or none")
	fl.BoolVar(&f.whole, "whole", false, "the whole input is one record")
	fl.BoolVar(&f.tombstones, "tombstones", false, "an empty value is none: it deletes the key from a compacted topic")
	_ = c.RegisterFlagCompletionFunc("compression", cobra.FixedCompletions(codecNames, cobra.ShellCompDirectiveNoFileComp))                 // it fails only for an unknown flag
	_ = c.RegisterFlagCompletionFunc("acks", cobra.FixedCompletions([]string{"all", "leader", "none"}, cobra.ShellCompDirectiveNoFileComp)) // as above
	return c
}

func (f *produceFlags) options() ([]kgo.Opt, error) {
	codec, known := codecs[f.codec]
	if !known {
		return nil, fmt.Errorf("--compression %s: must be one of %s", f.codec, strings.Join(codecNames, ", "))
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(16 << 20), kgo.RecordDeliveryTimeout(30 * time.Second)}
	switch f.acks {
	case "all", "-1":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "leader", "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "none", "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, fmt.Errorf("--acks %s: must be all, leader or none", f.acks)
	}
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

func (s *session) produce(ctx context.Context, topic string, f produceFlags) error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	headers, err := parseHeaders(f.headers)
	if err != nil {
		return err
	}
	in, size := s.in, int64(0)
	if f.file != "" {
		file, err := os.Open(f.file)
		if err != nil {
			return err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		in = file
	}
	client, err := s.open(ctx, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	bar := newProgress(s.err, size, "bytes")
	defer bar.end()
	var failed atomic.Pointer[error] // the first record that was refused
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	count := 0
	err = f.read(in, func(key, value []byte) error {
		if e := failed.Load(); e != nil {
			return *e
		}
		r := &kgo.Record{Topic: topic, Key: key, Value: value, Headers: headers, Partition: max(f.partition, 0)}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		count++
		bar.add(int64(len(key) + len(value) + 1))
		return nil
	})
	if err == nil {
		err = client.Flush(ctx)
	}
	if e := failed.Load(); e != nil {
		err = *e
	}
	bar.end()
	if err != nil {
		return fmt.Errorf("topic %s: %w", topic, connect.Translate(err))
	}
	if isTerminal(s.err) {
		fmt.Fprintf(s.err, "Wrote %d records to %s.\n", count, topic)
	}
	return nil
}

// parseHeaders reads name=value; a header without = has no value.
func parseHeaders(all []string) ([]kgo.RecordHeader, error) {
	var headers []kgo.RecordHeader
	for _, h := range all {
		name, value, found := strings.Cut(h, "=")
		if name == "" {
			return nil, fmt.Errorf("--header %q: must be name=value", h)
		}
		one := kgo.RecordHeader{Key: name}
		if found {
			one.Value = []byte(value)
		}
		headers = append(headers, one)
	}
	return headers, nil
}

// read gives the key and value of each record of the input.
func (f *produceFlags) read(in io.Reader, fn func(key, value []byte) error) error {
	var key []byte
	if f.key != "" {
		key = []byte(f.key)
	}
	value := func(b []byte) []byte {
		if f.tombstones && len(b) == 0 {
			return nil
		}
		return b
	}
	if f.whole {
		all, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return fn(key, value(all))
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 1<<16), maxLine)
	for n := 1; lines.Scan(); n++ {
		line := slices.Clone(lines.Bytes()) // the client keeps it until it is sent
		if f.separator == "" {
			if err := fn(key, value(line)); err != nil {
				return err
			}
			continue
		}
		k, v, found := bytes.Cut(line, []byte(f.separator))
		if !found {
			return fmt.Errorf("line %d has no %q between key and value", n, f.separator)
		}
		if err := fn(k, value(v)); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d MiB: send it with --whole", maxLine>>20)
	}
	return lines.Err()
}
