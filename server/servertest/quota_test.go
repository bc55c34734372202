package servertest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/servertest"
)

// TestQuotasThroughEachBroker: whichever broker a client asks, the active controller decides by who the client is.
func TestQuotasThroughEachBroker(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(2))
	connect := func(id string) *kgo.Client {
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.ClientID(id))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	admin := connect("admin")
	var brokers kadm.BrokerDetails
	eventually(t, "both brokers", func() (ok bool, seen any) {
		var err error
		brokers, err = kadm.NewClient(admin).ListBrokers(t.Context())
		return err == nil && len(brokers) == 2, fmt.Sprint(brokers, err)
	})
	for i, node := range brokers.NodeIDs() {
		client := []string{"first", "second"}[i]
		user, limited := "ANONYMOUS", kmsg.NewPtrAlterClientQuotasRequest()
		limited.Entries = []kmsg.AlterClientQuotasRequestEntry{{
			Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}, {Type: "client-id", Name: &client}},
			Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "controller_mutation_rate", Value: 0.01}},
		}}
		resp, err := admin.Broker(int(node)).RetriableRequest(t.Context(), limited)
		if err != nil || resp.(*kmsg.AlterClientQuotasResponse).Entries[0].ErrorCode != 0 {
			t.Fatalf("broker %d: %+v %v", node, resp, err)
		}
		for _, other := range brokers.NodeIDs() {
			eventually(t, "the quota on each broker", func() (bool, any) {
				resp, err := admin.Broker(int(other)).RetriableRequest(t.Context(), kmsg.NewPtrDescribeClientQuotasRequest())
				return err == nil && len(resp.(*kmsg.DescribeClientQuotasResponse).Entries) == i+1, fmt.Sprintf("broker %d: %+v %v", other, resp, err)
			})
		}
	}
	create := func(client *kgo.Client, node int32, topic string) error {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 15_000
		wanted := kmsg.NewCreateTopicsRequestTopic()
		wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, 1, 1
		req.Topics = append(req.Topics, wanted)
		resp, err := client.Broker(int(node)).Request(t.Context(), req)
		if err != nil {
			t.Fatalf("broker %d: %v", node, err)
		}
		return kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	}
	accepted := func(err error) bool { // or decided by a controller that did not live to say so
		return err == nil || errors.Is(err, kerr.TopicAlreadyExists)
	}
	for i, node := range brokers.NodeIDs() {
		id := []string{"first", "second"}[i]
		if err := create(connect(id), node, id+"-within"); !accepted(err) {
			t.Errorf("%s: %v", id, err)
		}
		for _, other := range brokers.NodeIDs() { // by connections of their own: a throttled one is muted
			err := error(nil)
			for n := 0; n < 5 && accepted(err); n++ { // each controller counts for itself, and a busy machine may have an election meanwhile
				err = create(connect(id), other, fmt.Sprintf("%s-beyond-%d-%d", id, other, n))
			}
			if !errors.Is(err, kerr.ThrottlingQuotaExceeded) {
				t.Errorf("%s through broker %d: %v", id, other, err)
			}
		}
		if err := create(connect("other"), node, id+"-of-another"); !accepted(err) {
			t.Errorf("another client through broker %d: %v", node, err)
		}
	}
}
