package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestBrokerRegistration(t *testing.T) {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = 4
	req.BrokerID, req.ClusterID = 3, testCluster
	checkDirect(t, req, 0, func(r *kmsg.BrokerRegistrationResponse) { r.BrokerEpoch = 7 }, func(r *kmsg.BrokerRegistrationResponse) int16 { return r.ErrorCode })
}
