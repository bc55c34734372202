package api

import (
	"context"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions (37) adds partitions to topics; the controller decides. Versions: 2 is flexible, 3 may answer THROTTLING_QUOTA_EXCEEDED.

func handleCreatePartitions(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.CreatePartitionsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		for i := range req.Topics {
			out := kmsg.NewCreatePartitionsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = strings.Clone(req.Topics[i].Topic), int16(protocol.CodeOf(err)), protocol.MessageOf(err)
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}
