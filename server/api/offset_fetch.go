package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// OffsetFetch (9) tells how far groups have read.
//
//	v2     null topics: everything the group has committed; an error for the whole group
//	v3     throttle time
//	v5     leader epoch (KIP-320)
//	v6     flexible
//	v7     require stable: offsets that an open transaction holds back are UNSTABLE_OFFSET_COMMIT (KIP-447)
//	v8     several groups, each with its own error (KIP-709)
//	v9     member id and epoch (KIP-848)
//	v10    topics by id
//
// Topics are not looked up but for their ids: what is not committed has offset -1 and no error.

// fetchOffsetsByID is the first version with topic ids.
const fetchOffsetsByID = 10

func handleOffsetFetch(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.OffsetFetchRequest)
	if req.Version < fetchOffsetsByID {
		return await(n.Groups.OffsetFetch(req))
	}
	image := n.Image()
	future := n.Groups.OffsetFetch(fetchByName(image, req))
	asked := fetchedTopics(req)
	return awaitThen(future, func(resp *kmsg.OffsetFetchResponse) kmsg.Response {
		for i := range resp.Groups {
			answerByID(image, asked[i], &resp.Groups[i])
		}
		return resp
	})
}

// fetchByName is the request with names for the ids that are known, and without the others.
func fetchByName(image *metadata.Image, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchRequest {
	copied := *req
	copied.Groups = make([]kmsg.OffsetFetchRequestGroup, 0, len(req.Groups))
	for _, g := range req.Groups {
		if g.Topics != nil {
			topics := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
			for _, t := range g.Topics {
				if known := image.TopicByID(t.TopicID); known != nil {
					t.Topic = known.Name
					topics = append(topics, t)
				}
			}
			g.Topics = topics
		}
		copied.Groups = append(copied.Groups, g)
	}
	return &copied
}

// fetchedTopics are the topics of each group of the request; nil where all are asked for. The partitions are read only until the
// answer is written, as the request's frame lives that long.
func fetchedTopics(req *kmsg.OffsetFetchRequest) [][]kmsg.OffsetFetchRequestGroupTopic {
	asked := make([][]kmsg.OffsetFetchRequestGroupTopic, len(req.Groups))
	for i := range req.Groups {
		asked[i] = req.Groups[i].Topics
	}
	return asked
}

// answerByID gives topics their ids. Where all were asked for, those that no longer exist are left out; unknown ids are answered in
// their place.
func answerByID(image *metadata.Image, asked []kmsg.OffsetFetchRequestGroupTopic, g *kmsg.OffsetFetchResponseGroup) {
	if g.ErrorCode != 0 {
		return
	}
	answered := g.Topics
	g.Topics = nil
	if asked == nil {
		for _, t := range answered {
			if known := image.Topic(t.Topic); known != nil {
				t.TopicID = known.ID
				g.Topics = append(g.Topics, t)
			}
		}
		return
	}
	for _, t := range asked {
		if image.TopicByID(t.TopicID) != nil {
			g.Topics = append(g.Topics, answered[0])
			answered = answered[1:]
			continue
		}
		g.Topics = append(g.Topics, unknownTopicID(t))
	}
}

func unknownTopicID(t kmsg.OffsetFetchRequestGroupTopic) kmsg.OffsetFetchResponseGroupTopic {
	topic := kmsg.OffsetFetchResponseGroupTopic{TopicID: t.TopicID}
	for _, p := range t.Partitions {
		topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
			Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: new(string), ErrorCode: int16(protocol.UnknownTopicID),
		})
	}
	return topic
}
