package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
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
const frozenLimit = 3 * time.Minute

// frozenTime is the timestamp of the frozen records: far ahead, so that their producers and they themselves do not expire.
var frozenTime = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)

// frozenSettings keep everything for ever: no record, offset, producer, member or transaction is too old.
func frozenSettings(dirs []string, more ...servertest.Option) []servertest.Option {
	const most = "2147483647"
	settings := []servertest.Option{
		servertest.InDir(strings.Join(dirs, ",")), servertest.With("log.message.timestamp.after.max.ms", "9223372036854775807"),
		servertest.With("offsets.topic.num.partitions", "1"), servertest.With("offsets.retention.minutes", most),
		servertest.With("log.retention.ms", "-1"), servertest.With("log.cleaner.enable", "false"),
		servertest.With("transaction.state.log.num.partitions", "1"), servertest.With("transaction.abort.timed.out.transaction.cleanup.interval.ms", most),
		servertest.With("transaction.remove.expired.transaction.cleanup.interval.ms", most),
		servertest.With("group.consumer.max.session.timeout.ms", most), servertest.With("group.consumer.session.timeout.ms", most),
	}
	return append(settings, more...)
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
	want := datadir.Sample{Dirs: []string{"first", "second"}}
	dirs := below(dir, want.Dirs)
	ok := t.Run("write", func(t *testing.T) { // the broker stops with it
		b := servertest.Start(t, frozenSettings(dirs, servertest.With("log.cleaner.enable", "true"), servertest.With("log.cleaner.backoff.ms", "50"))...)
		ctx, cancel := context.WithTimeout(t.Context(), frozenLimit)
		defer cancel()
		fillFrozen(ctx, t, b)
		awaitCleaned(ctx, t, dirs)
		var err error
		if want.Partitions, err = datadir.Observe(ctx, b.Addr); err != nil {
			t.Fatal(err)
		}
		if want.Cluster, err = datadir.ObserveCluster(ctx, b.Addr, dirs); err != nil {
			t.Fatal(err)
		}
		checkFrozen(t, want)
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

func below(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// awaitCleaned waits until the cleaner has nothing left to do.
func awaitCleaned(ctx context.Context, t *testing.T, dirs []string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, topic := range datadir.Compacted(true) {
		cleaned := func(dir string) bool {
			done, err := datadir.Cleaned(dir, topic)
			if err != nil {
				t.Fatal(err)
			}
			return done
		}
		for !slices.ContainsFunc(dirs, cleaned) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s is not compacted", topic)
			}
		}
	}
}

// checkFrozen verifies that there is something of all that is to be kept: what is not there cannot be lost.
func checkFrozen(t *testing.T, s datadir.Sample) {
	t.Helper()
	for what, lines := range map[string][]string{
		" consumer consumer Stable epoch ": s.Cluster.Groups, " classic consumer Stable protocol ": s.Cluster.Groups, " instance static-classic ": s.Cluster.Groups,
		" instance static-consumer ": s.Cluster.Groups, "group-of-frozen-offsets-true committed plain-0 5/": s.Cluster.Groups, " Ongoing ": s.Cluster.Transactions, " CompleteCommit ": s.Cluster.Transactions,
		"transaction.version 1": s.Cluster.Features, " in dir 0": s.Cluster.Places, " in dir 1": s.Cluster.Places, "1 message.max.bytes=1000000": s.Cluster.Configs,
		"compacted cleanup.policy=compact": s.Cluster.Configs,
	} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, what) }) {
			t.Errorf("no %q in %q", what, lines)
		}
	}
	p := s.Partitions
	if len(p["txn-0"].Aborted) == 0 || p["txn-open-0"].LastStable == p["txn-open-0"].LogEnd || len(p["txn-compacted-0"].Records) == int(p["txn-compacted-0"].LogEnd) {
		t.Error("no transaction was aborted, none is open, or nothing is compacted")
	}
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
	dirs := []string{dir}
	if len(want.Dirs) > 0 {
		dirs = below(dir, want.Dirs)
	}
	b := servertest.Start(t, frozenSettings(dirs)...)
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
		if want.Cluster != nil {
			cluster, err := datadir.ObserveCluster(ctx, b.Addr, dirs)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range datadir.DiffClusters(cluster, want.Cluster) {
				t.Errorf("%s: %s", when, line)
			}
		}
		if when == "first start" {
			b.Restart(t)
		}
	}
	frozenConfigs(ctx, t, b)
	frozenDuplicate(ctx, t, b)
	if want.Cluster != nil {
		frozenTransaction(ctx, t, b)
	}
}

// lasting leaves producers out whose last timestamp is of the day it was written, be it the broker's or that of the end of a transaction: they expire. Those with an open
// transaction do not.
func lasting(p datadir.Partitions) datadir.Partitions {
	for name, partition := range p {
		partition.Producers = slices.DeleteFunc(partition.Producers, func(line string) bool {
			_, text, _ := strings.Cut(line, " time=")
			var at int64
			if _, err := fmt.Sscan(text, &at); err != nil {
				panic(err) // a line that this package has written
			}
			return at < frozenTime.UnixMilli() && strings.HasSuffix(line, " txn=-1")
		})
		p[name] = partition
	}
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
