package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Codes and messages as Apache Kafka 4.3.1 answers them.
func TestDescribeProducersErrors(t *testing.T) {
	elsewhere := &schema.PartitionRecord{PartitionID: 1, TopicID: uid(1), Replicas: []int32{2}, ISR: []int32{2}, Leader: 2, Directories: make([]protocol.UUID, 1)}
	n := hostingNode(t, append(placed("good", uid(1), 1), elsewhere)...)
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, topic := range []string{"good", "missing", "bad name"} {
		asked := kmsg.NewDescribeProducersRequestTopic()
		asked.Topic, asked.Partitions = topic, []int32{0, 1, 9}
		req.Topics = append(req.Topics, asked)
	}
	var got []string
	for _, topic := range ask[*kmsg.DescribeProducersResponse](t, n, "PLAINTEXT", req).Topics {
		for _, p := range topic.Partitions {
			message := "null"
			if p.ErrorMessage != nil {
				message = *p.ErrorMessage
			}
			got = append(got, fmt.Sprintf("%s-%d %d %s", topic.Topic, p.Partition, p.ErrorCode, message))
			if len(p.ActiveProducers) != 0 {
				t.Errorf("%s-%d: %+v", topic.Topic, p.Partition, p.ActiveProducers)
			}
		}
	}
	const missing = "3 This server does not host this topic-partition."
	const bad = "17 Topic name is invalid: 'bad name' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	want := []string{
		"good-0 0 null", "good-1 6 null", "good-9 3 null", "missing-0 " + missing, "missing-1 " + missing, "missing-9 " + missing,
		"bad name-0 " + bad, "bad name-1 " + bad, "bad name-9 " + bad,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDescribeProducers(t *testing.T) {
	n := hostingNode(t, placed("good", uid(1), 1)...)
	appendOne(t, n, "good", 0, 7, 0)
	appendOne(t, n, "good", 0, 7, 1)
	req := kmsg.NewPtrDescribeProducersRequest()
	asked := kmsg.NewDescribeProducersRequestTopic()
	asked.Topic, asked.Partitions = "good", []int32{0}
	req.Topics = append(req.Topics, asked)
	resp := ask[*kmsg.DescribeProducersResponse](t, n, "PLAINTEXT", req)
	producers := resp.Topics[0].Partitions[0].ActiveProducers
	if len(producers) != 1 {
		t.Fatalf("%+v", producers)
	}
	p := producers[0]
	if p.ProducerID != 7 || p.ProducerEpoch != 3 || p.LastSequence != 1 || p.LastTimestamp != 1700000000000 || p.CoordinatorEpoch != -1 ||
		p.CurrentTxnStartOffset != -1 {
		t.Errorf("%+v", p)
	}
}
