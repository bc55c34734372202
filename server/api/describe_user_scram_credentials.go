package api

import (
	"context"
	"maps"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeUserScramCredentials (50) tells which SCRAM mechanisms users have credentials for, as this broker knows them (KIP-554): of all users where none is
// named. Version 0 is flexible.

func handleDescribeUserScramCredentials(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	resp.ErrorMessage = kmsg.StringPtr("") // as Kafka answers success
	known := map[string][]kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{}
	for c := range n.Image().ScramCredentials() {
		info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
		info.Mechanism, info.Iterations = c.Mechanism, c.Iterations
		known[c.Name] = append(known[c.Name], info)
	}
	times := map[string]int{} // that a user is asked for
	for i := range req.Users {
		times[req.Users[i].Name]++
	}
	if len(times) == 0 {
		for user := range known {
			times[user] = 1
		}
	}
	for _, user := range slices.Sorted(maps.Keys(times)) {
		out := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		out.User, out.CredentialInfos = user, known[user]
		var err error
		switch {
		case times[user] > 1:
			out.CredentialInfos = nil
			err = protocol.Errorf(protocol.DuplicateResource, "Cannot describe SCRAM credentials for the same user twice in a single request: %s", user)
		case known[user] == nil:
			err = protocol.Errorf(protocol.ResourceNotFound, "Attempt to describe a user credential that does not exist: %s", user)
		}
		if out.ErrorMessage = resp.ErrorMessage; err != nil {
			out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		}
		resp.Results = append(resp.Results, out)
	}
	return reply(resp)
}
