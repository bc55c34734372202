package api

import (
	"context"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics (19) makes topics; the controller decides. Versions:
//   - 0 has no validate-only and no messages; 1 adds both; 2 the throttle time; 4 lets partitions and replicas be -1, the controller's defaults
//   - 5 is flexible and returns partitions, replicas and configs of each topic; 6 may answer THROTTLING_QUOTA_EXCEEDED; 7 returns topic ids

func handleCreateTopics(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for i := range req.Topics {
			out := kmsg.NewCreateTopicsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = strings.Clone(req.Topics[i].Topic), int16(protocol.CodeOf(err)), protocol.MessageOf(err)
			out.NumPartitions, out.ReplicationFactor = -1, -1
			out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}
