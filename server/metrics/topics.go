package metrics

import (
	"net"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// topicFamilies are the metrics of brokers, topics and partitions, as kafka_exporter names them.
type topicFamilies struct {
	brokers, brokerInfo, partitions, current, oldest, leader, preferred, replicas, inSync, underReplicated family
}

func newTopicFamilies() topicFamilies {
	partition := []string{"topic", "partition"}
	return topicFamilies{
		brokers:         gauge("kafka_brokers", "Number of brokers in the cluster."),
		brokerInfo:      gauge("kafka_broker_info", "A broker, with its address.", "id", "address"),
		partitions:      gauge("kafka_topic_partitions", "Number of partitions of a topic.", "topic"),
		current:         gauge("kafka_topic_partition_current_offset", "High watermark of a partition.", partition...),
		oldest:          gauge("kafka_topic_partition_oldest_offset", "Log start offset of a partition.", partition...),
		leader:          gauge("kafka_topic_partition_leader", "Broker that leads a partition; -1 if none does.", partition...),
		preferred:       gauge("kafka_topic_partition_leader_is_preferred", "1 if a partition is led by its first replica.", partition...),
		replicas:        gauge("kafka_topic_partition_replicas", "Number of replicas of a partition.", partition...),
		inSync:          gauge("kafka_topic_partition_in_sync_replica", "Number of replicas of a partition that are in sync.", partition...),
		underReplicated: gauge("kafka_topic_partition_under_replicated_partition", "1 if replicas of a partition are not in sync.", partition...),
	}
}

// collectTopics shows the brokers, topics and partitions of the cluster, and the offsets of the partitions that are led here.
func (c *collector) collectTopics(image *metadata.Image, led ledPartitions, samples chan<- prometheus.Metric) {
	f := newTopicFamilies()
	brokers := 0
	for b := range image.Brokers() {
		if b.Fenced {
			continue
		}
		brokers++
		if len(b.Endpoints) > 0 {
			e := b.Endpoints[0]
			f.brokerInfo.send(samples, 1, strconv.Itoa(int(b.ID)), net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))))
		}
	}
	f.brokers.send(samples, float64(brokers))
	for t := range image.Topics() {
		f.partitions.send(samples, float64(len(t.Partitions)), t.Name)
		for _, p := range t.Partitions {
			if p == nil {
				continue
			}
			id := strconv.Itoa(int(p.ID))
			f.leader.send(samples, float64(p.Leader), t.Name, id)
			f.preferred.send(samples, truth(p.Leader >= 0 && slices.Index(p.Replicas, p.Leader) == 0), t.Name, id)
			f.replicas.send(samples, float64(len(p.Replicas)), t.Name, id)
			f.inSync.send(samples, float64(len(p.ISR)), t.Name, id)
			f.underReplicated.send(samples, truth(len(p.ISR) < len(p.Replicas)), t.Name, id)
			if offsets, ok := led[protocol.TopicPartition{Topic: t.Name, Partition: p.ID}]; ok {
				f.oldest.send(samples, float64(offsets.LogStart), t.Name, id)
				f.current.send(samples, float64(offsets.HighWatermark), t.Name, id)
			}
		}
	}
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
