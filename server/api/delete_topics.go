package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics (20) removes topics; the controller decides. Versions: 1 adds the throttle time, 3 TOPIC_DELETION_DISABLED, 4 is flexible, 5 adds
// messages, 6 names topics by name or id.

func handleDeleteTopics(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
		add := func(name *string, id [16]byte) {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic, out.TopicID = name, id
			out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
			resp.Topics = append(resp.Topics, out)
		}
		for i := range req.TopicNames {
			add(&req.TopicNames[i], [16]byte{})
		}
		for i := range req.Topics {
			add(req.Topics[i].Topic, req.Topics[i].TopicID)
		}
		return resp
	})
}
