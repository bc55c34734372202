package parity

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// createTopic makes a topic with the given configs (key=value) and waits until it is there.
func (cl *client) createTopic(name string, partitions int32, configs ...string) [16]byte {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 15000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for _, pair := range configs {
		k, v, _ := strings.Cut(pair, "=")
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	req.Topics = append(req.Topics, topic)
	resp := ask[*kmsg.CreateTopicsResponse](cl, "create "+name, req)
	until(cl, name+" is there", metadata(12, name), func(r *kmsg.MetadataResponse) bool {
		return r.Topics[0].ErrorCode == 0 && !slices.ContainsFunc(r.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 0 })
	})
	for p := range partitions {
		until(cl, name+" has a leader", listOffsets(7, 0, name, p, -1), func(r *kmsg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	}
	return resp.Topics[0].TopicID
}

// metadata asks for topics without creating them; none named is null, all of them.
func metadata(version int16, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, false
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// produce is one partition's data; topics are named by id from version 13.
func produce(version, acks int16, topic string, id [16]byte, partition int32, data []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 10000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, data
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// put produces values to partition 0, each a batch of its own, without comparing the answer.
func (cl *client) put(topic string, batches ...batch) {
	for _, b := range batches {
		req := produce(9, -1, topic, [16]byte{}, 0, b.bytes())
		resp, outcome := cl.send("put", req).read()
		r, ok := resp.(*kmsg.ProduceResponse)
		if !ok || r.Topics[0].Partitions[0].ErrorCode != 0 {
			cl.abort("put to %s: %s %+v", topic, outcome, resp)
		}
	}
}

// fetch reads partition 0 from offset, without a session.
func fetch(version int16, topic string, id [16]byte, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = version, 0, 0, 50<<20, -1
	req.Topics = []kmsg.FetchRequestTopic{fetchTopic(topic, id, fetchPartition(0, offset))}
	return req
}

func fetchTopic(topic string, id [16]byte, partitions ...kmsg.FetchRequestTopicPartition) kmsg.FetchRequestTopic {
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = topic, id, partitions
	return t
}

func fetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	return p
}

// listOffsets asks for one offset.
func listOffsets(version int16, isolation int8, topic string, partition int32, at int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.IsolationLevel, req.TimeoutMillis = version, -1, isolation, 5000
	t := kmsg.NewListOffsetsRequestTopic()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.MaxNumOffsets = partition, at, 10
	t.Topic, t.Partitions = topic, []kmsg.ListOffsetsRequestTopicPartition{p}
	req.Topics = append(req.Topics, t)
	return req
}

// versions are low..high.
func versions(low, high int16) []int16 {
	var all []int16
	for v := low; v <= high; v++ {
		all = append(all, v)
	}
	return all
}

func ptr[T any](v T) *T { return &v }
