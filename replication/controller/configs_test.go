package controller

import (
	"fmt"
	"maps"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type alteration struct {
	scope config.Scope
	name  string
	ops   []configOp
}

func alter(t *testing.T, v *View, alterations ...alteration) []kmsg.IncrementalAlterConfigsResponseResource {
	t.Helper()
	req := &kmsg.IncrementalAlterConfigsRequest{Version: 1}
	for _, a := range alterations {
		r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceType(a.scope), ResourceName: a.name}
		for _, op := range a.ops {
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: op.name, Op: op.op, Value: op.value})
		}
		req.Resources = append(req.Resources, r)
	}
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	d, err := incrementalAlterConfigs(v, req, resp)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, d)
	return resp.Resources
}

func set(name, value string) configOp    { return configOp{name, opSet, &value} }
func unset(name string) configOp         { return configOp{name, opDelete, nil} }
func add(name, value string) configOp    { return configOp{name, opAppend, &value} }
func remove(name, value string) configOp { return configOp{name, opSubtract, &value} }

func TestAlterTopicConfigs(t *testing.T) {
	v := newTestView(t, nil, existing("t", uuid(1), []int32{1})...)
	steps := []struct {
		ops  []configOp
		want map[string]string
	}{
		{[]configOp{set("retention.ms", "5"), set("segment.ms", "7")}, map[string]string{"retention.ms": "5", "segment.ms": "7"}},
		{[]configOp{unset("retention.ms"), unset("flush.ms")}, map[string]string{"segment.ms": "7"}},
		{[]configOp{add("cleanup.policy", "compact")}, map[string]string{"segment.ms": "7", "cleanup.policy": "delete,compact"}},
		{[]configOp{add("cleanup.policy", "compact")}, map[string]string{"segment.ms": "7", "cleanup.policy": "delete,compact"}},
		{[]configOp{remove("cleanup.policy", "delete")}, map[string]string{"segment.ms": "7", "cleanup.policy": "compact"}},
		{[]configOp{remove("cleanup.policy", "delete"), unset("segment.ms")}, map[string]string{"cleanup.policy": "compact"}},
		{[]configOp{unset("cleanup.policy")}, nil},
	}
	for i, step := range steps {
		if got := alter(t, v, alteration{config.Topic, "t", step.ops}); got[0].ErrorCode != 0 || got[0].ErrorMessage != nil {
			t.Fatalf("step %d: %v %s", i, protocol.Code(got[0].ErrorCode), deref(got[0].ErrorMessage))
		}
		if got := v.Image.Config(config.Topic, "t"); !maps.Equal(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestAlterConfigErrors(t *testing.T) {
	tests := []struct {
		name    string
		a       alteration
		code    protocol.Code
		message string
	}{
		{"unknown key", alteration{config.Topic, "t", []configOp{set("nonsense", "1")}}, protocol.InvalidConfig, "Unknown topic config name: nonsense"},
		{"bad value", alteration{config.Topic, "t", []configOp{set("retention.ms", "x")}}, protocol.InvalidConfig,
			"Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{"append to a number", alteration{config.Topic, "t", []configOp{add("retention.ms", "1")}}, protocol.InvalidConfig,
			"Can't APPEND to key retention.ms because its type is not LIST."},
		{"subtract from a number", alteration{config.Topic, "t", []configOp{remove("retention.ms", "1")}}, protocol.InvalidConfig,
			"Can't SUBTRACT to key retention.ms because its type is not LIST."},
		{"null", alteration{config.Topic, "t", []configOp{{"retention.ms", opSet, nil}}}, protocol.InvalidRequest, "Null value not supported for : retention.ms"},
		{"a key twice", alteration{config.Topic, "t", []configOp{set("retention.ms", "1"), unset("retention.ms")}}, protocol.InvalidRequest,
			"Error due to duplicate config keys"},
		{"unknown topic", alteration{config.Topic, "x", []configOp{set("retention.ms", "1")}}, protocol.UnknownTopicOrPartition, "The topic 'x' does not exist."},
		{"no topic", alteration{config.Topic, "", []configOp{set("retention.ms", "1")}}, protocol.InvalidRequest, "Default topic resources are not allowed."},
		{"a resource that has none", alteration{8, "1", []configOp{set("a", "b")}}, protocol.InvalidRequest, "Unknown resource type 8"},
		{"operation", alteration{config.Topic, "t", []configOp{{"retention.ms", 9, ptr("1")}}}, protocol.InvalidRequest, "Unknown operations type 9"},
		{"static key", alteration{config.Broker, "1", []configOp{set("broker.id", "3")}}, protocol.InvalidRequest,
			"Cannot update these configs dynamically: [broker.id]"},
		{"key of one broker for all", alteration{config.Broker, "", []configOp{set("listeners", "PLAINTEXT://h:1")}}, protocol.InvalidRequest,
			"Cannot update these configs at default cluster level, broker id must be specified: [listeners]"},
		{"bad broker value", alteration{config.Broker, "1", []configOp{set("log.cleaner.threads", "x")}}, protocol.InvalidRequest,
			"Invalid value x for configuration log.cleaner.threads: Not a number of type INT"},
		{"group without a name", alteration{config.Group, "", []configOp{set("consumer.session.timeout.ms", "50000")}}, protocol.InvalidRequest,
			"Default group resources are not allowed."},
		{"unknown group key", alteration{config.Group, "g", []configOp{set("zz", "5")}}, protocol.InvalidConfig, "Unknown group config name: zz"},
		{"group key out of the broker's bounds", alteration{config.Group, "g", []configOp{set("consumer.session.timeout.ms", "5")}}, protocol.InvalidConfig,
			"consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{"subscription without a name", alteration{config.ClientMetrics, "", []configOp{set("interval.ms", "1000")}}, protocol.InvalidRequest,
			"Subscription name can't be empty"},
		{"unknown subscription key", alteration{config.ClientMetrics, "m", []configOp{set("xx", "1")}}, protocol.InvalidRequest,
			"Unknown client metrics configuration: xx"},
		{"broker name", alteration{config.Broker, "one", nil}, protocol.InvalidRequest, "Node id must be an integer, but it is: one"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, records(one(liveBroker(1)), existing("t", uuid(1), []int32{1}), existing("other", uuid(2), []int32{1}))...)
			before := v.NextOffset
			// The good change beside it goes through.
			got := alter(t, v, test.a, alteration{config.Topic, "other", []configOp{set("flush.ms", "2")}})
			if protocol.Code(got[0].ErrorCode) != test.code || deref(got[0].ErrorMessage) != test.message {
				t.Errorf("%v %q, want %v %q", protocol.Code(got[0].ErrorCode), deref(got[0].ErrorMessage), test.code, test.message)
			}
			if got[1].ErrorCode != 0 || v.NextOffset != before+1 {
				t.Errorf("the change beside it: %v, %d records", protocol.Code(got[1].ErrorCode), v.NextOffset-before)
			}
		})
	}
}

func TestGroupsAndSubscriptionsHaveConfigs(t *testing.T) {
	v := newTestView(t, nil, one(liveBroker(1))...)
	alter(t, v,
		alteration{config.Group, "g", []configOp{set("consumer.session.timeout.ms", "50000")}},
		alteration{config.ClientMetrics, "m", []configOp{set("interval.ms", "1000"), set("metrics", "org.apache")}})
	if got := v.Image.Config(config.Group, "g"); !maps.Equal(got, map[string]string{"consumer.session.timeout.ms": "50000"}) {
		t.Errorf("%v", got)
	}
	if got := v.Image.Config(config.ClientMetrics, "m"); !maps.Equal(got, map[string]string{"interval.ms": "1000", "metrics": "org.apache"}) {
		t.Errorf("%v", got)
	}
	alter(t, v, alteration{config.ClientMetrics, "m", []configOp{unset("interval.ms"), unset("metrics")}})
	if got := v.Image.ConfigResources(config.ClientMetrics); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestAResourceIsAllOrNothing(t *testing.T) {
	v := newTestView(t, nil, existing("t", uuid(1), []int32{1})...)
	alter(t, v, alteration{config.Topic, "t", []configOp{set("retention.ms", "5"), set("segment.ms", "x")}})
	if got := v.Image.Config(config.Topic, "t"); len(got) > 0 {
		t.Errorf("%v", got)
	}
	got := alter(t, v, alteration{config.Topic, "t", []configOp{set("retention.ms", "5")}}, alteration{config.Topic, "t", []configOp{set("segment.ms", "5")}})
	for _, r := range got {
		if protocol.Code(r.ErrorCode) != protocol.InvalidRequest || deref(r.ErrorMessage) != "Each resource must appear at most once." {
			t.Errorf("%v %s", protocol.Code(r.ErrorCode), deref(r.ErrorMessage))
		}
	}
}

func TestReplaceConfigs(t *testing.T) {
	v := newTestView(t, nil, existing("t", uuid(1), []int32{1})...)
	replace := func(validateOnly bool, configs map[string]string) protocol.Code {
		req := &kmsg.AlterConfigsRequest{Version: 2, ValidateOnly: validateOnly, Resources: []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: "t"}}}
		for name, value := range configs {
			req.Resources[0].Configs = append(req.Resources[0].Configs, kmsg.AlterConfigsRequestResourceConfig{Name: name, Value: &value})
		}
		resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
		d, err := replaceConfigs(v, req, resp)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, v, d)
		return protocol.Code(resp.Resources[0].ErrorCode)
	}
	for i, configs := range []map[string]string{{"retention.ms": "1", "segment.ms": "2"}, {"segment.ms": "3", "flush.ms": "4"}, {}} {
		if code := replace(false, configs); code != protocol.None || !maps.Equal(v.Image.Config(config.Topic, "t"), configs) {
			t.Errorf("step %d: %v, %v", i, code, v.Image.Config(config.Topic, "t"))
		}
	}
	if code := replace(true, map[string]string{"retention.ms": "1"}); code != protocol.None || len(v.Image.Config(config.Topic, "t")) > 0 {
		t.Errorf("validate only: %v, %v", code, v.Image.Config(config.Topic, "t"))
	}
}

// TestBrokerConfigsAreWrittenAgain: the file that a value names may have changed (KAFKA-14136).
func TestBrokerConfigsAreWrittenAgain(t *testing.T) {
	v := newTestView(t, nil, liveBroker(1))
	for i := range 2 {
		before := v.NextOffset
		alter(t, v, alteration{config.Broker, "1", []configOp{set("log.cleaner.threads", "2")}})
		if v.NextOffset != before+1 {
			t.Errorf("time %d: %d records", i, v.NextOffset-before)
		}
	}
	if got := fmt.Sprint(v.Image.Config(config.Broker, "1")); got != "map[log.cleaner.threads:2]" {
		t.Error(got)
	}
}
