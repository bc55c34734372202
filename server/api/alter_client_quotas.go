package api

import (
	"context"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterClientQuotas (49) sets and removes quotas of users, client ids and addresses (KIP-546); the controller decides. Versions: 1 is flexible.

func handleAlterClientQuotas(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AlterClientQuotasRequest)
	return forward(n, req, func(err error) kmsg.Response { return quotasUndecided(req, err) })
}

// quotasUndecided answers each entity with the error that there is no decision for.
func quotasUndecided(req *kmsg.AlterClientQuotasRequest, err error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	for i := range req.Entries {
		out := kmsg.NewAlterClientQuotasResponseEntry()
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		for _, e := range req.Entries[i].Entity {
			part := kmsg.AlterClientQuotasResponseEntryEntity{Type: strings.Clone(e.Type)}
			if e.Name != nil {
				part.Name = kmsg.StringPtr(strings.Clone(*e.Name))
			}
			out.Entity = append(out.Entity, part)
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp
}
