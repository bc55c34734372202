package server

import (
	"context"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// addressLookup is how long the names of hosts in quotas may take to be found.
const addressLookup = 2 * time.Second

// addressRates measures how fast connections are made (KIP-612, Kafka's ConnectionQuotas): through a listener, through all of them, and from an address. A listener that
// is over its rate, or all, accepts nothing for a while; a connection of an address that is over its rate is closed after a while, unserved.
type addressRates struct {
	window quotaWindow

	mu        sync.Mutex             // guards what follows; each sensor's is taken while it is held
	limits    map[netip.Addr]float64 // of addresses that have one
	anyone    float64                // of the others; +Inf: none
	given     map[string]float64     // as it was published, by name; "" is anyone
	addresses map[netip.Addr]*quotaSensor
	listeners map[string]*quotaSensor // "": all of them
	swept     int                     // addresses that were left when idle ones were dropped last
}

func (a *addressRates) init(w quotaWindow) {
	a.window, a.anyone = w, math.Inf(1)
	a.addresses, a.listeners = map[netip.Addr]*quotaSensor{}, map[string]*quotaSensor{}
}

// set takes the limits of addresses, by their names.
func (a *addressRates) set(given map[string]float64) {
	a.mu.Lock()
	same := maps.Equal(given, a.given)
	a.mu.Unlock()
	if same {
		return
	}
	limits, anyone := map[netip.Addr]float64{}, math.Inf(1)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if name == "" {
			anyone = given[name]
			continue
		}
		for _, address := range addressesOf(name) {
			limits[address] = given[name]
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits, a.anyone, a.given = limits, anyone, given
	for address, s := range a.addresses {
		limit := a.limitOf(address)
		if math.IsInf(limit, 1) {
			delete(a.addresses, address)
			continue
		}
		s.mu.Lock()
		s.limit = limit
		s.mu.Unlock()
	}
}

// addressesOf are the addresses that the name of an ip entity stands for.
func addressesOf(name string) []netip.Addr {
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address.Unmap()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), addressLookup)
	defer cancel()
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", name) // one that is not found any more limits nobody
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found
}

// limitOf is the limit of an address. mu is held.
func (a *addressRates) limitOf(address netip.Addr) float64 {
	if limit, ok := a.limits[address]; ok {
		return limit
	}
	return a.anyone
}

// from counts a connection of an address and says after which time it is to be closed; 0: it is to be served.
func (a *addressRates) from(address netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := a.limitOf(address)
	if math.IsInf(limit, 1) {
		return 0
	}
	s := a.addresses[address]
	if s == nil {
		a.sweep(now)
		s = &quotaSensor{limit: limit}
		a.addresses[address] = s
	}
	d := min(s.record(a.window, 1, now), a.longest())
	if d > 0 {
		s.note(a.window, -1, now) // it is not accepted
	}
	return d
}

// sweep drops what is known of addresses that nobody has come from for long. mu is held.
func (a *addressRates) sweep(now time.Time) {
	if len(a.addresses) < max(2*a.swept, 64) {
		return
	}
	maps.DeleteFunc(a.addresses, func(_ netip.Addr, s *quotaSensor) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return now.UnixMilli()-s.used > quotaSensorIdle.Milliseconds()
	})
	a.swept = len(a.addresses)
}

func (a *addressRates) longest() time.Duration {
	return time.Duration(a.window.width) * time.Millisecond
}

// through counts a connection of a listener, or of all for the name "", at most rate per second, and says how long none is to be accepted. Those count too that come
// while the rate is as good as none, as in Kafka: a limit that is set holds for the window that it finds.
func (a *addressRates) through(listener string, rate int, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.listeners[listener]
	if s == nil {
		s = &quotaSensor{}
		a.listeners[listener] = s
	}
	s.mu.Lock()
	s.limit = float64(rate)
	s.mu.Unlock()
	return min(s.record(a.window, 1, now), a.longest())
}

// refused takes back what through has counted of a listener.
func (a *addressRates) refused(listener string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.listeners[listener]; s != nil {
		s.note(a.window, -1, now)
	}
}

// pace keeps to the rates of connections, before one is admitted: it waits, with all that are not accepted yet, while a listener or the broker is over its rate. After false the
// connection's address is over its own, or the server stops, and it is closed.
func (s *socketServer) pace(listener string, nc net.Conn) bool {
	values, rates, now := s.node.Config(), &s.quotas.addresses, time.Now()
	const key = "max.connection.creation.rate"
	wait := rates.through(listener, ofListener(values, listener, key), now)
	protected := s.protects(listener)
	if !protected {
		wait = max(wait, rates.through("", values.Int(key), now))
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closing:
		}
	}
	now = time.Now()
	if d := rates.from(peerIP(nc), now); d > 0 {
		rates.refused(listener, now)
		if !protected {
			rates.refused("", now)
		}
		s.closeAfter(nc, d)
		return false
	}
	return true
}

// closeAfter closes a connection after a time, so that its client does not come again at once.
func (s *socketServer) closeAfter(nc net.Conn, d time.Duration) {
	s.running.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closing:
		}
		_ = nc.Close()
	})
}
