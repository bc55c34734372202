package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitionBytes is the stock consumer's max.partition.fetch.bytes.
const partitionBytes = 1 << 20

func fetchCases() []benchCase {
	consume := func(conns int) benchCase {
		topic := fmt.Sprintf("consume-%d", conns)
		return benchCase{
			name: topic, metrics: throughput, rounds: 5,
			prepare: func(ctx context.Context, s *server) error { return fillTopic(ctx, s, topic, conns) },
			measure: func(ctx context.Context, s *server) (sample, error) { return consumeRound(ctx, s, topic, conns) },
		}
	}
	one, many := consume(1), consume(16)
	one.about = "1 KB records, 64 KiB batches, from the page cache, 1 MiB a fetch, 1 connection"
	many.about = "the same, 16 connections to 16 partitions"
	return []benchCase{one, many}
}

// fillTopic writes roundBytes, evenly to all partitions.
func fillTopic(ctx context.Context, s *server, topic string, partitions int) error {
	if err := createTopic(ctx, s.addr, topic, int32(partitions)); err != nil {
		return err
	}
	batch := newBatch(largeRecords, largeValue)
	for i := range partitions {
		p, err := newProducer(ctx, s, topic, int32(i), batch, largeRecords)
		if err != nil {
			return err
		}
		err = p.run(roundBytes / len(batch) / partitions)
		p.w.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// consumeRound reads the topic, each partition over a connection of its own.
func consumeRound(ctx context.Context, s *server, topic string, conns int) (sample, error) {
	batch := newBatch(largeRecords, largeValue)
	fetchers := make([]*fetcher, conns)
	for i := range fetchers {
		f, err := newFetcher(ctx, s, topic, int32(i), len(batch))
		if err != nil {
			return nil, err
		}
		defer f.w.close()
		fetchers[i] = f
	}
	batches := roundBytes / len(batch) / conns
	const times = 2
	spent, err := s.spend(func() error {
		return inParallel(conns, func(i int) error {
			for range times {
				if err := fetchers[i].run(batches); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return throughputOf(s, spent, times*batches*conns*len(batch))
}

// fetcher reads a partition that consists of batches of one size, and drops the records in the kernel.
type fetcher struct {
	w         *wire
	frame     []byte
	offsetAt  int // in frame
	batchSize int
	topic     string
	raw       syscall.RawConn
	head      [4096]byte
	sink      []byte
}

func newFetcher(ctx context.Context, s *server, topic string, partition int32, batchSize int) (*fetcher, error) {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	const mark = math.MaxInt64 - 12345
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchVersion, -1, 500, 1, 50<<20
	req.SessionEpoch = -1
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, mark, partitionBytes
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	f := &fetcher{w: w, frame: frame(req), batchSize: batchSize, topic: topic, sink: make([]byte, partitionBytes)}
	f.offsetAt = bytes.Index(f.frame, binary.BigEndian.AppendUint64(nil, mark))
	if f.raw, err = w.nc.SyscallConn(); err != nil {
		return nil, err
	}
	return f, nil
}

// run reads the first n batches.
func (f *fetcher) run(n int) error {
	for at := 0; at < n; {
		binary.BigEndian.PutUint64(f.frame[f.offsetAt:], uint64(at*largeRecords))
		if err := f.w.send(f.frame); err != nil {
			return err
		}
		size, err := f.receive()
		if err != nil {
			return err
		}
		if size < f.batchSize {
			return fmt.Errorf("offset %d: %d bytes of records, a batch has %d", at*largeRecords, size, f.batchSize)
		}
		at += size / f.batchSize
	}
	return nil
}

// receive reads one answer and returns how many bytes of records it has.
func (f *fetcher) receive() (int, error) {
	n, size := 0, 0
	for n < 4 || n < min(4+size, 256) {
		got, err := f.w.nc.Read(f.head[n:])
		if err != nil {
			return 0, err
		}
		n += got
		if n >= 4 {
			size = int(binary.BigEndian.Uint32(f.head[:]))
		}
	}
	records, err := recordsSize(f.head[8:n])
	if err != nil {
		return 0, err
	}
	return records, f.discard(4 + size - n)
}

// recordsSize finds the size of the records in a response of one partition; b is what follows the correlation id.
func recordsSize(b []byte) (int, error) {
	short := errors.New("the start of a fetch response is missing")
	skip := func(n int) bool {
		if n < 0 || n > len(b) {
			return false
		}
		b = b[n:]
		return true
	}
	number := func() int {
		v, n := binary.Uvarint(b)
		if n <= 0 || !skip(n) {
			return -1
		}
		return int(v)
	}
	// Tags, throttle time, error, session; topics, name; partitions, number.
	if !skip(1+4+2+4) || number() != 2 || !skip(number()-1) || number() != 2 || !skip(4) || len(b) < 2 {
		return 0, short
	}
	if err := kerr.ErrorForCode(int16(binary.BigEndian.Uint16(b))); err != nil {
		return 0, err
	}
	// Error, high watermark, last stable offset, log start offset; no aborted transactions; preferred replica.
	if !skip(2+8+8+8) || number() > 1 || !skip(4) {
		return 0, short
	}
	return number() - 1, nil
}

// discard drops n bytes without copying them out of the kernel.
func (f *fetcher) discard(n int) error {
	var failed error
	err := f.raw.Read(func(fd uintptr) bool {
		for n > 0 {
			got, _, err := syscall.Recvfrom(int(fd), f.sink[:min(n, len(f.sink))], syscall.MSG_TRUNC)
			switch {
			case errors.Is(err, syscall.EAGAIN):
				return false
			case errors.Is(err, syscall.EINTR):
			case err != nil:
				failed = err
				return true
			case got == 0:
				failed = io.ErrUnexpectedEOF
				return true
			default:
				n -= got
			}
		}
		return true
	})
	return errors.Join(err, failed)
}
