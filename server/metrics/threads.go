package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Threads are a number of threads and what they have done.
type Threads struct {
	Size    int
	Busy    time.Duration // of all together, since the start
	Waiting int           // that wait for one
	Waited  int64         // that had to, since the start
}

// idleWindow is how far back the idle share looks: at least so long, at most twice as long.
const idleWindow = time.Minute

// idleness tells which share of their time threads are idle. The zero idleness is of threads that have just begun.
type idleness struct {
	mu          sync.Mutex // guards what follows
	start, next mark       // where the window begins, and where the next one will
}

type mark struct {
	at   time.Time
	busy time.Duration
}

// share is the idle share of what t has done in the window that ends with now, of the threads that there are now.
func (i *idleness) share(now time.Time, t Threads) float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Sub(i.next.at) >= idleWindow {
		i.start, i.next = i.next, mark{now, t.Busy}
		if i.start.at.IsZero() {
			i.start = i.next
		}
	}
	whole := now.Sub(i.start.at) * time.Duration(max(1, t.Size))
	if whole <= 0 {
		return 1
	}
	return min(max(0, 1-float64(t.Busy-i.start.busy)/float64(whole)), 1)
}

// collectThreads shows what bounds requests.
func (c *collector) collectThreads(s Sockets, samples chan<- prometheus.Metric) {
	now := time.Now()
	handlers, network := c.handlers.share(now, s.Handlers), c.network.share(now, s.Senders)
	for _, name := range []string{"requesthandleravgidle_percent", "requesthandleravgidlepercent_oneminuterate"} {
		gauge("kafka_server_kafkarequesthandlerpool_"+name, "Share of num.io.threads in which no request works on disks.").send(samples, handlers)
	}
	counter("kafka_server_kafkarequesthandlerpool_requesthandleravgidlepercent_total", "Nanoseconds in which one of num.io.threads was idle, on average, since the start.").
		send(samples, max(0, float64(s.Age)-float64(s.Handlers.Busy)/float64(max(1, s.Handlers.Size))))
	for _, name := range []string{"networkprocessoravgidle_percent", "networkprocessoravgidlepercent"} {
		gauge("kafka_network_socketserver_"+name, "Share of num.network.threads in which no answer reads a segment.").send(samples, network)
	}
	gauge("kafka_network_requestchannel_requestqueuesize", "Requests that wait for one of num.io.threads.").send(samples, float64(s.Handlers.Waiting))
	counter("ottla_requests_waited_total", "Requests that had to wait for one of num.io.threads.").send(samples, float64(s.Handlers.Waited))
	counter("ottla_answers_waited_total", "Reads of segments that had to wait for one of num.network.threads.").send(samples, float64(s.Senders.Waited))
}
