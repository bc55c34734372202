package controller

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *Controller) electLeaders(ctx context.Context, req *kmsg.ElectLeadersRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	return c.timed(ctx, req.TimeoutMillis, resp, func(v *View) (Decision, error) { return electLeaders(v, req, resp) }, func(err error) {
		code, message := codeAndMessage(err)
		resp.ErrorCode, resp.Topics = code, nil
		for _, t := range req.Topics {
			out := kmsg.ElectLeadersResponseTopic{Topic: strings.Clone(t.Topic)}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.ElectLeadersResponseTopicPartition{Partition: p, ErrorCode: code, ErrorMessage: message})
			}
			resp.Topics = append(resp.Topics, out)
		}
	})
}

func (c *Controller) alterReassignments(ctx context.Context, req *kmsg.AlterPartitionAssignmentsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	return c.timed(ctx, req.TimeoutMillis, resp, func(v *View) (Decision, error) { return alterReassignments(v, req, resp) }, func(err error) {
		code, message := codeAndMessage(err)
		resp.ErrorCode, resp.ErrorMessage, resp.Topics = code, message, nil
		for _, t := range req.Topics {
			out := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: strings.Clone(t.Topic)}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.AlterPartitionAssignmentsResponseTopicPartition{
					Partition: p.Partition, ErrorCode: code, ErrorMessage: message,
				})
			}
			resp.Topics = append(resp.Topics, out)
		}
	})
}

// listReassignments waits until what it saw is committed.
func (c *Controller) listReassignments(ctx context.Context, req *kmsg.ListPartitionReassignmentsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) {
		ListReassignments(v.Image, req, resp)
		return Decision{}, nil
	})
	if unanswered(err) {
		return nil, err
	}
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp, nil
}
