package telemetry

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// message builds protobuf, field by field.
type message []byte

func (m message) tag(id, wire int) message {
	return binary.AppendUvarint(m, uint64(id)<<3|uint64(wire))
}

func (m message) bytes(id int, b []byte) message {
	return append(binary.AppendUvarint(m.tag(id, wireBytes), uint64(len(b))), b...)
}

func (m message) text(id int, s string) message { return m.bytes(id, []byte(s)) }

func (m message) varint(id int, n uint64) message {
	return binary.AppendUvarint(m.tag(id, wireVarint), n)
}

func (m message) fixed64(id int, n uint64) message {
	return binary.LittleEndian.AppendUint64(m.tag(id, wireFixed64), n)
}

func (m message) double(id int, f float64) message { return m.fixed64(id, math.Float64bits(f)) }

// attribute is a KeyValue with a text.
func attribute(key, value string) message {
	return message{}.text(keyValueKey, key).bytes(keyValueValue, message{}.text(anyString, value))
}

// gauge and sum are Metrics with one point.
func gauge(name string, value float64, attributes ...message) message {
	p := message{}.fixed64(2, 1).fixed64(3, 2).double(pointDouble, value)
	for _, a := range attributes {
		p = p.bytes(pointAttributes, a)
	}
	return message{}.text(metricName, name).text(2, "described").bytes(metricGauge, message{}.bytes(pointsOf, p))
}

func sum(name string, value int64, temporality uint64, attributes ...message) message {
	p := message{}.fixed64(pointInt, uint64(value))
	for _, a := range attributes {
		p = p.bytes(pointAttributes, a)
	}
	return message{}.text(metricName, name).bytes(metricSum, message{}.bytes(pointsOf, p).varint(sumTemporality, temporality).varint(sumMonotonic, 1))
}

// data is a MetricsData of one client.
func data(attributes []message, metrics ...message) []byte {
	resource, scope := message{}, message{}.bytes(1, message{}.text(1, "scope"))
	for _, a := range attributes {
		resource = resource.bytes(resourceAttributes, a)
	}
	for _, m := range metrics {
		scope = scope.bytes(scopeMetrics, m)
	}
	return message{}.bytes(dataResourceMetrics, message{}.bytes(resourceMetricsScopes, scope).bytes(resourceMetricsResource, resource))
}

func decoded(t testing.TB, b []byte) ([]string, error) {
	t.Helper()
	var all []string
	err := decode(b, func(p point) {
		all = append(all, fmt.Sprintf("%s %v %v delta=%t monotonic=%t", p.metric, p.labels, p.value, p.delta, p.monotonic))
	})
	return all, err
}

func TestDecode(t *testing.T) {
	b := data([]message{attribute("group_id", "g")},
		gauge("org.apache.kafka.consumer.fetch.latency.avg", 1.5, attribute("topic", "a"), attribute("topic", "b"), attribute("1-x", "y"), attribute("__z", "")),
		sum("org.apache.kafka.producer.record.send.total", -7, 2),
		sum("more", 3, 1),
		message{}.text(metricName, "histogram").bytes(9, message{}.bytes(1, message{}.fixed64(4, 5))),
		message{}.text(metricName, "without a value").bytes(metricGauge, message{}.bytes(pointsOf, message{}.fixed64(3, 1))),
	)
	got, err := decoded(t, b)
	want := []string{
		"org.apache.kafka.consumer.fetch.latency.avg [{group_id g} {topic b} {n1_x y}] 1.5 delta=false monotonic=false",
		"org.apache.kafka.producer.record.send.total [{group_id g}] -7 delta=false monotonic=true",
		"more [{group_id g}] 3 delta=true monotonic=true",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%s", err, strings.Join(got, "\n"))
	}
	if got, err := decoded(t, nil); len(got) != 0 || err != nil {
		t.Errorf("nothing: %v %v", got, err)
	}
	for cut := 1; cut < 12; cut++ { // a message that ends early is an error, wherever it is nested
		if _, err := decoded(t, b[:len(b)-cut]); err == nil {
			t.Errorf("%d bytes short: no error", cut)
		}
	}
	values := message{}.text(keyValueKey, "n")
	for want, value := range map[string]message{
		"7": message{}.varint(anyInt, 7), "-1": message{}.varint(anyInt, math.MaxUint64), "true": message{}.varint(anyBool, 1), "0.5": message{}.double(anyDouble, 0.5),
	} {
		got, err := appendAttribute(nil, values.bytes(keyValueValue, value))
		if err != nil || len(got) != 1 || got[0] != (label{"n", want}) {
			t.Errorf("%s: %v %v", want, got, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"field 0":          {0x02, 0x00},
		"a group":          {0x0b},
		"wire type 7":      {0x0f},
		"endless varint":   {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"a huge length":    {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"a short fixed32":  {0x0d, 0x00},
		"a short fixed64":  {0x09, 0x00},
		"nested":           message{}.bytes(1, message{}.bytes(2, message{}.bytes(2, []byte{0x0a, 0x05}))),
		"in an attribute":  data([]message{message{}.bytes(keyValueValue, []byte{0x0a, 0x05})}),
		"in a data point":  data(nil, message{}.bytes(metricGauge, message{}.bytes(pointsOf, []byte{0x21}))),
		"no message at al": []byte("{\"resourceMetrics\":[]}"),
	} {
		if _, err := decoded(t, b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzDecode holds that whatever is decoded is within the bounds, and can be shown.
func FuzzDecode(f *testing.F) {
	f.Add(data([]message{attribute("group_id", "g")}, gauge("a.b", 1, attribute("topic", "\xff")), sum("c", 2, 1)))
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		err := decode(b, func(p point) {
			if p.metric == "" || len(p.metric) > 3*maxText || len(p.labels) > maxLabels {
				t.Fatalf("%+v", p)
			}
			for i, l := range p.labels {
				if l.name == "" || l.value == "" || strings.HasPrefix(l.name, "_") || len(l.value) > 3*maxText || labelName(l.name) != l.name {
					t.Fatalf("%+v", l)
				}
				if slices.ContainsFunc(p.labels[:i], func(other label) bool { return other.name == l.name }) {
					t.Fatalf("%s twice", l.name)
				}
			}
		})
		if err != nil && len(b) == 0 {
			t.Fatal(err)
		}
	})
}
