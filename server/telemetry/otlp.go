package telemetry

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Numbers of the fields of OTLP's messages (opentelemetry/proto/metrics/v1/metrics.proto) that are read. All others are skipped.
const (
	dataResourceMetrics = 1

	resourceMetricsResource = 1
	resourceMetricsScopes   = 2

	resourceAttributes = 1
	scopeMetrics       = 2

	metricName  = 1
	metricGauge = 5
	metricSum   = 7

	pointsOf       = 1 // of Gauge and Sum
	sumTemporality = 2
	sumMonotonic   = 3

	pointDouble     = 4
	pointInt        = 6
	pointAttributes = 7

	keyValueKey   = 1
	keyValueValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
)

// temporalityDelta is OTLP's AggregationTemporality of sums that count since the last push.
const temporalityDelta = 1

// Bounds of one point: what has more or longer ones is cut down to them, or left out.
const (
	maxLabels = 24
	maxText   = 256
)

// label is one label of a series.
type label struct{ name, value string }

// point is one value that was pushed.
type point struct {
	metric    string // as the client named it
	labels    []label
	value     float64
	delta     bool // counts since the last push
	monotonic bool
}

// decode calls take with each number in a MetricsData. Points of kinds that clients of Kafka do not have (histograms, summaries) are skipped. The point is
// take's to keep; decoded texts are copies.
func decode(data []byte, take func(point)) error {
	return eachField(data, func(f field) error {
		if f.id != dataResourceMetrics || f.wire != wireBytes {
			return nil
		}
		return decodeResource(f.bytes, take)
	})
}

// decodeResource reads a ResourceMetrics: the attributes of the client, which may stand behind its metrics, and these.
func decodeResource(data []byte, take func(point)) error {
	var of []label
	err := eachField(data, func(f field) error {
		if f.id != resourceMetricsResource || f.wire != wireBytes {
			return nil
		}
		return eachField(f.bytes, func(f field) (err error) {
			if f.id == resourceAttributes && f.wire == wireBytes {
				of, err = appendAttribute(of, f.bytes)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return eachField(data, func(f field) error {
		if f.id != resourceMetricsScopes || f.wire != wireBytes {
			return nil
		}
		return eachField(f.bytes, func(f field) error {
			if f.id != scopeMetrics || f.wire != wireBytes {
				return nil
			}
			return decodeMetric(f.bytes, of, take)
		})
	})
}

// decodeMetric reads a Metric of a client with these attributes.
func decodeMetric(data []byte, of []label, take func(point)) error {
	p := point{}
	var numbers []byte // Gauge or Sum
	err := eachField(data, func(f field) error {
		switch {
		case f.wire != wireBytes:
		case f.id == metricName:
			p.metric = text(f.bytes)
		case f.id == metricGauge:
			numbers = f.bytes
			p.delta, p.monotonic = false, false
		case f.id == metricSum:
			numbers = f.bytes
			return eachField(f.bytes, func(f field) error {
				switch {
				case f.wire != wireVarint:
				case f.id == sumTemporality:
					p.delta = f.number == temporalityDelta
				case f.id == sumMonotonic:
					p.monotonic = f.number != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return eachField(numbers, func(f field) error {
		if f.id != pointsOf || f.wire != wireBytes {
			return nil
		}
		one := p
		one.labels = slices.Clone(of)
		has, err := one.decode(f.bytes)
		if err == nil && has && p.metric != "" {
			take(one)
		}
		return err
	})
}

// decode reads a NumberDataPoint into p; has is false if it is without a value.
func (p *point) decode(data []byte) (has bool, err error) {
	err = eachField(data, func(f field) (err error) {
		switch {
		case f.id == pointDouble && f.wire == wireFixed64:
			p.value, has = math.Float64frombits(f.number), true
		case f.id == pointInt && f.wire == wireFixed64:
			p.value, has = float64(int64(f.number)), true
		case f.id == pointAttributes && f.wire == wireBytes:
			p.labels, err = appendAttribute(p.labels, f.bytes)
		}
		return err
	})
	return has, err
}

// appendAttribute adds a KeyValue to labels. What is no text, number or truth is left out, as is what is over the bound.
func appendAttribute(labels []label, data []byte) ([]label, error) {
	var l label
	err := eachField(data, func(f field) error {
		switch {
		case f.wire != wireBytes:
		case f.id == keyValueKey:
			l.name = labelName(text(f.bytes))
		case f.id == keyValueValue:
			return eachField(f.bytes, func(f field) error {
				switch {
				case f.id == anyString && f.wire == wireBytes:
					l.value = text(f.bytes)
				case f.id == anyBool && f.wire == wireVarint:
					l.value = strconv.FormatBool(f.number != 0)
				case f.id == anyInt && f.wire == wireVarint:
					l.value = strconv.FormatInt(int64(f.number), 10)
				case f.id == anyDouble && f.wire == wireFixed64:
					l.value = strconv.FormatFloat(math.Float64frombits(f.number), 'g', -1, 64)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil || l.name == "" || l.value == "" || len(labels) >= maxLabels {
		return labels, err
	}
	if at := slices.IndexFunc(labels, func(other label) bool { return other.name == l.name }); at >= 0 {
		labels[at].value = l.value
		return labels, nil
	}
	return append(labels, l), nil
}

// text is a text of the client's, cut at its bound, in valid UTF-8.
func text(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\uFFFD")
}

// labelName makes a name that Prometheus allows for a label: letters, digits and _, no digit and no __ at its beginning.
func labelName(name string) string {
	name = strings.TrimLeft(promName(name), "_")
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "n" + name
	}
	return name
}

// promName replaces what names of Prometheus cannot have by _.
func promName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
