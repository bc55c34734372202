package telemetry

import (
	"cmp"
	"slices"
	"strings"
)

// Bounds of what is kept: the series of one client, and of all.
const (
	maxClientSeries = 2_000
	maxSeries       = 50_000
)

// prefix begins the names of all metrics of clients: none can pass for one of the broker's.
const prefix = "kafka_client_"

// Sample is one value that a client pushed, as it is shown.
type Sample struct {
	Name    string   // kafka_client_producer_record_send_total for org.apache.kafka.producer.record.send.total
	Labels  []string // names, sorted
	Values  []string // of the labels
	Counter bool     // its name ends in _total
	Value   float64
}

// sampleName is the name under which a metric is shown, and whether it is a counter: that is for the name to say, so that all clients agree.
func sampleName(metric string, monotonic bool) (name string, counter bool) {
	name = prefix + promName(strings.TrimPrefix(metric, "org.apache.kafka."))
	if monotonic && !strings.HasSuffix(name, "_total") {
		name += "_total"
	}
	return name, strings.HasSuffix(name, "_total")
}

// keep takes one value of a client: r.mu is held. It returns false where there is no room for another series.
func (r *Receiver) keep(i *instance, p *point) bool {
	name, counter := sampleName(p.metric, p.monotonic)
	labels := p.labels
	for _, own := range i.labels {
		labels = slices.DeleteFunc(labels, func(l label) bool { return l.name == own.name })
	}
	labels = append(labels, i.labels...)
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	var key strings.Builder
	key.WriteString(name)
	for _, l := range labels {
		key.WriteString("\x00" + l.name + "\x01" + l.value)
	}
	s := i.series[key.String()]
	if s == nil {
		if len(i.series) >= maxClientSeries || r.kept >= maxSeries {
			return false
		}
		s = &Sample{Name: name, Counter: counter}
		for _, l := range labels {
			s.Labels, s.Values = append(s.Labels, l.name), append(s.Values, l.value)
		}
		if i.series == nil {
			i.series = map[string]*Sample{}
		}
		i.series[key.String()] = s
		r.kept++
	}
	if p.delta {
		s.Value += p.value
	} else {
		s.Value = p.value
	}
	return true
}

// Samples returns what clients have pushed and did not expire since, by name.
func (r *Receiver) Samples() []Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	all := make([]Sample, 0, r.kept)
	for _, e := range r.instances {
		for _, s := range e.Value.(*instance).series {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b Sample) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
