package server

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/server/api"
)

// onDisk is echo that lasts until release is closed, of an API that works on disks.
func onDisk(release <-chan struct{}, begun *atomic.Int64) api.Route {
	r := row(metadataRequest(), func(ctx context.Context, n *api.Node, r *api.Request) api.Result {
		begun.Add(1)
		<-release
		return echo(ctx, n, r)
	})
	r.Disk = true
	return r
}

// Of the requests that work on disks as many run at once as there are threads, and the others wait; beyond queued.max.requests none is read.
func TestRequestsOnDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, begun := make(chan struct{}), new(atomic.Int64)
		s := newFakeServer(t, map[string]string{"num.io.threads": "2", "queued.max.requests": "2"}, onDisk(release, begun))
		frame := frameOf(1, metadataRequest())
		var clients []*client
		for range 5 {
			c := s.pipe.dial(t)
			clients = append(clients, c)
			go func() { _, _ = c.Write(frame) }()
			synctest.Wait()
		}
		if begun.Load() != 2 || s.node.Threads.Waiting() != 2 || s.node.Threads.Waited() != 2 {
			t.Fatalf("%d work, %d wait", begun.Load(), s.node.Threads.Waiting())
		}
		if s.requests.Load() != 4 {
			t.Errorf("%d of 5 were read", s.requests.Load())
		}
		values, err := config.FromStatic(map[string]string{"num.io.threads": "3"})
		if err != nil {
			t.Fatal(err)
		}
		s.resize(values)
		synctest.Wait()
		if begun.Load() != 3 || s.requests.Load() != 5 {
			t.Errorf("%d work with three threads, %d were read", begun.Load(), s.requests.Load())
		}
		time.Sleep(time.Second)
		close(release)
		for _, c := range clients {
			if _, err := c.readFrame(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if begun.Load() != 5 || s.node.Threads.Waiting() != 0 || s.node.Threads.Busy() != 3*time.Second {
			t.Errorf("%d have worked, %d wait, %v", begun.Load(), s.node.Threads.Waiting(), s.node.Threads.Busy())
		}
		if shown := s.shown(); shown.Handlers.Size != 3 || shown.Handlers.Waited != 3 {
			t.Errorf("%+v", shown.Handlers)
		}
		s.stop()
	})
}

// A request that waits for a thread goes with its connection, and takes no thread along.
func TestWaitingForAThreadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, begun := make(chan struct{}), new(atomic.Int64)
		s := newFakeServer(t, map[string]string{"num.io.threads": "1"}, onDisk(release, begun))
		for range 2 {
			c := s.pipe.dial(t)
			go func() { _, _ = c.Write(frameOf(1, metadataRequest())) }()
			synctest.Wait()
		}
		go s.stop()
		synctest.Wait()
		close(release)
		synctest.Wait()
		if begun.Load() != 1 || !s.node.Threads.TryAcquire() {
			t.Errorf("%d have worked", begun.Load())
		}
	})
}

// Each listener has its own number of threads that read segments.
func TestReadersOfAListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, map[string]string{"num.network.threads": "2", "listener.name.inside.num.network.threads": "1"}, row(metadataRequest(), echo))
		ctx, cancel := context.WithCancel(t.Context())
		reading, release := new(atomic.Int64), make(chan struct{})
		read := func(listener string) {
			c := &conn{server: s.socketServer, ctx: ctx, sending: s.senders(listener)}
			err := c.reading(func() error { reading.Add(1); <-release; return nil })
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		for range 3 {
			go read("PLAINTEXT")
			go read("INSIDE")
		}
		synctest.Wait()
		if got := s.allSenders(); reading.Load() != 3 || got.Size != 3 || got.Waiting != 3 {
			t.Errorf("%d read, %+v", reading.Load(), got)
		}
		cancel()
		synctest.Wait()
		close(release)
		synctest.Wait()
		if reading.Load() != 3 {
			t.Errorf("%d read although their connections ended", reading.Load())
		}
		s.stop()
	})
}
