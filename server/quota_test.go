package server

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

var testWindow = quotaWindow{samples: 11, width: 1000}

// TestARateHolds sends as much as it may for a minute, sitting out each throttle.
func TestARateHolds(t *testing.T) {
	s := &quotaSensor{limit: 1000}
	begin := time.UnixMilli(1_000_000)
	now, sent := begin, 0.0
	for now.Sub(begin) < time.Minute {
		sent += 700
		now = now.Add(s.record(testWindow, 700, now) + time.Millisecond)
	}
	if rate := sent / now.Sub(begin).Seconds(); rate < 950 || rate > 1200 { // the first window may be used at once
		t.Errorf("%.0f per second of 1000", rate)
	}
	if d := s.record(testWindow, -1, now.Add(time.Hour)); d != 0 {
		t.Errorf("throttled for %v after an hour", d)
	}
}

// TestThrottleTimes are those of Apache Kafka: the part by which the rate is too high, times the window.
func TestThrottleTimes(t *testing.T) {
	s := &quotaSensor{limit: 100}
	now := time.UnixMilli(5_000_000)
	if d := s.record(testWindow, 1000, now); d != 0 { // over the ten seconds of a window that has just begun
		t.Errorf("%v", d)
	}
	if d := s.record(testWindow, 500, now); d != 5*time.Second {
		t.Errorf("%v, want (150-100)/100 of 10 s", d)
	}
}

func TestTokensOfMutations(t *testing.T) {
	s := &quotaSensor{limit: 2}
	now := time.UnixMilli(9_000_000)
	if d, refused := s.spend(testWindow, 30, true, now); d != 0 || refused { // 22 are there, and a strict one looks only before it takes
		t.Errorf("%v %v", d, refused)
	}
	if d, refused := s.spend(testWindow, 1, true, now); d != 4*time.Second || !refused {
		t.Errorf("%v %v, want 8 missing tokens at 2 a second", d, refused)
	}
	if d, refused := s.spend(testWindow, 2, false, now); d != 5*time.Second || refused {
		t.Errorf("%v %v", d, refused)
	}
	if d, refused := s.spend(testWindow, 1, true, now.Add(5*time.Second)); d != 0 || refused {
		t.Errorf("%v %v", d, refused)
	}
}

func name(s string) quotaName { return quotaName{quotaNamed, s} }

// TestPrecedence takes the limits away one by one, from the first that counts to the last.
func TestPrecedence(t *testing.T) {
	anyone := quotaName{kind: quotaDefault}
	order := []quotaEntity{
		{name("u"), name("c")}, {name("u"), anyone}, {user: name("u")}, {anyone, name("c")}, {anyone, anyone}, {user: anyone}, {client: name("c")}, {client: anyone},
	}
	table := quotaTable{}
	for i, e := range order {
		table[e] = float64(i)
	}
	for i, e := range order {
		if got := table.limit(table.tags("u", "c")); got != float64(i) {
			t.Errorf("%v counts instead of %v", order[int(got)], e)
		}
		delete(table, e)
	}
	if got := table.limit(table.tags("u", "c")); !math.IsInf(got, 1) {
		t.Error(got)
	}
}

// published is an image with one quota of a client id, "" for the default.
func published(t *testing.T, kind, client, key string, value float64) *metadata.Image {
	t.Helper()
	part := schema.QuotaEntity{Type: kind}
	if client != "" {
		part.Name = &client
	}
	image, _, err := metadata.Empty().With(0, 0, []schema.MetadataRecord{&schema.ClientQuotaRecord{Entity: []schema.QuotaEntity{part}, Key: key, Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// TestAMutedConnection: the answer comes at once and says for how long the next request is not read (KIP-219).
func TestAMutedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, nil, row(kmsg.NewPtrProduceRequest(), echo))
		s.quotas = newQuotas(s.node.Config())
		s.quotas.publish(published(t, metadata.QuotaClientID, "", "producer_byte_rate", 10))
		c := s.pipe.dial(t)
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks = 9, 1
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, 500)}}}}
		begin := time.Now()
		first := c.ask(req).(*kmsg.ProduceResponse)
		if time.Since(begin) > 10*time.Millisecond || first.ThrottleMillis < 40_000 {
			t.Fatalf("answered after %v, throttled for %d ms", time.Since(begin), first.ThrottleMillis)
		}
		c.ask(req)
		if waited := time.Since(begin).Milliseconds(); waited < int64(first.ThrottleMillis) || waited > int64(first.ThrottleMillis)+100 {
			t.Errorf("the next was answered after %d ms, not %d", waited, first.ThrottleMillis)
		}
		other := s.pipe.dial(t) // without a client id there is no quota
		s.quotas.publish(metadata.Empty())
		begin = time.Now()
		if r := other.ask(req).(*kmsg.ProduceResponse); r.ThrottleMillis != 0 || time.Since(begin) > 10*time.Millisecond {
			t.Errorf("%d after %v", r.ThrottleMillis, time.Since(begin))
		}
	})
}

// TestRequestPercentageHolds: over a minute, requests take the part of a thread's time that their client has, whatever they are.
func TestRequestPercentageHolds(t *testing.T) {
	const took, percent, seconds = 50 * time.Millisecond, 10.0, 60
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, nil, row(metadataRequest(), func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
			<-time.After(took)
			return api.Result{Response: r.Body.ResponseKind()}
		}))
		s.quotas = newQuotas(s.node.Config())
		s.quotas.publish(published(t, metadata.QuotaClientID, "test", "request_percentage", percent))
		c := s.pipe.dial(t)
		throttled := 0
		busy := func(d time.Duration) (requests int) {
			for begin := time.Now(); time.Since(begin) < d; requests++ {
				if c.ask(metadataRequest()).(*kmsg.MetadataResponse).ThrottleMillis > 0 {
					throttled++
				}
			}
			return requests
		}
		busy(20 * time.Second) // the first window may be used at once
		begin := time.Now()
		used := 100 * float64(busy(seconds*time.Second)) * took.Seconds() / time.Since(begin).Seconds()
		if math.Abs(used-percent) > percent*0.05 || throttled == 0 {
			t.Errorf("%.2f %% of a thread's time were used, of %v; %d answers told of a throttle", used, percent, throttled)
		}
	})
}

func TestMutationsOfACaller(t *testing.T) {
	s := newFakeServer(t, nil)
	q := newQuotas(s.node.Config())
	if m := q.mutations(controller.Caller{ClientID: "c"}, true); m != nil {
		t.Error("a quota where there is none")
	}
	q.publish(published(t, metadata.QuotaUser, api.Anonymous, "controller_mutation_rate", 1))
	m := q.mutations(controller.Caller{ClientID: "c"}, true)
	if !m.Record(20) || m.Record(1) || m.Throttle() < 8*time.Second {
		t.Errorf("throttle %v", m.Throttle())
	}
}

func TestRatesOfAddresses(t *testing.T) {
	var a addressRates
	a.init(testWindow)
	a.set(map[string]float64{"127.0.0.1": 1})
	now := time.UnixMilli(77_000_000)
	local, other := addressesOf("127.0.0.1")[0], addressesOf("10.0.0.1")[0]
	for i := range 10 {
		if d := a.from(local, now); d != 0 {
			t.Fatalf("connection %d of ten is refused for %v", i, d)
		}
	}
	if d := a.from(local, now); d != time.Second {
		t.Errorf("%v", d)
	}
	if a.from(other, now) != 0 || a.from(local, now.Add(12*time.Second)) != 0 {
		t.Error("refused")
	}
}

// TestRatesOfListeners has the figures of Apache Kafka 4.3.1 with max.connection.creation.rate=2: when sixty connections that come at once are let in, and what is
// left of the window when the limit comes after fifteen.
func TestRatesOfListeners(t *testing.T) {
	begin := time.UnixMilli(77_000_000)
	letIn := func(a *addressRates, n int, now time.Time) (after []time.Duration) {
		first := now
		for range n { // as pace does
			now = now.Add(max(a.through("L", 2, now), a.through("", 2, now)))
			after = append(after, now.Sub(first).Round(10*time.Millisecond))
		}
		return after
	}
	var a addressRates
	a.init(testWindow)
	after := letIn(&a, 60, begin)
	for _, x := range []struct {
		by   time.Duration
		want int
	}{{0, 20}, {500 * time.Millisecond, 21}, {time.Second, 22}, {11 * time.Second, 32}, {12 * time.Second, 43}, {12500 * time.Millisecond, 44}, {13 * time.Second, 45}, {19 * time.Second, 51}} {
		if got, _ := slices.BinarySearch(after, x.by+1); got != x.want {
			t.Errorf("%d are in after %v, not %d: %v", got, x.by, x.want, after)
		}
	}
	var late addressRates
	late.init(testWindow)
	for range 15 {
		if late.through("L", math.MaxInt32, begin) != 0 || late.through("", math.MaxInt32, begin) != 0 {
			t.Fatal("limited by nothing")
		}
	}
	late.through("L", math.MaxInt32, begin)
	late.refused("L", begin) // by the limit of its address: it does not count
	if after := letIn(&late, 7, begin); after[4] != 0 || after[5] != 500*time.Millisecond || after[6] != time.Second {
		t.Errorf("after fifteen seven are let in after %v", after)
	}
}
