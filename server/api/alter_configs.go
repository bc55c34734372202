package api

import (
	"context"

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
	return decideConfigs(n, changes, onward, configAnswer{
		forward: func(i int) { onward.Resources = append(onward.Resources, req.Resources[i]) },
		set: func(i int, code int16, message *string) {
			resp.Resources[i] = kmsg.AlterConfigsResponseResource{
				ResourceType: req.Resources[i].ResourceType, ResourceName: req.Resources[i].ResourceName,
				ErrorCode: code, ErrorMessage: message,
			}
		},
		decided: func(answer kmsg.Response) (outcomes []configOutcome) {
			for _, r := range answer.(*kmsg.AlterConfigsResponse).Resources {
				outcomes = append(outcomes, configOutcome{r.ErrorCode, r.ErrorMessage})
			}
			return outcomes
		},
	}, resp)
}

func replacingChange(r *kmsg.AlterConfigsRequestResource) configChange {
	c := configChange{resource: r.ResourceType, name: r.ResourceName, set: map[string]*string{}, replace: true}
	for _, change := range r.Configs {
		c.keys = append(c.keys, change.Name)
		c.set[change.Name] = change.Value
	}
	return c
}
