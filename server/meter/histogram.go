package meter

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations are kept in microseconds: those below 8 as they are, longer ones in eight buckets for each power of two, so that a quantile is at most an eighth too
// high. The last bucket has all from 2^27 µs, some two minutes, on.
const (
	subBuckets = 8
	subBits    = 3
	buckets    = (27-subBits+1)*subBuckets + 1
)

func bucketOf(us uint64) int {
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 1 - subBits
	return min(shift*subBuckets+int(us>>shift), buckets-1)
}

// above is the upper bound of a bucket, in microseconds.
func above(bucket int) uint64 {
	if bucket < 2*subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return uint64(bucket-shift*subBuckets+1)<<shift - 1
}

// histogram is one shard's count of the durations of one kind that are longer than a microsecond.
type histogram struct {
	sum   atomic.Uint64 // ns
	count [buckets]atomic.Uint64
}

func (h *histogram) observe(d time.Duration) {
	if d <= 0 {
		return
	}
	h.sum.Add(uint64(d))
	if us := uint64(d / time.Microsecond); us > 0 {
		h.count[bucketOf(us)].Add(1)
	}
}

// Durations are the durations of one kind, added up. The first bucket has those below a microsecond.
type Durations struct {
	Count uint64
	Sum   time.Duration
	by    [buckets]uint64
}

// Since returns those that came after earlier, which is a former state of d.
func (d *Durations) Since(earlier *Durations) Durations {
	since := Durations{Count: d.Count - earlier.Count, Sum: d.Sum - earlier.Sum}
	for i := range d.by {
		since.by[i] = d.by[i] - earlier.by[i]
	}
	return since
}

// Quantile returns the duration that a share q, of 0 to 1, of all do not exceed, at most an eighth too high; 0 if there are none.
func (d *Durations) Quantile(q float64) time.Duration {
	rank := q * float64(d.Count)
	var seen uint64
	for i, n := range d.by {
		if seen += n; n > 0 && float64(seen) >= rank {
			return time.Duration(above(i)) * time.Microsecond
		}
	}
	return 0
}
