package metadata

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// batchOf builds a batch of records at an offset, as the controller of epoch 2 writes it.
func batchOf(t testing.TB, base int64, records ...schema.MetadataRecord) record.Batch {
	t.Helper()
	w := record.NewBuilder()
	w.BaseOffset, w.LeaderEpoch = base, 2
	for _, r := range records {
		w.Add(1000, nil, r.Append(nil))
	}
	b, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(record.Batch(nil), b...)
}

// controlBatch builds a LEADER_CHANGE batch at an offset.
func controlBatch(t testing.TB, base int64) record.Batch {
	t.Helper()
	w := record.NewBuilder()
	w.BaseOffset, w.LeaderEpoch, w.Control = base, 2, true
	change := &schema.LeaderChange{LeaderID: 1}
	w.Add(1000, schema.AppendControlKey(nil, change.Type()), change.Append(nil))
	b, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(record.Batch(nil), b...)
}

func newCodecs(t testing.TB) *record.Codecs {
	c := record.NewCodecs()
	t.Cleanup(c.Close)
	return c
}

func add(t testing.TB, l *Loader, batches ...record.Batch) *Delta {
	t.Helper()
	for _, b := range batches {
		if err := l.Add(b); err != nil {
			t.Fatal(err)
		}
	}
	_, d, err := l.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLoaderHoldsTransactionsBack(t *testing.T) {
	l := NewLoader(Empty(), newCodecs(t))
	d := add(t, l, controlBatch(t, 0), batchOf(t, 1, append(topicRecords("before", uid(1), 1), &schema.BeginTransactionRecord{}, &schema.TopicRecord{Name: "a", TopicID: uid(2)})...))
	if got := names(d.Image.Topics()); got != "before" || d.Image.Offset() != 2 {
		t.Errorf("topics %q at offset %d", got, d.Image.Offset())
	}
	if d := add(t, l, batchOf(t, 5, topicRecords("b", uid(3), 1)...)); d != nil {
		t.Errorf("something took effect within the transaction: %s", changes(d))
	}
	if l.NextOffset() != 7 || l.Image().Epoch() != 2 {
		t.Errorf("next offset %d, epoch %d", l.NextOffset(), l.Image().Epoch())
	}
	d = add(t, l, batchOf(t, 7, &schema.EndTransactionRecord{}, &schema.TopicRecord{Name: "c", TopicID: uid(4)}))
	if got := names(d.Image.Topics()); got != "a b before c" || d.Image.Offset() != 8 || len(d.Topics) != 3 {
		t.Errorf("topics %q at offset %d, %d changed", got, d.Image.Offset(), len(d.Topics))
	}
	d = add(t, l, batchOf(t, 9, &schema.BeginTransactionRecord{}, &schema.TopicRecord{Name: "never", TopicID: uid(9)}, &schema.AbortTransactionRecord{}))
	if got := names(d.Image.Topics()); got != "a b before c" || d.Image.Offset() != 11 || changes(d) != "" {
		t.Errorf("topics %q at offset %d: %s", got, d.Image.Offset(), changes(d))
	}
	if d := add(t, l, batchOf(t, 12, &schema.NoOpRecord{})); d == nil || d.Image.Offset() != 12 || changes(d) != "" {
		t.Error("a NoOpRecord does not move the image on")
	}
	if d := add(t, l); d != nil {
		t.Error("a delta of nothing")
	}
}

// Reading starts with the batch that holds the next offset; what of it was read before must not be applied twice.
func TestLoaderPassesOverWhatItHas(t *testing.T) {
	image, _ := with(t, Empty(), topicRecords("a", uid(1), 1)...)
	l := NewLoader(image, newCodecs(t))
	d := add(t, l, batchOf(t, 0, append(topicRecords("a", uid(1), 1), &schema.TopicRecord{Name: "b", TopicID: uid(2)})...))
	if got := names(d.Image.Topics()); got != "a b" || d.Image.Offset() != 2 {
		t.Errorf("topics %q at offset %d", got, d.Image.Offset())
	}
	if d := add(t, l, batchOf(t, 0, topicRecords("a", uid(1), 1)...)); d != nil {
		t.Error("an old batch took effect")
	}
}

func TestLoaderFails(t *testing.T) {
	garbage := record.NewBuilder()
	garbage.Add(0, nil, []byte{1, 99, 0})
	b, err := garbage.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]record.Batch{
		"a record of an unknown type":    b,
		"a record that does not fit":     batchOf(t, 0, &schema.RemoveTopicRecord{TopicID: uid(1)}),
		"an end without a begin":         batchOf(t, 0, &schema.EndTransactionRecord{}),
		"an abort without a begin":       batchOf(t, 0, &schema.AbortTransactionRecord{}),
		"a begin within a transaction":   batchOf(t, 0, &schema.BeginTransactionRecord{}, &schema.BeginTransactionRecord{}),
		"a bad record in a transaction":  batchOf(t, 0, &schema.BeginTransactionRecord{}, &schema.RemoveTopicRecord{TopicID: uid(1)}, &schema.EndTransactionRecord{}),
		"a topic without its partitions": batchOf(t, 0, &schema.TopicRecord{Name: "a", TopicID: uid(1)}, &schema.PartitionRecord{PartitionID: 1, TopicID: uid(1)}),
	} {
		l := NewLoader(Empty(), newCodecs(t))
		first := l.Add(bad)
		if first == nil {
			_, _, first = l.Commit()
		}
		if first == nil {
			t.Errorf("%s was taken", name)
			continue
		}
		if again := l.Add(batchOf(t, 5, &schema.NoOpRecord{})); !errors.Is(again, first) {
			t.Errorf("%s: the loader goes on: %v", name, again)
		}
		if _, _, err := l.Commit(); !errors.Is(err, first) || l.Image().Offset() != -1 {
			t.Errorf("%s: it commits: %v", name, err)
		}
	}
}

// load reads a golden file up to (excluding) an offset.
func load(t testing.TB, file string, until int64) *Image {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLoader(Empty(), newCodecs(t))
	for len(content) > 0 {
		b, rest, err := record.Split(content)
		if err != nil {
			t.Fatal(err)
		}
		if content = rest; b.BaseOffset() >= until {
			break
		}
		if err := l.Add(b); err != nil {
			t.Fatal(err)
		}
	}
	image, _, err := l.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// The log of Apache Kafka 4.3.1 makes the image that Apache Kafka 4.3.1 wrote into its snapshot at offset 816.
func TestLogAndSnapshotOfApacheKafka(t *testing.T) {
	content, err := os.ReadFile("testdata/4.3.1.checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := ReadCheckpoint(CheckpointID{816, 2}, content, newCodecs(t))
	if err != nil {
		t.Fatal(err)
	}
	image := load(t, "testdata/4.3.1.log", 816)
	if image.Offset() != 815 || snapshot.Offset() != 815 || image.Epoch() != 2 || snapshot.Epoch() != 2 {
		t.Errorf("offsets %d and %d, epochs %d and %d", image.Offset(), snapshot.Offset(), image.Epoch(), snapshot.Epoch())
	}
	if d := Difference(snapshot, image); changes(d) != "" {
		t.Errorf("they differ: %s", changes(d))
	}
	if got := names(image.Topics()); !strings.Contains(got, "golden-a") || strings.Contains(got, "golden.b") {
		t.Errorf("topics %s", got)
	}
	if image.Features()[protocol.MetadataVersion] != 30 || image.ScramCredential(2, "alice") == nil || image.ScramCredential(1, "alice") != nil {
		t.Errorf("features %v", image.Features())
	}
	if image.Config(2, "golden-a")["cleanup.policy"] != "compact" || image.Config(4, "")["message.max.bytes"] != "2000000" {
		t.Error("configs")
	}
}
