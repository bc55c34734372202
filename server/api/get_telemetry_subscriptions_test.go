package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Clients that have no id yet get one each, and a subscription of their own, as its id is mixed with theirs; one that shows its id keeps it.
func TestGetTelemetrySubscriptionsGivesIDs(t *testing.T) {
	n := telemetryNode(t)
	first := ask[*kmsg.GetTelemetrySubscriptionsResponse](t, n, "PLAINTEXT", kmsg.NewPtrGetTelemetrySubscriptionsRequest())
	second := ask[*kmsg.GetTelemetrySubscriptionsResponse](t, n, "PLAINTEXT", kmsg.NewPtrGetTelemetrySubscriptionsRequest())
	if first.ErrorCode != 0 || second.ErrorCode != 0 || first.ClientInstanceID == second.ClientInstanceID || first.SubscriptionID == second.SubscriptionID {
		t.Errorf("%+v, %+v", first, second)
	}
	known := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	known.ClientInstanceID = [16]byte{1, 2, 3}
	if got := ask[*kmsg.GetTelemetrySubscriptionsResponse](t, n, "PLAINTEXT", known); got.ErrorCode != 0 || got.ClientInstanceID != known.ClientInstanceID {
		t.Errorf("%+v", got)
	}
}
