package api

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// goldenSettings are the server.properties of the Apache Kafka 4.3.1 whose answers are in testdata.
var goldenSettings = map[string]string{
	"process.roles": "broker,controller", "node.id": "1", "broker.id": "1", "controller.quorum.voters": "1@127.0.0.1:24093",
	"listeners": "PLAINTEXT://127.0.0.1:24092,CONTROLLER://127.0.0.1:24093", "advertised.listeners": "PLAINTEXT://127.0.0.1:24092",
	"controller.listener.names": "CONTROLLER", "log.dirs": "/data", "offsets.topic.replication.factor": "1",
	"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
	"share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
	"log.retention.hours": "100", "log.roll.hours": "24", "num.io.threads": "4", "ssl.key.password": "secret", "some.unknown.key": "v",
	"listener.name.plaintext.num.network.threads": "2", "log.cleanup.policy": "compact,delete",
}

// topicWith is an image of topic t1 with configs, and others on other resources.
func topicWith(t testing.TB, configs ...*schema.ConfigRecord) *metadata.Image {
	records := []schema.MetadataRecord{
		&schema.TopicRecord{Name: "t1", TopicID: uid(1)},
		&schema.PartitionRecord{TopicID: uid(1), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1},
	}
	for _, c := range configs {
		records = append(records, c)
	}
	return imageOf(t, records...)
}

func configRecord(scope config.Scope, resource, name, value string) *schema.ConfigRecord {
	return &schema.ConfigRecord{ResourceType: int8(scope), ResourceName: resource, Name: name, Value: &value}
}

// goldenNode is a node in the state of the Apache Kafka whose answers are in testdata.
func goldenNode(t testing.TB) *Node {
	n, _ := imageNode(t, topicWith(t,
		configRecord(config.Topic, "t1", "cleanup.policy", "compact"), configRecord(config.Topic, "t1", "retention.ms", "5000")), goldenSettings)
	values := n.Config().WithDynamic(map[string]string{"min.insync.replicas": "1"}, nil)
	n.Config = func() config.Values { return values }
	return n
}

var resourceTypes = map[string]kmsg.ConfigResourceType{"TOPIC": 2, "BROKER": 4, "BROKER_LOGGER": 8, "CLIENT_METRICS": 16, "GROUP": 32}

// describe asks for keys of a resource, all if there are none.
func describe(t testing.TB, n *Node, version int16, kind kmsg.ConfigResourceType, name string, keys ...string) kmsg.DescribeConfigsResponseResource {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, true, true
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	resp := ask[*kmsg.DescribeConfigsResponse](t, n, "PLAINTEXT", req)
	if len(resp.Resources) != 1 || resp.Resources[0].ResourceName != name || resp.Resources[0].ResourceType != kind {
		t.Fatalf("%+v", resp.Resources)
	}
	return resp.Resources[0]
}

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// sourceName is the Java client's name of a source.
func sourceName(s kmsg.ConfigSource) string {
	switch s {
	case 1, 2, 3, 4, 5:
		return s.String()
	case 7:
		return "CLIENT_METRICS_CONFIG"
	case 8:
		return "GROUP_CONFIG"
	default:
		return "UNKNOWN"
	}
}

// shownAs writes a config in the form of the golden file.
func shownAs(c *kmsg.DescribeConfigsResponseResourceConfig) string {
	var synonyms strings.Builder
	for _, s := range c.ConfigSynonyms {
		fmt.Fprintf(&synonyms, "%s=%s(%s);", s.Name, orNull(s.Value), sourceName(s.Source))
	}
	source := sourceName(c.Source)
	return strings.Join([]string{
		orNull(c.Value), config.Type(c.ConfigType).String(), source,
		fmt.Sprintf("ro=%v", c.ReadOnly), fmt.Sprintf("sens=%v", c.IsSensitive), synonyms.String(),
	}, "\t")
}

// TestDescribeConfigsAsKafka compares all that is shown of a broker, a topic, a group and a subscription with what Apache Kafka
// 4.3.1 showed in the same state. What is shown beyond that must be the keys of 4.4.
func TestDescribeConfigsAsKafka(t *testing.T) {
	content, err := os.ReadFile("testdata/describe_configs_4.3.1.tsv")
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]map[string]string{}
	for line := range strings.Lines(string(content)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if golden[fields[0]] == nil {
			golden[fields[0]] = map[string]string{}
		}
		golden[fields[0]][fields[1]] = fields[2]
	}
	newer := map[string]int{"BROKER:1": 10, "TOPIC:t1": 4, "GROUP:g1": 4, "CLIENT_METRICS:m1": 0}
	n := goldenNode(t)
	for resource, extra := range newer {
		kind, name, _ := strings.Cut(resource, ":")
		got := describe(t, n, 4, resourceTypes[kind], name)
		if got.ErrorCode != 0 || got.ErrorMessage == nil || *got.ErrorMessage != "" {
			t.Errorf("%s: %d %v", resource, got.ErrorCode, got.ErrorMessage)
		}
		var more []string
		seen := map[string]bool{}
		for i := range got.Configs {
			c := &got.Configs[i]
			seen[c.Name] = true
			want, ok := golden[resource][c.Name]
			if !ok {
				more = append(more, c.Name)
				continue
			}
			if s := shownAs(c); s != want {
				t.Errorf("%s %s:\n got %s\nwant %s", resource, c.Name, s, want)
			}
		}
		for key := range golden[resource] {
			if !seen[key] {
				t.Errorf("%s: %s is missing", resource, key)
			}
		}
		if len(more) != extra {
			t.Errorf("%s: %d keys more than 4.3.1, want %d: %v", resource, len(more), extra, more)
		}
	}
}

func TestDescribeConfigsErrors(t *testing.T) {
	n := goldenNode(t)
	tests := []struct {
		kind    kmsg.ConfigResourceType
		name    string
		code    int16
		message string
	}{
		{2, "nope", 3, ""},
		{2, "", 17, "Topic name is invalid: the empty string is not allowed"},
		{4, "2", 42, "Unexpected broker id, expected 1 or empty string, but received 2"},
		{4, "-1", 42, "Unexpected broker id, expected 1 or empty string, but received -1"},
		{4, "x", 42, "Broker id must be an integer, but it is: x"},
		{8, "2", 42, "Unexpected broker id, expected 1 but received 2"},
		{8, "", 42, "Broker id must not be empty"},
		{8, "x", 42, "Broker id must be an integer, but it is: x"},
		{16, "", 42, "Client metrics subscription name must not be empty"},
		{32, "", 42, "Group name must not be empty"},
		{0, "1", 42, malformed},
		{3, "1", 42, malformed},
		{64, "1", 42, malformed},
	}
	for _, tt := range tests {
		got := describe(t, n, 4, tt.kind, tt.name)
		if got.ErrorCode != tt.code || got.ErrorMessage == nil || *got.ErrorMessage != tt.message || len(got.Configs) != 0 {
			t.Errorf("%d %q: %+v, want %d %s", tt.kind, tt.name, got, tt.code, tt.message)
		}
	}
}

func TestDescribeConfigsSelection(t *testing.T) {
	n := goldenNode(t)
	got := describe(t, n, 4, 2, "t1", "retention.ms", "nope", "retention.ms")
	if len(got.Configs) != 1 || got.Configs[0].Name != "retention.ms" || got.Configs[0].Documentation == nil {
		t.Errorf("%+v", got.Configs)
	}
	if got := describe(t, n, 4, 2, "t1", "internal.segment.bytes"); len(got.Configs) != 0 {
		t.Errorf("an internal key that is not set is not shown: %+v", got.Configs)
	}
	got = describe(t, n, 4, 4, "")
	if len(got.Configs) != 1 || shownAs(&got.Configs[0]) !=
		"1\tINT\tDYNAMIC_DEFAULT_BROKER_CONFIG\tro=false\tsens=false\tmin.insync.replicas=1(DYNAMIC_DEFAULT_BROKER_CONFIG);" {
		t.Errorf("the broker resource without a name: %+v", got.Configs)
	}
	got = describe(t, n, 4, 8, "1")
	if len(got.Configs) < 4 || got.Configs[0].Name != "root" || got.Configs[3].Name != "storage" || got.Configs[0].Source != 6 || got.Configs[0].ConfigType != 0 {
		t.Errorf("loggers: %+v", got.Configs)
	}
}

func TestDescribeConfigsVersions(t *testing.T) {
	n := goldenNode(t)
	for version := int16(0); version <= 4; version++ {
		got := describe(t, n, version, 2, "t1", "retention.ms", "segment.bytes")
		if len(got.Configs) != 2 {
			t.Fatalf("v%d: %+v", version, got.Configs)
		}
		set, unset := got.Configs[0], got.Configs[1]
		if orNull(set.Value) != "5000" || set.IsSensitive || set.ReadOnly {
			t.Errorf("v%d: %+v", version, set)
		}
		if version == 0 && (set.IsDefault || !unset.IsDefault) {
			t.Errorf("v0 says which value is the default: %+v %+v", set, unset)
		}
		if version >= 1 && (set.Source != 1 || len(set.ConfigSynonyms) != 1 || unset.Source != 5) {
			t.Errorf("v%d: %+v", version, set)
		}
		if version >= 3 && (set.ConfigType != 5 || set.Documentation == nil) {
			t.Errorf("v%d: %+v", version, set)
		}
	}
}

func TestDescribeConfigsWithoutExtras(t *testing.T) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	req.Resources = []kmsg.DescribeConfigsRequestResource{
		{ResourceType: 2, ResourceName: "t1", ConfigNames: []string{"retention.ms"}},
		{ResourceType: 2, ResourceName: "t1", ConfigNames: []string{"retention.ms"}},
	}
	resp := ask[*kmsg.DescribeConfigsResponse](t, goldenNode(t), "PLAINTEXT", req)
	if len(resp.Resources) != 2 {
		t.Fatalf("%+v", resp)
	}
	c := resp.Resources[1].Configs[0]
	if c.Documentation != nil || len(c.ConfigSynonyms) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestDynamicRetentionIsShown(t *testing.T) {
	n := goldenNode(t)
	values := n.Config().WithDynamic(nil, map[string]string{"log.retention.ms": "1000000"})
	n.Config = func() config.Values { return values }
	got := describe(t, n, 4, 2, "t1", "retention.ms").Configs[0]
	const want = "5000\tLONG\tDYNAMIC_TOPIC_CONFIG\tro=false\tsens=false\tretention.ms=5000(DYNAMIC_TOPIC_CONFIG);" +
		"log.retention.ms=1000000(DYNAMIC_BROKER_CONFIG);log.retention.hours=100(STATIC_BROKER_CONFIG);log.retention.hours=168(DEFAULT_CONFIG);"
	if s := shownAs(&got); s != want {
		t.Errorf("got %s", s)
	}
	configs := describe(t, n, 4, 4, "1", "log.retention.hours", "log.retention.ms").Configs
	for i, want := range []string{
		"168\tINT\tSTATIC_BROKER_CONFIG\tro=true\tsens=false\tlog.retention.hours=100(STATIC_BROKER_CONFIG);log.retention.hours=168(DEFAULT_CONFIG);",
		"1000000\tLONG\tDYNAMIC_BROKER_CONFIG\tro=false\tsens=false\tlog.retention.ms=1000000(DYNAMIC_BROKER_CONFIG);" +
			"log.retention.hours=100(STATIC_BROKER_CONFIG);log.retention.hours=168(DEFAULT_CONFIG);",
	} {
		if s := shownAs(&configs[i]); s != want {
			t.Errorf("got %s", s)
		}
	}
	if !slices.IsSortedFunc(configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted")
	}
}
