package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
)

// InitProducerId (22) gives an idempotent producer its id. Versions differ for transactional producers only:
//
//	v1     throttle time changed its meaning
//	v2     flexible
//	v3     producer id and epoch of a producer that recovers (KIP-360)
//	v4     clients know PRODUCER_FENCED
//	v5     clients know TRANSACTION_ABORTABLE (KIP-890)
//
// v6 (two-phase commit, KIP-939) is unstable in Kafka and not advertised. Transactional ids are refused with INVALID_REQUEST until
// transactions are served.
func handleInitProducerID(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		resp.ErrorCode = int16(protocol.InvalidRequest)
		return reply(resp)
	}
	if id := req.TransactionalID; id != nil {
		if *id != "" {
			n.Logger.Warn("transactional id refused: transactions are not supported yet",
				zap.String("transactional id", *id), zap.Stringer("remote", r.Remote))
		}
		resp.ErrorCode = int16(protocol.InvalidRequest)
		return reply(resp)
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
