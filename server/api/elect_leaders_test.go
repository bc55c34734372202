package api

import (
	"context"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unreachable is a controller that cannot be asked.
func unreachable(context.Context, kmsg.Request) (kmsg.Response, error) {
	return nil, protocol.Errorf(protocol.ClusterAuthorizationFailed, "no way")
}

func TestElectLeaders(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	topics := []kmsg.ElectLeadersRequestTopic{{Topic: "good", Partitions: []int32{0, 2}}}
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
		resp.Topics = []kmsg.ElectLeadersResponseTopic{{Topic: "good", Partitions: []kmsg.ElectLeadersResponseTopicPartition{{Partition: 2, ErrorCode: 84}}}}
		return resp, nil
	}
	for v := range int16(3) {
		resp := ask[*kmsg.ElectLeadersResponse](t, n, "PLAINTEXT", &kmsg.ElectLeadersRequest{Version: v, Topics: topics})
		if len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 84 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	c.handle = unreachable
	resp := ask[*kmsg.ElectLeadersResponse](t, n, "PLAINTEXT", &kmsg.ElectLeadersRequest{Version: 2, Topics: topics})
	if code := int16(protocol.ClusterAuthorizationFailed); resp.ErrorCode != code || len(resp.Topics[0].Partitions) != 2 || resp.Topics[0].Partitions[1].ErrorCode != code {
		t.Errorf("unreachable: %+v", resp)
	}
}
