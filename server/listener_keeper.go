package server

import (
	"context"
	"net"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	values "github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/server/config"
)

// listenerKeeper opens the listeners that dynamic configs add while a broker runs, and ends those that they take away (Kafka's DynamicListenerConfig). As in Apache Kafka
// a listener is known by its name: one that gets another address keeps the one that it has until the next start, and the cluster is not told of those that were added.
// Its goroutine, between start and stop, owns which are open.
type listenerKeeper struct {
	open    func(host string, port uint16) ([]net.Listener, uint16, error)
	sockets *socketServer
	logger  *zap.Logger
	wanted  atomic.Pointer[values.Values] // nil: as at the start
	signal  chan struct{}                 // has room for one
	running background

	names []string // of the open ones; the goroutine's
}

func newListenerKeeper(b *Broker, logger *zap.Logger) *listenerKeeper {
	k := &listenerKeeper{open: b.open, sockets: b.sockets, logger: logger, signal: make(chan struct{}, 1), running: newBackground()}
	for _, l := range b.listeners {
		k.names = append(k.names, l.name)
	}
	return k
}

// changed notes the configuration as of now.
func (k *listenerKeeper) changed(v values.Values) {
	k.wanted.Store(&v)
	select {
	case k.signal <- struct{}{}:
	default: // it looks again in any case
	}
}

func (k *listenerKeeper) start() { k.running.start(k.run) }

func (k *listenerKeeper) stop() { k.running.stop() }

func (k *listenerKeeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.signal:
			k.adjust(*k.wanted.Load())
		}
	}
}

// adjust opens and ends listeners as v has them.
func (k *listenerKeeper) adjust(v values.Values) {
	all, err := config.ClientListeners(v)
	if err != nil { // nobody could set that but who writes to the metadata log
		k.logger.Warn("the listeners stay as they are", zap.Error(err))
		return
	}
	k.names = slices.DeleteFunc(k.names, func(name string) bool {
		gone := !slices.ContainsFunc(all, func(l config.Listener) bool { return l.Name == name })
		if gone {
			k.sockets.withdraw(name)
			k.logger.Info("a listener was removed", zap.String("listener", name))
		}
		return gone
	})
	for _, l := range all {
		if slices.Contains(k.names, l.Name) {
			continue
		}
		sockets, port, err := k.open(l.Host, l.Port)
		if err != nil {
			k.logger.Error("cannot open a listener that was added", zap.String("listener", l.Name), zap.Error(err))
			continue
		}
		for _, s := range sockets {
			k.sockets.serve(l.Name, s)
		}
		k.names = append(k.names, l.Name)
		k.logger.Info("a listener was added", zap.String("listener", l.Name), zap.String("host", l.Host), zap.Uint16("port", port))
	}
}
