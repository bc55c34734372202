package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestJoinGroup(t *testing.T) {
	eachVersion(t, 11, func(t *testing.T, n *Node, version int16) {
		resp := ask[*kmsg.JoinGroupResponse](t, n, "PLAINTEXT", joinRequest(version, ""))
		if version >= 4 {
			wantCode(t, "without an id", resp.ErrorCode, protocol.MemberIDRequired)
			if resp.Generation != -1 || resp.LeaderID != "" || (resp.Protocol == nil) != (version >= 7) {
				t.Errorf("refused with %+v", resp)
			}
			resp = ask[*kmsg.JoinGroupResponse](t, n, "PLAINTEXT", joinRequest(version, resp.MemberID))
		}
		wantCode(t, "JoinGroup", resp.ErrorCode, protocol.None)
		if resp.Generation != 1 || resp.LeaderID != resp.MemberID || *resp.Protocol != "range" || len(resp.Members) != 1 || resp.SkipAssignment {
			t.Errorf("joined %+v", resp)
		}
		unknown := ask[*kmsg.JoinGroupResponse](t, n, "PLAINTEXT", joinRequest(version, "nobody"))
		wantCode(t, "unknown member", unknown.ErrorCode, protocol.UnknownMemberID)
		if unknown.MemberID != "nobody" || unknown.Generation != -1 || (unknown.Protocol == nil) != (version >= 7) {
			t.Errorf("refused with %+v", unknown)
		}
	})
}
