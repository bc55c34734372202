package integration

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/server/servertest"
	"github.com/ottla/ottla/storage/vfs"
)

// freeze writes the archive of TestFreeze, for a folder that is to open for ever:
//
//	go test ./integration -run TestFreeze -freeze testdata/frozen/<name>.tar.gz
var freeze = flag.String("freeze", "", "leave the log dir of TestFreeze in this file")

// frozenLimit bounds what is asked of one broker.
const frozenLimit = time.Minute

// frozenTime is the timestamp of the frozen records: far ahead, so that their producers and they themselves do not expire.
var frozenTime = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)

// frozenSettings keep everything for ever.
func frozenSettings(dir string) []servertest.Option {
	return []servertest.Option{
		servertest.InDir(dir), servertest.With("log.message.timestamp.after.max.ms", "9223372036854775807"),
		servertest.With("offsets.topic.num.partitions", "1"), servertest.With("offsets.retention.minutes", "2147483647"),
		servertest.With("log.retention.ms", "-1"), servertest.With("log.cleaner.enable", "false"),
	}
}

// TestFrozen opens the data directories that earlier versions of Ottla have left: their topics, configs, records, offsets, groups and producers are there, and they can
// be written to.
func TestFrozen(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "frozen", "*.tar.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no frozen directories: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			thaw(t, file)
		})
	}
}

// TestFreeze makes such a directory and opens it.
func TestFreeze(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var want datadir.Partitions
	ok := t.Run("write", func(t *testing.T) { // the broker stops with it
		b := servertest.Start(t, frozenSettings(dir)...)
		ctx, cancel := context.WithTimeout(t.Context(), frozenLimit)
		defer cancel()
		if err := datadir.Create(ctx, b.Addr, false, false); err != nil {
			t.Fatal(err)
		}
		if err := datadir.Fill(ctx, b.Addr, 0, frozenTime, false); err != nil {
			t.Fatal(err)
		}
		var err error
		if want, err = datadir.Observe(ctx, b.Addr); err != nil {
			t.Fatal(err)
		}
	})
	if !ok {
		return
	}
	file := filepath.Join(t.TempDir(), "frozen.tar.gz")
	if *freeze != "" {
		file = *freeze
	}
	if err := datadir.Keep(dir, file, want, datadir.Temporary); err != nil {
		t.Fatal(err)
	}
	thaw(t, file)
}

func thaw(t *testing.T, file string) {
	dir := t.TempDir()
	if err := datadir.Unpack(file, vfs.OS(), dir); err != nil {
		t.Fatal(err)
	}
	want, err := datadir.ReadSample(vfs.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	b := servertest.Start(t, frozenSettings(dir)...)
	ctx, cancel := context.WithTimeout(t.Context(), frozenLimit)
	defer cancel()
	for _, when := range []string{"first start", "second start"} {
		if offset, err := datadir.Committed(ctx, b.Addr); err != nil || offset != datadir.CommittedOffset {
			t.Errorf("%s: committed offset %d, %v", when, offset, err)
		}
		got, err := datadir.Observe(ctx, b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range datadir.Diff(lasting(got.Sealed()), lasting(want.Partitions)) {
			t.Errorf("%s: %s", when, line)
		}
		if when == "first start" {
			b.Restart(t)
		}
	}
	frozenConfigs(ctx, t, b)
	frozenDuplicate(ctx, t, b)
}

// lasting leaves the producers of the topic out whose timestamps are those of the day it was written: they expire.
func lasting(p datadir.Partitions) datadir.Partitions {
	appendTime := p["append-time-0"]
	appendTime.Producers = nil
	p["append-time-0"] = appendTime
	return p.Restarted()
}

func frozenConfigs(ctx context.Context, t *testing.T, b *servertest.Broker) {
	t.Helper()
	configs, err := kadm.NewClient(newClient(t, b)).DescribeTopicConfigs(ctx, "compacted")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range configs[0].Configs {
		got[c.Key] = c.MaybeValue()
	}
	if got["cleanup.policy"] != "compact" || got["retention.ms"] != "-1" || got["segment.ms"] != "30000" {
		t.Errorf("configs of a compacted topic: %v", got)
	}
}

// frozenDuplicate produces the last batch of a topic once more: it is recognised and gets its old offset. The next one is appended, a gap is refused.
func frozenDuplicate(ctx context.Context, t *testing.T, b *servertest.Broker) {
	t.Helper()
	const topic = "codec-lz4"
	client := newClient(t, b)
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	last := lastBatch(ctx, t, client, topic, end.Offset-1)
	offset := last.BaseOffset()
	if base, code := produceRaw(ctx, t, client, topic, last); code != nil || base != offset {
		t.Errorf("the last batch again: offset %d, %v; want %d", base, code, offset)
	}
	next := record.NewBuilder()
	next.ProducerID, next.ProducerEpoch, next.BaseSequence = last.ProducerID(), last.ProducerEpoch(), last.LastSequence()+2
	next.Add(frozenTime.UnixMilli(), nil, []byte("thawed"))
	batch, err := next.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if base, code := produceRaw(ctx, t, client, topic, batch); !errors.Is(code, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("a batch after a gap: offset %d, %v", base, code)
	}
	next.Reset()
	next.BaseSequence = last.LastSequence() + 1
	next.Add(frozenTime.UnixMilli(), nil, []byte("thawed"))
	if batch, err = next.Build(nil); err != nil {
		t.Fatal(err)
	}
	if base, code := produceRaw(ctx, t, client, topic, batch); code != nil || base != end.Offset {
		t.Errorf("the next batch: offset %d, %v; want %d", base, code, end.Offset)
	}
}

// lastBatch fetches the batch with the record at offset.
func lastBatch(ctx context.Context, t *testing.T, client *kgo.Client, topic string, offset int64) record.Batch {
	t.Helper()
	details, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID = topic, details[topic].ID
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.FetchOffset, fp.PartitionMaxBytes = offset, 1<<20
	ft.Partitions = append(ft.Partitions, fp)
	req.Topics = append(req.Topics, ft)
	resp, err := req.RequestWith(ctx, client.Broker(1))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := record.NextBatch(resp.Topics[0].Partitions[0].RecordBatches)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// produceRaw sends one batch as it is.
func produceRaw(ctx context.Context, t *testing.T, client *kgo.Client, topic string, b record.Batch) (base int64, code error) {
	t.Helper()
	b.SetBaseOffset(0)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	details, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic, pt.TopicID = topic, details[topic].ID
	pp := kmsg.NewProduceRequestTopicPartition()
	pp.Records = b
	pt.Partitions = append(pt.Partitions, pp)
	req.Topics = append(req.Topics, pt)
	resp, err := req.RequestWith(ctx, client.Broker(1))
	if err != nil {
		t.Fatal(err)
	}
	got := resp.Topics[0].Partitions[0]
	return got.BaseOffset, kerr.ErrorForCode(got.ErrorCode)
}
