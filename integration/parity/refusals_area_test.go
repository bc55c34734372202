package parity

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminAPIs are those of administrators, with how many refusals of different requests the areas must have of each.
var adminAPIs = map[string]int{
	"CreateTopics": 40, "DeleteTopics": 10, "CreatePartitions": 15, "DeleteRecords": 4, "DescribeConfigs": 10, "AlterConfigs": 12, "IncrementalAlterConfigs": 40,
	"AlterPartitionAssignments": 6, "ElectLeaders": 3, "UpdateFeatures": 15, "DescribeGroups": 1, "DeleteGroups": 2, "OffsetDelete": 3, "DescribeTransactions": 1,
	"ListTransactions": 1, "DescribeProducers": 2, "DescribeQuorum": 3, "UnregisterBroker": 1, "AlterClientQuotas": 30, "DescribeClientQuotas": 10,
	"DescribeTopicPartitions": 5, "ConsumerGroupDescribe": 1, "DescribeCluster": 1, "ListConfigResources": 1, "AddRaftVoter": 2, "RemoveRaftVoter": 2,
}

// refused counts the requests of an API that were answered with an error, each once whatever its version.
func refused(steps []step) map[string]int {
	seen := map[string]map[string]bool{}
	for _, s := range steps {
		if s.answer == nil || !hasError(reflect.ValueOf(s.answer).Elem()) {
			continue
		}
		api, _, _ := strings.Cut(s.label, " ")
		_, label, _ := strings.Cut(s.label, ": ")
		if seen[api] == nil {
			seen[api] = map[string]bool{}
		}
		seen[api][label] = true
	}
	counts := map[string]int{}
	for api, labels := range seen {
		counts[api] = len(labels)
	}
	return counts
}

// hasError reports whether there is an error code in an answer.
func hasError(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && hasError(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name == "ErrorCode" && v.Field(i).Int() != 0 || name != "UnknownTags" && hasError(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if hasError(v.Index(i)) {
				return true
			}
		}
	default:
	}
	return false
}

// checkRefusals fails the test if the areas sent fewer requests that Apache Kafka refuses than is said of them.
func checkRefusals(t *testing.T, kafka []*conversation) {
	t.Helper()
	var steps []step
	for _, c := range kafka {
		steps = append(steps, c.steps...)
	}
	counts, all := refused(steps), 0
	for _, api := range slices.Sorted(maps.Keys(adminAPIs)) {
		all += counts[api]
		t.Logf("%3d requests refused of %s", counts[api], api)
		if counts[api] < adminAPIs[api] {
			t.Errorf("%d requests of %s were refused, %d wanted", counts[api], api, adminAPIs[api])
		}
	}
	t.Logf("%d administrators' requests refused in all", all)
	if all < 400 {
		t.Error("they were 429 once")
	}
}

// refusals are administrators' requests that are wrong in ways of which no other area thinks.
func refusals(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("refused-admin", 1)
	for _, row := range refusedRequests() {
		ask[kmsg.Response](cl, row.label, row.req, groupsAnySorted)
	}
	for _, v := range versions(1, 4) {
		for _, key := range []string{"consumer.session.timeout.ms", "nonsense"} {
			ask[*kmsg.DescribeConfigsResponse](cl, "a group's "+key, describe(v, kmsg.ConfigResourceTypeGroupConfig, "refused-admin", []string{key}), byKey)
		}
	}
	for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeGroupConfig} {
		documented := describe(4, kind, "refused-admin", nil)
		documented.IncludeDocumentation, documented.IncludeSynonyms = true, true
		ask[*kmsg.DescribeConfigsResponse](cl, fmt.Sprintf("documentation of %d", kind), documented, byKey, wordless)
	}
	documented := describe(4, kmsg.ConfigResourceTypeBroker, "1", nil)
	documented.IncludeDocumentation = true
	ask[*kmsg.DescribeConfigsResponse](cl, "documentation of a broker", documented, byKey, withoutOwnPaths, wordless)
}

// wordless forgets the words of documentation, which are each project's own; not whether there are any.
func wordless(_ server, answer kmsg.Response) {
	for _, r := range answer.(*kmsg.DescribeConfigsResponse).Resources {
		for i := range r.Configs {
			if d := r.Configs[i].Documentation; d != nil && *d != "" {
				r.Configs[i].Documentation = ptr("words")
			}
		}
	}
}

// groupsAnySorted puts in order what any of the refusals' answers has in none.
func groupsAnySorted(s server, answer kmsg.Response) {
	switch r := answer.(type) {
	case *kmsg.IncrementalAlterConfigsResponse:
		alteredSorted(s, r)
	case *kmsg.DescribeGroupsResponse:
		groupsSorted(s, r)
	case *kmsg.DeleteGroupsResponse:
		slices.SortFunc(r.Groups, func(a, b kmsg.DeleteGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	}
}

// labelled is a request and what is wrong with it.
type labelled struct {
	label string
	req   kmsg.Request
}

func refusedRequests() []labelled {
	var all []labelled
	add := func(label string, req kmsg.Request) { all = append(all, labelled{label, req}) }
	const group = kmsg.ConfigResourceTypeGroupConfig
	for _, one := range []change{
		set("nonsense", "1"), remove("nonsense"), set("consumer.session.timeout.ms", "x"), set("consumer.session.timeout.ms", "1"), set("consumer.session.timeout.ms", "99999999"),
		set("consumer.heartbeat.interval.ms", "0"), set("consumer.heartbeat.interval.ms", "99999999"), {"consumer.session.timeout.ms", 0, nil}, {"consumer.session.timeout.ms", 2, ptr("1")},
		set("retention.ms", "1"), set("", "1"), set("share.auto.offset.reset", "never"), set("share.session.timeout.ms", "1"), set("share.record.lock.duration.ms", "1"),
		set("share.isolation.level", "none"), set("streams.session.timeout.ms", "1"), set("streams.num.standby.replicas", "-1"),
	} {
		for _, validate := range []bool{true, false} {
			req := incremental(1, group, "refused-admin", one)
			req.ValidateOnly = validate
			add(fmt.Sprintf("group %s %v validate %t", one.key, shown(one.value), validate), req)
		}
	}
	two := incremental(1, group, "refused-admin", set("consumer.session.timeout.ms", "600"), set("consumer.heartbeat.interval.ms", "700"))
	add("a heartbeat longer than the session", two)
	add("a config twice", incremental(1, group, "refused-admin", set("consumer.session.timeout.ms", "50000"), remove("consumer.session.timeout.ms")))
	for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 5, 64, -1, 127} {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version = 2
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, "refused-admin"
		r.Configs = []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("1")}}
		req.Resources = append(req.Resources, r)
		add(fmt.Sprintf("of type %d", kind), req)
		add(fmt.Sprintf("of type %d", kind), incremental(1, kind, "refused-admin", set("retention.ms", "1")))
	}
	// AlterConfigs of a resource that is named twice is not among them: Apache Kafka never answers it, Ottla says INVALID_REQUEST.
	return append(all, refusedElsewhere()...)
}

// refusedElsewhere are those about no configs.
func refusedElsewhere() []labelled {
	var all []labelled
	add := func(label string, req kmsg.Request) { all = append(all, labelled{label, req}) }
	for _, v := range versions(0, 2) {
		for _, updates := range [][]kmsg.UpdateFeaturesRequestFeatureUpdate{
			{feature("group.version", 1, 1), feature("group.version", 1, 1)}, {feature("", 1, 1)}, {feature("kraft.version", 9, 1)},
			{feature("share.version", 9, 1)}, {feature("streams.version", -5, 3)}, {feature("transaction.version", 32767, 1)}, {feature("eligible.leader.replicas.version", 7, 1)},
		} {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.Version, req.TimeoutMillis, req.ValidateOnly, req.FeatureUpdates = v, 10_000, true, updates
			add(shown(updates), req)
		}
	}
	for _, v := range versions(1, 2) {
		for _, kind := range []int8{0, 3, -1} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.EndpointType = v, kind
			if kind != 0 || v == 1 {
				add(fmt.Sprintf("endpoints of type %d", kind), req)
			}
		}
	}
	for _, types := range [][]int8{{99}, {-1}, {2, 99}, {1}, {0}} {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version, req.ResourceTypes = 1, types
		add(fmt.Sprintf("of types %v", types), req)
	}
	for _, groups := range [][]string{{""}, {"refused-admin", "refused-admin"}, {"refused-admin"}} {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups = 1, groups
		add(fmt.Sprintf("%q", groups), req)
		drop := kmsg.NewPtrDeleteGroupsRequest()
		drop.Version, drop.Groups = 2, groups
		add(fmt.Sprintf("%q", groups), drop)
	}
	voter := [16]byte{1, 2, 3}
	for _, id := range []int32{2, -1} {
		joins := kmsg.NewPtrAddRaftVoterRequest()
		joins.TimeoutMillis, joins.VoterID, joins.VoterDirectoryID = 5000, id, voter
		joins.ClusterID = ptr("another cluster")
		add(fmt.Sprintf("voter %d of another cluster", id), joins)
		leaves := kmsg.NewPtrRemoveRaftVoterRequest()
		leaves.VoterID, leaves.VoterDirectoryID, leaves.ClusterID = id, voter, ptr("another cluster")
		add(fmt.Sprintf("voter %d of another cluster", id), leaves)
	}
	return all
}

// innerAPIs are requests that only nodes of a cluster send each other, to their controllers, and such as there are none: the connection is closed.
func innerAPIs(c *conversation) {
	for _, key := range []int16{4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 93, 94, 95, 200, 32767, -1} {
		frame := c.dial("parity").frame(kmsg.NewPtrMetadataRequest())
		frame[4], frame[5] = byte(uint16(key)>>8), byte(key)
		c.raw(fmt.Sprintf("API key %d", key), frame)
	}
}
