package kafkatools

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

var topicActions = []string{"alter", "create", "describe", "list", "delete"}

func topicsTool() tool {
	return tool{
		name: "kafka-topics", about: "This tool helps to create, delete, describe, or change a topic.",
		bare: "Create, delete, describe, or change a topic.",
		options: optionSet{
			text("bootstrap-server", "server to connect to", "REQUIRED: the server to connect to."),
			text("command-config", "command config property file", "A file of settings for the client."),
			flag("list", "List topics."), flag("create", "Create a topic."), flag("delete", "Delete topics."),
			flag("alter", "Add partitions. Configs are changed with kafka-configs."), flag("describe", "Show topics in detail."),
			text("topic", "topic", "The topic; a regular expression unless --create is given."),
			text("topic-id", "topic-id", "The id of the topic to describe."),
			text("config", "name=value", "A config of the new topic (repeatable)."),
			text("delete-config", "name", "Without effect since 4.0."),
			number("Integer", "partitions", "# of partitions", "How many partitions the topic has, or is to have. Adding some changes where keys go."),
			number("Integer", "replication-factor", "replication factor", "How many replicas each partition of a new topic has."),
			text("replica-assignment", "broker1:broker2,broker3:broker4", "Brokers of each partition: replicas joined by colons, partitions by commas."),
			flag("under-replicated-partitions", "Describe partitions that miss a replica in their ISR."),
			flag("unavailable-partitions", "Describe partitions without a leader that is there."),
			flag("under-min-isr-partitions", "Describe partitions whose ISR is smaller than the minimum."),
			flag("at-min-isr-partitions", "Describe partitions whose ISR is the minimum."),
			flag("topics-with-overrides", "Describe topics that have configs of their own."),
			flag("if-exists", "Do nothing if the topic is not there."), flag("if-not-exists", "Do nothing if the topic is there already."),
			flag("exclude-internal", "Leave out internal topics."),
			number("Integer", "partition-size-limit-per-response", "maximum number of partitions per response", "How many partitions one response may tell."),
		},
		run:  runTopics,
		fail: failTopics,
	}
}

// failTopics prints errors: mistakes of the command line to standard error, the rest to standard output.
func failTopics(c *call, err error) int {
	var bad *optionError
	var missing *missingServer
	if errors.As(err, &bad) && len(c.order) == 0 || errors.As(err, &missing) {
		c.errorf("%s\n", err)
		return 1
	}
	c.printf("Error while executing topic command : %s\n", err)
	return 1
}

// missingServer is the one mistake that kafka-topics reports without its options.
type missingServer struct{}

func (*missingServer) Error() string { return "--bootstrap-server must be specified" }

func runTopics(c *call) error {
	if err := checkTopics(c); err != nil {
		return err
	}
	if err := c.connect("command-config"); err != nil {
		return err
	}
	switch {
	case c.has("create"):
		return createTopic(c)
	case c.has("alter"):
		return alterTopics(c)
	case c.has("list"):
		found, err := c.findTopics(!c.has("exclude-internal"))
		if err == nil {
			c.printf("%s\n", strings.Join(namesOf(found), "\n"))
		}
		return err
	case c.has("describe"):
		return describeTopics(c)
	}
	return deleteTopics(c)
}

func checkTopics(c *call) error {
	if c.count(topicActions...) != 1 {
		return usage("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
	}
	if c.has("delete-config") {
		c.errorf("delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases.\n")
	}
	if !c.has("bootstrap-server") {
		return &missingServer{}
	}
	if c.has("describe") && c.has("if-exists") {
		if !c.has("topic") && !c.has("topic-id") {
			return usage("--topic or --topic-id is required to describe a topic")
		}
		if c.has("topic") && c.has("topic-id") {
			c.printf("Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID\n")
		}
	}
	if !c.has("list") && !c.has("describe") {
		if err := c.required("topic"); err != nil {
			return err
		}
	}
	if c.has("alter") {
		if c.has("config") {
			return usage(`Option combination "[[bootstrap-server], [config]]" can't be used with option "[alter]" (To alter topic configurations, the kafka-configs tool can be used.)`)
		}
		if err := c.required("partitions"); err != nil {
			return err
		}
	}
	reports := []string{"under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions"}
	except := func(allowed ...string) []string {
		return slices.DeleteFunc(slices.Clone(topicActions), func(a string) bool { return slices.Contains(allowed, a) })
	}
	errs := []error{
		c.forbid("config", except("alter", "create")...), c.forbid("partitions", except("alter", "create")...),
		c.forbid("replication-factor", except("create")...), c.forbid("replica-assignment", except("alter", "create")...),
	}
	if c.has("create") {
		errs = append(errs, c.forbid("replica-assignment", "partitions", "replication-factor"))
	}
	for _, r := range reports {
		errs = append(errs, c.forbid(r, append(except("describe"), "topics-with-overrides")...))
	}
	return first(append(errs, c.forbid("topics-with-overrides", append(except("describe"), reports...)...),
		c.forbid("if-exists", except("alter", "delete", "describe")...), c.forbid("if-not-exists", except("create")...),
		c.forbid("exclude-internal", except("list", "describe")...))...)
}

// topicPattern is the regular expression of a topic filter of Kafka's consumers: alternatives may be separated by commas.
func topicPattern(filter string) (*regexp.Regexp, error) {
	text := strings.NewReplacer(",", "|", " ", "").Replace(strings.TrimSpace(filter))
	text = strings.Trim(text, `"'`)
	p, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		return nil, fmt.Errorf("%s is an invalid regex.", text) //nolint:staticcheck // Kafka's own text
	}
	return p, nil
}

// metadata asks for topics; nil means all of them. They come sorted by name.
func (c *call) metadata(topics []string) (*kmsg.MetadataResponse, error) {
	r := kmsg.NewPtrMetadataRequest()
	if topics != nil {
		r.Topics = []kmsg.MetadataRequestTopic{}
		for _, name := range topics {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = &name
			r.Topics = append(r.Topics, t)
		}
	}
	m, err := request(c, r)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(m.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(value(a.Topic), value(b.Topic)) })
	for _, t := range m.Topics {
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition) - int(b.Partition) })
	}
	return m, nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// findTopics are the topics that --topic selects, or all.
func (c *call) findTopics(internal bool) ([]kmsg.MetadataResponseTopic, error) {
	filter, err := c.one("topic")
	if err != nil {
		return nil, err
	}
	pattern, err := topicPattern(filter)
	if err != nil {
		return nil, err
	}
	m, err := c.metadata(nil)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(m.Topics, func(t kmsg.MetadataResponseTopic) bool {
		return t.ErrorCode != 0 && len(t.Partitions) == 0 || t.IsInternal && !internal || c.has("topic") && !pattern.MatchString(value(t.Topic))
	}), nil
}

func namesOf(topics []kmsg.MetadataResponseTopic) []string {
	all := make([]string, len(topics))
	for i, t := range topics {
		all[i] = value(t.Topic)
	}
	return all
}

// mustExist is the error if --topic selects nothing and must select something.
func mustExist(c *call, found int) error {
	topic, err := c.one("topic")
	if err == nil && topic != "" && found == 0 && !c.has("if-exists") {
		err = fmt.Errorf("Topic '%s' does not exist as expected", topic) //nolint:staticcheck // Kafka's own text
	}
	return err
}

// parseAssignment reads --replica-assignment.
func parseAssignment(text string) ([][]int32, error) {
	var all [][]int32
	for part := range strings.SplitSeq(text, ",") {
		var replicas []int32
		for id := range strings.SplitSeq(part, ":") {
			n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("For input string: \"%s\"", strings.TrimSpace(id)) //nolint:staticcheck // Java's own text
			}
			if slices.Contains(replicas, int32(n)) {
				return nil, fmt.Errorf("Partition replica lists may not contain duplicate entries: %d", n) //nolint:staticcheck // Kafka's own text
			}
			replicas = append(replicas, int32(n))
		}
		if len(all) > 0 && len(replicas) != len(all[0]) {
			return nil, fmt.Errorf("Partition %d has different replication factor: %s", len(all), brackets(replicas)) //nolint:staticcheck // Kafka's own text
		}
		all = append(all, replicas)
	}
	return all, nil
}

// brackets is a list as Java prints it.
func brackets[T any](items []T) string {
	all := make([]string, len(items))
	for i, x := range items {
		all[i] = fmt.Sprint(x)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func createTopic(c *call) error {
	name, err := c.one("topic")
	if err != nil {
		return err
	}
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	if err := creationOptions(c, &t); err != nil {
		return err
	}
	if strings.ContainsAny(name, "._") {
		c.printf("WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. " +
			"To avoid issues it is best to use either, but not both.\n")
	}
	if n, ok, _ := c.number("replication-factor"); ok && (n > 32767 || n < 1) {
		return errors.New("The replication factor must be between 1 and 32767 inclusive") //nolint:staticcheck // Kafka's own text
	}
	if n, ok, _ := c.number("partitions"); ok && n < 1 {
		return errors.New("The partitions must be greater than 0") //nolint:staticcheck // Kafka's own text
	}
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Topics = append(r.Topics, t)
	response, err := request(c, r)
	if err != nil {
		return err
	}
	for _, made := range response.Topics {
		if err := connect.Check(made.ErrorCode, made.ErrorMessage); err != nil {
			if c.has("if-not-exists") && errors.Is(err, protocol.TopicAlreadyExists) {
				return nil
			}
			return err
		}
		c.printf("Created topic %s.\n", made.Topic)
	}
	return nil
}

// creationOptions fills what the options say of a new topic.
func creationOptions(c *call, t *kmsg.CreateTopicsRequestTopic) error {
	partitions, hasPartitions, err := c.number("partitions")
	if err != nil {
		return err
	}
	if hasPartitions {
		t.NumPartitions = int32(partitions)
	}
	factor, hasFactor, err := c.number("replication-factor")
	if err != nil {
		return err
	}
	if hasFactor {
		t.ReplicationFactor = int16(factor)
	}
	assignment, err := c.one("replica-assignment")
	if err != nil {
		return err
	}
	if assignment != "" {
		lists, err := parseAssignment(assignment)
		if err != nil {
			return err
		}
		for i, replicas := range lists {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = int32(i), replicas
			t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		}
	}
	for _, kv := range c.all("config") {
		k, v, found := strings.Cut(kv, "=")
		if !found || strings.TrimSpace(v) == "" || strings.Contains(v, "=") {
			return errors.New(`requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`) //nolint:staticcheck // Kafka's own text
		}
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		v = strings.TrimSpace(v)
		config.Name, config.Value = strings.TrimSpace(k), &v
		t.Configs = append(t.Configs, config)
	}
	return nil
}

func alterTopics(c *call) error {
	count, _, err := c.number("partitions")
	if err != nil {
		return err
	}
	found, err := c.findTopics(true)
	if err != nil {
		return err
	}
	if err := mustExist(c, len(found)); err != nil || len(found) == 0 {
		return err
	}
	assignment, err := c.one("replica-assignment")
	if err != nil {
		return err
	}
	r := kmsg.NewPtrCreatePartitionsRequest()
	r.TimeoutMillis = 30000
	for _, t := range found {
		p := kmsg.NewCreatePartitionsRequestTopic()
		p.Topic, p.Count = value(t.Topic), int32(count)
		if assignment != "" {
			lists, err := parseAssignment(assignment)
			if err != nil {
				return err
			}
			for _, replicas := range lists[min(len(t.Partitions), len(lists)):] {
				a := kmsg.NewCreatePartitionsRequestTopicAssignment()
				a.Replicas = replicas
				p.Assignment = append(p.Assignment, a)
			}
		}
		r.Topics = append(r.Topics, p)
	}
	response, err := request(c, r)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		if err := connect.Check(t.ErrorCode, t.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

func deleteTopics(c *call) error {
	found, err := c.findTopics(true)
	if err != nil {
		return err
	}
	if err := mustExist(c, len(found)); err != nil || len(found) == 0 {
		return err
	}
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TopicNames = namesOf(found)
	for _, name := range r.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		r.Topics = append(r.Topics, t)
	}
	response, err := request(c, r)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		if err := connect.Check(t.ErrorCode, t.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// parseTopicID reads a topic's id as Kafka's Uuid does.
func parseTopicID(text string) (id [16]byte, err error) {
	if len(text) > 24 {
		return id, fmt.Errorf("Input string with prefix `%s` is too long to be decoded as a base64 UUID", text[:24]) //nolint:staticcheck // Kafka's own text
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return id, fmt.Errorf("Illegal base64 character in %q", text) //nolint:staticcheck // Java's own text
	}
	if len(b) != len(id) {
		return id, fmt.Errorf("Input string `%s` decoded as %d bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID", text, len(b)) //nolint:staticcheck // Kafka's own text
	}
	return [16]byte(b), nil
}
