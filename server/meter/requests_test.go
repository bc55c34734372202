package meter

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var r Requests
	s := r.Shard()
	random := rand.New(rand.NewPCG(1, 2))
	var exact []time.Duration
	for range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(3*time.Millisecond)).Truncate(time.Microsecond)
		exact = append(exact, d)
		s.Record(0, 3, 100, Times{Local: d}, new(Codes))
	}
	slices.Sort(exact)
	all := r.APIs()
	if len(all) != 1 || all[0].Count != 10_000 || all[0].Bytes != 1_000_000 || all[0].Versions[3] != 10_000 {
		t.Fatalf("%d APIs: %+v", len(all), all[:min(1, len(all))])
	}
	for _, q := range []float64{0.001, 0.5, 0.75, 0.95, 0.99, 0.999, 1} {
		want := exact[min(int(q*10_000), 9_999)]
		for _, kind := range []Kind{Total, Local} {
			if got := all[0].Times[kind].Quantile(q); got < want*49/50 || got > want*9/8+2*time.Microsecond {
				t.Errorf("quantile %v of kind %d: %v, want %v", q, kind, got, want)
			}
		}
	}
	if got := all[0].Times[Remote]; got.Count != 10_000 || got.Sum != 0 || got.Quantile(0.99) != 0 {
		t.Errorf("requests that waited for nobody: %d, %v, %v", got.Count, got.Sum, got.Quantile(0.99))
	}
}

func TestBucketsCoverAll(t *testing.T) {
	for us := uint64(0); us < 1<<20; us++ {
		b := bucketOf(us)
		if above(b) < us || b > 0 && above(b-1) >= us {
			t.Fatalf("%d µs is in bucket %d, which ends at %d", us, b, above(b))
		}
	}
	if b := bucketOf(1 << 60); b != buckets-1 {
		t.Errorf("a very long time is in bucket %d", b)
	}
}

func TestSince(t *testing.T) {
	var r Requests
	s := r.Shard()
	s.Record(1, 0, 0, Times{Remote: time.Second}, new(Codes))
	before := r.APIs()[0].Times[Total]
	for range 100 {
		s.Record(1, 0, 0, Times{Remote: time.Millisecond}, new(Codes))
	}
	now := r.APIs()[0].Times[Total]
	since := now.Since(&before)
	if since.Count != 100 || since.Sum != 100*time.Millisecond || since.Quantile(1) > 2*time.Millisecond {
		t.Errorf("%d, %v, %v", since.Count, since.Sum, since.Quantile(1))
	}
}

func TestShardsAddUp(t *testing.T) {
	var r Requests
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			s := r.Shard()
			for range 1000 {
				s.Record(3, 1, 1, Times{Local: time.Millisecond}, new(Codes))
				s.Record(3, 2, 1, Times{}, new(Codes))
				s.Record(-1, 0, 1, Times{}, new(Codes))
				s.Record(3, 99, 1, Times{}, new(Codes))
			}
		})
	}
	all.Wait()
	a := r.APIs()
	if len(a) != 1 || a[0].Key != 3 || a[0].Count != 32_000 || a[0].Versions[1] != 16_000 || a[0].Versions[2] != 16_000 {
		t.Fatalf("%+v", a)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var r Requests
	s := r.Shard()
	if n := testing.AllocsPerRun(100, func() { s.Record(0, 9, 10, Times{1, 2000, 3000, 4000}, new(Codes)) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var r Requests
	s := r.Shard()
	for b.Loop() {
		s.Record(0, 9, 10, Times{0, 20_000, 0, 40_000}, new(Codes))
	}
}
