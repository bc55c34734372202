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
