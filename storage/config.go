package storage

import (
	"slices"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
)

// LogConfig is what one log reads of its topic's config. Sizes are bytes, times milliseconds.
type LogConfig struct {
	SegmentBytes, SegmentIndexBytes, IndexIntervalBytes int
	SegmentMs, SegmentJitterMs                          int64
	RetentionMs, RetentionBytes                         int64 // negative: no limit
	FlushMessages, FlushMs, FileDeleteDelayMs           int64
	MaxMessageBytes                                     int
	Compact, Delete                                     bool // cleanup.policy; neither: nothing but what lies below the log start is deleted
	MinCleanableDirtyRatio                              float64
	MinCompactionLagMs, MaxCompactionLagMs              int64
	DeleteRetentionMs                                   int64 // how long compaction keeps tombstones and transaction markers
	TimestampType                                       record.TimestampType
	TimestampBeforeMaxMs, TimestampAfterMaxMs           int64
	Codec                                               record.Codec
	CodecLevel                                          int // of Codec; 0 for the codecs without levels
	MinInSyncReplicas                                   int
	Preallocate                                         bool
}

// LogConfigOf reads a topic's view of the config (config.Values.Topic).
func LogConfigOf(topic config.Values) LogConfig {
	policy := topic.List("cleanup.policy")
	c := LogConfig{
		SegmentBytes: topic.Int("segment.bytes"), SegmentIndexBytes: topic.Int("segment.index.bytes"), IndexIntervalBytes: topic.Int("index.interval.bytes"),
		SegmentMs: topic.Int64("segment.ms"), SegmentJitterMs: topic.Int64("segment.jitter.ms"),
		RetentionMs: topic.Int64("retention.ms"), RetentionBytes: topic.Int64("retention.bytes"),
		FlushMessages: topic.Int64("flush.messages"), FlushMs: topic.Int64("flush.ms"), FileDeleteDelayMs: topic.Int64("file.delete.delay.ms"),
		MaxMessageBytes: topic.Int("max.message.bytes"),
		Compact:         slices.Contains(policy, "compact"), Delete: slices.Contains(policy, "delete"),
		MinCleanableDirtyRatio: topic.Float("min.cleanable.dirty.ratio"), DeleteRetentionMs: topic.Int64("delete.retention.ms"),
		MinCompactionLagMs: topic.Int64("min.compaction.lag.ms"), MaxCompactionLagMs: topic.Int64("max.compaction.lag.ms"),
		TimestampBeforeMaxMs: topic.Int64("message.timestamp.before.max.ms"), TimestampAfterMaxMs: topic.Int64("message.timestamp.after.max.ms"),
		MinInSyncReplicas: topic.Int("min.insync.replicas"),
		Preallocate:       topic.Bool("preallocate"),
	}
	if n := topic.Int("internal.segment.bytes"); n > 0 {
		c.SegmentBytes = n
	}
	if topic.String("message.timestamp.type") == "LogAppendTime" {
		c.TimestampType = record.LogAppendTime
	}
	c.Codec, c.CodecLevel = codecOf(topic)
	return c
}

func codecOf(topic config.Values) (record.Codec, int) {
	switch topic.String("compression.type") {
	case "uncompressed":
		return record.CodecNone, 0
	case "gzip":
		return record.CodecGzip, topic.Int("compression.gzip.level")
	case "snappy":
		return record.CodecSnappy, 0
	case "lz4":
		return record.CodecLZ4, topic.Int("compression.lz4.level")
	case "zstd":
		return record.CodecZstd, topic.Int("compression.zstd.level")
	}
	return record.CodecProducer, 0
}

// maxSegmentMs is how long a segment may stay active while it is appended to: of a compacted log no longer than its records may stay uncompacted.
func (c *LogConfig) maxSegmentMs() int64 {
	if c.Compact && c.MaxCompactionLagMs > 0 {
		return min(c.MaxCompactionLagMs, c.SegmentMs)
	}
	return c.SegmentMs
}
