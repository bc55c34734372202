package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// sync handles SyncGroup. Members are parked until the leader's assignment is durable.
func (s *shard) sync(env runtime.Env, req *kmsg.SyncGroupRequest, reply *syncReply) runtime.Result {
	if g, ok := s.groups[req.Group].(*consumerGroup); ok {
		return s.syncConsumer(env, g, req, reply)
	}
	g, ok := s.classic(req.Group)
	if !ok || g.state == empty {
		reply.fail(protocol.UnknownMemberID)
		return runtime.Result{}
	}
	if err := g.checkSync(req); err != nil {
		reply.fail(protocol.CodeOf(err))
		return runtime.Result{}
	}
	m := g.byID[req.MemberID]
	switch g.state {
	case preparingRebalance:
		reply.fail(protocol.RebalanceInProgress)
	case completingRebalance:
		m.parkSync(reply)
		s.synced(env, g, m.id)
		if g.isLeader(m.id) {
			return s.writeAssignment(g, req)
		}
	case stable:
		s.synced(env, g, m.id)
		reply.answer(g.synced(m))
	default:
		reply.fail(protocol.CoordinatorNotAvailable)
	}
	return runtime.Result{}
}

func (g *classicGroup) checkSync(req *kmsg.SyncGroupRequest) error {
	if g.state == dead {
		return protocol.CoordinatorNotAvailable
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	if req.Generation != g.generation {
		return protocol.IllegalGeneration
	}
	if differs(req.ProtocolType, g.protocolTypeOrNil()) || differs(req.Protocol, g.protocolName) {
		return protocol.InconsistentGroupProtocol
	}
	return nil
}

// differs reports whether two names are both there and not the same.
func differs(a, b *string) bool { return a != nil && b != nil && *a != *b }

// writeAssignment writes the leader's assignment; once it is durable every member gets its part. Members that it leaves out get nothing.
func (s *shard) writeAssignment(g *classicGroup, req *kmsg.SyncGroupRequest) runtime.Result {
	assignment := make(map[string][]byte, len(req.GroupAssignment))
	for _, a := range req.GroupAssignment {
		assignment[a.MemberID] = a.MemberAssignment
	}
	generation := g.generation
	return runtime.Result{
		Records: []runtime.Record{groupRecord(g, func(m *member) []byte { return assignment[m.id] })},
		Applied: true,
		Then: func(env runtime.Env, err error) {
			if g.state != completingRebalance || g.generation != generation {
				return // another rebalance began meanwhile, and has answered
			}
			if err != nil {
				s.logger.Warn("could not write an assignment", zap.String("group", g.id), zap.Error(err))
				s.resetAssignments(env, g, runtime.CodeFor(err))
				s.rebalanceOrComplete(env, g, "the assignment could not be written", "")
				return
			}
			for _, m := range g.members {
				m.assignment = assignment[m.id]
			}
			s.propagate(env, g, protocol.None)
			g.transition(stable, env.Now)
			s.countClassicRebalance(g)
		},
	}
}
