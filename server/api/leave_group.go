package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup (13) takes members out of a group.
//
//	v1     throttle time
//	v3     several members, each by member id or group instance id, with its own error (KIP-345)
//	v4     flexible
//	v5     reason (KIP-800)
func handleLeaveGroup(_ context.Context, n *Node, r *Request) Result {
	return await(n.Groups.LeaveGroup(r.Body.(*kmsg.LeaveGroupRequest)))
}
