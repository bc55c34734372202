package logs

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/protocol"
)

// levelsOf are the levels in force, by name, of loggers and of Kafka's names for them.
func levelsOf(l *Levels) map[string]string {
	all := map[string]string{}
	for _, one := range l.All() {
		all[one.Name] = one.Level
	}
	return all
}

func TestKafkaNames(t *testing.T) {
	for title, tc := range map[string]struct {
		set, unset []string // name=LEVEL; names
		want       []string // name=LEVEL
	}{
		"at first": {nil, nil, []string{"storage=INFO", "kafka=INFO", "org.apache.kafka=INFO", "kafka.server.ReplicaManager=INFO"}},
		"a class is another name": {
			[]string{"kafka.server.ReplicaManager=DEBUG"}, nil, []string{"replication=DEBUG", "kafka.cluster.Partition=DEBUG", "kafka.server=INFO", "storage=INFO"},
		},
		"and back again":         {[]string{"kafka.log.LogManager=ERROR"}, []string{"org.apache.kafka.storage.internals.log.UnifiedLog"}, []string{"storage=INFO"}},
		"by the own name":        {[]string{"replication=TRACE"}, nil, []string{"kafka.server.ReplicaFetcherThread=TRACE", "state.change.logger=TRACE"}},
		"a package":              {[]string{"kafka.log=DEBUG"}, nil, []string{"storage=DEBUG", "kafka.log.LogManager=DEBUG", "kafka.log=DEBUG", "kafka=INFO", "replication=INFO"}},
		"all":                    {[]string{"kafka=ERROR"}, nil, []string{"storage=ERROR", "other=ERROR", "kafka.server=ERROR", "root=INFO", "org.apache.kafka=INFO"}},
		"all by the other tree":  {[]string{"org.apache.kafka=DEBUG"}, nil, []string{"storage=DEBUG", "replication=DEBUG", "org.apache.kafka.storage.internals=DEBUG"}},
		"the more special wins":  {[]string{"kafka=ERROR", "kafka.log=WARN"}, nil, []string{"storage=WARN", "replication=ERROR"}},
		"in whatever order":      {[]string{"kafka.log=ERROR", "kafka=DEBUG"}, nil, []string{"storage=ERROR", "replication=DEBUG"}},
		"of equals the chattier": {[]string{"kafka=ERROR", "org.apache.kafka=DEBUG"}, nil, []string{"storage=DEBUG"}},
		"the own one wins":       {[]string{"kafka=DEBUG", "storage=FATAL"}, nil, []string{"storage=FATAL"}},
		"one above it too":       {[]string{"kafka.network=DEBUG", "network=ERROR"}, nil, []string{"network=ERROR", "network.request=ERROR"}},
		"below a group":          {[]string{"kafka.network=DEBUG"}, nil, []string{"network=DEBUG", "network.request=DEBUG"}},
		"requests alone":         {[]string{"kafka.request.logger=DEBUG"}, nil, []string{"network.request=DEBUG", "network=INFO"}},
		"a group unset":          {[]string{"kafka=ERROR"}, []string{"kafka"}, []string{"storage=INFO", "kafka=INFO"}},
	} {
		t.Run(title, func(t *testing.T) {
			l := New(zapcore.InfoLevel, "storage", "network", "network.request", "replication", "other")
			for _, pair := range tc.set {
				name, level, _ := strings.Cut(pair, "=")
				if err := l.Set(name, level); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range tc.unset {
				if err := l.Unset(name); err != nil {
					t.Fatal(err)
				}
			}
			now := levelsOf(l)
			for _, pair := range tc.want {
				if name, level, _ := strings.Cut(pair, "="); now[name] != level {
					t.Errorf("%s is %s, want %s", name, now[name], level)
				}
			}
		})
	}
}

// TestKafkaNamesHold: what a level set by Kafka's name says holds for the lines.
func TestKafkaNamesHold(t *testing.T) {
	next, seen := observer.New(zapcore.DebugLevel)
	l := New(zapcore.InfoLevel, "storage", "replication")
	logger := l.Under(zap.New(next))
	for _, name := range []string{"kafka.server", "org.apache.kafka.storage"} {
		if err := l.Set(name, "ERROR"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Set("kafka.log.LogCleaner", "DEBUG"); err != nil {
		t.Fatal(err)
	}
	logger.Named("storage").Debug("storage")
	logger.Named("replication").Warn("replication")
	logger.Named("storage").Named("more").Debug("below")
	var got []string
	for _, e := range seen.All() {
		got = append(got, e.Message)
	}
	if !slices.Equal(got, []string{"storage", "below"}) {
		t.Errorf("%q", got)
	}
}

func TestKafkaNamesThatAreNone(t *testing.T) {
	l := New(zapcore.InfoLevel, "storage")
	for _, name := range []string{
		"org", "org.apache", "kafka.", "kafka.nowhere", "state", "state.change", "kafka.request", "org.apache.zookeeper", "Kafka",
		"kafka.server.ReplicaManager", // of a part that this node does not have
	} {
		if err := l.Set(name, "INFO"); protocol.CodeOf(err) != protocol.InvalidConfig || *protocol.MessageOf(err) != "Logger "+name+" does not exist!" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, one := range l.All() {
		if err := l.Set(one.Name, "INFO"); err != nil {
			t.Errorf("%s is listed: %v", one.Name, err)
		}
	}
}

func TestAliasesAreInOrder(t *testing.T) {
	if !slices.IsSortedFunc(aliases, func(a, b Alias) int { return strings.Compare(a.Kafka, b.Kafka) }) {
		t.Error("the table is not in the order of Kafka's names")
	}
	for i := range len(aliases) - 1 {
		if aliases[i].Kafka == aliases[i+1].Kafka {
			t.Errorf("%s is there twice", aliases[i].Kafka)
		}
	}
}

// The loggers that Apache Kafka's own log4j2.yaml, and the log4j.properties of 3.9, set are known; each takes a level.
func TestLoggersOfKafkasOwnFiles(t *testing.T) {
	l := New(zapcore.InfoLevel, "api", "controller", "network", "network.request", "replication", "storage")
	for _, name := range []string{
		"kafka", "org.apache.kafka", "kafka.request.logger", "kafka.network.RequestChannel$", "kafka.network.Processor", "kafka.server.KafkaApis", "kafka.controller", "org.apache.kafka.controller",
		"kafka.log.LogCleaner", "org.apache.kafka.storage.internals.log.LogCleaner", "org.apache.kafka.storage.internals.log.LogCleaner$CleanerThread",
		"org.apache.kafka.storage.internals.log.Cleaner", "state.change.logger", "kafka.authorizer.logger",
	} {
		if err := l.Set(name, "WARN"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Contains(l.All(), Logger{name, "WARN"}) {
			t.Errorf("%s is not described with its level", name)
		}
		if err := l.Unset(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Set("kafka", "ERROR"); err != nil || !slices.Contains(l.All(), Logger{"kafka.authorizer.logger", "ERROR"}) {
		t.Errorf("%v: kafka.authorizer.logger stands below kafka", err)
	}
}
