package server

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

// quotaSensorIdle is how long what was measured of a client is kept after its last request.
const quotaSensorIdle = time.Hour

// quotas holds what clients may use of this node, and measures what they use (Kafka's QuotaManagers). The limits come from the metadata by publish, in the
// observer's goroutine; each clientQuota and sensor has a mutex of its own, the sensor's being taken while the other is held. While nobody has a quota a request costs the reading of active.
type quotas struct {
	produce, fetch, request, mutation clientQuota

	addresses addressRates

	active atomic.Bool // somebody has a quota of produce, fetch or request
}

func newQuotas(c config.Values) *quotas {
	q := &quotas{}
	for _, k := range []*clientQuota{&q.produce, &q.fetch, &q.request} {
		k.window = quotaWindow{c.Int("quota.window.num"), int64(c.Int("quota.window.size.seconds")) * 1000}
	}
	q.mutation.window = quotaWindow{c.Int("controller.quota.window.num"), int64(c.Int("controller.quota.window.size.seconds")) * 1000}
	// What a request took is known only afterwards, so that a long one could throttle its client for minutes (ClientRequestQuotaManager).
	q.request.most = time.Duration(q.request.window.width) * time.Millisecond
	q.addresses.init(q.produce.window)
	return q
}

// publish takes over the quotas of an image.
func (q *quotas) publish(image *metadata.Image) {
	tables := map[string]quotaTable{}
	addresses := map[string]float64{}
	for c := range image.ClientQuotas() {
		for key, value := range c.Values {
			if len(c.Entity) == 1 && c.Entity[0].Type == metadata.QuotaIP {
				name := ""
				if c.Entity[0].Name != nil {
					name = *c.Entity[0].Name
				}
				addresses[name] = value
				continue
			}
			if tables[key] == nil {
				tables[key] = quotaTable{}
			}
			tables[key][quotaKeyOf(c)] = value
		}
	}
	q.produce.set(tables["producer_byte_rate"])
	q.fetch.set(tables["consumer_byte_rate"])
	q.request.set(tables["request_percentage"])
	q.mutation.set(tables["controller_mutation_rate"])
	q.addresses.set(addresses)
	q.active.Store(q.produce.table.Load() != nil || q.fetch.table.Load() != nil || q.request.table.Load() != nil)
}

// mutations is the quota of changes of metadata of who sent a request; nil if there is none.
func (q *quotas) mutations(c controller.Caller, strict bool) controller.MutationQuota {
	s := q.mutation.sensor(nil, userOr(c.Principal), c.ClientID)
	if s == nil {
		return nil
	}
	return &mutationQuota{window: q.mutation.window, sensor: s, strict: strict}
}

func userOr(principal string) string {
	if principal == "" {
		return api.Anonymous
	}
	return principal
}

// mutationQuota is a controller.MutationQuota: of one request.
type mutationQuota struct {
	window   quotaWindow
	sensor   *quotaSensor
	strict   bool
	throttle time.Duration
	at       time.Time
}

// Record implements controller.MutationQuota.
func (m *mutationQuota) Record(partitions int) (ok bool) {
	m.at = time.Now()
	throttle, refused := m.sensor.spend(m.window, float64(partitions), m.strict, m.at)
	m.throttle = throttle
	return !refused
}

// Throttle implements controller.MutationQuota.
func (m *mutationQuota) Throttle() time.Duration { return max(m.throttle-time.Since(m.at), 0) }

// quotaName is a user or client id that a quota names: a name, the default for all that have none of their own, or none.
type quotaName struct {
	kind quotaNameKind
	name string
}

type quotaNameKind uint8

const (
	quotaNone quotaNameKind = iota
	quotaDefault
	quotaNamed
)

// quotaEntity is whom a quota is for.
type quotaEntity struct{ user, client quotaName }

// quotaTable has the limits of one kind. It is immutable.
type quotaTable map[quotaEntity]float64

func quotaKeyOf(c *metadata.ClientQuota) (e quotaEntity) {
	for _, part := range c.Entity {
		name := quotaName{kind: quotaDefault}
		if part.Name != nil {
			name = quotaName{quotaNamed, *part.Name}
		}
		switch part.Type {
		case metadata.QuotaUser:
			e.user = name
		case metadata.QuotaClientID:
			e.client = name
		}
	}
	return e
}

// quotaTags say with whom one shares a quota: all with the same tags are measured together.
type quotaTags struct{ user, client string }

// tags finds the quota that is for a client, in Kafka's order (ClientQuotaManager.DefaultQuotaCallback).
func (t quotaTable) tags(user, client string) quotaTags {
	u, c, anyone := quotaName{quotaNamed, user}, quotaName{quotaNamed, client}, quotaName{kind: quotaDefault}
	for _, step := range [...]struct {
		entity quotaEntity
		tags   quotaTags
	}{
		{quotaEntity{u, c}, quotaTags{user, client}},
		{quotaEntity{u, anyone}, quotaTags{user, client}},
		{quotaEntity{u, quotaName{}}, quotaTags{user, ""}},
		{quotaEntity{anyone, c}, quotaTags{user, client}},
		{quotaEntity{anyone, anyone}, quotaTags{user, client}},
		{quotaEntity{anyone, quotaName{}}, quotaTags{user, ""}},
	} {
		if _, ok := t[step.entity]; ok {
			return step.tags
		}
	}
	return quotaTags{"", client}
}

// limit is the quota of those with the same tags, +Inf if they have none.
func (t quotaTable) limit(tags quotaTags) float64 {
	u, c, anyone := quotaName{quotaNamed, tags.user}, quotaName{quotaNamed, tags.client}, quotaName{kind: quotaDefault}
	var order []quotaEntity
	switch {
	case tags.user != "" && tags.client != "":
		order = []quotaEntity{{u, c}, {u, anyone}, {anyone, c}, {anyone, anyone}}
	case tags.user != "":
		order = []quotaEntity{{user: u}, {user: anyone}}
	case tags.client != "":
		order = []quotaEntity{{client: c}, {client: anyone}}
	}
	for _, e := range order {
		if limit, ok := t[e]; ok {
			return limit
		}
	}
	return math.Inf(1)
}

// clientQuota is one kind of quota: its limits, and what is measured of those who have one.
type clientQuota struct {
	window quotaWindow
	most   time.Duration // that a client is throttled at a time; 0: any

	table atomic.Pointer[quotaTable] // nil: nobody has a quota

	mu      sync.Mutex // guards what follows
	sensors map[quotaTags]*quotaSensor
	swept   int // sensors that were left when idle ones were dropped last
}

// set takes new limits. What was measured stays.
func (q *clientQuota) set(t quotaTable) {
	if old := q.table.Load(); old == nil && len(t) == 0 || old != nil && maps.Equal(*old, t) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(t) == 0 {
		q.table.Store(nil)
	} else {
		q.table.Store(&t)
	}
	for tags, s := range q.sensors {
		s.mu.Lock()
		if s.limit = t.limit(tags); math.IsInf(s.limit, 1) {
			s.dropped = true
			delete(q.sensors, tags)
		}
		s.mu.Unlock()
	}
}

// quotaUse is what a connection remembers of one kind of quota, so that the next request need not look.
type quotaUse struct {
	table        *quotaTable
	user, client string
	sensor       *quotaSensor
}

// sensor returns what measures a client, nil if it has no quota. use may be nil.
func (q *clientQuota) sensor(use *quotaUse, user, client string) *quotaSensor {
	t := q.table.Load()
	if t == nil {
		return nil
	}
	if use != nil && use.table == t && use.user == user && use.client == client && (use.sensor == nil || !use.sensor.isDropped()) {
		return use.sensor
	}
	tags := t.tags(user, client)
	s := q.find(tags)
	if use != nil {
		*use = quotaUse{t, user, client, s}
	}
	return s
}

func (s *quotaSensor) isDropped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// find returns the sensor of tags, nil if they have no quota.
func (q *clientQuota) find(tags quotaTags) *quotaSensor {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.sensors[tags]; s != nil {
		return s
	}
	t := q.table.Load()
	if t == nil {
		return nil
	}
	limit := t.limit(tags)
	if math.IsInf(limit, 1) {
		return nil
	}
	if q.sensors == nil {
		q.sensors = map[quotaTags]*quotaSensor{}
	}
	q.sweep(time.Now())
	s := &quotaSensor{tags: tags, limit: limit, used: time.Now().UnixMilli()}
	q.sensors[tags] = s
	return s
}

// sweep drops sensors that were not used for long, whenever there are twice as many as it left last time. mu is held.
func (q *clientQuota) sweep(now time.Time) {
	if len(q.sensors) < max(2*q.swept, 64) {
		return
	}
	for tags, s := range q.sensors {
		s.mu.Lock()
		if now.UnixMilli()-s.used > quotaSensorIdle.Milliseconds() {
			s.dropped = true
			delete(q.sensors, tags)
		}
		s.mu.Unlock()
	}
	q.swept = len(q.sensors)
}
