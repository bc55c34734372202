package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestListGroups(t *testing.T) {
	eachVersion(t, 16, func(t *testing.T, n *Node, version int16) {
		member(t, n, nil)
		commitOne(t, n, "simple", 7)
		list := func(states ...string) []kmsg.ListGroupsResponseGroup {
			req := kmsg.NewPtrListGroupsRequest()
			req.Version, req.StatesFilter = version, states
			resp := ask[*kmsg.ListGroupsResponse](t, n, "PLAINTEXT", req)
			wantCode(t, "ListGroups", resp.ErrorCode, protocol.None)
			return resp.Groups
		}
		all := list()
		if len(all) != 2 {
			t.Fatalf("groups %+v", all)
		}
		for _, g := range all {
			wantType, wantState := "consumer", "Stable"
			if g.Group == "simple" {
				wantType, wantState = "", "Empty"
			}
			if version < 4 {
				wantState = ""
			}
			if g.ProtocolType != wantType || g.GroupState != wantState || (g.GroupType == "classic") != (version >= 5) {
				t.Errorf("listed as %+v", g)
			}
		}
		if got := len(list("EMPTY")); (got == 1) != (version >= 4) {
			t.Errorf("%d empty groups", got)
		}
	})
}
