package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func topicCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "topic", Short: "List, make, change and delete topics",
		Example: "  ottla topic list\n  ottla topic create orders --partitions 6 --config retention.ms=86400000\n  ottla topic describe orders",
	}
	c.AddCommand(s.topicList(), s.topicDescribe(), s.topicOffsets(), s.topicCreate(), s.topicAlter(), s.topicDelete(), s.topicPartitions(), s.topicTrim())
	return c
}

func (s *session) topicList() *cobra.Command {
	var internal bool
	c := &cobra.Command{
		Use: "list", Short: "List topics", Args: cobra.NoArgs,
		Example: "  ottla topic list\n  ottla topic list --internal -o json",
		RunE: s.run(func(ctx context.Context, a *cluster, _ []string) error {
			list := a.ListTopics
			if internal {
				list = a.ListTopicsWithInternal
			}
			topics, err := list(ctx)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"TOPIC", "PARTITIONS", "REPLICATION-FACTOR", "INTERNAL"}}
			for _, d := range topics.Sorted() {
				t.add(d.Topic, len(d.Partitions), d.Partitions.NumReplicas(), d.IsInternal)
			}
			return s.show(t)
		}),
	}
	c.Flags().BoolVar(&internal, "internal", false, "internal topics too")
	return c
}

func (s *session) topicDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe TOPIC...", Short: "Show the partitions of topics: leader, replicas, in-sync replicas, offsets", Args: cobra.MinimumNArgs(1),
		Example:           "  ottla topic describe orders\n  ottla topic describe orders payments -o yaml",
		ValidArgsFunction: s.topicNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			topics, err := describeTopics(ctx, a, args)
			if err != nil {
				return err
			}
			starts, err := a.ListStartOffsets(ctx, args...)
			if err != nil {
				return err
			}
			ends, err := a.ListEndOffsets(ctx, args...)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR", "START-OFFSET", "END-OFFSET"}}
			for _, name := range args {
				for _, p := range topics[name].Partitions.Sorted() {
					t.add(name, p.Partition, leader(p.Leader), p.Replicas, p.ISR, listed(starts, name, p.Partition), listed(ends, name, p.Partition))
				}
			}
			return s.show(t)
		}),
	}
}

// describeTopics asks for topics that must all exist.
func describeTopics(ctx context.Context, a *cluster, names []string) (kadm.TopicDetails, error) {
	topics, err := a.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, err
	}
	var all []error
	for _, name := range names {
		all = append(all, refusal(name, topics[name].Err, ""))
	}
	return topics, errors.Join(all...)
}

// leader is a broker's id, nil for none.
func leader(id int32) any {
	if id < 0 {
		return nil
	}
	return id
}

// listed is the offset of a partition, nil if it could not be read.
func listed(o kadm.ListedOffsets, topic string, partition int32) any {
	if l, ok := o.Lookup(topic, partition); ok && l.Err == nil {
		return l.Offset
	}
	return nil
}

func (s *session) topicOffsets() *cobra.Command {
	at := "latest"
	c := &cobra.Command{
		Use: "offsets TOPIC...", Short: "Show an offset of each partition: the first, the last, or that of a time", Args: cobra.MinimumNArgs(1),
		Example:           "  ottla topic offsets orders\n  ottla topic offsets orders --at earliest\n  ottla topic offsets orders --at 2026-01-31T12:00:00Z",
		ValidArgsFunction: s.topicNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			if _, err := describeTopics(ctx, a, args); err != nil {
				return err
			}
			offsets, err := offsetsAt(ctx, a, at, args)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"TOPIC", "PARTITION", "OFFSET"}}
			offsets.Each(func(o kadm.ListedOffset) { t.add(o.Topic, o.Partition, listed(offsets, o.Topic, o.Partition)) })
			sortRows(t.rows)
			return s.show(t)
		}),
	}
	c.Flags().StringVar(&at, "at", at, "earliest, latest, max-timestamp, a time, or how long ago (as 90m)")
	return c
}

// offsetsAt lists the offsets of topics at a moment.
func offsetsAt(ctx context.Context, a *cluster, at string, topics []string) (kadm.ListedOffsets, error) {
	switch strings.ToLower(at) {
	case "earliest", "start", "beginning":
		return a.ListStartOffsets(ctx, topics...)
	case "latest", "end":
		return a.ListEndOffsets(ctx, topics...)
	case "max-timestamp":
		return a.ListMaxTimestampOffsets(ctx, topics...)
	}
	when, err := parseTime(at)
	if err != nil {
		return nil, err
	}
	return a.ListOffsetsAfterMilli(ctx, when.UnixMilli(), topics...)
}

func (s *session) topicCreate() *cobra.Command {
	var (
		partitions int32
		factor     int16
		configs    []string
		ifAbsent   bool
		check      bool
	)
	c := &cobra.Command{
		Use: "create TOPIC...", Short: "Make topics", Args: cobra.MinimumNArgs(1),
		Example: "  ottla topic create orders\n  ottla topic create orders payments --partitions 6 --replication-factor 1\n" +
			"  ottla topic create latest --config cleanup.policy=compact --if-not-exists",
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			values, err := keyValues(configs)
			if err != nil {
				return err
			}
			create := a.CreateTopics
			if check {
				create = a.ValidateCreateTopics
			}
			made, err := create(ctx, partitions, factor, values, args...)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"TOPIC", "PARTITIONS", "REPLICATION-FACTOR", "CREATED"}}
			var failed []error
			for _, r := range made.Sorted() {
				err := refusal(r.Topic, r.Err, r.ErrMessage)
				if exists := isThere(r.Err); exists && ifAbsent {
					t.add(r.Topic, nil, nil, false)
					continue
				}
				if err != nil {
					failed = append(failed, err)
					continue
				}
				t.add(r.Topic, r.NumPartitions, r.ReplicationFactor, !check)
			}
			if len(t.rows) > 0 {
				failed = append(failed, s.show(t))
			}
			return errors.Join(failed...)
		}),
	}
	f := c.Flags()
	f.Int32VarP(&partitions, "partitions", "p", -1, "how many partitions (default: the brokers' num.partitions)")
	f.Int16VarP(&factor, "replication-factor", "r", -1, "how many replicas of each (default: the brokers' default.replication.factor)")
	f.StringArrayVarP(&configs, "config", "c", nil, "a `key=value` of the topic's configuration (repeatable)")
	f.BoolVar(&ifAbsent, "if-not-exists", false, "a topic that is there already is no error")
	f.BoolVar(&check, "dry-run", false, "only ask whether it could be made")
	return c
}

// keyValues splits key=value.
func keyValues(all []string) (map[string]*string, error) {
	values := map[string]*string{}
	for _, kv := range all {
		k, v, found := strings.Cut(kv, "=")
		if !found || k == "" {
			return nil, fmt.Errorf("%q must be key=value", kv)
		}
		values[strings.TrimSpace(k)] = &v
	}
	return values, nil
}
