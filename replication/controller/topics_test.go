package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCreateTopicErrors(t *testing.T) {
	topic := func(edit func(*kmsg.CreateTopicsRequestTopic)) kmsg.CreateTopicsRequestTopic {
		r := newTopicRequest("t", 1, 1)
		edit(&r)
		return r
	}
	manual := func(assignments ...[]int32) kmsg.CreateTopicsRequestTopic {
		return topic(func(r *kmsg.CreateTopicsRequestTopic) {
			r.NumPartitions, r.ReplicationFactor = -1, -1
			for i, a := range assignments {
				r.ReplicaAssignment = append(r.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: a})
			}
		})
	}
	configured := func(name string, value *string) kmsg.CreateTopicsRequestTopic {
		return topic(func(r *kmsg.CreateTopicsRequestTopic) {
			r.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: value}}
		})
	}
	gap := manual([]int32{1}, []int32{1})
	gap.ReplicaAssignment[1].Partition = 2
	twice := manual([]int32{1}, []int32{1})
	twice.ReplicaAssignment[1].Partition = 0
	counted := manual([]int32{1})
	counted.NumPartitions = 1
	replicated := manual([]int32{1})
	replicated.ReplicationFactor = 1

	tests := []struct {
		name    string
		topic   kmsg.CreateTopicsRequestTopic
		code    protocol.Code
		message string
	}{
		{"exists", newTopicRequest("old.one", 1, 1), protocol.TopicAlreadyExists, "Topic 'old.one' already exists."},
		{"empty name", newTopicRequest("", 1, 1), protocol.InvalidTopicException, ""},
		{"dot", newTopicRequest(".", 1, 1), protocol.InvalidTopicException, ""},
		{"too long", newTopicRequest(strings.Repeat("x", 250), 1, 1), protocol.InvalidTopicException, ""},
		{"bad character", newTopicRequest("a b", 1, 1), protocol.InvalidTopicException, ""},
		{"collides", newTopicRequest("old_one", 1, 1), protocol.InvalidTopicException, "Topic 'old_one' collides with existing topic: old.one"},
		{"no partitions", newTopicRequest("t", 0, 1), protocol.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{"negative partitions", newTopicRequest("t", -2, 1), protocol.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{"no replicas", newTopicRequest("t", 1, 0), protocol.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		{"negative replicas", newTopicRequest("t", 1, -2), protocol.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		{"too many replicas", newTopicRequest("t", 1, 4), protocol.InvalidReplicationFactor,
			"Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because only 3 broker(s) are registered or some brokers have all their log directories cordoned."},
		{"unknown config", configured("nonsense", ptr("1")), protocol.InvalidConfig, "Unknown topic config name: nonsense"},
		{"bad config", configured("retention.ms", ptr("x")), protocol.InvalidConfig,
			"Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{"null config", configured("retention.ms", nil), protocol.InvalidConfig, "Null value not supported for topic configs: retention.ms"},
		{"configs that conflict", topic(func(r *kmsg.CreateTopicsRequestTopic) {
			r.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "min.compaction.lag.ms", Value: ptr("9")}, {Name: "max.compaction.lag.ms", Value: ptr("3")}}
		}), protocol.InvalidConfig, "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (3)"},
		{"tiered", configured("remote.storage.enable", ptr("true")), protocol.InvalidConfig,
			"Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."},
		{"assignment and partitions", counted, protocol.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1."},
		{"assignment and replicas", replicated, protocol.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1."},
		{"assignment with a gap", gap, protocol.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"},
		{"assignment twice", twice, protocol.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition 0"},
		{"assignment to a broker twice", manual([]int32{1, 1}), protocol.InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{"assignment to nobody", manual([]int32{1, 9}), protocol.InvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered."},
		{"empty assignment", manual([]int32{}), protocol.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{"uneven assignment", manual([]int32{1, 2}, []int32{1}), protocol.InvalidReplicaAssignment,
			"The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with previous partitions, which have 2 replica(s)."},
		{"assignment to the fenced", manual([]int32{3}), protocol.InvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown."},
		{"metadata topic", newTopicRequest("__cluster_metadata", 1, 1), protocol.InvalidRequest, "Creation of internal topic __cluster_metadata is prohibited."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, records(one(liveBroker(1), liveBroker(2), fencedBroker(3)), existing("old.one", uuid(9), []int32{1}))...)
			req := &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{test.topic}}
			resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
			d, err := createTopics(v, req, resp)
			if err != nil || len(d.Records) != 0 || len(resp.Topics) != 1 {
				t.Fatalf("err %v, %d records, %d answers", err, len(d.Records), len(resp.Topics))
			}
			got := resp.Topics[0]
			if protocol.Code(got.ErrorCode) != test.code {
				t.Errorf("code %v, want %v", protocol.Code(got.ErrorCode), test.code)
			}
			if got.ErrorMessage == nil || (test.message != "" && *got.ErrorMessage != test.message) {
				t.Errorf("message %q, want %q", deref(got.ErrorMessage), test.message)
			}
			if got.NumPartitions != -1 || got.ReplicationFactor != -1 || got.Configs == nil || len(got.Configs) != 0 || got.TopicID != [16]byte{} {
				t.Errorf("an error says more than it should: %+v", got)
			}
		})
	}
}

func deref(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

func TestCreateTopicRecords(t *testing.T) {
	v := newTestView(t, map[string]string{"num.partitions": "3"}, liveBroker(1))
	topic := newTopicRequest("t", -1, -1)
	topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("1000")}, {Name: "cleanup.policy", Value: ptr("compact")}}
	req := &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{topic}}
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	d, err := createTopics(v, req, resp)
	if err != nil {
		t.Fatal(err)
	}
	got := resp.Topics[0]
	if got.ErrorCode != 0 || got.NumPartitions != 3 || got.ReplicationFactor != 1 {
		t.Fatalf("answer %+v", got)
	}
	if len(d.Records) != 1+2+3 {
		t.Fatalf("%d records", len(d.Records))
	}
	if r, ok := d.Records[0].(*schema.TopicRecord); !ok || r.Name != "t" || r.TopicID != protocol.UUID(got.TopicID) {
		t.Errorf("first record %+v", d.Records[0])
	}
	for i := range 2 {
		if _, ok := d.Records[1+i].(*schema.ConfigRecord); !ok {
			t.Errorf("configs come after the topic and before its partitions: record %d is %T", 1+i, d.Records[1+i])
		}
	}
	if !slices.Equal(d.Await, []int32{1}) {
		t.Errorf("awaits %v", d.Await)
	}
	apply(t, v, d)
	made := v.Image.Topic("t")
	for _, p := range made.Partitions {
		if p.Leader != 1 || p.LeaderEpoch != 0 || p.PartitionEpoch != 0 || !slices.Equal(p.ISR, []int32{1}) || p.Directories[0] != uuid(201) {
			t.Errorf("partition %+v", p)
		}
	}
	if c := v.Image.Config(config.Topic, "t"); c["retention.ms"] != "1000" || c["cleanup.policy"] != "compact" || len(c) != 2 {
		t.Errorf("configs %v", c)
	}
	sources := map[string]int8{}
	for _, c := range got.Configs {
		sources[c.Name] = c.Source
	}
	if sources["retention.ms"] != int8(config.SourceTopic) || sources["segment.bytes"] != int8(config.SourceDefault) {
		t.Errorf("sources %v", sources)
	}
	if !slices.IsSortedFunc(got.Configs, func(a, b kmsg.CreateTopicsResponseTopicConfig) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("configs are not sorted by name")
	}
	if _, shown := sources["internal.segment.bytes"]; shown {
		t.Error("an internal config is shown")
	}
}

func TestCreateTopicsEachOnItsOwn(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	req := &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{
		newTopicRequest("good", 1, 1), newTopicRequest("twice", 1, 1), newTopicRequest("bad", 0, 1), newTopicRequest("twice", 2, 1),
		newTopicRequest("also.good", 1, 1), newTopicRequest("also_good", 1, 1),
	}}
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	d, err := createTopics(v, req, resp)
	if err != nil {
		t.Fatal(err)
	}
	equalCodes(t, codes(resp), map[string]protocol.Code{
		"good": 0, "twice": protocol.InvalidRequest, "bad": protocol.InvalidPartitions, "also.good": 0, "also_good": 0,
	})
	if len(resp.Topics) != 5 {
		t.Errorf("%d answers: a duplicate is answered once", len(resp.Topics))
	}
	apply(t, v, d)
	if v.Image.Topic("good") == nil || v.Image.Topic("twice") != nil || v.Image.TopicCount() != 3 {
		t.Errorf("%d topics", v.Image.TopicCount())
	}
}

func TestCreateTopicsValidateOnly(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	req := &kmsg.CreateTopicsRequest{Version: 7, ValidateOnly: true, Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest("t", 2, 1), newTopicRequest("u", 0, 1)}}
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	d, err := createTopics(v, req, resp)
	if err != nil || len(d.Records) != 0 || len(d.Await) != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	equalCodes(t, codes(resp), map[string]protocol.Code{"t": 0, "u": protocol.InvalidPartitions})
	if resp.Topics[0].TopicID == [16]byte{} || resp.Topics[0].NumPartitions != 2 {
		t.Errorf("answer %+v", resp.Topics[0])
	}
}

func TestTooManyPartitionsInOneRequest(t *testing.T) {
	for _, test := range []struct {
		topics     int
		partitions int32
		want       protocol.Code
	}{{2, 4000, protocol.None}, {2, 5001, protocol.PolicyViolation}, {1, 1<<31 - 1, protocol.PolicyViolation}} {
		v := newTestView(t, nil, liveBroker(1))
		req := &kmsg.CreateTopicsRequest{Version: 7}
		for i := range test.topics {
			req.Topics = append(req.Topics, newTopicRequest(fmt.Sprintf("t%d", i), test.partitions, 1))
		}
		_, err := createTopics(v, req, req.ResponseKind().(*kmsg.CreateTopicsResponse))
		if protocol.CodeOf(err) != test.want {
			t.Errorf("%d topics of %d partitions: %v", test.topics, test.partitions, err)
		}
	}
}

func TestDeleteTopics(t *testing.T) {
	base := records(one(liveBroker(1)), existing("a", uuid(1), []int32{1}), existing("b", uuid(2), []int32{1}), existing("c", uuid(3), []int32{1}))
	byName := func(s string) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{Topic: &s} }
	byID := func(n byte) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{TopicID: uuid(n)} }
	both := kmsg.DeleteTopicsRequestTopic{Topic: ptr("a"), TopicID: uuid(1)}
	tests := []struct {
		name   string
		topics []kmsg.DeleteTopicsRequestTopic
		want   string // name/id:code of each answer
		left   int
	}{
		{"by name and id", []kmsg.DeleteTopicsRequestTopic{byName("a"), byID(2)}, "b/2:NONE a/1:NONE", 1},
		{"unknown", []kmsg.DeleteTopicsRequestTopic{byName("x"), byID(8)}, "<null>/8:UNKNOWN_TOPIC_ID x/0:UNKNOWN_TOPIC_OR_PARTITION", 3},
		{"twice by name", []kmsg.DeleteTopicsRequestTopic{byName("a"), byName("a"), byName("b")}, "a/0:INVALID_REQUEST b/2:NONE", 2},
		{"twice by id", []kmsg.DeleteTopicsRequestTopic{byID(1), byID(1)}, "<null>/1:INVALID_REQUEST", 3},
		{"name of an id", []kmsg.DeleteTopicsRequestTopic{byName("a"), byID(1)}, "a/1:INVALID_REQUEST", 3},
		{"both", []kmsg.DeleteTopicsRequestTopic{both}, "a/1:INVALID_REQUEST", 3},
		{"neither", []kmsg.DeleteTopicsRequestTopic{{}}, "<null>/0:INVALID_REQUEST", 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, base...)
			req := &kmsg.DeleteTopicsRequest{Version: 6, Topics: test.topics}
			resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
			d, err := deleteTopics(v, req, resp)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range resp.Topics {
				got = append(got, fmt.Sprintf("%s/%d:%v", deref(r.Topic), r.TopicID[15], protocol.Code(r.ErrorCode)))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("answers %v, want %s", got, test.want)
			}
			apply(t, v, d)
			if v.Image.TopicCount() != test.left {
				t.Errorf("%d topics are left, want %d", v.Image.TopicCount(), test.left)
			}
		})
	}
}

func TestDeleteTopicsDisabled(t *testing.T) {
	v := newTestView(t, map[string]string{"delete.topic.enable": "false"}, existing("a", uuid(1), []int32{1})...)
	for version, want := range map[int16]protocol.Code{1: protocol.InvalidRequest, 2: protocol.InvalidRequest, 3: protocol.TopicDeletionDisabled, 6: protocol.TopicDeletionDisabled} {
		req := &kmsg.DeleteTopicsRequest{Version: version, TopicNames: []string{"a"}}
		d, err := deleteTopics(v, req, req.ResponseKind().(*kmsg.DeleteTopicsResponse))
		if protocol.CodeOf(err) != want || len(d.Records) > 0 {
			t.Errorf("v%d: %v with %d records", version, err, len(d.Records))
		}
	}
}

func TestCreatePartitions(t *testing.T) {
	base := records(one(liveBroker(1), liveBroker(2), fencedBroker(3)), existing("a", uuid(1), []int32{1}, []int32{2}))
	assigned := func(lists ...[]int32) []kmsg.CreatePartitionsRequestTopicAssignment {
		out := []kmsg.CreatePartitionsRequestTopicAssignment{}
		for _, l := range lists {
			out = append(out, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: l})
		}
		return out
	}
	tests := []struct {
		name       string
		topic      string
		count      int32
		assignment []kmsg.CreatePartitionsRequestTopicAssignment
		code       protocol.Code
		message    string
	}{
		{"more", "a", 5, nil, protocol.None, "<null>"},
		{"to named brokers", "a", 4, assigned([]int32{2}, []int32{1}), protocol.None, "<null>"},
		{"unknown", "x", 5, nil, protocol.UnknownTopicOrPartition, "<null>"},
		{"the same", "a", 2, nil, protocol.InvalidPartitions, "Topic already has 2 partition(s)."},
		{"fewer", "a", 1, nil, protocol.InvalidPartitions, "The topic a currently has 2 partition(s); 1 would not be an increase."},
		{"too few assignments", "a", 4, assigned([]int32{2}), protocol.InvalidReplicaAssignment,
			"Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		{"another number of replicas", "a", 3, assigned([]int32{1, 2}), protocol.InvalidReplicaAssignment,
			"The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s)."},
		{"only fenced", "a", 3, assigned([]int32{3}), protocol.InvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition 2 are fenced or in controlled shutdown."},
		{"far too many", "a", 1<<31 - 1, nil, protocol.PolicyViolation, "Unable to perform excessively large batch operation."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, base...)
			req := &kmsg.CreatePartitionsRequest{Version: 3, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: test.topic, Count: test.count, Assignment: test.assignment}}}
			resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
			d, err := createPartitions(v, req, resp)
			if err != nil {
				t.Fatal(err)
			}
			got := resp.Topics[0]
			if protocol.Code(got.ErrorCode) != test.code || deref(got.ErrorMessage) != test.message {
				t.Errorf("%v %q", protocol.Code(got.ErrorCode), deref(got.ErrorMessage))
			}
			apply(t, v, d)
			want := 2
			if test.code == protocol.None {
				want = int(test.count)
			}
			made := v.Image.Topic("a").Partitions
			if len(made) != want {
				t.Fatalf("%d partitions, want %d", len(made), want)
			}
			for i, a := range test.assignment {
				if test.code == protocol.None && made[2+i].Leader != a.Replicas[0] {
					t.Errorf("partition %d is led by %d, want %d", 2+i, made[2+i].Leader, a.Replicas[0])
				}
			}
		})
	}
}
