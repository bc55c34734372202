package api

import (
	"context"
	"errors"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// forwardRetry is how long a broker waits before it asks again for the active controller.
const forwardRetry = 20 * time.Millisecond

// forward passes a request to the active controller when its turn to be answered comes, so that the connection's reader goes on.
// While there is no active controller it tries again, up to request.timeout.ms. A request that found none is answered by failed, with
// REQUEST_TIMED_OUT: a client never sees NOT_CONTROLLER from a broker (Kafka's ForwardingManager). On a controller listener it does, at once.
func forward(n *Node, req kmsg.Request, failed func(error) kmsg.Response) Result {
	if n.Direct {
		return Result{Later: func(ctx context.Context) Result { return decideHere(ctx, n, req, failed) }}
	}
	return Result{Later: func(ctx context.Context) Result {
		limited, cancel := context.WithTimeout(ctx, n.Config().Duration("request.timeout.ms"))
		defer cancel()
		retry := time.NewTicker(forwardRetry)
		defer retry.Stop()
		for {
			resp, err := n.Controller.Handle(limited, req)
			switch {
			case err == nil:
				return reply(resp)
			case ctx.Err() != nil:
				return fail(ctx.Err())
			case errors.Is(err, protocol.NotController):
			case limited.Err() != nil:
				return reply(failed(protocol.RequestTimedOut))
			default:
				n.Logger.Warn("the controller could not be asked", zap.Int16("key", req.Key()), zap.Error(err))
				return reply(failed(err))
			}
			select {
			case <-retry.C:
			case <-limited.Done():
				if ctx.Err() != nil {
					return fail(ctx.Err())
				}
				return reply(failed(protocol.RequestTimedOut))
			}
		}
	}}
}

// decideHere has this node's controller answer, if it is the active one.
func decideHere(ctx context.Context, n *Node, req kmsg.Request, failed func(error) kmsg.Response) Result {
	resp, err := n.Controller.Handle(ctx, req)
	switch {
	case err == nil:
		return reply(resp)
	case ctx.Err() != nil:
		return fail(ctx.Err())
	case errors.Is(err, protocol.NotController):
		return reply(failed(wrongController(n.Controller.ActiveID())))
	}
	return reply(failed(err))
}

// wrongController says who leads (ControllerExceptions.newWrongControllerException).
func wrongController(active int32) error {
	if active < 0 {
		return protocol.Errorf(protocol.NotController, "No controller appears to be active.")
	}
	return protocol.Errorf(protocol.NotController, "The active controller appears to be node %d.", active)
}
