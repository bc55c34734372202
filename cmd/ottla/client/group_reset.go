package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ottla/ottla/protocol"
)

// resetFlags say where group reset-offsets goes.
type resetFlags struct {
	topics  []string
	to      string
	shift   int64
	execute bool
}

func (s *session) groupReset() *cobra.Command {
	var f resetFlags
	c := &cobra.Command{
		Use: "reset-offsets GROUP", Short: "Move a group's offsets; shows the plan, and does it with --execute", Args: cobra.ExactArgs(1),
		Long: "Move a group's offsets. The group must have no members. Without --execute nothing is changed: the plan is shown.",
		Example: "  ottla group reset-offsets billing --to earliest\n  ottla group reset-offsets billing --topic orders:0,1 --to 1000 --execute\n" +
			"  ottla group reset-offsets billing --to 2026-01-31T12:00:00Z --execute\n  ottla group reset-offsets billing --to 90m --execute\n" +
			"  ottla group reset-offsets billing --shift -10 --execute",
		ValidArgsFunction: firstOnly(s.groupNames()),
	}
	c.Flags().StringArrayVarP(&f.topics, "topic", "t", nil, "`topic`, or topic:0,1 (repeatable; default: all that the group has offsets of)")
	c.Flags().StringVar(&f.to, "to", "", "earliest, latest, an offset, a time, or how long ago (as 90m or 7d)")
	c.Flags().Int64Var(&f.shift, "shift", 0, "by so many records, forwards or (negative) backwards")
	c.Flags().BoolVar(&f.execute, "execute", false, "do it")
	_ = c.RegisterFlagCompletionFunc("topic", s.topicNames()) // it fails only for an unknown flag
	c.RunE = s.run(func(ctx context.Context, a *cluster, args []string) error { return s.reset(ctx, a, args[0], f) })
	return c
}

func (s *session) reset(ctx context.Context, a *cluster, group string, f resetFlags) error {
	if (f.to == "") == (f.shift == 0) {
		return errors.New("say where to: either --to or --shift")
	}
	views, err := a.views(ctx, []string{group})
	switch {
	case errors.Is(err, protocol.GroupIDNotFound) && len(f.topics) > 0: // it is made by its offsets
	case err != nil:
		return err
	case len(views[0].members) > 0:
		return fmt.Errorf("group %s is %s with %d members: stop them first, as they would write their own offsets over the new ones", group, views[0].state, len(views[0].members))
	}
	committed, err := a.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	scope := kadm.TopicsSet{}
	if len(f.topics) > 0 {
		if scope, err = a.scope(ctx, f.topics); err != nil {
			return err
		}
	} else {
		committed.Each(func(o kadm.OffsetResponse) { scope.Add(o.Topic, o.Partition) })
	}
	if len(scope) == 0 {
		return fmt.Errorf("group %s has no offsets: name topics with --topic", group)
	}
	plan, err := a.plan(ctx, scope, committed, f)
	if err != nil {
		return err
	}
	if f.execute {
		if err := a.CommitAllOffsets(ctx, group, plan); err != nil {
			return refusal(group, err, "")
		}
	}
	t := &table{columns: []string{"GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET"}}
	for _, o := range plan.Sorted() {
		var now any
		if c, ok := committed.Lookup(o.Topic, o.Partition); ok && c.Err == nil && c.At >= 0 {
			now = c.At
		}
		t.add(group, o.Topic, o.Partition, now, o.At)
	}
	if err := s.show(t); err != nil || f.execute {
		return err
	}
	return s.done("Nothing was changed: add --execute to do it.")
}

// plan is where each partition goes, within its log.
func (a *cluster) plan(ctx context.Context, scope kadm.TopicsSet, committed kadm.OffsetResponses, f resetFlags) (kadm.Offsets, error) {
	starts, err := a.ListStartOffsets(ctx, scope.Topics()...)
	if err != nil {
		return nil, err
	}
	ends, err := a.ListEndOffsets(ctx, scope.Topics()...)
	if err != nil {
		return nil, err
	}
	fixed, numberErr := strconv.ParseInt(f.to, 10, 64)
	var found kadm.ListedOffsets
	if f.shift == 0 && numberErr != nil {
		if found, err = offsetsAt(ctx, a, f.to, scope.Topics()); err != nil {
			return nil, err
		}
	}
	plan := kadm.Offsets{}
	for _, set := range scope.Sorted() {
		for _, id := range set.Partitions {
			start, known := starts.Lookup(set.Topic, id)
			end, also := ends.Lookup(set.Topic, id)
			if !known || !also {
				return nil, fmt.Errorf("topic %s has no partition %d", set.Topic, id)
			}
			if err := errors.Join(start.Err, end.Err); err != nil {
				return nil, refusal(fmt.Sprintf("%s-%d", set.Topic, id), err, "")
			}
			at := fixed
			switch {
			case f.shift != 0:
				now, ok := committed.Lookup(set.Topic, id)
				if !ok || now.Err != nil || now.At < 0 {
					return nil, fmt.Errorf("%s-%d has no offset to shift: use --to", set.Topic, id)
				}
				at = now.At + f.shift
			case numberErr != nil:
				o, _ := found.Lookup(set.Topic, id)
				if at = o.Offset; at < 0 {
					at = end.Offset // nothing is that new
				}
			}
			plan.AddOffset(set.Topic, id, max(start.Offset, min(end.Offset, at)), -1)
		}
	}
	return plan, nil
}

// parseTime reads a time: RFC 3339, a date with or without a clock in local time, ms since 1970, or how long ago.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		if n, err := strconv.ParseFloat(days, 64); err == nil {
			return time.Now().Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(text, "-")); err == nil {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no offset and no time: write earliest, latest, a number, 2026-01-31T12:00:00Z, or how long ago as 90m or 7d", text)
}
