package group

import (
	"time"

	"github.com/ottla/ottla/protocol/config"
)

// newMemberJoinTimeout bounds how long a member that was never in a generation stays parked in JoinGroup (Kafka's GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS).
const newMemberJoinTimeout = 5 * time.Minute

// settings are the config keys that a shard reads. All are read-only in Kafka, so they are taken once.
type settings struct {
	minSessionTimeout     int32 // ms
	maxSessionTimeout     int32 // ms
	maxSize               int
	initialRebalanceDelay time.Duration
	offsetMetadataMax     int // UTF-16 units
	offsetsRetention      time.Duration
	retentionCheck        time.Duration
	commitTimeout         time.Duration
	offsetsPartitions     int32
}

func settingsOf(v config.Values) settings {
	return settings{
		minSessionTimeout:     int32(v.Int("group.min.session.timeout.ms")),
		maxSessionTimeout:     int32(v.Int("group.max.session.timeout.ms")),
		maxSize:               v.Int("group.max.size"),
		initialRebalanceDelay: v.Duration("group.initial.rebalance.delay.ms"),
		offsetMetadataMax:     v.Int("offset.metadata.max.bytes"),
		offsetsRetention:      v.Duration("offsets.retention.minutes"),
		retentionCheck:        v.Duration("offsets.retention.check.interval.ms"),
		commitTimeout:         v.Duration("offsets.commit.timeout.ms"),
		offsetsPartitions:     int32(v.Int("offsets.topic.num.partitions")),
	}
}
