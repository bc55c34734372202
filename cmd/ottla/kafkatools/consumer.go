package kafkatools

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

const consumerAbout = "This tool helps to read data from Kafka topics and outputs it to standard output."

func consumerTool() tool {
	return tool{
		name: "kafka-console-consumer", about: consumerAbout, bare: consumerAbout,
		options: optionSet{
			text("topic", "topic", "The topics to read, joined by commas."), text("include", "Java regex (String)", "A regular expression of topics to read."),
			number("Integer", "partition", "partition", "The partition to read; from the end unless --offset says so."),
			text("offset", "consume offset", "A number, earliest or latest.").or("latest"),
			text("property", "prop", "As --formatter-property."), text("formatter-property", "prop", "print.timestamp, print.key, print.offset, print.partition, print.epoch, print.delivery, print.headers, print.value, "+
				"key.separator, line.separator, headers.separator, null.literal."),
			text("consumer-property", "consumer_prop", "As --command-property."), text("command-property", "consumer_prop", "A setting of the consumer, key=value."),
			text("consumer.config", "config file", "As --command-config."), text("command-config", "config file", "A file of settings for the consumer."),
			text("formatter", "class", "The class that formats records.").or(plainFormatter), text("formatter-config", "config file", "A file of settings for the formatter."),
			flag("from-beginning", "Start at the first record where the group has no offset."), number("Integer", "max-messages", "num_messages", "End after so many records."),
			number("Long", "timeout-ms", "timeout_ms", "End if no record comes for so long."), flag("skip-message-on-error", "Go on after a record that cannot be shown."),
			text("bootstrap-server", "server to connect to", "REQUIRED: the servers to connect to."),
			text("key-deserializer", "deserializer for key", "Deserializers of numbers are known."), text("value-deserializer", "deserializer for values", "Deserializers of numbers are known."),
			flag("enable-systest-events", "Log the life of the consumer."), text("isolation-level", "", "read_committed leaves out what transactions did not commit.").or("read_uncommitted"),
			text("group", "consumer group id", "The group; a new one if absent."),
		},
		run:  runConsumer,
		fail: failConsumer,
	}
}

func failConsumer(c *call, err error) int {
	var bad *optionError
	if errors.As(err, &bad) {
		c.errorf("%s\n", err)
		c.set.printHelp(c.err)
		return 1
	}
	c.errorf("%s\n", full(err))
	return 1
}

// reading is what the options of the console consumer say.
type reading struct {
	topics    []string
	include   string
	partition int64 // -1: all of them, in a group
	offset    string
	group     string
	limit     int64 // -1: none
	silence   time.Duration
	committed bool
}

func runConsumer(c *call) error {
	r, err := checkConsumer(c)
	if err != nil {
		return err
	}
	properties, err := c.clientSettings("consumer")
	if err != nil {
		return err
	}
	if err := r.chooseGroup(c, properties); err != nil {
		return err
	}
	f, err := newFormatter(c)
	if err != nil {
		return err
	}
	list, err := c.one("bootstrap-server")
	if err != nil {
		return err
	}
	opts, err := r.options(c, properties)
	if err != nil {
		return err
	}
	if err := c.connectTo(list, properties, opts...); err != nil {
		return err
	}
	count, err := c.consume(r, f)
	c.errorf("Processed a total of %d messages\n", count)
	return err
}

func checkConsumer(c *call) (*reading, error) {
	if err := c.checkWhat(); err != nil {
		return nil, err
	}
	r := &reading{partition: -1, limit: -1, offset: "latest"}
	topics, err := c.one("topic")
	if err != nil {
		return nil, err
	}
	if topics != "" {
		r.topics = []string{topics}
	}
	if r.include, err = c.one("include"); err != nil {
		return nil, err
	}
	if n, given, err := c.number("partition"); err != nil {
		return nil, err
	} else if given {
		r.partition = n
	}
	if n, given, err := c.number("max-messages"); err != nil {
		return nil, err
	} else if given {
		r.limit = n
	}
	if n, given, err := c.number("timeout-ms"); err != nil {
		return nil, err
	} else if given {
		r.silence = time.Duration(n) * time.Millisecond
	}
	level, err := c.one("isolation-level")
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"read_committed", "read_uncommitted"}, level) {
		return nil, fmt.Errorf("isolation-level must be read_committed or read_uncommitted, not %s", level)
	}
	r.committed = level == "read_committed"
	return r, r.checkOffset(c)
}

// checkWhat checks which topics the options name.
func (c *call) checkWhat() error {
	if c.count("topic", "include") != 1 {
		return usage("Exactly one of the following arguments is required: [topic], [include]")
	}
	if c.has("partition") && !c.has("topic") {
		return usage("The topic is required when partition is specified.")
	}
	if c.has("offset") && !c.has("partition") {
		return usage("The partition is required when offset is specified.")
	}
	if c.has("offset") && c.has("from-beginning") {
		return usage("Options from-beginning and offset cannot be specified together.")
	}
	if c.has("group") && c.has("partition") {
		return usage("Options group and partition cannot be specified together.")
	}
	if c.has("property") {
		c.printf("Option --property is deprecated and will be removed in a future version. Use --formatter-property instead.\n")
	}
	return c.required("bootstrap-server")
}

func (r *reading) checkOffset(c *call) error {
	if c.has("offset") {
		at, err := c.one("offset")
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(at, 10, 64); (err != nil || n < 0) && !strings.EqualFold(at, "earliest") && !strings.EqualFold(at, "latest") {
			return usage("The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.", at)
		}
		r.offset = strings.ToLower(at)
	} else if c.has("from-beginning") {
		r.offset = "earliest"
	}
	return nil
}

// chooseGroup takes the group of the options or the settings, or makes up a name.
func (r *reading) chooseGroup(c *call, properties map[string]string) error {
	option, err := c.one("group")
	if err != nil {
		return err
	}
	var all []string
	for _, g := range []string{option, properties["group.id"]} {
		if g != "" && !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	if len(all) > 1 {
		return usage("The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '%s'",
			strings.Join(all, "', '"))
	}
	r.group = fmt.Sprintf("console-consumer-%d", rand.IntN(100000))
	if len(all) > 0 {
		r.group = all[0]
	}
	if v, set := properties["auto.offset.reset"]; set && !c.has("offset") {
		if c.has("from-beginning") && v != "earliest" {
			return usage("Can't simultaneously specify --from-beginning and 'auto.offset.reset=%s', please remove one option", v)
		}
		r.offset = v
	}
	return nil
}

// options are those of the client. Where nobody asked for a group, none is joined: the partitions are read directly, which saves the wait for a rebalance and leaves nothing behind.
func (r *reading) options(c *call, properties map[string]string) ([]kgo.Opt, error) {
	at := kgo.NewOffset().AtEnd()
	switch n, err := strconv.ParseInt(r.offset, 10, 64); {
	case err == nil:
		at = kgo.NewOffset().At(n)
	case r.offset == "earliest":
		at = kgo.NewOffset().AtStart()
	}
	opts := []kgo.Opt{kgo.FetchMaxWait(250 * time.Millisecond), kgo.KeepControlRecords(), kgo.AllowAutoTopicCreation()}
	if r.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if r.partition >= 0 {
		return append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topics[0]: {int32(r.partition): at}})), nil
	}
	opts = append(opts, kgo.ConsumeResetOffset(at))
	if r.include != "" {
		if _, err := regexp.Compile(r.include); err != nil {
			return nil, &javaError{"java.util.regex.PatternSyntaxException", err.Error()}
		}
		opts = append(opts, kgo.ConsumeTopics("^(?:"+r.include+")$"), kgo.ConsumeRegex(), kgo.MetadataMaxAge(5*time.Second))
	} else {
		opts = append(opts, kgo.ConsumeTopics(r.topics...))
	}
	if c.has("group") || properties["group.id"] != "" {
		opts = append(opts, kgo.ConsumerGroup(r.group), kgo.DisableAutoCommit(), kgo.Balancers(kgo.RangeBalancer()))
		if id := properties["group.instance.id"]; id != "" {
			opts = append(opts, kgo.InstanceID(id))
		}
	}
	return opts, nil
}

// consume prints records until the options or a signal end it, and commits what was printed where there is a group.
func (c *call) consume(r *reading, f formatter) (count int64, err error) {
	last := map[string]map[int32]kgo.EpochOffset{}
	defer func() {
		if len(last) > 0 && c.client != nil {
			if commitErr := c.commitConsumed(last); err == nil {
				err = commitErr
			}
		}
	}()
	quiet := time.Now().Add(r.silence)
	for r.limit < 0 || count < r.limit {
		ctx, cancel := c.ctx, context.CancelFunc(func() {})
		if r.silence > 0 {
			ctx, cancel = context.WithDeadline(c.ctx, quiet)
		}
		if c.out.Buffered() > 0 && c.out.Flush() != nil {
			cancel()
			return count, nil // nobody reads any more
		}
		fetches := c.client.PollFetches(ctx)
		ended := ctx.Err() != nil
		cancel()
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, kgo.ErrClientClosed) && !waitsForTopic(e.Err) {
				return count, connect.Translate(e.Err)
			}
		}
		records := fetches.Records()
		if len(records) > 0 {
			quiet = time.Now().Add(r.silence)
		}
		for _, record := range records {
			if r.limit >= 0 && count >= r.limit {
				break
			}
			if record.Attrs.IsControl() {
				continue
			}
			if err := f.print(c.out, record); err != nil && !c.has("skip-message-on-error") {
				return count, err
			}
			count++
			if last[record.Topic] == nil {
				last[record.Topic] = map[int32]kgo.EpochOffset{}
			}
			last[record.Topic][record.Partition] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
		}
		if c.ctx.Err() != nil || ended && len(records) == 0 {
			return count, nil
		}
	}
	return count, nil
}

// commitConsumed commits and leaves the group; without a group it does nothing.
func (c *call) commitConsumed(last map[string]map[int32]kgo.EpochOffset) error {
	if group, _ := c.client.GroupMetadata(); group == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 5*time.Second)
	defer cancel()
	var failed error
	c.client.CommitOffsetsSync(ctx, last, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
		failed = err
	})
	return connect.Translate(failed)
}
