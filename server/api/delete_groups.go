package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups (42) deletes empty groups with their offsets (KIP-229).
//
//	v1     throttle time changed its meaning
//	v2     flexible
//	v3     a message for each group that could not be deleted
func handleDeleteGroups(_ context.Context, n *Node, r *Request) Result {
	return await(n.Groups.DeleteGroups(r.Body.(*kmsg.DeleteGroupsRequest)))
}
