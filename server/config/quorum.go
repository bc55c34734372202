package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The roles of a node.
const (
	Broker     = "broker"
	Controller = "controller"
)

// Quorum says which controllers there are, as the file names them.
type Quorum struct {
	Voters    []Voter  // controller.quorum.voters, by id: a static quorum; empty if the quorum is dynamic or this node alone
	Bootstrap []string // controller.quorum.bootstrap.servers, as host:port
	// Listener is the listener's name at which controllers are reached: the first of controller.listener.names; "" if there is none.
	Listener string
	// Begin says that this node may begin a new quorum where none was formatted: it is a static voter, the only bootstrap server, or
	// it knows of no other controller.
	Begin bool
}

// Voter is one member of a static quorum.
type Voter struct {
	ID   int32
	Host string
	Port uint16
}

// Address is the voter's host:port.
func (v Voter) Address() string { return net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port))) }

// IsBroker reports whether the node serves clients and has replicas.
func (s *Server) IsBroker() bool { return slices.Contains(s.Roles, Broker) }

// IsController reports whether the node takes part in the quorum.
func (s *Server) IsController() bool { return slices.Contains(s.Roles, Controller) }

const (
	rolesKey           = "process.roles"
	nodeIDKey          = "node.id"
	votersKey          = "controller.quorum.voters"
	bootstrapKey       = "controller.quorum.bootstrap.servers"
	controllerNamesKey = "controller.listener.names"
	autoJoinKey        = "controller.quorum.auto.join.enable"
)

// quorum reads the quorum (KafkaConfig.validateValues, QuorumConfig). A node that is both roles and knows of no controllers is a quorum of its own.
func (b *builder) quorum() {
	v, q := b.server.Values, &b.server.Quorum
	for _, item := range v.List(votersKey) {
		id, address, _ := strings.Cut(item, "@") // protocol/config has checked the form
		host, port, err := net.SplitHostPort(address)
		n, errID := strconv.ParseInt(strings.TrimSpace(id), 10, 32)
		p, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errID != nil || errPort != nil || n < 0 {
			b.misuse(votersKey, "Invalid configuration value for %s: %s. Each entry should be in the form `{id}@{host}:{port}`.", votersKey, item)
			continue
		}
		q.Voters = slices.DeleteFunc(q.Voters, func(o Voter) bool { return o.ID == int32(n) }) // the last one counts, as in a Java map
		q.Voters = append(q.Voters, Voter{int32(n), host, uint16(p)})
	}
	slices.SortFunc(q.Voters, func(x, y Voter) int { return int(x.ID) - int(y.ID) })
	for _, server := range v.List(bootstrapKey) {
		if server != "" {
			q.Bootstrap = append(q.Bootstrap, server)
		}
	}
	if b.sound(rolesKey) {
		b.quorumOfRoles()
	}
}

// quorumOfRoles checks the quorum against the roles.
func (b *builder) quorumOfRoles() {
	q, controller := &b.server.Quorum, b.server.IsController()
	own := slices.ContainsFunc(q.Voters, func(o Voter) bool { return o.ID == b.server.NodeID })
	switch whole := b.sound(votersKey, nodeIDKey); {
	case len(q.Voters) == 0 && len(q.Bootstrap) == 0 && (!controller || !b.server.IsBroker()):
		if b.sound(votersKey, bootstrapKey) {
			b.fail(rolesKey, "If using %s, either %s must contain the set of bootstrap controllers or %s must contain a parseable set of controllers.",
				rolesKey, bootstrapKey, votersKey)
		}
	case whole && controller && len(q.Voters) > 0 && !own:
		b.fail(votersKey, "If %s contains the 'controller' role, the node id %d must be included in the set of voters %s=%s",
			rolesKey, b.server.NodeID, votersKey, setText(q.Voters))
	case whole && !controller && own:
		b.fail(votersKey, "If %s contains just the 'broker' role, the node id %d must not be included in the set of voters %s=%s",
			rolesKey, b.server.NodeID, votersKey, setText(q.Voters))
	}
	if b.server.Values.Bool(autoJoinKey) && (!controller || len(q.Voters) > 0) {
		b.fail(autoJoinKey, "%s is only supported when %s contains the 'controller' role and %s is empty", autoJoinKey, rolesKey, votersKey)
	}
}

// setText is how Kafka prints the ids.
func setText(voters []Voter) string {
	ids := make([]string, len(voters))
	for i, v := range voters {
		ids[i] = strconv.Itoa(int(v.ID))
	}
	return "Set(" + strings.Join(ids, ", ") + ")"
}

// controllerRoles checks the controllers' listeners against the roles. names are those of controller.listener.names.
func (b *builder) controllerRoles(bound []endpoint, names []string, protocols map[string]string) {
	roles := b.server.Roles
	isListener := func(name string) bool {
		return slices.ContainsFunc(bound, func(e endpoint) bool { return e.name == name })
	}
	switch {
	case !b.server.IsController():
		switch {
		case len(names) == 0:
			b.fail(controllerNamesKey, "%s must contain at least one value when running KRaft with just the broker role", controllerNamesKey)
		case slices.ContainsFunc(names, isListener):
			b.fail(controllerNamesKey, "%s must not contain a value appearing in the 'listeners' configuration when running KRaft with just the broker role",
				controllerNamesKey)
		case len(names) > 1:
			b.server.Warnings = append(b.server.Warnings, fmt.Sprintf("%s has multiple entries; only the first will be used since %s=broker: %s",
				controllerNamesKey, rolesKey, strings.Join(names, ",")))
		}
	case !b.server.IsBroker():
		if slices.ContainsFunc(bound, func(e endpoint) bool { return !slices.Contains(names, e.name) }) {
			b.fail("listeners", "The listeners config must only contain KRaft controller listeners from %s when %s=controller", controllerNamesKey, rolesKey)
		}
		fallthrough
	default:
		if lone := len(roles) == 2 && len(names) == 0 && len(b.server.Quorum.Voters) < 2 && len(b.server.Quorum.Bootstrap) < 2; !lone &&
			!slices.ContainsFunc(names, isListener) {
			b.fail(controllerNamesKey,
				"%s must contain at least one value appearing in the 'listeners' configuration when running the KRaft controller role", controllerNamesKey)
		}
	}
	for _, name := range names {
		if _, ok := protocols[name]; !ok {
			b.fail(controllerNamesKey, "Controller listener with name %s defined in %s not found in listener.security.protocol.map  (an explicit security mapping "+
				"for each controller listener is required if listener.security.protocol.map is non-empty, or if there are security protocols other than PLAINTEXT in use)",
				name, controllerNamesKey)
		}
	}
	if len(names) > 0 {
		b.server.Quorum.Listener = names[0]
	}
}

// mayBegin works out whether this node may begin a new quorum.
func (b *builder) mayBegin() {
	q := &b.server.Quorum
	switch {
	case !b.server.IsController():
	case len(q.Voters) > 0:
		q.Begin = true
	case len(q.Bootstrap) == 0, len(b.server.Controllers) == 0:
		q.Begin = true
	case len(q.Bootstrap) == 1:
		q.Begin = slices.ContainsFunc(b.server.Controllers, func(l Listener) bool { return l.reachedAt(q.Bootstrap[0]) })
	}
}

// reachedAt reports whether address is that of the listener, as far as this machine can tell.
func (l Listener) reachedAt(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || (port != strconv.Itoa(int(l.Port)) && port != strconv.Itoa(int(l.AdvertisedPort))) {
		return false
	}
	if strings.EqualFold(host, l.Host) || strings.EqualFold(host, l.AdvertisedHost) || host == "localhost" {
		return true
	}
	if name, err := os.Hostname(); err == nil && strings.EqualFold(host, name) {
		return true
	}
	return ownAddress(host)
}

// ownAddress reports whether host is one of this machine's addresses.
func ownAddress(host string) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	texts, err := net.LookupHost(host)
	if err != nil {
		return false
	}
	for _, text := range texts {
		at, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		if at.IsLoopback() || slices.ContainsFunc(own, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && p.Addr().Unmap() == at.Unmap()
		}) {
			return true
		}
	}
	return false
}
