package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// thousand is a batch of 1,000 records with a header each.
func thousand(t testing.TB, codec Codec) Batch {
	t.Helper()
	w := NewBuilder()
	w.Codec = codec
	value := bytes.Repeat([]byte("0123456789"), 10)
	for i := range 1000 {
		w.Add(sampleTime+int64(i%7), fmt.Appendf(nil, "key-%d", i), value, Header{"trace", []byte("abc")})
	}
	b, err := w.Build(NewCodecs())
	ok(t, err)
	return slices.Clone(b)
}

func TestValidateAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("pools drop at random under the race detector: only the result is checked")
	}
	c := NewCodecs()
	defer c.Close()
	for _, codec := range codecNames {
		for _, compacted := range []bool{false, true} {
			b := thousand(t, codec)
			v := validation()
			v.Compacted, v.TimestampType = compacted, LogAppendTime
			run := func() {
				v.Now++ // so that the batch is stamped each time
				if b[posAttributes+1] &^= attrLogAppendTime; true {
					b.setCRC()
				}
				if _, err := c.Validate(b, v); err != nil {
					t.Fatal(err)
				}
			}
			run()
			allocs := testing.AllocsPerRun(50, run)
			limit := 0.0
			if codec != CodecNone {
				limit = 10 // for a stream, not for records
			}
			if allocs > limit && !raceEnabled {
				t.Errorf("%v: %v allocations", codec, allocs)
			}
		}
	}
}

func TestRecordsAllocations(t *testing.T) {
	c := NewCodecs()
	defer c.Close()
	for _, codec := range codecNames {
		b := thousand(t, codec)
		total := 0
		visit := func(r *Record) error { total += len(r.Value) + len(r.Headers); return nil }
		run := func() {
			if err := c.Records(b, visit); err != nil {
				t.Fatal(err)
			}
		}
		run()
		limit := 0.0
		if codec != CodecNone {
			limit = 10
		}
		if allocs := testing.AllocsPerRun(50, run); allocs > limit && !raceEnabled {
			t.Errorf("%v: %v allocations", codec, allocs)
		}
		if total%101_000 != 0 {
			t.Errorf("%v: %d bytes seen", codec, total)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	c := NewCodecs()
	for _, codec := range codecNames {
		b.Run(codec.String(), func(b *testing.B) {
			batch := thousand(b, codec)
			v := validation()
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Validate(batch, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, to := range codecNames[1:] {
		b.Run("uncompressed-to-"+to.String(), func(b *testing.B) {
			batch := thousand(b, CodecNone)
			v := validation()
			v.Codec = to
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Validate(batch, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	c := NewCodecs()
	for _, codec := range codecNames {
		b.Run(codec.String(), func(b *testing.B) {
			batch := thousand(b, codec)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Records(batch, func(*Record) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	w, value := NewBuilder(), bytes.Repeat([]byte("0123456789"), 10)
	b.ReportAllocs()
	for b.Loop() {
		w.Reset()
		for i := range 1000 {
			w.Add(sampleTime+int64(i), value[:8], value)
		}
		if _, err := w.Build(nil); err != nil {
			b.Fatal(err)
		}
	}
}
