package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders (43) elects the preferred leaders of partitions, or any replica where none that has all data is left; the controller decides.
//
//	v1  election type (0 preferred, the only one before; 1 unclean), error code of the whole request
//	v2  flexible

func handleElectLeaders(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
		resp.ErrorCode = int16(protocol.CodeOf(err))
		for _, t := range req.Topics {
			out := kmsg.ElectLeadersResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.ElectLeadersResponseTopicPartition{
					Partition: p, ErrorCode: int16(protocol.CodeOf(err)), ErrorMessage: protocol.MessageOf(err),
				})
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}
