package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestBrokerHeartbeat(t *testing.T) {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = 2
	req.BrokerID, req.BrokerEpoch = 3, 7
	checkDirect(t, req, 0, func(r *kmsg.BrokerHeartbeatResponse) { r.IsCaughtUp, r.IsFenced = true, true }, func(r *kmsg.BrokerHeartbeatResponse) int16 { return r.ErrorCode })
}
