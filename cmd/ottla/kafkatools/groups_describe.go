package kafkatools

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

// group is a group as --describe shows it, whichever protocol it speaks.
type group struct {
	id, state, assignor     string
	epoch, targetEpoch      string
	coordinator             string
	members                 []member
	hasClassic, hasConsumer bool
}

// member is one member of a group.
type member struct {
	id, instance, client, host string
	assigned, target           []partition
	epoch, targetEpoch         string
	upgraded                   string
}

// describe gives the groups in the order of ids.
func (c *call) describe(ids []string) ([]group, error) {
	var all []group
	for _, id := range ids {
		g, err := c.describeOne(id)
		if err != nil {
			return nil, inFuture(err)
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b group) int { return cmp.Compare(a.id, b.id) })
	return all, nil
}

func (c *call) describeOne(id string) (group, error) {
	g, err := c.describeConsumer(id)
	if errors.Is(err, protocol.GroupIDNotFound) || errors.Is(err, protocol.UnsupportedVersion) {
		g, err = c.describeClassic(id)
	}
	if err != nil {
		return g, err
	}
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.CoordinatorKey, r.CoordinatorKeys = id, []string{id}
	found, err := request(c, r)
	if err != nil {
		return g, err
	}
	for _, at := range found.Coordinators {
		g.coordinator = fmt.Sprintf("%s:%d  (%d)", at.Host, at.Port, at.NodeID)
	}
	return g, nil
}

func (c *call) describeConsumer(id string) (group, error) {
	r := kmsg.NewPtrConsumerGroupDescribeRequest()
	r.Groups = []string{id}
	response, err := request(c, r)
	if err != nil {
		return group{}, err
	}
	if len(response.Groups) == 0 {
		return group{}, connect.Check(int16(protocol.GroupIDNotFound), nil)
	}
	d := response.Groups[0]
	g := group{id: id, state: d.State, assignor: d.AssignorName, epoch: fmt.Sprint(d.Epoch), targetEpoch: fmt.Sprint(d.AssignmentEpoch)}
	for _, m := range d.Members {
		one := member{id: m.MemberID, instance: value(m.InstanceID), client: m.ClientID, host: m.ClientHost, epoch: fmt.Sprint(m.MemberEpoch), targetEpoch: g.targetEpoch, upgraded: "-"}
		switch m.MemberType {
		case 0:
			g.hasClassic, one.upgraded = true, "false"
		case 1:
			g.hasConsumer, one.upgraded = true, "true"
		}
		for _, t := range m.Assignment.TopicPartitions {
			for _, p := range t.Partitions {
				one.assigned = append(one.assigned, partition{t.Topic, p})
			}
		}
		for _, t := range m.TargetAssignment.TopicPartitions {
			for _, p := range t.Partitions {
				one.target = append(one.target, partition{t.Topic, p})
			}
		}
		g.members = append(g.members, one)
	}
	return g, connect.Check(d.ErrorCode, d.ErrorMessage)
}

func (c *call) describeClassic(id string) (group, error) {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = []string{id}
	response, err := request(c, r)
	if err != nil {
		return group{}, err
	}
	if len(response.Groups) == 0 {
		return group{}, connect.Check(int16(protocol.GroupIDNotFound), nil)
	}
	d := response.Groups[0]
	g := group{id: id, state: d.State, assignor: d.Protocol, epoch: "-", targetEpoch: "-"}
	for _, m := range d.Members {
		one := member{id: m.MemberID, instance: value(m.InstanceID), client: m.ClientID, host: m.ClientHost, epoch: "-", targetEpoch: "-", upgraded: "-"}
		var a kmsg.ConsumerMemberAssignment
		if len(m.MemberAssignment) > 0 && a.ReadFrom(m.MemberAssignment) == nil {
			for _, t := range a.Topics {
				for _, p := range t.Partitions {
					one.assigned = append(one.assigned, partition{t.Topic, p})
				}
			}
		}
		g.members = append(g.members, one)
	}
	return g, connect.Check(d.ErrorCode, d.ErrorMessage)
}

// offset is what a group committed for a partition.
type offset struct {
	at    int64
	epoch int32
}

// committed are the offsets of a group.
func (c *call) committed(id string) (map[partition]offset, error) {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group, r.Topics = id, nil
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = id
	r.Groups = append(r.Groups, g)
	response, err := request(c, r)
	if err != nil {
		return nil, err
	}
	all := map[partition]offset{}
	for _, g := range response.Groups {
		if err := connect.Check(g.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode == 0 && p.Offset >= 0 {
					all[partition{t.Topic, p.Partition}] = offset{p.Offset, p.LeaderEpoch}
				}
			}
		}
	}
	return all, nil
}

func describeGroups(c *call) error {
	ids, err := c.chosenGroups()
	if err != nil {
		return err
	}
	groups, err := c.describe(ids)
	if err != nil {
		return err
	}
	for _, g := range groups {
		switch {
		case c.has("members"):
			c.printMembers(g)
		case c.has("state"):
			c.printState(g)
		default:
			if err := c.printOffsets(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// warn says what state a group is in if it is not stable, and whether there is anything to show.
func (c *call) warn(g group, rows int) bool {
	switch g.state {
	case "Dead":
		c.printf("\nError: Consumer group '%s' does not exist.\n", g.id)
		return false
	case "Empty":
		c.errorf("\nConsumer group '%s' has no active members.\n", g.id)
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		c.errorf("\nWarning: Consumer group '%s' is rebalancing.\n", g.id)
	}
	return rows > 0
}

func (c *call) printOffsets(g group) error {
	offsets, err := c.committed(g.id)
	if err != nil {
		return err
	}
	holders := map[partition]member{}
	for _, m := range g.members {
		for _, p := range m.assigned {
			holders[p] = m
		}
	}
	at := map[partition]int64{}
	for p := range holders {
		at[p] = latest
	}
	for p := range offsets {
		at[p] = latest
	}
	ends, err := c.listOffsets(at)
	if err != nil {
		return err
	}
	rows := offsetRows(g, offsets, holders, ends, slices.Collect(maps.Keys(at)))
	if !c.warn(g, len(rows)) {
		return nil
	}
	width := [10]int{15, 15, 10, 15, 15, 15, 15, 15, 15, 0}
	for _, r := range rows {
		for _, i := range []int{0, 1, 7, 8} {
			width[i] = max(width[i], len(r[i]))
		}
	}
	head := [10]string{"GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"}
	for _, r := range append([][10]string{head}, rows...) {
		c.printf("\n")
		for i, cell := range r {
			switch {
			case i == 3 && !c.has("verbose"):
			case i == 9:
				c.printf("%s", cell)
			default:
				c.printf("%-*s ", width[i], cell)
			}
		}
	}
	c.printf("\n")
	return nil
}

// offsetRows are the rows of a group's offsets: those of the members with the most partitions first, then what nobody holds.
func offsetRows(g group, offsets map[partition]offset, holders map[partition]member, ends map[partition]listed, all []partition) [][10]string {
	rank := map[string]int{}
	slices.SortStableFunc(g.members, func(a, b member) int { return len(b.assigned) - len(a.assigned) })
	for i, m := range g.members {
		rank[m.id] = i
	}
	place := func(p partition) int {
		if m, held := holders[p]; held {
			return rank[m.id]
		}
		return len(g.members)
	}
	slices.SortFunc(all, func(a, b partition) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
	})
	var rows [][10]string
	for _, p := range all {
		m, held := holders[p]
		if !held {
			m = member{id: "-", host: "-", client: "-"}
		}
		epoch, current, end, lag := "-", "-", "-", "-"
		o, has := offsets[p]
		if has {
			current = strconv.FormatInt(o.at, 10)
			if o.epoch >= 0 {
				epoch = fmt.Sprint(o.epoch)
			}
		}
		if e := ends[p]; e.err == nil && e.offset >= 0 {
			end = strconv.FormatInt(e.offset, 10)
			if has {
				lag = strconv.FormatInt(e.offset-o.at, 10)
			}
		}
		rows = append(rows, [10]string{g.id, p.topic, fmt.Sprint(p.id), epoch, current, end, lag, m.id, m.host, m.client})
	}
	return rows
}

// assignment is partitions as topic:0,1;other:2.
func assignment(all []partition) string {
	byTopic := map[string][]int32{}
	for _, p := range all {
		byTopic[p.topic] = append(byTopic[p.topic], p.id)
	}
	var parts []string
	for _, t := range slices.Sorted(maps.Keys(byTopic)) {
		slices.Sort(byTopic[t])
		parts = append(parts, t+":"+commas(byTopic[t]))
	}
	return cmp.Or(strings.Join(parts, ";"), "-")
}

func (c *call) printMembers(g group) {
	width := [5]int{15, 15, 17, 15, 15}
	current, target, instances := 20, 20, false
	shown := c.warn(g, len(g.members))
	for _, m := range g.members {
		if !shown {
			break
		}
		for i, cell := range []string{g.id, m.id, m.instance, m.host, m.client} {
			width[i] = max(width[i], len(cell))
		}
		instances = instances || m.instance != ""
		current, target = max(current, len(assignment(m.assigned))), max(target, len(assignment(m.target)))
	}
	upgrade := g.hasClassic && g.hasConsumer
	row := func(cells [5]string, count, epoch, assigned, targetEpoch, aim, upgraded string) {
		for i, cell := range cells {
			if i != 2 || instances {
				c.printf("%-*s ", width[i], cell)
			}
		}
		c.printf("%-15s ", count)
		if c.has("verbose") {
			c.printf("%-15s %-*s %-15s %-*s", epoch, current, assigned, targetEpoch, target, aim)
			if upgrade {
				c.printf(" %s", upgraded)
			}
		}
		c.printf("\n")
	}
	c.printf("\n")
	row([5]string{"GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID"}, "#PARTITIONS", "CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED")
	for _, m := range g.members {
		row([5]string{g.id, m.id, m.instance, m.host, m.client}, strconv.Itoa(len(m.assigned)), m.epoch, assignment(m.assigned), m.targetEpoch, assignment(m.target), m.upgraded)
	}
}

func (c *call) printState(g group) {
	if !c.warn(g, 1) {
		return
	}
	wide, name := max(25, len(g.coordinator)), max(15, len(g.id))
	row := func(id, coordinator, strategy, state, epoch, target, members string) {
		c.printf("\n%-*s %-*s %-20s %-20s ", name, id, wide, coordinator, strategy, state)
		if c.has("verbose") {
			c.printf("%-15s %-25s ", epoch, target)
		}
		c.printf("%s", members)
	}
	row("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS")
	row(g.id, g.coordinator, cmp.Or(g.assignor, "-"), g.state, g.epoch, g.targetEpoch, strconv.Itoa(len(g.members)))
	c.printf("\n")
}
