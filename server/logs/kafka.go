package logs

import (
	"maps"
	"slices"
	"strings"
)

// Alias is one of Apache Kafka's loggers and the logger here that says what it does there.
type Alias struct{ Kafka, Own string }

// aliases are the loggers of Apache Kafka 4.3.1, and some of those of 3.x, whose lines have a counterpart here. Those of controllers have the names of Kafka's
// controllers' classes; what the two of a combined node share is the broker's.
var aliases = []Alias{
	{"kafka.cluster.Partition", "replication"},
	{"kafka.controller.KafkaController", "controller"},
	{"kafka.coordinator.group.GroupCoordinator", "group"},
	{"kafka.coordinator.group.GroupMetadataManager", "group"},
	{"kafka.coordinator.transaction.TransactionCoordinator", "transaction"},
	{"kafka.coordinator.transaction.TransactionMarkerChannelManager", "transaction"},
	{"kafka.coordinator.transaction.TransactionStateManager", "transaction"},
	{"kafka.log.LogCleaner", "storage"},
	{"kafka.log.LogManager", "storage"},
	{"kafka.log.UnifiedLog", "storage"},
	{"kafka.network.Acceptor", "network"},
	{"kafka.network.ConnectionQuotas", "network"},
	{"kafka.network.DataPlaneAcceptor", "network"},
	{"kafka.network.Processor", "network"},
	{"kafka.network.RequestChannel$", "network"},
	{"kafka.network.SocketServer", "network"},
	{"kafka.raft.KafkaRaftManager", "controller"},
	{"kafka.request.logger", "network.request"},
	{"kafka.server.BrokerServer", "lifecycle"},
	{"kafka.server.ConfigAdminManager", "api"},
	{"kafka.server.ControllerApis", "controller.api"},
	{"kafka.server.ControllerRegistrationManager", "controller"},
	{"kafka.server.ControllerServer", "controller"},
	{"kafka.server.DefaultAutoTopicCreationManager", "topics"},
	{"kafka.server.ForwardingManagerImpl", "controllers"},
	{"kafka.server.KafkaApis", "api"},
	{"kafka.server.KafkaRequestHandler", "network"},
	{"kafka.server.ReplicaAlterLogDirsThread", "storage"},
	{"kafka.server.ReplicaFetcherManager", "replication"},
	{"kafka.server.ReplicaFetcherThread", "replication"},
	{"kafka.server.ReplicaManager", "replication"},
	{"kafka.server.logger.RuntimeLoggerManager", "api"},
	{"kafka.server.metadata.BrokerMetadataPublisher", "metadata"},
	{"org.apache.kafka.controller.BrokerHeartbeatManager", "controller"},
	{"org.apache.kafka.controller.ClusterControlManager", "controller"},
	{"org.apache.kafka.controller.ConfigurationControlManager", "controller"},
	{"org.apache.kafka.controller.FeatureControlManager", "controller"},
	{"org.apache.kafka.controller.QuorumController", "controller"},
	{"org.apache.kafka.controller.ReplicationControlManager", "controller"},
	{"org.apache.kafka.coordinator.common.runtime.CoordinatorRuntime", "group"},
	{"org.apache.kafka.coordinator.group.GroupCoordinatorService", "group"},
	{"org.apache.kafka.coordinator.group.GroupMetadataManager", "group"},
	{"org.apache.kafka.coordinator.group.OffsetMetadataManager", "group"},
	{"org.apache.kafka.image.loader.MetadataLoader", "metadata"},
	{"org.apache.kafka.image.publisher.SnapshotGenerator", "metadata"},
	{"org.apache.kafka.raft.KafkaRaftClient", "controller"},
	{"org.apache.kafka.raft.QuorumState", "controller"},
	{"org.apache.kafka.server.AssignmentsManager", "directories"},
	{"org.apache.kafka.server.BrokerLifecycleManager", "lifecycle"},
	{"org.apache.kafka.server.ClientMetricsManager", "telemetry"},
	{"org.apache.kafka.server.NodeToControllerChannelManagerImpl", "controllers"},
	{"org.apache.kafka.server.NodeToControllerRequestThread", "controllers"},
	{"org.apache.kafka.storage.internals.log.Cleaner", "storage"},
	{"org.apache.kafka.storage.internals.log.LocalLog", "storage"},
	{"org.apache.kafka.storage.internals.log.LogCleaner", "storage"},
	{"org.apache.kafka.storage.internals.log.LogCleaner$CleanerThread", "storage"},
	{"org.apache.kafka.storage.internals.log.LogLoader", "storage"},
	{"org.apache.kafka.storage.internals.log.LogManager", "storage"},
	{"org.apache.kafka.storage.internals.log.LogSegment", "storage"},
	{"org.apache.kafka.storage.internals.log.ProducerStateManager", "storage"},
	{"org.apache.kafka.storage.internals.log.UnifiedLog", "storage"},
	{"state.change.logger", "replication"},
}

// silent are the loggers of Apache Kafka's own log4j2.yaml that nothing here speaks by: there is no authorizer. They have levels, as what sets up a broker may set them.
var silent = []string{"kafka.authorizer.logger"}

// Silent returns Apache Kafka's loggers that are known and never say anything.
func Silent() []string { return slices.Clone(silent) }

// Aliases returns Apache Kafka's loggers that are known, by name, each with the logger that it is another name of.
func Aliases() []Alias { return slices.Clone(aliases) }

// Group is a logger of Apache Kafka above others, and the loggers here that it stands above.
type Group struct {
	Kafka string
	Own   []string
}

// everything are Kafka's loggers above all of its own, whatever stands below them in its two trees of names.
var everything = []string{"kafka", "org.apache.kafka"}

// Groups returns Apache Kafka's loggers above those of Aliases, by name. Those above everything have no list.
func Groups() []Group {
	below := map[string]map[string]bool{}
	for _, name := range everything {
		below[name] = map[string]bool{}
	}
	for _, a := range aliases {
		if a.Kafka == "kafka.request.logger" {
			continue
		}
		for name := parent(a.Kafka); name != Root; name = parent(name) {
			if slices.Contains(everything, name) {
				break
			}
			if below[name] == nil {
				below[name] = map[string]bool{}
			}
			below[name][a.Own] = true
		}
	}
	var all []Group
	for _, name := range slices.Sorted(maps.Keys(below)) {
		if strings.HasPrefix(name, "kafka") || strings.HasPrefix(name, "org.apache.kafka") {
			all = append(all, Group{name, slices.Sorted(maps.Keys(below[name]))})
		}
	}
	return all
}

// nameTable are the names by which the loggers of a broker are known.
type nameTable struct {
	own     []string          // sorted, without the root's
	aliases map[string]string // Kafka's name → own
	groups  []Group           // those that say most of where they stand first: with more parts in their names
}

func newNameTable(own []string) nameTable {
	t := nameTable{own: slices.Clone(own), aliases: map[string]string{}}
	slices.Sort(t.own)
	for _, a := range aliases {
		if slices.Contains(t.own, a.Own) {
			t.aliases[a.Kafka] = a.Own
		}
	}
	for _, g := range Groups() {
		if slices.Contains(everything, g.Kafka) || slices.ContainsFunc(g.Own, func(name string) bool { return slices.Contains(t.own, name) }) {
			t.groups = append(t.groups, g)
		}
	}
	slices.SortStableFunc(t.groups, func(a, b Group) int { return depth(b.Kafka) - depth(a.Kafka) })
	return t
}

// depth is how many parts a name of Kafka's has; the packages of both trees count alike.
func depth(name string) int { return strings.Count(strings.TrimPrefix(name, "org.apache."), ".") + 1 }

// above reports whether g stands above one of the own loggers.
func (g Group) above(own string) bool {
	if len(g.Own) == 0 {
		return true
	}
	for name := own; name != Root; name = parent(name) {
		if slices.Contains(g.Own, name) {
			return true
		}
	}
	return false
}

// stored is the name under which the level of a logger is kept: Kafka's class names are others for those of here.
func (t *nameTable) stored(name string) string {
	if own, ok := t.aliases[name]; ok {
		return own
	}
	return name
}

// isGroup reports whether name is that of a group.
func (t *nameTable) isGroup(name string) bool {
	return slices.ContainsFunc(t.groups, func(g Group) bool { return g.Kafka == name })
}

// inForce returns the level that was set for an own logger, by the names of levels in set: its own, that of the nearest one above it, that of the most special of Kafka's
// groups above it, of equally special ones the one that tells most; at last the root's.
func (t *nameTable) inForce(own string, set map[string]string) string {
	for name := own; name != Root; name = parent(name) {
		if text := set[name]; text != "" {
			return text
		}
	}
	best, deep := "", 0
	for _, g := range t.groups {
		text := set[g.Kafka]
		if text == "" || depth(g.Kafka) < deep || !g.above(own) {
			continue
		}
		if best == "" || order(text) < order(best) {
			best, deep = text, depth(g.Kafka)
		}
	}
	if best != "" {
		return best
	}
	return set[Root]
}

// inForceOf is the level of any name that is known.
func (t *nameTable) inForceOf(name string, set map[string]string) string {
	name = t.stored(name)
	if !t.isGroup(name) {
		return t.inForce(name, set)
	}
	for ; name != Root; name = parent(name) {
		if text := set[name]; text != "" {
			return text
		}
	}
	return set[Root]
}

// order is how much a level leaves out: TRACE nothing.
func order(level string) int {
	return slices.Index([]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}, level)
}
