package metrics

import (
	"context"
	"io"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// Options are the parts of a broker that are shown. A node that is a controller only has no more than Image, Controller, Quorum, Ready and what is said of them.
type Options struct {
	NodeID    int32
	ClusterID func() string
	Image     func() *metadata.Image
	Config    func() config.Values // of the broker
	// ActiveController is the node that leads the controllers, as far as this one knows; -1: not known.
	ActiveController func() int32
	Groups           Groups
	// Controller tells what this node's controller has done; nil: it has none.
	Controller func() controller.Counts
	Replicas   *replication.Manager
	Requests   Requests
	APIName    func(key int16) string
	Sockets    func() Sockets
	Clients    Clients
	// Dirs tells of each log dir whether it is in use.
	Dirs func() []bool
	// Scrubbed tells what the scrub of the log dirs has done.
	Scrubbed func() storage.ScrubCounts
	// State is the broker's by Kafka's numbers (BrokerState).
	State func() int
	// Quorum is the metadata quorum as this node's controller sees it; nil: it has none.
	Quorum   func() Quorum
	Sessions Sessions
	// Ready is nil while the broker serves, else it says why not.
	Ready    func() error
	Profiles bool // serve /debug/pprof/
	Logger   *zap.Logger
}

// Sessions are the fetch sessions as they are seen here.
type Sessions interface {
	Len() int
	Partitions() int
}

// Quorum is what a controller knows of the metadata quorum.
type Quorum struct {
	controller.QuorumState
	State string // of this controller: leader, follower, observer, unattached
}

// Groups is the group coordinator as it is seen here.
type Groups interface {
	Counts() group.Counts
	Groups() *runtime.Future[[]group.Info]
}

// groupsLimit bounds the wait for the group coordinator.
const groupsLimit = 10 * time.Second

// Handler answers GET /metrics in the text that the client asks for, GET /readyz, and profiles if they are wanted.
func Handler(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{o: o}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	if o.Profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: errorLog{o.Logger}, ErrorHandling: promhttp.ContinueOnError}))
	return mux
}

// errorLog is the logger of promhttp.
type errorLog struct{ logger *zap.Logger }

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) { l.logger.Sugar().Warnln(v...) }

// collector makes the samples of one scrape; several may run at once. All that it keeps between scrapes is where the window of the quantiles begins.
type collector struct {
	o      Options
	former former

	handlers, network idleness // of threads
}

// Describe implements prometheus.Collector: what there is depends on topics and groups, so nothing is told beforehand.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(samples chan<- prometheus.Metric) {
	image := c.o.Image()
	c.collectController(image, samples)
	c.collectQuorum(samples)
	if c.o.Replicas == nil {
		return
	}
	replicas := c.lookAtReplicas()
	c.collectBroker(image, replicas, samples)
	c.collectRequests(samples)
	led := ledHere(replicas)
	c.collectTopics(image, led, samples)
	c.collectKminion(image, replicas, samples)
	c.collectCoordinator(samples)
	c.collectClients(samples)
	ctx, cancel := context.WithTimeout(context.Background(), groupsLimit)
	defer cancel()
	groups, err := c.o.Groups.Groups().Wait(ctx)
	if err != nil {
		c.o.Logger.Warn("a scrape of the metrics is without groups", zap.Error(err))
		return
	}
	c.collectGroups(groups, led, samples)
}

// replica is one of this broker's, as a scrape finds it.
type replica struct {
	*replication.Partition
	tp      protocol.TopicPartition
	id      string // of the partition
	offsets storage.Offsets
	size    int64 // bytes
	leads   bool
}

// lookAtReplicas is the one walk of a scrape over the replicas that this broker hosts, by topic and partition.
func (c *collector) lookAtReplicas() []replica {
	hosted := c.o.Replicas.Partitions()
	all := make([]replica, len(hosted))
	for i, p := range hosted {
		log, tp := p.Log(), p.TopicPartition()
		all[i] = replica{Partition: p, tp: tp, id: strconv.Itoa(int(tp.Partition)), offsets: log.Offsets(), size: log.Size(), leads: p.IsLeader()}
	}
	return all
}

// ledPartitions are the offsets of the partitions that this broker leads.
type ledPartitions map[protocol.TopicPartition]storage.Offsets

func ledHere(replicas []replica) ledPartitions {
	led := make(ledPartitions, len(replicas))
	for i := range replicas {
		if r := &replicas[i]; r.leads {
			led[r.tp] = r.offsets
		}
	}
	return led
}

// family is a metric with its labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// send makes one sample; a label that is not UTF-8 makes a sample that says so.
func (f family) send(samples chan<- prometheus.Metric, value float64, labels ...string) {
	m, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	samples <- m
}
