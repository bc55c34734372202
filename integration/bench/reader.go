package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reader reads a partition batch by batch, whatever their sizes; fetcher is cheaper where all have one size. It belongs to one goroutine.
type reader struct {
	w        *wire
	frame    []byte
	offsetAt int // in frame
	offset   int64
	resp     kmsg.FetchResponse
}

// newReader connects to read from an offset; isolation is 1 to get committed records only.
func newReader(ctx context.Context, s *server, topic string, partition int32, isolation int8, offset int64) (*reader, error) {
	w, err := dial(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	r := &reader{w: w, offset: offset}
	r.frame, r.offsetAt = fetchFrame(topic, partition, isolation)
	r.resp.Version = fetchVersion
	return r, nil
}

// fetchFrame encodes a request for one partition, and tells where it has the offset.
func fetchFrame(topic string, partition int32, isolation int8) (encoded []byte, offsetAt int) {
	const mark = math.MaxInt64 - 12345
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = fetchVersion, -1, 500, 1, 50<<20, isolation
	req.SessionEpoch = -1
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, mark, partitionBytes
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	encoded = frame(req)
	return encoded, bytes.Index(encoded, binary.BigEndian.AppendUint64(nil, mark))
}

// next fetches once, and returns the bytes of the whole batches that came; 0 after the longest wait.
func (r *reader) next() (int, error) {
	binary.BigEndian.PutUint64(r.frame[r.offsetAt:], uint64(r.offset))
	if err := r.w.send(r.frame); err != nil {
		return 0, err
	}
	r.resp.Topics = nil
	if err := r.w.receive(&r.resp); err != nil {
		return 0, err
	}
	if len(r.resp.Topics) != 1 || len(r.resp.Topics[0].Partitions) != 1 {
		return 0, errors.New("an answer without the partition")
	}
	p := r.resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return 0, err
	}
	size := 0
	for b := p.RecordBatches; len(b) >= batchHeader; {
		n := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if n > len(b) {
			break // the last may be cut
		}
		end := int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
		if end <= r.offset {
			return 0, fmt.Errorf("offset %d: a batch that ends at %d", r.offset, end)
		}
		r.offset = end
		size += n
		b = b[n:]
	}
	return size, nil
}

// until reads to an offset and returns the bytes that came.
func (r *reader) until(offset int64) (int, error) {
	total := 0
	for r.offset < offset {
		n, err := r.next()
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}
