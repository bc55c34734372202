package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups (16) lists the groups that this broker coordinates; clients ask every broker.
//
//	v1     throttle time
//	v3     flexible
//	v4     states, and a filter by them (KIP-518)
//	v5     types, and a filter by them (KIP-848)
func handleListGroups(_ context.Context, n *Node, r *Request) Result {
	return await(n.Groups.ListGroups(r.Body.(*kmsg.ListGroupsRequest)))
}
