package metrics

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ottla/ottla/server/meter"
)

// Requests is a socket server as it is seen here.
type Requests interface {
	APIs() []meter.API
}

// quantiles are those that Kafka's histograms have.
var quantiles = []float64{0.5, 0.75, 0.95, 0.98, 0.99, 0.999}

// window is how far quantiles look back: at least so long, at most twice as long. Kafka's look back some five minutes.
const window = 5 * time.Minute

// timesOf are the parts of a request's time by the names of Kafka's beans.
var timesOf = [...]struct {
	kind meter.Kind
	name string
}{
	{meter.Total, "totaltimems"}, {meter.Queue, "requestqueuetimems"}, {meter.Local, "localtimems"}, {meter.Remote, "remotetimems"},
	{meter.Send, "responsesendtimems"},
}

// former are the times of requests as they were when the window began, and when the next one will have.
type former struct {
	mu         sync.Mutex // guards what follows
	begin      time.Time  // of next
	last, next map[int16]meter.API
}

// rotate returns what was counted before the window that ends with now.
func (f *former) rotate(now time.Time, apis []meter.API) map[int16]meter.API {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.begin) >= window {
		f.begin, f.last = now, f.next
		f.next = make(map[int16]meter.API, len(apis))
		for i := range apis {
			f.next[apis[i].Key] = apis[i]
		}
	}
	return f.last
}

// collectRequests shows the requests by API: kafka.network:type=RequestMetrics in both dialects of jmx_exporter's rules.
func (c *collector) collectRequests(samples chan<- prometheus.Metric) {
	const prefix = "kafka_network_requestmetrics_"
	apis := c.o.Requests.APIs()
	collectWaiting(apis, samples)
	before := c.former.rotate(time.Now(), apis)
	byVersion := counter(prefix+"requests_total", "Requests that were answered.", "request", "version")
	perSecond := counter(prefix+"requestspersec", "Requests that were answered.", "request", "version")
	errors := counter(prefix+"errors_total", "Error codes in answers, NONE among them: of the whole, and of each thing in it that has one.", "request", "error")
	errorsPerSecond := counter(prefix+"errorspersec", "Error codes in answers, NONE among them: of the whole, and of each thing in it that has one.", "request", "error")
	bytes := counter(prefix+"requestbytes_total", "Bytes of the frames of requests.", "request")
	for i := range apis {
		a := &apis[i]
		name := c.o.APIName(a.Key)
		for version, n := range a.Versions {
			if n > 0 {
				byVersion.send(samples, float64(n), name, strconv.Itoa(version))
				perSecond.send(samples, float64(n), name, strconv.Itoa(version))
			}
		}
		bytes.send(samples, float64(a.Bytes), name)
		for code, n := range a.Codes {
			errors.send(samples, float64(n), name, code.String())
			errorsPerSecond.send(samples, float64(n), name, code.String())
		}
		for _, t := range timesOf {
			all := &a.Times[t.kind]
			recent := *all
			if old, ok := before[a.Key]; ok {
				recent = all.Since(&old.Times[t.kind])
			}
			values := make(map[float64]float64, len(quantiles))
			for _, q := range quantiles {
				values[q] = milliseconds(recent.Quantile(q))
			}
			desc := prometheus.NewDesc(prefix+t.name, "Milliseconds of requests; quantiles of the last five to ten minutes.", []string{"request"}, nil)
			samples <- prometheus.MustNewConstSummary(desc, all.Count, milliseconds(all.Sum), values, name)
		}
	}
}

// purgatories are Kafka's DelayedOperationPurgatory beans whose operations are requests here, by the keys of their APIs: a JoinGroup waits for a rebalance.
var purgatories = [...]struct {
	key  int16
	name string
}{{0, "Produce"}, {1, "Fetch"}, {11, "Rebalance"}, {21, "DeleteRecords"}, {43, "ElectLeader"}}

// collectWaiting shows the requests that wait for others: kafka.server:type=DelayedOperationPurgatory.
func collectWaiting(apis []meter.API, samples chan<- prometheus.Metric) {
	const prefix = "kafka_server_delayedoperationpurgatory_"
	size := gauge(prefix+"purgatorysize", "Requests that wait for others at this time.", "delayedOperation")
	delayed := gauge(prefix+"numdelayedoperations", "Requests that wait for others at this time.", "delayedOperation")
	for _, p := range purgatories {
		waiting := int64(0)
		if i := slices.IndexFunc(apis, func(a meter.API) bool { return a.Key == p.key }); i >= 0 {
			waiting = apis[i].Waiting
		}
		size.send(samples, float64(waiting), p.name)
		delayed.send(samples, float64(waiting), p.name)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
