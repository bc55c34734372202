package group

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// simModern speaks the consumer protocol.
type simModern struct {
	m      *simMember
	wire   *modern
	resend bool // the last answer was lost: the next heartbeat says everything
	beatAt time.Time
	topics []string
	regex  *string
}

func (s *sim) newModern(m *simMember) *simModern {
	p := &simModern{m: m}
	switch s.r.IntN(3) {
	case 0:
		p.topics = []string{"t0", "t1"}
	case 1:
		p.topics = []string{"t1", "t2", "t9"}
	default:
		p.regex = kmsg.StringPtr("t[0-3]")
	}
	p.reset()
	return p
}

func (p *simModern) reset() {
	p.wire = p.m.sim.h.modern(p.topics...)
	p.wire.regex, p.wire.instance = p.regex, p.m.static
	p.resend, p.beatAt = false, time.Time{}
}

func (p *simModern) owns() map[protocol.UUID][]int32 { return p.wire.has }

func (p *simModern) identity() (string, int32) { return p.wire.id, p.wire.epoch }

func (p *simModern) ownsSince() int32 { return p.wire.epoch }

func (p *simModern) act() {
	w := p.wire
	told := w.epoch > 0 && !p.resend && equalTargets(w.has, w.told)
	switch {
	case !told || !time.Now().Before(p.beatAt):
		p.beat()
	case w.epoch > 0:
		p.m.consume()
	}
}

func (p *simModern) beat() {
	w := p.wire
	req := w.request()
	if p.resend && w.epoch > 0 {
		req.RebalanceTimeoutMillis = int32(simRebalance.Milliseconds())
		req.SubscribedTopicNames, req.SubscribedTopicRegex = w.topics, w.regex
		if req.SubscribedTopicNames == nil && w.regex == nil {
			req.SubscribedTopicNames = []string{}
		}
	}
	if p.resend && req.Topics == nil {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for id, partitions := range w.has {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: partitions})
		}
	}
	if w.epoch == 0 {
		p.m.lostAll()
		req.RebalanceTimeoutMillis = int32(simRebalance.Milliseconds())
	}
	told := maps.Clone(w.has)
	p.send(req, func(resp *kmsg.ConsumerGroupHeartbeatResponse) { p.take(resp, told) }, func() { p.resend = true })
}

func (p *simModern) send(req *kmsg.ConsumerGroupHeartbeatRequest, handle func(*kmsg.ConsumerGroupHeartbeatResponse), lost func()) {
	do := func() *runtime.Future[*kmsg.ConsumerGroupHeartbeatResponse] {
		return p.m.sim.h.c.ConsumerGroupHeartbeat(req, Client{ID: p.m.name, Host: "/127.0.0.1"})
	}
	simRequest(p.m, simTimeout, do, handle, lost)
}

func (p *simModern) take(resp *kmsg.ConsumerGroupHeartbeatResponse, told map[protocol.UUID][]int32) {
	s, w := p.m.sim, p.wire
	before := w.epoch
	switch code := w.take(resp, told); code {
	case protocol.None:
		p.resend, p.beatAt = false, time.Now().Add(time.Duration(resp.HeartbeatIntervalMillis)*time.Millisecond)
		if w.epoch < before {
			s.fail("%s: the epoch goes back from %d to %d", p.m.name, before, w.epoch)
		}
		if w.epoch != before || resp.Assignment != nil {
			s.note("%s %s is in epoch %d with %v", p.m.name, w.id, w.epoch, p.m.keys())
			p.m.assigned()
		}
	case protocol.FencedMemberEpoch, protocol.UnknownMemberID, protocol.GroupIDNotFound:
		s.note("%s %s is fenced: %v", p.m.name, w.id, code)
		w.epoch, w.has = 0, nil
		p.resend = false
		p.m.lostAll()
		p.m.pause(s.upTo(time.Second))
	case protocol.FencedInstanceID, protocol.UnreleasedInstanceID:
		s.note("%s %s: %v", p.m.name, w.id, code)
		p.m.lostAll()
		p.reset()
		p.m.pause(time.Second + s.upTo(4*time.Second))
	case protocol.NotCoordinator, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable:
		p.resend = true
		p.m.pause(100 * time.Millisecond)
	default:
		s.fail("%s: heartbeat: %v %s", p.m.name, code, w.message)
	}
}

// leave says that the member goes; a static one says that it will be back.
func (p *simModern) leave(then func()) {
	if p.wire.epoch == 0 {
		p.m.request++
		then()
		return
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = 1, testGroup, p.wire.id, p.m.static
	req.MemberEpoch = leaveEpoch
	if p.m.static != nil {
		req.MemberEpoch = staticLeaveEpoch
	}
	p.wire.has = nil
	p.send(req, func(*kmsg.ConsumerGroupHeartbeatResponse) { then() }, then)
}
