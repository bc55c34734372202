package server

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/api"
)

// connQuotas is what the reader of a connection remembers of its quotas.
type connQuotas struct{ produce, fetch, request quotaUse }

// requestQuotas are those that one request falls under, and what it used. It belongs to the reader while the handler runs, then to who has the answer. It is the
// api.Limits of a fetch.
type requestQuotas struct {
	on                      bool // the client has a quota
	produce, fetch, request *quotaSensor
	quotas                  *quotas
	began                   time.Time
	throttle                time.Duration
	charged                 bool // the time of its handler was counted
}

// limit finds the quotas of a's client.
func (c *conn) limit(a *answer) {
	q := c.server.quotas
	if q == nil || !q.active.Load() {
		return
	}
	client := ""
	if a.request.ClientID != nil {
		client = *a.request.ClientID
	}
	user := a.request.Principal
	r := &a.quotas
	r.quotas, r.began = q, time.Now()
	r.request = q.request.sensor(&c.quotas.request, user, client)
	switch a.request.Key {
	case keyProduce:
		r.produce = q.produce.sensor(&c.quotas.produce, user, client)
	case keyFetch:
		r.fetch = q.fetch.sensor(&c.quotas.fetch, user, client)
	case keyWriteTxnMarkers: // of brokers
		r.request = nil
	}
	r.on = r.request != nil || r.produce != nil || r.fetch != nil
	if r.on && a.request.Key == keyFetch {
		a.request.Limits = r
	}
}

// user is who the client is.
func (c *conn) user() string { return api.Anonymous }

// charge counts what a's handler did: records that came, and its time.
func (c *conn) charge(a *answer) {
	r := &a.quotas
	now := time.Now()
	if r.produce != nil {
		r.throttle = r.produce.record(r.quotas.produce.window, float64(a.size), now)
	}
	if !a.result.None && a.request.Key != keyFetch {
		r.chargeTime(now)
	}
	c.mute(r.throttle)
}

// chargeTime counts the time since the request was begun, in percent of a thread's (ClientRequestQuotaManager).
func (r *requestQuotas) chargeTime(now time.Time) {
	if r.request == nil || r.charged {
		return
	}
	r.charged = true
	q := &r.quotas.request
	r.throttle = max(r.throttle, min(r.request.record(q.window, percent(now.Sub(r.began)), now), q.most))
}

// percent is what a time is worth of a quota of request_percentage.
func percent(d time.Duration) float64 { return 100 * d.Seconds() }

// Fetched implements api.Limits.
func (r *requestQuotas) Fetched(size int) time.Duration {
	now := time.Now()
	r.chargeTime(now)
	if r.fetch != nil {
		w := r.quotas.fetch.window
		r.throttle = max(r.throttle, r.fetch.record(w, float64(size), now))
		if r.throttle > 0 {
			r.fetch.note(w, -float64(size), now) // an empty answer is sent instead
		}
	}
	return r.throttle
}

// MaxFetch implements api.Limits.
func (r *requestQuotas) MaxFetch() int {
	if r.fetch == nil {
		return maxFetch
	}
	w := r.quotas.fetch.window
	r.fetch.mu.Lock()
	defer r.fetch.mu.Unlock()
	return int(min(r.fetch.limit*w.seconds(w.samples-1), maxFetch))
}

const maxFetch = 1<<31 - 1

var _ api.Limits = (*requestQuotas)(nil)

// throttled puts a's throttle into its response, and mutes the connection from now on, as the response leaves (KIP-219). What a controller's answer says counts, too.
func (c *conn) throttled(a *answer) {
	throttle := a.quotas.throttle
	if resp, ok := a.result.Response.(kmsg.ThrottleResponse); ok && a.forwarded {
		millis, _ := resp.Throttle()
		throttle = max(throttle, time.Duration(millis)*time.Millisecond)
	}
	if throttle <= 0 {
		return
	}
	if resp, ok := a.result.Response.(kmsg.SetThrottleResponse); ok {
		resp.SetThrottle(int32(throttle.Milliseconds()))
	}
	c.mute(throttle)
}

// mute has the reader take no further request for a time.
func (c *conn) mute(d time.Duration) {
	if d <= 0 {
		return
	}
	until := time.Now().Add(d).UnixNano()
	for {
		before := c.mutedUntil.Load()
		if before >= until || c.mutedUntil.CompareAndSwap(before, until) {
			return
		}
	}
}

// sitOut waits until the connection is not muted. What is answered already leaves first.
func (c *conn) sitOut() error {
	if err := c.writePending(); err != nil {
		return err
	}
	for {
		until := c.mutedUntil.Load()
		left := time.Duration(until - time.Now().UnixNano())
		if left <= 0 {
			if c.mutedUntil.CompareAndSwap(until, 0) {
				c.input.active = time.Now() // it was not idle
				return nil
			}
			continue
		}
		if c.draining.Load() {
			return errDrained
		}
		wait := time.NewTimer(left)
		select {
		case <-wait.C:
		case <-c.drained:
		case <-c.ctx.Done():
		}
		wait.Stop()
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
	}
}
