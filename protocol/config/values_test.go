package config

import (
	"math"
	"slices"
	"testing"
	"time"
)

func broker(t *testing.T, static map[string]string) Values {
	t.Helper()
	v, err := FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTopicSynonymPrecedence(t *testing.T) {
	const day = int64(24 * time.Hour / time.Millisecond)
	tests := []struct {
		name      string
		static    map[string]string
		overrides map[string]string
		key       string
		want      int64
	}{
		{"default hours", nil, nil, "retention.ms", 7 * day},
		{"hours", map[string]string{"log.retention.hours": "24"}, nil, "retention.ms", day},
		{"minutes over hours", map[string]string{"log.retention.hours": "24", "log.retention.minutes": "2"}, nil, "retention.ms", 120_000},
		{"ms over minutes", map[string]string{"log.retention.ms": "7", "log.retention.minutes": "2"}, nil, "retention.ms", 7},
		{"any negative ms is -1", map[string]string{"log.retention.hours": "-5"}, nil, "retention.ms", -1},
		{"override", map[string]string{"log.retention.ms": "7"}, map[string]string{"retention.ms": "9"}, "retention.ms", 9},
		{"roll hours", map[string]string{"log.roll.hours": "1"}, nil, "segment.ms", 3_600_000},
		{"roll ms", map[string]string{"log.roll.hours": "1", "log.roll.ms": "5"}, nil, "segment.ms", 5},
		{"jitter default", nil, nil, "segment.jitter.ms", 0},
		{"jitter hours", map[string]string{"log.roll.jitter.hours": "2"}, nil, "segment.jitter.ms", 7_200_000},
		{"flush by scheduler", map[string]string{"log.flush.scheduler.interval.ms": "100"}, nil, "flush.ms", 100},
		{"flush default", nil, nil, "flush.ms", math.MaxInt64},
		{"bad override is left out", nil, map[string]string{"retention.ms": "x"}, "retention.ms", 7 * day},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := broker(t, tt.static).Topic(tt.overrides).Int64(tt.key); got != tt.want {
				t.Errorf("%s = %d, want %d", tt.key, got, tt.want)
			}
		})
	}
}

func TestBrokerGettersFallBack(t *testing.T) {
	v := broker(t, map[string]string{"log.retention.hours": "1", "log.dir": "/a, /b", "log.cleanup.policy": "compact,delete"})
	if got := v.Duration("log.retention.ms"); got != time.Hour {
		t.Errorf("log.retention.ms = %v", got)
	}
	if got := v.Duration("log.roll.ms"); got != 168*time.Hour {
		t.Errorf("log.roll.ms = %v", got)
	}
	if got := v.List("log.dirs"); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("log.dirs = %q", got)
	}
	if v.IsSet("log.dirs") || !v.IsSet("log.dir") {
		t.Error("IsSet is about the key itself")
	}
	if !v.IsNull("broker.rack") || v.String("broker.rack") != "" {
		t.Error("broker.rack has no value")
	}
}

func TestDurations(t *testing.T) {
	v := broker(t, map[string]string{"log.retention.ms": "-1", "offsets.retention.minutes": "3"})
	for key, want := range map[string]time.Duration{
		"log.retention.ms":                        -time.Millisecond,
		"offsets.retention.minutes":               3 * time.Minute,
		"log.flush.scheduler.interval.ms":         math.MaxInt64,
		"leader.imbalance.check.interval.seconds": 300 * time.Second,
		"log.roll.hours":                          168 * time.Hour,
		"kafka.metrics.polling.interval.secs":     10 * time.Second,
	} {
		if got := v.Duration(key); got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
}

func TestDynamicLayers(t *testing.T) {
	static := broker(t, map[string]string{"message.max.bytes": "1", "num.partitions": "5"})
	v := static.WithDynamic(map[string]string{"message.max.bytes": "2", "min.insync.replicas": "2"}, map[string]string{"message.max.bytes": "3"})
	if v.Int("message.max.bytes") != 3 || v.Int("min.insync.replicas") != 2 || v.Int("num.partitions") != 5 {
		t.Error("own over cluster over static")
	}
	if static.Int("message.max.bytes") != 1 {
		t.Error("the static values changed")
	}
	if got := v.Topic(nil).Int("max.message.bytes"); got != 3 {
		t.Errorf("max.message.bytes = %d", got)
	}
	w := v.WithDynamic(nil, map[string]string{"message.max.bytes": "junk", "no.such": "1"})
	if w.Int("message.max.bytes") != 1 || w.Int("min.insync.replicas") != 1 {
		t.Error("dynamic values are replaced, bad ones left out")
	}
}

func TestListenerPrefixedKey(t *testing.T) {
	const name = "listener.name.plaintext.num.network.threads"
	v := broker(t, map[string]string{name: "7", "listener.name.x.max.connections": "9"})
	if v.Int(name) != 7 || v.Int("num.network.threads") != 3 || v.Int("listener.name.other.num.network.threads") != 3 {
		t.Error("a prefixed key is for its listener only and falls back on the plain one")
	}
	if k := Lookup(Broker, "listener.name.sasl_plain.scram-sha-256.sasl.jaas.config"); k == nil || k.Type != Password || k.Update != PerBroker {
		t.Errorf("%+v", k)
	}
	for _, unknown := range []string{"listener.name.", "listener.name.x", "listener.name.x.no.such", "listener.name..listeners"} {
		if Lookup(Broker, unknown) != nil {
			t.Errorf("%q resolves", unknown)
		}
	}
}

func TestFromStaticNamesAllProblems(t *testing.T) {
	_, err := FromStatic(map[string]string{"num.partitions": "0", "log.segment.bytes": "1", "no.such.key": "1", "num.io.threads": "4"})
	const want = "INVALID_CONFIG: Invalid value 1 for configuration log.segment.bytes: Value must be at least 1048576\n" +
		"INVALID_CONFIG: Invalid value 0 for configuration num.partitions: Value must be at least 1"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestReadsDoNotAllocate(t *testing.T) {
	v := broker(t, map[string]string{"log.retention.hours": "1"})
	topic := v.Topic(map[string]string{"cleanup.policy": "compact"})
	n := testing.AllocsPerRun(100, func() {
		_ = topic.List("cleanup.policy")
		_ = topic.Int64("retention.ms")
		_ = v.Duration("log.retention.ms")
		_ = v.Bool("auto.create.topics.enable")
		_ = topic.String("compression.type")
		_ = v.IsSet("num.partitions")
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUnknownKeyPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Defaults().Int("no.such.key")
}
