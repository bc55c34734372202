package api

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestDescribeGroups(t *testing.T) {
	eachVersion(t, 15, func(t *testing.T, n *Node, version int16) {
		id := member(t, n, ptr("instance"))
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups, req.IncludeAuthorizedOperations = version, []string{"missing", "g"}, true
		resp := ask[*kmsg.DescribeGroupsResponse](t, n, "PLAINTEXT", req)
		if len(resp.Groups) != 2 || resp.Groups[0].Group != "missing" {
			t.Fatalf("described %+v", resp.Groups)
		}
		missing, g := resp.Groups[0], resp.Groups[1]
		wantMissing, wantOperations := protocol.None, operationsNotAskedFor
		if version >= 6 {
			wantMissing = protocol.GroupIDNotFound
		}
		if version >= 3 {
			wantOperations = 3400
		}
		wantCode(t, "missing", missing.ErrorCode, wantMissing)
		wantCode(t, "group", g.ErrorCode, protocol.None)
		if missing.State != "Dead" || (missing.ErrorMessage != nil) != (version >= 6) {
			t.Errorf("missing: %+v", missing)
		}
		if g.State != "Stable" || g.AuthorizedOperations != wantOperations || len(g.Members) != 1 {
			t.Fatalf("described %+v", g)
		}
		m := g.Members[0]
		if m.MemberID != id || string(m.MemberAssignment) != "assigned" || (m.InstanceID != nil) != (version >= 4) {
			t.Errorf("member %+v", m)
		}
		if m.ClientID != "client" || !bytes.Contains(m.ProtocolMetadata, []byte("one")) {
			t.Errorf("member %+v, whose requests' frames are gone", m)
		}
		req.IncludeAuthorizedOperations = false
		if got := ask[*kmsg.DescribeGroupsResponse](t, n, "PLAINTEXT", req).Groups[1].AuthorizedOperations; got != operationsNotAskedFor {
			t.Errorf("operations %d that nobody asked for", got)
		}
	})
}
