package api

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// countingIDs hands out ids one by one, or fails.
type countingIDs struct {
	next int64
	err  error
}

func (c *countingIDs) Next(context.Context) (int64, error) {
	if c.err != nil {
		return 0, c.err
	}
	c.next++
	return c.next, nil
}

func TestInitProducerID(t *testing.T) {
	h := newHosting(t, nil)
	ids := &countingIDs{next: 1000}
	h.ProducerIDs = ids
	ask := func(version int16, transactionalID *string, id int64, epoch int16) string {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = version, transactionalID, id, epoch
		resp := call[*kmsg.InitProducerIDResponse](h, req)
		return fmt.Sprintf("%v %d/%d", protocol.Code(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
	}
	for version := int16(0); version <= 5; version++ {
		want := fmt.Sprintf("NONE %d/0", ids.next+1)
		if got := ask(version, nil, -1, -1); got != want {
			t.Errorf("v%d: %s, want %s", version, got, want)
		}
	}
	want := fmt.Sprintf("NONE %d/0", ids.next+1)
	if got := ask(3, nil, 7, 3); got != want {
		t.Errorf("an epoch of its own: %s, want %s", got, want)
	}
	if got := ask(3, nil, 7, -1); got != "INVALID_REQUEST -1/-1" {
		t.Errorf("an id without an epoch: %s", got)
	}
	ids.err = protocol.CoordinatorLoadInProgress
	if got := ask(3, nil, -1, -1); got != "COORDINATOR_LOAD_IN_PROGRESS -1/-1" {
		t.Errorf("without a block of ids: %s", got)
	}
}

func TestInitProducerIDOfATransactionalID(t *testing.T) {
	eachTransactionVersion(t, 22, func(t *testing.T, n *Node, version int16) {
		for _, c := range []struct {
			id      string
			timeout int32
			want    string
		}{
			{"", 60_000, "INVALID_REQUEST -1/-1"},
			{"tx", 0, "INVALID_TRANSACTION_TIMEOUT -1/-1"},
			{"tx", -1, "INVALID_TRANSACTION_TIMEOUT -1/-1"},
			{"tx", 900_001, "INVALID_TRANSACTION_TIMEOUT -1/-1"},
			{"tx", 900_000, "NONE 1001/1"},
			{"another", 1, "NONE 1002/0"},
		} {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version, req.TransactionalID, req.TransactionTimeoutMillis = version, &c.id, c.timeout
			resp := ask[*kmsg.InitProducerIDResponse](t, n, "PLAINTEXT", req)
			if got := fmt.Sprintf("%v %d/%d", protocol.Code(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch); got != c.want {
				t.Errorf("%q with %d ms: %s, want %s", c.id, c.timeout, got, c.want)
			}
		}
	})
}
