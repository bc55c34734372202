package api

import (
	"context"
	"slices"
	"strconv"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources (74) names the resources that can have configs (KIP-1142; before 4.1 it was ListClientMetricsResources).
//
//	v0     client metrics subscriptions only
//	v1     types of resources to choose from, all if none is given

func handleListConfigResources(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	listable := []int8{int8(config.Group), int8(config.ClientMetrics), int8(brokerLogger), int8(config.Broker), int8(config.Topic)}
	wanted := listable
	switch {
	case req.Version == 0:
		wanted = []int8{int8(config.ClientMetrics)}
	case len(req.ResourceTypes) > 0:
		wanted = req.ResourceTypes
	}
	for _, kind := range wanted {
		if !slices.Contains(listable, kind) {
			resp.ErrorCode = int16(protocol.UnsupportedVersion)
			return reply(resp)
		}
	}
	for _, kind := range listable {
		if !slices.Contains(wanted, kind) {
			continue
		}
		for _, name := range configResources(n, r.Listener, kind) {
			resource := kmsg.NewListConfigResourcesResponseConfigResource()
			resource.Name, resource.Type = name, kind
			resp.ConfigResources = append(resp.ConfigResources, resource)
		}
	}
	return reply(resp)
}

// configResources names the resources of one kind: all topics and all brokers that clients of the listener reach, but only
// those groups and subscriptions that have configs.
func configResources(n *Node, listener string, kind int8) []string {
	var names []string
	image := n.Image()
	switch kind {
	case int8(config.Topic):
		for t := range image.Topics() {
			names = append(names, t.Name)
		}
	case int8(config.Broker), int8(brokerLogger):
		for b := range image.Brokers() {
			if !b.Fenced && b.Endpoint(listener) != nil {
				names = append(names, strconv.Itoa(int(b.ID)))
			}
		}
	default:
		names = image.ConfigResources(config.Scope(kind))
	}
	return names
}
