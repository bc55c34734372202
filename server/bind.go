package server

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"

	"go.uber.org/zap"

	"github.com/ottla/ottla/server/config"
)

// boundListener is one listener with its open sockets: two for localhost, which is an IPv4 and an IPv6 address.
type boundListener struct {
	name           string
	advertisedHost string
	advertisedPort uint16
	auto           bool // clients are told the address that they reached
	sockets        []net.Listener
}

// bind opens the listeners of clients and controllers, so that a port in use is found before any data is touched.
func (b *Broker) bind() (err error) {
	if b.listeners, err = b.bindAll(b.o.Config.Listeners); err == nil {
		b.controlListeners, err = b.bindAll(b.o.Config.Controllers)
	}
	return err
}

// bindAll opens listeners. Those that were opened before an error are returned with it.
func (b *Broker) bindAll(all []config.Listener) (opened []boundListener, err error) {
	for _, l := range all {
		bound := boundListener{name: l.Name, advertisedHost: l.AdvertisedHost, advertisedPort: l.AdvertisedPort, auto: l.Auto}
		sockets, port, err := b.open(l.Host, l.Port)
		if err != nil {
			return opened, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		bound.sockets = sockets
		if bound.advertisedPort == 0 {
			bound.advertisedPort = port
		}
		opened = append(opened, bound)
	}
	return opened, nil
}

// choices is how many ports the system may choose until one is free on both addresses of localhost.
const choices = 20

// open opens one port on all addresses of host; 0 lets the system choose it.
func (b *Broker) open(host string, port uint16) (sockets []net.Listener, bound uint16, err error) {
	for range choices {
		sockets, bound, err = b.openAll(bindHosts(host), port)
		if err == nil || port != 0 || !addressInUse(err) {
			break
		}
	}
	return sockets, bound, err
}

const backlogKey = "socket.listen.backlog.size"

// openAll opens the same port on each of hosts, or none.
func (b *Broker) openAll(hosts []string, port uint16) (sockets []net.Listener, bound uint16, err error) {
	bound = port
	for i, host := range hosts {
		address := net.JoinHostPort(host, strconv.Itoa(int(bound)))
		s, err := b.o.Listen("tcp", address)
		switch {
		case err == nil:
			if v := b.o.Config.Values; v.IsSet(backlogKey) { // Kafka's default is small for whom many clients come at once
				if err := setBacklog(s, v.Int(backlogKey)); err != nil {
					b.o.Logger.Warn("the system's own limit of connections that wait to be accepted holds", zap.String("address", address), zap.Error(err))
				}
			}
			sockets = append(sockets, s)
			bound = boundPort(s, bound)
			continue
		case addressInUse(err):
			err = fmt.Errorf("%s is in use by another program: stop that, or set listeners to another port: %w", address, syscall.EADDRINUSE)
		case i > 0:
			continue // a machine without IPv6 has no ::1
		}
		for _, s := range sockets {
			_ = s.Close() // nobody has connected
		}
		return nil, 0, err
	}
	return sockets, bound, nil
}

// addressInUse reports whether err is what listening on another program's port gives. syscall.EADDRINUSE is not what Windows answers, which is WSAEADDRINUSE.
func addressInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.Errno(10048))
}

// bindHosts are the addresses to listen on for a listener's host; none means all.
func bindHosts(host string) []string {
	if host == "localhost" {
		return []string{"127.0.0.1", "::1"}
	}
	return []string{host}
}

func boundPort(l net.Listener, asked uint16) uint16 {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.AddrPort().Port()
	}
	return asked
}

// Addr returns host:port of the first client listener, as it is advertised; of the first controller listener on a node that is a controller only. Call it
// after Start.
func (b *Broker) Addr() string {
	if len(b.listeners) > 0 {
		return b.listeners[0].address()
	}
	return b.controlListeners[0].address()
}

// reachedListeners are the names of the listeners whose clients are told the address that they reached.
func reachedListeners(all []boundListener) (names []string) {
	for _, l := range all {
		if l.auto {
			names = append(names, l.name)
		}
	}
	return names
}

// address is host:port as advertised.
func (l *boundListener) address() string {
	return net.JoinHostPort(l.advertisedHost, strconv.Itoa(int(l.advertisedPort)))
}

func (b *Broker) closeListeners() {
	for _, l := range slices.Concat(b.listeners, b.controlListeners) {
		for _, s := range l.sockets {
			_ = s.Close() // one that was served is closed already
		}
	}
	b.listeners, b.controlListeners = nil, nil
}
