package server

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

const (
	// registrarTimeout is how long one registration of a controller may take, and the longest wait before the next.
	registrarTimeout = 5 * time.Second
	// registrarCheck is how often a controller looks whether its registration is still in the metadata.
	registrarCheck = 10 * time.Second
	// registrarUpgrade is how often a controller looks whether metadata.version was raised to one with which controllers register.
	registrarUpgrade = 500 * time.Millisecond
)

// registrar tells the active controller where this node's controller is reached and what it supports, until the metadata says so (KIP-919; Kafka's
// ControllerRegistrationManager). Its goroutine is started by start and stopped by stop.
type registrar struct {
	controller api.Controller
	request    *kmsg.ControllerRegistrationRequest
	image      func() *metadata.Image // as committed
	logger     *zap.Logger

	running background
}

// controllerRegistration is what this node's controller tells of itself.
func (b *Broker) controllerRegistration() *kmsg.ControllerRegistrationRequest {
	req := kmsg.NewPtrControllerRegistrationRequest()
	req.ControllerID, req.IncarnationID = b.o.Config.NodeID, protocol.NewUUID()
	for _, l := range b.controlListeners {
		e := kmsg.NewControllerRegistrationRequestListener()
		e.Name, e.Host, e.Port, e.SecurityProtocol = l.name, l.advertisedHost, l.advertisedPort, 0
		req.Listeners = append(req.Listeners, e)
	}
	for _, supported := range protocol.Features() {
		f := kmsg.NewControllerRegistrationRequestFeature()
		f.Name, f.MinSupportedVersion, f.MaxSupportedVersion = supported.Name, supported.Min, supported.Max
		req.Features = append(req.Features, f)
	}
	return req
}

func (r *registrar) start() { r.running.start(r.run) }

// stop ends the goroutine.
func (r *registrar) stop() { r.running.stop() }

func (r *registrar) run(ctx context.Context) {
	backoff := controllerRetry
	for {
		wait := registrarCheck
		if !r.image().ControllersRegister() {
			wait = registrarUpgrade
		} else if r.registered() {
			backoff = controllerRetry
		} else if err := r.register(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			r.logger.Warn("this controller is not registered yet", zap.Error(err))
			wait, backoff = backoff, min(2*backoff, registrarTimeout)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// registered reports whether the metadata has the registration of this start.
func (r *registrar) registered() bool {
	for c := range r.image().Controllers() {
		if c.ControllerID == r.request.ControllerID {
			return c.IncarnationID == r.request.IncarnationID
		}
	}
	return false
}

func (r *registrar) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registrarTimeout)
	defer cancel()
	answer, err := r.controller.Handle(ctx, r.request)
	if err != nil {
		return err
	}
	if resp, ok := answer.(*kmsg.ControllerRegistrationResponse); !ok {
		return errWrongAnswer
	} else if resp.ErrorCode != 0 {
		return protocol.Code(resp.ErrorCode)
	}
	return nil
}
