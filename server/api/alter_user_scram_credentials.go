package api

import (
	"context"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterUserScramCredentials (51) sets and removes the SCRAM credentials of users (KIP-554); the controller decides. Version 0 is flexible.

func handleAlterUserScramCredentials(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AlterUserSCRAMCredentialsRequest)
	return forward(n, req, func(err error) kmsg.Response { return scramUndecided(req, err) })
}

// scramUndecided answers each user once with the error that there is no decision for.
func scramUndecided(req *kmsg.AlterUserSCRAMCredentialsRequest, err error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	add := func(user string) {
		if slices.ContainsFunc(resp.Results, func(r kmsg.AlterUserSCRAMCredentialsResponseResult) bool { return r.User == user }) {
			return
		}
		out := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		out.User = strings.Clone(user)
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		resp.Results = append(resp.Results, out)
	}
	for i := range req.Deletions {
		add(req.Deletions[i].Name)
	}
	for i := range req.Upsertions {
		add(req.Upsertions[i].Name)
	}
	return resp
}
