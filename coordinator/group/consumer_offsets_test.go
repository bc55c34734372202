package group

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// commit commits offset for one partition as a member, with an epoch.
func (m *modern) commit(version int16, epoch int32, topic string, partition int32, offset int64) protocol.Code {
	m.h.t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.RetentionTimeMillis = version, m.group, m.id, epoch, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t := kmsg.OffsetCommitRequestTopic{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}
	if version >= 10 {
		t.TopicID = m.h.image.Topic(topic).ID
	}
	req.Topics = append(req.Topics, t)
	return protocol.Code(runtimetest.Now(m.h.t, m.h.c.OffsetCommit(req)).Topics[0].Partitions[0].ErrorCode)
}

func TestMembersCommitWithTheirEpoch(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 4)
		a, b := h.modern("topic"), h.modern("topic")
		a.id, b.id = "a", "b"
		a.join()
		old := a.epoch
		b.join()
		h.converge(a, b)
		if a.epoch == old || len(a.partitions("topic")) != 2 {
			t.Fatalf("epoch %d, %v", a.epoch, a.has)
		}
		stays, gone := a.partitions("topic")[0], b.partitions("topic")[0]
		nobody := *a
		nobody.id = ""
		for _, c := range []struct {
			what      string
			m         *modern
			version   int16
			epoch     int32
			partition int32
			want      protocol.Code
		}{
			{"its epoch", a, 9, a.epoch, stays, protocol.None},
			{"its epoch, by topic id", a, 10, a.epoch, stays, protocol.None},
			{"its epoch, a partition of another", a, 9, a.epoch, gone, protocol.None},
			{"an older epoch, a partition that it has had since", a, 9, old, stays, protocol.None},
			{"an older epoch, a partition that it lost", a, 9, old, gone, protocol.StaleMemberEpoch},
			{"an older epoch than the partition's", a, 10, old - 1, stays, protocol.StaleMemberEpoch},
			{"an epoch that is not there yet", a, 9, a.epoch + 1, stays, protocol.StaleMemberEpoch},
			{"a version that does not know member epochs", a, 8, a.epoch, stays, protocol.UnsupportedVersion},
			{"nobody", &nobody, 9, -1, stays, protocol.UnknownMemberID},
		} {
			wantCode(t, c.what, int16(c.m.commit(c.version, c.epoch, "topic", c.partition, 1)), c.want)
		}
		a.leave()
		b.leave()
		wantCode(t, "an administrator", int16(nobody.commit(9, -1, "topic", 0, 5)), protocol.None)
		if got := h.fetch(testGroup); got != 5 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestMembersReadWithTheirEpoch(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 1)
		a := h.modern("topic").join()
		for what, c := range map[string]struct {
			member *string
			epoch  int32
			want   protocol.Code
		}{
			"nobody":            {nil, -1, protocol.None},
			"its epoch":         {&a.id, a.epoch, protocol.None},
			"an older epoch":    {&a.id, a.epoch - 1, protocol.StaleMemberEpoch},
			"a newer epoch":     {&a.id, a.epoch + 1, protocol.StaleMemberEpoch},
			"an unknown member": {kmsg.StringPtr("x"), a.epoch, protocol.UnknownMemberID},
		} {
			for _, stable := range []bool{false, true} {
				req := kmsg.NewPtrOffsetFetchRequest()
				req.Version, req.RequireStable = 9, stable
				g := kmsg.NewOffsetFetchRequestGroup()
				g.Group, g.MemberID, g.MemberEpoch = testGroup, c.member, c.epoch
				req.Groups = []kmsg.OffsetFetchRequestGroup{g}
				wantCode(t, what, runtimetest.Now(t, h.c.OffsetFetch(req)).Groups[0].ErrorCode, c.want)
			}
		}
	})
}

func TestOffsetsOfConsumerGroupsAreDeletedAndExpire(t *testing.T) {
	run(t, map[string]string{"offsets.retention.minutes": "60", "group.consumer.assignment.interval.ms": "0"}, func(h *harness) {
		h.addTopic("read", 1)
		h.addTopic("left", 1)
		a := h.modern("read").join()
		wantCode(t, "commit", int16(a.commit(9, a.epoch, "read", 0, 1)), protocol.None)
		wantCode(t, "commit", int16(a.commit(9, a.epoch, "left", 0, 2)), protocol.None)
		del := func(topic string) protocol.Code {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = testGroup
			req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
			return protocol.Code(runtimetest.Now(t, h.c.OffsetDelete(req)).Topics[0].Partitions[0].ErrorCode)
		}
		wantCode(t, "delete what is read", int16(del("read")), protocol.GroupSubscribedToTopic)
		for end := time.Now().Add(time.Hour + 2*check); time.Now().Before(end); {
			pass(30 * time.Second)
			a.join()
		}
		if read, left := h.fetchFrom(h.c, testGroup, "read"), h.fetchFrom(h.c, testGroup, "left"); read != 1 || left != -1 {
			t.Errorf("after an hour: %d of what is read, %d of what is not", read, left)
		}
		deleted := func() protocol.Code {
			req := kmsg.NewPtrDeleteGroupsRequest()
			req.Version, req.Groups = 2, []string{testGroup}
			return protocol.Code(runtimetest.Now(t, h.c.DeleteGroups(req)).Groups[0].ErrorCode)
		}
		wantCode(t, "DeleteGroups with a member", int16(deleted()), protocol.NonEmptyGroup)
		a.leave()
		wantCode(t, "delete what was read", int16(del("read")), protocol.None)
		pass(2 * check)
		if got := h.kindOf(testGroup); got != "" {
			t.Errorf("an empty group without offsets stays: %s", got)
		}
		h.modern("read").join().leave()
		wantCode(t, "DeleteGroups", int16(deleted()), protocol.None)
		h.reload()
		if got := h.kindOf(testGroup); got != "" {
			t.Errorf("a deleted group is back: %s", got)
		}
	})
}

func TestConsumerGroupsAreListedAndDescribed(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		h.addTopic("topic", 2)
		a := h.modern("topic")
		a.instance = kmsg.StringPtr("one")
		a.join()
		c := h.client()
		c.group = "classic"
		h.stableClassic("topic", c)
		names := func(states, types []string) string {
			req := kmsg.NewPtrListGroupsRequest()
			req.Version, req.StatesFilter, req.TypesFilter = 5, states, types
			var all []string
			for _, g := range runtimetest.Now(t, h.c.ListGroups(req)).Groups {
				all = append(all, g.Group+" "+g.GroupType+" "+g.GroupState+" "+g.ProtocolType)
			}
			return strings.Join(all, ", ")
		}
		for _, f := range []struct {
			states, types []string
			want          string
		}{
			{nil, nil, "classic classic Stable consumer, g consumer Stable consumer"},
			{[]string{"stable"}, []string{"Consumer"}, "g consumer Stable consumer"},
			{[]string{"Assigning"}, nil, ""},
			{nil, []string{"share"}, ""},
		} {
			if got := names(f.states, f.types); got != f.want {
				t.Errorf("%v %v: %q, want %q", f.states, f.types, got, f.want)
			}
		}
		d := h.describeConsumer()
		if len(d.Members) != 1 || d.State != "Stable" || d.Epoch != 2 || d.AssignmentEpoch != 2 || d.AssignorName != "uniform" {
			t.Fatalf("%+v", d)
		}
		m := d.Members[0]
		if m.MemberID != a.id || deref(m.InstanceID) != "one" || m.ClientID != "modern" || m.ClientHost != "/127.0.0.1" || m.MemberType != 1 || m.MemberEpoch != 2 ||
			!slices.Equal(m.SubscribedTopics, []string{"topic"}) {
			t.Errorf("%+v", m)
		}
		for _, got := range [][]kmsg.AssignmentTopicPartition{m.Assignment.TopicPartitions, m.TargetAssignment.TopicPartitions} {
			if len(got) != 1 || got[0].Topic != "topic" || !slices.Equal(got[0].Partitions, []int32{0, 1}) {
				t.Errorf("%+v", got)
			}
		}
		for group, want := range map[string]protocol.Code{"classic": protocol.GroupIDNotFound, "nobody": protocol.GroupIDNotFound, "": protocol.InvalidGroupID} {
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			req.Version, req.Groups = 1, []string{group}
			wantCode(t, "describe "+group, runtimetest.Now(t, h.c.ConsumerGroupDescribe(req)).Groups[0].ErrorCode, want)
		}
		if got := h.describe(testGroup); got.State != "Dead" {
			t.Errorf("DescribeGroups shows %+v", got)
		}
	})
}

// TestALogOfKafka loads what Apache Kafka 4.3.1 wrote for groups whose members have left, and lets one in.
func TestALogOfKafka(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "protocol", "schema", "testdata", "consumer-groups-4.3.1.log"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, everyAssignment, func(h *harness) {
		codecs := record.NewCodecs()
		defer codecs.Close()
		copied := record.NewBuilder()
		for len(b) > 0 {
			size := 12 + int(binary.BigEndian.Uint32(b[8:]))
			if err := codecs.Records(record.Batch(b[:size]), func(r *record.Record) error {
				copied.Add(0, r.Key, r.Value)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			b = b[size:]
		}
		if err := h.log.Put(copied); err != nil {
			t.Fatal(err)
		}
		h.reload()
		for _, g := range []string{"g1", "g2"} {
			if got := h.kindOf(g); got != "classic" && got != "consumer" {
				t.Errorf("%s is %q", g, got)
			}
		}
		h.addTopic("ta", 4)
		a := h.modern("ta")
		a.group = "g2"
		a.join()
		if a.count() != 4 {
			t.Errorf("%v in epoch %d", a.has, a.epoch)
		}
	})
}
