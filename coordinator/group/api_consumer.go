package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// ConsumerGroupHeartbeat answers when what it changed is durable (KIP-848).
func (c *Coordinator) ConsumerGroupHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest, from Client) *runtime.Future[*kmsg.ConsumerGroupHeartbeatResponse] {
	future := runtime.NewFuture[*kmsg.ConsumerGroupHeartbeatResponse]()
	version := req.Version
	fail := func(err error) {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.Version = version
		resp.ErrorCode, resp.ErrorMessage = int16(runtime.CodeFor(err)), protocol.MessageOf(err)
		future.Complete(resp)
	}
	if err := c.settings.checkConsumerHeartbeat(req); err != nil {
		fail(err)
		return future
	}
	heartbeat := &consumerHeartbeat{
		ConsumerGroupHeartbeatRequest: detach(req), from: Client{ID: strings.Clone(from.ID), Host: strings.Clone(from.Host)},
	}
	c.runtime.WriteHere(c.PartitionFor(heartbeat.Group), func(s *shard, env runtime.Env) runtime.Result {
		resp, records, err := s.consumerHeartbeat(env, heartbeat)
		if err != nil {
			fail(err)
			return runtime.Result{}
		}
		return runtime.Result{Records: records, Then: func(env runtime.Env, err error) {
			if err != nil {
				s.keepSessions(env, heartbeat.Group)
				fail(err)
				return
			}
			future.Complete(resp)
		}}
	}, fail)
	return future
}

// checkConsumerHeartbeat decides what can be decided of a heartbeat without the group.
func (s *settings) checkConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) error {
	invalid := func(message string) error { return protocol.Errorf(protocol.InvalidRequest, "%s", message) }
	blank := func(v *string) bool { return v != nil && strings.Trim(*v, javaBlanks) == "" }
	switch {
	case (req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == leaveEpoch) && blank(&req.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(&req.Group):
		return invalid("GroupId can't be empty.")
	case blank(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case blank(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == joinEpoch && req.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case req.MemberEpoch == joinEpoch && (req.Topics == nil || len(req.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case req.MemberEpoch == joinEpoch && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.MemberEpoch == staticLeaveEpoch && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < staticLeaveEpoch:
		return invalid("MemberEpoch is invalid.")
	case req.ServerAssignor != nil && !slices.Contains(s.assignors, *req.ServerAssignor):
		return protocol.Errorf(protocol.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*req.ServerAssignor, strings.Join(s.assignors, ", "))
	default:
		return nil
	}
}

// javaBlanks are the characters that Java's String.trim takes away: all up to the space.
const javaBlanks = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

// ConsumerGroupDescribe describes consumer groups in the order of the request, as far as they are durable.
func (c *Coordinator) ConsumerGroupDescribe(req *kmsg.ConsumerGroupDescribeRequest) *runtime.Future[*kmsg.ConsumerGroupDescribeResponse] {
	future := runtime.NewFuture[*kmsg.ConsumerGroupDescribeResponse]()
	copied := detach(req)
	all := runtime.Gather(len(copied.Groups), func(groups []kmsg.ConsumerGroupDescribeResponseGroup) {
		resp := copied.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		resp.Groups = groups
		future.Complete(resp)
	})
	for i, id := range copied.Groups {
		fail := func(err error) {
			resp := kmsg.NewConsumerGroupDescribeResponseGroup()
			resp.Group, resp.ErrorCode = id, int16(runtime.CodeFor(err))
			all.Set(i, resp)
		}
		if id == "" {
			fail(protocol.InvalidGroupID)
			continue
		}
		c.runtime.WriteHere(c.PartitionFor(id), func(s *shard, env runtime.Env) runtime.Result {
			resp := s.describeConsumer(env, id)
			return runtime.Result{Then: func(_ runtime.Env, err error) {
				if err != nil {
					fail(err)
					return
				}
				all.Set(i, resp)
			}}
		}, fail)
	}
	return future
}
