package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// leave handles LeaveGroup. Each member has its own error; the error is for the whole group.
func (s *shard) leave(env runtime.Env, req *kmsg.LeaveGroupRequest) ([]kmsg.LeaveGroupResponseMember, runtime.Result, error) {
	if g, ok := s.groups[req.Group].(*consumerGroup); ok {
		return s.leaveConsumer(env, g, req)
	}
	g, ok := s.classic(req.Group)
	if !ok {
		return nil, runtime.Result{}, protocol.UnknownMemberID
	}
	if g.state == dead {
		return nil, runtime.Result{}, protocol.CoordinatorNotAvailable
	}
	responses := make([]kmsg.LeaveGroupResponseMember, 0, len(req.Members))
	left := 0
	for i := range req.Members {
		r := &req.Members[i]
		err := s.leaveMember(env, g, r)
		if err == nil {
			left++
		}
		responses = append(responses, kmsg.LeaveGroupResponseMember{
			MemberID: r.MemberID, InstanceID: r.InstanceID, ErrorCode: int16(protocol.CodeOf(err)),
		})
	}
	if left == 0 {
		return responses, runtime.Result{}, nil
	}
	switch g.state {
	case stable, completingRebalance:
		return responses, s.rebalanceOrComplete(env, g, "members left", ""), nil
	case preparingRebalance:
		return responses, s.completeIfAllJoined(env, g), nil
	default:
		return responses, runtime.Result{}, nil
	}
}

// leaveMember takes one member out. An administrator names a static member by its instance id alone.
func (s *shard) leaveMember(env runtime.Env, g *classicGroup, r *kmsg.LeaveGroupRequestMember) error {
	memberID := r.MemberID
	if memberID == "" {
		if r.InstanceID == nil {
			return protocol.UnknownMemberID
		}
		known, ok := g.staticID[*r.InstanceID]
		if !ok {
			return protocol.UnknownMemberID
		}
		memberID = known
	} else if _, pending := g.pendingJoin[memberID]; !pending {
		if err := g.check(memberID, r.InstanceID); err != nil {
			return err
		}
	}
	s.logger.Debug("a member left", zap.String("group", g.id), zap.String("member", memberID), zap.String("client_reason", deref(r.Reason)))
	env.Timers.Cancel(sessionKey(g, memberID))
	if m, ok := g.byID[memberID]; ok {
		g.failJoin(m, "", protocol.UnknownMemberID)
	}
	g.remove(memberID)
	return nil
}
