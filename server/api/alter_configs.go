package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs (33) sets the configs of resources to exactly what is listed: what is not, goes back to its default. Clients
// have used IncrementalAlterConfigs instead since KIP-339.
//
//	v0
//	v2     flexible

func handleAlterConfigs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	resp.Resources = make([]kmsg.AlterConfigsResponseResource, len(req.Resources))
	onward := kmsg.NewPtrAlterConfigsRequest()
	onward.Version, onward.ValidateOnly = req.Version, req.ValidateOnly
	changes := make([]configChange, len(req.Resources))
	for i := range req.Resources {
		changes[i] = replacingChange(&req.Resources[i])
	}
	var places []int // of the resources that go to the controller
	for i, err := range preprocess(n, changes) {
		out := &resp.Resources[i]
		out.ResourceType, out.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		if err == nil {
			onward.Resources, places = append(onward.Resources, req.Resources[i]), append(places, i)
			continue
		}
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
	}
	if len(places) == 0 {
		return reply(resp)
	}
	return forwardConfigs(n, onward, func(answer kmsg.Response, err error) kmsg.Response {
		decided, _ := answer.(*kmsg.AlterConfigsResponse)
		if err == nil && len(decided.Resources) != len(places) {
			err = protocol.UnknownServerError
		}
		for i, place := range places {
			out := &resp.Resources[place]
			if err != nil {
				out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
				continue
			}
			out.ErrorCode, out.ErrorMessage = decided.Resources[i].ErrorCode, decided.Resources[i].ErrorMessage
		}
		return resp
	})
}

func replacingChange(r *kmsg.AlterConfigsRequestResource) configChange {
	c := configChange{resource: r.ResourceType, name: r.ResourceName, set: map[string]*string{}, replace: true}
	for _, change := range r.Configs {
		c.keys = append(c.keys, change.Name)
		c.set[change.Name] = change.Value
	}
	return c
}
