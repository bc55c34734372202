package controller

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newTestView is the view of a cluster to which records were applied.
func newTestView(t *testing.T, static map[string]string, records ...schema.MetadataRecord) *View {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	img := metadata.Empty()
	v := &View{
		Image: img, NodeID: 1, ClusterID: testCluster, Now: testNow, Rand: rand.New(rand.NewPCG(1, 2)),
		static: values, names: newTopicNames(img), index: newIndex(img),
	}
	records = append([]schema.MetadataRecord{&schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: protocol.LatestMetadataVersion}}, records...)
	if err := v.advance(1, records); err != nil {
		t.Fatal(err)
	}
	v.Sessions = newSessions(v.Image, 9*time.Second, testNow)
	return v
}

// liveBroker is a registered broker that is not fenced.
func liveBroker(id int32) *schema.RegisterBrokerRecord {
	return &schema.RegisterBrokerRecord{
		BrokerID: id, IncarnationID: uuid(byte(id)), BrokerEpoch: int64(100 + id), LogDirs: []protocol.UUID{uuid(byte(200 + id))},
	}
}

func fencedBroker(id int32) *schema.RegisterBrokerRecord {
	b := liveBroker(id)
	b.Fenced = true
	return b
}

// existing is a topic with one partition for each list of replicas; all of them are in the ISR and the first leads.
func existing(name string, id protocol.UUID, replicas ...[]int32) []schema.MetadataRecord {
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: id}}
	for i, r := range replicas {
		records = append(records, &schema.PartitionRecord{
			PartitionID: int32(i), TopicID: id, Replicas: r, ISR: r, Leader: r[0], Directories: make([]protocol.UUID, len(r)),
		})
	}
	return records
}

func records(groups ...[]schema.MetadataRecord) []schema.MetadataRecord {
	return slices.Concat(groups...)
}

func one(rs ...schema.MetadataRecord) []schema.MetadataRecord { return rs }

func ptr[T any](x T) *T { return &x }

// apply makes a decision part of the view, as the controller does.
func apply(t *testing.T, v *View, d Decision) {
	t.Helper()
	if err := v.advance(1, d.Records); err != nil {
		t.Fatal(err)
	}
}

func newTopicRequest(name string, partitions int32, replicas int16) kmsg.CreateTopicsRequestTopic {
	r := kmsg.NewCreateTopicsRequestTopic()
	r.Topic, r.NumPartitions, r.ReplicationFactor = name, partitions, replicas
	return r
}

func TestTopicNamesFollowTheView(t *testing.T) {
	v := newTestView(t, nil, existing("a.b", uuid(1), []int32{1})...)
	if got := v.names.colliding("a_b"); got != "a.b" {
		t.Errorf("colliding with a_b: %q", got)
	}
	apply(t, v, Decision{Records: one(&schema.RemoveTopicRecord{TopicID: uuid(1)})})
	if got := v.names.colliding("a_b"); got != "" {
		t.Errorf("after the deletion a_b still collides with %q", got)
	}
	if len(v.names.unified) != 0 {
		t.Errorf("%d names are kept of no topic", len(v.names.unified))
	}
}

func TestViewSeesDynamicBrokerConfigs(t *testing.T) {
	v := newTestView(t, map[string]string{"num.partitions": "3"}, liveBroker(1))
	if got := v.Config().String("log.cleaner.threads"); got != "1" {
		t.Fatalf("log.cleaner.threads before: %s", got)
	}
	apply(t, v, Decision{Records: one(&schema.ConfigRecord{ResourceType: 4, ResourceName: "", Name: "log.cleaner.threads", Value: ptr("2")})})
	if got := v.Config().String("log.cleaner.threads"); got != "2" {
		t.Errorf("log.cleaner.threads after a cluster-wide change: %s", got)
	}
	apply(t, v, Decision{Records: one(&schema.ConfigRecord{ResourceType: 4, ResourceName: "1", Name: "log.cleaner.threads", Value: ptr("4")})})
	if got := v.Config().String("log.cleaner.threads"); got != "4" {
		t.Errorf("log.cleaner.threads after this node's own change: %s", got)
	}
	if got := v.Config().Int("num.partitions"); got != 3 {
		t.Errorf("num.partitions: %d", got)
	}
}

// codes maps names to error codes.
func codes(resp *kmsg.CreateTopicsResponse) map[string]protocol.Code {
	out := map[string]protocol.Code{}
	for _, r := range resp.Topics {
		out[r.Topic] = protocol.Code(r.ErrorCode)
	}
	return out
}

func equalCodes(t *testing.T, got, want map[string]protocol.Code) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("codes %v, want %v", got, want)
	}
}
