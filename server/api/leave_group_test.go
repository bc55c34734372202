package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestLeaveGroup(t *testing.T) {
	eachVersion(t, 13, func(t *testing.T, n *Node, version int16) {
		id := member(t, n, ptr("instance"))
		leave := func(memberID string) *kmsg.LeaveGroupResponse {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Version, req.Group, req.MemberID = version, "g", memberID
			req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: memberID, InstanceID: ptr("instance")}, {InstanceID: ptr("none")}}
			return ask[*kmsg.LeaveGroupResponse](t, n, "PLAINTEXT", req)
		}
		wrong, right := leave("nobody"), leave(id)
		if version < 3 {
			wantCode(t, "another member", wrong.ErrorCode, protocol.UnknownMemberID)
			wantCode(t, "member", right.ErrorCode, protocol.None)
			return
		}
		wantCode(t, "top level", wrong.ErrorCode, protocol.None)
		wantCode(t, "another member", wrong.Members[0].ErrorCode, protocol.FencedInstanceID)
		wantCode(t, "unknown instance", wrong.Members[1].ErrorCode, protocol.UnknownMemberID)
		wantCode(t, "member", right.Members[0].ErrorCode, protocol.None)
		if m := right.Members[0]; m.MemberID != id || *m.InstanceID != "instance" {
			t.Errorf("answered for %+v", m)
		}
	})
}
