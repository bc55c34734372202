package controller

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage/vfs"
)

// TestWhatAReleaseDoesNotKnowEndsIt: a newer release has written it, and to go on without it would be to lose metadata.
func TestWhatAReleaseDoesNotKnowEndsIt(t *testing.T) {
	level := func(name string, level int16) func(*raftQuorum) []byte {
		return func(q *raftQuorum) []byte {
			img := q.Image()
			b, err := metadataBatch(img.Offset()+1, img.Epoch(), 1, 0, []schema.MetadataRecord{&schema.FeatureLevelRecord{Name: name, FeatureLevel: level}})
			if err != nil {
				t.Fatal(err)
			}
			return append([]byte{entryBatch}, b...)
		}
	}
	for name, c := range map[string]struct {
		entry func(*raftQuorum) []byte
		want  string
	}{
		"kind of entry": {func(*raftQuorum) []byte { return []byte{200, 1} }, "kind 200"},
		"level":         {level(protocol.MetadataVersion, protocol.LatestMetadataVersion+1), "finalized level 31 of metadata.version, and this release supports levels 7 to 30"},
		"feature":       {level("lightning.version", 1), "finalized level 1 of lightning.version"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := startNode(t, vfs.NewMem(), nil)
				defer n.close()
				q := n.quorum.(*raftQuorum)
				for tries := 0; q.health.check() == nil && tries < 1000; tries++ {
					_ = q.raft.Apply(c.entry(q), 0).Error() // not at the right offset if the controller has proposed something meanwhile
				}
				if err := q.health.check(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("it ended with %v, want %s", err, c.want)
				}
				<-n.failed
			})
		})
	}
}
