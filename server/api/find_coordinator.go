package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
)

// FindCoordinator (10) names the broker that coordinates a group.
//
//	v0     groups only
//	v1     key type (0 group, 1 transactional id); throttle time and error message
//	v2     throttle time changed its meaning
//	v3     flexible
//	v4     several keys, each with its own answer (KIP-699)
//	v5     clients know TRANSACTION_ABORTABLE (KIP-890)
//	v6     key type 2: share-partition states (KIP-932)
//
// The first request of a cluster finds no __consumer_offsets, or no __transaction_state: it starts to create it, and is answered
// COORDINATOR_NOT_AVAILABLE until its leaders are there. Share states are refused with INVALID_REQUEST until they are served.

// Key types of FindCoordinator.
const (
	groupKeyType       = 0
	transactionKeyType = 1
	shareKeyType       = 2
)

const (
	findBatched = 4 // first version with several keys
	findShares  = 6 // first version with share states
)

// coordinatorMessage is Kafka's text for a code, which clients show.
func coordinatorMessage(code protocol.Code) string {
	switch code {
	case protocol.None:
		return "NONE"
	case protocol.CoordinatorNotAvailable:
		return "The coordinator is not available."
	default:
		return "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. " +
			"See the broker logs for more details."
	}
}

func handleFindCoordinator(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	keyType := req.CoordinatorType
	if req.Version < 1 {
		keyType = groupKeyType
	}
	if keyType != groupKeyType && keyType != transactionKeyType {
		n.Logger.Warn("coordinator refused: only groups and transactions have coordinators so far",
			zap.Int8("key_type", keyType), zap.String("key", req.CoordinatorKey), zap.Strings("keys", req.CoordinatorKeys), zap.Stringer("remote", r.Remote))
	}
	if req.Version < findBatched {
		e, code := findCoordinator(n, r, keyType, req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage = int16(code), kmsg.StringPtr(coordinatorMessage(code))
		resp.NodeID, resp.Host, resp.Port = e.NodeID, e.Host, e.Port
		return reply(resp)
	}
	for _, key := range req.CoordinatorKeys {
		e, code := findCoordinator(n, r, keyType, key)
		message := ""
		if code == protocol.InvalidRequest && (keyType != shareKeyType || req.Version >= findShares) {
			message = coordinatorMessage(code) // Kafka leaves it out in its other answers with several keys
		}
		resp.Coordinators = append(resp.Coordinators, kmsg.FindCoordinatorResponseCoordinator{
			Key: key, NodeID: e.NodeID, Host: e.Host, Port: e.Port, ErrorCode: int16(code), ErrorMessage: &message,
		})
	}
	return reply(resp)
}

// findCoordinator finds where the leader of the key's partition listens under the name of the listener that the request came in by.
func findCoordinator(n *Node, r *Request, keyType int8, key string) (endpoint, protocol.Code) {
	none := endpoint{NodeID: -1, Port: -1}
	var topic string
	var partition int32
	switch keyType {
	case groupKeyType:
		topic, partition = protocol.GroupMetadataTopic, n.Groups.PartitionFor(key)
	case transactionKeyType:
		topic, partition = protocol.TransactionStateTopic, n.Transactions.PartitionFor(key)
	default:
		return none, protocol.InvalidRequest
	}
	image := n.Image()
	if image.Topic(topic) == nil {
		n.TopicCreator.Create(r.Caller(), topic)
		return none, protocol.CoordinatorNotAvailable
	}
	p := image.Partition(topic, partition)
	if p == nil {
		return none, protocol.CoordinatorNotAvailable
	}
	e, ok := endpointOf(image, p.Leader, r.Listener)
	if !ok {
		return none, protocol.CoordinatorNotAvailable
	}
	e.Host = r.hostOf(n, e.NodeID, e.Host)
	return e, protocol.None
}
