package server

import (
	"math"
	"sync"
	"time"
)

// quotaWindow is over how long a quota is measured: samples stretches of width ms each.
type quotaWindow struct {
	samples int
	width   int64
}

// seconds is the length of n stretches.
func (w quotaWindow) seconds(n int) float64 { return float64(int64(n)*w.width) / 1000 }

// quotaRate is what happened per second, over the samples of a window (Kafka's Rate of a WindowedSum). Times are in ms.
type quotaRate struct {
	samples []quotaSample // one more than the window has, so that the oldest may overlap it
	current int
}

type quotaSample struct {
	start, last int64
	sum         float64
}

// record counts what happened at now.
func (r *quotaRate) record(w quotaWindow, value float64, now int64) {
	switch {
	case len(r.samples) == 0:
		r.samples = append(r.samples, quotaSample{start: now})
	case now-r.samples[r.current].start >= w.width:
		r.current = (r.current + 1) % (w.samples + 1)
		if r.current == len(r.samples) {
			r.samples = append(r.samples, quotaSample{})
		}
		r.samples[r.current] = quotaSample{start: now}
	}
	s := &r.samples[r.current]
	s.sum += value
	s.last = now
}

// measure returns the rate per second at now and the length in ms of the time over which it is. A window that has only begun counts as long as a whole one but for
// its newest sample, so that a first burst is not taken for a high rate.
func (r *quotaRate) measure(w quotaWindow, now int64) (rate float64, window int64) {
	oldest, sum := now, 0.0
	for i := range r.samples {
		s := &r.samples[i]
		if now-s.last >= int64(w.samples)*w.width {
			*s = quotaSample{start: now, last: now}
		}
		sum += s.sum
		oldest = min(oldest, s.start)
	}
	window = now - oldest
	if missing := int64(w.samples-1) - window/w.width; missing > 0 {
		window += missing * w.width
	}
	window = max(window, 1)
	return sum / (float64(window) / 1000), window
}

// tokenBucket holds what may be done at once: it fills by a rate, up to what a window is worth (KIP-599). It starts full.
type tokenBucket struct {
	tokens float64
	filled int64 // ms
}

// fill adds what came since the last time.
func (b *tokenBucket) fill(w quotaWindow, rate float64, now int64) {
	b.tokens = min(w.seconds(w.samples)*rate, b.tokens+rate*float64(now-b.filled)/1000)
	b.filled = now
}

// take removes n tokens; there may be less than none afterwards.
func (b *tokenBucket) take(w quotaWindow, rate, n float64, now int64) {
	b.fill(w, rate, now)
	b.tokens = min(w.seconds(w.samples)*rate, b.tokens-n)
}

// quotaSensor measures whoever shares one quota.
type quotaSensor struct {
	tags quotaTags

	mu       sync.Mutex // guards what follows
	limit    float64    // +Inf: none
	rate     quotaRate
	bucket   tokenBucket
	used     int64 // ms
	throttle int64 // ms: the last one, 0 if the last use was not throttled
	dropped  bool  // it is not in its clientQuota any more
}

// throttleFor is how long it takes until a rate is down to limit if nothing comes (QuotaUtils.throttleTime).
func throttleFor(rate, limit float64, window int64) time.Duration {
	return time.Duration(min(math.Round((rate-limit)/limit*float64(window)), float64(math.MaxInt32))) * time.Millisecond
}

// record counts value and says how long who caused it is to be throttled; 0 if the rate is within the limit.
func (s *quotaSensor) record(w quotaWindow, value float64, now time.Time) time.Duration {
	ms := now.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = ms
	s.rate.record(w, value, ms)
	rate, window := s.rate.measure(w, ms)
	if rate <= s.limit {
		s.throttle = 0
		return 0
	}
	d := throttleFor(rate, s.limit, window)
	s.throttle = d.Milliseconds()
	return d
}

// note counts value without asking for a throttle; a negative one takes back what was counted.
func (s *quotaSensor) note(w quotaWindow, value float64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = now.UnixMilli()
	s.rate.record(w, value, s.used)
}

// spend takes n tokens (ControllerMutationQuotaManager). A strict one takes nothing while there are less than none, and reports that as refused; the other always takes. throttle
// is how long it takes until there are tokens again.
func (s *quotaSensor) spend(w quotaWindow, n float64, strict bool, now time.Time) (throttle time.Duration, refused bool) {
	ms := now.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	if math.IsInf(s.limit, 1) {
		return 0, false
	}
	s.used = ms
	s.bucket.fill(w, s.limit, ms)
	refused = strict && s.bucket.tokens < 0
	if !refused {
		s.bucket.take(w, s.limit, n, ms)
	}
	if s.bucket.tokens >= 0 || strict && !refused {
		s.throttle = 0
		return 0, false
	}
	throttle = time.Duration(math.Round(-s.bucket.tokens/s.limit*1000)) * time.Millisecond
	s.throttle = throttle.Milliseconds()
	return throttle, refused
}
