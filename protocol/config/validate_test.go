package config

import (
	"testing"

	"github.com/ottla/ottla/protocol"
)

// expect compares an error with a code and a message; code None is no error.
func expect(t *testing.T, err error, code protocol.Code, message string) {
	t.Helper()
	if protocol.CodeOf(err) != code {
		t.Errorf("%v, want %v", err, code)
		return
	}
	if err != nil && *protocol.MessageOf(err) != message {
		t.Errorf("%s\nwant %s", *protocol.MessageOf(err), message)
	}
}

func TestValidateTopic(t *testing.T) {
	tests := []struct {
		overrides map[string]string
		code      protocol.Code
		message   string
	}{
		{nil, protocol.None, ""},
		{map[string]string{"cleanup.policy": "", "retention.ms": "-1", "internal.segment.bytes": "1000"}, protocol.None, ""},
		{map[string]string{"retention.ms": "x", "nope": "1"}, protocol.InvalidConfig, "Unknown topic config name: nope"},
		{map[string]string{"retention.ms": "-5"}, protocol.InvalidConfig, "Invalid value -5 for configuration retention.ms: Value must be at least -1"},
		{
			map[string]string{"min.compaction.lag.ms": "70", "max.compaction.lag.ms": "7"}, protocol.InvalidConfig,
			"conflict topic config setting min.compaction.lag.ms (70) > max.compaction.lag.ms (7)",
		},
		{
			map[string]string{"remote.storage.enable": "true"}, protocol.InvalidConfig,
			"Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
		},
	}
	for _, tt := range tests {
		expect(t, Defaults().ValidateTopic(tt.overrides), tt.code, tt.message)
	}
	v := broker(t, map[string]string{"log.cleaner.max.compaction.lag.ms": "5"})
	expect(t, v.ValidateTopic(map[string]string{"min.compaction.lag.ms": "6"}), protocol.InvalidConfig,
		"conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)")
}

func TestValidateGroup(t *testing.T) {
	v := Defaults()
	expect(t, v.ValidateGroup(map[string]string{"consumer.session.timeout.ms": "50000"}), protocol.None, "")
	expect(t, v.ValidateGroup(map[string]string{"zz": "1"}), protocol.InvalidConfig, "Unknown group config name: zz")
	expect(t, v.ValidateGroup(map[string]string{"consumer.session.timeout.ms": "5"}), protocol.InvalidConfig,
		"consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms")
	expect(t, v.ValidateGroup(map[string]string{"share.delivery.count.limit": "1000"}), protocol.InvalidConfig,
		"share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit")
	loose := broker(t, map[string]string{"group.consumer.min.session.timeout.ms": "1"})
	expect(t, loose.ValidateGroup(map[string]string{"consumer.session.timeout.ms": "5000"}), protocol.InvalidConfig,
		"consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")
}

func TestGroupBoundsAreKeys(t *testing.T) {
	for _, b := range groupBounds {
		if Lookup(Group, b.key) == nil || Lookup(Broker, b.limit) == nil {
			t.Errorf("%+v", b)
		}
	}
	for _, name := range append(threadCounts, startOnly...) {
		if k := Lookup(Broker, name); k == nil || k.Update == ReadOnly {
			t.Errorf("%s does not change at run time", name)
		}
	}
}

func TestValidateClientMetrics(t *testing.T) {
	good := map[string]string{"interval.ms": "100", "metrics": "*", "match": "client_id=app-[0-9]+, client_source_port = 9.*"}
	expect(t, ValidateClientMetrics(good), protocol.None, "")
	for value, message := range map[string]string{
		"1": "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
	} {
		expect(t, ValidateClientMetrics(map[string]string{"interval.ms": value}), protocol.InvalidRequest, message)
	}
	expect(t, ValidateClientMetrics(map[string]string{"xx": "1"}), protocol.InvalidRequest, "Unknown client metrics configuration: xx")
	for _, pattern := range []string{"x=y", "client_id=*[", "client_id", "client_id=", "client_id=a=b", "=a", "client_id=a)(?:b"} {
		expect(t, ValidateClientMetrics(map[string]string{"match": pattern}), protocol.InvalidConfig, "Illegal client matching pattern: "+pattern)
	}
}

func TestValidateDynamic(t *testing.T) {
	v := broker(t, map[string]string{"num.io.threads": "8"})
	expect(t, v.ValidateDynamic(map[string]string{"num.io.threads": "16", "plugin.key": "x"}, true), protocol.None, "")
	expect(t, v.ValidateDynamic(map[string]string{"num.io.threads": "3"}, true), protocol.InvalidRequest,
		"Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.io.threads=3, "+
			"value should be at least half the current value 8 for configuration Invalid dynamic configuration")
	expect(t, v.ValidateDynamic(map[string]string{"node.id": "1", "log.dirs": "/x"}, true), protocol.InvalidRequest,
		"Cannot update these configs dynamically: [log.dirs, node.id]")
	expect(t, v.ValidateDynamic(map[string]string{"listener.name.a.ssl.keystore.location": "/x"}, true), protocol.None, "")
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"log.retention.hour": "log.retention.hours", "log_retention_ms": "log.retention.ms", "num.partition": "num.partitions",
		"Advertised.Listeners": "advertised.listeners", "zookeeper.connect": "", "": "", "x": "", "log.dirz": "log.dir",
	} {
		if got := Nearest(Broker, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := Nearest(Topic, "retension.ms"); got != "retention.ms" {
		t.Errorf("%q", got)
	}
	if Nearest(Scope(99), "retention.ms") != "" || Lookup(Scope(99), "retention.ms") != nil || Keys(Scope(99)) != nil {
		t.Error("an unknown scope has no keys")
	}
}

func TestDocumentationTellsOfNoEffect(t *testing.T) {
	if got := Lookup(Broker, "group.coordinator.threads").Documentation(); got != Lookup(Broker, "group.coordinator.threads").Doc+" No effect in Ottla: "+noThreads+"." {
		t.Errorf("%q", got)
	}
	if k := Lookup(Broker, "num.partitions"); k.Documentation() != k.Doc {
		t.Error("a key with effect has its text alone")
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	v := broker(t, map[string]string{"ssl.key.password": "hunter2", "unknown.secret": "hunter2", "listener.name.a.ssl.key.password": "hunter2"})
	for _, d := range v.DescribeAll() {
		values := []*string{d.Value}
		for _, s := range d.Synonyms {
			values = append(values, s.Value)
		}
		for _, value := range values {
			if value != nil && *value == "hunter2" {
				t.Errorf("%s shows its value", d.Key.Name)
			}
		}
	}
	if v.String("ssl.key.password") != "hunter2" {
		t.Error("the broker itself reads it")
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"", " 1 ", "-1", "1e400", "a,,b", "0:1,1:2", "by_duration:P1DT2H", "1@[::1]:2", "client_id=["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, scope := range scopeNames {
			for _, k := range Keys(scope) {
				v, err := k.parse(text)
				if err != nil {
					if protocol.CodeOf(err) != protocol.InvalidConfig {
						t.Errorf("%s: %v", k.Name, err)
					}
					continue
				}
				// What is shown reads back as the same value.
				if again, err := k.parse(v.text); err != nil || again.text != v.text {
					t.Errorf("%s: %q shows as %q, which reads as %q, %v", k.Name, text, v.text, again.text, err)
				}
			}
		}
	})
}
