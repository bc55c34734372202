package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAllocateProducerIDs(t *testing.T) {
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.Version = 0
	req.BrokerID, req.BrokerEpoch = 3, 7
	checkDirect(t, req, 0, func(r *kmsg.AllocateProducerIDsResponse) { r.ProducerIDStart, r.ProducerIDLen = 1000, 1000 }, func(r *kmsg.AllocateProducerIDsResponse) int16 { return r.ErrorCode })
}
