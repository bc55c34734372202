package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/metrics"
)

// scrapeServer answers GET /metrics at an address of its own. Broker starts and stops it; its goroutine ends with close.
type scrapeServer struct {
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
	return nil
}

// serveMetrics begins to answer.
func (b *Broker) serveMetrics() {
	s := b.scrapes
	if s == nil {
		return
	}
	logger := b.o.Logger.Named("metrics")
	o := metrics.Options{Image: b.replicas.Image, Offsets: b.offsetsOf, Groups: b.groups, Logger: logger}
	if b.controller != nil {
		o.Controller = b.controller.Counts
	}
	s.http.Handler = metrics.Handler(o)
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

// offsetsOf returns the log start offset and the high watermark of a partition that is led here.
func (b *Broker) offsetsOf(tp protocol.TopicPartition) (start, highWatermark int64, ok bool) {
	p, err := b.replicas.Partition(tp.Topic, tp.Partition)
	if err != nil || !p.IsLeader() {
		return 0, 0, false
	}
	offsets := p.Log().Offsets()
	return offsets.LogStart, offsets.HighWatermark, true
}

// MetricsAddr returns host:port of the metrics, "" if there are none. Call it after Start.
func (b *Broker) MetricsAddr() string {
	if b.scrapes == nil {
		return ""
	}
	return b.scrapes.socket.Addr().String()
}
