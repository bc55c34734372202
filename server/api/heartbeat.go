package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat (12) keeps a member's session, and tells it of a rebalance.
//
//	v1     throttle time
//	v3     group instance id (KIP-345)
//	v4     flexible
func handleHeartbeat(_ context.Context, n *Node, r *Request) Result {
	return await(n.Groups.Heartbeat(r.Body.(*kmsg.HeartbeatRequest)))
}
