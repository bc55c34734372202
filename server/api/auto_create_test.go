package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// created shows what the controller was asked to create.
func created(c *fakeController) string {
	var out []string
	for _, req := range c.requests() {
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
			text := fmt.Sprintf("%s/%d/%d", topic.Topic, topic.NumPartitions, topic.ReplicationFactor)
			for _, config := range topic.Configs {
				text += fmt.Sprintf(" %s=%s", config.Name, *config.Value)
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, "\n")
}

func acceptAll(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	for _, asked := range req.(*kmsg.CreateTopicsRequest).Topics {
		topic := kmsg.NewCreateTopicsResponseTopic()
		topic.Topic = asked.Topic
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil
}

// compatibility 3.3
func TestMetadataCreatesTopics(t *testing.T) {
	for _, test := range []struct {
		name    string
		version int16
		allow   bool
		static  map[string]string
		topic   string
		want    string
	}{
		{"old versions always allow it", 3, false, nil, "new", "new/1/1"},
		{"the client allows it", 13, true, nil, "new", "new/1/1"},
		{"the client forbids it", 4, false, nil, "new", ""},
		{"the broker forbids it", 13, true, map[string]string{"auto.create.topics.enable": "false"}, "new", ""},
		{"counts of the broker", 13, true, map[string]string{"num.partitions": "7", "default.replication.factor": "2"}, "new", "new/7/2"},
		{"a bad name", 13, true, nil, "bad name", ""},
		{"a topic that exists", 13, true, nil, "good", ""},
		{
			"group offsets", 13, true, nil, "__consumer_offsets",
			"__consumer_offsets/50/1 cleanup.policy=compact compression.type=producer segment.bytes=104857600",
		},
		{
			"group offsets as the user says", 13, true,
			map[string]string{
				"offsets.topic.replication.factor": "3", "offsets.topic.num.partitions": "5", "offsets.topic.segment.bytes": "1000",
			},
			"__consumer_offsets", "__consumer_offsets/5/3 cleanup.policy=compact compression.type=producer segment.bytes=1000",
		},
		{
			"transaction states", 13, true, nil, "__transaction_state",
			"__transaction_state/50/1 cleanup.policy=compact compression.type=uncompressed min.insync.replicas=1 " +
				"segment.bytes=104857600 unclean.leader.election.enable=false",
		},
		{
			"share states", 13, true, nil, "__share_group_state",
			"__share_group_state/50/1 cleanup.policy=delete compression.type=producer min.insync.replicas=1 retention.ms=-1 segment.bytes=104857600",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				image := imageOf(t,
					&schema.RegisterBrokerRecord{BrokerID: 1, EndPoints: []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: "h", Port: 1}}},
					&schema.RegisterBrokerRecord{BrokerID: 2, Fenced: true},
					&schema.TopicRecord{Name: "good", TopicID: uid(1)})
				n, c := imageNode(t, image, test.static)
				c.handle = acceptAll
				req := metadataRequest(test.version, test.topic)
				req.AllowAutoTopicCreation = test.allow
				resp := ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", req)
				if code := resp.Topics[0].ErrorCode; test.want != "" && code != 3 {
					t.Errorf("first answer: %d", code)
				}
				synctest.Wait()
				if got := created(c); got != test.want {
					t.Errorf("created %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestMetadataOfAllTopicsCreatesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := imageNode(t, threeBrokers(t), nil)
		req := metadataRequest(13)
		req.Topics, req.AllowAutoTopicCreation = nil, true
		ask[*kmsg.MetadataResponse](t, n, "PLAINTEXT", req)
		synctest.Wait()
		if got := created(c); got != "" {
			t.Errorf("created %s", got)
		}
	})
}

// A topic is asked for once while its creation is under way, and again after it failed; Close ends what is under way.
func TestTopicCreatorLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := metadata.Empty()
		n, c := imageNode(t, image, nil)
		release := make(chan struct{})
		c.handle = func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
			select {
			case <-release:
				return acceptAll(ctx, req)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		name := []byte("a")
		n.TopicCreator.Create(controller.Caller{}, string(name), "b")
		n.TopicCreator.Create(controller.Caller{}, "b", "c")
		n.TopicCreator.Create(controller.Caller{}, "a", "b", "c")
		synctest.Wait()
		if got := len(c.requests()); got != 2 {
			t.Errorf("%d requests", got)
		}
		close(release)
		synctest.Wait()
		n.TopicCreator.Create(controller.Caller{}, "a")
		synctest.Wait()
		if got := len(c.requests()); got != 3 {
			t.Errorf("%d requests after the first ones ended", got)
		}
		release = make(chan struct{})
		n.TopicCreator.Create(controller.Caller{}, "d")
		synctest.Wait()
		n.TopicCreator.Close()
		n.TopicCreator.Create(controller.Caller{}, "e")
		synctest.Wait()
		if got := len(c.requests()); got != 4 {
			t.Errorf("%d requests after Close", got)
		}
	})
}
