package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeTopics shows an answer as "topic:error[partitions] ... > cursor".
func describeTopics(t *testing.T, n *Node, limit int32, cursor string, topics ...string) string {
	t.Helper()
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = limit
	if name, partition, ok := strings.Cut(cursor, "/"); ok {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic = name
		if _, err := fmt.Sscan(partition, &c.Partition); err != nil {
			t.Fatal(err)
		}
		req.Cursor = &c
	}
	for _, name := range topics {
		req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
	}
	resp := ask[*kmsg.DescribeTopicPartitionsResponse](t, n, "PLAINTEXT", req)
	var out []string
	for _, topic := range resp.Topics {
		var partitions []string
		for _, p := range topic.Partitions {
			partitions = append(partitions, fmt.Sprint(p.Partition))
		}
		out = append(out, fmt.Sprintf("%s:%d[%s]", *topic.Topic, topic.ErrorCode, strings.Join(partitions, " ")))
	}
	if resp.NextCursor != nil {
		out = append(out, fmt.Sprintf("> %s/%d", resp.NextCursor.Topic, resp.NextCursor.Partition))
	}
	return strings.Join(out, " ")
}

// Answers as Apache Kafka 4.3.1 gives them for the same requests.
func TestDescribeTopicPartitionsPages(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	for _, test := range []struct {
		limit  int32
		cursor string
		topics string
		want   string
	}{
		{2000, "", "", "__consumer_offsets:0[0] good:0[0 1 2] lost:0[0 1 2]"},
		{2, "", "", "__consumer_offsets:0[0] good:0[0] > good/1"},
		{1, "", "missing,good,zz", "good:0[0] > good/1"},
		{3, "", "good,zz,aa", "aa:3[] good:0[0 1 2] > zz/0"},
		{2000, "", "zz,good,missing,good,bad name", "bad name:17[] good:0[0 1 2] missing:3[] zz:3[]"},
		{0, "", "good", "good:0[0] > good/1"},
		{-5, "", "good", "good:0[0] > good/1"},
		{1, "good/1", "good,aa,zz", "good:0[1] > good/2"},
		{5, "good/7", "good,zz", "good:0[] zz:3[]"},
		{5, "good/-1", "good,zz", "good:42[] zz:42[]"},
		{5, "gone/1", "good,zz", "good:42[] zz:42[]"},
		{5, "gone/1", "good,zz,gone", "gone:3[] good:0[0 1 2] zz:3[]"},
		{2, "b/1", "", "good:0[0 1] > good/2"},
		{4, "good/1", "", "good:0[1 2] lost:0[0 1] > lost/2"},
		{3, "good/0", "", "good:0[0 1 2] > lost/0"},
	} {
		var topics []string
		if test.topics != "" {
			topics = strings.Split(test.topics, ",")
		}
		if got := describeTopics(t, n, test.limit, test.cursor, topics...); got != test.want {
			t.Errorf("limit %d, cursor %q, topics %q:\n%s\nwant\n%s", test.limit, test.cursor, test.topics, got, test.want)
		}
	}
	n, _ = imageNode(t, threeBrokers(t), map[string]string{"max.request.partition.size.limit": "2"})
	if got := describeTopics(t, n, 2000, "", "good"); got != "good:0[0 1] > good/2" {
		t.Errorf("with a lower limit of the broker: %s", got)
	}
}

func TestDescribeTopicPartitionsFields(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 2000
	resp := ask[*kmsg.DescribeTopicPartitionsResponse](t, n, "PLAINTEXT", req)
	if internal := resp.Topics[0]; !internal.IsInternal || internal.TopicID != uid(3) || internal.AuthorizedOperations != 3576 {
		t.Errorf("__consumer_offsets: %+v", internal)
	}
	var got []string
	for _, p := range resp.Topics[2].Partitions {
		if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
			t.Errorf("partition %d: null eligible leader replicas", p.Partition)
		}
		got = append(got, fmt.Sprintf("%d: error %d leader %d epoch %d replicas %v isr %v elr %v offline %v",
			p.Partition, p.ErrorCode, p.LeaderID, p.LeaderEpoch, p.Replicas, p.ISR, p.EligibleLeaderReplicas, p.OfflineReplicas))
	}
	const want = "0: error 0 leader -1 epoch 3 replicas [3] isr [3] elr [] offline [3]\n" +
		"1: error 0 leader 2 epoch 4 replicas [2 3] isr [2] elr [] offline [3]\n" +
		"2: error 0 leader 1 epoch 0 replicas [1 9 2] isr [1] elr [2] offline [9 2]"
	if strings.Join(got, "\n") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}
