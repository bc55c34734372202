package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/telemetry"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// PushTelemetry (72) takes the metrics that GetTelemetrySubscriptions asked a client for (KIP-714).
//
//	v0

func handlePushTelemetry(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.PushTelemetryRequest)
	client := telemetryClient(r)
	r.Conn.TelemetryID = req.ClientInstanceID
	return Result{Later: func(ctx context.Context) Result {
		resp := req.ResponseKind().(*kmsg.PushTelemetryResponse)
		err := n.Telemetry.Push(ctx, &telemetry.Push{
			InstanceID: req.ClientInstanceID, Subscription: req.SubscriptionID, Terminating: req.Terminating, Codec: req.CompressionType, Metrics: req.Metrics,
		}, client)
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return reply(resp)
	}}
}
