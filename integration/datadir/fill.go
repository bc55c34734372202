package datadir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	// Group is the consumer group that has committed an offset.
	Group = "golden-group"
	// CommittedTopic is where.
	CommittedTopic = "plain"
	// CommittedOffset is what it has committed there.
	CommittedOffset = 7

	// OpenTopic is the topic in which each round of Fill with transactions leaves one open.
	OpenTopic = "txn-open"

	// segmentMs makes the topics with small segments roll: their records are recordStep apart.
	segmentMs  = 30_000
	recordStep = time.Second
	retryPause = 100 * time.Millisecond
)

// kind is a topic and what is written to it.
type kind struct {
	name    string
	configs map[string]string
	txn     bool // needs a transaction coordinator
	write   func(*filler) error
}

// kinds are the topics of Fill.
func kinds() []kind {
	rolled := map[string]string{"segment.ms": fmt.Sprint(segmentMs), "index.interval.bytes": "300"}
	compacted := func(more ...string) map[string]string {
		c := map[string]string{
			"cleanup.policy": "compact", "segment.ms": fmt.Sprint(segmentMs), "min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": "0",
		}
		for i := 0; i < len(more); i += 2 {
			c[more[i]] = more[i+1]
		}
		return c
	}
	all := []kind{
		{name: "plain", write: (*filler).plain},
		{name: "headers", write: (*filler).headers},
		{name: "tombstones", write: (*filler).tombstones},
		{name: "append-time", configs: map[string]string{"message.timestamp.type": "LogAppendTime"}, write: (*filler).codecsInTurn},
		{name: "recompressed", configs: map[string]string{"compression.type": "zstd"}, write: (*filler).codecsInTurn},
		{name: "segments", configs: rolled, write: (*filler).segments},
		{name: "deleted", configs: rolled, write: (*filler).deleted},
		{name: "emptied", configs: rolled, write: (*filler).emptied},
		{name: "compacted", configs: compacted("delete.retention.ms", "86400000"), write: (*filler).keyed},
		{name: "compacted-now", configs: compacted("delete.retention.ms", "0"), write: (*filler).keyed},
		{name: "compacted-lz4", configs: compacted("compression.type", "lz4"), write: (*filler).keyed},
		{name: "txn", txn: true, write: (*filler).transactions},
		{name: "txn-segments", configs: rolled, txn: true, write: (*filler).transactions},
		{name: "txn-compacted", configs: compacted("delete.retention.ms", "0", "segment.ms", "1"), txn: true, write: (*filler).transactions},
		{name: OpenTopic, txn: true, write: (*filler).openTransaction},
	}
	for _, codec := range codecs {
		all = append(all, kind{name: "codec-" + codec.name, write: func(f *filler) error { return f.codec(codec.codec) }})
	}
	return all
}

var codecs = []struct {
	name  string
	codec kgo.CompressionCodec
}{
	{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()},
	{"zstd", kgo.ZstdCompression()},
}

// Topics are the names of the topics of Fill, with those of transactions or without.
func Topics(txns bool) (names []string) {
	for _, k := range kinds() {
		if txns || !k.txn {
			names = append(names, k.name)
		}
	}
	return names
}

// noCompaction is a min.compaction.lag.ms that keeps a cleaner from its work.
const noCompaction = "2592000000"

// Create makes the topics of Fill at the broker at addr, which may still be starting. Without compaction their cleaning begins with Compact.
func Create(ctx context.Context, addr string, txns, compaction bool) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, k := range kinds() {
		if k.txn && !txns {
			continue
		}
		configs := map[string]*string{"retention.ms": new("-1"), "segment.index.bytes": new("4096")}
		for key, value := range k.configs {
			if key == "min.compaction.lag.ms" && !compaction {
				value = noCompaction
			}
			configs[key] = &value
		}
		err := retry(ctx, func() error {
			_, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, configs, k.name)
			if errors.Is(err, kerr.TopicAlreadyExists) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("creating %s: %w", k.name, err)
		}
	}
	return nil
}

// Compact lets the cleaner begin that Create held back.
func Compact(ctx context.Context, addr string, txns bool) error {
	return CompactTopics(ctx, addr, Compacted(txns)...)
}

// CreateCompacted makes a compacted topic, with more configs of the form key=value, whose cleaning begins with CompactTopics.
func CreateCompacted(ctx context.Context, addr, topic string, more ...string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	configs := map[string]*string{
		"cleanup.policy": new("compact"), "retention.ms": new("-1"), "min.cleanable.dirty.ratio": new("0.01"), "min.compaction.lag.ms": new(noCompaction),
		"segment.ms": new("9223372036854775807"),
	}
	for _, line := range more {
		key, value, _ := strings.Cut(line, "=")
		configs[key] = &value
	}
	return retry(ctx, func() error {
		_, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, configs, topic)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		return err
	})
}

// CompactTopics lets the cleaner begin to clean the topics.
func CompactTopics(ctx context.Context, addr string, topics ...string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "min.compaction.lag.ms", Value: new("0")}}
	answers, err := kadm.NewClient(client).AlterTopicConfigs(ctx, change, topics...)
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	return err
}

// SkipProducerIDs has the broker at addr hand out producer ids until they are above all that the partitions know: a producer that got the id of one from another
// cluster would be taken for it.
func SkipProducerIDs(ctx context.Context, addr string, known Partitions) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	req := kmsg.NewPtrInitProducerIDRequest()
	for above := known.maxProducerID(); ; {
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil && !kerr.IsRetriable(err) {
			return err
		}
		if resp.ProducerID > above {
			return nil
		}
	}
}

// retry calls fn until it succeeds or ctx ends.
func retry(ctx context.Context, fn func() error) error {
	tick := time.NewTicker(retryPause)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// filler writes one topic in one round.
type filler struct {
	ctx   context.Context
	addr  string
	topic string
	round int
	at    time.Time // timestamp of the next record
}

// Fill writes to the topics that Create made, and commits an offset. Rounds count from 0; each writes something else. base is the timestamp of the
// first records.
func Fill(ctx context.Context, addr string, round int, base time.Time, txns bool) error {
	for _, k := range kinds() {
		if k.txn && !txns {
			continue
		}
		f := &filler{ctx: ctx, addr: addr, topic: k.name, round: round, at: base.Add(time.Duration(round) * 10 * time.Minute)}
		if err := k.write(f); err != nil {
			return fmt.Errorf("writing %s: %w", k.name, err)
		}
	}
	return Commit(ctx, addr)
}

// Commit commits an offset of the group, by the topic's name: where its folder is adopted the topic has another id.
func Commit(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		return err
	}
	defer client.Close()
	var offsets kadm.Offsets
	offsets.AddOffset(CommittedTopic, 0, CommittedOffset, 0)
	return retry(ctx, func() error {
		answer, err := kadm.NewClient(client).CommitOffsets(ctx, Group, offsets)
		return errors.Join(err, answer.Error())
	})
}

// Committed is the offset that Fill committed, as the broker at addr tells it.
func Committed(ctx context.Context, addr string) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	offset := int64(-1)
	err = retry(ctx, func() error {
		all, err := kadm.NewClient(client).FetchOffsets(ctx, Group)
		if o, ok := all.Lookup(CommittedTopic, 0); ok {
			offset = o.At
		}
		return errors.Join(err, all.Error())
	})
	return offset, err
}

// with runs fn with a client of the topic.
func (f *filler) with(fn func(*kgo.Client) error, opts ...kgo.Opt) error {
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(f.addr), kgo.DefaultProduceTopic(f.topic), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, opts...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(client)
}

// send produces records that should make one batch, and waits.
func (f *filler) send(client *kgo.Client, records ...*kgo.Record) error {
	for _, r := range records {
		r.Timestamp = f.at
		f.at = f.at.Add(recordStep)
	}
	return client.ProduceSync(f.ctx, records...).FirstErr()
}

// values makes n records with keys and values that compress.
func (f *filler) values(what string, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		text := fmt.Sprintf("%s %d of round %d ", what, i, f.round)
		records[i] = &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: []byte(strings.Repeat(text, 1+i%3))}
	}
	return records
}

// batches sends several batches of a few records.
func (f *filler) batches(client *kgo.Client, what string, n int) error {
	for i := range n {
		if err := f.send(client, f.values(fmt.Sprintf("%s, batch %d", what, i), 1+i%4)...); err != nil {
			return err
		}
	}
	return nil
}

// plain writes without a producer id, and with acks=1.
func (f *filler) plain() error {
	return f.with(func(c *kgo.Client) error { return f.batches(c, "plain", 6) }, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
}

// codec writes as two idempotent producers.
func (f *filler) codec(codec kgo.CompressionCodec) error {
	for range 2 {
		if err := f.with(func(c *kgo.Client) error { return f.batches(c, "codec", 4) }, kgo.ProducerBatchCompression(codec)); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) codecsInTurn() error {
	for _, codec := range codecs {
		if err := f.with(func(c *kgo.Client) error { return f.batches(c, codec.name, 2) }, kgo.ProducerBatchCompression(codec.codec)); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) headers() error {
	return f.with(func(c *kgo.Client) error {
		return f.send(c,
			&kgo.Record{Value: []byte("one header"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}},
			&kgo.Record{Key: []byte{}, Value: []byte{}, Headers: []kgo.RecordHeader{{Key: "null", Value: nil}, {Key: "empty", Value: []byte{}}, {Key: "", Value: []byte{0, 255}}}},
			&kgo.Record{Key: []byte("twice"), Headers: []kgo.RecordHeader{{Key: "same", Value: []byte("1")}, {Key: "same", Value: []byte("2")}}},
			&kgo.Record{Value: []byte("none")})
	})
}

func (f *filler) tombstones() error {
	return f.with(func(c *kgo.Client) error {
		records := f.values("before", 4)
		records = append(records, &kgo.Record{Key: []byte("key-1")}, &kgo.Record{Key: []byte("key-3")}, &kgo.Record{})
		return f.send(c, records...)
	})
}

// segments rolls several times.
func (f *filler) segments() error {
	return f.with(func(c *kgo.Client) error { return f.batches(c, "segments", 50) })
}

// deleted removes the records below the middle of a batch in the second segment.
func (f *filler) deleted() error {
	if err := f.segments(); err != nil {
		return err
	}
	return f.deleteBefore(func(int64) int64 { return int64(40 + 60*f.round) })
}

// emptied removes all records, and writes none in the last round.
func (f *filler) emptied() error {
	if err := f.with(func(c *kgo.Client) error { return f.batches(c, "emptied", 8) }); err != nil {
		return err
	}
	return f.deleteBefore(func(end int64) int64 { return end })
}

func (f *filler) deleteBefore(offset func(end int64) int64) error {
	return f.with(func(c *kgo.Client) error {
		admin := kadm.NewClient(c)
		ends, err := admin.ListEndOffsets(f.ctx, f.topic)
		if err != nil {
			return err
		}
		end, _ := ends.Lookup(f.topic, 0)
		var offsets kadm.Offsets
		offsets.AddOffset(f.topic, 0, offset(end.Offset), -1)
		answer, err := admin.DeleteRecords(f.ctx, offsets)
		return errors.Join(err, answer.Error())
	})
}

// keyed overwrites few keys again and again, and deletes some, over several segments.
func (f *filler) keyed() error {
	return f.with(func(c *kgo.Client) error {
		for i := range 30 {
			records := f.values(fmt.Sprintf("version %d", i), 1+i%7)
			if i%6 == 5 {
				records = append(records, &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i%5)}, &kgo.Record{Key: fmt.Appendf(nil, "once-%d-%d", f.round, i)})
			}
			if err := f.send(c, records...); err != nil {
				return err
			}
		}
		return nil
	})
}

// transactions commits and aborts, with plain records in between.
func (f *filler) transactions() error {
	err := f.with(func(c *kgo.Client) error {
		for i := range 9 {
			if err := f.transaction(c, i, i%3 != 1); err != nil {
				return err
			}
		}
		return nil
	}, kgo.TransactionalID(f.topic))
	if err != nil {
		return err
	}
	return f.with(func(c *kgo.Client) error { return f.batches(c, "no transaction", 12) })
}

func (f *filler) transaction(c *kgo.Client, i int, commit bool) error {
	if err := c.BeginTransaction(); err != nil {
		return err
	}
	if err := f.batches(c, fmt.Sprintf("transaction %d", i), 1+i%4); err != nil {
		return err
	}
	return c.EndTransaction(f.ctx, kgo.TransactionEndTry(commit))
}

// openFor is the longest time for which brokers leave a transaction open by default.
const openFor = 15 * time.Minute

// openID is the transactional id of the transaction that a round leaves open.
func openID(round int) string { return fmt.Sprintf("%s-%d", OpenTopic, round) }

// EndOpen has the producer of the transaction that a round left open start anew, which aborts that.
func EndOpen(ctx context.Context, addr string, round int) error {
	return initProducer(ctx, addr, openID(round))
}

// CreateInternal has the broker at addr make __consumer_offsets and __transaction_state.
func CreateInternal(ctx context.Context, addr string) error {
	return errors.Join(Commit(ctx, addr), initProducer(ctx, addr, "creates the topic"))
}

// initProducer waits until a transactional producer has got its id and its earlier transaction, if there is one, has ended.
func initProducer(ctx context.Context, addr, transactionalID string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &transactionalID, int32(openFor.Milliseconds())
	return retry(ctx, func() error {
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
}

// openTransaction leaves one transaction open, with records of another producer behind.
func (f *filler) openTransaction() error {
	err := f.with(func(c *kgo.Client) error {
		for i := range 3 {
			if err := f.transaction(c, i, i != 1); err != nil {
				return err
			}
		}
		if err := c.BeginTransaction(); err != nil {
			return err
		}
		return f.batches(c, "open", 3)
	}, kgo.TransactionalID(openID(f.round)), kgo.TransactionTimeout(openFor))
	if err != nil {
		return err
	}
	return f.with(func(c *kgo.Client) error { return f.batches(c, "behind", 3) })
}
