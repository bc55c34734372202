package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

func groupCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "group", Short: "List, watch, move and delete consumer groups",
		Example: "  ottla group list\n  ottla group describe billing\n  ottla group reset-offsets billing --topic orders --to earliest --execute",
	}
	c.AddCommand(s.groupList(), s.groupDescribe(), s.groupLag(), s.groupReset(), s.groupDelete(), s.groupDeleteOffsets())
	return c
}

func (s *session) groupList() *cobra.Command {
	var states, types []string
	c := &cobra.Command{
		Use: "list", Short: "List groups", Args: cobra.NoArgs,
		Example: "  ottla group list\n  ottla group list --state Stable,Empty --type consumer",
		RunE: s.run(func(ctx context.Context, a *cluster, _ []string) error {
			r := kmsg.NewPtrListGroupsRequest()
			r.StatesFilter, r.TypesFilter = states, types
			response, err := r.RequestWith(ctx, a.raw)
			if err == nil {
				err = connect.Check(response.ErrorCode, nil)
			}
			if err != nil {
				return err
			}
			slices.SortFunc(response.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
			t := &table{columns: []string{"GROUP", "STATE", "TYPE", "PROTOCOL-TYPE"}}
			for _, g := range response.Groups {
				t.add(g.Group, g.GroupState, g.GroupType, g.ProtocolType)
			}
			return s.show(t)
		}),
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only groups in these states")
	c.Flags().StringSliceVar(&types, "type", nil, "only groups of these types: classic, consumer")
	return c
}

// view is a group as the commands show it, whichever protocol it speaks.
type view struct {
	group, state, kind, assignor string
	members                      []viewMember
}

type viewMember struct {
	id, instance, client, host string
	holds                      map[string][]int32
}

// owner is who holds a partition; empty for nobody.
func (v *view) owner(topic string, partition int32) viewMember {
	for _, m := range v.members {
		if slices.Contains(m.holds[topic], partition) {
			return m
		}
	}
	return viewMember{}
}

// views describes groups: as groups of the consumer protocol first, the others as classic ones.
func (a *cluster) views(ctx context.Context, groups []string) ([]*view, error) {
	var all []*view
	modern, err := a.DescribeConsumerGroups(ctx, groups...)
	if err != nil {
		modern = nil // a broker without the protocol has classic groups only
	}
	for _, name := range groups {
		if d, ok := modern[name]; ok && d.Err == nil {
			v := &view{group: name, state: d.State, kind: "consumer", assignor: d.AssignorName}
			for _, m := range d.Members {
				one := viewMember{id: m.MemberID, client: m.ClientID, host: m.ClientHost, holds: map[string][]int32{}}
				if m.InstanceID != nil {
					one.instance = *m.InstanceID
				}
				for _, set := range m.Assignment.Sorted() {
					one.holds[set.Topic] = set.Partitions
				}
				v.members = append(v.members, one)
			}
			all = append(all, v)
			continue
		}
		v, err := a.classicView(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func (a *cluster) classicView(ctx context.Context, name string) (*view, error) {
	described, err := a.DescribeGroups(ctx, name)
	if err != nil {
		return nil, err
	}
	d := described[name]
	if d.Err == nil && d.State == "Dead" {
		d.Err = kerr.GroupIDNotFound
	}
	if d.Err != nil {
		return nil, refusal(name, d.Err, "")
	}
	v := &view{group: name, state: d.State, kind: "classic", assignor: d.Protocol}
	for _, m := range d.Members {
		one := viewMember{id: m.MemberID, client: m.ClientID, host: m.ClientHost, holds: map[string][]int32{}}
		if m.InstanceID != nil {
			one.instance = *m.InstanceID
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				one.holds[t.Topic] = t.Partitions
			}
		}
		v.members = append(v.members, one)
	}
	return v, nil
}

func (s *session) groupDescribe() *cobra.Command {
	var members bool
	c := &cobra.Command{
		Use: "describe GROUP...", Short: "Show the offsets and lag of groups, or with --members who is in them", Args: cobra.MinimumNArgs(1),
		Example:           "  ottla group describe billing\n  ottla group describe billing --members -o yaml",
		ValidArgsFunction: s.groupNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			views, err := a.views(ctx, args)
			if err != nil {
				return err
			}
			if members {
				return s.showMembers(views)
			}
			t := &table{columns: []string{"GROUP", "STATE", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "MEMBER", "CLIENT-ID", "HOST"}}
			for _, v := range views {
				lags, err := a.lag(ctx, v)
				if err != nil {
					return err
				}
				for _, l := range lags {
					m := v.owner(l.topic, l.partition)
					t.add(v.group, v.state, l.topic, l.partition, l.at, l.end, l.lag, m.id, m.client, m.host)
				}
			}
			return s.show(t)
		}),
	}
	c.Flags().BoolVar(&members, "members", false, "the members and what they hold")
	return c
}

func (s *session) showMembers(views []*view) error {
	t := &table{columns: []string{"GROUP", "STATE", "TYPE", "ASSIGNOR", "MEMBER", "INSTANCE-ID", "CLIENT-ID", "HOST", "PARTITIONS"}}
	for _, v := range views {
		if len(v.members) == 0 {
			t.add(v.group, v.state, v.kind, v.assignor, nil, nil, nil, nil, nil)
		}
		for _, m := range v.members {
			var holds []string
			for _, topic := range slices.Sorted(maps.Keys(m.holds)) {
				holds = append(holds, topic+":"+strings.ReplaceAll(cellText(m.holds[topic]), ",", "/"))
			}
			t.add(v.group, v.state, v.kind, v.assignor, m.id, m.instance, m.client, m.host, holds)
		}
	}
	return s.show(t)
}

// partitionLag is how far a group is in one partition; nil stands for what is not known.
type partitionLag struct {
	topic        string
	partition    int32
	at, end, lag any
	behind       int64
}

// lag is that of the partitions which a group has offsets of or holds, sorted.
func (a *cluster) lag(ctx context.Context, v *view) ([]partitionLag, error) {
	committed, err := a.FetchOffsets(ctx, v.group)
	if err != nil {
		return nil, err
	}
	scope := kadm.TopicsSet{}
	committed.Each(func(o kadm.OffsetResponse) { scope.Add(o.Topic, o.Partition) })
	for _, m := range v.members {
		for topic, ids := range m.holds {
			scope.Add(topic, ids...)
		}
	}
	ends := kadm.ListedOffsets{}
	if len(scope) > 0 {
		if ends, err = a.ListEndOffsets(ctx, scope.Topics()...); err != nil {
			return nil, err
		}
	}
	var all []partitionLag
	for _, set := range scope.Sorted() {
		for _, id := range set.Partitions {
			l := partitionLag{topic: set.Topic, partition: id, end: listed(ends, set.Topic, id)}
			if o, ok := committed.Lookup(set.Topic, id); ok && o.Err == nil && o.At >= 0 {
				l.at = o.At
				if end, known := l.end.(int64); known {
					l.behind = max(end-o.At, 0)
					l.lag = l.behind
				}
			}
			all = append(all, l)
		}
	}
	return all, nil
}

func (s *session) groupLag() *cobra.Command {
	return &cobra.Command{
		Use: "lag [GROUP...]", Short: "Show how far groups are behind, summed by topic; all groups if none is named",
		Example:           "  ottla group lag\n  ottla group lag billing -o json",
		ValidArgsFunction: s.groupNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			if len(args) == 0 {
				groups, err := a.ListGroups(ctx)
				if err != nil {
					return err
				}
				args = groups.Groups()
				slices.Sort(args)
			}
			views, err := a.views(ctx, args)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"GROUP", "STATE", "MEMBERS", "TOPIC", "LAG"}}
			for _, v := range views {
				lags, err := a.lag(ctx, v)
				if err != nil {
					return err
				}
				sums := map[string]int64{}
				for _, l := range lags {
					sums[l.topic] += l.behind
				}
				for _, topic := range slices.Sorted(maps.Keys(sums)) {
					t.add(v.group, v.state, len(v.members), topic, sums[topic])
				}
			}
			return s.show(t)
		}),
	}
}

func (s *session) groupDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP...", Short: "Delete groups without members, and their offsets", Args: cobra.MinimumNArgs(1),
		Example:           "  ottla group delete billing",
		ValidArgsFunction: s.groupNames(),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			gone, err := a.DeleteGroups(ctx, args...)
			if err != nil {
				return err
			}
			var failed []error
			for _, r := range gone.Sorted() {
				err := refusal(r.Group, r.Err, r.ErrMessage)
				if err == nil {
					err = s.done("Deleted group %s.", r.Group)
				}
				failed = append(failed, err)
			}
			return errors.Join(failed...)
		}),
	}
}

func (s *session) groupDeleteOffsets() *cobra.Command {
	return &cobra.Command{
		Use: "delete-offsets GROUP TOPIC[:PARTITION[,PARTITION]]...", Short: "Delete a group's offsets of topics", Args: cobra.MinimumNArgs(2),
		Example:           "  ottla group delete-offsets billing orders:0,1 payments",
		ValidArgsFunction: s.groupThenTopics,
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			scope, err := a.scope(ctx, args[1:])
			if err != nil {
				return err
			}
			gone, err := a.DeleteOffsets(ctx, args[0], scope)
			if err != nil {
				return refusal(args[0], err, "")
			}
			t := &table{columns: []string{"GROUP", "TOPIC", "PARTITION", "RESULT"}}
			for topic, ids := range gone {
				for id, err := range ids {
					result := "deleted"
					if err != nil {
						result = refusal("", err, "").Error()
					}
					t.add(args[0], topic, id, result)
				}
			}
			slices.SortFunc(t.rows, func(a, b []any) int { return strings.Compare(cellText(a[1:3]), cellText(b[1:3])) })
			return s.show(t)
		}),
	}
}

// groupThenTopics completes a group, then topics.
func (s *session) groupThenTopics(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return s.groupNames()(cmd, args, begun)
	}
	return s.topicNames()(cmd, args[1:], begun)
}

// scope is what TOPIC or TOPIC:0,1 arguments name.
func (a *cluster) scope(ctx context.Context, args []string) (kadm.TopicsSet, error) {
	scope := kadm.TopicsSet{}
	for _, arg := range args {
		topic, ids, err := parsePartitions(arg)
		if err != nil {
			return nil, err
		}
		if ids == nil {
			topics, err := describeTopics(ctx, a, []string{topic})
			if err != nil {
				return nil, err
			}
			ids = topics[topic].Partitions.Numbers()
		}
		scope.Add(topic, ids...)
	}
	return scope, nil
}
