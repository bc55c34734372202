package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// boundListener is one client listener with its open sockets: two for localhost, which is an IPv4 and an IPv6 address.
type boundListener struct {
	name           string
	advertisedHost string
	advertisedPort uint16
	sockets        []net.Listener
}

// bind opens the client listeners, so that a port in use is found before any data is touched. A controller listener is
// not opened: a quorum of one has nobody to talk to.
func (b *Broker) bind() error {
	for _, l := range b.o.Config.Listeners {
		bound := boundListener{name: l.Name, advertisedHost: l.AdvertisedHost, advertisedPort: l.AdvertisedPort}
		var port uint16
		for i, host := range bindHosts(l.Host) {
			want := l.Port
			if i > 0 {
				want = port // the same port on the second address, also where the system chose it
			}
			s, err := b.o.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(want))))
			if err != nil {
				if i > 0 && !errors.Is(err, syscall.EADDRINUSE) {
					continue // a machine without IPv6 has no ::1
				}
				b.listeners = append(b.listeners, bound)
				return fmt.Errorf("listener %s: %w", l.Name, err)
			}
			bound.sockets = append(bound.sockets, s)
			port = boundPort(s, want)
		}
		if bound.advertisedPort == 0 {
			bound.advertisedPort = port
		}
		b.listeners = append(b.listeners, bound)
	}
	return nil
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

// Addr returns host:port of the first client listener, as it is advertised. Call it after Start.
func (b *Broker) Addr() string {
	l := b.listeners[0]
	return net.JoinHostPort(l.advertisedHost, strconv.Itoa(int(l.advertisedPort)))
}

func (b *Broker) closeListeners() {
	for _, l := range b.listeners {
		for _, s := range l.sockets {
			_ = s.Close() // one that was served is closed already
		}
	}
	b.listeners = nil
}
