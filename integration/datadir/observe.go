package datadir

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"sort"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	fetchBytes  = 16 << 20
	fetchWaitMs = 500
	// batchPrefix is what of a batch Kafka's length field does not count.
	batchPrefix = 12
)

// observer asks one broker.
type observer struct {
	addr   string
	client *kgo.Client
	admin  *kadm.Client
	topics kadm.TopicDetails
	found  Partitions
	starts kadm.ListedOffsets
	times  map[string][]int64 // timestamps of the records, by partition
}

// Observe asks the broker at addr for all that the topics hold, internal ones included where no topics are named. The broker is the only one of
// its cluster, and nothing may be written meanwhile.
func Observe(ctx context.Context, addr string, topics ...string) (Partitions, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	o := &observer{addr: addr, client: client, admin: kadm.NewClient(client), found: Partitions{}, times: map[string][]int64{}}
	if o.topics, err = o.admin.ListTopicsWithInternal(ctx, topics...); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{o.offsets, o.readAll, o.readCommitted, o.fetch, o.producers, o.epochs, o.lookups} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return o.found, nil
}

func name(topic string, partition int32) string { return fmt.Sprintf("%s-%d", topic, partition) }

func (o *observer) offsets(ctx context.Context) error {
	names := o.topics.Names()
	starts, err := o.admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return err
	}
	ends, err := o.admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return err
	}
	stable, err := o.admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return err
	}
	for _, l := range []kadm.ListedOffsets{starts, ends, stable} {
		if err := l.Error(); err != nil {
			return err
		}
	}
	o.starts = starts
	starts.Each(func(s kadm.ListedOffset) {
		end, _ := ends.Lookup(s.Topic, s.Partition)
		last, _ := stable.Lookup(s.Topic, s.Partition)
		o.found[name(s.Topic, s.Partition)] = Partition{LogStart: s.Offset, LastStable: last.Offset, LogEnd: end.Offset}
	})
	return nil
}

// consume reads every partition from its log start until a record from end-1 on has come, with control records.
func (o *observer) consume(ctx context.Context, level kgo.IsolationLevel, end func(Partition) int64, fn func(*kgo.Record)) error {
	from := map[string]map[int32]kgo.Offset{}
	missing := map[string]int64{}
	o.starts.Each(func(s kadm.ListedOffset) {
		n := name(s.Topic, s.Partition)
		if upper := end(o.found[n]); upper > s.Offset {
			missing[n] = upper
			if from[s.Topic] == nil {
				from[s.Topic] = map[int32]kgo.Offset{}
			}
			from[s.Topic][s.Partition] = kgo.NewOffset().At(s.Offset)
		}
	})
	if len(missing) == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(o.addr), kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(fetchWaitMs*1e6))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(missing) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading; still missing %v: %w", missing, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n := name(r.Topic, r.Partition)
			if r.Offset+1 >= missing[n] {
				delete(missing, n)
			}
			fn(r)
		})
	}
	return nil
}

func (o *observer) readAll(ctx context.Context) error {
	return o.consume(ctx, kgo.ReadUncommitted(), func(p Partition) int64 { return p.LogEnd }, func(k *kgo.Record) {
		r := record{
			offset: k.Offset, timestamp: k.Timestamp.UnixMilli(), producerID: k.ProducerID, producerEpoch: k.ProducerEpoch, leaderEpoch: k.LeaderEpoch,
			codec: k.Attrs.CompressionType(), appendTime: k.Attrs.TimestampType() == 1, transactional: k.Attrs.IsTransactional(), control: k.Attrs.IsControl(),
			key: k.Key, value: k.Value,
		}
		for _, h := range k.Headers {
			r.headers = append(r.headers, header{h.Key, h.Value})
		}
		n := name(k.Topic, k.Partition)
		p := o.found[n]
		p.Records = append(p.Records, r.String())
		o.found[n] = p
		o.times[n] = append(o.times[n], r.timestamp)
	})
}

func (o *observer) readCommitted(ctx context.Context) error {
	return o.consume(ctx, kgo.ReadCommitted(), func(p Partition) int64 { return p.LastStable }, func(k *kgo.Record) {
		if k.Attrs.IsControl() {
			return
		}
		n := name(k.Topic, k.Partition)
		p := o.found[n]
		p.Committed = append(p.Committed, k.Offset)
		o.found[n] = p
	})
}

// fetch reads the batches as they are, and the aborted transactions that come with them.
func (o *observer) fetch(ctx context.Context) error {
	for _, topic := range o.topics.Sorted() {
		for _, partition := range topic.Partitions.Sorted() {
			n := name(topic.Topic, partition.Partition)
			p := o.found[n]
			sum := sha256.New()
			if err := o.fetchPartition(ctx, topic, partition.Partition, partition.Leader, 0, &p, sum); err != nil {
				return fmt.Errorf("fetching %s: %w", n, err)
			}
			if err := o.fetchPartition(ctx, topic, partition.Partition, partition.Leader, 1, &p, nil); err != nil {
				return fmt.Errorf("fetching committed data of %s: %w", n, err)
			}
			p.Digest = fmt.Sprintf("%x", sum.Sum(nil))
			sort.Strings(p.Aborted)
			o.found[n] = p
		}
	}
	return nil
}

func (o *observer) fetchPartition(ctx context.Context, topic kadm.TopicDetail, partition, leader int32, isolation int8, p *Partition, sum hash.Hash) error {
	end := p.LogEnd
	if isolation == 1 {
		end = p.LastStable
	}
	for offset := p.LogStart; offset < end; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = fetchWaitMs, 1, fetchBytes, isolation, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = topic.Topic, topic.ID
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.FetchOffset, q.PartitionMaxBytes, q.CurrentLeaderEpoch = partition, offset, fetchBytes, -1
		t.Partitions = append(t.Partitions, q)
		req.Topics = append(req.Topics, t)
		answer, err := o.client.Broker(int(leader)).Request(ctx, req)
		if err != nil {
			return err
		}
		resp := answer.(*kmsg.FetchResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		got := resp.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return err
		}
		for _, a := range got.AbortedTransactions {
			// Apache Kafka adds what begins behind the records that it returns.
			if line := abortedLine(a.ProducerID, a.FirstOffset); a.FirstOffset < end && !slices.Contains(p.Aborted, line) {
				p.Aborted = append(p.Aborted, line)
			}
		}
		size, next, err := wholeBatches(got.RecordBatches)
		if err != nil || size == 0 {
			return fmt.Errorf("%d bytes at offset %d of %d: %w", len(got.RecordBatches), offset, end, err)
		}
		if sum != nil {
			sum.Write(got.RecordBatches[:size])
			p.Bytes += size
		}
		offset = next
	}
	return nil
}

func abortedLine(producerID, firstOffset int64) string {
	return fmt.Sprintf("producer %d from %d", producerID, firstOffset)
}

// wholeBatches returns the size of the whole batches in b and the offset after them.
func wholeBatches(b []byte) (size int, next int64, err error) {
	for rest := b; len(rest) >= batchPrefix; rest = b[size:] {
		n := batchPrefix + int(binary.BigEndian.Uint32(rest[8:]))
		if n > len(rest) {
			break
		}
		if n < 27 || rest[16] != 2 {
			return 0, 0, fmt.Errorf("no batch of magic 2 at %d", size)
		}
		next = int64(binary.BigEndian.Uint64(rest)) + int64(binary.BigEndian.Uint32(rest[23:])) + 1
		size += n
	}
	return size, next, nil
}

func (o *observer) producers(ctx context.Context) error {
	var set kadm.TopicsSet
	for _, topic := range o.topics.Sorted() {
		for _, p := range topic.Partitions.Sorted() {
			set.Add(topic.Topic, p.Partition)
		}
	}
	described, err := o.admin.DescribeProducers(ctx, set)
	if err != nil {
		return err
	}
	for _, topic := range described {
		for _, d := range topic.Partitions {
			if d.Err != nil {
				return d.Err
			}
			n := name(d.Topic, d.Partition)
			p := o.found[n]
			for _, a := range d.ActiveProducers.Sorted() {
				p.Producers = append(p.Producers, producerLine(a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp, a.CoordinatorEpoch, a.CurrentTxnStartOffset))
			}
			sort.Strings(p.Producers)
			o.found[n] = p
		}
	}
	return nil
}

func producerLine(id int64, epoch int16, sequence int32, timestamp int64, coordinatorEpoch int32, txnStart int64) string {
	return fmt.Sprintf("producer %d/%d sequence=%d time=%d coordinator=%d txn=%d", id, epoch, sequence, timestamp, coordinatorEpoch, txnStart)
}

// epochs asks where each leader epoch up to the present one ends that has records.
func (o *observer) epochs(ctx context.Context) error {
	for _, topic := range o.topics.Sorted() {
		for _, partition := range topic.Partitions.Sorted() {
			n := name(topic.Topic, partition.Partition)
			p := o.found[n]
			for epoch := range partition.LeaderEpoch + 1 {
				var req kadm.OffsetForLeaderEpochRequest
				req.Add(topic.Topic, partition.Partition, epoch)
				all, err := o.admin.OffsetForLeaderEpoch(ctx, req)
				if err != nil {
					return err
				}
				got := all[topic.Topic][partition.Partition]
				if got.Err != nil {
					return fmt.Errorf("epoch %d of %s: %w", epoch, n, got.Err)
				}
				p.Epochs = appendEpoch(p.Epochs, epoch, got.LeaderEpoch, got.EndOffset, p.hasEpoch(epoch))
			}
			o.found[n] = p
		}
	}
	return nil
}

// hasEpoch reports whether any record was written under the epoch.
func (p *Partition) hasEpoch(epoch int32) bool {
	text := fmt.Sprintf(" epoch=%d ", epoch)
	return slices.ContainsFunc(p.Records, func(line string) bool { return containsBeforeKey(line, text) })
}

func (o *observer) lookups(ctx context.Context) error {
	for n, timestamps := range o.times {
		for _, asked := range askedTimes(timestamps) {
			tp := splitName(n)
			got, err := o.admin.ListOffsetsAfterMilli(ctx, asked, tp.topic)
			if err != nil {
				return err
			}
			at, _ := got.Lookup(tp.topic, tp.partition)
			if at.Err != nil {
				return at.Err
			}
			p := o.found[n]
			p.Times = append(p.Times, timeLine(asked, at.Offset, at.Timestamp))
			o.found[n] = p
		}
	}
	return nil
}
