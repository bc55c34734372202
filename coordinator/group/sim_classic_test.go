package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// simClassic speaks the classic protocol with the consumer protocol embedded. An eager one gives everything up before it joins; a cooperative one only what it
// is not assigned any more, and joins again then.
type simClassic struct {
	m           *simMember
	cooperative bool
	topics      []string
	memberID    string
	generation  int32
	phase       classicPhase
	leads       *kmsg.JoinGroupResponse // the answer that says so
	seen        int                     // partitions that there were when it assigned last
	beatAt      time.Time
	has         map[protocol.UUID][]int32
	since       int32 // the generation that it was assigned it in
}

type classicPhase uint8

const (
	joinPhase classicPhase = iota
	syncPhase
	stablePhase
)

func (s *sim) newClassic(m *simMember) *simClassic {
	c := &simClassic{m: m, cooperative: s.r.IntN(2) == 0, topics: []string{"t0", "t1"}}
	if s.r.IntN(2) == 0 {
		c.topics = []string{"t0", "t2"}
	}
	c.reset()
	return c
}

func (c *simClassic) reset() {
	c.memberID, c.generation, c.phase, c.has, c.leads = "", -1, joinPhase, nil, nil
}

func (c *simClassic) owns() map[protocol.UUID][]int32 { return c.has }

func (c *simClassic) identity() (string, int32) { return c.memberID, c.generation }

func (c *simClassic) ownsSince() int32 { return c.since }

func (c *simClassic) act() {
	switch c.phase {
	case joinPhase:
		c.join()
	case syncPhase:
		c.sync()
	default:
		switch {
		case c.leads != nil && c.seen != c.partitions():
			c.rejoin()
			c.join()
		case !time.Now().Before(c.beatAt):
			c.beat()
		default:
			c.m.consume()
		}
	}
}

// rejoin begins a new rebalance on the member's side.
func (c *simClassic) rejoin() {
	c.phase = joinPhase
	if !c.cooperative {
		c.has = nil
		c.m.lostAll()
	}
}

// lost is what the member does when it is no longer in the generation that it thought.
func (c *simClassic) lost() {
	c.phase, c.has, c.generation, c.leads = joinPhase, nil, -1, nil
	c.m.lostAll()
}

// failed does what an error asks for.
func (c *simClassic) failed(what string, code protocol.Code) {
	s := c.m.sim
	s.note("%s %s: %s: %v", c.m.name, c.memberID, what, code)
	switch code {
	case protocol.UnknownMemberID:
		c.lost()
		c.memberID = ""
	case protocol.IllegalGeneration:
		c.lost()
	case protocol.RebalanceInProgress:
		c.rejoin()
	case protocol.FencedInstanceID:
		c.lost()
		c.reset()
		c.m.pause(time.Second + s.upTo(4*time.Second))
	case protocol.NotCoordinator, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable:
		c.m.pause(100 * time.Millisecond)
	default:
		s.fail("%s: %s: %v", c.m.name, what, code)
	}
}

func (c *simClassic) subscription() []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.Generation = 3, c.topics, c.generation
	for id, partitions := range c.has {
		m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: c.m.sim.h.image.TopicByID(id).Name, Partitions: partitions})
	}
	return m.AppendTo(nil)
}

func (c *simClassic) join() {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = 9, testGroup, c.memberID, c.m.static
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, int32(simRebalance.Milliseconds())
	req.ProtocolType = consumerProtocolType
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: c.subscription()}}
	do := func() *runtime.Future[*kmsg.JoinGroupResponse] {
		return c.m.sim.h.c.JoinGroup(req, Client{ID: c.m.name, Host: "/127.0.0.1"})
	}
	simRequest(c.m, simRebalance+5*time.Second, do, c.joined, func() {})
}

func (c *simClassic) joined(resp *kmsg.JoinGroupResponse) {
	switch code := protocol.Code(resp.ErrorCode); code {
	case protocol.None:
		c.memberID, c.generation, c.phase, c.leads = resp.MemberID, resp.Generation, syncPhase, nil
		if resp.LeaderID == resp.MemberID {
			c.leads = resp
		}
	case protocol.MemberIDRequired:
		c.memberID = resp.MemberID
	default:
		c.failed("JoinGroup", code)
	}
}

func (c *simClassic) sync() {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 5, testGroup, c.memberID, c.m.static, c.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr(consumerProtocolType), kmsg.StringPtr("range")
	if c.leads != nil && !c.leads.SkipAssignment {
		req.GroupAssignment = c.assign()
	}
	do := func() *runtime.Future[*kmsg.SyncGroupResponse] { return c.m.sim.h.c.SyncGroup(req) }
	simRequest(c.m, simTimeout+simRebalance, do, c.synced, func() {})
}

func (c *simClassic) synced(resp *kmsg.SyncGroupResponse) {
	if code := protocol.Code(resp.ErrorCode); code != protocol.None {
		c.failed("SyncGroup", code)
		return
	}
	before := c.has
	c.has = map[protocol.UUID][]int32{}
	for topic, partitions := range assignedTo(c.m.sim.h.t, resp.MemberAssignment) {
		c.has[c.m.sim.h.image.Topic(topic).ID] = partitions
	}
	c.phase, c.since, c.beatAt = stablePhase, c.generation, time.Now().Add(3*time.Second)
	c.m.sim.note("%s %s is in generation %d with %v", c.m.name, c.memberID, c.generation, c.m.keys())
	c.m.assigned()
	if !c.cooperative {
		return
	}
	for id, partitions := range before {
		for _, p := range partitions {
			if !slices.Contains(c.has[id], p) { // given up: it can be assigned to somebody else now
				c.rejoin()
				return
			}
		}
	}
}

func (c *simClassic) beat() {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, testGroup, c.memberID, c.m.static, c.generation
	c.beatAt = time.Now().Add(3 * time.Second)
	do := func() *runtime.Future[*kmsg.HeartbeatResponse] { return c.m.sim.h.c.Heartbeat(req) }
	simRequest(c.m, simTimeout, do, func(resp *kmsg.HeartbeatResponse) {
		if code := protocol.Code(resp.ErrorCode); code != protocol.None {
			c.failed("Heartbeat", code)
		}
	}, func() { c.beatAt = time.Now() })
}

// leave says that the member goes; a static one just goes.
func (c *simClassic) leave(then func()) {
	if c.memberID == "" || c.m.static != nil {
		c.m.request++
		then()
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, testGroup
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID}}
	c.has = nil
	do := func() *runtime.Future[*kmsg.LeaveGroupResponse] { return c.m.sim.h.c.LeaveGroup(req) }
	simRequest(c.m, simTimeout, do, func(*kmsg.LeaveGroupResponse) { then() }, then)
}

// partitions counts those of all topics.
func (c *simClassic) partitions() (n int) {
	for t := range c.m.sim.h.image.Topics() {
		n += len(t.Partitions)
	}
	return n
}

// assign is the leader's part: round robin over the subscribers of each topic. What another member still has waits until that one has given it
// up.
func (c *simClassic) assign() []kmsg.SyncGroupRequestGroupAssignment {
	c.seen = c.partitions()
	type part struct {
		topic     string
		partition int32
	}
	subscribers, owner := map[string][]string{}, map[part]string{}
	for _, m := range c.leads.Members {
		s, err := parseSubscription(m.ProtocolMetadata)
		if err != nil {
			c.m.sim.fail("%v", err)
			return nil
		}
		for _, t := range s.Topics {
			subscribers[t] = append(subscribers[t], m.MemberID)
		}
		for _, own := range s.OwnedPartitions {
			for _, p := range own.Partitions {
				owner[part{own.Topic, p}] = m.MemberID
			}
		}
	}
	assigned := map[string]map[string][]int32{}
	for _, m := range c.leads.Members {
		assigned[m.MemberID] = map[string][]int32{}
	}
	for _, name := range slices.Sorted(maps.Keys(subscribers)) {
		t := c.m.sim.h.image.Topic(name)
		if t == nil {
			continue
		}
		members := slices.Sorted(slices.Values(subscribers[name]))
		for p := range int32(len(t.Partitions)) {
			to := members[int(p)%len(members)]
			if has, ok := owner[part{name, p}]; !ok || has == to {
				assigned[to][name] = append(assigned[to][name], p)
			}
		}
	}
	var all []kmsg.SyncGroupRequestGroupAssignment
	for _, m := range c.leads.Members {
		var topics []kmsg.ConsumerMemberAssignmentTopic
		for t, partitions := range assigned[m.MemberID] {
			topics = append(topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t, Partitions: partitions})
		}
		all = append(all, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: assignmentBytes(3, topics)})
	}
	return all
}
