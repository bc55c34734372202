package config

import (
	"fmt"
	"slices"
	"strings"

	keys "github.com/ottla/ottla/protocol/config"
)

// node reads the node's id, roles and quorum.
func (b *builder) node() {
	for _, required := range []string{rolesKey, nodeIDKey} {
		if _, ok := b.byName[required]; !ok {
			hint := ""
			if required == rolesKey && b.given("zookeeper.connect") {
				hint = "; the file is one of ZooKeeper's time: for a node of its own, replace zookeeper.connect by process.roles=broker,controller"
			}
			b.misuse(required, "missing required key %s, which has no default%s", required, hint)
		}
	}
	v := b.server.Values
	b.server.NodeID = int32(v.Int(nodeIDKey)) //nolint:gosec // checked as an INT
	for _, role := range v.List(rolesKey) {
		switch {
		case role != Broker && role != Controller:
			b.misuse(rolesKey, "Unknown process role '%s' (only 'broker' and 'controller' are allowed roles)", role)
		case slices.Contains(b.server.Roles, role):
			b.fail(rolesKey, "Duplicate role names found in `process.roles`: %s", v.String(rolesKey))
		default:
			b.server.Roles = append(b.server.Roles, role)
		}
	}
	b.quorum()
}

// crossChecks are the rules that span keys and are neither of listeners nor of the quorum.
func (b *builder) crossChecks() {
	v := b.server.Values
	for _, m := range v.Mistakes() {
		b.unfit(m)
	}
	const least, most = "group.min.session.timeout.ms", "group.max.session.timeout.ms"
	if b.sound(least, most) && v.Int(least) > v.Int(most) {
		b.fail(b.firstGiven(least, most), "%s %d must not be above %s %d", least, v.Int(least), most, v.Int(most))
	}
	const heartbeat, session = "broker.heartbeat.interval.ms", "broker.session.timeout.ms"
	if b.sound(heartbeat, session) && 2*v.Int64(heartbeat) > v.Int64(session) {
		b.server.Warnings = append(b.server.Warnings, fmt.Sprintf("%s %d is more than half of %s %d: a broker that is a little late is taken for dead", heartbeat, v.Int(heartbeat), session, v.Int(session)))
	}
	b.refuseSecurity()
}

// unfit notes a mistake in how values fit together, with these values.
func (b *builder) unfit(m keys.Mistake) {
	if !b.sound(m.Keys...) {
		return
	}
	values := make([]string, 0, len(m.Keys))
	for _, name := range m.Keys {
		if !b.server.Values.IsNull(name) {
			values = append(values, name+"="+b.server.Values.String(name))
		}
	}
	text := m.Text + " (" + strings.Join(values, ", ") + ")"
	if m.Hint != "" {
		text += ": " + m.Hint
	}
	b.fail(b.firstGiven(m.Keys...), "%s", text)
}

// firstGiven returns the first of names that the user has set, else the first.
func (b *builder) firstGiven(names ...string) string {
	if i := slices.IndexFunc(names, b.given); i >= 0 {
		return names[i]
	}
	return names[0]
}

// refuseSecurity refuses what would be unsafe to accept without effect.
func (b *builder) refuseSecurity() {
	if class := b.server.Values.String("authorizer.class.name"); class != "" {
		b.fail("authorizer.class.name", "authorizer.class.name %s: this version has no authorization, and does not start as if it had", class)
	}
}
