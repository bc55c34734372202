package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// ConsumerGroupHeartbeat (68) is all that a member of a consumer group sends: it joins, tells what it has, learns its assignment, and leaves
// (KIP-848).
//
//	v1     regular expressions; the client makes the member id (KIP-1082)
func handleConsumerGroupHeartbeat(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ConsumerGroupHeartbeatRequest)
	if !consumerGroupsServed(n) {
		resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		resp.ErrorCode = int16(protocol.UnsupportedVersion)
		return reply(resp)
	}
	return await(n.Groups.ConsumerGroupHeartbeat(req, groupClient(r)))
}

// consumerGroupsServed reports whether the cluster's feature level and this broker's config allow consumer groups.
func consumerGroupsServed(n *Node) bool {
	return n.Image().FeatureLevel(protocol.GroupVersion) >= 1 &&
		slices.Contains(n.Config().List("group.coordinator.rebalance.protocols"), "consumer")
}
