package kafkatools

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

// plan is where the partitions of a group are moved to.
type plan struct {
	group   string
	offsets map[partition]int64
}

func (p plan) partitions() []partition {
	all := slices.SortedFunc(maps.Keys(p.offsets), func(a, b partition) int { return int(a.id) - int(b.id) })
	return hashOrder(all, defaultSize, partition.hash)
}

func resetOffsets(c *call) error {
	ids, err := c.chosenGroups()
	if err != nil {
		return err
	}
	var plans []plan
	for _, id := range names(ids) {
		p := plan{group: id}
		g, err := c.describeOne(id)
		switch {
		case err != nil && !errors.Is(err, protocol.GroupIDNotFound):
			return inFuture(err)
		case err == nil && g.state != "Empty" && g.state != "Dead":
			c.printf("\nError: Assignments can only be reset if the group '%s' is inactive, but the current state is %s.\n", id, g.state)
		default:
			if p.offsets, err = c.plan(id); err != nil {
				return err
			}
			if c.has("execute") {
				if err := c.commit(id, p.offsets); err != nil {
					return err
				}
			}
		}
		plans = append(plans, p)
	}
	if c.has("export") {
		c.printCSV(plans)
		return nil
	}
	groupWidth, topicWidth := 15, 15
	for _, p := range plans {
		groupWidth = max(groupWidth, len(p.group))
		for tp := range p.offsets {
			topicWidth = max(topicWidth, len(tp.topic))
		}
	}
	if len(plans) > 0 {
		c.printf("\n%-*s %-*s %-10s %s", groupWidth, "GROUP", topicWidth, "TOPIC", "PARTITION", "NEW-OFFSET")
	}
	for _, p := range plans {
		for _, tp := range p.partitions() {
			c.printf("\n%-*s %-*s %-10d %d", groupWidth, p.group, topicWidth, tp.topic, tp.id, p.offsets[tp])
		}
	}
	c.printf("\n")
	return nil
}

func (c *call) printCSV(plans []plan) {
	for _, p := range plans {
		for _, tp := range p.partitions() {
			if len(plans) > 1 {
				c.printf("%s,", p.group)
			}
			c.printf("%s,%d,%d\n", tp.topic, tp.id, p.offsets[tp])
		}
	}
	c.printf("\n")
}

// partitionsNamed are those of a topic argument: topic, or topic:0,1.
func (c *call) partitionsNamed(arg string) ([]partition, error) {
	topic, list, some := strings.Cut(arg, ":")
	var all []partition
	if some {
		if strings.Contains(list, ":") || list == "" {
			return nil, usage("Invalid topic arg '%s', expected topic name and partitions", arg)
		}
		for id := range strings.SplitSeq(list, ",") {
			n, err := strconv.ParseInt(id, 10, 32)
			if err != nil {
				return nil, usage("Invalid partition '%s' specified in topic arg '%s''", id, arg)
			}
			all = append(all, partition{topic, int32(n)})
		}
		return all, nil
	}
	m, err := c.metadata([]string{topic})
	if err != nil {
		return nil, err
	}
	for _, t := range m.Topics {
		if err := connect.Check(t.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			all = append(all, partition{topic, p.Partition})
		}
	}
	return all, nil
}

// plan is where each partition of a group goes.
func (c *call) plan(id string) (map[partition]int64, error) {
	if c.has("from-file") {
		wanted, err := c.planFromFile(id)
		if err != nil {
			return nil, err
		}
		return c.clamp(wanted)
	}
	current, err := c.committed(id)
	if err != nil {
		return nil, err
	}
	scope := slices.Collect(maps.Keys(current))
	if !c.has("all-topics") {
		scope = nil
		for _, arg := range c.all("topic") {
			found, err := c.partitionsNamed(arg)
			if err != nil {
				return nil, err
			}
			scope = append(scope, found...)
		}
	}
	switch {
	case c.has("to-earliest"):
		return c.atMoment(scope, earliest)
	case c.has("to-latest"):
		return c.atMoment(scope, latest)
	case c.has("to-datetime"):
		text, err := c.one("to-datetime")
		if err != nil {
			return nil, err
		}
		at, err := parseDateTime(text, time.Local)
		if err != nil {
			return nil, &wrappedError{err, "java.lang.RuntimeException"}
		}
		return c.atTime(scope, at.UnixMilli())
	case c.has("by-duration"):
		text, err := c.one("by-duration")
		if err != nil {
			return nil, err
		}
		d, err := parseDuration(text)
		if err != nil {
			return nil, err
		}
		return c.atTime(scope, time.Now().Add(-d).UnixMilli())
	case c.has("to-current"):
		return c.toCurrent(scope, current)
	}
	wanted := map[partition]int64{}
	to, _, err := c.number("to-offset")
	if err != nil {
		return nil, err
	}
	shift, shifted, err := c.number("shift-by")
	if err != nil {
		return nil, err
	}
	for _, p := range scope {
		o, has := current[p]
		switch {
		case !shifted:
			wanted[p] = to
		case !has:
			return nil, usage("Cannot shift offset for partition %s-%d since there is no current committed offset", p.topic, p.id)
		default:
			wanted[p] = o.at + shift
		}
	}
	return c.clamp(wanted)
}

// toCurrent keeps what is committed, within the log; the rest goes to the end.
func (c *call) toCurrent(scope []partition, current map[partition]offset) (map[partition]int64, error) {
	wanted := map[partition]int64{}
	var others []partition
	for _, p := range scope {
		if o, has := current[p]; has {
			wanted[p] = o.at
		} else {
			others = append(others, p)
		}
	}
	kept, err := c.clamp(wanted)
	if err != nil {
		return nil, err
	}
	rest, err := c.atMoment(others, latest)
	if err != nil {
		return nil, err
	}
	maps.Copy(kept, rest)
	return kept, nil
}

// planFromFile reads topic,partition,offset or group,topic,partition,offset.
func (c *call) planFromFile(id string) (map[partition]int64, error) {
	file, err := c.one("from-file")
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	wanted := map[partition]int64{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) == 4 {
			if fields[0] != id {
				continue
			}
			fields = fields[1:]
		}
		if len(fields) == 1 && fields[0] == "" {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: %q is not topic,partition,offset", file, strings.TrimSpace(line))
		}
		n, err1 := strconv.ParseInt(fields[1], 10, 32)
		o, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %q is not topic,partition,offset", file, strings.TrimSpace(line))
		}
		wanted[partition{fields[0], int32(n)}] = o
	}
	return wanted, nil
}

// atMoment gives the offsets at one of the special timestamps.
func (c *call) atMoment(scope []partition, moment int64) (map[partition]int64, error) {
	at := map[partition]int64{}
	for _, p := range scope {
		at[p] = moment
	}
	found, err := c.listOffsets(at)
	if err != nil {
		return nil, err
	}
	all := map[partition]int64{}
	for p, o := range found {
		if o.err != nil {
			return nil, o.err
		}
		all[p] = o.offset
	}
	return all, nil
}

// atTime gives the first offset at or after a time; the end where there is none.
func (c *call) atTime(scope []partition, ms int64) (map[partition]int64, error) {
	all, err := c.atMoment(scope, ms)
	if err != nil {
		return nil, err
	}
	var none []partition
	for _, p := range scope {
		if all[p] < 0 {
			c.printf("\nWarn: Partition %d from topic %s is empty. Falling back to latest known offset.\n", p.id, p.topic)
			none = append(none, p)
		}
	}
	ends, err := c.atMoment(none, latest)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, ends)
	return all, nil
}

// clamp keeps offsets between the ends of their logs.
func (c *call) clamp(wanted map[partition]int64) (map[partition]int64, error) {
	scope := slices.Collect(maps.Keys(wanted))
	starts, err := c.atMoment(scope, earliest)
	if err != nil {
		return nil, err
	}
	ends, err := c.atMoment(scope, latest)
	if err != nil {
		return nil, err
	}
	for p, o := range wanted {
		wanted[p] = max(starts[p], min(ends[p], o))
	}
	return wanted, nil
}

// commit writes the offsets of a group that nobody is a member of.
func (c *call) commit(id string, offsets map[partition]int64) error {
	var topics []string
	for p := range offsets {
		if !slices.Contains(topics, p.topic) {
			topics = append(topics, p.topic)
		}
	}
	m, err := c.metadata(topics)
	if err != nil {
		return err
	}
	ids := map[string][16]byte{}
	for _, t := range m.Topics {
		ids[value(t.Topic)] = t.TopicID
	}
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = id, -1
	for p, o := range offsets {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.Metadata = p.id, o, kmsg.StringPtr("")
		i := slices.IndexFunc(r.Topics, func(t kmsg.OffsetCommitRequestTopic) bool { return t.Topic == p.topic })
		if i < 0 {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = p.topic, ids[p.topic]
			r.Topics = append(r.Topics, t)
			i = len(r.Topics) - 1
		}
		r.Topics[i].Partitions = append(r.Topics[i].Partitions, rp)
	}
	response, err := request(c, r)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if err := connect.Check(p.ErrorCode, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseDateTime reads YYYY-MM-DDThh:mm:ss.sss with an optional zone.
func parseDateTime(text string, zone *time.Location) (time.Time, error) {
	_, clock, found := strings.Cut(text, "T")
	if !found {
		return time.Time{}, &javaError{"java.text.ParseException", "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"}
	}
	layouts := []string{"2006-01-02T15:04:05.000", "2006-01-02T15:04:05", "2006-01-02T15:04"}
	if strings.ContainsAny(clock, "Z+-") {
		layouts = []string{"2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.000Z0700", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.000Z07"}
	}
	for _, l := range layouts {
		if t, err := time.ParseInLocation(l, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &javaError{"java.text.ParseException", fmt.Sprintf("Unparseable date: \"%s\"", text)}
}

var isoDuration = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?\d+)D)?(T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?$`)

// parseDuration reads Java's PnDTnHnMn.nS.
func parseDuration(text string) (time.Duration, error) {
	wrong := &javaError{"java.time.format.DateTimeParseException", "Text cannot be parsed to a Duration"}
	m := isoDuration.FindStringSubmatch(text)
	if m == nil || strings.EqualFold(m[3], "T") || m[2] == "" && m[3] == "" {
		return 0, wrong
	}
	var sum time.Duration
	for i, unit := range map[int]time.Duration{2: 24 * time.Hour, 4: time.Hour, 5: time.Minute, 6: time.Second} {
		if m[i] == "" {
			continue
		}
		n, err := strconv.ParseInt(m[i], 10, 32)
		if err != nil {
			return 0, wrong
		}
		sum += time.Duration(n) * unit
	}
	if m[7] != "" {
		part, err := strconv.Atoi((m[7] + "000000000")[:9])
		if err != nil {
			return 0, wrong
		}
		sum += time.Duration(part)
	}
	if m[1] == "-" {
		sum = -sum
	}
	return sum, nil
}
