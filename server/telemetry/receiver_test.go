package telemetry

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// newReceiver returns one with the subscriptions of subscribe.
func newReceiver(t *testing.T, pairs ...string) *Receiver {
	t.Helper()
	codecs := record.NewCodecs()
	t.Cleanup(codecs.Close)
	r := New(Options{Config: config.Defaults, Codecs: codecs, Logger: zap.NewNop()})
	subscribe(t, r, pairs...)
	return r
}

// subscribe makes the client metrics resources those of pairs: resource/key, value.
func subscribe(t *testing.T, r *Receiver, pairs ...string) {
	t.Helper()
	var records []schema.MetadataRecord
	for p := range slices.Chunk(pairs, 2) {
		name, key, _ := strings.Cut(p[0], "/")
		records = append(records, &schema.ConfigRecord{ResourceType: int8(config.ClientMetrics), ResourceName: name, Name: key, Value: &p[1]})
	}
	image, _, err := metadata.Empty().With(int64(len(records)), 1, records)
	if err != nil {
		t.Fatal(err)
	}
	r.Apply(image)
}

func client(id string) *Client {
	return &Client{ID: &id, SoftwareName: "apache-kafka-java", SoftwareVersion: "4.3.1", Address: netip.MustParseAddrPort("10.0.0.7:4711")}
}

func expectCode(t *testing.T, err error, want protocol.Code) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Errorf("%v, want %v", err, want)
	}
}

// get subscribes a client that must not be refused.
func get(t *testing.T, r *Receiver, id protocol.UUID, c *Client) Subscription {
	t.Helper()
	s, err := r.Subscribe(id, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSubscriptions(t *testing.T) {
	all := []string{
		"a/metrics", "org.apache.kafka.producer.,x", "a/interval.ms", "1000", "a/match", "client_id=app-[0-9]+,client_source_address=10\\..*",
		"b/metrics", "x,b", "b/interval.ms", "500", "b/match", "client_software_name=apache-kafka-java",
		"c/interval.ms", "3600000", "d/metrics", "*", "d/match", "client_software_version=5.*",
		"e/metrics", "e", "e/match", "client_id=.*,client_source_port=4711", "f/metrics", "never", "f/match", "client_id=pp",
	}
	nameless := client("")
	nameless.ID, nameless.SoftwareName = nil, ""
	five := client("app-1")
	five.SoftwareVersion = "5.0"
	for name, tc := range map[string]struct {
		client *Client
		want   string
	}{
		"all of it":            {client("app-12"), "[b e org.apache.kafka.producer. x] 500ms"},
		"the whole must match": {client("app-12x"), "[b e x] 500ms"},
		"nameless":             {nameless, "[] 5m0s"},
		"all metrics":          {five, "[*] 500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			s := get(t, newReceiver(t, all...), protocol.UUID{}, tc.client)
			if got := fmt.Sprint(s.Metrics, s.Interval); got != tc.want || s.InstanceID.IsZero() || s.MaxBytes != 1<<20 || !slices.Equal(s.Accepted, []int8{4, 3, 1, 2}) {
				t.Errorf("%+v", s)
			}
		})
	}
	s := get(t, newReceiver(t, "s/match", "client_instance_id=AAECAwQFBgcICQoLDA0ODw", "s/metrics", "m"), protocol.UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, client(""))
	crc := crc32.Checksum([]byte("[m]300000"), crc32.MakeTable(crc32.Castagnoli))
	if want := int32(crc) ^ 0x00010203 ^ 0x04050607 ^ 0x08090a0b ^ 0x0c0d0e0f; len(s.Metrics) != 1 || s.ID != want {
		t.Errorf("%+v, want the id %d", s, want)
	}
}

func TestAddressAsJavaWritesIt(t *testing.T) {
	for in, want := range map[string]string{"::ffff:1.2.3.4": "1.2.3.4", "::1": "0:0:0:0:0:0:0:1", "fe80::a:0:bc%eth0": "fe80:0:0:0:0:a:0:bc%eth0"} {
		if got := javaAddress(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// TestTimes holds when a client may ask and push.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, "s/metrics", "*", "s/interval.ms", "1000")
		c := client("c")
		s := get(t, r, protocol.UUID{}, c)
		push := func(terminating bool) error {
			return r.Push(t.Context(), &Push{InstanceID: s.InstanceID, Subscription: s.ID, Terminating: terminating}, c)
		}
		ask := func() error {
			_, err := r.Subscribe(s.InstanceID, c)
			return err
		}
		expectCode(t, ask(), protocol.ThrottlingQuotaExceeded)
		time.Sleep(time.Millisecond)
		expectCode(t, push(false), protocol.None) // at any time after the question, as clients begin at a random time
		expectCode(t, push(false), protocol.ThrottlingQuotaExceeded)
		time.Sleep(999 * time.Millisecond)
		expectCode(t, ask(), protocol.ThrottlingQuotaExceeded)
		time.Sleep(time.Millisecond)
		expectCode(t, push(false), protocol.None)
		time.Sleep(10 * time.Millisecond)
		subscribe(t, r, "s/metrics", "a", "s/interval.ms", "2000")
		expectCode(t, push(false), protocol.UnknownSubscriptionID)
		s = get(t, r, s.InstanceID, c) // at once, as others are wanted now
		if s.Interval != 2*time.Second || !slices.Equal(s.Metrics, []string{"a"}) {
			t.Errorf("%+v", s)
		}
		expectCode(t, push(false), protocol.ThrottlingQuotaExceeded) // as in Kafka: that it asked too early does not count
		time.Sleep(2 * time.Second)
		expectCode(t, push(false), protocol.None)
		expectCode(t, ask(), protocol.ThrottlingQuotaExceeded)
		expectCode(t, push(true), protocol.None) // at any time
		expectCode(t, push(false), protocol.InvalidRequest)
		r.Disconnected(s.InstanceID)
		expectCode(t, ask(), protocol.None)
		time.Sleep(time.Hour)
		if n := r.Counts(); n.Instances != 0 || n.Throttled != 5 || n.UnknownSubscriptions != 1 {
			t.Errorf("%+v", n)
		}
		s = get(t, r, protocol.UUID{}, c)
		expectCode(t, push(true), protocol.None)
		expectCode(t, push(true), protocol.InvalidRequest)
	})
}

func TestPushRefuses(t *testing.T) {
	r := newReceiver(t, "s/metrics", "*", "s/interval.ms", "100")
	s := get(t, r, protocol.UUID{}, client("c"))
	for name, tc := range map[string]struct {
		change func(*Push)
		want   protocol.Code
	}{
		"no id":              {func(p *Push) { p.InstanceID = protocol.UUID{} }, protocol.InvalidRequest},
		"a reserved id":      {func(p *Push) { p.InstanceID = protocol.UUID{15: 1} }, protocol.InvalidRequest},
		"another id":         {func(p *Push) { p.InstanceID = protocol.UUID{9: 1} }, protocol.UnknownSubscriptionID},
		"other subscription": {func(p *Push) { p.Subscription++ }, protocol.UnknownSubscriptionID},
		"codec 5":            {func(p *Push) { p.Codec = 5 }, protocol.UnsupportedCompressionType},
		"codec -1":           {func(p *Push) { p.Codec = -1 }, protocol.UnsupportedCompressionType},
		"too large":          {func(p *Push) { p.Metrics = make([]byte, 1<<20+1) }, protocol.TelemetryTooLarge},
		"no protobuf":        {func(p *Push) { p.Metrics = []byte{0x0f} }, protocol.InvalidRecord},
		"no gzip":            {func(p *Push) { p.Metrics, p.Codec = []byte{0x0f}, 1 }, protocol.InvalidRecord},
		"a bomb":             {func(p *Push) { p.Metrics, p.Codec = bomb(t), 4 }, protocol.InvalidRecord},
		"nothing":            {func(*Push) {}, protocol.None},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Push{InstanceID: s.InstanceID, Subscription: s.ID, Terminating: false}
			tc.change(p)
			r.mu.Lock()
			for _, e := range r.instances {
				e.Value.(*instance).pushed = time.Time{}
			}
			r.mu.Unlock()
			expectCode(t, r.Push(t.Context(), p, client("c")), tc.want)
		})
	}
	if n := r.Counts(); n.Failed != 3 || n.Exported != 0 || len(r.decodes) != 0 {
		t.Errorf("%+v", n)
	}
}

// bomb is 2 MiB of nothing, compressed.
func bomb(t *testing.T) []byte {
	t.Helper()
	codecs := record.NewCodecs()
	defer codecs.Close()
	b, err := codecs.Compress(nil, make([]byte, 2<<20), record.CodecZstd, 0)
	if err != nil || len(b) > 1<<20 {
		t.Fatal(len(b), err)
	}
	return b
}

// shown is what is shown of all clients, without the labels that they all have.
func shown(r *Receiver) string {
	var out []string
	for _, s := range r.Samples() {
		text := s.Name
		for i, name := range s.Labels {
			if !strings.HasPrefix(name, "client_") {
				text += " " + name + "=" + s.Values[i]
			}
		}
		out = append(out, fmt.Sprintf("%s %v %t", text, s.Value, s.Counter))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t, "s/metrics", "*", "s/interval.ms", "100")
		c := client("c\xff")
		s := get(t, r, protocol.UUID{}, c)
		codecs := record.NewCodecs()
		defer codecs.Close()
		push := func(codec record.Codec, metrics ...message) {
			t.Helper()
			time.Sleep(100 * time.Millisecond)
			b, err := codecs.Compress(nil, data([]message{attribute("client_id", "another"), attribute("group.id", "g")}, metrics...), codec, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Push(t.Context(), &Push{InstanceID: s.InstanceID, Subscription: s.ID, Codec: int8(codec), Metrics: b}, c); err != nil {
				t.Fatal(err)
			}
		}
		sent := func(n int64) message { return sum("org.apache.kafka.producer.record.send.total", n, temporalityDelta) }
		push(record.CodecNone, sent(3), sum("my.count", 7, 2, attribute("topic", "t")), gauge("kafka_brokers", 1))
		push(record.CodecZstd, sent(4), sum("my.count", 9, 2, attribute("topic", "t")))
		push(record.CodecLZ4, sent(5), gauge("kafka_brokers", math.Inf(1)), gauge("odd_total", 2))
		push(record.CodecGzip, sent(6))
		push(record.CodecSnappy, sent(7), gauge("kafka_brokers", -1))
		want := strings.Join([]string{
			"kafka_client_kafka_brokers group_id=g -1 false", "kafka_client_my_count_total group_id=g topic=t 9 true",
			"kafka_client_odd_total group_id=g 2 true", "kafka_client_producer_record_send_total group_id=g 25 true",
		}, "\n")
		if got := shown(r); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		one := r.Samples()[0]
		labels := strings.Join(one.Labels, " ")
		if labels != "client_id client_instance_id client_software_name client_software_version group_id" ||
			!slices.Equal(one.Values, []string{"c\uFFFD", s.InstanceID.String(), "apache-kafka-java", "4.3.1", "g"}) {
			t.Errorf("%s: %q", labels, one.Values)
		}
		time.Sleep(minLife)
		if got := shown(r); got != want {
			t.Errorf("it was forgotten too early:\n%s", got)
		}
		time.Sleep(time.Millisecond)
		if got := shown(r); got != "" || r.kept != 0 || r.uses.Len() != 0 {
			t.Errorf("it was not forgotten: %d\n%s", r.kept, got)
		}
	})
}

// TestBounds has clients send more than there is room for.
func TestBounds(t *testing.T) {
	r := newReceiver(t, "s/metrics", "*")
	var metrics []message
	for i := range maxClientSeries + 10 {
		metrics = append(metrics, gauge("m", 1, attribute("n", fmt.Sprint(i))))
	}
	b := data(nil, metrics...)
	if len(b) > 1<<20 {
		t.Fatal(len(b))
	}
	clients := maxSeries/maxClientSeries + 2
	for i := range clients {
		c := client(fmt.Sprint(i))
		s := get(t, r, protocol.UUID{}, c)
		if err := r.Push(t.Context(), &Push{InstanceID: s.InstanceID, Subscription: s.ID, Metrics: b}, c); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Counts(); n.LeftOut != int64(clients*10+2*maxClientSeries) || len(r.Samples()) != maxSeries || n.Instances != clients {
		t.Errorf("%+v, %d samples", n, len(r.Samples()))
	}
	first := r.uses.Back().Value.(*instance)
	for range maxInstances - clients + 1 {
		get(t, r, protocol.UUID{}, client("one of many"))
	}
	if n := r.Counts(); n.Instances != maxInstances || r.instances[first.id] != nil || r.kept != maxSeries-maxClientSeries {
		t.Errorf("%+v, %d kept", n, r.kept)
	}
	deep := bytes.Repeat([]byte{0x0a, 0x00}, 1<<19)
	s := get(t, r, protocol.UUID{}, client("deep"))
	expectCode(t, r.Push(t.Context(), &Push{InstanceID: s.InstanceID, Subscription: s.ID, Metrics: deep}, client("deep")), protocol.None)
}
