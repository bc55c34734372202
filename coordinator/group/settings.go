package group

import (
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// newMemberJoinTimeout bounds how long a member that was never in a generation stays parked in JoinGroup (Kafka's GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS).
const newMemberJoinTimeout = 5 * time.Minute

// assignmentIntervalKey can be changed while the broker runs.
const assignmentIntervalKey = "group.consumer.assignment.interval.ms"

// settings are the config keys that a shard reads. Those that are read-only in Kafka are taken once.
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
	offsetsCodec          record.Codec

	consumerSession, consumerHeartbeat, assignment interval // of consumer groups
	consumerMaxSize                                int
	assignors                                      []string // of consumer groups; the first is the default
	regexRefresh                                   time.Duration
	migration                                      migration

	live func() config.Values // for the keys that can be changed while the broker runs
}

// interval is a time in ms that a group may set for itself, between bounds of the broker.
type interval struct {
	key             string // of the group
	value, min, max int
}

func intervalOf(v config.Values, own, broker, least, most string) interval {
	return interval{key: own, value: v.Int(broker), min: v.Int(least), max: v.Int(most)}
}

// of is the interval of a group: its own where it has one, brought within the bounds (GroupConfig.evaluate); else the broker's.
func (i *interval) of(image *metadata.Image, group string) time.Duration {
	ms := i.value
	if set := image.Config(config.Group, group); set != nil {
		if own, ok := set[i.key]; ok {
			if n, err := strconv.Atoi(strings.TrimSpace(own)); err == nil {
				ms = min(max(n, i.min), i.max)
			}
		}
	}
	return time.Duration(ms) * time.Millisecond
}

func settingsOf(live func() config.Values) settings {
	v := live()
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
		offsetsCodec:          record.Codec(v.Int("offsets.topic.compression.codec")),
		consumerSession: intervalOf(v, "consumer.session.timeout.ms",
			"group.consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
		consumerHeartbeat: intervalOf(v, "consumer.heartbeat.interval.ms",
			"group.consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
		assignment: intervalOf(v, "consumer.assignment.interval.ms",
			assignmentIntervalKey, "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
		consumerMaxSize: v.Int("group.consumer.max.size"),
		assignors:       config.ConsumerAssignors(v.List("group.consumer.assignors")),
		regexRefresh:    v.Duration("group.consumer.regex.refresh.interval.ms"),
		migration:       migrationOf(v.String("group.consumer.migration.policy")),
		live:            live,
	}
}
