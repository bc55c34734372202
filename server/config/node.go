package config

import (
	"slices"

	"github.com/ottla/ottla/protocol"
)

// node reads the node's id, roles and quorum.
func (b *builder) node() {
	for _, required := range []string{"process.roles", "node.id"} {
		if _, ok := b.byName[required]; !ok {
			hint := ""
			if required == rolesKey && b.given("zookeeper.connect") {
				hint = "; the file is one of ZooKeeper's time: for a node of its own, replace zookeeper.connect by process.roles=broker,controller"
			}
			b.fail(required, "missing required key %s, which has no default%s", required, hint)
		}
	}
	if len(b.problems) > 0 {
		return
	}
	v := b.server.Values
	b.server.NodeID = int32(v.Int("node.id")) //nolint:gosec // checked as an INT
	for _, role := range v.List("process.roles") {
		switch {
		case role != Broker && role != Controller:
			b.fail("process.roles", "Unknown process role '%s' (only 'broker' and 'controller' are allowed roles)", role)
		case slices.Contains(b.server.Roles, role):
			b.fail("process.roles", "Duplicate role names found in `process.roles`: %s", v.String("process.roles"))
		default:
			b.server.Roles = append(b.server.Roles, role)
		}
	}
	b.quorum()
}

// crossChecks are the rules of Kafka's KafkaConfig.validateValues that span keys and concern one node.
func (b *builder) crossChecks() {
	v := b.server.Values
	if v.Int64("log.retention.ms") == 0 || v.Int64("log.retention.ms") < -1 && v.IsSet("log.retention.ms") {
		b.fail(setOf(v.IsSet, "log.retention.ms", "log.retention.minutes", "log.retention.hours"),
			"log.retention.ms, .minutes or .hours must be unlimited (-1) or at least 1")
	}
	if v.Int64("log.roll.ms") < 1 {
		b.fail("log.roll.ms", "log.roll.ms must be at least 1")
	}
	if v.Int64("log.roll.jitter.ms") < 0 {
		b.fail("log.roll.jitter.ms", "log.roll.jitter.ms must be at least 0")
	}
	if err := v.Validate(); err != nil {
		b.fail("log.cleaner.dedupe.buffer.size", "%s", *protocol.MessageOf(err))
	}
	if v.Int("group.min.session.timeout.ms") > v.Int("group.max.session.timeout.ms") {
		b.fail("group.min.session.timeout.ms", "group.min.session.timeout.ms %d must not be above group.max.session.timeout.ms %d",
			v.Int("group.min.session.timeout.ms"), v.Int("group.max.session.timeout.ms"))
	}
	if limit := v.Int64("queued.max.request.bytes"); limit > 0 && limit < v.Int64("socket.request.max.bytes") {
		b.fail("queued.max.request.bytes", "queued.max.request.bytes %d must be -1 or at least socket.request.max.bytes %d",
			limit, v.Int64("socket.request.max.bytes"))
	}
	b.refuseSecurity()
}

// setOf returns the first of names that is set, else the first.
func setOf(isSet func(string) bool, names ...string) string {
	if i := slices.IndexFunc(names, isSet); i >= 0 {
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
