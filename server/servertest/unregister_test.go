package servertest_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/servertest"
)

// TestUnregisteredBrokerReturnsByARestart: a broker that lives is struck off; the others go on without it, and it takes part again once it is started anew.
func TestUnregisteredBrokerReturnsByARestart(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3))
	client := clusterClient(t, b, "orders", 3)
	awaitInSync(t, client, "orders", 3)
	produce(t, client, 0, 10, limit)
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = 2
	if resp, err := req.RequestWith(t.Context(), client); err != nil || resp.ErrorCode != 0 {
		t.Fatal(err, resp)
	}
	registered := func(n int) func() (bool, any) {
		return func() (bool, any) {
			all, err := kadm.NewClient(client).ListBrokers(t.Context())
			return err == nil && len(all) == n, all
		}
	}
	eventually(t, "two brokers", registered(2))
	awaitInSync(t, client, "orders", 2)
	produce(t, client, 10, 10, limit)
	b.Stop(t, 1)
	b.Restart(t, 1)
	eventually(t, "three brokers", registered(3))
	awaitInSync(t, client, "orders", 3)
	produce(t, client, 20, 10, limit)
	wantAll(t, b, "orders", 30)
}
