package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
)

// kminion looks at a cluster as a whole. Here each broker shows what it leads, has or coordinates, so that the sum over the brokers is what kminion shows; what only names something
// is shown by all.
const kminion = "kminion_kafka_"

// clusterVersion is what kminion takes a cluster of this release for.
const clusterVersion = "v4.3"

// collectKminion shows brokers and topics as kminion does.
func (c *collector) collectKminion(image *metadata.Image, replicas []replica, samples chan<- prometheus.Metric) {
	active := c.o.ActiveController()
	broker := []string{"broker_id", "address", "port", "rack_id"}
	info := gauge(kminion+"broker_info", "A broker, with its address.", append(broker, "is_controller")...)
	dirs := gauge(kminion+"broker_log_dir_size_total_bytes", "Bytes of the segments of a broker's replicas.", broker...)
	bytes, byTopic := 0.0, map[string]float64{}
	for i := range replicas {
		size := float64(replicas[i].size)
		bytes += size
		byTopic[replicas[i].tp.Topic] += size
	}
	brokers := 0
	for b := range image.Brokers() {
		if b.Fenced || len(b.Endpoints) == 0 {
			continue
		}
		brokers++
		e, rack := b.Endpoints[0], ""
		if b.Rack != nil {
			rack = *b.Rack
		}
		labels := []string{strconv.Itoa(int(b.ID)), e.Host, strconv.Itoa(int(e.Port)), rack}
		if b.ID == c.o.NodeID {
			dirs.send(samples, bytes, labels...)
		}
		info.send(samples, 1, append(labels, strconv.FormatBool(b.ID == active))...)
	}
	gauge(kminion+"cluster_info", "The cluster.", "cluster_version", "broker_count", "controller_id", "cluster_id").send(samples, 1,
		clusterVersion, strconv.Itoa(brokers), strconv.Itoa(int(active)), c.o.ClusterID())
	topicDirs := gauge(kminion+"topic_log_dir_size_total_bytes", "Bytes of the segments of a topic's replicas here.", "topic_name")
	for topic, size := range byTopic {
		topicDirs.send(samples, size, topic)
	}
	c.collectKminionTopics(image, replicas, samples)
}

// collectKminionTopics shows topics, and the offsets of the partitions that this broker leads.
func (c *collector) collectKminionTopics(image *metadata.Image, replicas []replica, samples chan<- prometheus.Metric) {
	info := gauge(kminion+"topic_info", "A topic.", "topic_name", "partition_count", "replication_factor", "cleanup_policy")
	partition := []string{"topic_name", "partition_id"}
	low := gauge(kminion+"topic_partition_low_water_mark", "Log start offset of a partition that is led here.", partition...)
	high := gauge(kminion+"topic_partition_high_water_mark", "High watermark of a partition that is led here.", partition...)
	lowSum := gauge(kminion+"topic_low_water_mark_sum", "Sum of the log start offsets of a topic's partitions that are led here.", "topic_name")
	highSum := gauge(kminion+"topic_high_water_mark_sum", "Sum of the high watermarks of a topic's partitions that are led here.", "topic_name")
	for t := range image.Topics() {
		policy, ok := image.Config(config.Topic, t.Name)["cleanup.policy"]
		if !ok {
			policy = c.o.Config().String("log.cleanup.policy")
		}
		factor := 0
		if len(t.Partitions) > 0 && t.Partitions[0] != nil {
			factor = len(t.Partitions[0].Replicas)
		}
		info.send(samples, 1, t.Name, strconv.Itoa(len(t.Partitions)), strconv.Itoa(factor), policy)
	}
	type sums struct{ low, high float64 }
	byTopic := map[string]sums{}
	for i := range replicas {
		r := &replicas[i]
		if !r.leads {
			continue
		}
		first, end := float64(r.offsets.LogStart), float64(r.offsets.HighWatermark)
		low.send(samples, first, r.tp.Topic, r.id)
		high.send(samples, end, r.tp.Topic, r.id)
		s := byTopic[r.tp.Topic]
		byTopic[r.tp.Topic] = sums{s.low + first, s.high + end}
	}
	for topic, s := range byTopic {
		lowSum.send(samples, s.low, topic)
		highSum.send(samples, s.high, topic)
	}
}

// kminionGroups are the metrics of the groups that this broker coordinates. The lag in a partition that it does not have is not known.
type kminionGroups struct {
	self                                                string // the coordinator
	info, members, commits, lag, topicLag, topicOffsets family
}

func newKminionGroups(self int32) kminionGroups {
	const prefix = kminion + "consumer_group_"
	return kminionGroups{
		self:         strconv.Itoa(int(self)),
		info:         gauge(prefix+"info", "A group.", "group_id", "protocol", "protocol_type", "state", "coordinator_id"),
		members:      gauge(prefix+"members", "Members of a group.", "group_id"),
		commits:      counter(prefix+"offset_commits_total", "Offsets that a group committed since this broker coordinates it.", "group_id"),
		lag:          gauge(prefix+"topic_partition_lag", "Records of a partition that a group has not committed yet.", "group_id", "topic_name", "partition_id"),
		topicLag:     gauge(prefix+"topic_lag", "Records of a topic that a group has not committed yet.", "group_id", "topic_name"),
		topicOffsets: gauge(prefix+"topic_offset_sum", "Sum of the offsets that a group has committed in a topic.", "group_id", "topic_name"),
	}
}

// send shows what is known of a group but for its offsets.
func (f *kminionGroups) send(g *group.Info, samples chan<- prometheus.Metric) {
	f.info.send(samples, 1, g.ID, g.Protocol, g.ProtocolType, g.State, f.self)
	f.members.send(samples, float64(g.Members), g.ID)
	f.commits.send(samples, float64(g.Commits), g.ID)
}
