package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceLoad is what producers on plain sockets do in a round.
type produceLoad struct {
	conns      int
	perRequest int // partitions that a request has a batch for; each connection has its own
	records    int // in a batch
	value      int // bytes of a record's value
	acks       int16
	codec      kgo.CompressionCodecType
	idempotent bool
	bytes      int // of a round, as they are before compression
}

// usualLoad is 1 KB records in batches of 64 KiB.
func usualLoad(conns int) produceLoad {
	return produceLoad{conns: conns, perRequest: 1, records: largeRecords, value: largeValue, acks: -1, bytes: roundBytes}
}

// loadCases vary one thing of the usual load at a time.
func loadCases() []benchCase {
	var out []benchCase
	vary := func(name, about string, conns int, change func(*produceLoad), without ...string) {
		load := usualLoad(conns)
		load.bytes = roundBytes / 2
		change(&load)
		out = append(out, benchCase{
			name: "produce-" + name, about: about, metrics: throughput, rounds: 3, without: without,
			measure: func(ctx context.Context, s *server) (sample, error) { return produceRound(ctx, s, load) },
		})
	}
	vary("128", "as produce-1, 128 connections to 128 partitions", 128, func(*produceLoad) {})
	vary("acks1", "as produce-16, acks=1", 16, func(l *produceLoad) { l.acks = 1 })
	vary("100B", "as produce-16, records of 100 B", 16, func(l *produceLoad) { l.records, l.value = 600, 100 })
	vary("10KB", "as produce-16, records of 10 KB", 16, func(l *produceLoad) { l.records, l.value = 6, 10<<10 })
	vary("lz4", "as produce-16, batches of text compressed with lz4; per GB of text", 16, func(l *produceLoad) { l.codec = kgo.CodecLz4 })
	vary("zstd", "as produce-16, batches of text compressed with zstd; per GB of text", 16, func(l *produceLoad) { l.codec = kgo.CodecZstd })
	vary("100-partitions", "100 partitions, 20 connections, 5 batches of 64 KiB in a request", 20, func(l *produceLoad) { l.perRequest = 5 }, keyLimit)
	vary("1000-partitions", "1,000 partitions, 20 connections, 50 batches of four 1 KB records in a request", 20, func(l *produceLoad) {
		l.perRequest, l.records = 50, 4
	}, keyLimit)
	return out
}

// batch makes the batch that is sent, and returns its size before compression, too.
func (l produceLoad) batch() ([]byte, int, error) {
	if l.codec == 0 {
		b := newBatch(l.records, l.value)
		return b, len(b), nil
	}
	b := batchOf(l.records, textOf(l.value))
	packed, err := compressBatch(b, l.codec)
	return packed, len(b), err
}

// textOf returns a source of values that compress as text does.
func textOf(size int) func() (key, value []byte) {
	random := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 2000)
	for i := range words {
		word := make([]byte, 2+random.IntN(9))
		for j := range word {
			word[j] = byte('a' + random.IntN(26))
		}
		words[i] = string(word)
	}
	return func() (_, _ []byte) {
		var text strings.Builder
		for text.Len() < size {
			text.WriteString(words[int(random.ExpFloat64()*200)%len(words)])
			text.WriteByte(' ')
		}
		return nil, []byte(text.String()[:size])
	}
}

// compressBatch returns the batch with its records compressed.
func compressBatch(b []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	use := kgo.Lz4Compression()
	if codec == kgo.CodecZstd {
		use = kgo.ZstdCompression()
	}
	compressor, err := kgo.DefaultCompressor(use)
	if err != nil {
		return nil, err
	}
	packed, used := compressor.Compress(new(bytes.Buffer), b[batchHeader:])
	if used != codec {
		return nil, fmt.Errorf("the batch was compressed with codec %d instead of %d", used, codec)
	}
	out := append(bytes.Clone(b[:batchHeader]), packed...)
	binary.BigEndian.PutUint16(out[batchBody:], uint16(codec)) // the attributes
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	setProducer(out, -1, -1, -1)
	return out, nil
}

// producers opens the connections of a load.
func (l produceLoad) producers(ctx context.Context, s *server, topic string, batch []byte) ([]*producer, error) {
	producers := make([]*producer, 0, l.conns)
	for i := range l.conns {
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = produceVersion, l.acks, 30_000
		t := kmsg.NewProduceRequestTopic()
		t.Topic = topic
		for j := range l.perRequest {
			t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(i*l.perRequest + j), Records: batch})
		}
		req.Topics = append(req.Topics, t)
		p, err := startProducer(ctx, s, req, int32(l.records))
		if err == nil {
			producers = append(producers, p)
			if l.idempotent {
				err = p.makeIdempotent(ctx, s)
			}
		}
		if err != nil {
			closeAll(producers)
			return nil, err
		}
	}
	return producers, nil
}

func closeAll(producers []*producer) {
	for _, p := range producers {
		p.w.close()
	}
}

// produceRound produces the load's bytes to a topic of its own.
func produceRound(ctx context.Context, s *server, l produceLoad) (sample, error) {
	topic := topicName("produce")
	if err := createTopic(ctx, s.addr, topic, int32(l.conns*l.perRequest)); err != nil {
		return nil, err
	}
	batch, size, err := l.batch()
	if err != nil {
		return nil, err
	}
	producers, err := l.producers(ctx, s, topic, batch)
	if err != nil {
		return nil, err
	}
	defer closeAll(producers)
	each := max(1, l.bytes/size/l.perRequest/l.conns)
	spent, err := s.spend(func() error {
		return inParallel(l.conns, func(i int) error { return producers[i].run(each) })
	})
	if err != nil {
		return nil, err
	}
	result, err := throughputOf(s, spent, each*l.conns*l.perRequest*size)
	if err != nil {
		return nil, err
	}
	return result, deleteTopic(ctx, s.addr, topic)
}
