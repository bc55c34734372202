package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// mandatoryProtocolVersion is the first SyncGroup version that must name the protocol (KIP-559).
const mandatoryProtocolVersion = 5

// JoinGroup answers when the join phase ends, or at once with an error or an id for a new member.
func (c *Coordinator) JoinGroup(req *kmsg.JoinGroupRequest, from Client) *runtime.Future[*kmsg.JoinGroupResponse] {
	future := runtime.NewFuture[*kmsg.JoinGroupResponse]()
	reply := &joinReply{future: future, version: req.Version}
	switch {
	case req.Group == "":
		reply.fail(strings.Clone(req.MemberID), protocol.InvalidGroupID)
		return future
	case req.SessionTimeoutMillis < c.settings.minSessionTimeout || req.SessionTimeoutMillis > c.settings.maxSessionTimeout:
		reply.fail(strings.Clone(req.MemberID), protocol.InvalidSessionTimeout)
		return future
	}
	copied := detach(req)
	if copied.Version == 0 {
		copied.RebalanceTimeoutMillis = copied.SessionTimeoutMillis
	}
	join := &joinRequest{
		JoinGroupRequest: copied, protocols: protocolsOf(copied), reply: reply,
		from: Client{ID: strings.Clone(from.ID), Host: strings.Clone(from.Host)},
	}
	c.runtime.WriteHere(c.PartitionFor(copied.Group), func(s *shard, env runtime.Env) runtime.Result {
		return s.join(env, join)
	}, func(err error) { reply.fail("", runtime.CodeFor(err)) })
	return future
}

// SyncGroup answers when the leader's assignment is durable.
func (c *Coordinator) SyncGroup(req *kmsg.SyncGroupRequest) *runtime.Future[*kmsg.SyncGroupResponse] {
	future := runtime.NewFuture[*kmsg.SyncGroupResponse]()
	reply := &syncReply{future: future, version: req.Version}
	switch {
	case req.Version >= mandatoryProtocolVersion && (req.ProtocolType == nil || req.Protocol == nil):
		reply.fail(protocol.InconsistentGroupProtocol)
		return future
	case req.Group == "":
		reply.fail(protocol.InvalidGroupID)
		return future
	}
	copied := detach(req)
	c.runtime.WriteHere(c.PartitionFor(copied.Group), func(s *shard, env runtime.Env) runtime.Result {
		return s.sync(env, copied, reply)
	}, func(err error) { reply.fail(runtime.CodeFor(err)) })
	return future
}

// Heartbeat keeps a member's session. While the group is being loaded every heartbeat is good, as in Kafka.
func (c *Coordinator) Heartbeat(req *kmsg.HeartbeatRequest) *runtime.Future[*kmsg.HeartbeatResponse] {
	future := runtime.NewFuture[*kmsg.HeartbeatResponse]()
	version := req.Version
	answer := func(code protocol.Code) {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.Version = version
		if code != protocol.CoordinatorLoadInProgress {
			resp.ErrorCode = int16(code)
		}
		future.Complete(resp)
	}
	if req.Group == "" {
		answer(protocol.InvalidGroupID)
		return future
	}
	copied := *req
	if version < 3 {
		copied.InstanceID = nil
	}
	c.runtime.WriteHere(c.PartitionFor(copied.Group), func(s *shard, env runtime.Env) runtime.Result {
		if err := s.heartbeat(env, &copied); err != nil {
			answer(runtime.CodeFor(err))
			return runtime.Result{}
		}
		return runtime.Result{Then: func(_ runtime.Env, err error) { answer(runtime.CodeFor(err)) }}
	}, func(err error) { answer(runtime.CodeFor(err)) })
	return future
}

// LeaveGroup takes members out of a group. Version 0 to 2 name one member, whose error is the response's own.
func (c *Coordinator) LeaveGroup(req *kmsg.LeaveGroupRequest) *runtime.Future[*kmsg.LeaveGroupResponse] {
	future := runtime.NewFuture[*kmsg.LeaveGroupResponse]()
	version := req.Version
	answer := func(members []kmsg.LeaveGroupResponseMember, code protocol.Code) {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.Version = version
		resp.ErrorCode = int16(code)
		switch {
		case version >= 3:
			resp.Members = members
		case code == protocol.None && len(members) > 0:
			resp.ErrorCode = members[0].ErrorCode
		}
		future.Complete(resp)
	}
	if req.Group == "" {
		answer(nil, protocol.InvalidGroupID)
		return future
	}
	copied := detach(req)
	if version < 3 {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = copied.MemberID
		copied.Members = []kmsg.LeaveGroupRequestMember{member}
	}
	c.runtime.WriteHere(c.PartitionFor(copied.Group), func(s *shard, env runtime.Env) runtime.Result {
		members, result, err := s.leave(env, copied)
		if protocol.CodeOf(err) == protocol.UnknownMemberID {
			members, err = unknownMembers(copied), nil
		}
		if err != nil {
			answer(nil, runtime.CodeFor(err))
			return runtime.Result{}
		}
		then := result.Then
		result.Then = func(env runtime.Env, err error) {
			if then != nil {
				then(env, err)
			}
			if err != nil {
				members = nil
			}
			answer(members, runtime.CodeFor(err))
		}
		return result
	}, func(err error) { answer(nil, runtime.CodeFor(err)) })
	return future
}

// unknownMembers is the answer where the group does not exist: nobody is a member.
func unknownMembers(req *kmsg.LeaveGroupRequest) []kmsg.LeaveGroupResponseMember {
	members := make([]kmsg.LeaveGroupResponseMember, 0, len(req.Members))
	for i := range req.Members {
		members = append(members, kmsg.LeaveGroupResponseMember{
			MemberID: req.Members[i].MemberID, InstanceID: req.Members[i].InstanceID, ErrorCode: int16(protocol.UnknownMemberID),
		})
	}
	return members
}
