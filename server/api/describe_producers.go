package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers (61) lists the producers that partitions of the asked broker remember (KIP-664).
//
//	v0     producer id and epoch, last sequence and timestamp, start of the transaction under way

func handleDescribeProducers(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeProducersRequest)
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	image := n.Image()
	for _, asked := range req.Topics {
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = asked.Topic
		err := protocol.ValidateTopicName(asked.Topic)
		if err == nil && image.Topic(asked.Topic) == nil {
			err = protocol.Errorf(protocol.UnknownTopicOrPartition, "This server does not host this topic-partition.")
		}
		for _, partition := range asked.Partitions {
			t.Partitions = append(t.Partitions, describeProducers(n, asked.Topic, partition, err))
		}
		resp.Topics = append(resp.Topics, t)
	}
	return reply(resp)
}

func describeProducers(n *Node, topic string, partition int32, topicErr error) kmsg.DescribeProducersResponseTopicPartition {
	out := kmsg.NewDescribeProducersResponseTopicPartition()
	out.Partition = partition
	if topicErr != nil {
		out.ErrorCode, out.ErrorMessage = int16(protocol.CodeOf(topicErr)), protocol.MessageOf(topicErr)
		return out
	}
	p, err := n.Replicas.Partition(topic, partition)
	if err != nil {
		out.ErrorCode = int16(protocol.CodeOf(err))
		return out
	}
	for _, s := range p.Log().Producers() {
		out.ActiveProducers = append(out.ActiveProducers, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: s.ProducerID, ProducerEpoch: int32(s.Epoch), LastSequence: s.LastSequence, LastTimestamp: s.LastTimestamp,
			CoordinatorEpoch: s.CoordinatorEpoch, CurrentTxnStartOffset: s.CurrentTxnStartOffset,
		})
	}
	return out
}
