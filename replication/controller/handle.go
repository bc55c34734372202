package controller

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Caller is who sent a forwarded request.
type Caller struct {
	ClientID  string
	Principal string
}

// Handle serves the requests that a controller serves: CreateTopics, DeleteTopics, CreatePartitions, IncrementalAlterConfigs, AlterConfigs,
// AllocateProducerIDs, BrokerRegistration, BrokerHeartbeat, UnregisterBroker and DescribeQuorum. The response has req's version.
// req is not read after it returns. The error is protocol.NotController where this node does not lead, or no longer knows whether a change
// came about, ctx's error when ctx ends, or protocol.UnsupportedVersion for any other request. Safe for concurrent use.
//
// New topics and partitions are answered when the brokers that lead them have applied them, so that a client can use them at once; at most
// the request's own timeout. What is committed by then is answered as done; else the answer is REQUEST_TIMED_OUT, and it may
// come about later.
func (c *Controller) Handle(ctx context.Context, req kmsg.Request, _ Caller) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(ctx, req)
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(ctx, req)
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(ctx, req)
	case *kmsg.IncrementalAlterConfigsRequest:
		return c.incrementalAlterConfigs(ctx, req)
	case *kmsg.AlterConfigsRequest:
		return c.alterConfigs(ctx, req)
	case *kmsg.UpdateFeaturesRequest:
		resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
		return c.updateFeatures(ctx, req, resp)
	case *kmsg.DescribeQuorumRequest:
		return c.describeQuorum(req)
	}
	return c.handleBroker(ctx, req)
}

// handleBroker serves what brokers send.
func (c *Controller) handleBroker(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.BrokerRegistrationRequest:
		resp := req.ResponseKind().(*kmsg.BrokerRegistrationResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return registerBroker(v, req, resp) })
		if err != nil {
			resp.BrokerEpoch = -1
		}
		return answer(resp, &resp.ErrorCode, err)
	case *kmsg.BrokerHeartbeatRequest:
		resp := req.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return heartbeat(v, req, resp) })
		return answer(resp, &resp.ErrorCode, err)
	case *kmsg.AllocateProducerIDsRequest:
		resp := req.ResponseKind().(*kmsg.AllocateProducerIDsResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return allocateProducerIDs(v, req, resp) })
		return answer(resp, &resp.ErrorCode, err)
	case *kmsg.UnregisterBrokerRequest:
		resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return unregisterBroker(v, req) })
		resp.ErrorMessage = protocol.MessageOf(err)
		return answer(resp, &resp.ErrorCode, err)
	}
	return nil, protocol.Errorf(protocol.UnsupportedVersion, "the controller does not serve API key %d", req.Key())
}

// decideFor runs a decision of which the caller learns nothing unless it is committed in time.
func (c *Controller) decideFor(ctx context.Context, decide func(*View) (Decision, error)) error {
	_, err := c.do(ctx, decide)
	return err
}

// answer sets the code of a response with one. What is no answer of the decision is the caller's to handle.
func answer[R kmsg.Response](resp R, code *int16, err error) (kmsg.Response, error) {
	if unanswered(err) {
		return nil, err
	}
	*code = int16(protocol.CodeOf(err))
	return resp, nil
}

// unanswered reports whether err says that there is no answer: nobody led, or nobody waits for it any more.
func unanswered(err error) bool {
	return errors.Is(err, protocol.NotController) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// timed runs a decision for at most the request's timeout. It returns timedOut if the records were not committed by then.
func (c *Controller) timed(ctx context.Context, millis int32, decide func(*View) (Decision, error)) (timedOut bool, err error) {
	limited, cancel := context.WithTimeout(ctx, time.Duration(max(millis, 0))*time.Millisecond)
	defer cancel()
	end := int64(0)
	decided, err := c.do(limited, func(v *View) (Decision, error) {
		d, err := decide(v)
		end = v.NextOffset + int64(len(d.Records))
		return d, err
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if decided && c.Image().Offset() >= end-1 {
			return false, nil
		}
		return true, nil
	}
	return false, err
}

func (c *Controller) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	timedOut, err := c.timed(ctx, req.TimeoutMillis, func(v *View) (Decision, error) { return createTopics(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	if err = orTimeout(timedOut, err); err == nil {
		return resp, nil
	}
	resp.Topics = nil
	for i := range req.Topics {
		out := newTopicResult(req.Topics[i].Topic)
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (c *Controller) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	timedOut, err := c.timed(ctx, req.TimeoutMillis, func(v *View) (Decision, error) { return deleteTopics(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	if err = orTimeout(timedOut, err); err == nil {
		return resp, nil
	}
	resp.Topics = nil
	n := naming{resp: resp}
	for _, name := range req.TopicNames {
		n.answer(&name, protocol.UUID{}, err)
	}
	for _, t := range req.Topics {
		n.answer(t.Topic, t.TopicID, err)
	}
	return resp, nil
}

func (c *Controller) createPartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	timedOut, err := c.timed(ctx, req.TimeoutMillis, func(v *View) (Decision, error) { return createPartitions(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	if err = orTimeout(timedOut, err); err == nil {
		return resp, nil
	}
	resp.Topics = nil
	for _, t := range req.Topics {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = strings.Clone(t.Topic)
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func orTimeout(timedOut bool, err error) error {
	if timedOut {
		return protocol.RequestTimedOut
	}
	return err
}

func (c *Controller) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) { return incrementalAlterConfigs(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	for i := range resp.Resources {
		if err != nil {
			resp.Resources[i].ErrorCode, resp.Resources[i].ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		}
	}
	return resp, nil
}

func (c *Controller) alterConfigs(ctx context.Context, req *kmsg.AlterConfigsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) { return replaceConfigs(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	for i := range resp.Resources {
		if err != nil {
			resp.Resources[i].ErrorCode, resp.Resources[i].ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		}
	}
	return resp, nil
}

// describeQuorum tells the state of the quorum; only its leader does.
func (c *Controller) describeQuorum(req *kmsg.DescribeQuorumRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	s := c.quorum.Describe()
	now := time.Now().UnixMilli()
	for _, t := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = strings.Clone(t.Topic)
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, describePartition(s, c.Image(), t.Topic, p.Partition, c.o.NodeID, now))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func describePartition(s QuorumState, img *metadata.Image, topic string, partition, node int32, now int64) kmsg.DescribeQuorumResponseTopicPartition {
	out := kmsg.NewDescribeQuorumResponseTopicPartition()
	out.Partition = partition
	out.LeaderID, out.LeaderEpoch, out.HighWatermark = s.LeaderID, s.LeaderEpoch, s.HighWatermark
	var err error
	switch {
	case topic != protocol.ClusterMetadataTopic || partition != 0:
		err = protocol.UnknownTopicOrPartition
	case s.LeaderID != node:
		err = protocol.NotLeaderOrFollower
	default:
		for _, id := range s.Voters {
			r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			r.ReplicaID, r.LogEndOffset, r.LastFetchTimestamp, r.LastCaughtUpTimestamp = id, s.LogEndOffset, now, now
			out.CurrentVoters = append(out.CurrentVoters, r)
		}
	}
	out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
	return out
}
