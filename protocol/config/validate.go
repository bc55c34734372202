package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// ValidateTopic checks what a topic's configs would be: unknown names first, then each value, then how they fit together and
// with the broker whose values v is. The error is InvalidConfig, in Kafka's words (LogConfig.validate).
func (v Values) ValidateTopic(overrides map[string]string) error {
	names := slices.Sorted(maps.Keys(overrides))
	for _, name := range names {
		if topics.lookup(name) == nil {
			return protocol.Errorf(protocol.InvalidConfig, "Unknown topic config name: %s", name)
		}
	}
	for _, name := range names {
		if err := topics.lookup(name).Check(overrides[name]); err != nil {
			return err
		}
	}
	topic := v.Topic(overrides)
	if topic.Bool("remote.storage.enable") && !v.Bool("remote.log.storage.system.enable") {
		return protocol.Errorf(protocol.InvalidConfig, "Tiered Storage functionality is disabled in the broker. "+
			"Topic cannot be configured with remote log storage.")
	}
	return topic.Validate()
}

// bound is a limit that the broker sets on a group key.
type bound struct {
	key, limit string
	upper      bool
}

// groupBounds are the limits on group keys, in the order in which Kafka looks at them.
var groupBounds = []bound{
	{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", false},
	{"consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms", true},
	{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", false},
	{"consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms", true},
	{"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", false},
	{"consumer.assignment.interval.ms", "group.consumer.max.assignment.interval.ms", true},
	{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", false},
	{"share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms", true},
	{"share.session.timeout.ms", "group.share.min.session.timeout.ms", false},
	{"share.session.timeout.ms", "group.share.max.session.timeout.ms", true},
	{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", false},
	{"share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms", true},
	{"share.delivery.count.limit", "group.share.min.delivery.count.limit", false},
	{"share.delivery.count.limit", "group.share.max.delivery.count.limit", true},
	{"share.partition.max.record.locks", "group.share.min.partition.max.record.locks", false},
	{"share.partition.max.record.locks", "group.share.max.partition.max.record.locks", true},
	{"share.assignment.interval.ms", "group.share.min.assignment.interval.ms", false},
	{"share.assignment.interval.ms", "group.share.max.assignment.interval.ms", true},
	{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", false},
	{"streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms", true},
	{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", false},
	{"streams.session.timeout.ms", "group.streams.max.session.timeout.ms", true},
	{"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", false},
	{"streams.assignment.interval.ms", "group.streams.max.assignment.interval.ms", true},
	{"streams.num.standby.replicas", "group.streams.max.standby.replicas", true},
	{"streams.num.warmup.replicas", "group.streams.max.warmup.replicas", true},
	{"streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms", false},
}

// ValidateGroup checks what a group's configs would be, within the bounds that the broker whose values v is sets. The error is
// InvalidConfig, in Kafka's words (GroupConfig.validate).
func (v Values) ValidateGroup(overrides map[string]string) error {
	names := slices.Sorted(maps.Keys(overrides))
	for _, name := range names {
		if groups.lookup(name) == nil {
			return protocol.Errorf(protocol.InvalidConfig, "Unknown group config name: %s", name)
		}
	}
	for _, name := range names {
		if err := groups.lookup(name).Check(overrides[name]); err != nil {
			return err
		}
	}
	group := v.Group(overrides)
	for _, b := range groupBounds {
		n, limit := group.Int64(b.key), v.Int64(b.limit)
		switch {
		case !group.IsSet(b.key):
		case b.upper && n > limit:
			return protocol.Errorf(protocol.InvalidConfig, "%s must be less than or equal to %s", b.key, b.limit)
		case !b.upper && n < limit:
			return protocol.Errorf(protocol.InvalidConfig, "%s must be greater than or equal to %s", b.key, b.limit)
		}
	}
	for _, protocolName := range []string{"consumer", "share", "streams"} {
		heartbeat, session := protocolName+".heartbeat.interval.ms", protocolName+".session.timeout.ms"
		if group.Int64(session) <= group.Int64(heartbeat) {
			return protocol.Errorf(protocol.InvalidConfig, "%s must be greater than %s", session, heartbeat)
		}
	}
	return nil
}

// clientParameters are what the match key of a client metrics subscription can select by (KIP-714).
var clientParameters = []string{
	"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port",
}

// ValidateClientMetrics checks what a client metrics subscription would be: InvalidRequest for names and intervals, InvalidConfig
// for match patterns, as in Kafka (ClientMetricsConfigs.validate).
func ValidateClientMetrics(overrides map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if metrics.lookup(name) == nil {
			return protocol.Errorf(protocol.InvalidRequest, "Unknown client metrics configuration: %s", name)
		}
	}
	parsed := map[string]value{}
	for name, text := range overrides {
		k := metrics.lookup(name)
		v, problem := parseValue(k.Type, text)
		if problem != "" {
			return k.invalid(text, problem)
		}
		if slices.Contains(v.list, "") {
			return protocol.Errorf(protocol.InvalidConfig, "Configuration '%s' values must not be empty.", name)
		}
		parsed[name] = v
	}
	if v, set := parsed["interval.ms"]; set {
		if k := metrics.lookup("interval.ms"); k.check(k, v) != nil {
			return protocol.Errorf(protocol.InvalidRequest,
				"Invalid value %s for interval.ms, interval must be between 100 and 3600000 (1 hour)", v.text)
		}
	}
	_, err := ClientMatch(parsed["match"].list)
	return err
}

// ClientMatch reads the value of the match key of a client metrics subscription: the pattern of each parameter that has one, which the whole of the
// client's value is to match. Of several for one parameter the last holds. The error is InvalidConfig, in Kafka's words.
func ClientMatch(list []string) (map[string]*regexp.Regexp, error) {
	match := make(map[string]*regexp.Regexp, len(list))
	for _, item := range list {
		pair := strings.Split(strings.TrimRight(item, "="), "=") // as Java splits
		illegal := protocol.Errorf(protocol.InvalidConfig, "Illegal client matching pattern: %s", item)
		if len(pair) != 2 {
			return nil, illegal
		}
		parameter, expression := strings.TrimSpace(pair[0]), strings.TrimSpace(pair[1])
		if _, err := regexp.Compile(expression); err != nil || !slices.Contains(clientParameters, parameter) {
			return nil, illegal
		}
		pattern, err := regexp.Compile("^(?:" + expression + ")$")
		if err != nil {
			return nil, illegal
		}
		match[parameter] = pattern
	}
	return match, nil
}

// Validate checks what no single key's rule can see, for a broker's or a topic's values: nil or the first InvalidConfig error,
// in Kafka's words.
func (v Values) Validate() error {
	if v.s.table == brokers {
		return v.validateBroker()
	}
	if v.s.table != topics {
		return nil
	}
	if low, high := v.Int64("min.compaction.lag.ms"), v.Int64("max.compaction.lag.ms"); low > high {
		return protocol.Errorf(protocol.InvalidConfig,
			"conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", low, high)
	}
	return nil
}
