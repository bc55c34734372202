package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/replication/metadata"
)

// collectController shows the cluster as every controller sees it, and what the one of this node has done: kafka.controller:type=KafkaController and
// ControllerStats, as jmx_exporter writes them.
func (c *collector) collectController(image *metadata.Image, samples chan<- prometheus.Metric) {
	var active, fenced, topics, partitions, offline, imbalanced float64
	for b := range image.Brokers() {
		if b.Fenced {
			fenced++
		} else {
			active++
		}
	}
	for t := range image.Topics() {
		topics++
		for _, p := range t.Partitions {
			partitions++
			offline += truth(p.Leader < 0)
			imbalanced += truth(len(p.Replicas) > 0 && p.Replicas[0] != p.Leader)
		}
	}
	const prefix = "kafka_controller_kafkacontroller_"
	gauge(prefix+"activebrokercount", "Brokers that are not fenced.").send(samples, active)
	gauge(prefix+"fencedbrokercount", "Registered brokers that are fenced.").send(samples, fenced)
	gauge(prefix+"globaltopiccount", "Topics of the cluster.").send(samples, topics)
	gauge(prefix+"globalpartitioncount", "Partitions of the cluster.").send(samples, partitions)
	gauge(prefix+"offlinepartitionscount", "Partitions without a leader.").send(samples, offline)
	gauge(prefix+"preferredreplicaimbalancecount", "Partitions that are not led by their first replica.").send(samples, imbalanced)
	if c.o.Controller == nil {
		return
	}
	n := c.o.Controller()
	gauge(prefix+"activecontrollercount", "1 if this node's controller is the active one.").send(samples, truth(n.Active))
	counter(prefix+"newactivecontrollerscount", "Times that this node's controller became the active one.").send(samples, float64(n.Activations))
	counter(prefix+"timedoutbrokerheartbeatcount", "Sessions of brokers that this controller ended as no heartbeat came.").send(samples, float64(n.Expired))
	for _, suffix := range []string{"_total", "persec"} {
		counter("kafka_controller_controllerstats_uncleanleaderelections"+suffix, "Elections of replicas that may lack data, by this controller.").send(samples, float64(n.UncleanElections))
	}
}
