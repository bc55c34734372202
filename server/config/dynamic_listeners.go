package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
	keys "github.com/ottla/ottla/protocol/config"
)

// The rules for listeners that change while a broker runs, and their words, are Apache Kafka's: those of its KafkaConfig first, then those of
// DynamicListenerConfig.validateReconfiguration.

// ClientListeners are the listeners for clients that values name, without what is advertised of them. The error is InvalidRequest.
func ClientListeners(v keys.Values) ([]Listener, error) {
	l, err := readListening(v)
	if err != nil {
		return nil, err
	}
	var all []Listener
	for _, e := range l.bound {
		if !slices.Contains(l.controllers, e.name) {
			all = append(all, Listener{Name: e.name, Host: e.host, Port: uint16(e.port), Protocol: l.protocols[e.name]}) //nolint:gosec // checked by readEndpoint
		}
	}
	return all, nil
}

// CheckListeners checks what a change of a running broker's values, from now to next, makes of its listeners. The error is InvalidRequest.
func CheckListeners(now, next keys.Values) error {
	changes := func(key string) bool { return now.String(key) != next.String(key) }
	if !slices.ContainsFunc([]string{listenersKey, protocolMapKey, "num.network.threads"}, changes) {
		return nil
	}
	old, err := readListening(now)
	if err != nil {
		return err
	}
	to, err := readListening(next)
	if err != nil {
		return err
	}
	if err := to.check(next); err != nil {
		return err
	}
	if err := to.follows(old, now, next); err != nil {
		return err
	}
	return to.served()
}

const (
	listenersKey   = "listeners"
	advertisedKey  = "advertised.listeners"
	protocolMapKey = "listener.security.protocol.map"
)

// plaintext is the security protocol that is served.
const plaintext = "PLAINTEXT"

// listening is what a broker's values say of its listeners.
type listening struct {
	bound       []endpoint
	protocols   map[string]string // security protocol by listener
	controllers []string          // names of controller listeners
	advertised  []string          // names of those for clients that are advertised
}

// readListening reads values in Kafka's order and words.
func readListening(v keys.Values) (l listening, err error) {
	if l.protocols, err = readProtocols(v); err != nil {
		return l, err
	}
	for _, name := range v.List(controllerNamesKey) {
		if name = strings.ToUpper(name); name == "" {
			continue
		}
		l.controllers = append(l.controllers, name)
		if _, ok := l.protocols[name]; !ok && !v.IsSet(protocolMapKey) {
			l.protocols[name] = plaintext
		}
	}
	if l.bound, err = l.readEndpoints(v, listenersKey); err != nil {
		return l, err
	}
	told := l.bound
	if text := strings.TrimSpace(v.String(advertisedKey)); text != "" && text != autoAdvertised {
		if told, err = l.readEndpoints(v, advertisedKey); err != nil {
			return l, err
		}
	}
	for _, e := range told {
		if !slices.Contains(l.controllers, e.name) {
			l.advertised = append(l.advertised, e.name)
		}
	}
	return l, nil
}

func badListeners(format string, args ...any) error {
	return protocol.Errorf(protocol.InvalidRequest, format, args...)
}

// readProtocols reads listener.security.protocol.map.
func readProtocols(v keys.Values) (map[string]string, error) {
	given := map[string]string{}
	for item := range strings.SplitSeq(v.String(protocolMapKey), ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		colon := strings.LastIndexByte(item, ':')
		if colon < 0 {
			return nil, badListeners("Error parsing configuration property '%s': begin 0, end -1, length %d", protocolMapKey, len(item)) // Java's words
		}
		given[strings.TrimSpace(item[:colon])] = strings.TrimSpace(item[colon+1:])
	}
	protocols := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		security, upper := given[name], strings.ToUpper(name)
		if !slices.Contains(securityProtocols, strings.ToUpper(security)) {
			return nil, badListeners("Invalid security protocol `%s` defined in %s", security, protocolMapKey)
		}
		if before, twice := protocols[upper]; twice {
			return nil, badListeners("Duplicate key ListenerName(%s) (attempted merging values %s and %s)", upper, before, strings.ToUpper(security))
		}
		protocols[upper] = strings.ToUpper(security)
	}
	return protocols, nil
}

// readEndpoints reads the endpoints of a key.
func (l *listening) readEndpoints(v keys.Values, key string) ([]endpoint, error) {
	text := "[" + strings.Join(v.List(key), ", ") + "]"
	bad := func(format string, args ...any) error {
		return badListeners("Error creating broker listeners from '%s': %s", text, fmt.Sprintf(format, args...))
	}
	var all []endpoint
	for _, item := range v.List(key) {
		if !strings.Contains(item, "://") {
			return nil, badListeners("Unable to parse a listener name from %s", item)
		}
	}
	for _, item := range v.List(key) {
		e, problem := l.readEndpoint(item)
		if problem != "" {
			return nil, bad("%s", problem)
		}
		all = append(all, e)
	}
	for i, e := range all {
		if slices.ContainsFunc(all[:i], func(o endpoint) bool { return o.name == e.name }) {
			return nil, bad("Each listener must have a different name, listeners: %s", text)
		}
	}
	if key == listenersKey {
		if problem := samePorts(all, text); problem != "" {
			return nil, bad("%s", problem)
		}
	}
	return all, nil
}

// readEndpoint reads one NAME://host:port.
func (l *listening) readEndpoint(item string) (e endpoint, problem string) {
	m := endpointPattern.FindStringSubmatch(item)
	if m == nil {
		return e, fmt.Sprintf("Unable to parse %s to a broker endpoint", item)
	}
	e = endpoint{name: strings.ToUpper(m[1]), host: m[2]}
	var err error
	if e.port, err = strconv.Atoi(m[3]); err != nil {
		return e, fmt.Sprintf("For input string: %q", m[3])
	}
	if e.name == "" {
		return e, "The provided listener name is null or empty string"
	}
	if _, ok := l.protocols[e.name]; !ok {
		return e, fmt.Sprintf("No security protocol defined for listener %s", e.name)
	}
	return e, ""
}

// samePorts tells of listeners with one port, which only an IPv4 and an IPv6 address may have.
func samePorts(all []endpoint, text string) (problem string) {
	ports := map[int][]endpoint{}
	for _, e := range all {
		if e.port != 0 {
			ports[e.port] = append(ports[e.port], e)
		}
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		same := ports[port]
		if len(same) < 2 {
			continue
		}
		var addresses []netip.Addr
		for _, e := range same {
			if a, err := netip.ParseAddr(e.host); err == nil {
				addresses = append(addresses, a)
			}
		}
		switch others := len(same) - len(addresses); {
		case others > 1 || len(addresses) == 2 && others > 0 && addresses[0].Is4() != addresses[1].Is4():
			return "Each listener must have a different port, listeners: " + text
		case len(addresses) == 2 && addresses[0].Is4() == addresses[1].Is4():
			return fmt.Sprintf("If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: %s, port: %d", text, port)
		case len(addresses) != 2:
			return fmt.Sprintf("Each listener must have a different port unless exactly one listener has an IPv4 address and the other IPv6 address, listeners: %s, port: %d", text, port)
		}
	}
	return ""
}

func (l *listening) names() (all []string) {
	for _, e := range l.bound {
		all = append(all, e.name)
	}
	return all
}

// check is what values must hold to by themselves.
func (l *listening) check(v keys.Values) error {
	names := l.names()
	if slices.Contains(v.List("process.roles"), Controller) && len(l.controllers) > 0 && !slices.ContainsFunc(l.controllers, func(name string) bool { return slices.Contains(names, name) }) {
		return badListeners("requirement failed: %s must contain at least one value appearing in the 'listeners' configuration when running the KRaft controller role", controllerNamesKey)
	}
	for _, name := range l.advertised {
		if !slices.Contains(names, name) {
			return badListeners("requirement failed: advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found %s. "+
				"The valid options based on the current configuration are %s", strings.Join(l.advertised, ","), strings.Join(names, ","))
		}
	}
	return nil
}

// served is what this version needs besides.
func (l *listening) served() error {
	for _, e := range l.bound {
		if e.port < 0 || e.port > 65535 {
			return badListeners("the port of listener %s must be between 0 and 65535, and is %d", e.name, e.port)
		}
		if security := l.protocols[e.name]; security != plaintext {
			return badListeners("listener %s has the security protocol %s: this version serves PLAINTEXT only", e.name, security)
		}
	}
	return nil
}

// follows is what a change of a running broker must hold to.
func (l *listening) follows(old listening, now, next keys.Values) error {
	invalid := func(format string, args ...any) error {
		return badListeners("Invalid value org.apache.kafka.common.config.ConfigException: %s for configuration Invalid dynamic configuration", fmt.Sprintf(format, args...))
	}
	names := l.names()
	for _, name := range old.advertised {
		if !slices.Contains(names, name) {
			return invalid("Advertised listeners '%s' must be a subset of listeners '%s'", scalaSet(old.advertised), scalaSet(names))
		}
	}
	for _, name := range names {
		if !slices.Contains(old.names(), name) {
			continue
		}
		if !maps.Equal(now.FixedOfListener(name), next.FixedOfListener(name)) {
			return invalid("Configs cannot be updated dynamically for existing listener ListenerName(%s), restart broker or create a new listener for update", name)
		}
		if l.protocols[name] != old.protocols[name] {
			return invalid("Security protocol cannot be updated for existing listener ListenerName(%s)", name)
		}
	}
	return nil
}

// scalaSet is names as Scala shows a set of up to four.
func scalaSet(names []string) string {
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = "ListenerName(" + name + ")"
	}
	return "Set(" + strings.Join(shown, ", ") + ")"
}
