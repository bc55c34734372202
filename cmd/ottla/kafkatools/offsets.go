package kafkatools

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

// The timestamps of ListOffsets that stand for something else.
const (
	latest      = -1
	earliest    = -2
	earliestAt6 = -6 // earliest-pending-upload, the lowest of them
)

// moments are the names that --time takes.
var moments = map[string]int64{
	"latest": latest, "earliest": earliest, "max-timestamp": -3, "earliest-local": -4, "latest-tiered": -5, "earliest-pending-upload": earliestAt6,
}

func offsetsTool() tool {
	return tool{
		name: "kafka-get-offsets", about: "An interactive shell for getting topic-partition offsets.", bare: "An interactive shell for getting topic-partition offsets.",
		options: optionSet{
			text("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED. The servers to connect to."),
			text("topic-partitions", "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3", "Topics and ranges of partitions, joined by commas. A range has its end left out."),
			text("topic", "topic", "The topics, as a regular expression; all if absent."),
			text("partitions", "partition ids", "The partitions, joined by commas; all if absent."),
			text("time", "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload",
				"The first offset at or after this time.").or("latest"),
			text("command-config", "config file", "A file of settings for the client."),
			flag("exclude-internal-topics", "Leave out internal topics."),
		},
		run: runOffsets,
		fail: func(c *call, err error) int {
			c.errorf("Error occurred: %s\n", err)
			return 1
		},
	}
}

func runOffsets(c *call) error {
	if err := c.required("bootstrap-server"); err != nil {
		return err
	}
	if c.has("topic-partitions") && c.count("topic", "partitions") > 0 {
		return fmt.Errorf("--topic-partitions cannot be used with --topic or --partitions")
	}
	at, err := momentOf(c)
	if err != nil {
		return err
	}
	wanted, err := partitionFilter(c)
	if err != nil {
		return err
	}
	if err := c.connect("command-config"); err != nil {
		return err
	}
	m, err := c.metadata(nil)
	if err != nil {
		return err
	}
	asked := map[partition]int64{}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if tp := (partition{value(t.Topic), p.Partition}); wanted(tp) && (!t.IsInternal || !c.has("exclude-internal-topics")) {
				asked[tp] = at
			}
		}
	}
	if len(asked) == 0 {
		return fmt.Errorf("Could not match any topic-partitions with the specified filters") //nolint:staticcheck // Kafka's own text
	}
	found, err := c.listOffsets(asked)
	if err != nil {
		return err
	}
	name := func(p partition) string { return p.topic + "-" + strconv.Itoa(int(p.id)) }
	for _, p := range slices.SortedFunc(maps.Keys(found), func(a, b partition) int { return cmp.Compare(name(a), name(b)) }) {
		switch o := found[p]; {
		case o.err != nil:
			c.errorf("Skip getting offsets for topic-partition %s due to error: %s\n", name(p), full(o.err))
		case o.offset >= 0:
			c.printf("%s:%d:%d\n", p.topic, p.id, o.offset)
		}
	}
	return nil
}

func momentOf(c *call) (int64, error) {
	when, err := c.one("time")
	if err != nil {
		return 0, err
	}
	if at, named := moments[when]; named {
		return at, nil
	}
	at, err := strconv.ParseInt(when, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / "+ //nolint:staticcheck // Kafka's own text
			"-6 or earliest-pending-upload, or a specified long format timestamp", when)
	}
	return at, nil
}

// partitionFilter is what the options say of topics and partitions.
func partitionFilter(c *call) (func(partition) bool, error) {
	if c.has("topic-partitions") {
		list, err := c.one("topic-partitions")
		if err != nil {
			return nil, err
		}
		var rules []func(partition) bool
		for spec := range strings.SplitSeq(list, ",") {
			rule, err := partitionRule(spec)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule)
		}
		return func(p partition) bool {
			return slices.ContainsFunc(rules, func(r func(partition) bool) bool { return r(p) })
		}, nil
	}
	filter, err := c.one("topic")
	if err != nil {
		return nil, err
	}
	pattern, err := topicPattern(cmp.Or(filter, ".*"))
	if err != nil {
		return nil, err
	}
	list, err := c.one("partitions")
	if err != nil {
		return nil, err
	}
	var ids []int32
	for id := range strings.SplitSeq(list, ",") {
		if id == "" {
			continue
		}
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--partitions expects a comma separated list of numeric partition ids, but received: %s", list)
		}
		ids = append(ids, int32(n))
	}
	return func(p partition) bool {
		return pattern.MatchString(p.topic) && (len(ids) == 0 || slices.Contains(ids, p.id))
	}, nil
}

var partitionSpec = regexp.MustCompile(`^([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?$`)

// partitionRule reads one TOPIC:RANGE of --topic-partitions.
func partitionRule(spec string) (func(partition) bool, error) {
	m := partitionSpec.FindStringSubmatch(spec)
	if m == nil {
		return nil, fmt.Errorf("Invalid rule specification: %s", spec) //nolint:staticcheck // Kafka's own text
	}
	pattern, err := topicPattern(cmp.Or(m[1], ".*"))
	if err != nil {
		return nil, err
	}
	bound := func(text string, absent int64) int64 {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		return absent
	}
	from, to := bound(m[3], 0), bound(m[4], 1<<31)
	if m[2] != "" {
		from = bound(m[2], 0)
		to = from + 1
	}
	return func(p partition) bool { return pattern.MatchString(p.topic) && int64(p.id) >= from && int64(p.id) < to }, nil
}

// listed is one partition's answer of ListOffsets; offset -1 is none.
type listed struct {
	offset, timestamp int64
	err               error
}

// listOffsets asks the leaders for an offset of each partition.
func (c *call) listOffsets(at map[partition]int64) (map[partition]listed, error) {
	if len(at) == 0 {
		return nil, nil
	}
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	topics := map[string]int{}
	for p, timestamp := range at {
		i, known := topics[p.topic]
		if !known {
			i = len(r.Topics)
			topics[p.topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = p.topic
			r.Topics = append(r.Topics, t)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p.id, timestamp
		r.Topics[i].Partitions = append(r.Topics[i].Partitions, rp)
	}
	response, err := request(c, r)
	if err != nil {
		return nil, err
	}
	found := map[partition]listed{}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			found[partition{t.Topic, p.Partition}] = listed{p.Offset, p.Timestamp, connect.Check(p.ErrorCode, nil)}
		}
	}
	return found, nil
}
