package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/server/telemetry"
)

// telemetryNode is a broker whose one subscription is for the clients called "client".
func telemetryNode(t *testing.T) *Node {
	t.Helper()
	n, _ := imageNode(t, imageOf(t,
		configRecord(config.ClientMetrics, "s", "metrics", "a,b"), configRecord(config.ClientMetrics, "s", "match", "client_id=client,client_software_name=unknown"),
		configRecord(config.ClientMetrics, "s", "interval.ms", "70000")), map[string]string{"telemetry.max.bytes": "100"})
	codecs := record.NewCodecs()
	t.Cleanup(codecs.Close)
	n.Telemetry = telemetry.New(telemetry.Options{Config: n.Config, Codecs: codecs, Logger: zap.NewNop()})
	n.Telemetry.Apply(n.Image())
	return n
}

func TestTelemetryAPIs(t *testing.T) {
	n := telemetryNode(t)
	get := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	s := ask[*kmsg.GetTelemetrySubscriptionsResponse](t, n, "PLAINTEXT", get)
	if s.ErrorCode != 0 || s.ClientInstanceID == [16]byte{} || !slices.Equal(s.RequestedMetrics, []string{"a", "b"}) || s.PushIntervalMillis != 70_000 ||
		!slices.Equal(s.AcceptedCompressionTypes, []int8{4, 3, 1, 2}) || s.TelemetryMaxBytes != 100 || !s.DeltaTemporality {
		t.Errorf("%+v", s)
	}
	get.ClientInstanceID = s.ClientInstanceID
	if again := ask[*kmsg.GetTelemetrySubscriptionsResponse](t, n, "PLAINTEXT", get); again.ErrorCode != 89 || again.ClientInstanceID != [16]byte{} || len(again.RequestedMetrics) != 0 {
		t.Errorf("too early: %+v", again)
	}
	push := func(want int16, change func(*kmsg.PushTelemetryRequest)) {
		t.Helper()
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID = s.ClientInstanceID, s.SubscriptionID
		req.Metrics = []byte("\x0a\x13\x12\x11\x12\x0f\x0a\x01m\x2a\x0a\x0a\x08\x31") // a metric m that ends early
		change(req)
		if got := ask[*kmsg.PushTelemetryResponse](t, n, "PLAINTEXT", req); got.ErrorCode != want {
			t.Errorf("%+v, want %d", got, want)
		}
	}
	push(42, func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{} })
	push(87, func(*kmsg.PushTelemetryRequest) {})
	push(89, func(*kmsg.PushTelemetryRequest) {})
	terminating := func(change func(*kmsg.PushTelemetryRequest)) func(*kmsg.PushTelemetryRequest) {
		return func(r *kmsg.PushTelemetryRequest) {
			r.Terminating = true
			change(r)
			n.Telemetry.Disconnected(s.ClientInstanceID)
		}
	}
	push(117, terminating(func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }))
	push(76, terminating(func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 7 }))
	push(118, terminating(func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, 101) }))
	push(0, terminating(func(r *kmsg.PushTelemetryRequest) {
		r.Metrics = []byte("\x0a\x14\x12\x12\x12\x10\x0a\x01m\x2a\x0b\x0a\x09\x31\x06\x00\x00\x00\x00\x00\x00\x00") // m is 6, without attributes
	}))
	shown := n.Telemetry.Samples()
	if len(shown) != 1 || shown[0].Name != "kafka_client_m" || shown[0].Value != 6 || !slices.Contains(shown[0].Values, "client") {
		t.Errorf("%+v", shown)
	}
}
