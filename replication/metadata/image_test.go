package metadata

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

func ptr[T any](v T) *T { return &v }

func uid(n byte) protocol.UUID { return protocol.UUID{0: 0x10, 15: n} }

// with applies records one offset after another.
func with(t testing.TB, i *Image, records ...schema.MetadataRecord) (*Image, *Delta) {
	t.Helper()
	next, d, err := i.With(i.Offset()+int64(len(records)), 3, records)
	if err != nil {
		t.Fatal(err)
	}
	return next, d
}

func topicRecords(name string, id protocol.UUID, partitions int) []schema.MetadataRecord {
	out := []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: id}}
	for p := range partitions {
		out = append(out, &schema.PartitionRecord{
			PartitionID: int32(p), TopicID: id, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1,
			Directories: []protocol.UUID{uid(101), uid(102)},
		})
	}
	return out
}

func names(topics func(func(*Topic) bool)) string {
	var out []string
	for t := range topics {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

func TestTopicsAreFoundByNameAndID(t *testing.T) {
	image, d := with(t, Empty(), slices.Concat(topicRecords("b", uid(2), 3), topicRecords("a", uid(1), 1), topicRecords("ab", uid(3), 0))...)
	if image.Offset() != 6 || image.Epoch() != 3 || image.TopicCount() != 3 {
		t.Errorf("offset %d, epoch %d, %d topics", image.Offset(), image.Epoch(), image.TopicCount())
	}
	if got := names(image.Topics()); got != "a ab b" {
		t.Errorf("topics %s", got)
	}
	if got := names(image.TopicsFrom("aa")); got != "ab b" {
		t.Errorf("topics from aa: %s", got)
	}
	if b := image.Topic("b"); b == nil || b != image.TopicByID(uid(2)) || len(b.Partitions) != 3 {
		t.Errorf("topic b: %+v", b)
	}
	if image.Topic("c") != nil || image.TopicByID(uid(9)) != nil || image.Partition("c", 0) != nil || image.Partition("b", 3) != nil ||
		image.Partition("b", -1) != nil {
		t.Error("something was found that is not there")
	}
	if p := image.Partition("b", 2); p == nil || p.ID != 2 || p.Leader != 1 || !slices.Equal(p.Replicas, []int32{1, 2}) {
		t.Errorf("partition b-2: %+v", p)
	}
	if td := d.Topics[uid(2)]; td == nil || !td.Created || !slices.Equal(td.Partitions, []int32{0, 1, 2}) || td.Topic != image.Topic("b") {
		t.Errorf("delta of b: %+v", td)
	}
	if d.Image != image || d.Before.Offset() != -1 {
		t.Error("the delta names other images")
	}
}

func TestPartitionChange(t *testing.T) {
	before, _ := with(t, Empty(), topicRecords("a", uid(1), 2)...)
	leave := schema.NewPartitionChangeRecord(uid(1), 1)
	leave.ISR, leave.Leader, leave.EligibleLeaderReplicas = []int32{2}, 2, []int32{1}
	after, d := with(t, before, leave)
	p := after.Partition("a", 1)
	if p.Leader != 2 || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 || !slices.Equal(p.ISR, []int32{2}) || !slices.Equal(p.ELR, []int32{1}) {
		t.Errorf("after the change: %+v", p)
	}
	if !slices.Equal(p.Replicas, []int32{1, 2}) || len(p.Directories) != 2 {
		t.Errorf("what the record does not name changed: %+v", p)
	}
	if old := before.Partition("a", 1); old.Leader != 1 || old.PartitionEpoch != 0 || before.Offset() != 2 {
		t.Errorf("the image before changed: %+v", old)
	}
	if after.Partition("a", 0) != before.Partition("a", 0) {
		t.Error("another partition was copied")
	}
	if td := d.Topics[uid(1)]; td.Created || !slices.Equal(td.Partitions, []int32{1}) || len(d.Topics) != 1 {
		t.Errorf("delta: %+v", td)
	}
	if after.TopicByID(uid(1)) != after.Topic("a") {
		t.Error("the maps by name and by id disagree")
	}

	isrOnly := schema.NewPartitionChangeRecord(uid(1), 1)
	isrOnly.ISR = []int32{2, 1}
	later, _ := with(t, after, isrOnly)
	if p := later.Partition("a", 1); p.LeaderEpoch != 1 || p.PartitionEpoch != 2 || p.Leader != 2 {
		t.Errorf("a change without leader: %+v", p)
	}
	moved := schema.NewPartitionChangeRecord(uid(1), 1)
	moved.Replicas = []int32{2, 3}
	last, _ := with(t, later, moved)
	if p := last.Partition("a", 1); !slices.Equal(p.Directories, []protocol.UUID{uid(102), {}}) {
		t.Errorf("directories after a move: %v", p.Directories)
	}
	leaderless := schema.NewPartitionChangeRecord(uid(1), 1)
	leaderless.Leader, leaderless.LeaderRecoveryState = -1, 1
	last, _ = with(t, last, leaderless, &schema.ClearELRRecord{TopicName: "a"})
	if p := last.Partition("a", 1); p.Leader != -1 || p.LeaderEpoch != 2 || p.LeaderRecoveryState != 1 || len(p.ELR) != 0 {
		t.Errorf("without leader: %+v", p)
	}
}

func TestPartitionsMayComeOutOfOrder(t *testing.T) {
	records := topicRecords("a", uid(1), 4)
	shuffled := []schema.MetadataRecord{records[0], records[4], records[2], records[1], records[3]}
	image, _ := with(t, Empty(), shuffled...)
	for i, p := range image.Topic("a").Partitions {
		if p == nil || p.ID != int32(i) {
			t.Fatalf("partition %d: %+v", i, p)
		}
	}
	if _, _, err := Empty().With(0, 0, shuffled[:3]); err == nil {
		t.Error("a topic without its partition 0 was made")
	}
}

func TestTopicRemoval(t *testing.T) {
	retention := &schema.ConfigRecord{ResourceType: 2, ResourceName: "a", Name: "retention.ms", Value: ptr("1")}
	before, _ := with(t, Empty(), append(topicRecords("a", uid(1), 1), retention)...)
	after, d := with(t, before, &schema.RemoveTopicRecord{TopicID: uid(1)})
	if after.Topic("a") != nil || after.TopicByID(uid(1)) != nil || after.TopicCount() != 0 || after.Config(config.Topic, "a") != nil {
		t.Error("the topic is still there")
	}
	if d.Deleted[uid(1)] != before.Topic("a") || len(d.Topics) != 0 {
		t.Errorf("delta: %+v", d)
	}
	if before.Topic("a") == nil || before.Config(config.Topic, "a") == nil {
		t.Error("the image before lost it")
	}
	// Deleted and made again in one batch: two topics of one name.
	again, d := with(t, before, append([]schema.MetadataRecord{&schema.RemoveTopicRecord{TopicID: uid(1)}}, topicRecords("a", uid(2), 2)...)...)
	if again.Topic("a").ID != uid(2) || again.TopicByID(uid(1)) != nil || d.Deleted[uid(1)] == nil || !d.Topics[uid(2)].Created ||
		again.Config(config.Topic, "a") != nil {
		t.Errorf("made again: %+v, %+v", again.Topic("a"), d)
	}
	// Made and deleted in one batch: nothing happened.
	none, d := with(t, before, append(topicRecords("x", uid(5), 1), retention, &schema.RemoveTopicRecord{TopicID: uid(5)})...)
	if none.TopicCount() != 1 || len(d.Topics) != 0 || len(d.Deleted) != 0 {
		t.Errorf("%d topics, delta %+v", none.TopicCount(), d)
	}
}

func TestConfigs(t *testing.T) {
	set := func(kind int8, name, key string, value *string) schema.MetadataRecord {
		return &schema.ConfigRecord{ResourceType: kind, ResourceName: name, Name: key, Value: value}
	}
	before, d := with(t, Empty(),
		set(2, "a", "retention.ms", ptr("1")), set(2, "a", "cleanup.policy", ptr("compact")), set(4, "", "message.max.bytes", ptr("9")),
		set(2, "b", "retention.ms", ptr("2")))
	if got := before.Config(config.Topic, "a"); !maps.Equal(got, map[string]string{"retention.ms": "1", "cleanup.policy": "compact"}) {
		t.Errorf("topic a: %v", got)
	}
	if got := before.Config(config.Broker, ""); got["message.max.bytes"] != "9" {
		t.Errorf("brokers: %v", got)
	}
	if before.Config(config.Broker, "1") != nil || before.Config(config.Group, "a") != nil {
		t.Error("configs of what has none")
	}
	if got := before.ConfigResources(config.Topic); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("resources: %v", got)
	}
	if want := []ConfigResource{{config.Topic, "a"}, {config.Broker, ""}, {config.Topic, "b"}}; !slices.Equal(d.Configs, want) {
		t.Errorf("delta: %v", d.Configs)
	}
	after, _ := with(t, before, set(2, "a", "cleanup.policy", nil), set(2, "b", "retention.ms", nil))
	if got := after.Config(config.Topic, "a"); !maps.Equal(got, map[string]string{"retention.ms": "1"}) {
		t.Errorf("topic a after: %v", got)
	}
	if after.Config(config.Topic, "b") != nil || len(before.Config(config.Topic, "a")) != 2 {
		t.Error("an empty resource is left, or the image before changed")
	}
}

func TestBrokers(t *testing.T) {
	register := func(id int32, epoch int64) *schema.RegisterBrokerRecord {
		return &schema.RegisterBrokerRecord{
			BrokerID: id, BrokerEpoch: epoch, IncarnationID: uid(byte(id)), Fenced: true,
			EndPoints: []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}},
		}
	}
	image, d := with(t, Empty(), register(5, 1), register(1, 2), register(3, 3))
	var ids []int32
	for b := range image.Brokers() {
		ids = append(ids, b.ID)
	}
	if !slices.Equal(ids, []int32{1, 3, 5}) || len(d.Brokers) != 3 {
		t.Errorf("brokers %v, changed %v", ids, d.Brokers)
	}
	after, d := with(t, image,
		&schema.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: 3, Fenced: schema.FenceUnfence, LogDirs: []protocol.UUID{uid(9)}},
		&schema.BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 2, InControlledShutdown: schema.ControlledShutdownStarted},
		&schema.UnregisterBrokerRecord{BrokerID: 5, BrokerEpoch: 1})
	if b := after.Broker(3); b.Fenced || !b.HasOnlineDirectory(uid(9)) || b.HasOnlineDirectory(uid(8)) || b.HasOnlineDirectory(DirectoryLost) ||
		!b.HasOnlineDirectory(DirectoryUnassigned) {
		t.Errorf("broker 3: %+v", b)
	}
	if b := after.Broker(1); !b.InControlledShutdown || !b.Fenced || b.Endpoint("PLAINTEXT").Host != "h" || b.Endpoint("SSL") != nil {
		t.Errorf("broker 1: %+v", b)
	}
	if after.Broker(5) != nil || len(d.Brokers) != 3 || !image.Broker(3).Fenced || image.Broker(5) == nil {
		t.Error("unregistration, or the image before changed")
	}
	for _, r := range []schema.MetadataRecord{
		&schema.FenceBrokerRecord{ID: 9, Epoch: 1},
		&schema.UnfenceBrokerRecord{ID: 3, Epoch: 2},
		&schema.UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 9},
		&schema.PartitionRecord{TopicID: uid(1)},
		&schema.RemoveTopicRecord{TopicID: uid(1)},
		schema.NewPartitionChangeRecord(uid(1), 0),
		&schema.RemoveAccessControlEntryRecord{ID: uid(1)},
		&schema.ClearELRRecord{TopicName: "a"},
	} {
		if _, _, err := image.With(9, 9, []schema.MetadataRecord{r}); err == nil {
			t.Errorf("%T %+v was applied", r, r)
		}
	}
}

// fullImage has something of everything.
func fullImage(t testing.TB) *Image {
	image, _ := with(t, Empty(), slices.Concat([]schema.MetadataRecord{
		&schema.FeatureLevelRecord{Name: "group.version", FeatureLevel: 1},
		&schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: 30},
		&schema.RegisterBrokerRecord{
			BrokerID: 1, BrokerEpoch: 1, IncarnationID: uid(1), Rack: ptr("r"), LogDirs: []protocol.UUID{uid(101)},
			EndPoints: []schema.BrokerEndpoint{{Name: "SSL", Host: "h", Port: 1, SecurityProtocol: 1}},
			Features:  []schema.BrokerFeature{{Name: protocol.MetadataVersion, MinSupportedVersion: 7, MaxSupportedVersion: 30}},
		},
		&schema.RegisterControllerRecord{ControllerID: 3000, IncarnationID: uid(3)},
		&schema.ProducerIDsRecord{BrokerID: 1, BrokerEpoch: 1, NextProducerID: 2000},
		&schema.ConfigRecord{ResourceType: 4, ResourceName: "1", Name: "k", Value: ptr("v")},
		&schema.ConfigRecord{ResourceType: 32, ResourceName: "g", Name: "k", Value: ptr("")},
		&schema.AccessControlEntryRecord{ID: uid(7), ResourceType: 2, ResourceName: "a", PatternType: 3, Principal: "User:u", Host: "*", Operation: 3, PermissionType: 3},
		&schema.UserScramCredentialRecord{Name: "u", Mechanism: 1, Salt: []byte{1}, StoredKey: []byte{2}, ServerKey: []byte{3}, Iterations: 4096},
		&schema.ClientQuotaRecord{Entity: []schema.QuotaEntity{{Type: "user", Name: ptr("u")}, {Type: "client-id"}}, Key: "x", Value: 1.5},
		&schema.ClientQuotaRecord{Entity: []schema.QuotaEntity{{Type: "client-id"}, {Type: "user", Name: ptr("u")}}, Key: "y", Value: 2},
		&schema.DelegationTokenRecord{Owner: "o", TokenID: "t"},
	}, topicRecords("a", uid(10), 2), topicRecords("b", uid(11), 1))...)
	return image
}

func TestRecordsMakeTheImageAgain(t *testing.T) {
	image := fullImage(t)
	records := image.Records()
	if r, ok := records[0].(*schema.FeatureLevelRecord); !ok || r.Name != protocol.MetadataVersion {
		t.Errorf("the first record is %+v", records[0])
	}
	again, _, err := Empty().With(image.Offset(), image.Epoch(), records)
	if err != nil {
		t.Fatal(err)
	}
	if d := Difference(image, again); changes(d) != "" {
		t.Errorf("the image made again differs: %s", changes(d))
	}
	if !reflect.DeepEqual(records, again.Records()) || again.NextProducerID() != 2000 || again.Features()["group.version"] != 1 {
		t.Error("the records differ")
	}
	if n := len(slices.Collect(image.ClientQuotas())); n != 1 {
		t.Errorf("%d quota entities", n)
	}
	if image.ScramCredential(1, "u") == nil || image.ScramCredential(2, "u") != nil || image.ACL(uid(7)) == nil || image.DelegationToken("t") == nil {
		t.Error("look-ups of access data")
	}
}

// changes is a delta in words; empty if nothing changed.
func changes(d *Delta) string {
	var b strings.Builder
	for id, td := range d.Topics {
		fmt.Fprintf(&b, "topic %s %v %v; ", id, td.Created, td.Partitions)
	}
	for id := range d.Deleted {
		fmt.Fprintf(&b, "deleted %s; ", id)
	}
	for id := range d.Brokers {
		fmt.Fprintf(&b, "broker %d; ", id)
	}
	for _, c := range d.Configs {
		fmt.Fprintf(&b, "config %v; ", c)
	}
	for what, changed := range map[string]bool{
		"features": d.FeaturesChanged, "acls": d.ACLsChanged, "scram": d.ScramChanged, "quotas": d.QuotasChanged, "tokens": d.TokensChanged,
	} {
		if changed {
			b.WriteString(what + "; ")
		}
	}
	return b.String()
}

func TestRemovalOfAccessData(t *testing.T) {
	image := fullImage(t)
	after, d := with(t, image,
		&schema.RemoveAccessControlEntryRecord{ID: uid(7)}, &schema.RemoveUserScramCredentialRecord{Name: "u", Mechanism: 1},
		&schema.RemoveDelegationTokenRecord{TokenID: "t"}, &schema.FeatureLevelRecord{Name: "group.version"},
		&schema.ClientQuotaRecord{Entity: []schema.QuotaEntity{{Type: "user", Name: ptr("u")}, {Type: "client-id"}}, Key: "x", Remove: true},
		&schema.UnregisterControllerRecord{ControllerID: 3000})
	if !d.ACLsChanged || !d.ScramChanged || !d.TokensChanged || !d.QuotasChanged || !d.FeaturesChanged {
		t.Errorf("delta: %s", changes(d))
	}
	if after.ACL(uid(7)) != nil || after.ScramCredential(1, "u") != nil || after.DelegationToken("t") != nil || len(after.Features()) != 1 ||
		len(slices.Collect(after.Controllers())) != 0 {
		t.Error("something is left")
	}
	for q := range after.ClientQuotas() {
		if !maps.Equal(q.Values, map[string]float64{"y": 2}) {
			t.Errorf("quotas: %v", q.Values)
		}
	}
	if image.ACL(uid(7)) == nil || image.Features()["group.version"] != 1 || len(slices.Collect(image.Controllers())) != 1 {
		t.Error("the image before changed")
	}
}

// Difference finds what a chain of changes did, without having seen them.
func TestDifference(t *testing.T) {
	before := fullImage(t)
	change := schema.NewPartitionChangeRecord(uid(10), 1)
	change.ISR = []int32{1}
	after, _ := with(t, before, append(topicRecords("c", uid(12), 1), change, &schema.RemoveTopicRecord{TopicID: uid(11)},
		&schema.ConfigRecord{ResourceType: 4, ResourceName: "1", Name: "k"}, &schema.FenceBrokerRecord{ID: 1, Epoch: 1})...)
	after, _, err := Empty().With(after.Offset(), after.Epoch(), after.Records())
	if err != nil {
		t.Fatal(err)
	}
	d := Difference(before, after)
	if len(d.Topics) != 2 || !d.Topics[uid(12)].Created || d.Topics[uid(10)].Created || !slices.Equal(d.Topics[uid(10)].Partitions, []int32{1}) {
		t.Errorf("topics: %s", changes(d))
	}
	_, fenced := d.Brokers[1]
	if len(d.Deleted) != 1 || !fenced || !slices.Equal(d.Configs, []ConfigResource{{config.Broker, "1"}}) || d.ACLsChanged {
		t.Errorf("delta: %s", changes(d))
	}
	if changes(Difference(after, after)) != "" {
		t.Error("an image differs from itself")
	}
}
