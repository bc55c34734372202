package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/metrics"
)

// scrapeServer answers GET /livez, /readyz, /metrics and, where the configuration has it, /debug/pprof/ at an address of its own. Broker starts and stops it;
// its goroutine ends with close.
type scrapeServer struct {
	parts  atomic.Pointer[http.Handler] // what answers all but /livez; nil until the broker's parts are there
	http   http.Server
	socket net.Listener
	done   chan struct{} // closed when the goroutine has ended; nil until serve
}

// A scrape that takes longer than these is given up.
const (
	scrapeHeaderTimeout = 5 * time.Second
	scrapeTimeout       = 30 * time.Second
	scrapeIdleTimeout   = 2 * time.Minute
)

// bindMetrics opens the socket of the metrics, if there are to be any.
func (b *Broker) bindMetrics() error {
	address := b.o.Config.Metrics
	if address == "" {
		return nil
	}
	socket, err := b.o.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("ottla.metrics.listener %s: %w", address, err)
	}
	b.scrapes = &scrapeServer{socket: socket}
	b.scrapes.serve(b.o.Logger.Named("metrics"))
	return nil
}

// ServeHTTP implements http.Handler. A process that answers lives.
func (s *scrapeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := s.parts.Load()
	switch {
	case r.URL.Path == "/livez":
		_, _ = io.WriteString(w, "ok\n")
	case parts == nil:
		http.Error(w, errStarting.Error(), http.StatusServiceUnavailable)
	default:
		(*parts).ServeHTTP(w, r)
	}
}

var (
	errStarting = errors.New("the broker is starting")
	errFenced   = errors.New("the broker is fenced")
	errStopping = errors.New("the broker is stopping")
)

// readiness is nil while this broker serves clients and the cluster counts on it.
func (b *Broker) readiness() error {
	switch b.state() {
	case stateRunning:
		if self := b.replicas.Image().Broker(b.o.Config.NodeID); self == nil || self.Fenced {
			return errFenced
		}
		return nil
	case stateLeaving:
		return errStopping
	default:
		return errStarting
	}
}

// Kafka's numbers of states (BrokerState).
const (
	stateRecovery = 2
	stateRunning  = 3
	stateLeaving  = 6
)

// state is the broker's, of those in which it has parts.
func (b *Broker) state() int {
	select {
	case <-b.lifecycle.leaving:
		return stateLeaving
	default:
	}
	select {
	case <-b.lifecycle.ready:
		return stateRunning
	default:
		return stateRecovery
	}
}

// serveMetrics begins to answer what takes the broker's parts.
func (b *Broker) serveMetrics() {
	s := b.scrapes
	if s == nil {
		return
	}
	o := metrics.Options{
		NodeID: b.o.Config.NodeID, ClusterID: b.ClusterID, Config: b.Config, ActiveController: b.quorum.ActiveID, Sessions: b.node.Sessions,
		Image: b.replicas.Image, Groups: b.groups, Replicas: b.replicas, Requests: &b.sockets.counts, Sockets: b.sockets.shown,
		APIName: func(key int16) string { return apiName(b.node.Routes, key) }, Clients: b.node.Telemetry, Dirs: b.dirsOnline, State: b.state, Ready: b.readiness,
		Scrubbed: b.store.Scrubbed,
		Profiles: b.o.Config.Values.Bool("ottla.metrics.pprof"), Logger: b.o.Logger.Named("metrics"),
	}
	b.showController(&o)
	h := metrics.Handler(o)
	s.parts.Store(&h)
}

// serveControllerMetrics is serveMetrics for a node that is a controller only, and serves when a controller leads.
func (b *Broker) serveControllerMetrics() {
	s := b.scrapes
	if s == nil {
		return
	}
	o := metrics.Options{
		NodeID: b.o.Config.NodeID, Image: b.controller.Image, Profiles: b.o.Config.Values.Bool("ottla.metrics.pprof"), Logger: b.o.Logger.Named("metrics"),
		Ready: func() error {
			if b.controller.ActiveID() < 0 {
				return errNoLeader
			}
			return nil
		},
	}
	b.showController(&o)
	h := metrics.Handler(o)
	s.parts.Store(&h)
}

// showController adds what the metrics show of this node's controller, if it has one.
func (b *Broker) showController(o *metrics.Options) {
	if b.controller == nil {
		return
	}
	o.Controller = b.controller.Counts
	o.Quorum = func() metrics.Quorum {
		s, state := b.controller.Quorum()
		return metrics.Quorum{QuorumState: s, State: state}
	}
}

// dirsOnline tells of each log dir whether it is in use.
func (b *Broker) dirsOnline() []bool {
	var all []bool
	for _, d := range b.store.Dirs() {
		all = append(all, d.Offline == nil)
	}
	return all
}

// shown is what the metrics show of the listeners.
func (s *socketServer) shown() metrics.Sockets {
	s.mu.Lock()
	open, byListener := s.count, maps.Clone(s.perListener)
	for _, l := range s.listeners {
		byListener[l.name] += 0 // one without connections is shown, too
	}
	s.mu.Unlock()
	return metrics.Sockets{
		ByListener: byListener, Age: time.Since(s.born),
		Open: int64(open), Accepted: s.connections.Load(), BytesOut: s.bytesOut.Load(), Refused: s.refused.Load(),
		Handlers: shownThreads(s.node.Threads), Senders: s.allSenders(),
	}
}

// apiName is Kafka's name of an API.
func apiName(routes *api.Routes, key int16) string {
	if row := routes.Get(key); row != nil {
		return row.Name
	}
	return ""
}

// serve begins to answer.
func (s *scrapeServer) serve(logger *zap.Logger) {
	s.http.Handler = s
	s.http.ReadHeaderTimeout, s.http.WriteTimeout, s.http.IdleTimeout = scrapeHeaderTimeout, scrapeTimeout, scrapeIdleTimeout
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if err := s.http.Serve(s.socket); err != nil && !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("metrics are not served any more", zap.Error(err))
		}
	}()
	logger.Info("metrics are served", zap.Stringer("address", s.socket.Addr()))
}

// close stops serving; scrapes under way may finish until ctx ends.
func (s *scrapeServer) close(ctx context.Context) {
	if s.done == nil {
		_ = s.socket.Close() // nobody was served
		return
	}
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // what is left of the connections
	}
	<-s.done
}

// MetricsAddr returns host:port of the metrics, "" if there are none. Call it after Start.
func (b *Broker) MetricsAddr() string {
	if b.scrapes == nil {
		return ""
	}
	return b.scrapes.socket.Addr().String()
}
