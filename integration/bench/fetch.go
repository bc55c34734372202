package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// partitionBytes is the stock consumer's max.partition.fetch.bytes.
const partitionBytes = 1 << 20

func fetchCases() []benchCase {
	consume := func(conns, partitions, rounds int, about string) benchCase {
		topic := fmt.Sprintf("consume-%d", conns)
		return benchCase{
			name: topic, about: about, metrics: throughput, rounds: rounds,
			prepare: func(ctx context.Context, s *server) error { return fillTopic(ctx, s, topic, partitions) },
			measure: func(ctx context.Context, s *server) (sample, error) {
				return consumeRound(ctx, s, topic, conns, partitions, 2)
			},
		}
	}
	const cold = "consume-cold"
	return []benchCase{
		consume(1, 1, 5, "1 KB records, 64 KiB batches, from the page cache, 1 MiB a fetch, 1 connection"),
		consume(16, 16, 3, "the same, 16 connections to 16 partitions"),
		consume(128, 16, 3, "the same, 128 connections, each to an eighth of one of 16 partitions"),
		{
			name: cold, about: "as consume-1 from the disk: the page cache is dropped before each round (with drop_caches as root, else posix_fadvise)",
			metrics: throughput, rounds: 3, without: []string{keyKfake},
			prepare: func(ctx context.Context, s *server) error { return fillTopic(ctx, s, cold, 1) },
			measure: func(ctx context.Context, s *server) (sample, error) {
				if err := dropCaches(s.dir); err != nil {
					return nil, err
				}
				return consumeRound(ctx, s, cold, 1, 1, 1)
			},
		},
	}
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

// consumeRound reads a topic some times; the connections share its partitions evenly.
func consumeRound(ctx context.Context, s *server, topic string, conns, partitions, times int) (sample, error) {
	batch := newBatch(largeRecords, largeValue)
	fetchers := make([]*fetcher, conns)
	for i := range fetchers {
		f, err := newFetcher(ctx, s, topic, int32(i%partitions), len(batch))
		if err != nil {
			return nil, err
		}
		defer f.w.close()
		fetchers[i] = f
	}
	batches := roundBytes / len(batch) / conns
	spent, err := s.spend(func() error {
		return inParallel(conns, func(i int) error {
			first := i / partitions * batches
			for range times {
				if err := fetchers[i].run(first, first+batches); err != nil {
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
	raw       syscall.RawConn
	head      [4096]byte
	sink      []byte
}

func newFetcher(ctx context.Context, s *server, topic string, partition int32, batchSize int) (*fetcher, error) {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	f := &fetcher{w: w, batchSize: batchSize, sink: make([]byte, partitionBytes)}
	f.frame, f.offsetAt = fetchFrame(topic, partition, 0)
	if f.raw, err = w.nc.SyscallConn(); err != nil {
		return nil, err
	}
	return f, nil
}

// run reads the batches from one number up to another.
func (f *fetcher) run(first, end int) error {
	for at := first; at < end; {
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
