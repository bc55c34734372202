package parity

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// byTopic sorts the topics of a Metadata answer: Kafka keeps no order in answers of all topics.
func byTopic(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.MetadataResponse)
	slices.SortStableFunc(r.Topics, func(a, b kmsg.MetadataResponseTopic) int {
		if a.Topic == nil || b.Topic == nil {
			return 0
		}
		return cmp.Compare(*a.Topic, *b.Topic)
	})
	for _, t := range r.Topics {
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	}
}

// emptyCluster asks before there is any topic.
func emptyCluster(c *conversation) {
	cl := c.dial("parity")
	for _, v := range versions(0, 13) {
		req := metadata(v)
		req.Topics = []kmsg.MetadataRequestTopic{}
		ask[*kmsg.MetadataResponse](cl, "empty list", req)
		if v > 0 {
			ask[*kmsg.MetadataResponse](cl, "null list", metadata(v))
		}
		name := "nowhere"
		if v < 4 { // which would create it
			name = "no where"
		}
		req = metadata(v, name)
		req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
		ask[*kmsg.MetadataResponse](cl, "unknown topic, with operations", req)
	}
	for _, v := range versions(0, 2) {
		for _, kind := range []int8{1, 2, 3} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.EndpointType = v, kind
			ask[*kmsg.DescribeClusterResponse](cl, "asked", req)
			req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = true, true
			ask[*kmsg.DescribeClusterResponse](cl, "operations and fenced", req)
		}
	}
	for _, v := range versions(0, 5) {
		ask[*kmsg.ListGroupsResponse](cl, "no groups", listGroups(v, nil, nil))
	}
	for _, v := range versions(0, 1) {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version = v
		ask[*kmsg.ListConfigResourcesResponse](cl, "all", req, resourcesByName)
	}
}

func resourcesByName(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.ListConfigResourcesResponse)
	slices.SortFunc(r.ConfigResources, func(a, b kmsg.ListConfigResourcesResponseConfigResource) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
}

func listGroups(version int16, states, types []string) *kmsg.ListGroupsRequest {
	req := kmsg.NewPtrListGroupsRequest()
	req.Version, req.StatesFilter, req.TypesFilter = version, states, types
	return req
}

func metadataArea(c *conversation) {
	cl := c.dial("parity")
	one, _ := cl.createTopic("meta-one", 1), cl.createTopic("meta.three", 3)
	for _, v := range versions(0, 13) {
		if v > 0 {
			ask[*kmsg.MetadataResponse](cl, "all", metadata(v), byTopic)
		}
		for _, allow := range []bool{false, true} {
			req := metadata(v, "meta-one", "", ".", "..", "a b", "ä", strings.Repeat("x", 250), "meta.three", "meta-one")
			req.AllowAutoTopicCreation = allow
			ask[*kmsg.MetadataResponse](cl, "names good and bad", req, byTopic)
		}
		req := metadata(v, "meta-one", "meta.three")
		req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
		ask[*kmsg.MetadataResponse](cl, "with operations", req, byTopic)
	}
	for _, v := range versions(10, 13) {
		for _, row := range []struct {
			label  string
			topics []kmsg.MetadataRequestTopic
		}{
			{"by id", []kmsg.MetadataRequestTopic{{TopicID: one}}},
			{"by unknown id", []kmsg.MetadataRequestTopic{{TopicID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}}}},
			{"null name and no id", []kmsg.MetadataRequestTopic{{}}},
			{"by id and by name", []kmsg.MetadataRequestTopic{{TopicID: one}, {Topic: ptr("meta.three")}}},
			{"id and name together", []kmsg.MetadataRequestTopic{{TopicID: one, Topic: ptr("meta.three")}}},
		} {
			req := metadata(v)
			req.Topics = row.topics
			ask[*kmsg.MetadataResponse](cl, row.label, req, byTopic)
		}
	}
	describeTopicPartitions(cl)
}

func describeTopicPartitions(cl *client) {
	describe := func(label string, limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = limit, cursor
		for _, name := range names {
			topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
			topic.Topic = name
			req.Topics = append(req.Topics, topic)
		}
		ask[*kmsg.DescribeTopicPartitionsResponse](cl, label, req)
	}
	cursor := func(topic string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = topic, partition
		return &c
	}
	describe("named", 100, nil, "meta.three", "meta-one")
	describe("unknown name", 100, nil, "nowhere", "meta-one")
	describe("empty name", 100, nil, "meta-one", "")
	describe("bad name", 100, nil, "meta-one", "a b")
	describe("several bad names", 100, nil, "nowhere", "..", "meta-one", "a b")
	describe("all", 2000, nil)
	describe("limit 1", 1, nil, "meta-one", "nowhere")
	describe("limit 2", 2, nil, "meta.three", "meta-one")
	describe("limit 0", 0, nil, "meta.three")
	describe("limit -1", -1, nil, "meta.three")
	describe("from a cursor", 100, cursor("meta.three", 1), "meta.three", "meta-one")
	describe("from a cursor of a topic that is gone", 100, cursor("meta-two", 1), "meta.three", "meta-one")
	describe("from a negative partition", 100, cursor("meta.three", -1), "meta.three")
	describe("from a partition beyond", 100, cursor("meta.three", 9), "meta.three")
	describe("the same twice", 100, nil, "meta-one", "meta-one")
}

func autoCreate(c *conversation) {
	cl := c.dial("parity")
	for _, v := range []int16{0, 1, 3, 4, 8, 13} {
		name := "auto-" + string(rune('a'+v))
		req := metadata(v, name)
		if v >= 4 {
			ask[*kmsg.MetadataResponse](cl, "not allowed", req)
			req = metadata(v, name)
			req.AllowAutoTopicCreation = true
		}
		ask[*kmsg.MetadataResponse](cl, "first", req)
		until(cl, "then", metadata(12, name), func(r *kmsg.MetadataResponse) bool {
			return r.Topics[0].ErrorCode == 0 && r.Topics[0].Partitions[0].Leader >= 0
		})
		ask[*kmsg.MetadataResponse](cl, "afterwards", req)
	}
	req := metadata(8, "auto.clash")
	req.AllowAutoTopicCreation = true
	ask[*kmsg.MetadataResponse](cl, "first", req)
	until(cl, "then", metadata(12, "auto.clash"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 0 })
	req = metadata(8, "auto_clash")
	req.AllowAutoTopicCreation = true
	ask[*kmsg.MetadataResponse](cl, "a name that collides", req)
	// These do not create.
	ask[*kmsg.ProduceResponse](cl, "to nowhere", produce(9, 1, "nowhere", [16]byte{}, 0, of(c.now.UnixMilli(), "a").bytes()))
	ask[*kmsg.FetchResponse](cl, "from nowhere", fetch(11, "nowhere", [16]byte{}, 0))
	ask[*kmsg.MetadataResponse](cl, "still nowhere", metadata(12, "nowhere"))
}
