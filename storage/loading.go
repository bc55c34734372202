package storage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// progressInterval is how often a start that takes long tells how far it is.
const progressInterval = 5 * time.Second

// errLoadingEnded ends a start that nobody wants any more.
var errLoadingEnded = errors.New("the start was called off")

// loading is the load of one dir's logs: its progress, and its end before time. A nil one neither tells nor ends.
type loading struct {
	ctx      context.Context // nil: never ends
	logs     atomic.Int64    // that are still to be loaded
	segments atomic.Int64    // that are still to be recovered, of the logs at work
}

// ended is errLoadingEnded once the load is to stop.
func (p *loading) ended() error {
	if p == nil || p.ctx == nil || p.ctx.Err() == nil {
		return nil
	}
	return errLoadingEnded
}

// recovering adds to the segments that are still to be recovered.
func (p *loading) recovering(n int) {
	if p != nil {
		p.segments.Add(int64(n))
	}
}

// report logs the progress now and then, until what it returns is called (Kafka's remainingLogsToRecover and remainingSegmentsToRecover).
func (p *loading) report(logger *zap.Logger, dir string, clean bool) (end func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		began := time.Now()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				logger.Info("loading log dir", zap.String("dir", dir), zap.Bool("clean", clean), zap.Int64("remaining logs", p.logs.Load()),
					zap.Int64("remaining segments of those in recovery", p.segments.Load()), zap.Duration("so far", time.Since(began)))
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}
