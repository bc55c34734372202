package telemetry

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

const (
	// usualInterval is how often clients push that no subscription wants to push more often.
	usualInterval = 5 * time.Minute
	// maxInstances is how many clients are known at once; the one that was silent for longest makes room.
	maxInstances = 16384
	// minLife is how long a client is known that asks or pushes no more, if three intervals are not longer.
	minLife = time.Minute
	// sweepEvery is how often requests look for clients that are to be forgotten.
	sweepEvery = 10 * time.Second
	// decoders is how many pushes are decompressed at once.
	decoders = 2
)

// accepted are the codecs that clients may choose from, the best first.
var accepted = [...]int8{int8(record.CodecZstd), int8(record.CodecLZ4), int8(record.CodecGzip), int8(record.CodecSnappy)}

// Options are the parts of a broker that a Receiver uses.
type Options struct {
	Config func() config.Values
	Codecs *record.Codecs
	Logger *zap.Logger
}

// Receiver knows the clients that were asked for metrics, and keeps what they push. It is safe for concurrent use.
type Receiver struct {
	o       Options
	decodes chan struct{} // has room for those pushes that are decompressed

	mu        sync.Mutex // guards what follows
	current   *subscriptions
	instances map[protocol.UUID]*list.Element // of *instance
	uses      *list.List                      // the instances, the one that was heard last in front
	kept      int                             // series of all
	swept     time.Time
	counts    Counts
}

// Counts is what a Receiver has done since the start, but for Instances, which is how many clients are known. Kafka's ClientMetrics bean has the same numbers.
type Counts struct {
	Instances                                         int
	UnknownSubscriptions, Throttled, Exported, Failed int64
	LeftOut                                           int64 // values for which there was no room
}

// instance is one client, by the id that it was given.
type instance struct {
	id          protocol.UUID
	attributes  map[string]string
	of          *subscriptions // by which wanted was made; nil: its connection is gone
	wanted      wanted
	got, pushed time.Time // when it last asked, and pushed, and was not refused
	terminating bool      // it has said that it would not come again
	failed      error     // how its last push fared
	expires     time.Time

	labels []label
	series map[string]*Sample // by name and labels
}

// New returns a Receiver that knows no client and no subscription.
func New(o Options) *Receiver {
	return &Receiver{
		o: o, decodes: make(chan struct{}, decoders), current: new(subscriptions), instances: map[protocol.UUID]*list.Element{}, uses: list.New(),
	}
}

// Apply makes the subscriptions of an image those in force.
func (r *Receiver) Apply(image *metadata.Image) {
	all := subscriptionsOf(image, r.o.Config())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = &all
}

// Subscription is what is wanted of a client.
type Subscription struct {
	InstanceID protocol.UUID
	ID         int32
	Metrics    []string // names, or prefixes of names; * is all
	Interval   time.Duration
	MaxBytes   int32
	Accepted   []int8 // codecs, by Kafka's numbers
}

// Subscribe says what is wanted of a client; one without an id gets one. Errors: ThrottlingQuotaExceeded if it asked or pushed less than an interval ago,
// what is wanted did not change since, and its last push was not for another subscription or with an unknown codec.
func (r *Receiver) Subscribe(id protocol.UUID, c *Client) (Subscription, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id.IsZero() {
		if fresh := protocol.NewUUID(); r.instances[fresh] == nil {
			id = fresh
		}
	}
	now := time.Now()
	i := r.instance(id, c, now)
	last := i.got
	if i.pushed.After(last) {
		last = i.pushed
	}
	switch code := protocol.CodeOf(i.failed); {
	case now.Sub(last) >= i.wanted.interval:
		i.got = now
	case code != protocol.UnknownSubscriptionID && code != protocol.UnsupportedCompressionType:
		r.counts.Throttled++
		return Subscription{}, tooEarly(id)
	}
	i.failed = nil
	return Subscription{
		InstanceID: id, ID: i.wanted.id, Metrics: i.wanted.metrics, Interval: i.wanted.interval, MaxBytes: r.maxBytes(), Accepted: accepted[:],
	}, nil
}

func tooEarly(id protocol.UUID) error {
	return protocol.Errorf(protocol.ThrottlingQuotaExceeded, "Request from the client [%s] arrived before the next push interval time", id)
}

func (r *Receiver) maxBytes() int32 { return int32(r.o.Config().Int("telemetry.max.bytes")) }

// Push is what a client sends.
type Push struct {
	InstanceID   protocol.UUID
	Subscription int32 // the one that it was told
	Terminating  bool  // it will not come again
	Codec        int8
	Metrics      []byte // OTLP's MetricsData, compressed
}

// Push takes what a client pushes. It may wait for others that are being decompressed, until ctx ends. Errors, each a protocol.Code: InvalidRequest for an id that
// no client can have, or after a push that was terminating; ThrottlingQuotaExceeded less than an interval after the last push, unless the client asked meanwhile or is
// terminating; UnknownSubscriptionID if other metrics are wanted now; UnsupportedCompressionType; TelemetryTooLarge; InvalidRecord for what cannot be read.
func (r *Receiver) Push(ctx context.Context, p *Push, c *Client) error {
	if err := r.admit(p, c); err != nil || len(p.Metrics) == 0 {
		return err
	}
	points, err := r.read(ctx, p)
	if err != nil {
		r.o.Logger.Debug("the metrics that a client pushed cannot be read", zap.Stringer("client", p.InstanceID), zap.Error(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.counts.Failed++
		return protocol.InvalidRecord
	}
	r.counts.Exported++
	e := r.instances[p.InstanceID]
	if e == nil { // it was forgotten meanwhile
		return nil
	}
	for k := range points {
		if !r.keep(e.Value.(*instance), &points[k]) {
			r.counts.LeftOut++
		}
	}
	return nil
}

// Disconnected tells that the connection is gone at which a client asked or pushed last: at another one it begins anew. What it has pushed is shown as before.
func (r *Receiver) Disconnected(id protocol.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.instances[id]; e != nil {
		e.Value.(*instance).of = nil
	}
}

// admit decides by Kafka's rules whether a push is taken.
func (r *Receiver) admit(p *Push, c *Client) (err error) {
	if p.InstanceID.IsZero() || p.InstanceID == protocol.MetadataTopicID {
		return protocol.Errorf(protocol.InvalidRequest, "Invalid request from the client [%s], invalid client instance id", p.InstanceID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	i := r.instance(p.InstanceID, c, now)
	defer func() { i.terminating, i.failed = p.Terminating, err }()
	inTime := i.got.After(i.pushed) || now.Sub(i.pushed) >= i.wanted.interval
	switch {
	case i.terminating:
		return protocol.Errorf(protocol.InvalidRequest, "Client [%s] sent the previous request with state terminating to TRUE, can not accept any requests after that", p.InstanceID)
	case !inTime && !p.Terminating:
		r.counts.Throttled++
		return tooEarly(p.InstanceID)
	}
	if inTime {
		i.pushed = now
	}
	limit := r.maxBytes()
	switch {
	case p.Subscription != i.wanted.id:
		r.counts.UnknownSubscriptions++
		return protocol.Errorf(protocol.UnknownSubscriptionID, "Unknown client subscription id for the client [%s]", p.InstanceID)
	case p.Codec != 0 && !slices.Contains(accepted[:], p.Codec):
		return protocol.Errorf(protocol.UnsupportedCompressionType, "Unknown compression type [%d] is received in telemetry request from [%s]", p.Codec, p.InstanceID)
	case int64(len(p.Metrics)) > int64(limit):
		return protocol.Errorf(protocol.TelemetryTooLarge, "Telemetry request from [%s] is larger than the maximum allowed size [%d]", p.InstanceID, limit)
	}
	return nil
}

// read decompresses and decodes a push.
func (r *Receiver) read(ctx context.Context, p *Push) (points []point, err error) {
	select {
	case r.decodes <- struct{}{}:
		defer func() { <-r.decodes }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	stream, err := r.o.Codecs.Reader(p.Metrics, record.Codec(p.Codec), int64(r.maxBytes()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // which only gives back
	var data bytes.Buffer
	if _, err := data.ReadFrom(stream); err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	left := 0
	err = decode(data.Bytes(), func(p point) {
		if len(points) < maxClientSeries {
			points = append(points, p)
		} else {
			left++
		}
	})
	if left > 0 {
		r.mu.Lock()
		r.counts.LeftOut += int64(left)
		r.mu.Unlock()
	}
	return points, err
}

// instance returns what is known of a client, which begins to be known, with what is wanted of it by now. r.mu is held.
func (r *Receiver) instance(id protocol.UUID, c *Client, now time.Time) *instance {
	if now.Sub(r.swept) >= sweepEvery {
		r.sweep()
	}
	e := r.instances[id]
	switch {
	case e == nil:
		if len(r.instances) >= maxInstances {
			r.forget(r.uses.Back())
		}
		i := &instance{id: id, attributes: c.attributes(id), of: r.current}
		i.wanted = r.current.of(id, i.attributes, usualInterval)
		i.labels = ownLabels(i.attributes)
		e = r.uses.PushFront(i)
		r.instances[id] = e
	case e.Value.(*instance).of != r.current: // as if it were a new one, but for what it has pushed
		old := e.Value.(*instance)
		i := &instance{id: id, attributes: old.attributes, of: r.current, labels: old.labels, series: old.series}
		if old.of == nil { // at another connection
			i.attributes = c.attributes(id)
		}
		i.wanted = r.current.of(id, i.attributes, usualInterval)
		e.Value = i
	}
	r.uses.MoveToFront(e)
	i := e.Value.(*instance)
	i.expires = now.Add(max(minLife, 3*i.wanted.interval))
	return i
}

// ownLabels are the labels that tell clients apart. An address and a port are none: what they would tell changes with each connection.
func ownLabels(attributes map[string]string) []label {
	var all []label
	for _, name := range []string{"client_id", "client_instance_id", "client_software_name", "client_software_version"} {
		if value := text([]byte(attributes[name])); value != "" {
			all = append(all, label{name, value})
		}
	}
	slices.SortFunc(all, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	return all
}

// sweep forgets the clients that were silent for too long. r.mu is held.
func (r *Receiver) sweep() {
	r.swept = time.Now()
	for e := r.uses.Back(); e != nil; {
		before := e.Prev()
		if e.Value.(*instance).expires.Before(r.swept) {
			r.forget(e)
		}
		e = before
	}
}

// forget drops a client and what it has pushed. r.mu is held.
func (r *Receiver) forget(e *list.Element) {
	i := r.uses.Remove(e).(*instance)
	delete(r.instances, i.id)
	r.kept -= len(i.series)
}

// Counts returns what was done so far.
func (r *Receiver) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	c := r.counts
	c.Instances = len(r.instances)
	return c
}
