package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum (55) tells the state of the metadata quorum (KIP-595), as its leader knows it.
//
//	v1  when each replica fetched last, and when it had everything last
//	v2  the directory id of each replica, error messages, the voters' addresses (KIP-853)

func handleDescribeQuorum(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeQuorumRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
