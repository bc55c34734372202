package metadata

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

func TestCheckpointNames(t *testing.T) {
	id := CheckpointID{816, 2}
	const name = "00000000000000000816-0000000002.checkpoint"
	if id.FileName() != name {
		t.Errorf("file name %s", id.FileName())
	}
	if got, ok := ParseCheckpointName(name); !ok || got != id {
		t.Errorf("%v, %v", got, ok)
	}
	for _, other := range []string{
		"", "bootstrap.checkpoint", name + ".part", name + ".deleted", "816-2.checkpoint", "0000000000000000081x-0000000002.checkpoint",
		"-0000000000000000816-0000000002.checkpoint", "00000000000000000816-9999999999.checkpoint", "00000000000000000816_0000000002.checkpoint",
		"99999999999999999999-0000000002.checkpoint",
	} {
		if id, ok := ParseCheckpointName(other); ok {
			t.Errorf("%s is %v", other, id)
		}
	}
}

// A checkpoint written here reads back as the image, and has the shape of Kafka's.
func TestCheckpointHoldsTheImage(t *testing.T) {
	image := fullImage(t)
	for i := range MaxCheckpointBatchRecords {
		image, _ = with(t, image, &schema.TopicRecord{Name: fmt.Sprint("t", i), TopicID: protocol.UUID{0x20, byte(i), byte(i >> 8)}})
	}
	voters := &schema.KRaftVoters{Voters: []schema.Voter{{ReplicaKey: schema.ReplicaKey{ID: 1, DirectoryID: uid(1)}, MaxKRaftVersion: 1}}}
	image, d, err := image.WithControls(image.Offset()+3, image.Epoch(), []schema.Control{&schema.LeaderChange{}, &schema.KRaftVersion{KRaftVersion: 1}, voters})
	if err != nil || !d.FeaturesChanged || image.Voters() != voters || image.FeatureLevel(protocol.KRaftVersion) != 1 {
		t.Fatalf("kraft.version %d, voters %v, %v", image.FeatureLevel(protocol.KRaftVersion), image.Voters(), err)
	}
	content, err := AppendCheckpoint(nil, image, CheckpointOptions{LastContainedLogTimestamp: 77, Now: 99})
	if err != nil {
		t.Fatal(err)
	}
	codecs := newCodecs(t)
	again, err := ReadCheckpoint(CheckpointID{image.Offset() + 1, image.Epoch()}, content, codecs)
	if err != nil {
		t.Fatal(err)
	}
	if d := Difference(image, again); changes(d) != "" || again.Offset() != image.Offset() || again.Epoch() != image.Epoch() {
		t.Errorf("read back: %s", changes(d))
	}
	if !reflect.DeepEqual(again.Voters(), voters) {
		t.Errorf("read back: voters %+v", again.Voters())
	}
	for _, r := range image.Records() {
		if f, ok := r.(*schema.FeatureLevelRecord); ok && f.Name == protocol.KRaftVersion {
			t.Error("kraft.version is in a record, too")
		}
	}
	var next int64
	var kinds []schema.ControlType
	for rest := content; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.Split(rest); err != nil {
			t.Fatal(err)
		}
		if b.BaseOffset() != next {
			t.Errorf("a batch at %d, not %d", b.BaseOffset(), next)
		}
		next = b.NextOffset()
		if !b.IsControl() {
			continue
		}
		if err := codecs.Records(b, func(r *record.Record) error {
			kind, err := schema.ParseControlKey(r.Key)
			kinds = append(kinds, kind)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := []schema.ControlType{schema.ControlSnapshotHeader, schema.ControlKRaftVersion, schema.ControlKRaftVoters, schema.ControlSnapshotFooter}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("control records %v", kinds)
	}
}

func TestBrokenCheckpoints(t *testing.T) {
	whole, err := os.ReadFile("testdata/4.3.1.checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	codecs, id := newCodecs(t), CheckpointID{816, 2}
	footer := 0
	for rest := whole; len(rest) > 0; {
		b, after, err := record.Split(rest)
		if err != nil {
			t.Fatal(err)
		}
		footer, rest = len(whole)-len(rest), after
		_ = b
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	header, _, err := record.Split(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":          nil,
		"cut":            whole[:len(whole)-1],
		"without footer": whole[:footer],
		"without header": whole[len(header):],
		"a flipped bit":  flipped,
		"twice":          append(bytes.Clone(whole), whole...),
	} {
		if _, err := ReadCheckpoint(id, content, codecs); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}
