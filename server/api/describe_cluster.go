package api

import (
	"context"
	"fmt"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster (60) says which brokers there are (KIP-700).
//
//	v0     brokers, cluster id, a controller, the cluster's authorized operations
//	v1     the client says whether it wants brokers or controllers (KIP-919); a broker's listener knows brokers only
//	v2     fenced brokers on request (KIP-1073)

const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

func handleDescribeCluster(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType, resp.ControllerID, resp.ClusterAuthorizedOperations = endpointBrokers, -1, operationsNotAskedFor
	if err := checkEndpointType(req); err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return reply(resp)
	}
	image := n.Image()
	resp.ClusterID = n.ClusterID
	resp.ControllerID = aliveController(n, image)
	for b := range image.Brokers() {
		e := b.Endpoint(r.Listener)
		if e == nil || (b.Fenced && !req.IncludeFencedBrokers) {
			continue
		}
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{
			NodeID: b.ID, Host: e.Host, Port: int32(e.Port), Rack: b.Rack, IsFenced: b.Fenced,
		})
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = allClusterOperations
	}
	return reply(resp)
}

// checkEndpointType refuses what is not asked of brokers.
func checkEndpointType(req *kmsg.DescribeClusterRequest) error {
	switch {
	case req.Version < 1 || req.EndpointType == endpointBrokers:
		return nil
	case req.EndpointType == endpointControllers:
		return protocol.Errorf(protocol.MismatchedEndpointType,
			"The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
	}
	return &protocol.Error{Code: protocol.UnsupportedEndpointType, Message: fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType)}
}
