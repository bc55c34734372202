package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestDeleteGroups(t *testing.T) {
	eachVersion(t, 42, func(t *testing.T, n *Node, version int16) {
		member(t, n, nil)
		commitOne(t, n, "simple", 7)
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Version, req.Groups = version, []string{"missing", "g", "simple"}
		resp := ask[*kmsg.DeleteGroupsResponse](t, n, "PLAINTEXT", req)
		for i, want := range []protocol.Code{protocol.GroupIDNotFound, protocol.NonEmptyGroup, protocol.None} {
			if resp.Groups[i].Group != req.Groups[i] {
				t.Errorf("answer %d is for %q", i, resp.Groups[i].Group)
			}
			wantCode(t, req.Groups[i], resp.Groups[i].ErrorCode, want)
		}
		if got := resp.Groups[0].ErrorMessage; (got != nil) != (version >= 3) {
			t.Errorf("message %v", got)
		}
		if got := fetchOne(t, n, "simple"); got != -1 {
			t.Errorf("the offset stays: %d", got)
		}
	})
}
