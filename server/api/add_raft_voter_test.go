package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAddRaftVoter(t *testing.T) {
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.Version = 1
	req.VoterID, req.TimeoutMillis = 2, 1000
	checkDirect(t, req, 0, func(r *kmsg.AddRaftVoterResponse) { r.ErrorCode = 126 }, func(r *kmsg.AddRaftVoterResponse) int16 { return r.ErrorCode })
}
