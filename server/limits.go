package server

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol/config"
)

// How many connections there may be (Kafka's ConnectionQuotas): of one listener, of all, and from one address. quota_addresses.go keeps to their rates.

const (
	maxConnections      = "max.connections"
	maxConnectionsPerIP = "max.connections.per.ip"
)

// ofListener is the value of a number key for one listener, which may have its own.
func ofListener(v config.Values, listener, key string) int {
	if own := "listener.name." + strings.ToLower(listener) + "." + key; config.Lookup(config.Broker, own) != nil {
		return v.Int(own)
	}
	return v.Int(key)
}

// protected is the brokers' listener while clients have another, else "": it keeps to its own limit alone, and for its connections those of others are closed. mu is held.
func (s *socketServer) protected() string {
	if slices.ContainsFunc(s.listeners, func(l servedListener) bool { return l.name != s.interBroker }) {
		return s.interBroker
	}
	return ""
}

// protects reports whether a listener is the protected one.
func (s *socketServer) protects(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return name != "" && name == s.protected()
}

// admit starts a connection within the limits: where its listener or the broker has no room it waits until another ends, and with it all that are not accepted yet; over
// max.connections.per.ip the connection is closed.
func (s *socketServer) admit(name string, nc net.Conn) {
	ip := peerIP(nc)
	s.mu.Lock()
	for !s.closed(name) && !s.hasRoom(name) {
		s.room.Wait()
	}
	if s.closed(name) {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	if limit := ipLimit(s.node.Config(), ip); s.perIP[ip] >= limit {
		s.mu.Unlock()
		_ = nc.Close()
		s.logs.warn("too many connections from one address", zap.Stringer("address", ip), zap.Int("limit", limit))
		return
	}
	s.tune(nc)
	s.count++
	s.perListener[name]++
	s.perIP[ip]++
	s.connections.Add(1)
	s.start(newConn(s, name, nc))
	evicted := s.evict()
	s.mu.Unlock()
	s.resting.end(evicted)
}

// hasRoom reports whether a listener may have one more connection. mu is held.
func (s *socketServer) hasRoom(name string) bool {
	v := s.node.Config()
	if s.perListener[name] >= ofListener(v, name, maxConnections) {
		return false
	}
	return name == s.protected() || s.count < v.Int(maxConnections)
}

// forget makes room in place of a connection that ended. mu is held.
func (s *socketServer) forget(listener string, ip netip.Addr) {
	s.count--
	if s.perListener[listener]--; s.perListener[listener] <= 0 {
		delete(s.perListener, listener)
	}
	if s.perIP[ip]--; s.perIP[ip] <= 0 {
		delete(s.perIP, ip)
	}
	s.room.Broadcast()
}

// limitsChanged has the limits hold as they are now: connections that waited may come in, and those that there is no room for end.
func (s *socketServer) limitsChanged() {
	s.mu.Lock()
	s.room.Broadcast()
	evicted := s.evict()
	s.mu.Unlock()
	s.resting.end(evicted)
}

// evict chooses the connections that are too many for the broker, those of the protected listener never, and of the others those that were unused for longest. They are
// told to end; those that rest are forgotten and returned, for restArea.end when mu, which is held, is free.
func (s *socketServer) evict() (resting []*restingConn) {
	over := s.count - s.node.Config().Int(maxConnections)
	if over <= 0 {
		return nil
	}
	type candidate struct {
		used    int64
		conn    *conn
		resting *restingConn
	}
	protected := s.protected()
	var all []candidate
	for c := range s.open {
		switch {
		case c.evicted:
			over--
		case c.listener != protected && !c.handed.Load():
			all = append(all, candidate{used: c.input.used.Load(), conn: c})
		}
	}
	for _, r := range s.resting.list() {
		if r.listener != protected {
			all = append(all, candidate{used: r.used().UnixNano(), resting: r})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.used, b.used) })
	for _, e := range all[:max(0, min(over, len(all)))] {
		if c := e.conn; c != nil {
			c.evicted = true
			c.cancel()
			_ = c.nc.Close()
		} else if s.resting.remove(e.resting) { // else it wakes up, and is looked at then
			s.forget(e.resting.listener, e.resting.ip)
			resting = append(resting, e.resting)
		}
	}
	if over > 0 {
		s.logs.warn("too many connections: those that were unused for longest are closed", zap.Int("limit", s.node.Config().Int(maxConnections)), zap.Int("closed", min(over, len(all))))
	}
	return resting
}

// ipLimit is how many connections ip may have: max.connections.per.ip.overrides (address:count, ...) or max.connections.per.ip.
func ipLimit(v config.Values, ip netip.Addr) int {
	for entry := range strings.SplitSeq(v.String("max.connections.per.ip.overrides"), ",") {
		i := strings.LastIndexByte(entry, ':')
		if i < 0 {
			continue
		}
		host := strings.Trim(strings.TrimSpace(entry[:i]), "[]")
		n, err := strconv.Atoi(strings.TrimSpace(entry[i+1:]))
		if addr, bad := netip.ParseAddr(host); err == nil && bad == nil && addr.Unmap() == ip {
			return n
		}
	}
	return v.Int(maxConnectionsPerIP)
}
