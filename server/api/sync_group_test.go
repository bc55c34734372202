package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestSyncGroup(t *testing.T) {
	eachVersion(t, 14, func(t *testing.T, n *Node, version int16) {
		id := member(t, n, nil)
		resp := ask[*kmsg.SyncGroupResponse](t, n, "PLAINTEXT", syncRequest(version, id))
		wantCode(t, "SyncGroup", resp.ErrorCode, protocol.None)
		if string(resp.MemberAssignment) != "assigned" || (resp.Protocol != nil) != (version >= 5) {
			t.Errorf("assigned %+v", resp)
		}
		nameless := syncRequest(version, id)
		nameless.Protocol = nil
		want := protocol.None
		if version >= 5 {
			want = protocol.InconsistentGroupProtocol
		}
		wantCode(t, "without a protocol", ask[*kmsg.SyncGroupResponse](t, n, "PLAINTEXT", nameless).ErrorCode, want)
		wantCode(t, "unknown member", ask[*kmsg.SyncGroupResponse](t, n, "PLAINTEXT", syncRequest(version, "x")).ErrorCode, protocol.UnknownMemberID)
	})
}
