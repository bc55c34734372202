package metrics

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/coordinator/group"
)

// groupFamilies are the metrics of groups: as kafka_exporter names them, as jmx_exporter names Kafka's beans, and two of our own.
type groupFamilies struct {
	offset, offsetSum, lag, lagSum, members family // kafka_exporter's

	numGroups, numOffsets      family            // GroupMetadataManager's
	numByState                 map[string]family // classic groups
	groupCount, consumerGroups family            // group-coordinator-metrics

	info, commits, rebalances family
}

func newGroupFamilies() groupFamilies {
	partition := []string{"consumergroup", "topic", "partition"}
	topic := []string{"consumergroup", "topic"}
	f := groupFamilies{
		offset:     gauge("kafka_consumergroup_current_offset", "Offset that a consumer group has committed in a partition.", partition...),
		offsetSum:  gauge("kafka_consumergroup_current_offset_sum", "Sum of the offsets that a consumer group has committed in a topic.", topic...),
		lag:        gauge("kafka_consumergroup_lag", "Records of a partition that a consumer group has not committed yet.", partition...),
		lagSum:     gauge("kafka_consumergroup_lag_sum", "Records of a topic that a consumer group has not committed yet.", topic...),
		members:    gauge("kafka_consumergroup_members", "Number of members of a consumer group.", "consumergroup"),
		numGroups:  gauge("kafka_coordinator_group_groupmetadatamanager_numgroups", "Number of groups."),
		numOffsets: gauge("kafka_coordinator_group_groupmetadatamanager_numoffsets", "Number of committed offsets."),
		numByState: map[string]family{},
		groupCount: gauge("kafka_server_group_coordinator_metrics_group_count", "Number of groups by protocol.", "protocol"),
		consumerGroups: gauge("kafka_server_group_coordinator_metrics_consumer_group_count",
			"Number of groups of the consumer protocol by state.", "state"),
		info:       gauge("ottla_consumergroup_info", "A group, with its type, state and protocol type.", "consumergroup", "type", "state", "protocol_type"),
		commits:    counter("ottla_consumergroup_offset_commits_total", "Offsets that a group committed since this broker coordinates it.", "consumergroup"),
		rebalances: counter("ottla_consumergroup_rebalances_total", "Rebalances of a group since this broker coordinates it.", "consumergroup"),
	}
	for _, state := range classicStates {
		f.numByState[state] = gauge("kafka_coordinator_group_groupmetadatamanager_numgroups"+strings.ToLower(state), "Number of classic groups in state "+state+".")
	}
	return f
}

var (
	classicStates  = [...]string{"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty"}
	consumerStates = [...]string{"Empty", "Assigning", "Reconciling", "Stable", "Dead"}
)

// collectCoordinator shows what the coordinator has done.
func (c *collector) collectCoordinator(samples chan<- prometheus.Metric) {
	n := c.o.Groups.Counts()
	for _, x := range []struct {
		name, help string
		count      int64
	}{
		{"offset_commit_count", "Offsets committed.", n.OffsetCommits},
		{"offset_expiration_count", "Offsets removed because their retention was over.", n.OffsetExpirations},
		{"offset_deletion_count", "Offsets deleted by administrators.", n.OffsetDeletions},
		{"group_completed_rebalance_count", "Rebalances of classic groups.", n.ClassicRebalances},
		{"consumer_group_rebalance_count", "Rebalances of groups of the consumer protocol.", n.ConsumerRebalances},
	} {
		counter("kafka_server_group_coordinator_metrics_"+x.name, x.help).send(samples, float64(x.count))
	}
}

// typeAndState is what groups are counted by.
type typeAndState struct{ kind, state string }

func (c *collector) collectGroups(groups []group.Info, led ledPartitions, samples chan<- prometheus.Metric) {
	f, k := newGroupFamilies(), newKminionGroups(c.o.NodeID)
	offsets, counts, kinds := 0, map[typeAndState]int{}, map[string]int{"classic": 0, "consumer": 0}
	for i := range groups {
		g := &groups[i]
		offsets += len(g.Offsets)
		counts[typeAndState{g.Type, g.State}]++
		kinds[g.Type]++
		f.info.send(samples, 1, g.ID, g.Type, g.State, g.ProtocolType)
		f.members.send(samples, float64(g.Members), g.ID)
		f.commits.send(samples, float64(g.Commits), g.ID)
		f.rebalances.send(samples, float64(g.Rebalances), g.ID)
		k.send(g, samples)
		f.sendOffsets(g, &k, led, samples)
	}
	f.numGroups.send(samples, float64(len(groups)))
	f.numOffsets.send(samples, float64(offsets))
	for _, state := range classicStates {
		f.numByState[state].send(samples, float64(counts[typeAndState{"classic", state}]))
	}
	for _, state := range consumerStates {
		f.consumerGroups.send(samples, float64(counts[typeAndState{"consumer", state}]), strings.ToLower(state))
	}
	for kind, n := range kinds {
		f.groupCount.send(samples, float64(n), kind)
	}
}

// topicSums are how far a group is in a topic.
type topicSums struct {
	offset, lag int64
	known       bool // the lag in some partition is
}

// sendOffsets shows how far a group is, by kminion's names too. Where the end of a partition is not known here there is no lag.
func (f *groupFamilies) sendOffsets(g *group.Info, k *kminionGroups, led ledPartitions, samples chan<- prometheus.Metric) {
	byTopic := map[string]topicSums{}
	for _, o := range g.Offsets {
		id := strconv.Itoa(int(o.Partition))
		f.offset.send(samples, float64(o.Offset), g.ID, o.Topic, id)
		sum := byTopic[o.Topic]
		sum.offset += o.Offset
		if offsets, ok := led[o.TopicPartition]; ok {
			lag := max(offsets.HighWatermark-o.Offset, 0)
			f.lag.send(samples, float64(lag), g.ID, o.Topic, id)
			k.lag.send(samples, float64(lag), g.ID, o.Topic, id)
			sum.lag, sum.known = sum.lag+lag, true
		}
		byTopic[o.Topic] = sum
	}
	for topic, sum := range byTopic {
		f.offsetSum.send(samples, float64(sum.offset), g.ID, topic)
		k.topicOffsets.send(samples, float64(sum.offset), g.ID, topic)
		if sum.known {
			f.lagSum.send(samples, float64(sum.lag), g.ID, topic)
			k.topicLag.send(samples, float64(sum.lag), g.ID, topic)
		}
	}
}
