package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/telemetry"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// GetTelemetrySubscriptions (71) tells a client which of its metrics it is to push, and how (KIP-714).
//
//	v0
//
// Apache Kafka advertises this API and PushTelemetry only where a plugin takes the metrics; here the broker does.

func handleGetTelemetrySubscriptions(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.GetTelemetrySubscriptionsRequest)
	resp := req.ResponseKind().(*kmsg.GetTelemetrySubscriptionsResponse)
	s, err := n.Telemetry.Subscribe(req.ClientInstanceID, telemetryClient(r))
	if err != nil {
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return reply(resp)
	}
	r.Conn.TelemetryID = s.InstanceID
	resp.ClientInstanceID, resp.SubscriptionID, resp.RequestedMetrics = s.InstanceID, s.ID, s.Metrics
	resp.AcceptedCompressionTypes, resp.TelemetryMaxBytes = s.Accepted, s.MaxBytes
	resp.PushIntervalMillis, resp.DeltaTemporality = int32(s.Interval.Milliseconds()), true
	return reply(resp)
}

// telemetryClient is who sends r.
func telemetryClient(r *Request) *telemetry.Client {
	return &telemetry.Client{ID: r.ClientID, SoftwareName: r.Conn.SoftwareName, SoftwareVersion: r.Conn.SoftwareVersion, Address: r.Remote}
}
