package storage

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/storage/vfs"
)

// otherValues is for each topic config that a log heeds a value that is not its default, with what must be set beside it.
var otherValues = map[string]map[string]string{
	"cleanup.policy":                  {"cleanup.policy": "compact"},
	"compression.gzip.level":          {"compression.gzip.level": "7", "compression.type": "gzip"},
	"compression.lz4.level":           {"compression.lz4.level": "3", "compression.type": "lz4"},
	"compression.type":                {"compression.type": "snappy"},
	"compression.zstd.level":          {"compression.zstd.level": "9", "compression.type": "zstd"},
	"delete.retention.ms":             {"delete.retention.ms": "5"},
	"file.delete.delay.ms":            {"file.delete.delay.ms": "5"},
	"flush.messages":                  {"flush.messages": "5"},
	"flush.ms":                        {"flush.ms": "5"},
	"index.interval.bytes":            {"index.interval.bytes": "5"},
	"internal.segment.bytes":          {"internal.segment.bytes": "2000"},
	"max.compaction.lag.ms":           {"max.compaction.lag.ms": "5"},
	"max.message.bytes":               {"max.message.bytes": "500"},
	"message.timestamp.after.max.ms":  {"message.timestamp.after.max.ms": "5"},
	"message.timestamp.before.max.ms": {"message.timestamp.before.max.ms": "5"},
	"message.timestamp.type":          {"message.timestamp.type": "LogAppendTime"},
	"min.cleanable.dirty.ratio":       {"min.cleanable.dirty.ratio": "0.1"},
	"min.compaction.lag.ms":           {"min.compaction.lag.ms": "5"},
	"min.insync.replicas":             {"min.insync.replicas": "2"},
	"preallocate":                     {"preallocate": "true"},
	"retention.bytes":                 {"retention.bytes": "5"},
	"retention.ms":                    {"retention.ms": "5"},
	"segment.bytes":                   {"segment.bytes": "2000000"},
	"segment.index.bytes":             {"segment.index.bytes": "80"},
	"segment.jitter.ms":               {"segment.jitter.ms": "5"},
	"segment.ms":                      {"segment.ms": "5"},
}

// Every topic config that is not marked as without effect reaches the log that is open, and goes again.
func TestEveryTopicConfigReachesTheLog(t *testing.T) {
	elsewhere := map[string]string{
		"unclean.leader.election.enable":          "the controller elects",
		"leader.replication.throttled.replicas":   "replication throttles",
		"follower.replication.throttled.replicas": "replication throttles",
	}
	l := openTestLog(t, vfs.NewMem(), LogConfigOf(config.Defaults().Topic(nil)))
	before := l.Config()
	for _, k := range config.Keys(config.Topic) {
		if k.NoEffect != "" || elsewhere[k.Name] != "" {
			continue
		}
		set := otherValues[k.Name]
		if set == nil {
			t.Errorf("%s: no value to try", k.Name)
			continue
		}
		without := map[string]string{}
		for name, value := range set {
			if name != k.Name {
				without[name] = value
			}
		}
		l.Configure(LogConfigOf(config.Defaults().Topic(without)))
		base := l.Config()
		l.Configure(LogConfigOf(config.Defaults().Topic(set)))
		if l.Config() == base {
			t.Errorf("%s changes nothing", k.Name)
		}
		l.Configure(LogConfigOf(config.Defaults().Topic(nil)))
		if l.Config() != before {
			t.Errorf("%s stays", k.Name)
		}
	}
}

// What a log reads with each append counts from the next one on.
func TestTopicConfigsChangeAnOpenLog(t *testing.T) {
	h := &testHost{}
	l := openHosted(t, vfs.NewMem(), h, testConfig(1<<20), nil)
	mustAppend(t, l, plainBatch(t, 5, 1))
	change := func(set func(c *LogConfig)) {
		c := testConfig(1 << 20)
		set(&c)
		l.Configure(c)
	}
	change(func(c *LogConfig) { c.MaxMessageBytes = 10 })
	if _, err := l.Append(plainBatch(t, 5, 1), AppendOptions{}); protocol.CodeOf(err) != protocol.MessageTooLarge {
		t.Errorf("max.message.bytes: %v", err)
	}
	segments := func() int { return len(l.view.Load().segments) }
	change(func(c *LogConfig) { c.SegmentBytes = 400 })
	n := segments()
	for range 10 {
		mustAppend(t, l, plainBatch(t, 2, 1))
	}
	if segments() <= n+1 {
		t.Errorf("segment.bytes: %s", segmentBases(l))
	}
	change(func(c *LogConfig) { c.SegmentMs = 10 })
	n = segments()
	for i := range int64(4) {
		mustAppend(t, l, plainBatch(t, 1, 1000+i*100))
	}
	if segments() < n+3 {
		t.Errorf("segment.ms: %s", segmentBases(l))
	}
	change(func(c *LogConfig) { c.SegmentIndexBytes, c.IndexIntervalBytes = 2*offsetEntrySize, 0 })
	n = segments()
	for range 10 {
		mustAppend(t, l, plainBatch(t, 1, 2000))
	}
	if segments() < n+2 {
		t.Errorf("segment.index.bytes: %s", segmentBases(l))
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
	change(func(c *LogConfig) { c.Delete, c.RetentionBytes, c.RetentionMs = true, 1, -1 })
	n = segments()
	if _, err := l.retain(3000); err != nil {
		t.Fatal(err)
	}
	if segments() >= n {
		t.Errorf("retention.bytes: %s", segmentBases(l))
	}
	if checkDense(t, l) != l.Offsets().LogEnd {
		t.Error("the log is not whole")
	}
}
