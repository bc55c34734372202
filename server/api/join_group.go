package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup (11) makes a client a member of a group, and is answered when the group's next generation begins.
//
//	v1     rebalance timeout; before, it is the session timeout (KIP-62)
//	v2     throttle time
//	v4     a new member is first given an id, with MEMBER_ID_REQUIRED (KIP-394)
//	v5     group instance id (KIP-345)
//	v6     flexible
//	v7     protocol type in the answer; the protocol name may be null (KIP-559)
//	v8     reason (KIP-800)
//	v9     skip assignment: a leader that returned under its instance id keeps the assignment (KIP-814)
func handleJoinGroup(_ context.Context, n *Node, r *Request) Result {
	return await(n.Groups.JoinGroup(r.Body.(*kmsg.JoinGroupRequest), groupClient(r)))
}
