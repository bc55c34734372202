package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
)

// Sockets is what the listeners of clients have done since the start.
type Sockets struct {
	Open, Accepted, BytesOut, Refused int64
	Handlers                          Threads        // num.io.threads
	Senders                           Threads        // num.network.threads of all listeners
	ByListener                        map[string]int // open connections, of the listeners that are served
	Age                               time.Duration  // since the start
}

// topicNames are the metrics of kafka.server:type=BrokerTopicMetrics: the bean's name without PerSec, and the value.
var topicNames = [...]struct {
	name, help string
	of         func(*replication.Traffic) int64
}{
	{"messagesin", "Records that clients appended.", func(t *replication.Traffic) int64 { return t.MessagesIn }},
	{"bytesin", "Bytes of records that clients appended.", func(t *replication.Traffic) int64 { return t.BytesIn }},
	{"bytesout", "Bytes of records that were sent to clients.", func(t *replication.Traffic) int64 { return t.BytesOut }},
	{"replicationbytesin", "Bytes of records that were fetched from leaders.", func(t *replication.Traffic) int64 { return t.ReplicationBytesIn }},
	{"replicationbytesout", "Bytes of records that were sent to followers.", func(t *replication.Traffic) int64 { return t.ReplicationBytesOut }},
	{"totalproducerequests", "Appends to partitions that clients asked for.", func(t *replication.Traffic) int64 { return t.ProduceRequests }},
	{"failedproducerequests", "Those that failed.", func(t *replication.Traffic) int64 { return t.FailedProduceRequests }},
	{"totalfetchrequests", "Reads of partitions.", func(t *replication.Traffic) int64 { return t.FetchRequests }},
	{"failedfetchrequests", "Those that failed.", func(t *replication.Traffic) int64 { return t.FailedFetchRequests }},
}

// collectBroker shows what this broker hosts: BrokerTopicMetrics, ReplicaManager, Partition and Log.
func (c *collector) collectBroker(image *metadata.Image, hosted []replica, samples chan<- prometheus.Metric) {
	all := c.o.Replicas.FormerTraffic()
	byTopic := map[string]*replication.Traffic{}
	for i := range hosted {
		r := &hosted[i]
		t := r.Traffic()
		all.Add(t)
		if byTopic[r.tp.Topic] == nil {
			byTopic[r.tp.Topic] = new(replication.Traffic)
		}
		byTopic[r.tp.Topic].Add(t)
	}
	// A family has one set of labels, so the sum over all topics has the empty label, which Prometheus takes for none.
	for _, m := range topicNames {
		for _, name := range []string{m.name + "_total", m.name + "persec"} {
			f := counter("kafka_server_brokertopicmetrics_"+name, m.help+" Without a topic: of all.", "topic")
			f.send(samples, float64(m.of(&all)), "")
			for topic, t := range byTopic {
				f.send(samples, float64(m.of(t)), topic)
			}
		}
	}
	c.collectReplicas(image, hosted, samples)
	c.collectScrub(samples)
	c.collectSockets(samples)
}

// collectReplicas shows the state of the replicas here.
func (c *collector) collectReplicas(image *metadata.Image, all []replica, samples chan<- prometheus.Metric) {
	partition := []string{"topic", "partition"}
	size := gauge("kafka_log_log_size", "Bytes of a log's segments.", partition...)
	start := gauge("kafka_log_log_logstartoffset", "First offset of a log.", partition...)
	end := gauge("kafka_log_log_logendoffset", "Offset that the next record of a log gets.", partition...)
	segments := gauge("kafka_log_log_numlogsegments", "Segments of a log.", partition...)
	under := gauge("kafka_cluster_partition_underreplicated", "1 if a partition that is led here has replicas out of sync.", partition...)
	underMin := gauge("kafka_cluster_partition_underminisr", "1 if a partition that is led here has fewer in-sync replicas than it must have.", partition...)
	atMin := gauge("kafka_cluster_partition_atminisr", "1 if a partition that is led here has as many in-sync replicas as it must have.", partition...)
	replicas := gauge("kafka_cluster_partition_replicascount", "Replicas of a partition that is led here.", partition...)
	inSync := gauge("kafka_cluster_partition_insyncreplicascount", "In-sync replicas of a partition that is led here.", partition...)
	var leaders, hosted, underReplicated, underMinISR, atMinISR, reassigning float64
	for i := range all {
		r := &all[i]
		tp, id, log := r.tp, r.id, r.Log()
		hosted++
		size.send(samples, float64(r.size), tp.Topic, id)
		start.send(samples, float64(r.offsets.LogStart), tp.Topic, id)
		end.send(samples, float64(r.offsets.LogEnd), tp.Topic, id)
		if log.Offline() == nil {
			segments.send(samples, float64(log.SegmentCount()), tp.Topic, id)
		}
		known := image.Partition(tp.Topic, tp.Partition)
		if known == nil || !r.leads {
			continue
		}
		leaders++
		minISR := min(log.Config().MinInSyncReplicas, len(known.Replicas))
		isUnder, isUnderMin, isAtMin := truth(len(known.ISR) < len(known.Replicas)), truth(len(known.ISR) < minISR), truth(len(known.ISR) == minISR)
		underReplicated, underMinISR, atMinISR = underReplicated+isUnder, underMinISR+isUnderMin, atMinISR+isAtMin
		reassigning += truth(len(known.Adding)+len(known.Removing) > 0)
		under.send(samples, isUnder, tp.Topic, id)
		underMin.send(samples, isUnderMin, tp.Topic, id)
		atMin.send(samples, isAtMin, tp.Topic, id)
		replicas.send(samples, float64(len(known.Replicas)), tp.Topic, id)
		inSync.send(samples, float64(len(known.ISR)), tp.Topic, id)
	}
	const manager = "kafka_server_replicamanager_"
	gauge(manager+"leadercount", "Partitions that this broker leads.").send(samples, leaders)
	gauge(manager+"partitioncount", "Replicas that this broker hosts.").send(samples, hosted)
	gauge(manager+"underreplicatedpartitions", "Partitions led here that have replicas out of sync.").send(samples, underReplicated)
	gauge(manager+"underminisrpartitioncount", "Partitions led here that have fewer in-sync replicas than they must have.").send(samples, underMinISR)
	gauge(manager+"atminisrpartitioncount", "Partitions led here that have as many in-sync replicas as they must have.").send(samples, atMinISR)
	gauge(manager+"reassigningpartitions", "Partitions led here that are being reassigned.").send(samples, reassigning)
	expanded, shrunk := c.o.Replicas.ISRChanges()
	for _, suffix := range []string{"_total", "persec"} {
		counter(manager+"isrexpands"+suffix, "Replicas that this broker had taken into ISRs.").send(samples, float64(expanded))
		counter(manager+"isrshrinks"+suffix, "Replicas that this broker had taken out of ISRs.").send(samples, float64(shrunk))
	}
	gauge("kafka_server_replicafetchermanager_maxlag", "Records that a replica here is behind its leader, at most.").send(samples, float64(c.o.Replicas.MaxLag()))
	offline := slices.DeleteFunc(c.o.Dirs(), func(online bool) bool { return online })
	gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log dirs that failed.").send(samples, float64(len(offline)))
}

// collectScrub shows what was found by reading segments again in the background (docs/disks.md).
func (c *collector) collectScrub(samples chan<- prometheus.Metric) {
	n := c.o.Scrubbed()
	const scrub = "ottla_scrub_"
	counter(scrub+"segments_total", "Segments that were read in the background and found right.").send(samples, float64(n.Segments))
	counter(scrub+"bytes_total", "Bytes that were read for that.").send(samples, float64(n.Bytes))
	counter(scrub+"damaged_segments_total", "Segments that were found damaged; one that stays so counts in each round.").send(samples, float64(n.Damaged))
	counter(scrub+"repairs_total", "Damaged segments whose replica was replaced by a copy of its leader's.").send(samples, float64(n.Repaired))
	counter(scrub+"failed_repairs_total", "Damaged segments that stay, as no other replica could lead.").send(samples, float64(n.Kept))
}

// collectSockets shows the listeners of clients.
func (c *collector) collectSockets(samples chan<- prometheus.Metric) {
	s := c.o.Sockets()
	c.collectThreads(s, samples)
	gauge("kafka_server_socketservermetrics_connections", "Connections of clients that are open.").send(samples, float64(s.Open))
	for _, name := range []string{"kafka_server_socketservermetrics_connection_count", "kafka_server_socket_server_metrics_connection_count"} {
		f := gauge(name, "Connections of clients that are open, by listener; they belong to no network processor.", "listener", "networkProcessor")
		for listener, n := range s.ByListener {
			f.send(samples, float64(n), listener, "all")
		}
	}
	gauge("kafka_server_fetchsessioncache_numincrementalfetchsessions", "Fetch sessions.").send(samples, float64(c.o.Sessions.Len()))
	gauge("kafka_server_fetchsessioncache_numincrementalfetchpartitionscached", "Partitions in fetch sessions.").send(samples, float64(c.o.Sessions.Partitions()))
	counter("kafka_server_socketservermetrics_connections_total", "Connections of clients that were accepted.").send(samples, float64(s.Accepted))
	counter("kafka_server_socketservermetrics_outgoing_byte_total", "Bytes that were sent to clients.").send(samples, float64(s.BytesOut))
	counter("ottla_requests_refused_total", "Requests that closed their connection.").send(samples, float64(s.Refused))
	gauge("kafka_server_kafkaserver_brokerstate", "State of the broker as Kafka counts it: 3 is running, 6 is leaving.").send(samples, float64(c.o.State()))
}

// collectQuorum shows the metadata quorum as this node's controller sees it, if it has one.
func (c *collector) collectQuorum(samples chan<- prometheus.Metric) {
	if c.o.Quorum == nil {
		return
	}
	q := c.o.Quorum()
	const raft = "kafka_server_raftmetrics_"
	gauge(raft+"current_leader", "Node that leads the metadata quorum, as this node knows it; -1 unknown.").send(samples, float64(q.LeaderID))
	gauge(raft+"current_epoch", "Epoch of the metadata quorum.").send(samples, float64(q.LeaderEpoch))
	gauge(raft+"current_state", "1, with what this node's controller is in the quorum.", "current_state").send(samples, 1, q.State)
	gauge(raft+"high_watermark", "Offset after the last committed record of the metadata.").send(samples, float64(q.HighWatermark))
	gauge(raft+"log_end_offset", "Offset that the next record of the metadata gets here.").send(samples, float64(q.LogEndOffset))
}
