package controller

import (
	"bytes"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// registrations are the versions of the RegisterBrokerRecords in batches.
func registrations(t *testing.T, content []byte) (versions []byte) {
	t.Helper()
	codecs := record.NewCodecs()
	defer codecs.Close()
	for len(content) > 0 {
		b, rest, err := record.Split(content)
		if err != nil {
			t.Fatal(err)
		}
		content = rest
		if b.IsControl() {
			continue
		}
		if err := codecs.Records(b, func(r *record.Record) error {
			if r.Value[1] == 0 {
				versions = append(versions, r.Value[2])
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return versions
}

// TestRecordsOfTheFinalizedLevel: nodes of an older release read what is written, in batches and in checkpoints, until metadata.version is raised.
func TestRecordsOfTheFinalizedLevel(t *testing.T) {
	for before, want := range map[int16]byte{26: 3, 29: 3, 30: 4} {
		v := newTestView(t, nil, records(one(level(protocol.MetadataVersion, before)), one(featureBroker(1)))...)
		b, err := metadataBatch(7, 1, 1, v.Image.FeatureLevel(protocol.MetadataVersion), one(featureBroker(2)))
		if err != nil {
			t.Fatal(err)
		}
		if got := registrations(t, b); !bytes.Equal(got, []byte{want}) {
			t.Errorf("level %d: a registration in version %d, want %d", before, got, want)
		}
		var checkpoint bytes.Buffer
		if err := writeCheckpoint(&checkpoint, v.Image, 1, position{Index: 1, EndOffset: v.Image.Offset() + 1}); err != nil {
			t.Fatal(err)
		}
		if got := registrations(t, checkpoint.Bytes()); !bytes.Equal(got, []byte{want}) {
			t.Errorf("level %d: a checkpoint with version %d, want %d", before, got, want)
		}
	}
}

// TestCordonedDirsOfTheFinalizedLevel: what a newer broker says of them is not recorded before all nodes know of it.
func TestCordonedDirsOfTheFinalizedLevel(t *testing.T) {
	for before, want := range map[int16]int{29: 0, 30: 1} {
		v := newTestView(t, nil, records(one(level(protocol.MetadataVersion, before)), one(featureBroker(1)))...)
		b := v.Image.Broker(1)
		req := &kmsg.BrokerHeartbeatRequest{BrokerID: 1, BrokerEpoch: b.Epoch, CurrentMetadataOffset: v.Image.Offset(), CordonedLogDirs: [][16]byte{b.Directories[0]}}
		d, err := heartbeat(v, req, &kmsg.BrokerHeartbeatResponse{})
		if err != nil || len(d.Records) != want {
			t.Errorf("level %d: %v, %v", before, d.Records, err)
		}
	}
}
