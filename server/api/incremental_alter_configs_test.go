package api

import (
	"context"
	"errors"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// agreeing makes the controller accept every resource that it is asked to change.
func agreeing(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	switch r := req.(type) {
	case *kmsg.IncrementalAlterConfigsRequest:
		for _, asked := range r.Resources {
			out := kmsg.NewIncrementalAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
			resp.(*kmsg.IncrementalAlterConfigsResponse).Resources = append(resp.(*kmsg.IncrementalAlterConfigsResponse).Resources, out)
		}
	case *kmsg.AlterConfigsRequest:
		for _, asked := range r.Resources {
			out := kmsg.NewAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
			resp.(*kmsg.AlterConfigsResponse).Resources = append(resp.(*kmsg.AlterConfigsResponse).Resources, out)
		}
	}
	return resp, nil
}

// alterNode is a node whose controller agrees with everything.
func alterNode(t testing.TB) (*Node, *fakeController) {
	n, c := imageNode(t, topicWith(t, configRecord(config.Broker, "", "num.network.threads", "5")), goldenSettings)
	c.handle = agreeing
	return n, c
}

// change is one change of one key.
type change struct {
	key   string
	op    int8
	value *string
}

func incremental(kind kmsg.ConfigResourceType, name string, changes ...change) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, c := range changes {
		out := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		out.Name, out.Op, out.Value = c.key, kmsg.IncrementalAlterConfigOp(c.op), c.value
		r.Configs = append(r.Configs, out)
	}
	return r
}

// alterIncrementally sends resources in the given version.
func alterIncrementally(t testing.TB, n *Node, version int16, resources ...kmsg.IncrementalAlterConfigsRequestResource) []kmsg.IncrementalAlterConfigsResponseResource {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.Resources = version, resources
	return ask[*kmsg.IncrementalAlterConfigsResponse](t, n, "PLAINTEXT", req).Resources
}

// TestIncrementalAlterConfigsAsKafka holds what a broker of Apache Kafka 4.3.1 answered, as far as the broker that is asked
// decides it. An empty message with code 0 means that the controller is asked.
func TestIncrementalAlterConfigsAsKafka(t *testing.T) {
	v := ptr[string]
	tests := []struct {
		title   string
		kind    kmsg.ConfigResourceType
		name    string
		changes []change
		code    int16
		message string
	}{
		{"topic", 2, "t1", []change{{"retention.ms", 0, v("6000")}}, 0, ""},
		{"nothing to change", 2, "t1", nil, 0, ""},
		{"group", 32, "g", []change{{"consumer.session.timeout.ms", 0, v("50000")}}, 0, ""},
		{"metrics", 16, "m", []change{{"interval.ms", 0, v("1000")}}, 0, ""},
		{"null", 2, "t1", []change{{"retention.ms", 0, nil}}, 42, "Null value not supported for : retention.ms"},
		{"append null", 2, "t1", []change{{"cleanup.policy", 2, nil}}, 42, "Null value not supported for : cleanup.policy"},
		{"delete null", 2, "t1", []change{{"retention.ms", 1, nil}}, 0, ""},
		{"unknown operation", 2, "t1", []change{{"cleanup.policy", 9, v("compact")}}, -1, "null"},
		{"twice", 2, "t1", []change{{"retention.ms", 0, v("7")}, {"retention.ms", 0, v("8")}}, 42, "Error due to duplicate config keys"},
		{"broker", 4, "1", []change{{"num.io.threads", 0, v("4")}}, 0, ""},
		{"all brokers", 4, "", []change{{"message.max.bytes", 0, v("4")}}, 0, ""},
		{"read-only", 4, "1", []change{{"num.partitions", 0, v("4")}}, 42, "Cannot update these configs dynamically: [num.partitions]"},
		{"read-only for all", 4, "", []change{{"num.partitions", 0, v("4")}}, 42, "Cannot update these configs dynamically: [num.partitions]"},
		{"read-only deleted", 4, "1", []change{{"num.partitions", 1, nil}}, 0, ""},
		{"unknown key", 4, "1", []change{{"nope.nope", 0, v("4")}}, 0, ""},
		{"no number", 4, "1", []change{{"num.io.threads", 0, v("x")}}, 42, "Invalid value x for configuration num.io.threads: Not a number of type INT"},
		{
			"out of range", 4, "1",
			[]change{{"num.io.threads", 0, v("0")}},
			42, "Invalid value 0 for configuration num.io.threads: Value must be at least 1",
		},
		{
			"too many threads", 4, "1",
			[]change{{"num.io.threads", 0, v("1000")}},
			42, "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for " +
				"num.io.threads=1000, value should not be greater than double the current value 4 for configuration Invalid dynamic configuration",
		},
		{
			"for one broker only", 4, "",
			[]change{{"listeners", 0, v("PLAINTEXT://:9")}},
			42, "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
		},
		{
			"security without listener", 4, "1",
			[]change{{"ssl.keystore.location", 0, v("/x")}},
			42, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]",
		},
		{"throttle", 4, "1", []change{{"leader.replication.throttled.rate", 0, v("4")}}, 0, ""},
		{
			"bad throttle", 4, "1",
			[]change{{"leader.replication.throttled.rate", 0, v("-4")}},
			42, "Invalid value -4 for configuration leader.replication.throttled.rate: Value must be at least 0",
		},
		{"other broker", 4, "2", []change{{"num.io.threads", 0, v("4")}}, 42, "Unexpected broker id, expected 1, but received 2"},
		{"no broker", 4, "x", []change{{"num.io.threads", 0, v("4")}}, 42, "Node id must be an integer, but it is: x"},
		{"broker null", 4, "1", []change{{"num.io.threads", 0, nil}}, 42, "Null value not supported for : num.io.threads"},
		{"broker append", 4, "1", []change{{"log.cleanup.policy", 2, v("compact")}}, 0, ""},
		{"unknown logger", 8, "1", []change{{"rooty", 0, v("INFO")}}, 40, "Logger rooty does not exist!"},
		{
			"bad level", 8, "1",
			[]change{{"root", 0, v("INFOX")}},
			40, "Cannot set the log level of root to INFOX as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
		},
		{"root removed", 8, "1", []change{{"root", 1, nil}}, 42, "Removing the log level of the root logger is not allowed"},
		{"level appended", 8, "1", []change{{"root", 2, v("INFO")}}, 42, "APPEND operation is not allowed for the BROKER_LOGGER resource"},
		{"other logger", 8, "2", []change{{"root", 0, v("INFO")}}, 42, "Unexpected node id. Expected 1, but received 2"},
		{"type 0", 0, "m", []change{{"interval.ms", 0, v("1000")}}, 42, "Unknown resource type 0"},
		{"type 99", 99, "m", []change{{"interval.ms", 0, v("1000")}}, 42, "Unknown resource type 99"},
		// Kafka changes this at run time, this broker only at start: refused rather than ignored.
		{
			"start only", 4, "1",
			[]change{{"num.recovery.threads.per.data.dir", 0, v("1")}},
			42, "Cannot update these configs while the broker runs, as they are read at its start: [num.recovery.threads.per.data.dir]",
		},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			n, c := alterNode(t)
			for version := int16(0); version <= 1; version++ {
				got := alterIncrementally(t, n, version, incremental(tt.kind, tt.name, tt.changes...))
				if len(got) != 1 || got[0].ErrorCode != tt.code || got[0].ResourceName != tt.name {
					t.Fatalf("%+v", got)
				}
				if got[0].ErrorCode != 0 && orNull(got[0].ErrorMessage) != tt.message {
					t.Errorf("%s\nwant %s", orNull(got[0].ErrorMessage), tt.message)
				}
			}
			if forwarded := len(c.requests()) == 2; forwarded != (tt.code == 0) {
				t.Errorf("the controller was asked %d times", len(c.requests()))
			}
		})
	}
}

func TestAlterConfigsMixesOutcomes(t *testing.T) {
	n, c := alterNode(t)
	c.handle = func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp, _ := agreeing(ctx, req)
		out := &resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[1]
		out.ErrorCode, out.ErrorMessage = 3, ptr("The topic 'nope' does not exist.")
		return resp, nil
	}
	set := change{"retention.ms", 0, ptr("1")}
	got := alterIncrementally(t, n, 1, incremental(4, "9", set), incremental(2, "t1", set), incremental(99, "x", set), incremental(2, "nope", set))
	for i, code := range []int16{42, 0, 42, 3} {
		if got[i].ErrorCode != code {
			t.Errorf("resource %d: %+v, want %d", i, got[i], code)
		}
	}
	asked := c.requests()[0].(*kmsg.IncrementalAlterConfigsRequest)
	if len(asked.Resources) != 2 || asked.Resources[0].ResourceName != "t1" || asked.ValidateOnly {
		t.Errorf("%+v", asked)
	}
}

func TestAlterConfigsRefusesDuplicateResources(t *testing.T) {
	n, c := alterNode(t)
	set := change{"retention.ms", 0, ptr("1")}
	for _, r := range alterIncrementally(t, n, 1, incremental(2, "t1", set), incremental(2, "t1", set)) {
		if r.ErrorCode != 42 || orNull(r.ErrorMessage) != "Each resource must appear at most once." {
			t.Errorf("%+v", r)
		}
	}
	if len(c.requests()) != 0 {
		t.Error("the controller was asked")
	}
}

func TestAlterConfigsWithoutController(t *testing.T) {
	n, c := alterNode(t)
	c.handle = func(context.Context, kmsg.Request) (kmsg.Response, error) { return nil, errors.New("gone") }
	got := alterIncrementally(t, n, 1, incremental(2, "t1", change{"retention.ms", 0, ptr("1")}), incremental(4, "9"))
	if got[0].ErrorCode != int16(protocol.UnknownServerError) || got[1].ErrorCode != 42 {
		t.Errorf("%+v", got)
	}
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) { return req.ResponseKind(), nil }
	if got = alterIncrementally(t, n, 1, incremental(2, "t1")); got[0].ErrorCode != int16(protocol.UnknownServerError) {
		t.Errorf("an answer for no resource: %+v", got)
	}
}

func TestIncrementalAlterConfigsValidateOnly(t *testing.T) {
	n, c := alterNode(t)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.ValidateOnly = 1, true
	req.Resources = append(req.Resources, incremental(2, "t1"))
	ask[*kmsg.IncrementalAlterConfigsResponse](t, n, "PLAINTEXT", req)
	if asked := c.requests()[0].(*kmsg.IncrementalAlterConfigsRequest); !asked.ValidateOnly {
		t.Error("the controller must only validate")
	}
}
