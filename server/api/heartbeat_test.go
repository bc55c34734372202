package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestHeartbeat(t *testing.T) {
	eachVersion(t, 12, func(t *testing.T, n *Node, version int16) {
		id := member(t, n, ptr("instance"))
		beat := func(memberID string, generation int32) int16 {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = version, "g", memberID, generation, ptr("instance")
			return ask[*kmsg.HeartbeatResponse](t, n, "PLAINTEXT", req).ErrorCode
		}
		wantCode(t, "member", beat(id, 1), protocol.None)
		wantCode(t, "old generation", beat(id, 0), protocol.IllegalGeneration)
		want := protocol.UnknownMemberID
		if version >= 3 {
			want = protocol.FencedInstanceID
		}
		wantCode(t, "another member", beat("nobody", 1), want)
	})
}
