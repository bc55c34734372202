package parity

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Apache Kafka answers GetTelemetrySubscriptions and PushTelemetry without a plugin too, though it does not advertise them then.

// getTelemetry asks as the client with this id, the zero id for one that has none yet.
func getTelemetry(id [16]byte) *kmsg.GetTelemetrySubscriptionsRequest {
	req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	req.ClientInstanceID = id
	return req
}

// pushTelemetry pushes a MetricsData with nothing in it, uncompressed.
func pushTelemetry(id [16]byte, subscription int32, change func(*kmsg.PushTelemetryRequest)) *kmsg.PushTelemetryRequest {
	req := kmsg.NewPtrPushTelemetryRequest()
	req.ClientInstanceID, req.SubscriptionID, req.Metrics = id, subscription, []byte{0x0a, 0x00}
	change(req)
	return req
}

// nameless takes the random id out of an answer, and out of the subscription's, which is made with it.
func nameless(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.GetTelemetrySubscriptionsResponse)
	if r.ClientInstanceID == ([16]byte{}) {
		return
	}
	for at := 0; at < 16; at += 4 {
		r.SubscriptionID ^= int32(binary.BigEndian.Uint32(r.ClientInstanceID[at:]))
	}
	r.ClientInstanceID = [16]byte{}
}

// metricsSorted sorts what is asked for, which Kafka keeps in a set; the subscription's id is made of that order.
func metricsSorted(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.GetTelemetrySubscriptionsResponse)
	slices.Sort(r.RequestedMetrics)
	if len(r.RequestedMetrics) > 1 {
		r.SubscriptionID = 0
	}
}

// telemetrySettled waits until a new client is asked for that many metrics, that often.
func (cl *client) telemetrySettled(metrics int, interval int32) {
	until(cl, "the subscription is in force", getTelemetry([16]byte{}), func(r *kmsg.GetTelemetrySubscriptionsResponse) bool {
		return len(r.RequestedMetrics) == metrics && r.PushIntervalMillis == interval
	})
}

func telemetryTimes(c *conversation) {
	cl := c.dial("telemetry")
	ask[*kmsg.GetTelemetrySubscriptionsResponse](cl, "no subscription", getTelemetry([16]byte{}), nameless)
	alter := func(name string, changes ...change) {
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, name, incremental(1, 16, name, changes...))
	}
	alter("times", set("metrics", "org.apache.kafka.producer."), set("interval.ms", "200000"))
	cl.telemetrySettled(1, 200000)
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	got := ask[*kmsg.GetTelemetrySubscriptionsResponse](cl, "an id of the client's", getTelemetry(id))
	push := func(label string, change func(*kmsg.PushTelemetryRequest)) {
		ask[*kmsg.PushTelemetryResponse](cl, label, pushTelemetry(id, got.SubscriptionID, change))
	}
	asIs := func(*kmsg.PushTelemetryRequest) {}
	ending := func(r *kmsg.PushTelemetryRequest) { r.Terminating = true }
	ask[*kmsg.GetTelemetrySubscriptionsResponse](cl, "too early", getTelemetry(id))
	push("after the question", asIs)
	push("too early", asIs)
	ask[*kmsg.GetTelemetrySubscriptionsResponse](cl, "too early after the push", getTelemetry(id))
	push("terminating", ending)
	push("after that", asIs)
	push("terminating again", ending)
	push("and again", ending)
	again := c.dial("telemetry")
	ask[*kmsg.GetTelemetrySubscriptionsResponse](again, "too early at another connection", getTelemetry(id))
	zipped := func(size int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(bytes.Repeat([]byte{0x0a, 0x00}, size/2))
		_ = z.Close()
		return b.Bytes()
	}
	for i, row := range []struct {
		label  string
		change func(*kmsg.PushTelemetryRequest)
	}{
		{"another subscription", func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }},
		{"no id", func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{} }},
		{"a reserved id", func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{15: 1} }},
		{"another id", func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{15: 2} }},
		{"codec 5", func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 5 }},
		{"codec -1", func(r *kmsg.PushTelemetryRequest) { r.CompressionType = -1 }},
		{"too large", func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, 1<<20+1) }},
		{"no gzip", func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 1 }},
		{"no zstd", func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 4 }},
		{"gzip", func(r *kmsg.PushTelemetryRequest) { r.CompressionType, r.Metrics = 1, zipped(1000) }},
		{"gzip of too much", func(r *kmsg.PushTelemetryRequest) { r.CompressionType, r.Metrics = 1, zipped(1<<20+2) }},
		{"nothing", func(r *kmsg.PushTelemetryRequest) { r.Metrics = nil }},
		{"nothing that is no gzip", func(r *kmsg.PushTelemetryRequest) { r.Metrics, r.CompressionType = nil, 1 }},
		{"no question before", asIs},
	} {
		one := c.dial("telemetry")
		id := [16]byte{1, 15: byte(i)}
		var s int32
		if row.label != "no question before" {
			s = ask[*kmsg.GetTelemetrySubscriptionsResponse](one, row.label, getTelemetry(id)).SubscriptionID
		}
		ask[*kmsg.PushTelemetryResponse](one, row.label, pushTelemetry(id, s, row.change))
		ask[*kmsg.GetTelemetrySubscriptionsResponse](one, "after "+row.label, getTelemetry(id))
		ask[*kmsg.PushTelemetryResponse](one, "after "+row.label, pushTelemetry(id, s, asIs))
	}
	alter("times", remove("metrics"), remove("interval.ms"))
	cl.telemetrySettled(0, 300000)
}

func telemetryMatches(c *conversation) {
	cl := c.dial("telemetry")
	alter := func(label, name string, changes ...change) {
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, label, incremental(1, 16, name, changes...))
	}
	alter("", "by-id", set("metrics", "a,b"), set("match", "client_id=app-[0-9]+"), set("interval.ms", "100"))
	alter("", "by-software", set("metrics", "b,c"), set("match", "client_software_name=parity,client_software_version=1\\..*"), set("interval.ms", "50000"))
	alter("", "by-address", set("metrics", "local"), set("match", "client_source_address=127\\.0\\.0\\.1,client_source_port=[0-9]+"))
	alter("", "nobody", set("metrics", "never"), set("match", "client_id=app-[0-9]+,client_software_name=other"))
	alter("", "every", set("metrics", "*"), set("match", "client_id=every"))
	alter("", "unknown", set("metrics", "unknown"), set("match", "client_software_name=unknown,client_id=tele.*"))
	alter("", "slow", set("interval.ms", "3600000"))
	cl.telemetrySettled(2, 300000)
	for _, id := range []string{"app-1", "app-1x", "xapp-1", "every", "telemetry"} {
		one := c.dial(id)
		ask[*kmsg.GetTelemetrySubscriptionsResponse](one, id, getTelemetry([16]byte{}), nameless, metricsSorted)
		named := c.dial(id)
		ask[*kmsg.ApiVersionsResponse](named, id, apiVersionsRequest(3, "parity", "1.0"), servedAPIs, byName)
		ask[*kmsg.GetTelemetrySubscriptionsResponse](named, "named "+id, getTelemetry([16]byte{}), nameless, metricsSorted)
	}
	for _, name := range []string{"by-id", "slow", "not there"} {
		for _, v := range versions(1, 4) {
			req := describe(v, 16, name, nil)
			req.IncludeSynonyms = true
			ask[*kmsg.DescribeConfigsResponse](cl, name, req, byKey)
		}
	}
	for _, types := range [][]int8{nil, {16}, {16, 32}} {
		for _, v := range versions(0, 1) {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.Version, req.ResourceTypes = v, types
			ask[*kmsg.ListConfigResourcesResponse](cl, shown(types), req, func(_ server, answer kmsg.Response) {
				r := answer.(*kmsg.ListConfigResourcesResponse)
				r.ConfigResources = slices.DeleteFunc(r.ConfigResources, func(one kmsg.ListConfigResourcesResponseConfigResource) bool { return v == 1 && one.Type != 16 })
				slices.SortFunc(r.ConfigResources, func(a, b kmsg.ListConfigResourcesResponseConfigResource) int { return cmp.Compare(a.Name, b.Name) })
			})
		}
	}
	for _, changes := range [][]change{
		{set("interval.ms", "99")}, {set("interval.ms", "3600001")}, {set("interval.ms", "x")}, {set("interval.ms", "")}, {add("interval.ms", "100")}, {set("nonsense", "1")}, {remove("nonsense")},
		{set("match", "client_id")}, {set("match", "client_id=")}, {set("match", "client_id=a=b")}, {set("match", "client_id=a==")}, {set("match", "=a")}, {set("match", "client=a")}, {set("match", "client_id=[")},
		{set("match", "client_id=a)(b")}, {set("match", " client_id = a , client_source_port=1")}, {set("match", "")}, {add("match", "client_source_port=2")}, {take("match", "client_id=a")}, {set("match", "client_id=a,client_id=a")},
		{set("metrics", "")}, {set("metrics", "a,,b")}, {set("metrics", "a,")}, {set("metrics", ",")}, {set("match", "client_id=a,")}, {set("metrics", "a,,b"), set("interval.ms", "7")}, {set("nonsense", "1"), set("interval.ms", "7")}, {set("metrics", "a,a")}, {add("metrics", "c")}, {take("metrics", "a")}, {{"metrics", 0, nil}}, {set("metrics", "a"), set("interval.ms", "7")}, {{"metrics", 9, ptr("a")}}, {},
	} {
		req := incremental(1, 16, "changes", changes...)
		req.ValidateOnly = true
		ask[*kmsg.IncrementalAlterConfigsResponse](cl, "validate "+shown(describeChanges(changes)), req)
		alter(shown(describeChanges(changes)), "changes", changes...)
	}
	alter("without a name", "", set("interval.ms", "100"))
	for _, name := range []string{"by-id", "by-software", "by-address", "nobody", "every", "unknown", "slow", "changes"} {
		alter("removed", name, remove("metrics"), remove("match"), remove("interval.ms"))
	}
	cl.telemetrySettled(0, 300000)
	until(cl, "none are left", kmsg.NewPtrListConfigResourcesRequest(), func(r *kmsg.ListConfigResourcesResponse) bool { return len(r.ConfigResources) == 0 })
}
