package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster (60) says which brokers there are (KIP-700).
//
//	v0     brokers, cluster id, a controller, the cluster's authorized operations
//	v1     the client says whether it wants brokers or controllers (KIP-919), of which a listener knows its own kind only
//	v2     fenced brokers on request (KIP-1073)

const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

func handleDescribeCluster(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType, resp.ControllerID, resp.ClusterAuthorizedOperations = endpointBrokers, -1, operationsNotAskedFor
	here := endpointBrokers
	if n.Direct {
		here = endpointControllers
	}
	if err := checkEndpointType(req, here); err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return reply(resp)
	}
	resp.EndpointType = here
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = allClusterOperations
	}
	if n.Direct {
		describeControllers(n, r.Listener, resp)
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
			NodeID: b.ID, Host: r.hostOf(n, b.ID, e.Host), Port: int32(e.Port), Rack: b.Rack, IsFenced: b.Fenced,
		})
	}
	if !slices.ContainsFunc(resp.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == resp.ControllerID }) {
		resp.ControllerID = -1 // a client could not go there
	}
	return reply(resp)
}

// describeControllers lists the controllers that registered, and the active one in any case.
func describeControllers(n *Node, listener string, resp *kmsg.DescribeClusterResponse) {
	leader, _, host, port := n.Quorum.Leader()
	resp.ClusterID, resp.ControllerID = n.Quorum.ClusterID(), leader
	known := false
	for c := range n.Image().Controllers() {
		for _, e := range c.EndPoints {
			if e.Name == listener {
				known = known || c.ControllerID == leader
				resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: c.ControllerID, Host: e.Host, Port: int32(e.Port)})
			}
		}
	}
	if !known && leader >= 0 && host != "" {
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: leader, Host: host, Port: int32(port)})
	}
}

// checkEndpointType refuses what is not asked of this listener.
func checkEndpointType(req *kmsg.DescribeClusterRequest, here int8) error {
	asked := endpointBrokers
	if req.Version >= 1 {
		asked = req.EndpointType
	}
	switch asked {
	case here:
		return nil
	case endpointBrokers:
		code := protocol.MismatchedEndpointType
		if req.Version == 0 { // whose clients do not know of endpoint types
			code = protocol.InvalidRequest
		}
		return protocol.Errorf(code,
			"The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER")
	case endpointControllers:
		return protocol.Errorf(protocol.MismatchedEndpointType,
			"The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
	}
	return &protocol.Error{Code: protocol.UnsupportedEndpointType, Message: fmt.Sprintf("Unsupported endpoint type %d", asked)}
}
