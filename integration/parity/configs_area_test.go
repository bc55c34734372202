package parity

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func describe(version int16, kind kmsg.ConfigResourceType, name string, keys []string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = version
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, keys
	req.Resources = append(req.Resources, r)
	return req
}

// byKey sorts configs: Kafka keeps no order.
func byKey(_ server, answer kmsg.Response) {
	for _, r := range answer.(*kmsg.DescribeConfigsResponse).Resources {
		slices.SortFunc(r.Configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return cmp.Compare(a.Name, b.Name) })
	}
}

// withoutOwnPaths removes the keys whose values name a port or a folder of one server, and those of the controller listener
// and the formatted folder, which Ottla needs not.
func withoutOwnPaths(_ server, answer kmsg.Response) {
	for i := range answer.(*kmsg.DescribeConfigsResponse).Resources {
		r := &answer.(*kmsg.DescribeConfigsResponse).Resources[i]
		r.Configs = slices.DeleteFunc(r.Configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool { return slices.Contains(ownKeys, c.Name) })
	}
}

func describeConfigs(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("conf", 1, "retention.ms=5000", "cleanup.policy=compact,delete", "flush.messages=7")
	for _, v := range versions(1, 4) {
		for _, synonyms := range []bool{false, true} {
			req := describe(v, kmsg.ConfigResourceTypeTopic, "conf", nil)
			req.IncludeSynonyms = synonyms
			ask[*kmsg.DescribeConfigsResponse](cl, "topic, all keys", req, byKey)
			req = describe(v, kmsg.ConfigResourceTypeBroker, "1", nil)
			req.IncludeSynonyms = synonyms
			ask[*kmsg.DescribeConfigsResponse](cl, "broker, all keys", req, byKey, withoutOwnPaths)
		}
		for _, row := range []struct {
			kind kmsg.ConfigResourceType
			name string
			keys []string
		}{
			{2, "conf", []string{}}, {2, "conf", []string{"retention.ms", "nonsense", "segment.bytes", "retention.ms"}}, {2, "nowhere", nil}, {2, "a b", nil}, {2, "", nil},
			{4, "1", []string{"num.partitions", "log.retention.ms", "log.retention.hours", "nonsense", "ssl.keystore.password", "compression.type"}}, {4, "", nil}, {4, "", []string{"num.partitions"}},
			{4, "2", nil}, {4, "x", nil}, {4, "-1", nil}, {4, "01", []string{"node.id"}}, {32, "no-group", nil}, {32, "", nil}, {16, "nothing", nil}, {16, "", nil}, {0, "x", nil}, {1, "x", nil}, {3, "x", nil}, {64, "x", nil}, {-1, "x", nil},
		} {
			ask[*kmsg.DescribeConfigsResponse](cl, shown(row.kind)+" "+row.name+" "+strings.Join(row.keys, ","), describe(v, row.kind, row.name, row.keys), byKey, withoutOwnPaths)
		}
	}
	req := describe(4, kmsg.ConfigResourceTypeTopic, "conf", []string{"retention.ms"})
	req.Resources = append(req.Resources, req.Resources[0], describe(4, 4, "1", []string{"node.id"}).Resources[0], describe(4, 2, "nowhere", nil).Resources[0])
	ask[*kmsg.DescribeConfigsResponse](cl, "several and one twice", req, resourcesSorted, byKey)
	req.Resources = nil
	ask[*kmsg.DescribeConfigsResponse](cl, "none", req)
}

func resourcesSorted(_ server, answer kmsg.Response) {
	slices.SortStableFunc(answer.(*kmsg.DescribeConfigsResponse).Resources, func(a, b kmsg.DescribeConfigsResponseResource) int {
		return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName))
	})
}

// change is one config of an IncrementalAlterConfigs resource.
type change struct {
	key   string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

func incremental(version int16, kind kmsg.ConfigResourceType, name string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = version
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, c := range changes {
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Name, one.Op, one.Value = c.key, c.op, c.value
		r.Configs = append(r.Configs, one)
	}
	req.Resources = append(req.Resources, r)
	return req
}

func alteredSorted(_ server, answer kmsg.Response) {
	slices.SortStableFunc(answer.(*kmsg.IncrementalAlterConfigsResponse).Resources, func(a, b kmsg.IncrementalAlterConfigsResponseResource) int {
		return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.ResourceName, b.ResourceName))
	})
}

// set, remove, add and take are changes.
func set(key, value string) change  { return change{key, 0, &value} }
func remove(key string) change      { return change{key, 1, nil} }
func add(key, value string) change  { return change{key, 2, &value} }
func take(key, value string) change { return change{key, 3, &value} }

func alterConfigs(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("alter", 1)
	cl.createTopic("alter-beside", 1)
	marks := 0
	overrides := func() {
		cl.settled(&marks)
		ask[*kmsg.DescribeConfigsResponse](cl, "now", describe(4, 2, "alter", nil), byKey)
	}
	rows := [][]change{
		{set("retention.ms", "6000")}, {set("retention.ms", "6000"), set("flush.messages", "9")}, {remove("retention.ms")}, {remove("retention.ms")},
		{add("cleanup.policy", "compact")}, {add("cleanup.policy", "compact")}, {take("cleanup.policy", "delete")}, {take("cleanup.policy", "nothing")}, {take("cleanup.policy", "compact")},
		{set("cleanup.policy", "delete,compact")}, {remove("cleanup.policy")}, {add("cleanup.policy", "nothing")}, {add("retention.ms", "1")}, {take("retention.ms", "1")},
		{set("nonsense", "1")}, {remove("nonsense")}, {add("nonsense", "1")}, {set("retention.ms", "x")}, {set("retention.ms", "-2")}, {{"retention.ms", 0, nil}}, {{"cleanup.policy", 2, nil}}, {{"retention.ms", 1, ptr("7")}},
		{{"retention.ms", 4, ptr("1")}}, {{"retention.ms", -1, ptr("1")}}, {set("retention.ms", "1"), set("retention.ms", "2")}, {set("retention.ms", "1"), remove("retention.ms")},
		{set("segment.bytes", "2000000"), set("nonsense", "1")}, {set("", "x")}, {}, {set("compression.type", "brotli")}, {set("min.insync.replicas", "0")}, {set("unclean.leader.election.enable", "TRUE")},
		{set("leader.replication.throttled.replicas", "0:1")}, {add("leader.replication.throttled.replicas", "1:1,0:1")}, {take("leader.replication.throttled.replicas", "0:1")}, {set("remote.storage.enable", "true")},
		{set("max.message.bytes", " 2000 ")}, {set("message.format.version", "2.8")}, {set("segment.ms", "0")}, {set("min.compaction.lag.ms", "10"), set("max.compaction.lag.ms", "5")}, {set("retention.bytes", "100"), set("local.retention.bytes", "200")},
	}
	for _, v := range []int16{0, 1} {
		for _, changes := range rows[:len(rows)/(2-int(v))] {
			req := incremental(v, 2, "alter", changes...)
			req.ValidateOnly = true
			ask[*kmsg.IncrementalAlterConfigsResponse](cl, "validate "+shown(describeChanges(changes)), req)
			ask[*kmsg.IncrementalAlterConfigsResponse](cl, shown(describeChanges(changes)), incremental(v, 2, "alter", changes...))
			overrides()
		}
	}
	several := incremental(1, 2, "alter", set("flush.ms", "5"))
	several.Resources = append(several.Resources, incremental(1, 2, "nowhere", set("flush.ms", "5")).Resources[0], incremental(1, 2, "alter-beside", set("flush.ms", "x")).Resources[0])
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "good and bad", several, alteredSorted)
	several.Resources = append(several.Resources, several.Resources[0])
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "one twice", several, alteredSorted)
	for _, row := range []struct {
		kind kmsg.ConfigResourceType
		name string
		one  change
	}{
		{2, "", set("flush.ms", "5")}, {2, "a b", set("flush.ms", "5")}, {4, "1", set("node.id", "5")}, {4, "1", set("process.roles", "broker")}, {4, "x", set("log.retention.ms", "5")}, {4, "7", set("log.retention.ms", "5")},
		{0, "x", set("a", "b")}, {1, "x", set("a", "b")}, {64, "x", set("a", "b")}, {4, "1", set("log.retention.ms", "x")}, {32, "", set("consumer.session.timeout.ms", "45000")},
	} {
		req := incremental(1, row.kind, row.name, row.one)
		req.ValidateOnly = true
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, shown(row.kind)+" "+row.name+" "+row.one.key, req)
	}
	replaceConfigs(cl, overrides)
}

func describeChanges(changes []change) []string {
	var all []string
	for _, c := range changes {
		all = append(all, c.key, shown(c.op), shown(c.value))
	}
	return all
}

// replaceConfigs is AlterConfigs, which replaces all overrides.
func replaceConfigs(cl *client, overrides func()) {
	replace := func(version int16, validate bool, name string, pairs ...string) *kmsg.AlterConfigsRequest {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version, req.ValidateOnly = version, validate
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = 2, name
		for _, pair := range pairs {
			k, v, ok := strings.Cut(pair, "=")
			one := kmsg.NewAlterConfigsRequestResourceConfig()
			if one.Name = k; ok {
				one.Value = &v
			}
			r.Configs = append(r.Configs, one)
		}
		req.Resources = append(req.Resources, r)
		return req
	}
	for _, v := range versions(0, 2) {
		for _, pairs := range [][]string{
			{"retention.ms=7000", "flush.ms=9"}, {"retention.ms=8000"}, {"nonsense=1"}, {"retention.ms=x"}, {"retention.ms"}, {"retention.ms=1", "retention.ms=2"}, {},
			{"cleanup.policy=compact", "nonsense=2"}, {"cleanup.policy=compact"},
		} {
			ask[*kmsg.AlterConfigsResponse](cl, "validate "+strings.Join(pairs, " "), replace(v, true, "alter", pairs...))
			ask[*kmsg.AlterConfigsResponse](cl, strings.Join(pairs, " "), replace(v, false, "alter", pairs...))
			overrides()
		}
		ask[*kmsg.AlterConfigsResponse](cl, "nowhere", replace(v, false, "nowhere", "retention.ms=1"))
		ask[*kmsg.AlterConfigsResponse](cl, "no name", replace(v, false, "", "retention.ms=1"))
	}
}

// settled waits until the broker has applied every change made so far: a change of another topic, made last, is there.
func (cl *client) settled(marks *int) {
	*marks++
	mark := strconv.Itoa(100000 + *marks)
	_, outcome := cl.send("mark", incremental(1, 2, "alter-beside", set("file.delete.delay.ms", mark))).read()
	if outcome != "" {
		cl.abort("mark: %s", outcome)
	}
	until(cl, "the mark is there", describe(4, 2, "alter-beside", []string{"file.delete.delay.ms"}), func(r *kmsg.DescribeConfigsResponse) bool {
		return *r.Resources[0].Configs[0].Value == mark
	})
}
