package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// isThere reports whether a topic could not be made because it exists.
func isThere(err error) bool { return errors.Is(err, kerr.TopicAlreadyExists) }

// sortRows sorts rows by their first cell, a name, and their second, a number.
func sortRows(rows [][]any) {
	slices.SortFunc(rows, func(a, b []any) int {
		name := func(row []any) string { s, _ := row[0].(string); return s }
		number := func(row []any) int32 { n, _ := row[1].(int32); return n }
		return cmp.Or(cmp.Compare(name(a), name(b)), cmp.Compare(number(a), number(b)))
	})
}

func (s *session) topicAlter() *cobra.Command {
	var set, unset []string
	c := &cobra.Command{
		Use: "alter TOPIC...", Short: "Change the configuration of topics", Args: cobra.MinimumNArgs(1),
		Example:           "  ottla topic alter orders --set retention.ms=3600000 --unset cleanup.policy",
		ValidArgsFunction: s.topicNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			return s.changeConfigs(ctx, a, resourceTopic, args, set, unset)
		}),
	}
	bindChanges(c, &set, &unset)
	return c
}

func (s *session) topicDelete() *cobra.Command {
	var ifExists bool
	c := &cobra.Command{
		Use: "delete TOPIC...", Short: "Delete topics and all that is in them", Args: cobra.MinimumNArgs(1),
		Example:           "  ottla topic delete orders",
		ValidArgsFunction: s.topicNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			gone, err := a.DeleteTopics(ctx, args...)
			if err != nil {
				return err
			}
			var failed []error
			for _, r := range gone.Sorted() {
				switch err := refusal(r.Topic, r.Err, r.ErrMessage); {
				case errors.Is(r.Err, kerr.UnknownTopicOrPartition) && ifExists:
				case err != nil:
					failed = append(failed, err)
				default:
					failed = append(failed, s.done("Deleted topic %s.", r.Topic))
				}
			}
			return errors.Join(failed...)
		}),
	}
	c.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that is not there is no error")
	return c
}

func (s *session) topicPartitions() *cobra.Command {
	var total, more int
	c := &cobra.Command{
		Use: "add-partitions TOPIC...", Short: "Add partitions to topics", Args: cobra.MinimumNArgs(1),
		Long:              "Add partitions to topics. Records with a key may go to other partitions than before.",
		Example:           "  ottla topic add-partitions orders --total 12\n  ottla topic add-partitions orders --more 2",
		ValidArgsFunction: s.topicNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			var made kadm.CreatePartitionsResponses
			var err error
			switch {
			case total > 0 && more == 0:
				made, err = a.UpdatePartitions(ctx, total, args...)
			case more > 0 && total == 0:
				made, err = a.CreatePartitions(ctx, more, args...)
			default:
				return errors.New("say how many: either --total or --more")
			}
			if err != nil {
				return err
			}
			var failed []error
			for _, r := range made.Sorted() {
				err := refusal(r.Topic, r.Err, r.ErrMessage)
				if err == nil {
					err = s.done("Added partitions to topic %s.", r.Topic)
				}
				failed = append(failed, err)
			}
			return errors.Join(failed...)
		}),
	}
	c.Flags().IntVar(&total, "total", 0, "how many there shall be")
	c.Flags().IntVar(&more, "more", 0, "how many to add")
	return c
}

func (s *session) topicTrim() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "delete-records TOPIC[:PARTITION[,PARTITION]]", Short: "Delete the records before an offset", Args: cobra.ExactArgs(1),
		Example: "  ottla topic delete-records orders:0 --before 1000\n  ottla topic delete-records orders --before latest\n" +
			"  ottla topic delete-records orders --before 2026-01-31T12:00:00Z",
		ValidArgsFunction: firstOnly(s.topicNames()),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			if at == "" {
				return errors.New("say up to where with --before: an offset, latest, a time, or how long ago")
			}
			topic, ids, err := parsePartitions(args[0])
			if err != nil {
				return err
			}
			topics, err := describeTopics(ctx, a, []string{topic})
			if err != nil {
				return err
			}
			if ids == nil {
				ids = topics[topic].Partitions.Numbers()
			}
			offsets := kadm.Offsets{}
			if n, err := strconv.ParseInt(at, 10, 64); err == nil {
				for _, id := range ids {
					offsets.AddOffset(topic, id, n, -1)
				}
			} else {
				found, err := offsetsAt(ctx, a, at, []string{topic})
				if err != nil {
					return err
				}
				for _, id := range ids {
					if o, ok := found.Lookup(topic, id); ok && o.Err == nil {
						offsets.AddOffset(topic, id, o.Offset, -1)
					}
				}
			}
			return s.trim(ctx, a, offsets)
		}),
	}
	c.Flags().StringVar(&at, "before", "", "an offset, latest, a time, or how long ago (as 90m)")
	return c
}

func (s *session) trim(ctx context.Context, a *cluster, offsets kadm.Offsets) error {
	gone, err := a.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	t := &table{columns: []string{"TOPIC", "PARTITION", "START-OFFSET"}}
	var failed []error
	for _, r := range gone.Sorted() {
		if r.Err != nil {
			failed = append(failed, refusal(fmt.Sprintf("%s-%d", r.Topic, r.Partition), r.Err, ""))
			continue
		}
		t.add(r.Topic, r.Partition, r.LowWatermark)
	}
	if len(t.rows) > 0 {
		failed = append(failed, s.show(t))
	}
	return errors.Join(failed...)
}

// parsePartitions reads TOPIC or TOPIC:0,1; ids are nil for all.
func parsePartitions(text string) (topic string, ids []int32, err error) {
	topic, list, some := strings.Cut(text, ":")
	if !some {
		return topic, nil, nil
	}
	for id := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 32)
		if err != nil || n < 0 {
			return "", nil, fmt.Errorf("%q: partitions are numbers, as in %s:0,1", text, topic)
		}
		ids = append(ids, int32(n))
	}
	return topic, ids, nil
}
