package server

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

// lifecycle keeps the broker registered with the controller (Kafka's BrokerLifecycleManager): one registration, then a
// heartbeat at every interval, and one at once after each metadata change that was applied, because controllers answer
// "created" only when the new leaders have applied it. Its goroutine is started by start and stopped by stop.
type lifecycle struct {
	controller api.Controller
	register   *kmsg.BrokerRegistrationRequest
	interval   time.Duration
	offline    func() []protocol.UUID // the log dirs that are lost
	dirFailed  <-chan struct{}        // signalled when one more is
	logger     *zap.Logger

	epoch   atomic.Int64  // the broker's epoch; -1 before registration
	offset  atomic.Int64  // of the image that was applied last
	changed chan struct{} // signalled by applied; has room for one

	ready     chan struct{} // closed when an applied image shows this broker unfenced
	readyOnce sync.Once
	cancel    context.CancelFunc
	done      chan struct{}
}

func newLifecycle(c api.Controller, register *kmsg.BrokerRegistrationRequest, interval time.Duration, offline func() []protocol.UUID,
	dirFailed <-chan struct{}, l *zap.Logger,
) *lifecycle {
	lc := &lifecycle{
		controller: c, register: register, interval: interval, offline: offline, dirFailed: dirFailed, logger: l,
		changed: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{}),
	}
	lc.epoch.Store(-1)
	lc.offset.Store(-1)
	return lc
}

// start registers the broker and heartbeats until stop.
func (lc *lifecycle) start() {
	ctx, cancel := context.WithCancel(context.Background())
	lc.cancel = cancel
	go func() {
		defer close(lc.done)
		lc.run(ctx)
	}()
}

// stop ends the goroutine. Without a start it does nothing.
func (lc *lifecycle) stop() {
	if lc.cancel != nil {
		lc.cancel()
		<-lc.done
	}
}

// applied notes that image is in force on this broker.
func (lc *lifecycle) applied(image *metadata.Image) {
	lc.offset.Store(image.Offset())
	if b := image.Broker(lc.register.BrokerID); b != nil && b.Epoch == lc.epoch.Load() && !b.Fenced {
		lc.readyOnce.Do(func() { close(lc.ready) })
	}
	select {
	case lc.changed <- struct{}{}:
	default: // a heartbeat is due already
	}
}

// run registers and heartbeats until ctx ends. A broker whose epoch the controller does not know registers anew.
func (lc *lifecycle) run(ctx context.Context) {
	tick := time.NewTicker(lc.interval)
	defer tick.Stop()
	for {
		if lc.epoch.Load() < 0 {
			lc.tryRegister(ctx)
		} else {
			lc.heartbeat(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-lc.changed:
		case <-lc.dirFailed:
		case <-tick.C:
		}
	}
}

func (lc *lifecycle) tryRegister(ctx context.Context) {
	answer, err := lc.controller.Handle(ctx, lc.register)
	if err != nil {
		lc.logFailure(ctx, "cannot register with the controller", err)
		return
	}
	resp, ok := answer.(*kmsg.BrokerRegistrationResponse)
	if !ok || resp.ErrorCode != 0 {
		lc.logFailure(ctx, "the controller refused the registration", protocol.Code(resp.ErrorCode))
		return
	}
	lc.epoch.Store(resp.BrokerEpoch)
	lc.heartbeat(ctx)
}

func (lc *lifecycle) heartbeat(ctx context.Context) {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch = lc.register.BrokerID, lc.epoch.Load()
	req.CurrentMetadataOffset = lc.offset.Load()
	for _, dir := range lc.offline() {
		req.OfflineLogDirs = append(req.OfflineLogDirs, dir)
	}
	answer, err := lc.controller.Handle(ctx, req)
	if err != nil {
		lc.logFailure(ctx, "heartbeat failed", err)
		return
	}
	resp, ok := answer.(*kmsg.BrokerHeartbeatResponse)
	switch {
	case !ok:
	case protocol.Code(resp.ErrorCode) == protocol.StaleBrokerEpoch, protocol.Code(resp.ErrorCode) == protocol.BrokerIDNotRegistered:
		lc.logger.Warn("the controller forgot this broker: registering again", zap.Stringer("code", protocol.Code(resp.ErrorCode)))
		lc.epoch.Store(-1)
	case resp.ErrorCode != 0:
		lc.logFailure(ctx, "the controller refused the heartbeat", protocol.Code(resp.ErrorCode))
	}
}

func (lc *lifecycle) logFailure(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		lc.logger.Warn(what, zap.Error(err))
	}
}

// brokerName is a node id as the name of a config resource.
func brokerName(node int32) string { return strconv.Itoa(int(node)) }
