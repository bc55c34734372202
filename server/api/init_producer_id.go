package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// InitProducerId (22) gives an idempotent producer its id, and a transactional one its id and the next epoch.
//
//	v1     throttle time changed its meaning
//	v2     flexible
//	v3     producer id and epoch of a producer that recovers (KIP-360)
//	v4     clients know PRODUCER_FENCED
//	v5     clients know TRANSACTION_ABORTABLE (KIP-890)
//
// v6 (two-phase commit, KIP-939) is unstable in Kafka and not advertised.
func handleInitProducerID(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		resp.ErrorCode = int16(protocol.InvalidRequest)
		return reply(resp)
	}
	if req.TransactionalID != nil {
		return await(n.Transactions.InitProducerID(req))
	}
	return Result{Detached: true, Later: func(ctx context.Context) Result {
		id, err := n.ProducerIDs.Next(ctx)
		if ctx.Err() != nil {
			return fail(ctx.Err())
		}
		if err != nil {
			resp.ErrorCode = int16(protocol.CodeOf(err))
			return reply(resp)
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
		return reply(resp)
	}}
}
