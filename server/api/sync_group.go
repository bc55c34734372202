package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup (14) carries the leader's assignment to the coordinator, and each member's part back.
//
//	v1     throttle time
//	v3     group instance id (KIP-345)
//	v4     flexible
//	v5     protocol type and name, which must be there and match (KIP-559)
func handleSyncGroup(_ context.Context, n *Node, r *Request) Result {
	return await(n.Groups.SyncGroup(r.Body.(*kmsg.SyncGroupRequest)))
}
