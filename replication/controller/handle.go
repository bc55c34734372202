package controller

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Caller is who sent a forwarded request. The zero Caller is a node itself.
type Caller struct {
	ClientID  string
	Principal string     // the name of a user
	Host      netip.Addr // from where; zero if unknown
}

type callerKey struct{}

// WithCaller notes for whom a request is made that is forwarded with ctx.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is what WithCaller noted; the zero Caller if nothing was.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Handle serves the requests that a controller serves: those that clients send to any broker (CreateTopics, DeleteTopics, CreatePartitions,
// IncrementalAlterConfigs, AlterConfigs, AlterClientQuotas, UpdateFeatures, ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments,
// UnregisterBroker, DescribeQuorum, AddRaftVoter, RemoveRaftVoter), ControllerRegistration, and those of brokers (BrokerRegistration, BrokerHeartbeat, AllocateProducerIDs, AlterPartition,
// AssignReplicasToDirs). The response has req's version.
// req is not read after it returns. The error is protocol.NotController where this node does not lead, or no longer knows whether a change
// came about, ctx's error when ctx ends, or protocol.UnsupportedVersion for any other request. Safe for concurrent use.
//
// New topics and partitions are answered when the brokers that lead them have applied them, so that a client can use them at once; at most
// the request's own timeout. What is committed by then is answered as done; else the answer is REQUEST_TIMED_OUT, and it may
// come about later.
func (c *Controller) Handle(ctx context.Context, req kmsg.Request, caller Caller) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(ctx, req, caller)
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(ctx, req, caller)
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(ctx, req, caller)
	case *kmsg.IncrementalAlterConfigsRequest:
		return c.incrementalAlterConfigs(ctx, req)
	case *kmsg.AlterConfigsRequest:
		return c.alterConfigs(ctx, req)
	case *kmsg.AlterClientQuotasRequest:
		return c.alterClientQuotas(ctx, req)
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		return c.alterScram(ctx, req)
	case *kmsg.UpdateFeaturesRequest:
		return c.updateFeatures(ctx, req)
	case *kmsg.ElectLeadersRequest:
		return c.electLeaders(ctx, req)
	case *kmsg.AlterPartitionAssignmentsRequest:
		return c.alterReassignments(ctx, req)
	case *kmsg.ListPartitionReassignmentsRequest:
		return c.listReassignments(ctx, req)
	case *kmsg.DescribeQuorumRequest:
		return c.describeQuorum(req)
	case *kmsg.AddRaftVoterRequest:
		return c.addVoter(ctx, req)
	case *kmsg.RemoveRaftVoterRequest:
		return c.removeVoter(ctx, req)
	case *kmsg.ControllerRegistrationRequest:
		return c.registerController(ctx, req)
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
	case *kmsg.AlterPartitionRequest:
		resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return alterPartition(v, req, resp) })
		return answer(resp, &resp.ErrorCode, err)
	case *kmsg.AssignReplicasToDirsRequest:
		resp := req.ResponseKind().(*kmsg.AssignReplicasToDirsResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return assignReplicasToDirs(v, req, resp) })
		return answer(resp, &resp.ErrorCode, err)
	case *kmsg.UnregisterBrokerRequest:
		resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
		err := c.decideFor(ctx, func(v *View) (Decision, error) { return unregisterBroker(v, req) })
		if resp.ErrorMessage = protocol.MessageOf(err); err == nil {
			resp.ErrorMessage = ptrTo("") // the default of Kafka's schema
		}
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

// timed runs a decision that fills resp for at most the request's timeout. What fails as a whole, or is not committed by then, failed puts
// into resp instead.
func (c *Controller) timed(ctx context.Context, millis int32, resp kmsg.Response, decide func(*View) (Decision, error), failed func(error)) (kmsg.Response, error) {
	limited, cancel := context.WithTimeout(ctx, time.Duration(max(millis, 0))*time.Millisecond)
	defer cancel()
	end := int64(0)
	decided, err := c.do(limited, func(v *View) (Decision, error) {
		d, err := decide(v)
		end = v.NextOffset + int64(len(d.Records))
		return d, err
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		if !decided || c.Image().Offset() < end-1 {
			failed(protocol.RequestTimedOut)
		}
	case unanswered(err):
		return nil, err
	case err != nil:
		failed(err)
	}
	return resp, nil
}

func (c *Controller) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest, caller Caller) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	quota := c.mutations(caller, req.Version >= 6)
	decide := c.growing(func(v *View) (Decision, error) { return createTopics(v.limited(quota), req, resp) })
	return throttled(quota, resp)(c.timed(ctx, req.TimeoutMillis, resp, decide, func(err error) {
		resp.Topics = nil
		for i := range req.Topics {
			out := newTopicResult(req.Topics[i].Topic)
			out.ErrorCode, out.ErrorMessage = codeAndMessage(err)
			resp.Topics = append(resp.Topics, out)
		}
	}))
}

func (c *Controller) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest, caller Caller) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	quota := c.mutations(caller, req.Version >= 5)
	decide := func(v *View) (Decision, error) { return deleteTopics(v.limited(quota), req, resp) }
	return throttled(quota, resp)(c.timed(ctx, req.TimeoutMillis, resp, decide, func(err error) {
		resp.Topics = nil
		n := naming{resp: resp}
		for _, name := range req.TopicNames {
			n.answer(&name, protocol.UUID{}, err)
		}
		for _, t := range req.Topics {
			n.answer(t.Topic, t.TopicID, err)
		}
	}))
}

func (c *Controller) createPartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest, caller Caller) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	quota := c.mutations(caller, req.Version >= 3)
	decide := c.growing(func(v *View) (Decision, error) { return createPartitions(v.limited(quota), req, resp) })
	return throttled(quota, resp)(c.timed(ctx, req.TimeoutMillis, resp, decide, func(err error) {
		resp.Topics = nil
		for _, t := range req.Topics {
			out := kmsg.NewCreatePartitionsResponseTopic()
			out.Topic = strings.Clone(t.Topic)
			out.ErrorCode, out.ErrorMessage = codeAndMessage(err)
			resp.Topics = append(resp.Topics, out)
		}
	}))
}

// codeAndMessage are what a response says of an error.
func codeAndMessage(err error) (int16, *string) {
	return int16(protocol.CodeOf(err)), protocol.MessageOf(err)
}

func (c *Controller) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) { return incrementalAlterConfigs(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	for i := range resp.Resources {
		if err != nil {
			resp.Resources[i].ErrorCode, resp.Resources[i].ErrorMessage = codeAndMessage(err)
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
			resp.Resources[i].ErrorCode, resp.Resources[i].ErrorMessage = codeAndMessage(err)
		}
	}
	return resp, nil
}
