package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/server/telemetry"
)

// Clients is the receiver of what clients push of their own metrics, as it is seen here.
type Clients interface {
	Counts() telemetry.Counts
	Samples() []telemetry.Sample
}

// collectClients shows the metrics that clients have pushed (KIP-714), and kafka.server:type=ClientMetrics.
func (c *collector) collectClients(samples chan<- prometheus.Metric) {
	const bean = "kafka_server_clientmetrics_"
	n := c.o.Clients.Counts()
	gauge(bean+"clientmetricsinstancecount", "Clients that were asked for metrics, or push some.").send(samples, float64(n.Instances))
	counter(bean+"clientmetricsunknownsubscriptionrequest_total", "Pushes for another subscription than the client's.").send(samples, float64(n.UnknownSubscriptions))
	counter(bean+"clientmetricsthrottle_total", "Requests that came too early.").send(samples, float64(n.Throttled))
	counter(bean+"clientmetricspluginexport_total", "Pushes whose metrics were taken.").send(samples, float64(n.Exported))
	counter(bean+"clientmetricspluginerror_total", "Pushes whose metrics could not be read.").send(samples, float64(n.Failed))
	counter("ottla_client_metrics_left_out_total", "Values that clients pushed and for which there was no room.").send(samples, float64(n.LeftOut))
	const help = "A metric that clients push, by the name under which they know it."
	for _, s := range c.o.Clients.Samples() {
		f := gauge(s.Name, help, s.Labels...)
		if s.Counter {
			f = counter(s.Name, help, s.Labels...)
		}
		f.send(samples, s.Value, s.Values...)
	}
}
