package parity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupStates sends every request of groups in every state a group can be seen in, from every kind of member, at the newest versions.
func groupStates(c *conversation) {
	newest := stateVersions{join: 9, sync: 5, heartbeat: 4, leave: 5, commit: 9, fetch: 9, describe: 6}
	c.statesOfGroups("states-new", newest)
}

// groupStatesOld is the same at versions whose members have no instance ids and need no member id to join.
func groupStatesOld(c *conversation) {
	c.statesOfGroups("states-old", stateVersions{join: 1, sync: 0, heartbeat: 0, leave: 0, commit: 2, fetch: 1, describe: 0})
}

// groupStatesOldest is the same at the versions that Apache Kafka dropped in 4.0, where there are such.
func groupStatesOldest(c *conversation) {
	c.every = []option{minISRUnset}
	c.statesOfGroups("states-oldest", stateVersions{join: 0, sync: 1, heartbeat: 1, leave: 1, commit: 1, fetch: 1, describe: 2})
}

// stateVersions are the versions that a run of the table uses.
type stateVersions struct{ join, sync, heartbeat, leave, commit, fetch, describe int16 }

// groupIn is a group that was brought into a state. Its dynamic leader and its static member ("s") are both there, or were.
type groupIn struct {
	group          string
	leader, static string
	pending        string // an id that was given and not used; "" where there is none
	generation     int32
	rejoin         *pending // the leader's JoinGroup where it is parked
}

// arrangedStates bring a new group into each state.
var arrangedStates = []struct {
	name    string
	arrange func(c *conversation, group string) groupIn
}{
	{"none", func(_ *conversation, group string) groupIn {
		return groupIn{group: group, leader: "was-here", static: "s-was-here", pending: "never-here", generation: 1}
	}},
	{"deleted", func(c *conversation, group string) groupIn {
		in := c.emptied(group)
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = 2, []string{group}
		ask[*kmsg.DeleteGroupsResponse](c.dial("admin"), "delete", req)
		return in
	}},
	{"simple", func(c *conversation, group string) groupIn {
		ask[*kmsg.OffsetCommitResponse](c.dial("simple"), "simple", commit(7, group, -1, "", "simple", [16]byte{}, 1))
		return groupIn{group: group, leader: "was-here", static: "s-was-here", pending: "never-here", generation: 0}
	}},
	{"Empty", func(c *conversation, group string) groupIn {
		in := c.emptied(group)
		in.pending = c.pendingIn(group)
		return in
	}},
	{"PreparingRebalance", func(c *conversation, group string) groupIn {
		in := c.stableGroup(group)
		in.rejoin = c.dial("leader").send("the leader rejoins", join(7, group, in.leader, nil, "range", "roundrobin"), groupsSorted)
		in.rejoin.client.parked("the leader waits")
		in.pending = c.pendingIn(group)
		return in
	}},
	{"CompletingRebalance", func(c *conversation, group string) groupIn {
		in := c.completingGroup(group)
		in.pending = c.pendingIn(group)
		return in
	}},
	{"Stable", func(c *conversation, group string) groupIn {
		in := c.stableGroup(group)
		in.pending = c.pendingIn(group)
		return in
	}},
}

// pendingIn is the id that a new member of the group is given.
func (c *conversation) pendingIn(group string) string {
	return ask[*kmsg.JoinGroupResponse](c.dial("pending"), "an id", join(4, group, "", nil, "range", "roundrobin")).MemberID
}

// completingGroup joins a dynamic leader, then a static member.
func (c *conversation) completingGroup(group string) groupIn {
	leader, static := c.dial("leader"), c.dial("static")
	id := ask[*kmsg.JoinGroupResponse](leader, "an id", join(7, group, "", nil, "range", "roundrobin")).MemberID
	alone := ask[*kmsg.JoinGroupResponse](leader, "join", join(7, group, id, nil, "range", "roundrobin"))
	second := static.send("join", join(7, group, "", ptr("s"), "range", "roundrobin"), groupsSorted)
	until(leader, "a rebalance", heartbeat(4, group, alone.Generation, id, nil), func(r *kmsg.HeartbeatResponse) bool { return r.ErrorCode == 27 })
	in := ask[*kmsg.JoinGroupResponse](leader, "join again", join(7, group, id, nil, "range", "roundrobin"), groupsSorted)
	return groupIn{group: group, leader: id, static: await[*kmsg.JoinGroupResponse](second).MemberID, generation: in.Generation}
}

func (c *conversation) stableGroup(group string) groupIn {
	in := c.completingGroup(group)
	following := c.dial("static").send("sync", syncRequest(5, group, in.generation, in.static, ptr("s")))
	ask[*kmsg.SyncGroupResponse](c.dial("leader"), "sync", syncRequest(5, group, in.generation, in.leader, nil, in.leader, in.static))
	await[*kmsg.SyncGroupResponse](following)
	return in
}

// emptied is a group that both members have left.
func (c *conversation) emptied(group string) groupIn {
	in := c.stableGroup(group)
	req := leave(5, group, in.leader, nil)
	req.Members = append(req.Members, leave(5, group, "", ptr("s")).Members...)
	ask[*kmsg.LeaveGroupResponse](c.dial("leader"), "both leave", req)
	in.generation++
	return in
}

// identity is who a request says that it comes from.
type identity struct {
	name       string
	member     string
	instance   *string
	generation int32
}

// identities are the kinds of members, right and wrong, with the group's generation.
func (in groupIn) identities(instances bool) []identity {
	all := []identity{
		{"a ghost", "ghost", nil, in.generation},
		{"nobody", "", nil, in.generation},
		{"the pending member", in.pending, nil, in.generation},
		{"the leader", in.leader, nil, in.generation},
		{"the static member without its instance", in.static, nil, in.generation},
	}
	if !instances {
		return all
	}
	return append(all,
		identity{"the static member", in.static, ptr("s"), in.generation},
		identity{"a fenced member", "ghost", ptr("s"), in.generation},
		identity{"the leader with the other's instance", in.leader, ptr("s"), in.generation},
		identity{"an unknown instance", in.static, ptr("nobody"), in.generation},
		identity{"an instance without a member", "", ptr("s"), in.generation},
		identity{"an unknown instance without a member", "", ptr("nobody"), in.generation},
	)
}

// statesOfGroups is the table.
func (c *conversation) statesOfGroups(prefix string, v stateVersions) {
	c.dial("parity").createTopic(prefix, 1)
	c.dial("parity").coordinated(prefix)
	var scripts []func(*conversation)
	for _, s := range arrangedStates {
		scripts = append(scripts,
			func(c *conversation) { c.askEverything(prefix, s.name, s.arrange(c, prefix+"-asked-"+s.name), v) },
			func(c *conversation) { c.joinAs(prefix+"-join", s.name, s.arrange, v) },
			func(c *conversation) { c.leaveAs(prefix+"-leave", s.name, s.arrange, v) })
	}
	c.together(scripts...)
}

// askEverything sends what leaves the group in its state, and in the end what tells and deletes.
func (c *conversation) askEverything(topic, state string, in groupIn, v stateVersions) {
	cl, group := c.dial("asks"), in.group
	for _, id := range in.identities(v.join >= 5) {
		for _, generation := range []int32{id.generation, id.generation + 1, -1} {
			label := fmt.Sprintf("%s, %s, generation %+d", state, id.name, generation-in.generation)
			if generation == -1 {
				label = fmt.Sprintf("%s, %s, no generation", state, id.name)
			}
			ask[*kmsg.HeartbeatResponse](cl, label, heartbeat(v.heartbeat, group, generation, id.member, id.instance))
			if state != "CompletingRebalance" || generation != in.generation { // a member that waits is a test of its own
				ask[*kmsg.SyncGroupResponse](cl, label, syncRequest(v.sync, group, generation, id.member, id.instance))
			}
			req := commit(v.commit, group+"-of-commits", generation, id.member, topic, [16]byte{}, int64(generation))
			if state != "none" && state != "deleted" {
				req.Group = group
			}
			req.InstanceID = id.instance
			if v.commit < 7 && id.instance != nil {
				continue
			}
			ask[*kmsg.OffsetCommitResponse](cl, label, req)
		}
	}
	other := syncRequest(5, group, in.generation, in.leader, nil)
	other.Protocol = ptr("roundrobin")
	ask[*kmsg.SyncGroupResponse](cl, state+", another protocol", other)
	ask[*kmsg.DescribeGroupsResponse](cl, state, describeGroups(v.describe, group), groupsSorted)
	all := []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{0}}}
	ask[*kmsg.OffsetFetchResponse](cl, state, offsetFetch(v.fetch, group, all))
	for _, name := range []string{"times", topic} { // the members subscribe to the first
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic, t.Partitions = name, []kmsg.OffsetDeleteRequestTopicPartition{{}}
		req.Topics = append(req.Topics, t)
		ask[*kmsg.OffsetDeleteResponse](cl, state+" "+name, req)
	}
	ask[*kmsg.OffsetFetchResponse](cl, state+", deleted", offsetFetch(v.fetch, group, all))
	if state == "CompletingRebalance" {
		follower := c.dial("static").send("the static member waits", syncRequest(5, group, in.generation, in.static, ptr("s")))
		follower.client.parked("the static member")
		ask[*kmsg.SyncGroupResponse](cl, "the leader", syncRequest(v.sync, group, in.generation, in.leader, nil, in.leader, "ghost"))
		await[*kmsg.SyncGroupResponse](follower)
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 2, []string{group}
	ask[*kmsg.DeleteGroupsResponse](cl, state, req)
	ask[*kmsg.DescribeGroupsResponse](cl, state+", after the attempt to delete it", describeGroups(v.describe, group), groupsSorted)
}

// joinAs has everybody join a group of its own.
func (c *conversation) joinAs(prefix, state string, arrange func(*conversation, string) groupIn, v stateVersions) {
	probe := groupIn{generation: 1}
	for i, who := range probe.identities(v.join >= 5) {
		for j, names := range [][]string{{"range", "roundrobin"}, {"roundrobin"}, {"sticky"}} {
			if j == 2 && who.name != "the leader" && who.name != "nobody" {
				continue
			}
			in := arrange(c, fmt.Sprintf("%s-%s-%d-%d", prefix, state, i, j))
			id := in.identities(v.join >= 5)[i]
			label := fmt.Sprintf("%s, %s, %v", state, id.name, names)
			client := "joins"
			if id.instance != nil && *id.instance == "s" {
				client = "static" // Kafka goes on to describe the first client of an instance, Ottla the one that came last
			}
			c.dial(client).send(label, join(v.join, in.group, id.member, id.instance, names...), groupsSorted).settle()
			if id.name == "the leader" {
				in.rejoin = nil // Kafka never answers a JoinGroup whose member sends another; Ottla tells it to join again
			}
			c.afterwards(label, in, v)
		}
	}
}

// leaveAs has everybody leave a group of its own.
func (c *conversation) leaveAs(prefix, state string, arrange func(*conversation, string) groupIn, v stateVersions) {
	probe := groupIn{generation: 1}
	for i := range probe.identities(v.leave >= 3) {
		in := arrange(c, fmt.Sprintf("%s-%s-%d", prefix, state, i))
		id := in.identities(v.leave >= 3)[i]
		label := state + ", " + id.name
		ask[*kmsg.LeaveGroupResponse](c.dial("leaves"), label, leave(v.leave, in.group, id.member, id.instance))
		c.afterwards(label, in, v)
	}
}

// afterwards records what a request did to the group.
func (c *conversation) afterwards(label string, in groupIn, v stateVersions) {
	if in.rejoin != nil {
		in.rejoin.label = "JoinGroup: the leader, after: " + label
		in.rejoin.settle()
	}
	cl := c.dial("after")
	label = "after: " + label
	ask[*kmsg.HeartbeatResponse](cl, label+", the leader", heartbeat(v.heartbeat, in.group, in.generation, in.leader, nil))
	ask[*kmsg.HeartbeatResponse](cl, label+", the static member", heartbeat(4, in.group, in.generation, in.static, ptr("s")))
	if in.leader != "was-here" { // Kafka shows a new group once it is on disk
		ask[*kmsg.DescribeGroupsResponse](cl, label, describeGroups(5, in.group), groupsSorted)
	}
}

// settleLimit is how long a request has to be without an answer to be called parked: more than the initial delay of a group.
const settleLimit = 700 * time.Millisecond

// settle records the answer, or that there is none for a while.
func (p *pending) settle() {
	if p.client.unanswered(max(settleLimit, p.client.quiet)) {
		p.client.note(p.label, "parked")
		return
	}
	p.wait()
}

// unanswered reports whether no answer comes in time; one that comes is left for the next read.
func (cl *client) unanswered(limit time.Duration) bool {
	_ = cl.conn.SetReadDeadline(time.Now().Add(limit))
	var b [1]byte
	n, err := cl.conn.Read(b[:])
	cl.conn = peeked{cl.conn, io.MultiReader(bytes.NewReader(b[:n]), cl.conn)}
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// peeked is a connection whose first bytes were read already.
type peeked struct {
	net.Conn
	all io.Reader
}

// Read implements net.Conn.
func (p peeked) Read(b []byte) (int, error) { return p.all.Read(b) }

// together runs scripts side by side, each a conversation of its own, and records their steps one after the other.
func (c *conversation) together(scripts ...func(*conversation)) {
	runs := make([]conversation, len(scripts))
	var done sync.WaitGroup
	for i, script := range scripts {
		runs[i] = conversation{server: c.server, now: c.now, quiet: c.quiet, every: c.every}
		done.Go(func() { runs[i].run(script) })
	}
	done.Wait()
	for i := range runs {
		c.steps = append(c.steps, runs[i].steps...)
	}
}
