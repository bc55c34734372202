package integration

import (
	"net/http"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/servertest"
)

// TestRequestMetrics has requests fail and wait, and finds them counted by their error codes and among those that wait.
func TestRequestMetrics(t *testing.T) {
	b := servertest.Start(t, servertest.With("ottla.metrics.listener", "127.0.0.1:0"))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	created, err := kadm.NewClient(cl).CreateTopics(t.Context(), 1, 1, nil, "there")
	if err != nil {
		t.Fatal(err)
	}
	broker := cl.Broker(1)
	offsets := kmsg.NewPtrListOffsetsRequest()
	for name, partitions := range map[string][]int32{"there": {0, 1, 2}, "nowhere": {0}} {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for _, p := range partitions {
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition, one.Timestamp = p, -1
			topic.Partitions = append(topic.Partitions, one)
		}
		offsets.Topics = append(offsets.Topics, topic)
	}
	for range 2 {
		if _, err := broker.Request(t.Context(), offsets); err != nil {
			t.Fatal(err)
		}
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes = 600_000, 1, 1000
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "there", TopicID: created["there"].ID, Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}}}
	fetch.Topics[0].Partitions[0].PartitionMaxBytes = 1000
	answered := make(chan error, 1)
	go func() {
		_, err := broker.Request(t.Context(), fetch)
		answered <- err
	}()
	const waiting = `kafka_server_delayedoperationpurgatory_purgatorysize{delayedOperation="Fetch"}`
	awaitSamples(t, b.Metrics, map[string]string{waiting: "1"})
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "there", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	awaitSamples(t, b.Metrics, map[string]string{
		waiting: "0",
		`kafka_server_delayedoperationpurgatory_purgatorysize{delayedOperation="Produce"}`:                    "0",
		`kafka_network_requestmetrics_errors_total{error="UNKNOWN_TOPIC_OR_PARTITION",request="ListOffsets"}`: "6",
		`kafka_network_requestmetrics_errors_total{error="NONE",request="ListOffsets"}`:                       "2",
		`kafka_network_requestmetrics_errorspersec{error="NONE",request="Produce"}`:                           "1",
		`kafka_network_requestmetrics_errors_total{error="NONE",request="Fetch"}`:                             "2", // of the whole and of a partition
		`kafka_network_requestmetrics_errors_total{error="UNKNOWN_TOPIC_OR_PARTITION",request="Fetch"}`:       "",
	})
}
