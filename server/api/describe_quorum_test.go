package api

import (
	"context"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDescribeQuorum(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
		resp.ErrorCode = 6
		return resp, nil
	}
	for v := range int16(3) {
		if resp := ask[*kmsg.DescribeQuorumResponse](t, n, "PLAINTEXT", &kmsg.DescribeQuorumRequest{Version: v}); resp.ErrorCode != 6 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	c.handle = unreachable
	resp := ask[*kmsg.DescribeQuorumResponse](t, n, "PLAINTEXT", &kmsg.DescribeQuorumRequest{Version: 3 - 1})
	if protocol.Code(resp.ErrorCode) != protocol.ClusterAuthorizationFailed || resp.ErrorMessage == nil || *resp.ErrorMessage != "no way" {
		t.Errorf("unreachable: %+v", resp)
	}
}
