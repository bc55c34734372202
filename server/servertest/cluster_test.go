package servertest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// limit is how long the slowest machine may take; some seconds are the rule.
const limit = 2 * time.Minute

// clusterClient is a client of all brokers, with a topic of three replicas in one partition for each of partitions. A few small records without a key all go to one of
// them, unless more options say otherwise.
func clusterClient(t *testing.T, b *servertest.Broker, topic string, partitions int32, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	// A leader that was cut off is given up soon. A broker that is some records behind may not know the topic yet.
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addrs...), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.UnknownTopicRetries(-1), kgo.AlwaysRetryEOF(),
		kgo.ProduceRequestTimeout(2 * time.Second), kgo.MetadataMinAge(200 * time.Millisecond), kgo.MetadataMaxAge(2 * time.Second),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	min := "2"
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 3, map[string]*string{"min.insync.replicas": &min}, topic); err != nil {
		t.Fatal(err)
	}
	return client
}

// produce writes count records from number on, and wants all acknowledged within a time.
func produce(t *testing.T, client *kgo.Client, from, count int, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for n := from; n < from+count; n++ {
		if err := client.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(n))).FirstErr(); err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
	}
}

// wantAll reads the topic until it has numbers 0 to count-1, each once.
func wantAll(t *testing.T, b *servertest.Broker, topic string, count int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	seen := map[string]int{}
	for len(seen) < count {
		fetched := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records: %v", len(seen), count, fetched.Err())
		}
		fetched.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	for value, times := range seen {
		if times != 1 {
			t.Errorf("record %s came %d times", value, times)
		}
	}
}

// eventually waits until ok, asked again and again, is true. If it never is, the test fails and tells what was seen last.
func eventually(t *testing.T, what string, ok func() (bool, any)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, seen := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not come about; seen last: %+v", what, seen)
		}
	}
}

// awaitInSync waits until every partition of a topic has n replicas in its ISR.
func awaitInSync(t *testing.T, client *kgo.Client, topic string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("an ISR of %d in all partitions of %s", n, topic), func() (bool, any) {
		topics, err := kadm.NewClient(client).ListTopics(t.Context(), topic)
		if err != nil {
			return false, err
		}
		for _, p := range topics[topic].Partitions {
			if len(p.ISR) != n {
				return false, p
			}
		}
		return len(topics[topic].Partitions) > 0, topics[topic]
	})
}

func TestClusterGoesOnWithoutAnyOfItsBrokers(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3))
	client := clusterClient(t, b, "orders", 3)
	written := 0
	write := func() {
		t.Helper()
		produce(t, client, written, 30, limit)
		written += 30
	}
	write()
	for i := range b.Addrs {
		b.Kill(t, i)
		write()
		b.Restart(t, i)
		awaitInSync(t, client, "orders", 3)
		write()
	}
	wantAll(t, b, "orders", written)
}

func TestClusterRollsWithoutLosses(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3))
	client := clusterClient(t, b, "orders", 3)
	for i := range b.Addrs {
		produce(t, client, 20*i, 10, limit)
		b.Stop(t, i)
		produce(t, client, 20*i+10, 10, limit)
		b.Restart(t, i)
		awaitInSync(t, client, "orders", 3)
	}
	wantAll(t, b, "orders", 60)
}

func TestClusterSurvivesPartitions(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3))
	client := clusterClient(t, b, "orders", 3)
	produce(t, client, 0, 10, limit)
	b.Isolate(0)
	produce(t, client, 10, 10, limit)
	b.Heal()
	awaitInSync(t, client, "orders", 3)
	b.Deafen(1, 2)
	produce(t, client, 20, 10, limit)
	b.Heal()
	awaitInSync(t, client, "orders", 3)
	wantAll(t, b, "orders", 30)
}

func TestBrokersOfOneRole(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(4))
	client := clusterClient(t, b, "orders", 8)
	eventually(t, "all brokers", func() (bool, any) { // whoever is asked may be some records behind
		cluster, err := kadm.NewClient(client).ListBrokers(t.Context())
		return err == nil && slices.Equal(cluster.NodeIDs(), []int32{1, 2, 3, 4}), fmt.Sprint(cluster, err)
	})
	produce(t, client, 0, 10, limit)
	b.Kill(t, 3) // which is no controller
	produce(t, client, 10, 10, limit)
	b.Restart(t, 3)
	wantAll(t, b, "orders", 20)
}
