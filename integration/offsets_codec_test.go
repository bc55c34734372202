package integration

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/servertest"
)

// TestOffsetsAreCompressed commits offsets, and some with a transaction, where offsets.topic.compression.codec is zstd: their batches are, the marker's is not, and all is read
// back after a restart.
func TestOffsetsAreCompressed(t *testing.T) {
	t.Parallel()
	b := servertest.Start(t, servertest.InDir(t.TempDir()), servertest.With("offsets.topic.compression.codec", "4"), servertest.With("offsets.topic.num.partitions", "1"),
		servertest.With("transaction.state.log.num.partitions", "1"))
	createTopic(t, b, "plain", 1)
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	commit := func(group string, at int64) {
		t.Helper()
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: "plain", At: at, LeaderEpoch: -1})
		if answers, err := kadm.NewClient(newClient(t, b)).CommitOffsets(ctx, group, offsets); err != nil || answers.Error() != nil {
			t.Fatal(err, answers.Error())
		}
	}
	commit("plain", 7)
	commit("plain", 8)
	if err := frozenTxnOffset(ctx, newClient(t, b, kgo.MaxVersions(kversion.V3_7_0())), "codec", true); err != nil {
		t.Fatal(err)
	}
	b.Restart(t)
	got, err := kadm.NewClient(newClient(t, b)).FetchOffsets(ctx, "plain")
	if o, ok := got.Lookup("plain", 0); err != nil || !ok || o.At != 8 {
		t.Errorf("%v, %v", got, err)
	}
	reader := newClient(t, b, kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{protocol.GroupMetadataTopic: {0: kgo.NewOffset().AtStart()}}))
	codecs := map[bool]map[uint8]int{true: {}, false: {}} // of control records, of others
	for codecs[true][0] == 0 || codecs[false][4] < 3 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%v: %v", codecs, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { codecs[r.Attrs.IsControl()][r.Attrs.CompressionType()]++ })
	}
	if len(codecs[true]) != 1 || len(codecs[false]) != 1 {
		t.Errorf("codecs of control records and others: %v", codecs)
	}
}
