package api

import (
	"context"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestListPartitionReassignments(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
		resp.ErrorCode = 41
		return resp, nil
	}
	for v := range int16(1) {
		if resp := ask[*kmsg.ListPartitionReassignmentsResponse](t, n, "PLAINTEXT", &kmsg.ListPartitionReassignmentsRequest{Version: v}); resp.ErrorCode != 41 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	c.handle = unreachable
	resp := ask[*kmsg.ListPartitionReassignmentsResponse](t, n, "PLAINTEXT", &kmsg.ListPartitionReassignmentsRequest{Version: 0})
	if protocol.Code(resp.ErrorCode) != protocol.ClusterAuthorizationFailed || resp.ErrorMessage == nil || *resp.ErrorMessage != "no way" {
		t.Errorf("unreachable: %+v", resp)
	}
}

// A controller that is not active answers with what it knows.
func TestListPartitionReassignmentsOfAnyController(t *testing.T) {
	moving := partitionRecord(1, 0, 1, 0, 1, 2)
	moving.Adding = []int32{2}
	n, c := controllerNode(t, &schema.TopicRecord{Name: "t", TopicID: uid(1)}, moving)
	c.handle = notLeading
	resp := ask[*kmsg.ListPartitionReassignmentsResponse](t, n, "CONTROLLER", &kmsg.ListPartitionReassignmentsRequest{})
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || !slices.Equal(resp.Topics[0].Partitions[0].AddingReplicas, []int32{2}) {
		t.Errorf("%+v", resp)
	}
}
