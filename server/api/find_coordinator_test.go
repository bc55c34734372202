package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

// coordinatorAnswer is the answer for one key in any version.
type coordinatorAnswer struct {
	code    protocol.Code
	message *string
	node    int32
	host    string
	port    int32
}

func find(t *testing.T, n *Node, listener string, version int16, keyType int8, key string) coordinatorAnswer {
	t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = version, keyType, key, []string{key, key + "2"}
	resp := ask[*kmsg.FindCoordinatorResponse](t, n, listener, req)
	if version < 4 {
		return coordinatorAnswer{protocol.Code(resp.ErrorCode), resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port}
	}
	if len(resp.Coordinators) != 2 || resp.Coordinators[0].Key != key || resp.Coordinators[1].Key != key+"2" {
		t.Fatalf("version %d: %+v", version, resp.Coordinators)
	}
	c := resp.Coordinators[0]
	return coordinatorAnswer{protocol.Code(c.ErrorCode), c.ErrorMessage, c.NodeID, c.Host, c.Port}
}

func TestFindCoordinator(t *testing.T) {
	eachVersion(t, 10, func(t *testing.T, n *Node, version int16) {
		message := func(f coordinatorAnswer, old string) {
			t.Helper()
			want := map[bool]string{true: old}[version < 4]
			if version == 0 {
				return
			}
			if f.message == nil || *f.message != want {
				t.Errorf("message %v, want %q", f.message, want)
			}
		}
		f := find(t, n, "PLAINTEXT", version, 0, "g")
		if f.code != protocol.None || f.node != 1 || f.host != "here" || f.port != 9092 {
			t.Errorf("found %+v", f)
		}
		message(f, "NONE")
		if f := find(t, n, "OTHER", version, 0, "g"); f.code != protocol.None || f.host != "there" || f.port != 19092 {
			t.Errorf("on the other listener %+v", f)
		}
		f = find(t, n, "NOWHERE", version, 0, "g")
		if f.code != protocol.CoordinatorNotAvailable || f.node != -1 || f.host != "" || f.port != -1 {
			t.Errorf("on a listener that the broker lacks: %+v", f)
		}
		message(f, "The coordinator is not available.")
		for _, keyType := range []int8{2, 9} {
			if version == 0 {
				continue // has no key type
			}
			if f := find(t, n, "PLAINTEXT", version, keyType, "g"); f.code != protocol.InvalidRequest || f.node != -1 || f.port != -1 ||
				(*f.message == "") != (keyType == 2 && version >= 4 && version < 6) {
				t.Errorf("key type %d: %+v", keyType, f)
			}
		}
	})
}

func TestFindCoordinatorCreatesTheTopic(t *testing.T) {
	for keyType, topic := range []string{protocol.GroupMetadataTopic, protocol.TransactionStateTopic} {
		n, controller := imageNode(t, imageOf(t, &schema.RegisterBrokerRecord{
			BrokerID: 1, EndPoints: []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: "here", Port: 9092}},
		}), nil)
		values := func() config.Values { return n.Config() }
		n.Groups = group.New(group.Options{NodeID: 1, Config: values, Image: n.Image, Logger: n.Logger})
		n.Transactions = txn.New(txn.Options{NodeID: 1, Config: values, Image: n.Image, Logger: n.Logger})
		if f := find(t, n, "PLAINTEXT", 3, int8(keyType), "g"); f.code != protocol.CoordinatorNotAvailable || f.node != -1 {
			t.Errorf("found %+v", f)
		}
		n.TopicCreator.Close()
		n.Groups.Close()
		n.Transactions.Close()
		if !slices.ContainsFunc(controller.requests(), func(req kmsg.Request) bool {
			create, ok := req.(*kmsg.CreateTopicsRequest)
			return ok && create.Topics[0].Topic == topic && create.Topics[0].NumPartitions == 50 && create.Topics[0].ReplicationFactor == 1
		}) {
			t.Errorf("%s: the controller was asked %+v", topic, controller.requests())
		}
	}
}

func TestFindCoordinatorOfTransactions(t *testing.T) {
	eachTransactionVersion(t, 10, func(t *testing.T, n *Node, version int16) {
		if version == 0 {
			return // has no key type
		}
		if f := find(t, n, "PLAINTEXT", version, 1, "tx"); f.code != protocol.None || f.node != 1 || f.host != "here" || f.port != 9092 {
			t.Errorf("found %+v", f)
		}
	})
}
