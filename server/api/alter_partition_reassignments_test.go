package api

import (
	"context"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAlterPartitionReassignments(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	topics := []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "good", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
		{Partition: 1, Replicas: []int32{2, 1}}, {Partition: 2},
	}}}
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		asked := req.(*kmsg.AlterPartitionAssignmentsRequest).Topics[0].Partitions
		if !slices.Equal(asked[0].Replicas, []int32{2, 1}) || asked[1].Replicas != nil {
			t.Errorf("forwarded %+v", asked)
		}
		return req.ResponseKind(), nil
	}
	for v := range int16(2) {
		req := &kmsg.AlterPartitionAssignmentsRequest{Version: v, Topics: topics}
		if resp := ask[*kmsg.AlterPartitionAssignmentsResponse](t, n, "PLAINTEXT", req); resp.ErrorCode != 0 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	c.handle = unreachable
	resp := ask[*kmsg.AlterPartitionAssignmentsResponse](t, n, "PLAINTEXT", &kmsg.AlterPartitionAssignmentsRequest{Version: 1, Topics: topics})
	code := int16(protocol.ClusterAuthorizationFailed)
	if resp.ErrorCode != code || len(resp.Topics[0].Partitions) != 2 || resp.Topics[0].Partitions[1].ErrorCode != code {
		t.Errorf("unreachable: %+v", resp)
	}
}
