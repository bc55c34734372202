package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateFeatures (57) raises, lowers and removes finalized levels of features (KIP-584, KIP-1022); the controller decides.
//
//	v1  an upgrade type instead of a leave to downgrade, which Kafka's controllers do not look at; validate-only
//	v2  one answer for all updates, as they come about together or not at all; v0 and v1 repeat it for each

func handleUpdateFeatures(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.UpdateFeaturesRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
