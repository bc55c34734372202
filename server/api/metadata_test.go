package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadataRequest(version int16, topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = version, []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

func topicNames(resp *kmsg.MetadataResponse) string {
	var out []string
	for _, t := range resp.Topics {
		out = append(out, *t.Topic)
	}
	return strings.Join(out, " ")
}

// compatibility 3.1
func TestMetadataNullAndEmptyTopics(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	const all = "__consumer_offsets good lost"
	for version := int16(0); version <= 13; version++ {
		empty, null := metadataRequest(version), metadataRequest(version)
		null.Topics = nil
		want := ""
		if version == 0 {
			want = all
		}
		resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", empty)
		if got := topicNames(resp); got != want || len(resp.Brokers) != 2 {
			t.Errorf("v%d empty: %q and %d brokers", version, got, len(resp.Brokers))
		}
		if got := topicNames(ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", null)); got != all {
			t.Errorf("v%d null: %q", version, got)
		}
	}
}

// compatibility 3.7
func TestMetadataBrokersByListener(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	show := func(listener string) string {
		var out []string
		for _, b := range ask[*kmsg.MetadataResponse](t, n, listener, metadataRequest(12)).Brokers {
			rack := "-"
			if b.Rack != nil {
				rack = *b.Rack
			}
			out = append(out, fmt.Sprintf("%d=%s:%d/%s", b.NodeID, b.Host, b.Port, rack))
		}
		return strings.Join(out, " ")
	}
	if got := show("PLAINTEXT"); got != "1=one:9092/r1 2=two:9092/-" {
		t.Errorf("PLAINTEXT: %s", got)
	}
	if got := show("EXTRA"); got != "1=extra:9/r1" {
		t.Errorf("EXTRA: %s", got)
	}
	resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", metadataRequest(12))
	if *resp.ClusterID != testCluster || resp.ControllerID != 1 || resp.ErrorCode != 0 {
		t.Errorf("cluster %s, controller %d, error %d", *resp.ClusterID, resp.ControllerID, resp.ErrorCode)
	}
	for _, active := range []int32{3000, 3, -1} { // a controller that is no broker, a fenced broker, none
		c.active = active
		if id := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", metadataRequest(12)).ControllerID; id != 1 && id != 2 {
			t.Errorf("controller %d while %d is active", id, active)
		}
	}
	n, _ = imageNode(t, imageOf(t), nil)
	if id := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", metadataRequest(12)).ControllerID; id != -1 {
		t.Errorf("controller %d of an empty cluster", id)
	}
}

// compatibility 3.2
func TestMetadataTopicErrors(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	for version := int16(4); version <= 13; version++ {
		resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT",
			metadataRequest(version, "missing", "good", "bad name", "missing", "good", "__transaction_state"))
		var got []string
		for _, topic := range resp.Topics {
			got = append(got, fmt.Sprintf("%s:%d:%v:%d", *topic.Topic, topic.ErrorCode, topic.IsInternal, len(topic.Partitions)))
			if (topic.ErrorCode != 0) != (topic.TopicID == [16]byte{}) && version >= 10 {
				t.Errorf("v%d %s: id %x", version, *topic.Topic, topic.TopicID)
			}
			if topic.AuthorizedOperations != -2147483648 {
				t.Errorf("v%d %s: operations %d", version, *topic.Topic, topic.AuthorizedOperations)
			}
		}
		want := []string{"good:0:false:3", "missing:3:false:0", "bad name:17:false:0", "__transaction_state:3:true:0"}
		if !slices.Equal(got, want) {
			t.Errorf("v%d: %v", version, got)
		}
	}
	if len(c.requests()) != 0 {
		t.Errorf("topics were created: %v", c.requests())
	}
}

func TestMetadataByID(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	byID := func(version int16, ids ...byte) *kmsg.MetadataRequest {
		req := metadataRequest(version)
		for _, id := range ids {
			topic := kmsg.NewMetadataRequestTopic()
			topic.TopicID = uid(id)
			req.Topics = append(req.Topics, topic)
		}
		return req
	}
	for version := int16(12); version <= 13; version++ {
		req := byID(version, 77, 1, 77, 1)
		req.Topics = append(req.Topics, metadataRequest(version, "lost").Topics...) // names beside ids are not looked at
		resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", req)
		if len(resp.Topics) != 2 || *resp.Topics[0].Topic != "good" || resp.Topics[0].TopicID != uid(1) {
			t.Fatalf("v%d: %+v", version, resp.Topics)
		}
		unknown := resp.Topics[1]
		if unknown.Topic != nil || unknown.TopicID != uid(77) || unknown.ErrorCode != int16(protocol.UnknownTopicID) || len(unknown.Partitions) != 0 {
			t.Errorf("v%d unknown id: %+v", version, unknown)
		}
	}
	for version := int16(10); version <= 11; version++ {
		req := byID(version, 1)
		req.Topics = append(req.Topics, metadataRequest(version, "good").Topics...)
		resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", req)
		if len(resp.Brokers) != 0 || resp.ClusterID != nil || resp.ControllerID != -1 || len(resp.Topics) != 2 {
			t.Errorf("v%d: %+v", version, resp)
		}
		if a, b := resp.Topics[0], resp.Topics[1]; a.ErrorCode != 42 || *a.Topic != "" || a.TopicID != uid(1) || b.ErrorCode != 42 || *b.Topic != "good" {
			t.Errorf("v%d: %+v", version, resp.Topics)
		}
	}
	zero := byID(13, 1)
	zero.Topics = append(zero.Topics, kmsg.NewMetadataRequestTopic())
	if resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", zero); len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
		t.Errorf("a zero id beside another: %+v", resp.Topics)
	}
}

func TestMetadataPartitions(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	show := func(version int16, listener string) string {
		resp := ask[*kmsg.MetadataResponse](t, n, listener, metadataRequest(version, "lost"))
		var out []string
		for _, p := range resp.Topics[0].Partitions {
			out = append(out, fmt.Sprintf("%d: error %d leader %d epoch %d replicas %v isr %v offline %v",
				p.Partition, p.ErrorCode, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, p.OfflineReplicas))
		}
		return strings.Join(out, "\n")
	}
	for _, test := range []struct {
		version  int16
		listener string
		want     string
	}{
		{0, "PLAINTEXT", "" +
			"0: error 5 leader -1 epoch -1 replicas [] isr [] offline []\n" +
			"1: error 9 leader 2 epoch -1 replicas [2] isr [2] offline []\n" +
			"2: error 9 leader 1 epoch -1 replicas [1 2] isr [1] offline []"},
		{4, "PLAINTEXT", "" +
			"0: error 5 leader -1 epoch -1 replicas [3] isr [3] offline []\n" +
			"1: error 0 leader 2 epoch -1 replicas [2 3] isr [2] offline []\n" +
			"2: error 0 leader 1 epoch -1 replicas [1 9 2] isr [1] offline []"},
		{13, "PLAINTEXT", "" +
			"0: error 5 leader -1 epoch 3 replicas [3] isr [3] offline [3]\n" +
			"1: error 0 leader 2 epoch 4 replicas [2 3] isr [2] offline [3]\n" +
			"2: error 0 leader 1 epoch 0 replicas [1 9 2] isr [1] offline [9 2]"},
		{5, "EXTRA", "" +
			"0: error 5 leader -1 epoch -1 replicas [3] isr [3] offline [3]\n" +
			"1: error 5 leader -1 epoch -1 replicas [2 3] isr [2] offline [2 3]\n" +
			"2: error 0 leader 1 epoch -1 replicas [1 9 2] isr [1] offline [9 2]"},
		{6, "EXTRA", "" +
			"0: error 5 leader -1 epoch -1 replicas [3] isr [3] offline [3]\n" +
			"1: error 72 leader -1 epoch -1 replicas [2 3] isr [2] offline [2 3]\n" +
			"2: error 0 leader 1 epoch -1 replicas [1 9 2] isr [1] offline [9 2]"},
	} {
		if got := show(test.version, test.listener); got != test.want {
			t.Errorf("v%d %s:\n%s\nwant\n%s", test.version, test.listener, got, test.want)
		}
	}
}

// The numbers are those of Apache Kafka 4.3.1 without restrictions.
func TestMetadataAuthorizedOperations(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	for version := int16(8); version <= 13; version++ {
		req := metadataRequest(version, "good", "missing")
		req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
		resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", req)
		if resp.Topics[0].AuthorizedOperations != 3576 {
			t.Errorf("v%d topic: %d", version, resp.Topics[0].AuthorizedOperations)
		}
		want := int32(8096)
		if version > 10 {
			want = -2147483648
		}
		if resp.AuthorizedOperations != want {
			t.Errorf("v%d cluster: %d", version, resp.AuthorizedOperations)
		}
	}
}
