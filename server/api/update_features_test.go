package api

import (
	"context"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestUpdateFeatures(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		asked := req.(*kmsg.UpdateFeaturesRequest)
		if len(asked.FeatureUpdates) == 0 {
			return nil, context.DeadlineExceeded
		}
		resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
		resp.ErrorCode = asked.FeatureUpdates[0].MaxVersionLevel
		return resp, nil
	}
	for v := range int16(3) {
		req := &kmsg.UpdateFeaturesRequest{Version: v, FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "f", MaxVersionLevel: 95}}}
		if resp := ask[*kmsg.UpdateFeaturesResponse](t, n, "PLAINTEXT", req); resp.ErrorCode != 95 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	if resp := ask[*kmsg.UpdateFeaturesResponse](t, n, "PLAINTEXT", &kmsg.UpdateFeaturesRequest{Version: 1}); protocol.Code(resp.ErrorCode) != protocol.RequestTimedOut {
		t.Errorf("unreachable: %+v", resp)
	}
}
