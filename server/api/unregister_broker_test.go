package api

import (
	"context"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestUnregisterBroker(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
		resp.ErrorCode = 102
		return resp, nil
	}
	for v := range int16(1) {
		if resp := ask[*kmsg.UnregisterBrokerResponse](t, n, "PLAINTEXT", &kmsg.UnregisterBrokerRequest{Version: v}); resp.ErrorCode != 102 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	c.handle = unreachable
	resp := ask[*kmsg.UnregisterBrokerResponse](t, n, "PLAINTEXT", &kmsg.UnregisterBrokerRequest{Version: 0})
	if protocol.Code(resp.ErrorCode) != protocol.ClusterAuthorizationFailed || resp.ErrorMessage == nil || *resp.ErrorMessage != "no way" {
		t.Errorf("unreachable: %+v", resp)
	}
}
