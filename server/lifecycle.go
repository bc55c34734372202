package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

const (
	// registrationBackoff is the wait after the first refused registration; each further one doubles it, up to half of the session timeout.
	registrationBackoff = 100 * time.Millisecond
	// leaveInterval is the time between heartbeats of a broker that waits to be let go.
	leaveInterval = 20 * time.Millisecond
	// leavePatience is how long such a broker waits for an answer before it asks again.
	leavePatience = 500 * time.Millisecond
	// leaveLimit is how long a broker waits to be let go (BrokerServer.shutdown).
	leaveLimit = 5 * time.Minute
	// lastGrace is how long a broker that nobody can take over from waits for a controller.
	lastGrace = time.Second
)

// lifecycleOptions is what a lifecycle is made of.
type lifecycleOptions struct {
	controller api.Controller
	register   *kmsg.BrokerRegistrationRequest // what the broker says of itself
	config     config.Values
	offline    func() []protocol.UUID // the log dirs that are lost
	dirFailed  <-chan struct{}        // signalled when one more is
	fail       func(error)            // told when the broker cannot become part of the cluster; must not block
	// local says that the only controller is in this process: when it stops with the broker, nobody is left to be told of that.
	local  bool
	logger *zap.Logger
}

// lifecycle keeps the broker registered with the controller (Kafka's BrokerLifecycleManager): one registration, then a
// heartbeat at every interval, and one at once after each metadata change that was applied, because controllers answer
// "created" only when the new leaders have applied it. Its goroutine is started by start and stopped by stop. A broker that the controller has fenced goes
// on serving what it can: who leads is the metadata's to say.
type lifecycle struct {
	o        lifecycleOptions
	interval time.Duration // broker.heartbeat.interval.ms
	session  time.Duration // broker.session.timeout.ms

	epoch   atomic.Int64                   // the broker's epoch; -1 before registration
	struck  atomic.Bool                    // the metadata says that this registration was removed (UnregisterBroker)
	image   atomic.Pointer[metadata.Image] // applied last; nil before the first
	changed chan struct{}                  // signalled by applied; has room for one

	ready     chan struct{} // closed when an applied image shows this broker unfenced
	readyOnce sync.Once
	leaving   chan struct{} // closed by leave
	released  chan struct{} // closed when the broker may stop; only run closes it
	running   background

	answered   time.Time // when a controller last answered; owned by run, as what follows
	registered bool      // once at least
	wait       time.Duration
	letGo      bool // released is closed
	// untold are the log dirs that failed, each with the time until which a controller must have been told; zero: it was.
	untold  map[protocol.UUID]time.Time
	failure string // what was logged last of why the controller could not be told; "": it answers

	fenced bool // as it was logged; owned by applied
}

func newLifecycle(o lifecycleOptions) *lifecycle {
	lc := &lifecycle{
		o: o, interval: o.config.Duration("broker.heartbeat.interval.ms"), session: o.config.Duration("broker.session.timeout.ms"),
		changed: make(chan struct{}, 1), ready: make(chan struct{}), leaving: make(chan struct{}), released: make(chan struct{}),
		running: newBackground(), untold: map[protocol.UUID]time.Time{},
	}
	lc.epoch.Store(-1)
	return lc
}

// start registers the broker and heartbeats until stop.
func (lc *lifecycle) start() { lc.running.start(lc.run) }

// stop ends the goroutine. Without a start it does nothing.
func (lc *lifecycle) stop() { lc.running.stop() }

// leave hands over what this broker leads and returns when the controller lets it go (controlled shutdown), or ctx ends, or nobody can be told. Call it once,
// before stop, while requests are still served. A broker alone with its controller, or that does not serve yet, leaves at once. It reports whether
// there is somebody who has taken over.
func (lc *lifecycle) leave(ctx context.Context) bool {
	if !lc.running.started() || !lc.o.config.Bool("controlled.shutdown.enable") || (lc.o.local && !lc.others(registeredToo)) {
		return false
	}
	select {
	case <-lc.ready:
	default:
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	begin := time.Now()
	close(lc.leaving)
	select {
	case <-lc.released:
		lc.o.logger.Info("leaderships are handed over", zap.Duration("took", time.Since(begin)))
		return lc.others(active)
	case <-lc.running.done:
	case <-limited.Done():
		lc.o.logger.Warn("stopping before all leaderships are handed over", zap.Duration("waited", time.Since(begin)))
	}
	return false
}

func registeredToo(*metadata.Broker) bool { return true }

func active(b *metadata.Broker) bool { return !b.Fenced && !b.InControlledShutdown }

// others reports whether there is another broker that is like that.
func (lc *lifecycle) others(like func(*metadata.Broker) bool) bool {
	if image := lc.image.Load(); image != nil {
		for b := range image.Brokers() {
			if b.ID != lc.o.register.BrokerID && like(b) {
				return true
			}
		}
	}
	return false
}

// applied notes that an image is in force on this broker.
func (lc *lifecycle) applied(d *metadata.Delta) {
	was := lc.knownIn(lc.image.Swap(d.Image))
	if lc.knownIn(d.Image) {
		fenced := d.Image.Broker(lc.o.register.BrokerID).Fenced
		if !fenced {
			lc.readyOnce.Do(func() { close(lc.ready) })
		}
		lc.tellFenced(fenced)
	} else if was && !d.Replaced && d.Image.Broker(lc.o.register.BrokerID) == nil && !lc.struck.Swap(true) {
		lc.o.logger.Warn("this broker was unregistered while it runs: it has no part in the cluster until it is started again")
	}
	select {
	case lc.changed <- struct{}{}:
	default: // a heartbeat is due already
	}
}

// knownIn reports whether image, which may be nil, has this broker's registration.
func (lc *lifecycle) knownIn(image *metadata.Image) bool {
	if image == nil {
		return false
	}
	b := image.Broker(lc.o.register.BrokerID)
	return b != nil && b.Epoch == lc.epoch.Load()
}

// tellFenced logs when the controller fences this broker that was ready, and when it no longer does.
func (lc *lifecycle) tellFenced(fenced bool) {
	select {
	case <-lc.leaving: // it is fenced because it leaves
		return
	default:
	}
	select {
	case <-lc.ready:
	default:
		return
	}
	if fenced == lc.fenced {
		return
	}
	if lc.fenced = fenced; fenced {
		lc.o.logger.Warn("this broker is fenced: the controller did not hear from it in time, and it leads nothing until it is heard again")
		return
	}
	lc.o.logger.Info("this broker is not fenced any more")
}

// offset is that of the image that was applied last.
func (lc *lifecycle) offset() int64 {
	if image := lc.image.Load(); image != nil {
		return image.Offset()
	}
	return -1
}

// run registers and heartbeats until ctx ends. A broker that the controller no longer knows registers anew, unless an operator has unregistered it: then it goes on
// asking, and is refused, until it is started again (BrokerLifecycleManager.BrokerHeartbeatResponseEvent).
func (lc *lifecycle) run(ctx context.Context) {
	lc.answered = time.Now()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	giveUp := time.NewTimer(lc.o.config.Duration("initial.broker.registration.timeout.ms"))
	defer giveUp.Stop()
	var refusal error
	leaving := lc.leaving
	for {
		if lc.epoch.Load() < 0 {
			refusal = lc.tryRegister(ctx)
		} else {
			lc.heartbeat(ctx)
		}
		lc.mayLeave()
		timer.Reset(lc.wait)
		changed := lc.changed
		if lc.epoch.Load() < 0 {
			changed = nil // it says nothing that a registration would tell
		}
		select {
		case <-ctx.Done():
			return
		case <-leaving:
			leaving = nil // the next heartbeats say so
		case <-changed:
		case <-lc.o.dirFailed:
		case <-timer.C:
		case <-giveUp.C:
			if !lc.registered && ctx.Err() == nil {
				lc.o.fail(fmt.Errorf("unable to register with the controllers within initial.broker.registration.timeout.ms: %w", refusal))
				return
			}
		}
	}
}

// tryRegister registers the broker, and heartbeats at once if that goes well.
func (lc *lifecycle) tryRegister(ctx context.Context) error {
	if lc.wait = lc.wait * 2; lc.wait < registrationBackoff {
		lc.wait = registrationBackoff
	}
	lc.wait = min(lc.wait, max(lc.session/2, registrationBackoff))
	answer, err := lc.ask(ctx, lc.o.register)
	if err != nil {
		lc.logFailure(ctx, "cannot register with the controller", err)
		return err
	}
	resp, ok := answer.(*kmsg.BrokerRegistrationResponse)
	if !ok {
		return fmt.Errorf("a wrong answer to BrokerRegistration: key %d", answer.Key())
	}
	switch code := protocol.Code(resp.ErrorCode); code {
	case protocol.None:
	case protocol.InconsistentClusterID:
		err := fmt.Errorf("the controllers are those of another cluster than %s, which this broker's data belongs to: %w", lc.o.register.ClusterID, code)
		if !lc.registered {
			lc.o.fail(err)
		}
		lc.logFailure(ctx, "the controller refused the registration", err)
		return err
	case protocol.DuplicateBrokerRegistration:
		// As after a restart that the controller did not see: the session of the last incarnation has to end first.
		lc.logFailure(ctx, "another broker is registered with this node.id; trying again until its session ends", code)
		return code
	case protocol.UnsupportedVersion:
		// The answer has no text.
		err := fmt.Errorf("the cluster has finalized a level of a feature that this release does not support; %s: %w", supportedLevels(lc.o.register), code)
		lc.logFailure(ctx, "the controller refused the registration", err)
		return err
	default:
		lc.logFailure(ctx, "the controller refused the registration", code)
		return code
	}
	lc.registered = true
	lc.epoch.Store(resp.BrokerEpoch)
	lc.heartbeat(ctx)
	return nil
}

// supportedLevels tells which levels of features a registration names.
func supportedLevels(r *kmsg.BrokerRegistrationRequest) string {
	var names []string
	for _, f := range r.Features {
		names = append(names, fmt.Sprintf("%s %d-%d", f.Name, f.MinSupportedVersion, f.MaxSupportedVersion))
	}
	return "it supports " + strings.Join(names, ", ")
}

// heartbeat tells the controller that this broker lives, and how.
func (lc *lifecycle) heartbeat(ctx context.Context) {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch = lc.o.register.BrokerID, lc.epoch.Load()
	req.CurrentMetadataOffset = lc.offset()
	lc.wait = lc.interval
	select {
	case <-lc.leaving:
		req.WantShutdown = true
		lc.wait = min(leaveInterval, lc.interval)
	default:
	}
	for _, dir := range lc.o.offline() {
		req.OfflineLogDirs = append(req.OfflineLogDirs, dir)
		if _, known := lc.untold[dir]; !known {
			lc.untold[dir] = time.Now().Add(lc.o.config.Duration(dirFailureKey))
		}
	}
	defer lc.mustHaveTold(ctx)
	answer, err := lc.ask(ctx, req)
	if err != nil {
		lc.logFailure(ctx, "heartbeat failed", err)
		return
	}
	resp, ok := answer.(*kmsg.BrokerHeartbeatResponse)
	switch {
	case !ok:
	case protocol.Code(resp.ErrorCode) == protocol.StaleBrokerEpoch, protocol.Code(resp.ErrorCode) == protocol.BrokerIDNotRegistered:
		lc.unknown(ctx, protocol.Code(resp.ErrorCode), req.WantShutdown)
	case resp.ErrorCode != 0:
		lc.logFailure(ctx, "the controller refused the heartbeat", protocol.Code(resp.ErrorCode))
	default:
		lc.answeredWell()
		for _, dir := range req.OfflineLogDirs {
			lc.untold[dir] = time.Time{}
		}
		if resp.ShouldShutdown && req.WantShutdown {
			lc.release()
		}
	}
}

const dirFailureKey = "log.dir.failure.timeout.ms"

// mustHaveTold stops a broker that could not tell a controller of a log dir that failed for too long: it may lead partitions there that nobody else takes over.
func (lc *lifecycle) mustHaveTold(ctx context.Context) {
	for dir, until := range lc.untold {
		left := time.Until(until)
		switch {
		case until.IsZero() || ctx.Err() != nil:
		case left <= 0:
			lc.untold[dir] = time.Time{}
			lc.o.fail(fmt.Errorf("no controller could be told within %s that log dir %s failed: %s", dirFailureKey, dir, lc.failure))
		default:
			lc.wait = min(lc.wait, left)
		}
	}
}

// unknown notes that the controller knows no such registration. The metadata that is in force here tells why, perhaps not yet.
func (lc *lifecycle) unknown(ctx context.Context, code protocol.Code, leaving bool) {
	switch {
	case lc.struck.Load():
		lc.logFailure(ctx, "the controller refused the heartbeat", code)
		if leaving { // it has nothing to hand over
			lc.release()
		}
	case lc.knownIn(lc.image.Load()):
	default:
		lc.o.logger.Warn("the controller forgot this broker: registering again", zap.Stringer("code", code))
		lc.epoch.Store(-1)
		lc.wait = 0
	}
}

// ask asks the controller. An answer that takes long, as from a controller with a slow disk, is not waited for: the controller counts when it was asked,
// and the session must not end meanwhile.
func (lc *lifecycle) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	patience := max(lc.interval, lc.session/4)
	select {
	case <-lc.leaving:
		patience = min(patience, leavePatience)
	default:
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := lc.o.controller.Handle(limited, req)
	if err == nil {
		lc.answered = time.Now()
	}
	return answer, err
}

// mayLeave lets a broker go that wants to leave while no controller answers: after its session it is fenced in any case; if nobody is
// there to take over from it, sooner.
func (lc *lifecycle) mayLeave() {
	select {
	case <-lc.leaving:
	default:
		return
	}
	grace := lc.session
	if !lc.others(active) {
		grace = min(lastGrace, grace)
	}
	if silence := time.Since(lc.answered); silence >= grace && !lc.letGo {
		lc.o.logger.Warn("stopping without the consent of a controller, as none answers", zap.Duration("since", silence))
		lc.release()
	}
}

func (lc *lifecycle) release() {
	if !lc.letGo {
		lc.letGo = true
		close(lc.released)
	}
}

// logFailure logs why the controller could not be told something; the same once, until it answers again.
func (lc *lifecycle) logFailure(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	if text := what + protocol.CodeOf(err).String(); text != lc.failure {
		lc.failure = text
		lc.o.logger.Warn(what, zap.Error(err))
	}
}

// answeredWell notes that the controller took what it was told.
func (lc *lifecycle) answeredWell() {
	if lc.failure != "" {
		lc.failure = ""
		lc.o.logger.Info("the controller answers this broker again")
	}
}

// brokerName is a node id as the name of a config resource.
func brokerName(node int32) string { return strconv.Itoa(int(node)) }
