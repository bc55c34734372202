package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRemoveRaftVoter(t *testing.T) {
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.Version = 0
	req.VoterID = 2
	checkDirect(t, req, 0, func(r *kmsg.RemoveRaftVoterResponse) { r.ErrorCode = 127 }, func(r *kmsg.RemoveRaftVoterResponse) int16 { return r.ErrorCode })
}
