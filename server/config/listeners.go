package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is one named endpoint.
type Listener struct {
	Name           string // in upper case
	Host           string // to bind to; "" is every address, "localhost" both of the machine's own
	Port           uint16 // 0: the system chooses
	AdvertisedHost string // never empty for a client listener
	AdvertisedPort uint16 // 0: the one that is bound
	Protocol       string // PLAINTEXT
	Auto           bool   // clients are told the address at which they reached the listener; AdvertisedHost is for other nodes, and where there is none
}

// endpoint is one item of a listener list.
type endpoint struct {
	name, host string
	port       int
}

func (e endpoint) String() string {
	return fmt.Sprintf("%s://%s", e.name, net.JoinHostPort(e.host, strconv.Itoa(e.port)))
}

// endpointPattern is NAME://host:port; the host may be empty or an IPv6 address in brackets.
var endpointPattern = regexp.MustCompile(`^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)$`)

// parseEndpoints reads a listener list; empty items (a trailing comma) are left out.
func (b *builder) parseEndpoints(key string) []endpoint {
	var all []endpoint
	for _, item := range b.server.Values.List(key) {
		if item == "" {
			continue
		}
		m := endpointPattern.FindStringSubmatch(item)
		if m == nil || m[1] == "" {
			b.misuse(key, "%s: cannot read %q as NAME://host:port", key, item)
			continue
		}
		port, err := strconv.Atoi(m[3])
		if err != nil || port < 0 || port > 65535 {
			b.misuse(key, "%s: the port of %q must be between 0 and 65535", key, item)
			continue
		}
		e := endpoint{strings.ToUpper(m[1]), m[2], port}
		if slices.ContainsFunc(all, func(o endpoint) bool { return o.name == e.name }) {
			b.misuse(key, "Each listener must have a different name, %s: %s", key, b.server.Values.String(key))
			continue
		}
		all = append(all, e)
	}
	return all
}

// listeners works out the endpoints of this node.
func (b *builder) listeners() {
	before := len(b.problems)
	protocols := b.protocolMap()
	bound := b.parseEndpoints(listenersKey)
	var advertised []endpoint
	if strings.TrimSpace(b.server.Values.String(advertisedKey)) != autoAdvertised {
		advertised = b.parseEndpoints(advertisedKey)
	}
	if b.sound(listenersKey) {
		b.samePort(bound)
	}
	if !b.sound(listenersKey, protocolMapKey, controllerNamesKey, rolesKey) {
		return // the rest would only say the same in other words
	}
	if !b.sound(advertisedKey) {
		advertised = nil
	}
	controllers := b.controllerNames(bound, protocols)
	b.controllerRoles(bound, controllers, protocols)
	for _, e := range bound {
		protocol, ok := protocols[e.name]
		if !ok {
			b.fail(listenersKey, "No security protocol defined for listener %s (listener.security.protocol.map)", e.name)
			continue
		}
		l := Listener{Name: e.name, Host: e.host, Port: uint16(e.port), Protocol: protocol} //nolint:gosec // checked above
		if protocol != "PLAINTEXT" {
			b.fail(listenersKey, "listener %s has the security protocol %s: this version serves PLAINTEXT only", e.name, protocol)
			continue
		}
		if slices.Contains(controllers, e.name) {
			advertiseController(&l, advertised)
			b.server.Controllers = append(b.server.Controllers, l)
			continue
		}
		if !b.server.IsBroker() {
			continue // controllerRoles refused it
		}
		b.advertise(&l, advertised)
		b.server.Listeners = append(b.server.Listeners, l)
	}
	b.checkAdvertised(advertised, bound, controllers)
	b.mayBegin()
	if !b.server.IsBroker() {
		return
	}
	b.interBroker(bound, controllers)
	if len(b.server.Listeners) == 0 && len(b.problems) == before {
		b.fail(listenersKey, "There must be at least one broker advertised listener. Perhaps all listeners appear in %s?", controllerNamesKey)
	}
}

// samePort refuses one port for two listeners, unless one is for IPv4 and one for IPv6.
func (b *builder) samePort(bound []endpoint) {
	for i, e := range bound {
		for _, o := range bound[:i] {
			if e.port != o.port || e.port == 0 {
				continue
			}
			x, errX := netip.ParseAddr(e.host)
			y, errY := netip.ParseAddr(o.host)
			if errX == nil && errY == nil && x.Is4() != y.Is4() {
				continue
			}
			b.fail(listenersKey, "Each listener must have a different port unless one is an IPv4 and the other an IPv6 address, listeners: %s",
				b.server.Values.String(listenersKey))
			return
		}
	}
}

var securityProtocols = []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// protocolMap reads listener.security.protocol.map.
func (b *builder) protocolMap() map[string]string {
	const key = protocolMapKey
	protocols := map[string]string{}
	for item := range strings.SplitSeq(b.server.Values.String(key), ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		colon := strings.LastIndexByte(item, ':')
		if colon < 1 {
			b.misuse(key, "%s: %q is not of the form NAME:PROTOCOL", key, item)
			continue
		}
		name, protocol := strings.ToUpper(strings.TrimSpace(item[:colon])), strings.ToUpper(strings.TrimSpace(item[colon+1:]))
		if !slices.Contains(securityProtocols, protocol) {
			b.misuse(key, "%s: %s has the protocol %s, which must be one of %s", key, name, protocol, strings.Join(securityProtocols, ", "))
			continue
		}
		protocols[name] = protocol
	}
	return protocols
}

// controllerNames reads controller.listener.names. Where the map does not name a controller listener and was not set, the
// listener is PLAINTEXT, as in Kafka.
func (b *builder) controllerNames(bound []endpoint, protocols map[string]string) []string {
	var names []string
	for _, name := range b.server.Values.List(controllerNamesKey) {
		if name == "" {
			continue
		}
		name = strings.ToUpper(name)
		names = append(names, name)
		if b.server.IsController() && b.given("listeners") && !slices.ContainsFunc(bound, func(e endpoint) bool { return e.name == name }) {
			b.fail(controllerNamesKey, "%s must only contain values appearing in the 'listeners' configuration when running the KRaft controller role: "+
				"%s is not one of the listeners (%s)", controllerNamesKey, name, b.server.Values.String("listeners"))
		}
		if _, ok := protocols[name]; !ok && !b.given(protocolMapKey) {
			protocols[name] = "PLAINTEXT"
		}
	}
	return names
}

// advertiseController sets where other nodes reach a controller listener: an address that means all of them is told as the machine's name.
func advertiseController(l *Listener, advertised []endpoint) {
	l.AdvertisedHost, l.AdvertisedPort = l.Host, l.Port
	if i := slices.IndexFunc(advertised, func(e endpoint) bool { return e.name == l.Name }); i >= 0 {
		l.AdvertisedHost, l.AdvertisedPort = advertised[i].host, uint16(advertised[i].port) //nolint:gosec // checked by parseEndpoints
	}
	if everyAddress(l.AdvertisedHost) {
		l.AdvertisedHost = machineName()
	}
}

// advertise sets what clients are told of l.
func (b *builder) advertise(l *Listener, advertised []endpoint) {
	key := "listeners"
	l.AdvertisedHost, l.AdvertisedPort = l.Host, l.Port
	if i := slices.IndexFunc(advertised, func(e endpoint) bool { return e.name == l.Name }); i >= 0 {
		key = "advertised.listeners"
		l.AdvertisedHost, l.AdvertisedPort = advertised[i].host, uint16(advertised[i].port) //nolint:gosec // checked by parseEndpoints
	} else if len(advertised) > 0 {
		b.server.Warnings = append(b.server.Warnings, fmt.Sprintf("listener %s is not in advertised.listeners: its own address is advertised", l.Name))
	}
	l.Auto = key == "listeners" && everyAddress(l.Host)
	switch {
	case l.AdvertisedHost == "" || l.Auto:
		l.AdvertisedHost = machineName()
	case everyAddress(l.AdvertisedHost):
		b.fail(key, "advertised.listeners cannot use the nonroutable meta-address %s. Use a routable IP address.", l.AdvertisedHost)
	}
}

// autoAdvertised is the value of advertised.listeners that says what holds without it: a listener on all addresses tells each client the one that it reached.
const autoAdvertised = "auto"

// everyAddress reports whether host means all addresses of the machine.
func everyAddress(host string) bool {
	switch host {
	case "", "0.0.0.0", "::", "0:0:0:0:0:0:0:0":
		return true
	}
	return false
}

// machineName is what an endpoint without a host is called: the host's name if it resolves, else localhost.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	if addrs, err := net.LookupHost(name); err != nil || len(addrs) == 0 {
		return "localhost"
	}
	return name
}

// checkAdvertised refuses advertised names that are no listeners.
func (b *builder) checkAdvertised(advertised, bound []endpoint, controllers []string) {
	const key = "advertised.listeners"
	for _, e := range advertised {
		if slices.ContainsFunc(bound, func(o endpoint) bool { return o.name == e.name }) || slices.Contains(controllers, e.name) {
			continue
		}
		b.fail(key, "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found %s. "+
			"The valid options based on the current configuration are %s", e.name, b.server.Values.String("listeners"))
	}
}

// interBroker finds the listener that brokers use among themselves.
func (b *builder) interBroker(bound []endpoint, controllers []string) {
	const key = "inter.broker.listener.name"
	v := b.server.Values
	if v.IsSet(key) && v.IsSet("security.inter.broker.protocol") {
		b.fail(key, "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.")
		return
	}
	name := strings.ToUpper(v.String(key))
	if name == "" {
		name = v.String("security.inter.broker.protocol")
	}
	i := slices.IndexFunc(b.server.Listeners, func(l Listener) bool { return l.Name == name })
	switch {
	case i >= 0:
		b.server.InterBroker = name
	case slices.ContainsFunc(bound, func(e endpoint) bool { return e.name == name }) && !slices.Contains(controllers, name): // what is wrong with it was told
	case v.IsSet(key):
		b.fail(key, "inter.broker.listener.name must be a listener name defined in advertised.listeners; %s is none of them", name)
	case len(b.server.Listeners) > 0:
		b.server.InterBroker = b.server.Listeners[0].Name
	}
}
